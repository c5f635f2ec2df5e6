//! `<lora:name:te:unet>` in a prompt: A1111's and Forge's way to name an adapter (A1111's wiki, “Extra networks”).
//!
//! A tag is `<lora:` (or `<lyco:`, A1111's other name for the same), a name, and up to two numbers: the strength
//! in the text encoder and the one in the UNet; the first stands for both where the second is missing, and both
//! are 1 where neither is given. They may be named instead: `te=0.5`, `unet=0.2`. Everything else between angle
//! brackets is text. Tags count in the prompt only; in a negative prompt they are text, as in A1111.

use std::{borrow::Cow, ops::Range};

use crate::{
    AdapterUse,
    decimal::{self, Decimal},
};

/// A tag and its position.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraTag {
    /// Byte range in the prompt, including the angle brackets.
    pub range: Range<usize>,
    /// Byte range of the name.
    pub name: Range<usize>,
    /// The adapter, or a sentence about the error in the tag.
    pub adapter: Result<AdapterUse, String>,
}

/// Finds the tags of a prompt, in order, in linear time.
pub fn find(prompt: &str) -> Vec<LoraTag> {
    let (mut tags, mut at) = (Vec::new(), 0);
    while let Some(start) = prompt[at..].find('<').map(|found| at + found) {
        let Some(head) = ["<lora:", "<lyco:"].into_iter().find(|head| prompt[start..].starts_with(head))
        else {
            at = start + 1;
            continue;
        };
        let inside = start + head.len();
        // Without an end here there is none for any later tag either.
        let Some(end) = prompt[inside..].find('>').map(|found| inside + found) else { break };
        at = end + 1;
        if end > inside {
            let content = &prompt[inside..end];
            let name = inside..inside + content.find(':').unwrap_or(content.len());
            tags.push(LoraTag { range: start..end + 1, name, adapter: read(content) });
        }
    }
    tags
}

/// Removes the tags from a prompt, for the text encoder.
pub fn without(prompt: &str) -> Cow<'_, str> {
    let tags = find(prompt);
    if tags.is_empty() {
        return Cow::Borrowed(prompt);
    }
    let (mut kept, mut at) = (String::with_capacity(prompt.len()), 0);
    for tag in tags {
        kept.push_str(&prompt[at..tag.range.start]);
        at = tag.range.end;
    }
    kept.push_str(&prompt[at..]);
    Cow::Owned(kept)
}

/// Replaces the tags' names, in order, by `names`; further tags keep theirs.
pub fn rename(prompt: &str, names: &[String]) -> String {
    let (mut renamed, mut at) = (String::with_capacity(prompt.len()), 0);
    for (tag, name) in find(prompt).into_iter().zip(names) {
        renamed.push_str(&prompt[at..tag.name.start]);
        renamed.push_str(name);
        at = tag.name.end;
    }
    renamed.push_str(&prompt[at..]);
    renamed
}

/// Formats the tag of an adapter.
pub fn write(adapter: &AdapterUse) -> String {
    let (name, strength) = (&adapter.name, Decimal(adapter.strength));
    match adapter.te_strength {
        Some(te) if te != adapter.strength => format!("<lora:{name}:{}:{strength}>", Decimal(te)),
        _ => format!("<lora:{name}:{strength}>"),
    }
}

/// `name`, `name:1`, `name:1:0.5`, `name:te=1:unet=0.5`.
fn read(content: &str) -> Result<AdapterUse, String> {
    let shown: String = content.chars().take(80).collect();
    let wrong = |part: &str| {
        let part: String = part.chars().take(40).collect();
        format!(
            "“{part}” in <lora:{shown}> is not a strength; write <lora:name:1> or, for text encoder and UNet, \
             <lora:name:0.5:1>."
        )
    };
    let mut parts = content.split(':').map(str::trim);
    let name = parts.next().unwrap_or_default().to_owned();
    let (mut te, mut unet) = (None, None);
    for (position, part) in parts.enumerate() {
        let (place, number) = match (part.split_once('='), position) {
            (Some(("te", number)), _) => (&mut te, number),
            (Some(("unet", number)), _) => (&mut unet, number),
            (None, 0) => (&mut te, part),
            (None, 1) => (&mut unet, part),
            _ => return Err(wrong(part)),
        };
        *place = Some(decimal::read(number.trim()).filter(|n| n.is_finite()).ok_or_else(|| wrong(part))?);
    }
    let te = te.unwrap_or(1.0);
    let strength = unet.unwrap_or(te);
    Ok(AdapterUse { name, strength, te_strength: (te != strength).then_some(te), in_prompt: true })
}

