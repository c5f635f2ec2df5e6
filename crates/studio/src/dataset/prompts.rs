//! What a training makes samples of when nobody says.

use std::collections::BTreeSet;

use super::text;

/// Most bytes of a prompt: what comes after has no place in the text encoder anyway.
const MAX_PROMPT_BYTES: usize = 300;

/// Up to three sample prompts: two of a dataset's captions as the text encoder receives them (`texts`), and the first of them
/// without the trigger word, which shows what the adapter does where nobody calls it. Signs that mean something in a
/// prompt are escaped.
pub fn sample_prompts<'a>(texts: impl IntoIterator<Item = &'a str>, trigger: &str) -> Vec<String> {
    let mut different = BTreeSet::new();
    let mut first = Vec::new();
    for text in texts {
        let text = text.trim();
        // A tag would load another adapter.
        if !text.is_empty() && !text.contains('<') && different.insert(text) && first.len() < 2 {
            first.push(text);
        }
    }
    let mut prompts: Vec<String> = first.iter().map(|text| escaped(text)).collect();
    if let Some(text) = first.first().filter(|text| !trigger.is_empty() && text.contains(trigger)) {
        let plain = text::one_line(&text.replace(trigger, " "));
        let parts = plain.split(',').map(str::trim).filter(|part| !part.is_empty());
        let plain = parts.collect::<Vec<_>>().join(", ");
        if !plain.is_empty() {
            prompts.push(escaped(&plain));
        }
    }
    prompts
}

fn escaped(text: &str) -> String {
    text::beginning(text, MAX_PROMPT_BYTES).chars().fold(String::new(), |mut prompt, c| {
        if matches!(c, '(' | ')' | '[' | ']' | '\\') {
            prompt.push('\\');
        }
        prompt.push(c);
        prompt
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_captions_and_one_without_the_trigger() {
        let texts = ["tok, red (dark) cloth", "tok, red (dark) cloth", "tok, stars", "tok, moons"];
        let expected = ["tok, red \\(dark\\) cloth", "tok, stars", "red \\(dark\\) cloth"];
        assert_eq!(sample_prompts(texts, "tok"), expected);
        assert_eq!(
            sample_prompts(["a cloth, in adire style, blue"], "in adire style"),
            ["a cloth, in adire style, blue", "a cloth, blue"]
        );
        assert_eq!(sample_prompts(["tok"], "tok"), ["tok"]);
        assert_eq!(sample_prompts(["", "<lora:x:1> a"], "tok"), Vec::<String>::new());
        assert_eq!(sample_prompts(["a", "b"], ""), ["a", "b"]);
        assert_eq!(sample_prompts(["é".repeat(400).as_str()], "")[0].len(), MAX_PROMPT_BYTES);
    }
}
