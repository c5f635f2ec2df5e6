//! From files to images with captions.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use sha2::{Digest, Sha256};

use super::{
    Dataset, DatasetImage, ImportWarning,
    captions::Captions,
    content::{content_hash, text_of},
    files::{Files, MAX_IMAGE_BYTES, MAX_IMAGES},
    layout,
    names::{Kind, is_image, kind, of_folder, split},
    text,
    walk::{Reach, files_in},
};
use crate::{Decoded, ImageUse, StudioError, decode::decode_image, regular_file};

/// Sides below this say little about a style, and are enlarged a lot.
const SMALL: u32 = 64;
/// Files of one ending that are named; more are counted.
const NAMED: usize = 3;

/// One at a time: an image may take a few hundred megabytes for a moment.
static DECODER: Mutex<()> = Mutex::new(());

/// Reads the images (PNG, JPEG, WebP) of `folder` and of the folders in it. An image's caption comes from a list
/// (`metadata.jsonl`, `.csv`, `.tsv`, `.json`), else from `a.txt` or `a.caption` beside `a.png`, else from a folder named
/// `10_words` (which also says how often its images count), else it is `caption`. `trigger` is put in front of captions
/// that do not contain it. Of a project of kohya's scripts, `img` is taken, and `reg` as class images.
///
/// # Errors
/// The folder cannot be read, holds too many images, or none that can be used (the message says why for the first
/// ones).
pub fn read_dataset(folder: &Path, caption: &str, trigger: &str) -> Result<Dataset, StudioError> {
    let mut dataset = Dataset::default();
    let shown = folder.display().to_string();
    let reach = Reach::default();
    let mut files = files_in(folder, reach, &mut dataset.warnings)?;
    let classes = layout::sort(&mut files, &[], &mut dataset.warnings);
    let mut keep = |_: &[u8]| Ok(None);
    let (_, found) = scan_images(&files, &shown, &[], reach, &mut keep, &mut dataset.warnings)?;
    if found.is_empty() {
        return Err(StudioError::Image(nothing_usable(&shown, &dataset.warnings)));
    }
    let (_, classes) = scan_images(&classes, &shown, &[], reach, &mut keep, &mut dataset.warnings)?;
    let image = |found: FoundImage<()>, caption: &str, trigger: &str| DatasetImage {
        caption: text_of(&found.caption, caption, trigger),
        name: found.name,
        path: found.path,
        repeats: found.repeats,
        width: found.width,
        height: found.height,
        hash: found.pixels,
    };
    dataset.images = found.into_iter().map(|found| image(found, caption, trigger)).collect();
    dataset.classes = classes.into_iter().map(|found| image(found, "", "")).collect();
    let contents = dataset.images.iter().map(|p| (p.hash.as_str(), p.repeats, p.caption.as_str()));
    dataset.hash = content_hash(contents);
    Ok(dataset)
}

/// Explains why `shown` has no usable image, with the first reasons.
pub(crate) fn nothing_usable(shown: &str, warnings: &[ImportWarning]) -> String {
    let mut message = format!("{shown} has no usable image");
    match warnings {
        [] => message += "; add PNG, JPEG or WebP files.",
        warnings => {
            let first: Vec<_> =
                warnings.iter().take(3).map(|r| format!("{}: {}", r.name, r.message)).collect();
            message += &format!(". {}", first.join(" "));
        }
    }
    message
}

/// An image that can be used.
pub(super) struct FoundImage<K> {
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// Its own, or its folder's; may be empty.
    pub(super) caption: String,
    /// Whether the caption is its own.
    pub(super) own: bool,
    pub(super) repeats: u32,
    pub(super) width: u32,
    pub(super) height: u32,
    /// sha256 of its pixels.
    pub(super) pixels: String,
    /// What was made of its bytes.
    pub(super) kept: Option<K>,
}

/// Takes the bytes of an image that can be used; `None` where it is not wanted after all.
type Keep<'k, K> = dyn FnMut(&[u8]) -> Result<Option<K>, StudioError> + 'k;

