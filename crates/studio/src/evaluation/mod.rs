//! Evaluation: which prompts a version is tried on, features from the judge, and the statistics and criteria that decide.

mod features;
pub mod gate;
pub mod policy;
pub mod statistics;
pub mod suite;

pub(crate) use features::{features, judge};
