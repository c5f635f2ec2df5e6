//! The program `adire`. Everything is in the library, where tests reach it.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let error = match adire_server::run(adire_server::Cli::parse()) {
        Ok(code) => return code,
        Err(error) => error,
    };
    match error.downcast::<clap::Error>() {
        // Says what is wrong with the argument and exits with 2.
        Ok(usage) => usage.exit(),
        Err(error) => {
            adire_server::report(&error);
            ExitCode::FAILURE
        }
    }
}
