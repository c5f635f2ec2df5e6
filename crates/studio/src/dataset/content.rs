//! What a dataset teaches: the text of each image, and the hash of it all.

use sha2::{Digest, Sha256};

/// The text for an image: its own caption, or `caption` for all; with the trigger in front where
/// it does not contain it.
pub(crate) fn text_of(own: &str, caption: &str, trigger: &str) -> String {
    let words = if own.is_empty() { caption } else { own };
    match (words.is_empty(), trigger.is_empty() || words.contains(trigger)) {
        (_, true) => words.to_owned(),
        (true, false) => trigger.to_owned(),
        (false, false) => format!("{trigger}, {words}"),
    }
}

/// Content hash of a dataset: pixel hashes, repeats and the texts the text encoder receives.
pub(crate) fn content_hash<'a>(images: impl Iterator<Item = (&'a str, u32, &'a str)>) -> String {
    // Names and order do not matter, content does.
    let mut lines: Vec<String> =
        images.map(|(pixels, repeats, text)| format!("{pixels}  {repeats}  {text}\n")).collect();
    lines.sort();
    hex::encode(Sha256::digest(lines.concat()))
}
