//! Evaluation of adapter versions: what scores mean.

pub mod statistics;
