//! `adire models pull`.

use std::io::Write as _;

use clap::Args;

use crate::hub::{self, Variant, Wanted};

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
}

impl PullArgs {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let wanted = Wanted {
            what: "model",
            repository: self.repository,
            revision: self.revision,
            variant: self.variant,
            file: self.file,
        };
        let snapshot = hub::pull(&wanted, &mut |line| {
            let _ = writeln!(std::io::stderr(), "{line}");
        })?;
        let name = hub::cached(&hub::folder()).into_iter().find(|cached| {
            let file = wanted.file.as_ref().is_none_or(|file| cached.path == cached.snapshot.join(file));
            cached.snapshot == snapshot && file
        });
        let name = name.map_or(wanted.repository, |cached| cached.name);
        let _ = writeln!(std::io::stdout(), "Downloaded {name} to {}", snapshot.display());
        Ok(())
    }
}
