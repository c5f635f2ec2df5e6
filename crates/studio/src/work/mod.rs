//! Runs the queue: jobs are claimed under a lease (`claim`, `lease`) and run unit by unit by one task (`scheduler`). A kind
//! of job is one file: `generation`, `training`, or a folder with a file for each step: `evaluation`. `shadow` is what is
//! done while none waits.

mod claim;
mod evaluation;
mod generation;
mod intake;
mod lease;
mod render;
mod restore;
mod scheduler;
mod shadow;
#[cfg(test)]
mod tests;
mod training;

pub(crate) use claim::Claimer;
pub(crate) use generation::{expected_ms, wants};
pub(crate) use intake::set_intake;
pub(crate) use lease::keep;
pub(crate) use restore::{refresh, unfinished};
pub(crate) use scheduler::run;
pub(crate) use training::expected_training_ms;

/// Whether a run has reached its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progressed {
    More,
    Done,
}
