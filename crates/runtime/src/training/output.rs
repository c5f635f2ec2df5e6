//! What a finished run leaves in its folder.

use std::{
    fs,
    path::{Path, PathBuf},
};

use adire_engine::{
    EngineError, Result,
    adapter::{Adapter, ExportFormat},
    train::Trainer,
    write_whole,
};

use super::card::Outcome;

/// The run's whole state.
pub const CHECKPOINT: &str = "checkpoint.safetensors";

/// Writes the adapter in both formats and the model card; gives their paths, the adapter in kohya's format first.
pub(super) fn write(trainer: &Trainer, outcome: &Outcome<'_>) -> Result<Vec<PathBuf>> {
    let (folder, name) = (&outcome.task.folder, &outcome.task.name);
    let bytes = trainer.parameters().to_kohya(outcome.metadata())?;
    let kohya = folder.join(format!("{name}.safetensors"));
    let adapter = Adapter::from_bytes(&kohya, &bytes)?;
    let table = trainer.parameters().table();
    let diffusers = folder.join(format!("{name}-diffusers.safetensors"));
    let exported = adapter.export(ExportFormat::Diffusers, &table)?.into_iter().next();
    let exported = exported.map(|file| file.bytes).unwrap_or_default();
    let card = folder.join("README.md");
    let files = [(kohya, bytes), (diffusers, exported), (card, outcome.card().into_bytes())];
    for (path, bytes) in &files {
        put(path, bytes)?;
    }
    Ok(files.map(|(path, _)| path).into())
}

/// Whole or not at all: another program may look at the folder.
pub(super) fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    write_whole(path, |part| fs::write(part, bytes))
        .map_err(|error| EngineError::Request(format!("{} cannot be written ({error})", path.display())))
}
