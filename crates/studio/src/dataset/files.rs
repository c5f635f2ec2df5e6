//! Files on their way into a dataset, by the names that people know them by.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    path::{Path, PathBuf},
};

use adire_protocol::ImportWarning;

use super::names::is_image;

/// Largest file that is read.
pub(super) const MAX_IMAGE_BYTES: u64 = 64 << 20;
/// Most images of one dataset.
pub(super) const MAX_IMAGES: usize = 10_000;

/// Files by the names that people know them by; where their content lies says nothing.
pub(crate) type Files = BTreeMap<String, PathBuf>;

/// Adds a file under its name; a second one under the same name gets another name if it
/// is an image, and is skipped otherwise. Both are reported.
pub(super) fn insert(
    files: &mut Files,
    name: String,
    path: &Path,
    warnings: &mut Vec<ImportWarning>,
) -> bool {
    let name = match files.entry(name) {
        Entry::Vacant(entry) => {
            entry.insert(path.to_owned());
            return true;
        }
        Entry::Occupied(entry) => entry.key().clone(),
    };
    if !is_image(&name) {
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
