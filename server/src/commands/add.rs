//! `adire adapters add`: adds an adapter file to a data folder, after loading it onto the model.

use std::path::{Path, PathBuf};

use adire_engine::adapter::{Adapter, ExportFormat, ModuleTable};
use adire_runtime::EngineBackend;
use adire_studio::{Mover, NewAdapter, Studio, StudioError};
use anyhow::{Context, anyhow};
use clap::Args;

use crate::commands::{keep_private, model_args};

/// Arguments of `adire adapters add`.
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// Adapter file (.safetensors), or a PEFT folder, which is stored as one file
    file: PathBuf,
    /// Name without version: lower-case letters, digits, - _ .
    #[arg(long)]
    name: String,
    /// Version number [default: the next one]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    version: Option<u32>,
    /// Description, one sentence
    #[arg(long, default_value = "")]
    description: String,
    /// Trigger word
    #[arg(long, default_value = "")]
    trigger: String,
    /// Refuse a file that applies only in part, instead of warning
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    model_and_data: model_args::ModelAndDataArgs,
    #[command(flatten)]
    storage: model_args::StorageArgs,
}

impl AddArgs {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        keep_private();
        let config = self.storage.config(&self.model_and_data.data)?;
        let model = self.model_and_data.model()?;
        let one = if self.file.is_dir() { Some(OneFile::of(&self.file, &model.path)?) } else { None };
        let path = one.as_ref().map_or(self.file, |one| one.0.clone());
        let new = NewAdapter {
            name: self.name,
            version: self.version,
            path,
            description: self.description,
            trigger: self.trigger,
            strict: self.strict,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let added = runtime.block_on(async {
            let studio = Studio::open(config, move || EngineBackend::load(&model.path, &model.options)).await;
            let studio = studio.map_err(while_it_serves)?;
            let added = studio.add_adapter_by(new, Mover::CommandLine).await;
            studio.shutdown().await;
            anyhow::Ok(added?)
        })?;
        if let Some(warning) = &added.warning {
            eprintln!("Warning: {warning}");
        }
        println!("Added {} to {} (sha256 {})", added.id(), self.model_and_data.data.display(), added.hash);
        Ok(())
    }
}

/// A running server adds files itself.
fn while_it_serves(error: StudioError) -> anyhow::Error {
    match error {
        StudioError::InUse { .. } => anyhow!(
            "{error} A running server adds the file itself: “Add adapter” on /admin/versions, or POST /admin/api/adapters."
        ),
        other => other.into(),
    }
}

/// A PEFT folder converted to one temporary file, deleted on drop.
struct OneFile(PathBuf);

impl OneFile {
    fn of(folder: &Path, model: &Path) -> anyhow::Result<Self> {
        let adapter = Adapter::read(folder)?;
        let table = if model.is_dir() { ModuleTable::of_folder(model)? } else { ModuleTable::sd15()? };
        let files = match adapter.export(ExportFormat::Kohya, &table) {
            Ok(files) => files.into_iter().map(|file| file.bytes).collect(),
            // kohya's format cannot express every PEFT adapter.
            Err(_) => vec![adire_engine::adapter::one_file(folder)?],
        };
        let path = std::env::temp_dir().join(format!("adire-{}.safetensors", uuid::Uuid::new_v4()));
        let this = Self(path);
        for bytes in files {
            std::fs::write(&this.0, bytes).with_context(|| format!("cannot write {}", this.0.display()))?;
        }
        Ok(this)
    }
}

impl Drop for OneFile {
    fn drop(&mut self) {
        // A leftover file in the temporary folder does no harm.
        let _ = std::fs::remove_file(&self.0);
    }
}
