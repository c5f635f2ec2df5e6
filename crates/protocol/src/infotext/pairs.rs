//! Takes `Key: value, Key: value` apart, whatever stands between the pairs.

/// One part of a line of parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// `Key: value`.
    Pair(String, String),
    /// Text without a colon, such as `Tiling`.
    Flag(String),
}

/// The parts of a text of parameters, in their order. A value may be a JSON string (with newlines, too), a JSON list or
/// object, or reaches to the next comma. Lines after the first that are not such lists are one value each: other
/// programs' additions, such as `Template: a {red|blue} cloth`. Takes time proportional to the text's length.
pub(super) fn pieces(text: &str) -> Vec<Piece> {
    let (mut found, mut rest, mut first) = (Vec::new(), text, true);
    // Whether the last part is a line of its own, which may go on.
    let mut goes_on = false;
    // Bytes that may be looked at for the end of a value in vain.
    let mut budget = 4 * text.len() + 64;
    loop {
        let trimmed = rest.trim_start_matches([',', ' ', '\t', '\n']);
        let skipped = &rest[..rest.len() - trimmed.len()];
        rest = trimmed;
        if rest.is_empty() {
            return found;
        }
        if !first
            && skipped.contains('\n')
            && let Some(after) = whole_line(rest, goes_on, &mut found, &mut budget)
        {
            (rest, goes_on) = (after, true);
            continue;
        }
        (first, goes_on) = (false, false);
        rest = piece(rest, &mut found, &mut budget);
    }
}

/// Takes one part; returns what follows it.
fn piece<'a>(text: &'a str, found: &mut Vec<Piece>, budget: &mut usize) -> &'a str {
    let end = text.find([',', '\n', ':']).unwrap_or(text.len());
    let (head, tail) = text.split_at(end);
    let Some(after) = tail.strip_prefix(':') else {
        found.push(Piece::Flag(head.trim().to_owned()));
        return tail;
    };
    let (value, next) = value(after, budget);
    found.push(match head.trim() {
        "" => Piece::Flag(value),
        key => Piece::Pair(key.to_owned(), value),
    });
    next
}

/// Takes a line that is one value as a whole; `None` where it is a list of pairs.
fn whole_line<'a>(
    text: &'a str,
    goes_on: bool,
    found: &mut Vec<Piece>,
    budget: &mut usize,
) -> Option<&'a str> {
    let line = text.split('\n').next().unwrap_or_default();
    let mut inside = Vec::new();
    let mut rest = line;
    while !rest.is_empty() && inside.len() < 8 {
        rest = piece(rest, &mut inside, budget).trim_start_matches([',', ' ', '\t']);
    }
    if inside.iter().filter(|piece| matches!(piece, Piece::Pair(..))).count() >= 3 {
        return None;
    }
    let after = &text[line.len()..];
    match line.split_once(':').filter(|(key, _)| is_key(key)) {
        // A value that is closed further on.
        Some((_, value)) if value.trim_start().starts_with(['"', '{', '[']) => return None,
        Some((key, value)) => found.push(Piece::Pair(key.trim().to_owned(), value.trim().to_owned())),
        None => match found.last_mut().filter(|_| goes_on) {
            Some(Piece::Pair(_, value) | Piece::Flag(value)) => {
                value.push('\n');
                value.push_str(line.trim_end());
            }
            None => found.push(Piece::Flag(line.trim().to_owned())),
        },
    }
    Some(after)
}

/// Whether a text could be the name of a parameter.
fn is_key(text: &str) -> bool {
    let text = text.trim();
    !text.is_empty() && text.chars().count() <= 40 && !text.contains([',', '"', '(', '<', '{'])
}

