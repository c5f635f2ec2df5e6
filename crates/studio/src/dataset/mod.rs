//! Pictures to train on: read from a folder or brought as files, with captions from wherever people keep them. What
//! cannot be used is reported, never dropped in silence. `read`, `archive` and `captions` read or compute; call them off
//! the async threads. `library` keeps datasets in a data folder.

mod archive;
mod captions;
pub(crate) mod library;
mod read;
mod removal;
mod thumbnail;

use std::{collections::BTreeMap, path::PathBuf};

use serde::Serialize;

pub use read::read_dataset;
pub(crate) use read::{content_hash, nothing_usable, text_of};

/// Files by the names that people know them by; where their content lies says nothing.
pub(crate) type Files = BTreeMap<String, PathBuf>;

/// A folder's pictures.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Dataset {
    /// In the order of their names.
    pub pictures: Vec<DatasetPicture>,
    /// What was found and cannot be used, or deserves a second look.
    pub remarks: Vec<Remark>,
    /// sha256 over the pictures' pixels, captions and repeats: the same content has the same name.
    pub hash: String,
}

/// One picture.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DatasetPicture {
    /// Below the folder.
    pub name: String,
    /// The file.
    #[serde(skip)]
    pub path: PathBuf,
    /// What it shows, in words.
    pub caption: String,
    /// How often it counts in an epoch.
    pub repeats: u32,
    /// Pixels, upright.
    pub width: u32,
    /// Pixels, upright.
    pub height: u32,
    /// sha256 of its pixels.
    pub hash: String,
}

/// Something about one file that the operator should know.
pub use adire_protocol::DatasetRemark as Remark;
