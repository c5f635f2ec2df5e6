//! Datasets: images read from a folder or uploaded, with captions in any of the usual layouts. What
//! cannot be used is reported, never dropped in silence. `read`, `archive` and `captions` read or compute; call them off
//! the async threads. `dataset_store` keeps datasets in a data folder.

mod api;
mod archive;
mod captions;
pub(crate) mod dataset_store;
pub(crate) mod import;
mod layout;
mod list;
mod open;
mod prompts;
mod read;
mod removal;
mod text;
mod thumbnail;
mod walk;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    path::PathBuf,
};

use serde::Serialize;

pub(crate) use open::{open_regular, read as read_regular};
pub use prompts::sample_prompts;
pub use read::read_dataset;
pub(crate) use read::{content_hash, nothing_usable, text_of};
pub(crate) use walk::Reach;

/// Files by the names that people know them by; where their content lies says nothing.
pub(crate) type Files = BTreeMap<String, PathBuf>;

/// Adds a file under its name; a second one under the same name gets another name if it
/// is an image, and is skipped otherwise. Both are reported.
fn insert(
    files: &mut Files,
    name: String,
    path: &std::path::Path,
    warnings: &mut Vec<ImportWarning>,
) -> bool {
    let name = match files.entry(name) {
        Entry::Vacant(entry) => {
            entry.insert(path.to_owned());
            return true;
        }
        Entry::Occupied(entry) => entry.key().clone(),
    };
    if !read::is_image(&name) {
        let message = "Skipped: another file has this name.".to_owned();
        warnings.push(ImportWarning { name, message });
        return false;
    }
    let (stem, ending) = name.rsplit_once('.').unwrap_or((&name, ""));
    let free =
        (2..).map(|number| format!("{stem} ({number}).{ending}")).find(|name| !files.contains_key(name));
    let free = free.unwrap_or_else(|| name.clone());
    let message = format!("Another image has this name; renamed to {free}.");
    files.insert(free, path.to_owned());
    warnings.push(ImportWarning { name, message });
    true
}

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