/// Parses a tag with unsupported parts, such as block weights: returns the strengths (leading or named) and the
/// unused rest.
pub(crate) fn read_in_part(content: &str) -> (AdapterUse, Vec<&str>) {
    let mut parts = content.split(':').map(str::trim);
    let name = parts.next().unwrap_or_default().to_owned();
    let (mut te, mut unet, mut rest) = (None, None, Vec::new());
    for (position, part) in parts.enumerate() {
        let number = |text: &str| decimal::read(text.trim()).filter(|number| number.is_finite());
        let (place, read) = match (part.split_once('='), position) {
            (Some(("te", text)), _) => (Some(&mut te), number(text)),
            (Some(("unet", text)), _) => (Some(&mut unet), number(text)),
            (None, 0) => (Some(&mut te), number(part)),
            (None, 1) => (Some(&mut unet), number(part)),
            _ => (None, None),
        };
        match place.zip(read) {
            Some((place, read)) => *place = Some(read),
            None => rest.push(part),
        }
    }
    let te = te.unwrap_or(1.0);
    let strength = unet.unwrap_or(te);
    (AdapterUse { name, strength, te_strength: (te != strength).then_some(te), in_prompt: true }, rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(prompt: &str) -> Vec<(String, f64, Option<f64>)> {
        find(prompt)
            .into_iter()
            .map(|tag| tag.adapter.unwrap())
            .map(|adapter| (adapter.name, adapter.strength, adapter.te_strength))
            .collect()
    }

    fn one(name: &str, strength: f64, te: Option<f64>) -> Vec<(String, f64, Option<f64>)> {
        vec![(name.to_owned(), strength, te)]
    }

    #[test]
    fn strengths_are_the_text_encoders_then_the_unets() {
        assert_eq!(found("a <lora:adire> b"), one("adire", 1.0, None));
        assert_eq!(found("<lora:adire@v2:0.8>"), one("adire@v2", 0.8, None));
        assert_eq!(found("<lora:x:0.5:0.2>"), one("x", 0.2, Some(0.5)));
        assert_eq!(found("<lyco:x:0.5:0.5>"), one("x", 0.5, None));
        assert_eq!(found("<lora:x:unet=0.2:te=0>"), one("x", 0.2, Some(0.0)));
        assert_eq!(found("<lora:x:unet=0.2>"), one("x", 0.2, Some(1.0)));
        assert_eq!(found("<lora:x:te=-0.5>"), one("x", -0.5, None));
        assert_eq!(found("<lora: x : 1 ><lora:y>").len(), 2);
    }

    #[test]
    fn what_is_no_tag_stays_text() {
        for text in
            ["I <3 you", "<lora:", "<lora:>", "<lora:x", "<hypernet:x:1>", "<LORA:x>", "a < b > c", "<"]
        {
            assert_eq!(find(text), [], "{text}");
            assert_eq!(without(text), text);
        }
    }

    #[test]
    fn what_is_wrong_is_quoted() {
        for (tag, part) in
            [("x:y", "“y”"), ("x:1:2:3", "“3”"), ("x:lbw=1", "“lbw=1”"), ("x:", "“”"), ("x:nan", "“nan”")]
        {
            let error = find(&format!("<lora:{tag}>")).remove(0).adapter.unwrap_err();
            assert!(error.starts_with(part) && error.contains(tag), "{error}");
        }
    }

    #[test]
    fn strengths_survive_what_is_not_used() {
        let read = |content: &str| {
            let (adapter, rest) = read_in_part(content);
            (adapter.strength, adapter.te_strength, rest.join(":"))
        };
        assert_eq!(read("x:0.5:1,0,0,1"), (0.5, None, "1,0,0,1".to_owned()));
        assert_eq!(read("x:0.5:0.2:lbw=IN02:stop=20"), (0.2, Some(0.5), "lbw=IN02:stop=20".to_owned()));
        assert_eq!(read("x:0.5:MIDD"), (0.5, None, "MIDD".to_owned()));
        assert_eq!(read("x:lbw=ALL:te=0.3"), (0.3, None, "lbw=ALL".to_owned()));
        assert_eq!(read("x:much"), (1.0, None, "much".to_owned()));
    }

    #[test]
    fn tags_leave_the_text_and_can_be_renamed() {
        let prompt = "a<lora:x:1:0.5>b <lora:y> é";
        assert_eq!(without(prompt), "ab  é");
        let names = ["x@v3".to_owned(), "y@v1".to_owned()];
        assert_eq!(rename(prompt, &names), "a<lora:x@v3:1:0.5>b <lora:y@v1> é");
        assert_eq!(rename(prompt, &names[..1]), "a<lora:x@v3:1:0.5>b <lora:y> é");
    }

    #[test]
    fn a_written_tag_is_read_back() {
        for (strength, te_strength) in [(1.0, None), (0.1 + 0.2, Some(-2.0)), (0.0, Some(1.0))] {
            let adapter = AdapterUse { name: "x@v1".to_owned(), strength, te_strength, in_prompt: true };
            assert_eq!(find(&write(&adapter)).remove(0).adapter, Ok(adapter));
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "(<lora:|<lyco:|>|<|:|=|te|unet|[0-9.é ]){0,60}") {
            let tags = find(&text);
            prop_assert!(tags.windows(2).all(|pair| pair[0].range.end <= pair[1].range.start));
            let length: usize = tags.iter().map(|tag| tag.range.len()).sum();
            prop_assert_eq!(without(&text).len(), text.len() - length);
            prop_assert_eq!(rename(&text, &[]), text);
        }
    }
}
