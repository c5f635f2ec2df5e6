//! `adire models …`.

mod list;
mod pull;
mod verify;

use clap::Subcommand;

use self::{list::ListArgs, pull::PullArgs, verify::VerifyArgs};

/// Commands on models.
#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    /// Download a model from the Hugging Face Hub
    Pull(PullArgs),
    /// List models; their names can be passed to --model
    List(ListArgs),
    /// Check the files of downloaded models against their hashes
    Verify(VerifyArgs),
}

impl ModelsCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// One sentence that says what went wrong and what to do.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Pull(args) => args.run(),
            Self::List(args) => args.run(),
            Self::Verify(args) => args.run(),
        }
    }
}
