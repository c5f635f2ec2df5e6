//! Small questions about texts, and small changes to them.

/// `width` → `Width`.
pub fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// With a capital letter and a full stop.
pub fn sentence(text: &str) -> String {
    let stop = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    capitalised(text) + stop
}

/// Whether `text` is a sha256 in lower-case hex.
pub fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// `999 bytes`, `52 kB`, `3.4 MB`, `1.2 GB`: decimal units, as disks are sold.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{:.0} kB", bytes as f64 / 1e3),
        1_000_000..100_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        100_000_000..1_000_000_000 => format!("{:.0} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_become_sentences() {
        assert_eq!(sentence("the size is 7"), "The size is 7.");
        assert_eq!(sentence("/a/b: is truncated."), "/a/b: is truncated.");
        assert_eq!(sentence(""), ".");
    }

    #[test]
    fn sizes_have_two_or_three_digits() {
        assert_eq!([999, 52_400, 3_420_000].map(size), ["999 bytes", "52 kB", "3.4 MB"]);
        assert_eq!([834_000_000, 1_200_000_000].map(size), ["834 MB", "1.2 GB"]);
    }
}
