//! The program `adire`. Everything is in the library, where tests reach it.

use std::{
    io::{Write, stderr},
    process::ExitCode,
};

use clap::Parser;

fn main() -> ExitCode {
    // First: everything else may hold instructions that the processor lacks.
    if let Some(missing) = adire_server::missing() {
        return refuse(missing);
    }
    start()
}

/// Without formatting, which is code of ours as well.
#[cold]
#[inline(never)]
fn refuse(missing: &str) -> ExitCode {
    for part in [
        "adire: this processor, or the virtual machine's, lacks ",
        missing,
        "; Adire needs x86-64-v3: a processor of Intel from 2013 (Haswell), of AMD from 2015 or newer. In a virtual machine, \
         choose the host's CPU type.\n",
    ] {
        // Nobody may be there to read it.
        let _ = stderr().write_all(part.as_bytes());
    }
    ExitCode::FAILURE
}

#[inline(never)]
fn start() -> ExitCode {
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
