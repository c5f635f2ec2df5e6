//! Texts of WebP files: EXIF and XMP.

use super::{Texts, exif, xmp_comment};

/// The chunks of a WebP file, up to one that the file does not hold in full.
pub(crate) fn chunks(webp: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    let mut rest = webp.get(12..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (kind, after) = rest.split_first_chunk::<4>()?;
        let (length, after) = after.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) as usize;
        let (data, after) = after.split_at_checked(length)?;
        // Chunks begin at even places.
        rest = after.get(length % 2..).unwrap_or_default();
        Some((*kind, data))
    })
    .take(4096)
}

pub(super) fn texts(webp: &[u8], texts: &mut Texts) {
    for (kind, data) in chunks(webp) {
        match &kind {
            // Some programs keep JPEG's prefix.
            b"EXIF" => exif::texts(data.strip_prefix(b"Exif\0\0").unwrap_or(data), texts),
            b"XMP " => {
                if let Some(comment) = xmp_comment(data) {
                    texts.add("XMP", Some(comment));
                }
            }
            _ => {}
        }
    }
}
