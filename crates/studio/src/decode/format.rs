//! Which kind of file something is that is not read, by its first bytes.

/// Why a file is not taken as an image: a sentence that names what it is.
pub(crate) fn refusal(bytes: &[u8]) -> String {
    let advice = "Save it as PNG, JPEG or WebP and try again.";
    match name(bytes) {
        Some(name) => format!("This is {name} file, which is not supported. {advice}"),
        None if bytes.is_empty() => format!("This file is empty. {advice}"),
        None => "Unsupported file. Use PNG, JPEG or WebP.".to_owned(),
    }
}

fn name(bytes: &[u8]) -> Option<&'static str> {
    // ISO media files: the brand says what is inside.
    if bytes.get(4..8) == Some(b"ftyp") {
        let brand = bytes.get(8..12).unwrap_or_default();
        return Some(match brand {
            b"avif" | b"avis" => "an AVIF",
            b"heic" | b"heix" | b"hevc" | b"heim" | b"heis" | b"mif1" | b"msf1" => "an HEIC",
            b"crx " => "a Canon raw",
            _ => "an MP4 or a similar video",
        });
    }
    let starts = [
        (b"GIF8".as_slice(), "a GIF"),
        (b"BM", "a BMP"),
        (b"II*\0", "a TIFF or camera raw"),
        (b"MM\0*", "a TIFF or camera raw"),
        (b"II+\0", "a TIFF"),
        (b"\xff\x0a", "a JPEG XL"),
        (b"\0\0\0\x0cJXL ", "a JPEG XL"),
        (b"\0\0\0\x0cjP  ", "a JPEG 2000"),
        (b"\xff\x4f\xff\x51", "a JPEG 2000"),
        (b"8BPS", "a Photoshop"),
        (b"gimp xcf", "a GIMP"),
        (b"%PDF", "a PDF"),
        (b"\0\0\x01\0", "an icon (ICO)"),
        (b"qoif", "a QOI"),
        (b"v/1\x01", "an OpenEXR"),
        (b"#?RADIANCE", "a Radiance HDR"),
        (b"DDS ", "a DDS texture"),
        (b"PK\x03\x04", "a ZIP"),
        (b"\x1aE\xdf\xa3", "a WebM video"),
    ];
    if let Some((_, name)) = starts.iter().find(|(start, _)| bytes.starts_with(start)) {
        return Some(name);
    }
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(1024)]).to_lowercase();
    let text = text.trim_start_matches(['\u{feff}', ' ', '\n', '\r', '\t']);
    if text.starts_with("<svg") || (text.starts_with("<?xml") && text.contains("<svg")) {
        Some("an SVG")
    } else if text.starts_with("<!doctype html") || text.starts_with("<html") {
        Some("an HTML")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_that_are_not_read_are_named() {
        for (bytes, name) in [
            (b"\0\0\0\x18ftypheic\0\0\0\0".as_slice(), "an HEIC file"),
            (b"\0\0\0\x1cftypavif", "an AVIF file"),
            (b"GIF89a", "a GIF file"),
            (b"BM\x36", "a BMP file"),
            (b"II*\0", "a TIFF"),
            (b"<?xml version=\"1.0\"?>\n<svg xmlns=", "an SVG file"),
            (b"  <svg>", "an SVG file"),
            (b"", "empty"),
            (b"words", "Unsupported file"),
        ] {
            let sentence = refusal(bytes);
            assert!(sentence.contains(name) && sentence.contains("PNG, JPEG or WebP"), "{sentence}");
        }
    }
}
