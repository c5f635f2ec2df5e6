//! The APIs of other programs: one folder or file for each, and one way from a request of any of them to a generation.

pub(crate) mod a1111;
pub(crate) mod bodies;
pub(crate) mod callers;
pub(crate) mod gradio;
pub(crate) mod hugging_face;
pub(crate) mod images;
pub(crate) mod lenient;
pub(crate) mod models;
pub(crate) mod openai;
pub(crate) mod run;
pub(crate) mod sessions;
