//! One training run on the engine, as small units that whoever has the pipeline makes one after the other: `adire train`
//! without a pause, the server's worker between people's images. Both end with the same bytes.

mod card;
mod classes;
mod memory;
mod output;
mod plan;
mod session;
mod trial;

pub(crate) use output::CHECKPOINT;
pub(crate) use session::Session;
