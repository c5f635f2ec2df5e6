//! `adire adapters convert`: converts an adapter to another program's format.

use std::path::{Path, PathBuf};

use adire_engine::{
    adapter::{Adapter, ExportFile, ExportFormat, ModuleTable},
    write_whole,
};
use anyhow::{Context, bail};
use clap::Args;

use crate::commands::{model_args, print};

/// Arguments of `adire adapters convert`.
#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// Adapter file (.safetensors), or a PEFT folder
    file: PathBuf,
    /// Format: kohya, diffusers or peft
    #[arg(long)]
    to: ExportFormat,
    /// Output file; for peft, a new folder
    #[arg(long)]
    out: PathBuf,
    /// Model folder in Hugging Face layout, for an adapter of a model with another structure than SD 1.5
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
}

impl ConvertArgs {
    /// Converts the file.
    ///
    /// # Errors
    /// The file is not an adapter, or the format cannot express it: one sentence.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        if self.out.exists() {
            bail!("{} exists already; choose another path with --out", self.out.display());
        }
        let adapter = Adapter::read(&self.file)?;
        let table = match &self.model {
            None => ModuleTable::sd15()?,
            Some(folder) => ModuleTable::of_folder(&model_args::resolve(folder))?,
        };
        let files = adapter.export(self.to, &table)?;
        write(&self.out, &files).with_context(|| format!("cannot write {}", self.out.display()))?;
        print(format_args!("{}: {} layers", self.out.display(), adapter.modules().len()))?;
        if !adapter.unknown_keys().is_empty() {
            let names = adapter.unknown_keys().iter().take(12).cloned().collect::<Vec<_>>().join(", ");
            let count = adapter.unknown_keys().len();
            let names = adire_protocol::visible(&names);
            print(format_args!("{count} tensors belong to no adapter layer and were left out: {names}"))?;
        }
        if !adapter.embeddings().is_empty() {
            let words = adapter.embeddings().keys().cloned().collect::<Vec<_>>().join(", ");
            let words = adire_protocol::visible(&words);
            print(format_args!("Textual inversions were left out: {words}"))?;
        }
        Ok(())
    }
}

/// Writes one file, or a folder of several, whole or not at all.
fn write(out: &Path, files: &[ExportFile]) -> std::io::Result<()> {
    write_whole(out, |part| {
        files.iter().try_for_each(|file| {
            let is_alone = file.name.as_os_str().is_empty();
            let path = if is_alone { part.to_owned() } else { part.join(&file.name) };
            if let Some(folder) = path.parent().filter(|_| !is_alone) {
                std::fs::create_dir_all(folder)?;
            }
            std::fs::write(path, &file.bytes)
        })
    })
}
