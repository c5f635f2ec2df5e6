//! Where captions come from: `metadata.jsonl`, a text file beside the picture, the folder's name as kohya's scripts
//! have it, or one caption for all.

use std::{collections::HashMap, fs, path::Path};

use serde::Deserialize;

use super::Remark;

/// Longest caption that is read: many times what a text encoder takes.
const LONGEST: u64 = 16 << 10;
/// Largest `metadata.jsonl`.
const LARGEST: u64 = 64 << 20;
/// Most repeats that a folder's name can ask for.
const MOST_REPEATS: u32 = 1000;

/// One line of `metadata.jsonl`; datasets write the caption under several names.
#[derive(Deserialize)]
struct Line {
    file_name: String,
    #[serde(alias = "caption", alias = "prompt")]
    text: String,
}

/// The captions of a folder's `metadata.jsonl`, by file name.
pub(super) fn metadata(folder: &Path, shown: &str, remarks: &mut Vec<Remark>) -> HashMap<String, String> {
    let path = folder.join("metadata.jsonl");
    let name = join(shown, "metadata.jsonl");
    let mut remark = |message: String| remarks.push(Remark { name: name.clone(), message });
    let mut found = HashMap::new();
    let size = match fs::metadata(&path) {
        Ok(metadata) => metadata.len(),
        Err(_) => return found,
    };
    if size > LARGEST {
        remark(format!(
            "It has {size} bytes, more than the {LARGEST} that are read; its captions are not used."
        ));
        return found;
    }
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            remark(format!("It cannot be read ({error}); its captions are not used."));
            return found;
        }
    };
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        match serde_json::from_str::<Line>(line) {
            Ok(line) => {
                found.insert(line.file_name, line.text.trim().to_owned());
            }
            Err(error) => remark(format!(
                "Line {} is not understood ({error}); it should be like {{\"file_name\": \"a.png\", \"text\": \"…\"}}.",
                number + 1
            )),
        }
    }
    found
}

/// The caption in the text file beside a picture: `a.txt` or `a.caption` for `a.png`.
pub(super) fn beside(picture: &Path, name: &str, remarks: &mut Vec<Remark>) -> Option<String> {
    for extension in ["txt", "caption"] {
        let path = picture.with_extension(extension);
        let Ok(metadata) = fs::metadata(&path) else { continue };
        let read = if metadata.len() > LONGEST {
            Err(format!("it has {} bytes, more than {LONGEST}", metadata.len()))
        } else {
            fs::read_to_string(&path).map_err(|error| error.to_string())
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
