//! The command line and its commands; each has its own file under `commands/`.

use std::process::ExitCode;

use adire_protocol::Stage;
use clap::{Parser, Subcommand};

use crate::commands::{
    adapters::AdaptersCommand,
    admin::AdminCommand,
    datasets::DatasetsCommand,
    embeddings::EmbeddingsCommand,
    evaluate::EvaluateArgs,
    generate::GenerateArgs,
    health::HealthArgs,
    mlflow::MlflowCommand,
    models::ModelsCommand,
    registry::{AliasCommand, LedgerCommand, PromoteArgs, RollbackArgs, StageArgs},
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
    /// Score an adapter version and decide whether it passes the gate
    Evaluate(Box<EvaluateArgs>),
    /// Put an adapter version into production
    Promote(PromoteArgs),
    /// Return production to an earlier version
    Rollback(RollbackArgs),
    /// Reject an adapter version
    Reject(StageArgs),
    /// Archive an adapter version
    Archive(StageArgs),
    /// Make a rejected or archived adapter version a candidate again
    Reopen(StageArgs),
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
    /// Take runs and versions over from an MLflow server
    #[command(subcommand)]
    Mlflow(MlflowCommand),
    /// Check that a server is up (exit code 0)
    Health(HealthArgs),
    #[command(hide = true)]
    Selftest(SelftestArgs),
    #[command(hide = true)]
    Measure(MeasureArgs),
}

/// Runs the command; the exit code says more than success only where a command decides something.
///
/// # Errors
/// One sentence that says what went wrong and what to do; a [`clap::Error`] for an invalid argument.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let done = match cli.command {
        Command::Evaluate(args) => return Ok(args.run()),
        Command::Serve(args) => args.run(),
        Command::Generate(args) => args.run(),
        Command::Train(args) => args.run(),
        Command::Datasets(command) => command.run(),
        Command::Adapters(command) => command.run(),
        Command::Promote(args) => args.run(),
        Command::Rollback(args) => args.run(),
        Command::Reject(args) => args.run(Stage::Rejected),
        Command::Archive(args) => args.run(Stage::Archived),
        Command::Reopen(args) => args.run(Stage::Candidate),
        Command::Ledger(command) => command.run(),
        Command::Alias(command) => command.run(),
        Command::Embeddings(command) => command.run(),
        Command::Admin(command) => command.run(),
        Command::Verify(args) => args.run(),
        Command::Models(command) => command.run(),
        Command::Mlflow(command) => command.run(),
        Command::Health(args) => args.run(),
        Command::Selftest(args) => args.run(),
        Command::Measure(args) => args.run(),
    };
    done.map(|()| ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_option_of_serve_but_one_has_a_variable() {
        let command = Cli::command();
        let serve = command.find_subcommand("serve").unwrap();
        let without: Vec<&str> = serve
            .get_arguments()
            .filter(|argument| argument.get_env().is_none())
            .filter_map(|argument| argument.get_long())
            .filter(|name| *name != "help")
            .collect();
        // Opening the admin pages is a decision for a command line.
        assert_eq!(without, ["open-admin"], "docs/deploy.md names it");
    }
}