/// The images among `files`, in the order of their names, and all captions. `shown` is what messages call the whole;
/// `present`: names of images that are there already; `keep` takes the bytes of each that can be used.
///
/// # Errors
/// There are too many, it takes too long, or `keep` fails.
pub(super) fn scan_images<K>(
    files: &Files,
    shown: &str,
    present: &[String],
    reach: Reach,
    keep: &mut Keep<'_, K>,
    warnings: &mut Vec<ImportWarning>,
) -> Result<(Captions, Vec<FoundImage<K>>), StudioError> {
    let count = files.keys().filter(|name| is_image(name)).count();
    if count > MAX_IMAGES {
        let message = format!("{shown} has {count} images; the limit is {MAX_IMAGES}.");
        return Err(StudioError::Image(message));
    }
    let captions = Captions::read(files, present, warnings);
    tell_others(files, warnings);
    let mut seen = HashMap::<String, (String, String)>::new();
    let mut images = Vec::new();
    for (name, path) in files.iter().filter(|(name, _)| is_image(name)) {
        reach.check()?;
        let mut warning = |message: String| warnings.push(ImportWarning { name: name.clone(), message });
        let bytes = match regular_file::read(path, MAX_IMAGE_BYTES) {
            Ok(bytes) => bytes,
            Err(why) => {
                warning(format!("Skipped: {why}."));
                continue;
            }
        };
        let pixels = match decode(&bytes) {
            Ok(Decoded { pixels, warnings }) => {
                warnings.into_iter().for_each(&mut warning);
                pixels
            }
            Err(error) => {
                warning(format!("Skipped. {error}"));
                continue;
            }
        };
        let mut hasher = Sha256::new();
        hasher.update(pixels.width.to_le_bytes());
        hasher.update(pixels.height.to_le_bytes());
        hasher.update(&pixels.rgb);
        let hash = hex::encode(hasher.finalize());
        let own = captions.own(name);
        let parent = name.rsplit_once('/').map_or("", |(folder, _)| folder);
        let of_folder = parent.rsplit('/').next().and_then(of_folder);
        let words = own.map(str::to_owned).or_else(|| of_folder.as_ref().map(|(_, words)| words.clone()));
        let words = words.unwrap_or_default();
        if let Some((first, caption)) = seen.get(&hash) {
            let lost = if own.is_some() && words != *caption {
                format!(" Its caption is not used: “{}”.", text::beginning(&words, 200))
            } else {
                String::new()
            };
            warning(format!("Skipped: same pixels as {first}.{lost}"));
            continue;
        }
        seen.insert(hash.clone(), (name.clone(), words.clone()));
        if pixels.width < SMALL || pixels.height < SMALL {
            warning(format!("Small: only {} × {} pixels.", pixels.width, pixels.height));
        }
        images.push(FoundImage {
            kept: keep(&bytes)?,
            own: own.is_some(),
            caption: words,
            repeats: of_folder.map_or(1, |(repeats, _)| repeats),
            width: pixels.width,
            height: pixels.height,
            pixels: hash,
            path: path.clone(),
            name: name.clone(),
        });
    }
    reach.check()?;
    Ok((captions, images))
}

fn decode(bytes: &[u8]) -> Result<Decoded, StudioError> {
    let _turn = DECODER.lock().unwrap_or_else(PoisonError::into_inner);
    decode_image(bytes, ImageUse::Colours)
}

