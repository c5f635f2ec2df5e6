//! Where captions come from: a list, a text file beside the image, the folder's name as kohya's scripts have it, or one
//! caption for all. Captions without an image are reported.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    ImportWarning,
    files::Files,
    list,
    names::{Kind, clean, fold, folder, is_image, is_list, join, kind, last, split},
    text,
};
use crate::regular_file;

/// Largest text file that is read as one caption.
const MAX_TEXT_BYTES: u64 = 64 << 10;
/// Largest list.
const MAX_LIST_BYTES: u64 = 64 << 20;

/// The captions that lie among files, by the names of their images.
#[derive(Debug, Default)]
pub(super) struct Captions {
    found: HashMap<String, Caption>,
}

#[derive(Debug)]
struct Caption {
    text: String,
    /// `line 3 of metadata.jsonl`.
    from: String,
}

impl Captions {
    /// Reads every list and every text file among `files`. `present`: images that are there already, to which captions
    /// may come late.
    pub(super) fn read(files: &Files, present: &[String], warnings: &mut Vec<ImportWarning>) -> Self {
        let here = files.keys().map(String::as_str).filter(|name| is_image(name));
        let names = Names::new(here.chain(present.iter().map(String::as_str)).collect());
        let mut this = Self::default();
        let (lists, texts): (Vec<_>, Vec<_>) =
            files.iter().filter(|(name, _)| kind(name) == Kind::Text).partition(|(name, _)| is_list(name));
        // What the Hub's own tools write goes before other lists.
        let rank = |name: &str| !last(name).to_lowercase().starts_with("metadata.");
        let mut lists: Vec<_> = lists.into_iter().collect();
        lists.sort_by_key(|(name, _)| (rank(name), *name));
        for (name, path) in lists {
            let mut warning = |message: String| warnings.push(ImportWarning { name: name.clone(), message });
            match regular_file::read(path, MAX_LIST_BYTES) {
                Ok(bytes) => {
                    let list::List { rows, notes } = list::read(name, &bytes);
                    notes.into_iter().for_each(&mut warning);
                    for row in rows {
                        this.row(name, row, &names, &mut warning);
                    }
                }
                Err(why) => warning(format!("Not read: {why}; its captions are missing.")),
            }
        }
        let mut texts: Vec<_> = texts.into_iter().collect();
        // Of several beside one image the first counts: `a.txt`, `a.caption`, `a.png.txt`.
        texts.sort_by_key(|(name, _)| {
            let (stem, extension) = split(name);
            (is_image(stem), extension != "txt", *name)
        });
        for (name, path) in texts {
            let mut warning = |message: String| warnings.push(ImportWarning { name: name.clone(), message });
            let images = names.beside(name);
            if images.is_empty() {
                let (stem, _) = split(name);
                warning(format!(
                    "Not used: no image {}. If it is a caption, upload it again after its image.",
                    if is_image(stem) {
                        last(stem).to_owned()
                    } else {
                        format!("{}.png, .jpg or .webp", last(stem))
                    }
                ));
                continue;
            }
            match regular_file::read(path, MAX_TEXT_BYTES) {
                Ok(bytes) => {
                    let text::Text { text, mut notes } = text::read(&bytes);
                    let caption = text::caption(&text);
                    notes.extend(caption.notes);
                    tell(&notes, "Check this caption: ", &mut warning);
                    for image in images {
                        this.take(&image, &caption.text, "It", name.clone(), &mut warning);
                    }
                }
                Err(why) => warning(format!("Not used as a caption: {why}.")),
            }
        }
        this
    }

    /// What stands in a list or a text file for the image of that name.
    pub(super) fn own(&self, image: &str) -> Option<&str> {
        self.found.get(image).map(|caption| caption.text.as_str())
    }

    fn row(&mut self, list: &str, row: list::Row, names: &Names<'_>, warning: &mut impl FnMut(String)) {
        let list::Row { place, file, captions } = row;
        let shown = text::beginning(&file, 200);
        let image = match names.listed(list, &file) {
            Ok(image) => image,
            Err(hint) => {
                let caption =
                    captions.first().map(|text| format!(" Its caption is “{}”.", text::beginning(text, 200)));
                warning(format!("{place} names {shown}: {hint}{}", caption.unwrap_or_default()));
                return;
            }
        };
        let mut written = captions.iter();
        let Some(first) = written.next() else {
            warning(format!("{place} has no caption for {shown}."));
            return;
        };
        for other in written {
            warning(format!(
                "{place} has another caption for {shown}, which is not used: “{}”.",
                text::beginning(other, 200)
            ));
        }
        let text::Text { text, notes } = text::caption(first);
        tell(&notes, &format!("Check the caption of {}: ", place.to_lowercase()), warning);
        self.take(&image, &text, &place, format!("{} of {list}", place.to_lowercase()), warning);
    }

    /// Keeps a caption, or says why not.
    fn take(&mut self, image: &str, text: &str, place: &str, from: String, warning: &mut impl FnMut(String)) {
        if text.is_empty() {
            warning(format!("{place} is an empty caption for {image}."));
            return;
        }
        match self.found.get(image) {
            None => {
                self.found.insert(image.to_owned(), Caption { text: text.to_owned(), from });
            }
            Some(first) if first.text == text => {
                warning(format!("{place} repeats the caption of {image} from {}.", first.from));
            }
            Some(first) => warning(format!(
                "{place} is another caption for {image}, which is not used: “{}”. The one of {} is.",
                text::beginning(text, 200),
                first.from
            )),
        }
    }
}

