//! Texts inside image files: chunks of PNG and WebP, segments of JPEG, EXIF and XMP. Pixels are not decoded. Every
//! reader is bounded: in the number of texts, in the length of each, in what they take together.

mod exif;
pub(crate) mod jpeg;
pub(crate) mod png;
mod webp;

use adire_protocol::reading::TextEntry;

/// Most texts that one file gives.
const MAX_TEXTS: usize = 64;
/// Longest text, in bytes: many times the longest prompts, and a large graph of ComfyUI's.
const MAX_TEXT_BYTES: usize = 1 << 20;
/// Most bytes of all texts together.
const MAX_ALL_BYTES: usize = 4 << 20;

/// The kinds of files that carry texts we read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Container {
    Png,
    Jpeg,
    WebP,
}

impl Container {
    /// By the file's first bytes.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Self::Png),
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::WebP),
            _ => None,
        }
    }
}

/// Texts as they are found.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    pub(crate) entries: Vec<TextEntry>,
    bytes: usize,
    /// Keywords of texts that were left out: longer than is read, packed badly, or with a wrong checksum.
    pub(crate) unreadable: Vec<String>,
}

impl Texts {
    fn room(&self) -> usize {
        match self.entries.len() < MAX_TEXTS {
            true => MAX_TEXT_BYTES.min(MAX_ALL_BYTES - self.bytes.min(MAX_ALL_BYTES)),
            false => 0,
        }
    }

    fn add(&mut self, key: &str, text: Option<String>) {
        let key: String = key.chars().take(80).collect();
        match text.filter(|text| text.len() <= self.room()) {
            Some(text) => {
                self.bytes += text.len();
                self.entries.push(TextEntry { key, text });
            }
            None if self.unreadable.len() < MAX_TEXTS => self.unreadable.push(key),
            None => {}
        }
    }

    /// The first text of this keyword.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| entry.text.as_str())
    }
}

/// The texts of a file; `None`: it is not a PNG, JPEG or WebP file.
pub(crate) fn texts(bytes: &[u8]) -> Option<Texts> {
    let mut texts = Texts::default();
    match Container::of(bytes)? {
        Container::Png => png::texts(bytes, &mut texts),
        Container::Jpeg => jpeg::texts(bytes, &mut texts),
        Container::WebP => webp::texts(bytes, &mut texts),
    }
    Some(texts)
}

/// UTF-8 where the bytes are that, else Latin-1: what programs write, whatever the format says.
fn utf8_or_latin1(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}

/// The user's comment in XMP, with its entities resolved: a small part of XML, enough for what programs write there.
fn xmp_comment(xmp: &[u8]) -> Option<String> {
    let xmp = std::str::from_utf8(xmp).ok()?;
    let (_, comment) = xmp.split_once("<exif:UserComment>").or_else(|| xmp.split_once("<dc:description>"))?;
    let (comment, _) =
        comment.split_once("</exif:UserComment>").or_else(|| comment.split_once("</dc:description>"))?;
    let (_, item) =
        comment.split_once("<rdf:li").and_then(|(_, rest)| rest.split_once('>')).map(|item| ((), item.1))?;
    let (item, _) = item.split_once("</rdf:li>")?;
    let mut text = item.trim().to_owned();
    for (entity, character) in [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&#xA;", "\n"),
        ("&#10;", "\n"),
        ("&amp;", "&"),
    ] {
        text = text.replace(entity, character);
    }
    Some(text)
}
