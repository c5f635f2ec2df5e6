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
    /// All.
    pub const ALL: [Self; 3] = [Self::Kohya, Self::Diffusers, Self::Card];

    /// As it is called in a run's folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kohya => "adapter.safetensors",
            Self::Diffusers => "adapter-diffusers.safetensors",
            Self::Card => "README.md",
        }
    }
}

/// Where it lies, with the name of the adapter.
pub(crate) async fn file(
    shared: &Shared,
    id: &str,
    which: TrainingFile,
) -> Result<(String, PathBuf), StudioError> {
    let job = super::job(shared, id).await?;
    let path = shared.training.folder_of(&job.id).join(which.name());
    if job.version.is_none() || !path.is_file() {
        return Err(StudioError::NotFound { what: "finished file of training", id: job.id });
    }
    Ok((job.name, path))
}
