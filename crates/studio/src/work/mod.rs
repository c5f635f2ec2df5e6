//! Runs the queue: jobs are claimed under a lease (`claim`, `lease`) and run unit by unit by one task (`scheduler`; `batch`: of several jobs at
//! once) until they come to `rest`. A kind of job is one file that implements `kind::Kind` and a line in `kinds`: `generation`, `training`,
//! `push`, or a folder with a file for each step: `evaluation`. `shadow` is what is done while none waits.

mod batch;
mod claim;
mod evaluation;
mod generation;
mod intake;
mod kind;
mod kinds;
mod lease;
mod push;
mod render;
mod rest;
mod restore;
mod scheduler;
mod shadow;
mod stop;
#[cfg(test)]
mod tests;
mod training;

pub use push::PushTask;

pub(crate) use generation::{expected_ms, wants};
pub(crate) use intake::set_intake;
pub(crate) use kind::{Entry, Progressed, Wait};
pub(crate) use kinds::{all_kinds, kind_of};
pub(crate) use lease::keep;
pub(crate) use push::{end_push, next_push, report_push};
pub(crate) use restore::{refresh, unfinished};
pub(crate) use scheduler::run;
pub(crate) use stop::{Stopped, cancel, cancel_or_refuse, stop};
pub(crate) use training::expected_training_ms;
