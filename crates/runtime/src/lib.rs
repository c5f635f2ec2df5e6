//! Joins the engine and the studio: the engine as the studio's [`Backend`](adire_studio::Backend), and training runs on
//! it, for the server and for `adire train` alike.
//!
//! Knows tensors only through the engine's types, and jobs only as the studio's requests and tasks. It must not know
//! rows, queues, visitors, HTTP or pages: an `axum`, `leptos` or `sqlx` here would be a mistake. Nothing in it is async;
//! it runs on the thread that owns the device.

mod backend;
mod batch;
mod error;
mod init_image;
mod judge;
mod measure;
mod receipt;
mod training;

pub use backend::EngineBackend;
pub use init_image::{PreparedInit, pixels};
pub use judge::{JudgeFolder, JudgeParts};
pub use receipt::embedding_uses;
pub use training::{CHECKPOINT, TrainingDriver};
