//! Texts in EXIF data: the user's comment, and the fields in which ComfyUI and Windows put texts.

use exif::{Context, In, Reader, Tag, Value};

use super::{MAX_TEXT_BYTES, Texts, utf8_or_latin1};

/// Windows' comment, in UTF-16.
const XP_COMMENT: Tag = Tag(Context::Tiff, 0x9c9c);

/// The texts of EXIF data, which begins with TIFF's header.
pub(super) fn texts(tiff: &[u8], texts: &mut Texts) {
    // Its lists are small: anything longer was not written by Adire.
    if tiff.len() > 4 * MAX_TEXT_BYTES {
        return;
    }
    let mut reader = Reader::new();
    reader.continue_on_error(true);
    let Ok(exif) = reader.read_raw(tiff.to_vec()).or_else(|error| error.distill_partial_result(|_| ()))
    else {
        return;
    };
    let bytes = |tag: Tag| exif.get_field(tag, In::PRIMARY).and_then(|field| bytes_of(&field.value));
    if let Some(comment) = bytes(Tag::UserComment) {
        texts.add("UserComment", Some(user_comment(&comment)));
    }
    if let Some(comment) = bytes(XP_COMMENT) {
        texts.add("XPComment", utf16(&comment));
    }
    for (tag, name) in
        [(Tag::ImageDescription, "ImageDescription"), (Tag::Make, "Make"), (Tag::Model, "Model")]
    {
        let Some(text) = bytes(tag).map(|text| utf8_or_latin1(&text)) else { continue };
        // ComfyUI's WebP files: `prompt:{…}`, `workflow:{…}`.
        let named = text.split_once(':').filter(|(key, json)| {
            ["prompt", "workflow"].contains(&key.to_lowercase().as_str())
                && json.trim_start().starts_with('{')
        });
        match named {
            Some((key, json)) => texts.add(&key.to_lowercase(), Some(json.to_owned())),
            None if name == "ImageDescription" => texts.add(name, Some(text)),
            None => {}
        }
    }
}

fn bytes_of(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::Undefined(bytes, _) | Value::Byte(bytes) => Some(bytes.clone()),
        Value::Ascii(parts) => Some(parts.join(&b'\n')),
        _ => None,
    }
}

/// A comment after its eight bytes of encoding. Programs write either byte order after `UNICODE`, and UTF-8 too.
fn user_comment(bytes: &[u8]) -> String {
    let text = match bytes.split_first_chunk::<8>() {
        Some((b"UNICODE\0", text)) => return utf16(text).unwrap_or_else(|| utf8_or_latin1(text)),
        Some((b"ASCII\0\0\0" | b"JIS\0\0\0\0\0" | b"\0\0\0\0\0\0\0\0", text)) => text,
        // Without any encoding.
        _ => bytes,
    };
    utf8_or_latin1(text).trim_matches(['\0', ' ']).to_owned()
}

/// UTF-16 in the byte order that gives the more plain characters; `None`: neither gives any.
fn utf16(bytes: &[u8]) -> Option<String> {
    let units = |of: fn([u8; 2]) -> u16| bytes.as_chunks::<2>().0.iter().map(move |pair| of(*pair));
    let plain = |units: &mut dyn Iterator<Item = u16>| units.filter(|unit| (9..127).contains(unit)).count();
    let (little, big) = (plain(&mut units(u16::from_le_bytes)), plain(&mut units(u16::from_be_bytes)));
    if little == 0 && big == 0 {
        return None;
    }
    let units: Vec<u16> =
        if little > big { units(u16::from_le_bytes).collect() } else { units(u16::from_be_bytes).collect() };
    Some(String::from_utf16_lossy(&units).trim_matches(['\u{feff}', '\0']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_read_in_every_encoding() {
        let text = "àdìrẹ 青い, Steps: 20";
        let with = |prefix: &[u8; 8], bytes: Vec<u8>| user_comment(&[prefix.as_slice(), &bytes].concat());
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(with(b"UNICODE\0", big.clone()), text);
        assert_eq!(with(b"UNICODE\0", little.clone()), text);
        assert_eq!(with(b"UNICODE\0", [b"\xff\xfe".as_slice(), &little].concat()), text);
        assert_eq!(with(b"UNICODE\0", [b"\xfe\xff".as_slice(), &big].concat()), text);
        assert_eq!(with(b"UNICODE\0", text.into()), text);
        assert_eq!(with(b"ASCII\0\0\0", text.into()), text);
        assert_eq!(with(b"\0\0\0\0\0\0\0\0", text.into()), text);
        assert_eq!(user_comment(text.as_bytes()), text);
        assert_eq!(user_comment(b"caf\xe9 with stars"), "café with stars");
        assert_eq!(user_comment(b""), "");
    }
}
