//! Texts of PNG files, before and after the pixels.

use std::io::Read;

use flate2::{Crc, read::ZlibDecoder};

use super::{Texts, exif, utf8_or_latin1, xmp_comment};

/// Most chunks that are looked at; the pixels of large images come in thousands.
const MAX_CHUNKS: usize = 1 << 16;

/// A chunk: its kind, what it holds, and whether its checksum is right.
pub(crate) struct Chunk<'a> {
    pub(crate) kind: [u8; 4],
    pub(crate) data: &'a [u8],
    crc: u32,
}

impl Chunk<'_> {
    fn is_whole(&self) -> bool {
        let mut crc = Crc::new();
        crc.update(&self.kind);
        crc.update(self.data);
        crc.sum() == self.crc
    }
}

/// The chunks of a PNG file, up to one that the file does not hold in full.
pub(crate) fn chunks(png: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    let mut rest = png.get(8..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (kind, after) = after.split_first_chunk::<4>()?;
        let (data, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        let (crc, after) = after.split_first_chunk::<4>()?;
        rest = after;
        Some(Chunk { kind: *kind, data, crc: u32::from_be_bytes(*crc) })
    })
    .take(MAX_CHUNKS)
}

pub(super) fn texts(png: &[u8], texts: &mut Texts) {
    for chunk in chunks(png).filter(|chunk| matches!(&chunk.kind, b"tEXt" | b"zTXt" | b"iTXt" | b"eXIf")) {
        if &chunk.kind == b"eXIf" {
            exif::texts(chunk.data, texts);
            continue;
        }
        let Some(end) = chunk.data.iter().take(80).position(|byte| *byte == 0) else { continue };
        let (key, rest) = (utf8_or_latin1(&chunk.data[..end]), &chunk.data[end + 1..]);
        let text = match &chunk.kind {
            _ if !chunk.is_whole() => None,
            b"tEXt" => plain(rest, texts.room()),
            b"zTXt" => rest.split_first().and_then(|(_, packed)| inflate(packed, texts.room())),
            _ => international(rest, texts.room()),
        };
        if key == "XML:com.adobe.xmp" {
            if let Some(comment) = text.and_then(|text| xmp_comment(text.as_bytes())) {
                texts.add("XMP", Some(comment));
            }
        } else {
            texts.add(&key, text);
        }
    }
}

fn plain(bytes: &[u8], room: usize) -> Option<String> {
    (bytes.len() <= room).then(|| utf8_or_latin1(bytes))
}

/// Unpacks a text that is at most `room` bytes long.
fn inflate(packed: &[u8], room: usize) -> Option<String> {
    let mut bytes = Vec::new();
    ZlibDecoder::new(packed).take(room as u64 + 1).read_to_end(&mut bytes).ok()?;
    plain(&bytes, room)
}

/// Compressed or not, method, language, translated keyword, text.
fn international(data: &[u8], room: usize) -> Option<String> {
    let ([packed, _method], rest) = data.split_first_chunk::<2>()?;
    let mut parts = rest.splitn(3, |byte| *byte == 0).skip(2);
    let text = parts.next()?;
    if *packed == 0 { plain(text, room) } else { inflate(text, room) }
}
