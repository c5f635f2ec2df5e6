//! `adire adapters add`: takes an adapter file into a data folder, after trying it against the model.

use std::path::PathBuf;

use adire_studio::{NewAdapter, Studio, StudioConfig};
use clap::Args;

use crate::{backend::EngineBackend, commands::places};

/// The file, and what it is to be called.
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// LoRA file (.safetensors)
    file: PathBuf,
    /// Name without version: lower-case letters, digits, - _ .
    #[arg(long)]
    name: String,
    /// Version number; the next one when left out
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    version: Option<u32>,
    /// What it teaches, one sentence
    #[arg(long, default_value = "")]
    description: String,
    /// Words that call the style up in a prompt
    #[arg(long, default_value = "")]
    trigger: String,
    #[command(flatten)]
    places: places::Places,
}

impl AddArgs {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let model = self.places.model()?;
        let config = StudioConfig::new(&self.places.data);
        let new = NewAdapter {
            name: self.name,
            version: self.version,
            path: self.file,
            description: self.description,
            trigger: self.trigger,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let added = runtime.block_on(async {
            let studio =
                Studio::open(config, move || EngineBackend::load(&model.path, &model.options)).await?;
            let added = studio.add_adapter(new).await;
            studio.shutdown().await;
            added
        })?;
        println!("{} is in {} (sha256 {})", added.id(), self.places.data.display(), added.hash);
        Ok(())
    }
}
