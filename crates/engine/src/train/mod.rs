//! Training LoRA adapters (Hu et al. 2021) as diffusers' DreamBooth script does, one micro-step at a time.
//!
//! One file per concern: trained factors (`parameters`), learning-rate schedule (`rate`), optimizer (`adamw`),
//! randomness (`rng`), prepared images and captions (`data`), objective (`loss`), held-out loss (`held_out`),
//! checkpoints (`state`), and the training loop's steps (`trainer`). Knows neither jobs nor a clock; the caller decides
//! when the next step runs.

mod adamw;
mod data;
mod held_out;
mod loss;
mod parameters;
mod rate;
mod rng;
mod state;
mod trainer;

pub use data::{Example, Preparation, Prepared, Source, held_out_positions};
pub use held_out::HeldOutLoss;
pub use loss::Objective;
pub use parameters::{Parameters, Trained};
pub use rate::learning_rate;
pub use trainer::{MicroStep, OptimizerStep, Trainer};
