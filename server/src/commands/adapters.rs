//! `adire adapters …`.

use clap::Subcommand;

use super::{add::AddArgs, convert::ConvertArgs, inspect::InspectArgs};

/// What can be done with adapter files.
#[derive(Debug, Subcommand)]
pub(crate) enum AdaptersCommand {
    /// Say what an adapter file is and how it would apply
    Inspect(InspectArgs),
    /// Take an adapter file into a data folder, after trying it against the model
    Add(AddArgs),
    /// Write an adapter in the format of kohya, diffusers or PEFT
    Convert(ConvertArgs),
}

impl AdaptersCommand {
    /// Does it.
    ///
    /// # Errors
    /// One sentence that says what went wrong and what to do.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Inspect(args) => args.run(),
            Self::Add(args) => args.run(),
            Self::Convert(args) => args.run(),
        }
    }
}