/// A value and what follows it.
fn value<'a>(after: &'a str, budget: &mut usize) -> (String, &'a str) {
    let after = after.trim_start_matches([' ', '\t']);
    let closed = match after.as_bytes().first() {
        Some(b'"') => quoted(after, budget),
        Some(b'{' | b'[') => balanced(after, budget).map(|end| (after[..end].to_owned(), end)),
        _ => None,
    };
    if let Some((value, end)) = closed
        && after[end..].trim_start_matches([' ', '\t']).starts_with([',', '\n'])
            | after[end..].trim().is_empty()
    {
        return (value, &after[end..]);
    }
    let end = after.find([',', '\n']).unwrap_or(after.len());
    (after[..end].trim().to_owned(), &after[end..])
}

/// A JSON string at the beginning of a text, in which control characters may stand as they are; and its length.
fn quoted(text: &str, budget: &mut usize) -> Option<(String, usize)> {
    let mut escaped = false;
    let end = text.bytes().enumerate().skip(1).take(*budget).find_map(|(at, byte)| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes.then_some(at + 1)
    });
    let Some(end) = end else {
        *budget = budget.saturating_sub(text.len());
        return None;
    };
    *budget = budget.saturating_sub(end);
    let strict: String = text[..end]
        .chars()
        .flat_map(|c| match c {
            '\n' => vec!['\\', 'n'],
            '\t' => vec!['\\', 't'],
            '\r' => vec!['\\', 'r'],
            c if c.is_control() => Vec::new(),
            c => vec![c],
        })
        .collect();
    // Not quite JSON, but what stands between the quotes is clear.
    let value = serde_json::from_str(&strict).unwrap_or_else(|_| text[1..end - 1].to_owned());
    Some((value, end))
}

/// The length of a JSON list or object at the beginning of a text.
fn balanced(text: &str, budget: &mut usize) -> Option<usize> {
    let (mut depth, mut inside, mut escaped) = (0_usize, false, false);
    let end = text.bytes().enumerate().take(*budget).find_map(|(at, byte)| {
        match (inside, byte) {
            (true, b'"') if !escaped => inside = false,
            (false, b'"') => inside = true,
            (false, b'{' | b'[') => depth += 1,
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            _ => {}
        }
        escaped = inside && byte == b'\\' && !escaped;
        (depth == 0 && !inside).then_some(at + 1)
    });
    *budget = budget.saturating_sub(end.unwrap_or(text.len()));
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, String)> {
        let shown = |piece| match piece {
            Piece::Pair(key, value) => (key, value),
            Piece::Flag(text) => (String::new(), text),
        };
        pieces(text).into_iter().map(shown).collect()
    }

    fn expected(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn every_kind_of_value_is_taken() {
        assert_eq!(
            read("A: 1, B: \"x, \\\"y\\\"\nz\", C: {\"a\": [1, 2], \"b\": \"}\"}, Tiling, D: 512x768,E:"),
            expected(&[
                ("A", "1"),
                ("B", "x, \"y\"\nz"),
                ("C", "{\"a\": [1, 2], \"b\": \"}\"}"),
                ("", "Tiling"),
                ("D", "512x768"),
                ("E", "")
            ])
        );
        // What is not closed reaches to the comma.
        assert_eq!(
            read("A: \"x, B: {y, C: \"a\" b, D: 1"),
            expected(&[("A", "\"x"), ("B", "{y"), ("C", "\"a\" b"), ("D", "1")])
        );
    }

    #[test]
    fn lines_of_their_own_are_one_value() {
        assert_eq!(
            read(
                "A: 1, B: 2\nTemplate: a {b|c}, d: e\nmore, of it\nNegative Template: x, y\nC: 3, D: 4, E: 5"
            ),
            expected(&[
                ("A", "1"),
                ("B", "2"),
                ("Template", "a {b|c}, d: e\nmore, of it"),
                ("Negative Template", "x, y"),
                ("C", "3"),
                ("D", "4"),
                ("E", "5")
            ])
        );
    }

    #[test]
    fn what_is_never_closed_takes_no_longer() {
        for text in ["a: {, ", "a: \", ", "a: [\", ", "\na: {", "\n: \""] {
            assert!(!pieces(&text.repeat(40_000)).is_empty());
        }
    }
}
