//! The command line: which commands there are. Each lives in its own file under `commands/`.

use clap::{Parser, Subcommand};

use crate::commands::health::HealthArgs;

/// A studio for Stable Diffusion and LoRA adapters
#[derive(Debug, Parser)]
#[command(name = "adire", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Ask a running server whether it lives; exit code 0 when it does
    Health(HealthArgs),
}

/// Runs what the command line says.
///
/// # Errors
/// One sentence that says what went wrong and what to do.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Health(args) => args.run(),
    }
}
