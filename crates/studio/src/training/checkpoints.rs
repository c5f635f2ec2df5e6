//! Adapters as they were at the checkpoints of a run, finished or not: any of them can become a version.

use std::{fs, path::PathBuf, sync::Arc};

use adire_protocol::AdapterVersion;

use crate::{NewAdapter, StudioError, adapters, shared::Shared, tasks::blocking};

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
        // The folder appears with the first checkpoint.
        let names = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
        let step =
            |name: std::ffi::OsString| name.to_str()?.strip_suffix(".safetensors")?.parse::<u32>().ok();
        Ok(names.filter_map(step).collect::<Vec<_>>())
    });
    let mut steps = found.await?;
    // After a halved learning rate a run goes back, and what was ahead of it does not count.
    steps.retain(|step| *step <= job.step);
    steps.sort_unstable();
    Ok(steps)
}

/// Makes the adapter of a step a version. Again, it gives the same version.
pub(crate) async fn keep(shared: Arc<Shared>, id: &str, step: u32) -> Result<AdapterVersion, StudioError> {
    if !steps(&shared, id).await?.contains(&step) {
        return Err(StudioError::NotFound { what: "checkpoint", id: format!("{id}, step {step}") });
    }
    let job = super::job(&shared, id).await?;
    let path: PathBuf = shared.training.folder_of(&job.id).join(STEPS_FOLDER).join(step_file(step));
    // One whose dataset was deleted has none.
    let dataset = shared.datasets.read(&job.dataset).await;
    let new = NewAdapter {
        name: job.name,
        version: None,
        path,
        description: format!("Step {step} of {} of a training run.", job.steps),
        trigger: dataset.map(|dataset| dataset.trigger).unwrap_or_default(),
        strict: false,
    };
    adapters::add(shared, new).await
}
