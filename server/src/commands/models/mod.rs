//! `adire models …`.

mod list;
mod pull;
mod verify;

use clap::Subcommand;

use self::{list::ListArgs, pull::PullArgs, verify::VerifyArgs};

/// What can be done with models.
#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    /// Fetch a model from the Hugging Face Hub
    Pull(PullArgs),
    /// Say which models are there; --model takes their names
    List(ListArgs),
    /// Check the files of fetched models against their hashes
    Verify(VerifyArgs),
}

impl ModelsCommand {
    /// Does it.
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
