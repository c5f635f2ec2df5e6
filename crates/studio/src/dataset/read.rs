//! From a folder to a dataset.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{
    Dataset, DatasetPicture, Remark,
    captions::{self, join},
};
use crate::{StudioError, blobs::hex, canvas::decode_picture, folder::reason};

/// Folders below the folder that are looked into, one inside the other.
const DEPTH: usize = 3;
/// Largest file that is read.
const LARGEST: u64 = 64 << 20;
/// Most pictures of one dataset.
const MOST: usize = 10_000;
/// Sides below this say little about a style, and are enlarged a lot.
const SMALL: u32 = 64;

/// Reads the pictures (PNG, JPEG, WebP) of `folder` and of the folders in it. A picture's caption comes from
/// `metadata.jsonl`, else from `a.txt` beside `a.png`, else from a folder named `10_words` (which also says how often
/// its pictures count), else it is `caption`. `trigger` is put in front of captions that do not contain it.
///
/// # Errors
/// The folder cannot be read, holds too many pictures, or none that can be used (the message says why for the first
/// ones).
pub fn read_dataset(folder: &Path, caption: &str, trigger: &str) -> Result<Dataset, StudioError> {
    let mut dataset = Dataset::default();
    if !folder.is_dir() {
        return Err(StudioError::Picture(format!("{} is no folder with pictures.", folder.display())));
    }
    let mut files = Vec::new();
    collect(folder, "", DEPTH, &mut files, &mut dataset.remarks).map_err(|error| {
        StudioError::Picture(format!("{} cannot be read: {}.", folder.display(), reason(&error)))
    })?;
    files.sort_by(|a, b| a.0.cmp(&b.0));
    let mut seen: HashMap<String, String> = HashMap::new();
    let mut lists: HashMap<PathBuf, HashMap<String, String>> = HashMap::new();
    for (name, path) in files {
        if dataset.pictures.len() == MOST {
            let message = format!("{} holds more than {MOST} pictures; take fewer.", folder.display());
            return Err(StudioError::Picture(message));
        }
        let mut remark = |message: String| dataset.remarks.push(Remark { name: name.clone(), message });
        let size = fs::metadata(&path).map(|metadata| metadata.len()).unwrap_or_default();
        if size > LARGEST {
            remark(format!("Left out: the file has {size} bytes, more than the {LARGEST} that are read."));
            continue;
        }
        let pixels = fs::read(&path)
            .map_err(|error| StudioError::Picture(format!("It cannot be read: {}.", reason(&error))))
            .and_then(|bytes| decode_picture(&bytes));
        let pixels = match pixels {
            Ok(pixels) => pixels,
            Err(error) => {
                remark(format!("Left out. {error}"));
                continue;
            }
        };
        let mut hasher = Sha256::new();
        hasher.update(pixels.width.to_le_bytes());
        hasher.update(pixels.height.to_le_bytes());
        hasher.update(&pixels.rgb);
        let hash = hex(&hasher.finalize());
        if let Some(first) = seen.insert(hash.clone(), name.clone()) {
            remark(format!("Left out: it has the same pixels as {first}."));
            seen.insert(hash, first);
            continue;
        }
        if pixels.width < SMALL || pixels.height < SMALL {
            remark(format!("It has only {} × {} pixels.", pixels.width, pixels.height));
        }
        let parent = path.parent().unwrap_or(folder);
        let (in_folder, file) = name.rsplit_once('/').unwrap_or(("", &name));
        let list = lists
            .entry(parent.to_owned())
            .or_insert_with(|| captions::metadata(parent, in_folder, &mut dataset.remarks));
        let of_folder = in_folder.rsplit('/').next().and_then(captions::of_folder);
        let own = list.get(file).cloned().or_else(|| captions::beside(&path, &name, &mut dataset.remarks));
        let words = own.or_else(|| of_folder.as_ref().map(|(_, words)| words.clone())).unwrap_or_default();
        let words = if words.is_empty() { caption.to_owned() } else { words };
        dataset.pictures.push(DatasetPicture {
            caption: with_trigger(&words, trigger),
            repeats: of_folder.map_or(1, |(repeats, _)| repeats),
            width: pixels.width,
            height: pixels.height,
            hash,
            path,
            name,
        });
    }
    if dataset.pictures.is_empty() {
        let mut message = format!("{} holds no picture that can be used", folder.display());
        match &dataset.remarks[..] {
            [] => message += "; put PNG, JPEG or WebP files into it.",
            remarks => {
                let first: Vec<_> =
                    remarks.iter().take(3).map(|r| format!("{}: {}", r.name, r.message)).collect();
                message += &format!(". {}", first.join(" "));
            }
        }
        return Err(StudioError::Picture(message));
    }
    dataset.hash = hash(&dataset.pictures);
    Ok(dataset)
}

