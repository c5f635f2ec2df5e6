//! More or less weight for a part of a prompt, in A1111's syntax: `moons` becomes `(moons:1.1)`. Positions are
//! UTF-16 units, as in a text field. Pure.

use adire_protocol::decimal::{self, Decimal};

/// A replacement of a range, and the selection after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edit {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) text: String,
    pub(crate) select: (usize, usize),
}

/// Changes the weight of the selection, or of the word or weighted brackets around the cursor, by 0.1. `None` when there
/// is nothing to weigh, or the weight is at its minimum.
pub(crate) fn reweigh(text: &[u16], start: usize, end: usize, up: bool) -> Option<Edit> {
    let end = end.min(text.len());
    let start = start.min(end);
    let (start, end) = if start < end { (start, end) } else { around(text, start) };
    let (start, end) = trimmed(text, start, end);
    if start == end {
        return None;
    }
    // Selected with its brackets, selected inside them, or plain.
    let inner = weighted(text, start, end).map(|(content, weight)| (start, content, end, weight));
    let outer = || {
        let open = start.checked_sub(1).filter(|open| text[*open] == u16::from(b'('))?;
        let close = end + text[end..].iter().position(|unit| *unit == u16::from(b')'))? + 1;
        weighted(text, open, close)
            .filter(|(content, _)| *content == (start, end))
            .map(|(c, w)| (open, c, close, w))
    };
    let (from, content, to, weight) = inner.or_else(outer).unwrap_or((start, (start, end), end, 1.0));
    let tenths = (weight * 100.0).round() / 100.0 + if up { 0.1 } else { -0.1 };
    let weight = (tenths * 100.0).round() / 100.0;
    if !(0.0..=100.0).contains(&weight) {
        return None;
    }
    let kept = String::from_utf16_lossy(&text[content.0..content.1]);
    let length = content.1 - content.0;
    Some(if weight == 1.0 {
        Edit { from, to, text: kept, select: (from, from + length) }
    } else {
        // `{}` writes 2 and 1.15; the convention is 2.0.
        let point = if weight.fract() == 0.0 { ".0" } else { "" };
        let text = format!("({kept}:{}{point})", Decimal(weight));
        Edit { from, to, text, select: (from + 1, from + 1 + length) }
    })
}

/// The content and weight of `(content:1.2)` or `(content)`, if the range is that and its brackets belong together.
fn weighted(text: &[u16], start: usize, end: usize) -> Option<((usize, usize), f64)> {
    let range = &text[start..end];
    let inside = range.strip_prefix(&[u16::from(b'(')])?.strip_suffix(&[u16::from(b')')])?;
    let bracket = |unit: &u16| [b'(', b')'].map(u16::from).contains(unit);
    if inside.iter().any(bracket) || inside.is_empty() {
        return None;
    }
    let colon = inside.iter().rposition(|unit| *unit == u16::from(b':'));
    let number = |colon: usize| decimal::read(String::from_utf16_lossy(&inside[colon + 1..]).trim());
    match colon.and_then(|colon| Some((colon, number(colon).filter(|n| n.is_finite())?))) {
        Some((colon, weight)) => Some(((start + 1, start + 1 + colon), weight)),
        None => Some(((start + 1, end - 1), 1.1)),
    }
}

/// The weighted brackets that the cursor is in, or the word that it touches.
fn around(text: &[u16], at: usize) -> (usize, usize) {
    let open = text[..at].iter().rposition(|unit| *unit == u16::from(b'('));
    let close = text[at..].iter().position(|unit| *unit == u16::from(b')'));
    if let (Some(open), Some(close)) = (open, close)
        && weighted(text, open, at + close + 1).is_some()
    {
        return (open, at + close + 1);
    }
    let ends =
        |unit: &u16| char::from_u32(u32::from(*unit)).is_some_and(|c| " \n\t\r,.;:()[]<>|!?".contains(c));
    let start = text[..at].iter().rposition(ends).map_or(0, |before| before + 1);
    let end = text[at..].iter().position(ends).map_or(text.len(), |after| at + after);
    (start, end)
}

fn trimmed(text: &[u16], mut start: usize, mut end: usize) -> (usize, usize) {
    let space = |unit: u16| [b' ', b'\n', b'\t', b'\r'].map(u16::from).contains(&unit);
    while start < end && space(text[start]) {
        start += 1;
    }
    while start < end && space(text[end - 1]) {
        end -= 1;
    }
    (start, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `|` marks the two ends of the selection, there and back; one mark is a cursor.
    fn step(marked: &str, up: bool) -> Option<String> {
        let units: Vec<u16> = marked.encode_utf16().collect();
        let bar = u16::from(b'|');
        let marks: Vec<usize> =
            units.iter().enumerate().filter(|(_, unit)| **unit == bar).map(|(i, _)| i).collect();
        let start = marks[0];
        let end = marks.get(1).map_or(start, |second| second - 1);
        let mut units: Vec<u16> = units.into_iter().filter(|unit| *unit != bar).collect();
        let edit = reweigh(&units, start, end, up)?;
        units.splice(edit.from..edit.to, edit.text.encode_utf16());
        units.insert(edit.select.1, bar);
        units.insert(edit.select.0, bar);
        Some(String::from_utf16(&units).unwrap())
    }

    fn up(marked: &str) -> String {
        step(marked, true).unwrap()
    }

    fn down(marked: &str) -> String {
        step(marked, false).unwrap()
    }

    #[test]
    fn a_selection_gets_brackets_and_loses_them_at_1() {
        assert_eq!(up("red |white moons| blue"), "red (|white moons|:1.1) blue");
        assert_eq!(up("red (|white moons|:1.1) blue"), "red (|white moons|:1.2) blue");
        assert_eq!(down("red (|white moons|:1.1) blue"), "red |white moons| blue");
        assert_eq!(down("red |moons| blue"), "red (|moons|:0.9) blue");
        assert_eq!(up("|(moons:0.9)|"), "|moons|");
        assert_eq!(up("(|moons|:1.9)"), "(|moons|:2.0)");
        assert_eq!(up("(|moons|:1.25)"), "(|moons|:1.35)");
        assert_eq!(up("(|moons|)"), "(|moons|:1.2)");
    }

    #[test]
    fn spaces_at_the_ends_stay_outside() {
        assert_eq!(up("a| moons |b"), "a (|moons|:1.1) b");
    }

    #[test]
    fn a_cursor_means_its_word_or_its_brackets() {
        assert_eq!(up("red mo|ons, blue"), "red (|moons|:1.1), blue");
        assert_eq!(up("red moons|"), "red (|moons|:1.1)");
        assert_eq!(up("red (white mo|ons:1.3), blue"), "red (|white moons|:1.4), blue");
        assert_eq!(step("red,| blue", true), None);
        assert_eq!(step("|", true), None);
    }

    #[test]
    fn weights_end_at_0_and_odd_text_is_left_alone() {
        assert_eq!(down("(|moons|:0.1)"), "(|moons|:0.0)");
        assert_eq!(step("(|moons|:0.0)", false), None);
        assert_eq!(up("|(a) (b)|"), "(|(a) (b)|:1.1)");
        assert_eq!(up("((|a|) b:1.2)"), "((|a|:1.2) b:1.2)");
        assert_eq!(up("|🎨 ẹlẹ́kọ|"), "(|🎨 ẹlẹ́kọ|:1.1)");
        assert_eq!(reweigh(&[0xd83c], 0, 9, true).map(|edit| (edit.from, edit.to)), Some((0, 1)));
    }
}
