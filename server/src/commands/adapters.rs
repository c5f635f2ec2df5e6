//! `adire adapters …`.

use clap::Subcommand;

use super::{add::AddArgs, convert::ConvertArgs, inspect::InspectArgs};

/// Commands on adapters.
#[derive(Debug, Subcommand)]
pub(crate) enum AdaptersCommand {
    /// Show what an adapter file holds and how it applies
    Inspect(InspectArgs),
    /// Add an adapter file to a data folder, after loading it onto the model
    Add(Box<AddArgs>),
    /// Convert an adapter to the format of kohya, diffusers or PEFT
    Convert(ConvertArgs),
    /// Upload a version to the Hugging Face Hub, with HF_TOKEN
    Push(super::push::PushArgs),
}

impl AdaptersCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// One sentence that says what went wrong and what to do.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Inspect(args) => args.run(),
            Self::Add(args) => args.run(),
            Self::Convert(args) => args.run(),
            Self::Push(args) => args.run(),
        }
    }
}
