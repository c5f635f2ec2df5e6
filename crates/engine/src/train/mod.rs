//! Training LoRA adapters (Hu et al. 2021) as diffusers' DreamBooth script does, one micro-step at a time.
//!
//! One file for each question: what is trained (`parameters`), how a rate moves (`rate`) and an update is made
//! (`adamw`), where randomness comes from (`draw`), what is trained on (`data`), what is minimised (`loss`), what is
//! measured (`held_out`), what is saved (`state`), and how it goes together (`trainer`). Knows no jobs and no clock;
//! whoever calls decides when the next step is taken.

mod adamw;
mod data;
mod held_out;
mod loss;
mod parameters;
mod rate;
mod rng;
mod state;
mod trainer;

pub use data::{Example, Preparation, Prepared, Source};
pub use held_out::HeldOutLoss;
pub use loss::Objective;
pub use parameters::{Parameters, Trained};
pub use rate::learning_rate;
pub use trainer::{MicroStep, OptimizerStep, Trainer};
