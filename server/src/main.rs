//! The program `adire`. Everything is in the library, where tests reach it.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let Err(error) = adire_server::run(adire_server::Cli::parse()) else { return ExitCode::SUCCESS };
    match error.downcast::<clap::Error>() {
        // Says what is wrong with the argument and exits with 2.
        Ok(usage) => usage.exit(),
        Err(error) => {
            // Names in files that somebody made may hold what a terminal would obey.
            eprintln!("adire: {}", adire_server::printable(&format!("{error:#}")));
            ExitCode::FAILURE
        }
    }
}
