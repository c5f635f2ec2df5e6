//! The program `adire`. Everything is in the library, where tests reach it.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match adire_server::run(adire_server::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("adire: {error:#}");
            ExitCode::FAILURE
        }
    }
}
