//! From a folder to a dataset.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{
    Dataset, DatasetPicture, Files, Remark,
    captions::{self, Captions, join},
};
use crate::{StudioError, blobs::hex, canvas::decode_picture, folder::reason};

/// Folders below the folder that are looked into, one inside the other.
const DEPTH: usize = 3;
/// Largest file that is read.
pub(super) const LARGEST: u64 = 64 << 20;
/// Most pictures of one dataset.
pub(super) const MOST: usize = 10_000;
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
    let shown = folder.display().to_string();
    let files = files_in(folder, &mut dataset.remarks)?;
    let found = look(&files, &shown, &mut HashMap::new(), &mut dataset.remarks)?;
    if found.is_empty() {
        return Err(StudioError::Picture(nothing_usable(&shown, &dataset.remarks)));
    }
    let picture = |found: Found| DatasetPicture {
        caption: text_of(&found.caption, caption, trigger),
        name: found.name,
        path: found.path,
        repeats: found.repeats,
        width: found.width,
        height: found.height,
        hash: found.pixels,
    };
    dataset.pictures = found.into_iter().map(picture).collect();
    let contents = dataset.pictures.iter().map(|p| (p.hash.as_str(), p.repeats, p.caption.as_str()));
    dataset.hash = content_hash(contents);
    Ok(dataset)
}

/// Why `shown` is no dataset, with the first reasons.
pub(crate) fn nothing_usable(shown: &str, remarks: &[Remark]) -> String {
    let mut message = format!("{shown} holds no picture that can be used");
    match remarks {
        [] => message += "; put PNG, JPEG or WebP files into it.",
        remarks => {
            let first: Vec<_> =
                remarks.iter().take(3).map(|r| format!("{}: {}", r.name, r.message)).collect();
            message += &format!(". {}", first.join(" "));
        }
    }
    message
}

/// The files of a folder and of the folders in it.
pub(super) fn files_in(folder: &Path, remarks: &mut Vec<Remark>) -> Result<Files, StudioError> {
    let shown = folder.display();
    if !folder.is_dir() {
        return Err(StudioError::Picture(format!("{shown} is no folder with pictures.")));
    }
    let mut files = Files::new();
    collect(folder, "", DEPTH, &mut files, remarks)
        .map_err(|error| StudioError::Picture(format!("{shown} cannot be read: {}.", reason(&error))))?;
    Ok(files)
}

/// A picture that can be used.
pub(super) struct Found {
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// Its own, or its folder's; may be empty.
    pub(super) caption: String,
    pub(super) repeats: u32,
    pub(super) width: u32,
    pub(super) height: u32,
    /// sha256 of its pixels.
    pub(super) pixels: String,
}

/// The pictures among `files`, in the order of their names. `seen`: names of pictures that are there already, by the
/// hashes of their pixels. `shown` is what messages call the whole.
///
/// # Errors
/// There are too many.
pub(super) fn look(
    files: &Files,
    shown: &str,
    seen: &mut HashMap<String, String>,
    remarks: &mut Vec<Remark>,
) -> Result<Vec<Found>, StudioError> {
    let mut captions = Captions::new(files);
    let mut pictures = Vec::new();
    for (name, path) in files {
        let mut remark = |message: String| remarks.push(Remark { name: name.clone(), message });
        match kind(name) {
            Kind::Picture => {}
            Kind::Beside => continue,
            Kind::Other => {
                remark("Left out: only PNG, JPEG and WebP are read.".to_owned());
                continue;
            }
        }
        if seen.len() == MOST {
            let message = format!("{shown} holds more than {MOST} pictures; take fewer.");
            return Err(StudioError::Picture(message));
        }
        let size = fs::metadata(path).map(|metadata| metadata.len()).unwrap_or_default();
        if size > LARGEST {
            remark(format!("Left out: the file has {size} bytes, more than the {LARGEST} that are read."));
            continue;
        }
        let pixels = fs::read(path)
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
        if let Some(first) = seen.get(&hash) {
            remark(format!("Left out: it has the same pixels as {first}."));
            continue;
        }
        seen.insert(hash.clone(), name.clone());
        if pixels.width < SMALL || pixels.height < SMALL {
            remark(format!("It has only {} × {} pixels.", pixels.width, pixels.height));
        }
        let own = captions.own(name, remarks);
        let parent = name.rsplit_once('/').map_or("", |(folder, _)| folder);
        let of_folder = parent.rsplit('/').next().and_then(captions::of_folder);
        let words = own.or_else(|| of_folder.as_ref().map(|(_, words)| words.clone())).unwrap_or_default();
        pictures.push(Found {
            caption: words,
            repeats: of_folder.map_or(1, |(repeats, _)| repeats),
            width: pixels.width,
            height: pixels.height,
            pixels: hash,
            path: path.clone(),
            name: name.clone(),
        });
    }
    Ok(pictures)
}

/// What the text encoder is told of a picture: its own caption, or `caption` for all; with the trigger in front where
/// it does not contain it.
pub(crate) fn text_of(own: &str, caption: &str, trigger: &str) -> String {
    let words = if own.is_empty() { caption } else { own };
    match (words.is_empty(), trigger.is_empty() || words.contains(trigger)) {
        (_, true) => words.to_owned(),
        (true, false) => trigger.to_owned(),
        (false, false) => format!("{trigger}, {words}"),
    }
}

/// The name of a content: pictures as the hash of their pixels, their repeats, and what the text encoder is told.
pub(crate) fn content_hash<'a>(pictures: impl Iterator<Item = (&'a str, u32, &'a str)>) -> String {
    // Names and order do not matter, content does.
    let mut lines: Vec<String> =
        pictures.map(|(pixels, repeats, text)| format!("{pixels}  {repeats}  {text}\n")).collect();
    lines.sort();
    hex(&Sha256::digest(lines.concat()))
}

/// What a file is for, by its name.
enum Kind {
    Picture,
    /// A caption, or what trainers leave behind.
    Beside,
    Other,
}

fn kind(name: &str) -> Kind {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_lowercase()).unwrap_or_default();
    match extension.as_str() {
        "png" | "jpg" | "jpeg" | "webp" => Kind::Picture,
        "txt" | "caption" | "jsonl" | "json" | "csv" | "md" | "npz" | "safetensors" => Kind::Beside,
        _ => Kind::Other,
    }
}

/// What lies in folders without anybody wanting it.
pub(super) fn is_hidden(file_name: &str) -> bool {
    file_name.starts_with('.') || file_name == "__MACOSX"
}

fn collect(
    folder: &Path,
    shown: &str,
    depth: usize,
    files: &mut Files,
    remarks: &mut Vec<Remark>,
) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let file_name = entry.file_name().to_string_lossy().into_owned();
        if is_hidden(&file_name) {
            continue;
        }
        let (name, path) = (join(shown, &file_name), entry.path());
        if !path.is_dir() {
            files.insert(name, path);
        } else if depth == 0 {
            let message = "Left out: it lies too deep in other folders.".to_owned();
            remarks.push(Remark { name, message });
        } else {
            collect(&path, &name, depth - 1, files, remarks)?;
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
