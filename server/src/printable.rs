//! Texts for a terminal or a log.

/// Escapes control characters (`\u{1b}`) for a terminal or a log; newlines and tabs stay.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        // Bidirectional controls too: they can make one name look like another.
        let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if (c.is_control() && !matches!(c, '\n' | '\t')) || turns {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Prints why a command has failed. Names in files that somebody made may hold what a terminal would obey.
pub fn report(error: &anyhow::Error) {
    eprintln!("adire: {}", printable(&format!("{error:#}")));
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn control_characters_are_escaped() {
        for (text, shown) in [
            ("lora_unet_\u{1b}[31mX", "lora_unet_\\u{1b}[31mX"),
            ("\u{9b}31m\u{7}\r\u{7f}", "\\u{9b}31m\\u{7}\\u{d}\\u{7f}"),
            ("a\u{202e}gnp.exe", "a\\u{202e}gnp.exe"),
            ("àdìrẹ\n\t“good”", "àdìrẹ\n\t“good”"),
        ] {
            assert_eq!(printable(text), shown);
        }
    }
}
