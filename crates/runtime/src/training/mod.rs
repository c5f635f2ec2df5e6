//! One training run on the engine, as small units that the pipeline's owner executes one after the other: `adire train`
//! without a pause, the server's worker between generations. Both end with the same bytes.

mod card;
mod class_images;
mod driver;
mod memory;
mod milestones;
mod output;
mod probe;

pub use driver::TrainingDriver;
pub use output::CHECKPOINT;
