//! Visitors' prompts as another version, or the judge, should get them. Pure.

use std::ops::Range;

use adire_protocol::lora_tag;

/// A prompt with one trigger word in place of another. Where either is empty or they are equal, nothing changes: a word
/// that a model does not know hardly matters.
pub(crate) fn with_trigger(prompt: &str, from: &str, to: &str) -> String {
    let (from, to) = (from.trim(), to.trim());
    if to.is_empty() || from == to { prompt.to_owned() } else { replace(prompt, from, to) }
}

/// A prompt in plain words: no tags, weights or trigger words, which no judge knows.
pub(crate) fn plain(prompt: &str, triggers: &[&str]) -> String {
    let mut text = without_weights(&lora_tag::without(prompt));
    for trigger in triggers {
        text = replace(&text, trigger.trim(), "");
    }
    let pieces = text.split(',').map(|piece| piece.split_whitespace().collect::<Vec<_>>().join(" "));
    pieces.filter(|piece| !piece.is_empty()).collect::<Vec<_>>().join(", ")
}

/// Replaces whole words outside tags, whatever their case.
fn replace(prompt: &str, from: &str, to: &str) -> String {
    let tags: Vec<Range<usize>> = lora_tag::find(prompt).into_iter().map(|tag| tag.range).collect();
    let (mut text, mut at) = (String::with_capacity(prompt.len()), 0);
    while let Some(character) = prompt[at..].chars().next() {
        let rest = &prompt[at..];
        if let Some(tag) = tags.iter().find(|tag| tag.start == at) {
            text.push_str(&prompt[tag.clone()]);
            at = tag.end;
            continue;
        }
        let begins = !text.ends_with(char::is_alphanumeric) || !from.starts_with(char::is_alphanumeric);
        match beginning(rest, from).filter(|length| begins && ends(&rest[*length..], from)) {
            Some(length) => {
                text.push_str(to);
                at += length;
            }
            None => {
                text.push(character);
                at += character.len_utf8();
            }
        }
    }
    text
}

/// How many bytes of `text` are `words`, if it begins with them.
fn beginning(text: &str, words: &str) -> Option<usize> {
    let mut rest = text.chars();
    for wanted in words.chars() {
        let found = rest.next()?;
        if !found.to_lowercase().eq(wanted.to_lowercase()) {
            return None;
        }
    }
    (!words.is_empty()).then(|| text.len() - rest.as_str().len())
}

fn ends(rest: &str, words: &str) -> bool {
    !rest.starts_with(char::is_alphanumeric) || !words.ends_with(char::is_alphanumeric)
}

/// Takes out what weights words in A1111's syntax: brackets and, before a closing one, the number.
fn without_weights(prompt: &str) -> String {
    let (mut text, mut escaped) = (String::with_capacity(prompt.len()), false);
    for character in prompt.chars() {
        match character {
            '\\' if !escaped => {
                escaped = true;
                continue;
            }
            ')' | ']' if !escaped => {
                let number = |tail: &str| tail.trim().parse::<f64>().is_ok();
                if let Some(colon) = text.rfind(':').filter(|colon| number(&text[colon + 1..])) {
                    text.truncate(colon);
                }
            }
            '(' | '[' if !escaped => {}
            other => text.push(other),
        }
        escaped = false;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trigger_word_is_exchanged_as_a_word() {
        for (prompt, expected) in [
            ("a cat, adr1", "a cat, blu cloth"),
            ("ADR1 moons, adr1", "blu cloth moons, blu cloth"),
            ("(adr1:1.2), adr12, xadr1", "(blu cloth:1.2), adr12, xadr1"),
            ("<lora:adr1:0.5> adr1", "<lora:adr1:0.5> blu cloth"),
            ("no trigger", "no trigger"),
            ("", ""),
        ] {
            assert_eq!(with_trigger(prompt, "adr1", "blu cloth"), expected);
        }
        assert_eq!(with_trigger("a cat, adr1", "adr1", ""), "a cat, adr1");
        assert_eq!(with_trigger("a cat", "", "blu"), "a cat");
        assert_eq!(with_trigger("àdìrẹ cloth", "ÀDÌRẸ", "indigo"), "indigo cloth");
    }

    #[test]
    fn the_judge_gets_plain_words() {
        for (prompt, expected) in [
            ("a cat, adr1, at night", "a cat, at night"),
            ("(white stars:1.3) on [blue] cloth <lora:adire:1>", "white stars on blue cloth"),
            ("a \\(real\\) cat, blu", "a (real) cat"),
            ("time 10:30, adr1 blu", "time 10:30"),
            ("adr1", ""),
        ] {
            assert_eq!(plain(prompt, &["adr1", "blu"]), expected);
        }
    }
}
