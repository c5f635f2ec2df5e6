//! The command line and its commands; each has its own file under `commands/`.

use clap::{Parser, Subcommand};

use crate::commands::{
    adapters::AdaptersCommand,
    admin::AdminCommand,
    datasets::DatasetsCommand,
    embeddings::EmbeddingsCommand,
    generate::GenerateArgs,
    health::HealthArgs,
    models::ModelsCommand,
    registry::{AliasCommand, LedgerCommand, PromoteArgs, RollbackArgs},
    selftest::{MeasureArgs, SelftestArgs},
    serve::ServeArgs,
    train::TrainArgs,
    verify::VerifyArgs,
};

/// A studio for Stable Diffusion and LoRA adapters
#[derive(Debug, Parser)]
#[command(name = "adire", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the studio: web page and JSON API
    Serve(Box<ServeArgs>),
    /// Generate an image
    Generate(Box<GenerateArgs>),
    /// Re-render an image from its recipe and compare
    Verify(VerifyArgs),
    /// Train an adapter on a folder of images; run again to resume
    Train(Box<TrainArgs>),
    /// Import or list datasets
    #[command(subcommand)]
    Datasets(DatasetsCommand),
    /// Inspect, add or convert adapters
    #[command(subcommand)]
    Adapters(AdaptersCommand),
    /// Put an adapter version into production
    Promote(PromoteArgs),
    /// Return production to an earlier version
    Rollback(RollbackArgs),
    /// List or verify the ledger of an adapter
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// Set or delete aliases of adapter versions
    #[command(subcommand)]
    Alias(AliasCommand),
    /// Add, list or remove embeddings (textual inversions)
    #[command(subcommand)]
    Embeddings(EmbeddingsCommand),
    /// Manage admin access
    #[command(subcommand)]
    Admin(AdminCommand),
    /// Download, list or verify models
    #[command(subcommand)]
    Models(ModelsCommand),
    /// Check that a server is up (exit code 0)
    Health(HealthArgs),
    #[command(hide = true)]
    Selftest(SelftestArgs),
    #[command(hide = true)]
    Measure(MeasureArgs),
}

/// Runs the command.
///
/// # Errors
/// One sentence that says what went wrong and what to do; a [`clap::Error`] for an invalid argument.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Serve(args) => args.run(),
        Command::Generate(args) => args.run(),
        Command::Train(args) => args.run(),
        Command::Datasets(command) => command.run(),
        Command::Adapters(command) => command.run(),
        Command::Promote(args) => args.run(),
        Command::Rollback(args) => args.run(),
        Command::Ledger(command) => command.run(),
        Command::Alias(command) => command.run(),
        Command::Embeddings(command) => command.run(),
        Command::Admin(command) => command.run(),
        Command::Verify(args) => args.run(),
        Command::Models(command) => command.run(),
        Command::Health(args) => args.run(),
        Command::Selftest(args) => args.run(),
        Command::Measure(args) => args.run(),
    }
}

/// Escapes control characters (`\u{1b}`) for a terminal or a log; newlines and tabs stay.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        // Bidirectional controls too: they can make one name look like another.
        let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if (c.is_control() && !matches!(c, '\n' | '\t')) || turns {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn control_characters_are_escaped() {
        for (text, shown) in [
            ("lora_unet_\u{1b}[31mX", "lora_unet_\\u{1b}[31mX"),
            ("\u{9b}31m\u{7}\r\u{7f}", "\\u{9b}31m\\u{7}\\u{d}\\u{7f}"),
            ("a\u{202e}gnp.exe", "a\\u{202e}gnp.exe"),
            ("àdìrẹ\n\t“good”", "àdìrẹ\n\t“good”"),
        ] {
            assert_eq!(printable(text), shown);
        }
    }
}
