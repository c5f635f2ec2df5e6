//! `adire models list`.

use std::fmt::Write as _;

use clap::Args;

use crate::commands::print;
use crate::{
    commands::model_args,
    hub::{self, Kind},
};

/// No arguments.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {}

impl ListArgs {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let mut text = String::new();
        if let Some(starter) = model_args::starter() {
            let _ = writeln!(text, "starter  bundled with Adire  {}", starter.display());
        }
        for cached in hub::cached(&hub::folder()) {
            let kind = match cached.kind {
                Kind::Folder => "folder",
                Kind::Checkpoint => "single file",
                Kind::Tokenizer => "tokenizer only",
                Kind::Judge => "judge",
                Kind::ImageTower => "image tower",
            };
            let _ = writeln!(text, "{}  {kind}  {}", cached.name, cached.path.display());
        }
        if text.is_empty() {
            text = format!(
                "No models yet. Download one with `adire models pull OWNER/NAME`; it is stored in {}.\n",
                hub::folder().display()
            );
        }
        print(text.trim_end())
    }
}