/// The trigger in front of words that do not contain it.
fn with_trigger(words: &str, trigger: &str) -> String {
    match (words.is_empty(), trigger.is_empty() || words.contains(trigger)) {
        (_, true) => words.to_owned(),
        (true, false) => trigger.to_owned(),
        (false, false) => format!("{trigger}, {words}"),
    }
}

fn hash(pictures: &[DatasetPicture]) -> String {
    // Names and order do not matter, content does.
    let mut lines: Vec<String> =
        pictures.iter().map(|p| format!("{}  {}  {}\n", p.hash, p.repeats, p.caption)).collect();
    lines.sort();
    hex(&Sha256::digest(lines.concat()))
}

fn collect(
    folder: &Path,
    shown: &str,
    depth: usize,
    files: &mut Vec<(String, PathBuf)>,
    remarks: &mut Vec<Remark>,
) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let file_name = entry.file_name().to_string_lossy().into_owned();
        if file_name.starts_with('.') || file_name == "__MACOSX" {
            continue;
        }
        let (name, path) = (join(shown, &file_name), entry.path());
        if path.is_dir() {
            if depth == 0 {
                remarks.push(Remark {
                    name,
                    message: "Left out: it lies too deep in other folders.".to_owned(),
                });
            } else {
                collect(&path, &name, depth - 1, files, remarks)?;
            }
            continue;
        }
        let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
        match extension.as_str() {
            "png" | "jpg" | "jpeg" | "webp" => files.push((name, path)),
            "txt" | "caption" | "jsonl" | "json" | "csv" | "md" | "npz" | "safetensors" => {}
            _ => {
                let message = "Left out: only PNG, JPEG and WebP are read.".to_owned();
                remarks.push(Remark { name, message });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Pixels, encode_png};

    fn picture(path: &Path, shade: u8, side: u32) {
        let rgb = vec![shade; (3 * side * side) as usize];
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, encode_png(&Pixels { width: side, height: side, rgb }, "").unwrap()).unwrap();
    }

    #[test]
    fn captions_come_from_all_the_usual_places() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (i, name) in ["a.png", "b.png", "c.png", "3_red cloth/d.png"].into_iter().enumerate() {
            picture(&at(name), i as u8, 64);
        }
        fs::write(at("metadata.jsonl"), "{\"file_name\": \"a.png\", \"text\": \"from the list\"}\n").unwrap();
        fs::write(at("a.txt"), "not this").unwrap();
        fs::write(at("b.txt"), "from\n  beside ").unwrap();
        let dataset = read_dataset(folder.path(), "for all", "tok").unwrap();
        let found: Vec<_> =
            dataset.pictures.iter().map(|p| (p.name.as_str(), p.caption.as_str(), p.repeats)).collect();
        let expected = [
            ("3_red cloth/d.png", "tok, red cloth", 3),
            ("a.png", "tok, from the list", 1),
            ("b.png", "tok, from beside", 1),
            ("c.png", "tok, for all", 1),
        ];
        assert_eq!(found, expected);
        assert_eq!(dataset.remarks, []);
        let again = read_dataset(folder.path(), "for all", "tok").unwrap();
        assert_eq!(again.hash, dataset.hash);
        assert_ne!(read_dataset(folder.path(), "other", "tok").unwrap().hash, dataset.hash);
    }

    #[test]
    fn what_cannot_be_used_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        picture(&at("a.png"), 1, 64);
        picture(&at("same.png"), 1, 64);
        picture(&at("small.png"), 2, 8);
        fs::write(at("text.png"), "this is text").unwrap();
        fs::write(at("film.mp4"), "").unwrap();
        fs::write(at("metadata.jsonl"), "nonsense\n").unwrap();
        let dataset = read_dataset(folder.path(), "", "").unwrap();
        assert_eq!(dataset.pictures.len(), 2);
        let said = |name: &str| {
            let remark = dataset.remarks.iter().find(|remark| remark.name == name);
            remark.unwrap_or_else(|| panic!("nothing about {name}")).message.clone()
        };
        assert_eq!(said("same.png"), "Left out: it has the same pixels as a.png.");
        assert!(said("text.png").contains("no picture in PNG"));
        assert!(said("small.png").contains("only 8 × 8"));
        assert!(said("film.mp4").contains("only PNG"));
        assert!(said("metadata.jsonl").starts_with("Line 1 is not understood"));
    }

    #[test]
    fn a_folder_without_pictures_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let refusal = || read_dataset(folder.path(), "", "").unwrap_err().to_string();
        assert!(refusal().contains("put PNG, JPEG or WebP files into it"), "{}", refusal());
        fs::write(folder.path().join("a.png"), "text").unwrap();
        assert!(refusal().contains("a.png: Left out."), "{}", refusal());
        assert!(read_dataset(&folder.path().join("none"), "", "").is_err());
    }
}
