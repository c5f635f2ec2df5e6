//! Measurements; never part of the tests.

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::{serve, shell, test::Bench};

#[derive(Args)]
pub(crate) struct BenchArgs {
    #[arg(value_enum)]
    what: What,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// The page in Chromium: transfer, requests, first paint, overhead of a generation, memory.
    Web,
}

/// Measures and prints.
pub(crate) fn run(args: &BenchArgs) -> Result<()> {
    match args.what {
        What::Web => {
            let program = serve::build()?;
            shell::run(Bench::ready()?.node(&program).arg("bench.mjs"))
        }
    }
}
