//! `adire adapters add`: adds an adapter file to a data folder, after loading it onto the model.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use adire_engine::adapter::{Adapter, ExportFormat, ModuleTable};
use adire_runtime::EngineBackend;
use adire_studio::{Mover, NewAdapter, Studio, StudioError};
use anyhow::{Context, anyhow};
use clap::Args;
use tempfile::NamedTempFile;

use crate::{
    commands::{keep_private, model_args, print},
    scratch,
};

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
        // Before the model is loaded, which takes longer.
        let converted = if self.file.is_dir() { Some(one_file(&self.file, &model.path)?) } else { None };
        let mut new = NewAdapter {
            name: self.name,
            version: self.version,
            path: self.file,
            description: self.description,
            trigger: self.trigger,
            strict: self.strict,
        };
        let data = &self.model_and_data.data;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let added = runtime.block_on(async {
            let studio = Studio::open(config, move || EngineBackend::load(&model.path, &model.options)).await;
            let studio = studio.map_err(while_it_serves)?;
            let file = converted.map(|bytes| keep(data, &bytes)).transpose();
            let added = match &file {
                Ok(file) => {
                    new.path = file.as_ref().map_or(new.path, |file| file.path().to_owned());
                    studio.add_adapter_by(new, Mover::CommandLine).await.map_err(anyhow::Error::from)
                }
                Err(error) => Err(anyhow!("cannot write a file in {}: {error}", data.display())),
            };
            studio.shutdown().await;
            anyhow::Ok(added?)
        })?;
        if let Some(warning) = &added.warning {
            eprintln!("Warning: {warning}");
        }
        let data = self.model_and_data.data.display();
        print(format_args!("Added {} to {data} (sha256 {})", added.id(), added.hash))
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

/// A PEFT folder as one file: its bytes.
fn one_file(folder: &Path, model: &Path) -> anyhow::Result<Vec<u8>> {
    let adapter = Adapter::read(folder)?;
    let table = if model.is_dir() { ModuleTable::of_folder(model)? } else { ModuleTable::sd15()? };
    match adapter.export(ExportFormat::Kohya, &table) {
        Ok(files) => files.into_iter().map(|file| file.bytes).next_back().context("the adapter is empty"),
        // kohya's format cannot express every PEFT adapter.
        Err(_) => Ok(adire_engine::adapter::one_file(folder)?),
    }
}

/// The file in the data folder until it is dropped.
fn keep(data: &Path, bytes: &[u8]) -> std::io::Result<NamedTempFile> {
    let mut file = scratch::adapter(data)?;
    file.write_all(bytes)?;
    Ok(file)
}
