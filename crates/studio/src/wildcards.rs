//! The admin's wildcard lists, kept as the text that was entered, comments included.

use adire_protocol::{
    Wildcards,
    template::{is_name, is_option},
};

use crate::{StudioError, shared::Shared};

/// Name of the setting.
const KEY: &str = "wildcards";
/// Longest text, in bytes.
const MAX_BYTES: usize = 200_000;

/// The lists.
pub(crate) async fn lists(shared: &Shared) -> Result<Wildcards, StudioError> {
    // What was accepted once can be read.
    Ok(read_wildcards(&text(shared).await?).unwrap_or_default())
}

/// The lists as text.
pub(crate) async fn text(shared: &Shared) -> Result<String, StudioError> {
    Ok(shared.store.setting(KEY).await?.unwrap_or_default())
}

/// Replaces them.
pub(crate) async fn set(shared: &Shared, text: &str) -> Result<(), StudioError> {
    let read = match text.len() > MAX_BYTES {
        true => Err(format!("The lists have {} bytes; the limit is {MAX_BYTES}.", text.len())),
        false => read_wildcards(text).map(drop),
    };
    read.map_err(|message| StudioError::invalid(KEY, message))?;
    shared.store.set_setting(KEY, &text).await
}

/// Reads wildcard lists: `[name]` on a line of its own, then its values, one a line. `#` begins a comment.
///
/// # Errors
/// A sentence: which line is wrong, and why.
pub fn read_wildcards(text: &str) -> Result<Wildcards, String> {
    let mut lists = Wildcards::default();
    let mut current: Option<String> = None;
    for (number, line) in text.lines().enumerate() {
        let (number, line) = (number + 1, line.trim());
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            if !is_name(name) {
                return Err(format!(
                    "Line {number}: “{name}” cannot name a list; use letters and digits, with -, ., / or single _ between them."
                ));
            }
            if lists.0.keys().any(|known| known.eq_ignore_ascii_case(name)) {
                return Err(format!("Line {number}: there are two lists named {name}."));
            }
            lists.0.insert(name.to_owned(), Vec::new());
            current = Some(name.to_owned());
            continue;
        }
        let values = current.as_ref().and_then(|name| lists.0.get_mut(name));
        let Some(values) = values else {
            return Err(format!("Line {number}: a list begins with its name, such as [colour]."));
        };
        if !is_option(line) {
            return Err(format!(
                "Line {number}: braces must match, and a bar outside braces is written \\|."
            ));
        }
        values.push(line.to_owned());
    }
    match lists.0.iter().find(|(_, values)| values.is_empty()) {
        Some((name, _)) => Err(format!("The list {name} has no values.")),
        None => Ok(lists),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_names_with_values() {
        let read = read_wildcards("# Dyes\n[colour]\n indigo\n\n3::{deep|pale} ochre\n[art/cloth]\nadire\n")
            .unwrap();
        assert_eq!(read.0["colour"], ["indigo", "3::{deep|pale} ochre"]);
        assert_eq!(read.0["art/cloth"], ["adire"]);
        assert_eq!(read_wildcards(""), Ok(Wildcards::default()));
    }

    #[test]
    fn what_is_wrong_names_its_line() {
        for (text, start) in [
            ("indigo", "Line 1: a list begins"),
            ("[a b]\nx", "Line 1: “a b”"),
            ("[a]\nx\n[A]\ny", "Line 3: there are two lists"),
            ("[a]\nx|y", "Line 2: braces"),
            ("[a]\n{x", "Line 2: braces"),
            ("[a]\nx}", "Line 2: braces"),
            ("[a]\n[b]\nx", "The list a has no values"),
        ] {
            assert!(read_wildcards(text).unwrap_err().starts_with(start), "{text}");
        }
    }
}
