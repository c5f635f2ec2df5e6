//! What a finished run leaves in its folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use adire_engine::{
    EngineError, Result,
    adapter::{Adapter, ExportFormat},
    train::Trainer,
    write_whole,
};

use adire_studio::{STEPS_FOLDER, step_file};

use super::card::Outcome;

/// The run's whole state.
pub const CHECKPOINT: &str = "checkpoint.safetensors";

/// Most steps whose adapters are kept.
const MAX_STEPS: usize = 20;

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

/// Writes the adapter as it is at a step beside the checkpoint, and forgets the oldest such files.
pub(super) fn write_step(trainer: &Trainer, outcome: &Outcome<'_>) -> Result<()> {
    let folder = outcome.task.folder.join(STEPS_FOLDER);
    let failed =
        |error: io::Error| EngineError::Request(format!("{} cannot be written ({error})", folder.display()));
    fs::create_dir_all(&folder).map_err(failed)?;
    let bytes = trainer.parameters().to_kohya(outcome.metadata())?;
    put(&folder.join(step_file(trainer.steps_done())), &bytes)?;
    let mut known: Vec<PathBuf> =
        fs::read_dir(&folder).map_err(failed)?.flatten().map(|entry| entry.path()).collect();
    known.sort();
    for old in known.iter().rev().skip(MAX_STEPS) {
        // One more on the disk does no harm.
        let _ = fs::remove_file(old);
    }
    Ok(())
}

/// Whole or not at all: another program may look at the folder.
pub(super) fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    write_whole(path, |part| fs::write(part, bytes))
        .map_err(|error| EngineError::Request(format!("{} cannot be written ({error})", path.display())))
}