fn tell(notes: &[String], before: &str, warning: &mut impl FnMut(String)) {
    if !notes.is_empty() {
        warning(format!("{before}{}.", notes.join("; ")));
    }
}

/// The images that captions can be for.
struct Names<'a> {
    exact: BTreeSet<&'a str>,
    /// By their names whatever the case, and by these without their endings.
    folded: BTreeMap<String, Vec<&'a str>>,
    stems: BTreeMap<String, Vec<&'a str>>,
    /// By the last part of their names.
    last: BTreeMap<String, Vec<&'a str>>,
}

impl<'a> Names<'a> {
    fn new(exact: BTreeSet<&'a str>) -> Self {
        let mut this = Self { exact, folded: BTreeMap::new(), stems: BTreeMap::new(), last: BTreeMap::new() };
        for name in &this.exact {
            this.folded.entry(fold(name)).or_default().push(name);
            this.stems.entry(fold(split(name).0)).or_default().push(name);
            this.last.entry(fold(last(name))).or_default().push(name);
        }
        this
    }

    /// The image that a list means, or why it means none.
    fn listed(&self, list: &str, file: &str) -> Result<String, String> {
        let folder = folder(list);
        let plain = clean(file);
        let wanted = join(folder, &plain);
        if self.exact.contains(wanted.as_str()) {
            return Ok(wanted);
        }
        let none: &[&str] = &[];
        let of = |map: &BTreeMap<String, Vec<&'a str>>, key: &str| {
            map.get(&fold(key)).cloned().unwrap_or_default()
        };
        let mut found = of(&self.folded, &wanted);
        // Some lists leave the ending out.
        if found.is_empty() && !is_image(&wanted) {
            found = of(&self.stems, &wanted);
        }
        match found.as_slice() {
            [one] => return Ok((*one).to_owned()),
            [] => {}
            several => {
                return Err(format!(
                    "it matches several files: {}; write the exact name.",
                    several.join(", ")
                ));
            }
        }
        // A hint, no guess: another folder's image of that name may be another image.
        let alike = self.last.get(&fold(last(&plain))).map_or(none, Vec::as_slice);
        let inside = |name: &&str| {
            name.strip_prefix(folder).is_some_and(|rest| folder.is_empty() || rest.starts_with('/'))
        };
        Err(match alike.iter().find(|name| inside(name)) {
            Some(name) => {
                let write = name.strip_prefix(folder).unwrap_or(name).trim_start_matches('/');
                format!("no such image; did you mean {name}? Write {write}.")
            }
            None => "no such image.".to_owned(),
        })
    }

    /// The images that a text file lies beside.
    fn beside(&self, text: &str) -> Vec<String> {
        let (stem, _) = split(text);
        let key = fold(stem);
        let of = |map: &BTreeMap<String, Vec<&'a str>>| map.get(&key).cloned().unwrap_or_default();
        let mut found = if is_image(stem) { of(&self.folded) } else { Vec::new() };
        if found.is_empty() {
            found = of(&self.stems);
        }
        // Where the case tells them apart, it counts.
        let exact: Vec<_> =
            found.iter().copied().filter(|name| *name == stem || split(name).0 == stem).collect();
        if !exact.is_empty() && exact.len() < found.len() {
            found = exact;
        }
        found.into_iter().map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_lists_find_their_images() {
        let names = Names::new(BTreeSet::from([
            "train/1.PNG",
            "train/é.png",
            "2.png",
            "x/3.png",
            "x/3.PNG",
            "4.jpg",
            "4.webp",
        ]));
        for (list, file, found) in [
            ("metadata.jsonl", "train/1.png", Ok("train/1.PNG")),
            ("metadata.jsonl", ".\\train\\1.PNG", Ok("train/1.PNG")),
            ("train/metadata.jsonl", "1.png", Ok("train/1.PNG")),
            ("train/metadata.jsonl", "e\u{301}.PNG", Ok("train/é.png")),
            ("metadata.jsonl", "/2.png", Ok("2.png")),
            ("meta.json", "2", Ok("2.png")),
            ("x/m.csv", "3.png", Ok("x/3.png")),
            ("x/m.csv", "3.Png", Err("several files: x/3.PNG, x/3.png")),
            ("meta.json", "4", Err("several files: 4.jpg, 4.webp")),
            ("train/metadata.jsonl", "train/1.png", Err("Write 1.PNG.")),
            ("train/metadata.jsonl", "/home/me/train/1.png", Err("Write 1.PNG.")),
            ("train/metadata.jsonl", "2.png", Err("no such image.")),
        ] {
            match (names.listed(list, file), found) {
                (Ok(image), Ok(expected)) => assert_eq!(image, expected),
                (Err(hint), Err(expected)) => assert!(hint.contains(expected), "{file}: {hint}"),
                other => panic!("{list} {file}: {other:?}"),
            }
        }
    }
}
