//! Decodes text files in any common encoding; guesses and removed characters are reported.

use adire_protocol::MAX_CAPTION_BYTES;
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

/// A text, and what a person should know about how it was read.
pub(super) struct Text {
    pub(super) text: String,
    pub(super) notes: Vec<String>,
}

/// Reads UTF-8, UTF-16 (with a byte order mark, or by its zero bytes) or, failing both, Windows-1252, in which every
/// byte means something. NUL and other control characters but tabs and line breaks are removed, as are invisible
/// ones: a tokenizer makes words of its own of them.
pub(super) fn read(bytes: &[u8]) -> Text {
    let mut notes = Vec::new();
    let (encoding, from) = match Encoding::for_bom(bytes) {
        Some((encoding, mark)) => (encoding, mark),
        None => {
            let guessed = guess(bytes);
            if let Some((_, note)) = guessed {
                notes.push(note.to_owned());
            }
            (guessed.map_or(UTF_8, |(encoding, _)| encoding), 0)
        }
    };
    let (decoded, broken) = encoding.decode_without_bom_handling(bytes.get(from..).unwrap_or_default());
    if broken {
        notes.push(format!("it is damaged: parts are no {}", encoding.name()));
    }
    let text = visible(&decoded, &mut notes);
    Text { text, notes }
}

/// What a person wrote as one caption: on one line, without what cannot be seen, and no longer than captions may be.
pub(super) fn caption(written: &str) -> Text {
    let mut notes = Vec::new();
    let visible = visible(written, &mut notes);
    let lines = visible.lines().filter(|line| !line.trim().is_empty()).count();
    if lines > 1 {
        notes.push(format!("its {lines} lines were joined into one caption"));
    }
    let mut text = one_line(&visible);
    if text.len() > MAX_CAPTION_BYTES {
        notes.push(format!("it has {} bytes, of which the first {MAX_CAPTION_BYTES} are used", text.len()));
        text = beginning(&text, MAX_CAPTION_BYTES).to_owned();
    }
    Text { text, notes }
}

fn visible(text: &str, notes: &mut Vec<String>) -> String {
    let mut taken = 0;
    let kept = text.chars().filter(|c| {
        let out = is_invisible(*c);
        taken += u32::from(out);
        !out
    });
    let kept = kept.collect();
    match taken {
        0 => {}
        1 => notes.push("1 invisible character was removed".to_owned()),
        many => notes.push(format!("{many} invisible characters were removed")),
    }
    kept
}

/// What a text without a mark is in, where it is no UTF-8.
fn guess(bytes: &[u8]) -> Option<(&'static Encoding, &'static str)> {
    let zeros = |from: usize| bytes.iter().skip(from).step_by(2).filter(|byte| **byte == 0).count();
    let pairs = bytes.len() / 2;
    if pairs > 1 && bytes.len().is_multiple_of(2) {
        // Half of all bytes of a Latin text in UTF-16 are zero, always the same half.
        let (even, odd) = (zeros(0), zeros(1));
        let note = "it has no byte order mark and was read as UTF-16";
        if odd * 4 > pairs * 3 && even * 4 < pairs {
            return Some((UTF_16LE, note));
        }
        if even * 4 > pairs * 3 && odd * 4 < pairs {
            return Some((UTF_16BE, note));
        }
    }
    std::str::from_utf8(bytes).is_err().then_some((
        WINDOWS_1252,
        "it is not UTF-8 and was read as Windows-1252; save it as UTF-8 if that is wrong",
    ))
}

fn is_invisible(c: char) -> bool {
    (c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}'))
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

/// Words with single blanks between them.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The beginning of a text, in at most `most` bytes and whole characters.
pub(super) fn beginning(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    text.get(..end).unwrap_or_default().trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "indigo cloth, étoile (night sky), 1:1";

    fn utf16(text: &str, big: bool) -> Vec<u8> {
        text.encode_utf16()
            .flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() })
            .collect()
    }

    #[test]
    fn every_usual_encoding_is_read() {
        let cp1252: Vec<u8> = SAID.chars().map(|c| if c == 'é' { 0xe9 } else { c as u8 }).collect();
        for (bytes, note) in [
            (SAID.as_bytes().to_vec(), ""),
            ([b"\xef\xbb\xbf", SAID.as_bytes()].concat(), ""),
            ([b"\xff\xfe".to_vec(), utf16(SAID, false)].concat(), ""),
            ([b"\xfe\xff".to_vec(), utf16(SAID, true)].concat(), ""),
            (utf16(SAID, false), "read as UTF-16"),
            (utf16(SAID, true), "read as UTF-16"),
            (cp1252, "read as Windows-1252"),
        ] {
            let read = read(&bytes);
            assert_eq!(read.text, SAID);
            match note {
                "" => assert_eq!(read.notes, Vec::<String>::new()),
                note => assert!(read.notes.len() == 1 && read.notes[0].contains(note), "{:?}", read.notes),
            }
        }
    }

    #[test]
    fn invisible_characters_are_removed_and_reported() {
        let read = read("indigo\0 cloth\u{200b} stars".as_bytes());
        assert_eq!(read.text, "indigo cloth stars");
        assert_eq!(read.notes, ["2 invisible characters were removed"]);
        let half = super::read(b"\xff\xfea\0b");
        assert!(half.text.starts_with('a') && half.notes[0].contains("damaged"), "{:?}", half.notes);
    }

    #[test]
    fn a_caption_is_one_line_of_bounded_length() {
        let joined = caption("first caption\r\n\r\nsecond caption\n");
        assert_eq!((joined.text.as_str(), joined.notes.len()), ("first caption second caption", 1));
        assert!(joined.notes[0].contains("2 lines were joined"));
        assert_eq!(caption("  a\tb \n").notes, Vec::<String>::new());
        let long = caption(&"ä".repeat(3000));
        assert_eq!(long.text.len(), MAX_CAPTION_BYTES);
        assert!(long.notes[0].contains("6000 bytes"), "{:?}", long.notes);
    }

    #[test]
    fn any_bytes_are_borne() {
        let mut bytes = Vec::new();
        for i in 0..600u32 {
            bytes.push((i.wrapping_mul(2_654_435_761) >> 13) as u8);
            let _ = read(&bytes);
        }
        assert_eq!(read(b"").text, "");
        assert_eq!(beginning("äöü", 3), "ä");
        assert_eq!(one_line(" a\r\n b\tc "), "a b c");
    }
}
