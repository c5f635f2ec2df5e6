//! The command line: which commands there are. Each lives in its own file under `commands/`.

use clap::{Parser, Subcommand};

use crate::commands::{
    adapters::AdaptersCommand,
    admin::AdminCommand,
    datasets::DatasetsCommand,
    embeddings::EmbeddingsCommand,
    generate::GenerateArgs,
    health::HealthArgs,
    models::ModelsCommand,
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
    /// Open the studio: web page and JSON API
    Serve(ServeArgs),
    /// Make one image
    Generate(GenerateArgs),
    /// Make an image again from the recipe that it carries, and compare
    Verify(VerifyArgs),
    /// Train an adapter on a folder of images; the same command again goes on with an interrupted run
    Train(Box<TrainArgs>),
    /// Take images to train on into a data folder, or list what is there
    #[command(subcommand)]
    Datasets(DatasetsCommand),
    /// Look into adapter files, or take one into a data folder
    #[command(subcommand)]
    Adapters(AdaptersCommand),
    /// Add, list or remove embeddings (textual inversions), which prompts use by their words
    #[command(subcommand)]
    Embeddings(EmbeddingsCommand),
    /// Who may train and change what the studio offers
    #[command(subcommand)]
    Admin(AdminCommand),
    /// Fetch models, list them, check their files
    #[command(subcommand)]
    Models(ModelsCommand),
    /// Ask a running server whether it lives; exit code 0 when it does
    Health(HealthArgs),
    #[command(hide = true)]
    Selftest(SelftestArgs),
    #[command(hide = true)]
    Measure(MeasureArgs),
}

/// Runs what the command line says.
///
/// # Errors
/// One sentence that says what went wrong and what to do; a [`clap::Error`] where an argument is at fault.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Serve(args) => args.run(),
        Command::Generate(args) => args.run(),
        Command::Train(args) => args.run(),
        Command::Datasets(command) => command.run(),
        Command::Adapters(command) => command.run(),
        Command::Embeddings(command) => command.run(),
        Command::Admin(command) => command.run(),
        Command::Verify(args) => args.run(),
        Command::Models(command) => command.run(),
        Command::Health(args) => args.run(),
        Command::Selftest(args) => args.run(),
        Command::Measure(args) => args.run(),
    }
}

/// Text for a terminal or a log: control characters are written out (`\u{1b}`), lines and tabs stay.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        // Also what turns the direction of writing around, with which a name can look like another one.
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
    fn a_terminal_is_not_told_what_to_do() {
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
