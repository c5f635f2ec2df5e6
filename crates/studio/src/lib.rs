//! The studio: requests wait in a bounded queue, one worker thread owns the model, pictures and adapter
//! versions are kept in a data folder. Knows no tensors, HTTP or UI; the model is behind [`Backend`].

mod backend;
mod error;
mod studio;

pub use backend::{AdapterFile, Backend, BackendError, Pixels, RenderJob, Rendered, Step};
pub use error::StudioError;
pub use studio::{EventStream, NewAdapter, Studio, StudioConfig, Visitor, encode_png, read_request};
