//! What the names of a dataset's files say: folders, endings, kinds of files.

use adire_protocol::MAX_REPEATS;
use unicode_normalization::UnicodeNormalization;

/// A name with plain slashes, without parts that mean something to a file system. It only ever is a name; no file is
/// called so.
pub(super) fn clean(name: &str) -> String {
    let parts = name.split(['/', '\\']).filter(|part| !matches!(*part, "" | "." | ".."));
    let name: String = parts.collect::<Vec<_>>().join("/");
    // Long enough for any name that people give; the end tells the kind of file.
    let long = name.chars().count().saturating_sub(400);
    name.chars().skip(long).filter(|c| !c.is_control()).collect()
}

/// A name as it compares: file systems differ in how they take case and accents.
pub(super) fn fold(name: &str) -> String {
    name.nfc().collect::<String>().to_lowercase()
}

/// A name without its ending, and the ending in small letters.
pub(super) fn split(name: &str) -> (&str, String) {
    match name.rsplit_once('.') {
        Some((stem, ending)) if !ending.contains('/') => (stem, ending.to_lowercase()),
        _ => (name, String::new()),
    }
}

/// The last part of a name.
pub(super) fn last(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// The folder that a name lies in; empty for none.
pub(super) fn folder(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// `10_indigo cloth`: ten repeats, and a caption for images that have none of their own.
pub(super) fn of_folder(name: &str) -> Option<(u32, String)> {
    let (repeats, caption) = name.split_once('_')?;
    let repeats: u32 = repeats.parse().ok().filter(|repeats| (1..=MAX_REPEATS).contains(repeats))?;
    Some((repeats, caption.trim().to_owned()))
}

/// A name below a folder's name.
pub(super) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// What a file is for, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Image,
    /// A caption, or a list of captions.
    Text,
    Other,
}

/// What a file of this name is for.
pub(super) fn kind(name: &str) -> Kind {
    match split(name).1.as_str() {
        "png" | "jpg" | "jpeg" | "webp" => Kind::Image,
        "txt" | "caption" => Kind::Text,
        _ if is_list(name) => Kind::Text,
        _ => Kind::Other,
    }
}

/// Whether a file of this name is an image.
pub(super) fn is_image(name: &str) -> bool {
    kind(name) == Kind::Image
}

/// Whether a file of this name can be a list of captions.
pub(super) fn is_list(name: &str) -> bool {
    let lower = name.to_lowercase();
    [".jsonl", ".ndjson", ".json", ".csv", ".tsv"].iter().any(|ending| lower.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_nowhere() {
        assert_eq!(clean("../../etc/passwd"), "etc/passwd");
        assert_eq!(clean("C:\\cloth\\.\\a.png"), "C:/cloth/a.png");
        assert_eq!(clean("/"), "");
        assert_eq!(clean(&"ä".repeat(500)).chars().count(), 400);
    }

    #[test]
    fn kohyas_folder_names() {
        assert_eq!(of_folder("10_indigo cloth"), Some((10, "indigo cloth".to_owned())));
        assert_eq!(of_folder("3_"), Some((3, String::new())));
        for name in ["cloth", "0_cloth", "x_cloth", "99999_cloth", "_cloth", "-1_cloth"] {
            assert_eq!(of_folder(name), None, "{name}");
        }
    }
}
