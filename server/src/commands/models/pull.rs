//! `adire models pull`.

use std::io::Write as _;

use clap::Args;

use crate::commands::print;
use crate::hub::{self, Part, Variant, Wanted};

/// Model to download. HF_ENDPOINT, HF_TOKEN and HF_HOME are honoured.
#[derive(Debug, Args)]
pub(crate) struct PullArgs {
    /// OWNER/NAME on the Hub
    repository: String,
    /// Branch, tag or commit
    #[arg(long, default_value = "main")]
    revision: String,
    /// Weights to download, where the repository has several variants
    #[arg(long, value_enum, default_value_t = Variant::Full)]
    variant: Variant,
    /// A single-file checkpoint of the repository, instead of its folders
    #[arg(long, value_name = "NAME.safetensors")]
    file: Option<String>,
    /// Only the tokenizer of a CLIP, for single-file checkpoints; without it a CLIP is downloaded whole, to judge images
    #[arg(long, conflicts_with = "file")]
    tokenizer_only: bool,
}

impl PullArgs {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let part = match self.file {
            Some(file) => Part::File(file),
            None if self.tokenizer_only => Part::Tokenizer,
            None => Part::Whole,
        };
        let wanted = Wanted {
            what: "model",
            repository: self.repository,
            revision: self.revision,
            variant: self.variant,
            part,
        };
        let snapshot = hub::pull(&wanted, &mut |report| {
            if let hub::Report::Line(line) = report {
                let _ = writeln!(std::io::stderr(), "{line}");
            }
        })?;
        let name = hub::cached(&hub::folder()).into_iter().find(|cached| {
            let file = match &wanted.part {
                Part::File(file) => cached.path == cached.snapshot.join(file),
                Part::Whole | Part::Tokenizer => true,
            };
            cached.snapshot == snapshot && file
        });
        let name = name.map_or(wanted.repository, |cached| cached.name);
        print(format_args!("Downloaded {name} to {}", snapshot.display()))?;
        Ok(())
    }
}
