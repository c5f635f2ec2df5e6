//! Texts of JPEG files: EXIF, XMP, comments.

use super::{Texts, exif, utf8_or_latin1, xmp_comment};

/// Segments up to the pixels: marker and content.
pub(crate) fn segments(jpeg: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = jpeg.get(2..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (marker, after) = loop {
            match rest {
                // Padding.
                [0xff, 0xff, ..] => rest = &rest[1..],
                [0xff, marker, after @ ..] => break (*marker, after),
                _ => return None,
            }
        };
        // The pixels begin, or the file ends.
        if matches!(marker, 0xda | 0xd9) {
            return None;
        }
        let (length, _) = after.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length));
        let content = after.get(2..length)?;
        rest = &after[length..];
        Some((marker, content))
    })
    .take(4096)
}

pub(super) fn texts(jpeg: &[u8], texts: &mut Texts) {
    for (marker, content) in segments(jpeg) {
        match marker {
            0xe1 => {
                if let Some(tiff) = content.strip_prefix(b"Exif\0\0") {
                    exif::texts(tiff, texts);
                } else if let Some(xmp) = content.strip_prefix(b"http://ns.adobe.com/xap/1.0/\0")
                    && let Some(comment) = xmp_comment(xmp)
                {
                    texts.add("XMP", Some(comment));
                }
            }
            0xfe => texts.add("Comment", Some(utf8_or_latin1(content).trim_end_matches('\0').to_owned())),
            _ => {}
        }
    }
}
