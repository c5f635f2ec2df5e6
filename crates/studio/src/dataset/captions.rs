//! Where captions come from: `metadata.jsonl`, a text file beside the picture, the folder's name as kohya's scripts
//! have it, or one caption for all.

use std::{collections::HashMap, fs, path::Path};

use adire_protocol::MOST_REPEATS;
use serde::Deserialize;

use super::{Files, Remark};

/// Longest caption that is read: many times what a text encoder takes.
const LONGEST: u64 = 16 << 10;
/// Largest `metadata.jsonl`.
const LARGEST: u64 = 64 << 20;

/// One line of `metadata.jsonl`; datasets write the caption under several names.
#[derive(Deserialize)]
struct Line {
    file_name: String,
    #[serde(alias = "caption", alias = "prompt")]
    text: String,
}

/// The captions that lie beside pictures. Each list is read once.
pub(super) struct Captions<'a> {
    files: &'a Files,
    lists: HashMap<String, HashMap<String, String>>,
}

impl<'a> Captions<'a> {
    pub(super) fn new(files: &'a Files) -> Self {
        Self { files, lists: HashMap::new() }
    }

    /// What stands in a list or a text file for the picture of that name.
    pub(super) fn own(&mut self, name: &str, remarks: &mut Vec<Remark>) -> Option<String> {
        let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
        if !self.lists.contains_key(folder) {
            let shown = join(folder, "metadata.jsonl");
            let list = self.files.get(&shown).map(|path| metadata(path, &shown, remarks)).unwrap_or_default();
            self.lists.insert(folder.to_owned(), list);
        }
        let listed = self.lists.get(folder).and_then(|list| list.get(file).cloned());
        listed.or_else(|| self.beside(name, remarks))
    }

    /// The caption in the text file beside a picture: `a.txt` or `a.caption` for `a.png`.
    fn beside(&self, name: &str, remarks: &mut Vec<Remark>) -> Option<String> {
        let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
        let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
        for extension in ["txt", "caption"] {
            let Some(path) = self.files.get(&join(folder, &format!("{stem}.{extension}"))) else { continue };
            let bytes = fs::metadata(path).map(|metadata| metadata.len()).unwrap_or_default();
            let read = if bytes > LONGEST {
                Err(format!("it has {bytes} bytes, more than {LONGEST}"))
            } else {
                fs::read_to_string(path).map_err(|error| error.to_string())
            };
            match read {
                Ok(text) => return Some(text.split_whitespace().collect::<Vec<_>>().join(" ")),
                Err(reason) => remarks.push(Remark {
                    name: name.to_owned(),
                    message: format!("Its caption file .{extension} cannot be used: {reason}."),
                }),
            }
        }
        None
    }
}

/// The captions of a `metadata.jsonl`, by file name.
fn metadata(path: &Path, name: &str, remarks: &mut Vec<Remark>) -> HashMap<String, String> {
    let mut remark = |message: String| remarks.push(Remark { name: name.to_owned(), message });
    let mut found = HashMap::new();
    let size = fs::metadata(path).map(|metadata| metadata.len()).unwrap_or_default();
    if size > LARGEST {
        remark(format!(
            "It has {size} bytes, more than the {LARGEST} that are read; its captions are not used."
        ));
        return found;
    }
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            remark(format!("It cannot be read ({error}); its captions are not used."));
            return found;
        }
    };
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        match serde_json::from_str::<Line>(line) {
            Ok(line) => {
                let mut text = line.text.trim().to_owned();
                while text.len() as u64 > LONGEST {
                    text.pop();
                }
                found.insert(line.file_name, text);
            }
            Err(error) => remark(format!(
                "Line {} is not understood ({error}); it should be like {{\"file_name\": \"a.png\", \"text\": \"…\"}}.",
                number + 1
            )),
        }
    }
    found
}

/// `10_indigo cloth`: ten repeats, and a caption for pictures that have none of their own.
pub(super) fn of_folder(name: &str) -> Option<(u32, String)> {
    let (repeats, caption) = name.split_once('_')?;
    let repeats: u32 = repeats.parse().ok().filter(|repeats| (1..=MOST_REPEATS).contains(repeats))?;
    Some((repeats, caption.trim().to_owned()))
}

/// A name below a folder's name.
pub(super) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kohyas_folder_names() {
        assert_eq!(of_folder("10_indigo cloth"), Some((10, "indigo cloth".to_owned())));
        assert_eq!(of_folder("3_"), Some((3, String::new())));
        for name in ["cloth", "0_cloth", "x_cloth", "99999_cloth", "_cloth", "-1_cloth"] {
            assert_eq!(of_folder(name), None, "{name}");
        }
    }
}
