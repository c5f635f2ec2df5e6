//! Evaluation: which prompts a version is tried on, features from the judge, and the statistics and criteria that decide.

pub mod eprocess;
pub(crate) mod evidence;
mod features;
pub mod gate;
pub mod people;
pub(crate) mod plan;
pub mod policy;
pub(crate) mod prompts;
#[cfg(test)]
mod revisions;
pub(crate) mod settings;
pub mod statistics;
pub(crate) mod steps;
pub mod suite;

pub(crate) use features::{UNIT, features, judge};
