//! Datasets: images read from a folder or uploaded, with captions in any of the usual layouts. What
//! cannot be used is reported, never dropped in silence. `read`, `archive` and `captions` read or compute; call them off
//! the async threads. `dataset_store` keeps datasets in a data folder.

mod archive;
mod captions;
mod content;
mod dataset_store;
mod files;
mod layout;
mod list;
mod names;
mod prompts;
mod read;
mod removal;
mod text;
mod thumbnail;
mod uploaded_file;
mod walk;

use std::path::PathBuf;

use serde::Serialize;

pub(crate) use content::{content_hash, text_of};
pub(crate) use dataset_store::DatasetStore;
pub use prompts::sample_prompts;
pub(crate) use read::nothing_usable;
pub use read::read_dataset;
pub use uploaded_file::UploadedFile;
pub(crate) use walk::Reach;

/// A folder's images.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Dataset {
    /// In the order of their names.
    pub images: Vec<DatasetImage>,
    /// Class images that lie in the folder: those of a kohya project's `reg`.
    pub classes: Vec<DatasetImage>,
    /// What was found and cannot be used, or deserves a second look.
    pub warnings: Vec<ImportWarning>,
    /// sha256 over the images' pixels, captions and repeats: the same content has the same name.
    pub hash: String,
}

/// One image.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DatasetImage {
    /// Below the folder.
    pub name: String,
    /// The file.
    #[serde(skip)]
    pub path: PathBuf,
    /// What it shows, in words.
    pub caption: String,
    /// Repeats per epoch.
    pub repeats: u32,
    /// Pixels, upright.
    pub width: u32,
    /// Pixels, upright.
    pub height: u32,
    /// sha256 of its pixels.
    pub hash: String,
}

/// A warning about one imported file.
pub use adire_protocol::ImportWarning;