/// Says of every file that is neither image nor caption that it is not read.
fn tell_others(files: &Files, warnings: &mut Vec<ImportWarning>) {
    let mut others = std::collections::BTreeMap::<String, Vec<&String>>::new();
    for name in files.keys().filter(|name| kind(name) == Kind::Other) {
        others.entry(split(name).1).or_default().push(name);
    }
    for (ending, names) in others {
        let why = match ending.as_str() {
            "zip" | "rar" | "7z" | "tar" | "gz" | "tgz" | "bz2" | "xz" | "zst" => {
                "nested archives are not unpacked; unpack it and upload its files"
            }
            "parquet" | "arrow" => "image tables are not supported; use PNG, JPEG or WebP files",
            "npz" | "safetensors" | "pt" | "ckpt" | "pth" => "it is training output, not an image",
            _ => "unsupported format; use PNG, JPEG or WebP",
        };
        let more = names.len().saturating_sub(NAMED);
        for (i, name) in names.iter().take(NAMED).enumerate() {
            let and = if more > 0 && i + 1 == NAMED {
                format!(" So were {more} more .{ending} files.")
            } else {
                String::new()
            };
            warnings.push(ImportWarning { name: (*name).clone(), message: format!("Skipped: {why}.{and}") });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{Pixels, encode_png};

    fn image(path: &Path, shade: u8, side: u32) {
        let rgb = vec![shade; (3 * side * side) as usize];
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, encode_png(&Pixels { width: side, height: side, rgb }, "").unwrap()).unwrap();
    }

    #[test]
    fn captions_come_from_all_the_usual_places() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (i, name) in ["a.png", "b.png", "c.png", "3_red cloth/d.png"].into_iter().enumerate() {
            image(&at(name), i as u8, 64);
        }
        fs::write(at("metadata.jsonl"), "{\"file_name\": \"a.png\", \"text\": \"from the list\"}\n").unwrap();
        fs::write(at("a.txt"), "not this").unwrap();
        fs::write(at("b.txt"), "from\n  beside ").unwrap();
        let dataset = read_dataset(folder.path(), "for all", "tok").unwrap();
        let found: Vec<_> =
            dataset.images.iter().map(|p| (p.name.as_str(), p.caption.as_str(), p.repeats)).collect();
        let expected = [
            ("3_red cloth/d.png", "tok, red cloth", 3),
            ("a.png", "tok, from the list", 1),
            ("b.png", "tok, from beside", 1),
            ("c.png", "tok, for all", 1),
        ];
        assert_eq!(found, expected);
        let messages: Vec<_> =
            dataset.warnings.iter().map(|r| (r.name.as_str(), r.message.as_str())).collect();
        let [(first, lost), (second, joined)] = messages.as_slice() else { panic!("{messages:?}") };
        assert!(
            *first == "a.txt" && lost.contains("“not this”. The one of line 1 of metadata.jsonl is."),
            "{lost}"
        );
        assert!(*second == "b.txt" && joined.contains("2 lines were joined"), "{joined}");
        let again = read_dataset(folder.path(), "for all", "tok").unwrap();
        assert_eq!(again.hash, dataset.hash);
        assert_ne!(read_dataset(folder.path(), "other", "tok").unwrap().hash, dataset.hash);
    }

    #[test]
    fn unusable_files_are_reported() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        image(&at("a.png"), 1, 64);
        image(&at("same.png"), 1, 64);
        image(&at("small.png"), 2, 8);
        fs::write(at("text.png"), "this is text").unwrap();
        fs::write(at("film.mp4"), "").unwrap();
        fs::write(at("metadata.jsonl"), "nonsense\n").unwrap();
        let dataset = read_dataset(folder.path(), "", "").unwrap();
        assert_eq!(dataset.images.len(), 2);
        let warning_of = |name: &str| {
            let warning = dataset.warnings.iter().find(|warning| warning.name == name);
            warning.unwrap_or_else(|| panic!("nothing about {name}")).message.clone()
        };
        assert_eq!(warning_of("same.png"), "Skipped: same pixels as a.png.");
        assert!(warning_of("text.png").contains("Unsupported file"));
        assert!(warning_of("small.png").contains("only 8 × 8"));
        assert!(warning_of("film.mp4").contains("use PNG"));
        assert!(warning_of("metadata.jsonl").starts_with("Line 1 is not understood"));
    }

    #[test]
    fn a_folder_without_images_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let refusal = || read_dataset(folder.path(), "", "").unwrap_err().to_string();
        assert!(refusal().contains("add PNG, JPEG or WebP files"), "{}", refusal());
        fs::write(folder.path().join("a.png"), "text").unwrap();
        assert!(refusal().contains("a.png: Skipped."), "{}", refusal());
        assert!(read_dataset(&folder.path().join("none"), "", "").is_err());
    }
}
