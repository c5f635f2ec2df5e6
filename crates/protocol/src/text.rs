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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_become_sentences() {
        assert_eq!(sentence("the size is 7"), "The size is 7.");
        assert_eq!(sentence("/a/b: is truncated."), "/a/b: is truncated.");
        assert_eq!(sentence(""), ".");
    }
}
