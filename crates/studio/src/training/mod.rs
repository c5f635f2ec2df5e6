//! Training runs as their callers see them: created and changed (`requests`), read (`views`). They are executed by
//! `work::training`. The database says which run is in which state; memory only knows what the running one does.

mod checkpoints;
mod files;
mod requests;
mod views;

pub use checkpoints::{STEPS_FOLDER, step_file};
pub(crate) use checkpoints::{keep, put_aside, steps};
pub use files::TrainingFile;
pub(crate) use files::file;
pub(crate) use requests::{cancel, pause, resume, set_settings, submit};
pub(crate) use views::{detail, job, jobs};
