//! Where the model, the data and the page's files lie, said or guessed.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

/// The folders that several commands need.
#[derive(Clone, Debug, Args)]
pub(crate) struct Places {
    /// Data folder: jobs, pictures, adapters; made when absent
    #[arg(long, env = "ADIRE_DATA", default_value = "data")]
    pub(crate) data: PathBuf,
    /// Model folder in Hugging Face layout; the starter model when left out
    #[arg(long, env = "ADIRE_MODEL")]
    model: Option<PathBuf>,
}

impl Places {
    /// The model folder that was named, or the starter model.
    pub(crate) fn model(&self) -> anyhow::Result<PathBuf> {
        named_or_starter(self.model.as_deref())
    }
}

/// `named`, or the starter model: `models/starter` here or beside the program.
pub(crate) fn named_or_starter(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(folder) = named {
        return Ok(folder.to_owned());
    }
    let found =
        beside_program("models/starter").into_iter().find(|folder| folder.join("model_index.json").is_file());
    found.context("no model was found; name a folder in Hugging Face layout with --model or ADIRE_MODEL")
}

/// The folder with the page's files: `site` beside the program, or where the build puts it.
pub(crate) fn site() -> Option<PathBuf> {
    let mut candidates = beside_program("site");
    candidates.push(PathBuf::from("target/site"));
    candidates.into_iter().find(|folder| folder.join("pkg").is_dir())
}

/// `name` in this folder, beside the program, and in the folders above it (`target/release/adire` finds what lies
/// in `target` and in the checkout).
fn beside_program(name: &str) -> Vec<PathBuf> {
    let program = std::env::current_exe().ok();
    let above = program.as_deref().into_iter().flat_map(|program| program.ancestors().skip(1).take(3));
    std::iter::once(Path::new("")).chain(above).map(|folder| folder.join(name)).collect()
}
