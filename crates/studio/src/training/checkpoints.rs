//! Adapters as they were at the checkpoints of a run, finished or not: any of them can become a version.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use adire_protocol::AdapterVersion;

use crate::{NewAdapter, StudioError, additions, folder::failed, shared::Shared, tasks::blocking, time::now};

/// Folder of them in the folder of a run.
pub const STEPS_FOLDER: &str = "steps";

/// The name of a step's file in it. Names sort as their steps do.
pub fn step_file(step: u32) -> String {
    format!("{step:08}.safetensors")
}

/// Steps whose adapter is there, in their order.
pub(crate) async fn steps(shared: &Shared, id: &str) -> Result<Vec<u32>, StudioError> {
    let job = super::job(shared, id).await?;
    let folder = shared.training.folder_of(&job.id).join(STEPS_FOLDER);
    let found = blocking(move || {
        list(&folder).map_err(|error| failed(format!("{} cannot be read", folder.display()), &error))
    });
    let mut steps = found.await?;
    // After a halved learning rate a run goes back, and what was ahead of it does not count.
    steps.retain(|step| *step <= job.step);
    steps.sort_unstable();
    Ok(steps)
}

/// The steps that a folder has files of, in no order.
fn list(folder: &Path) -> io::Result<Vec<u32>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        // It appears with the first checkpoint.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let step = |name: OsString| name.to_str()?.strip_suffix(".safetensors")?.parse::<u32>().ok();
    let mut steps = Vec::new();
    for entry in entries {
        steps.extend(step(entry?.file_name()));
    }
    Ok(steps)
}

/// Keeps the adapter of a step beside the versions, so that generations can use it while the run trains. It does not become a version.
pub(crate) async fn put_aside(shared: &Arc<Shared>, run: &str, step: u32) -> Result<(), StudioError> {
    if shared.store.checkpoint(run, step).await?.is_some() {
        return Ok(());
    }
    let source = file_of(shared, run, step);
    let staged = shared.blobs.stage_file(&source, StudioError::Storage).await?;
    let _keeping = shared.blobs.keeping().await;
    let hash = shared.blobs.keep(staged).await?;
    shared.store.insert_checkpoint(run, step, &hash, now()).await
}

fn file_of(shared: &Shared, run: &str, step: u32) -> PathBuf {
    shared.training.folder_of(run).join(STEPS_FOLDER).join(step_file(step))
}

/// Makes the adapter of a step a version. Again, it gives the same version.
pub(crate) async fn keep(shared: Arc<Shared>, id: &str, step: u32) -> Result<AdapterVersion, StudioError> {
    let job = super::job(&shared, id).await?;
    let missing = || StudioError::not_found("checkpoint", &format!("{id}, step {step}"));
    // A run forgets its oldest; a sheet's is kept.
    let (aside, path) = if steps(&shared, id).await?.contains(&step) {
        (None, file_of(&shared, &job.id, step))
    } else {
        let hash = shared.store.checkpoint(&job.id, step).await?.ok_or_else(missing)?;
        let file = shared.blobs.local(&hash).await?.ok_or_else(missing)?;
        let path = file.to_path_buf();
        (Some(file), path)
    };
    let trigger = match shared.datasets.read(&job.dataset).await {
        Ok(dataset) => dataset.trigger,
        // One whose dataset was deleted has none.
        Err(StudioError::NotFound { .. }) => String::new(),
        Err(error) => return Err(error),
    };
    let new = NewAdapter {
        name: job.name,
        version: None,
        path,
        description: format!("Step {step} of {} of a training run.", job.steps),
        trigger,
        strict: false,
    };
    let version = additions::add(shared.clone(), new, None).await;
    drop(aside);
    let version = version?;
    shared.store.insert_kept_step(&version.id(), &job.id, step).await?;
    Ok(version)
}
