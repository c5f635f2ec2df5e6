//! The files that a finished run leaves beside its version.

use std::path::PathBuf;

use crate::{StudioError, shared::Shared};

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrainingFile {
    /// The adapter in kohya's format; the version's own file.
    Kohya,
    /// The same in diffusers' format.
    Diffusers,
    /// The model card.
    Card,
}

impl TrainingFile {
    /// As it is called in the folder of a run that makes the adapter `name`.
    pub fn name(self, name: &str) -> String {
        match self {
            Self::Kohya => format!("{name}.safetensors"),
            Self::Diffusers => format!("{name}-diffusers.safetensors"),
            Self::Card => "README.md".to_owned(),
        }
    }
}

/// Where it lies.
pub(crate) async fn file(shared: &Shared, id: &str, which: TrainingFile) -> Result<PathBuf, StudioError> {
    let job = super::job(shared, id).await?;
    let path = shared.training.folder_of(&job.id).join(which.name(&job.name));
    if job.version.is_none() || !path.is_file() {
        return Err(StudioError::not_found("file of training run", &job.id));
    }
    Ok(path)
}
