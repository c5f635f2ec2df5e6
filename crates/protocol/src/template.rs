//! Prompt templates, in the syntax of A1111's extension dynamic prompts: `{red|blue}` takes one of its options, `__colour__`
//! one value of a wildcard list.
//!
//! Only a `|` makes braces a choice, and only the name of a known list makes underscores a wildcard; everything else is
//! text. A backslash keeps the next character as it is, and stays: the prompt's parser removes it. So a prompt that a
//! template became is not expanded again, and means the same wherever it is read again.

use std::{collections::BTreeMap, ops::Range};

use serde::{Deserialize, Serialize};

use crate::decimal;

/// How deep choices and wildcards may be nested.
const MAX_DEPTH: usize = 16;
/// Most choices and wildcards that one prompt may go through.
const MAX_CHOICES: usize = 1_000;
/// What joins the options of `{2$$a|b|c}`.
const SEPARATOR: &str = ", ";

/// Wildcard lists: each name with its values, which may be templates themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Wildcards(pub BTreeMap<String, Vec<String>>);

impl Wildcards {
    fn find(&self, name: &str) -> Option<(&str, &[String])> {
        let found = self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(name, values)| (name.as_str(), values.as_slice()))
    }
}

/// What the prompts of a generation or image were made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Template {
    /// The prompt as it was requested.
    pub prompt: String,
    /// The negative prompt as it was requested.
    #[serde(default)]
    pub negative_prompt: String,
    /// Whether each line of the prompt was a prompt of its own.
    #[serde(default)]
    pub per_line: bool,
    /// The prompts of a generation's images, in their order; none in the recipe of one image.
    #[serde(default)]
    pub images: Vec<Prompts>,
}

/// The prompts of one image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Prompts {
    /// Prompt.
    pub prompt: String,
    /// Negative prompt.
    #[serde(default)]
    pub negative_prompt: String,
}

/// Whether a text has a choice, or something that may be a wildcard.
pub fn is_template(text: &str) -> bool {
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        if c == '{' && choice(text, at).is_some() || wildcard(text, at).is_some() {
            return true;
        }
        at += step(text, at);
    }
    false
}

/// The lines of a prompt that are prompts of their own: those that hold something.
pub fn lines(prompt: &str) -> Vec<&str> {
    prompt.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

/// The choices of one image, drawn one after the other: SplitMix64 (Steele, Lea and Flood 2014) from its seed.
#[derive(Clone, Debug)]
pub struct Draws(u64);

impl Draws {
    /// Those of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// 0 to 1, without 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The prompt that a template becomes.
///
/// # Errors
/// A sentence: it is longer than `most_chars`, nested too deep, or a list contains itself.
pub fn expand(
    template: &str,
    wildcards: &Wildcards,
    draws: &mut Draws,
    most_chars: usize,
) -> Result<String, String> {
    let mut text = template.to_owned();
    // More than once: `__{warm|cold}__` becomes the name of a list.
    for _ in 0..MAX_DEPTH {
        let mut expansion = Expansion {
            wildcards,
            draws,
            most_chars,
            text: String::new(),
            chars: 0,
            choices: 0,
            within: Vec::new(),
        };
        expansion.add(&text, 0)?;
        if expansion.text == text {
            return Ok(text);
        }
        text = expansion.text;
    }
    Err(too_deep())
}

fn too_deep() -> String {
    format!("Choices and wildcards are nested more than {MAX_DEPTH} deep.")
}

struct Expansion<'a> {
    wildcards: &'a Wildcards,
    draws: &'a mut Draws,
    most_chars: usize,
    text: String,
    chars: usize,
    choices: usize,
    /// The lists whose values are being expanded.
    within: Vec<String>,
}

impl Expansion<'_> {
    fn push(&mut self, text: &str) -> Result<(), String> {
        self.chars += text.chars().count();
        if self.chars > self.most_chars {
            return Err(format!("The template becomes longer than {} characters.", self.most_chars));
        }
        self.text.push_str(text);
        Ok(())
    }

    fn add(&mut self, template: &str, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(too_deep());
        }
        let (mut at, mut text) = (0, 0);
        while at < template.len() {
            let braces = template[at..].starts_with('{').then(|| choice(template, at)).flatten();
            let (end, options, name) = match (braces, wildcard(template, at)) {
                (Some(range), _) => (range.end, template[range.start + 1..range.end - 1].to_owned(), None),
                (None, Some(range)) => match self.wildcards.find(&template[range.start + 2..range.end - 2]) {
                    Some((name, values)) => (range.end, values.join("|"), Some(name.to_owned())),
                    None => {
                        at = range.end;
                        continue;
                    }
                },
                (None, None) => {
                    at += step(template, at);
                    continue;
                }
            };
            self.push(&template[text..at])?;
            self.choose(&options, name, depth)?;
            (at, text) = (end, end);
        }
        self.push(&template[text..])
    }

    /// Adds what is drawn of a list of options.
    fn choose(&mut self, options: &str, list: Option<String>, depth: usize) -> Result<(), String> {
        self.choices += 1;
        if self.choices > MAX_CHOICES {
            return Err(format!("The template goes through more than {MAX_CHOICES} choices."));
        }
        if let Some(name) = &list {
            if self.within.contains(name) {
                return Err(format!("The wildcard list {name} contains itself."));
            }
            self.within.push(name.clone());
        }
        let ((least, most), separator, options) = counted(options);
        let mut options: Vec<(f64, &str)> = split(options).into_iter().map(weighed).collect();
        let least = least.min(options.len());
        let most = most.clamp(least, options.len());
        let mut left = least + (self.draws.next() % (most - least + 1) as u64) as usize;
        let mut first = true;
        while left > 0 && !options.is_empty() {
            let drawn = options.remove(self.draw(&options));
            if !first {
                self.push(separator)?;
            }
            self.add(drawn.1, depth + 1)?;
            (first, left) = (false, left - 1);
        }
        if list.is_some() {
            self.within.pop();
        }
        Ok(())
    }

    /// The place of an option, by weight; all are alike where none has any.
    fn draw(&mut self, options: &[(f64, &str)]) -> usize {
        let all: f64 = options.iter().map(|(weight, _)| weight).sum();
        let share = self.draws.share();
        if all <= 0.0 {
            return (share * options.len() as f64) as usize;
        }
        let mut left = share * all;
        for (at, (weight, _)) in options.iter().enumerate() {
            left -= weight;
            if left < 0.0 {
                return at;
            }
        }
        options.iter().rposition(|(weight, _)| *weight > 0.0).unwrap_or_default()
    }
}

/// Bytes of the character at a place; with a backslash before it, of both.
fn step(text: &str, at: usize) -> usize {
    let mut characters = text[at..].chars();
    let first = characters.next().map_or(1, char::len_utf8);
    if text[at..].starts_with('\\') { first + characters.next().map_or(0, char::len_utf8) } else { first }
}

/// The braces that open at a place, if they have options.
fn choice(text: &str, start: usize) -> Option<Range<usize>> {
    let (mut at, mut depth, mut has_options) = (start, 0_usize, false);
    while at < text.len() {
        match text.as_bytes()[at] {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            b'|' if depth == 1 => has_options = true,
            _ => {}
        }
        at += step(text, at);
        if depth == 0 {
            return has_options.then_some(start..at);
        }
    }
    None
}

/// `__name__` at a place, apart from other letters: what may be a wildcard.
fn wildcard(text: &str, start: usize) -> Option<Range<usize>> {
    let inner = text[start..].strip_prefix("__")?;
    let joins = |c: char| c.is_alphanumeric() || c == '_';
    if text[..start].chars().next_back().is_some_and(joins) {
        return None;
    }
    let length = inner.find("__").filter(|length| is_name(&inner[..*length]))?;
    let end = start + 2 + length + 2;
    (!text[end..].chars().next().is_some_and(joins)).then_some(start..end)
}

/// Whether a wildcard list may have this name: letters and digits, with `_`, `-`, `.` and `/` between them.
pub fn is_name(name: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let inner = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    edge(name.chars().next())
        && edge(name.chars().next_back())
        && name.chars().all(inner)
        && !name.contains("__")
}

/// Whether a text is one option or value: its braces match, and no `|` stands outside them.
pub fn is_option(text: &str) -> bool {
    let (mut at, mut depth) = (0, 0_usize);
    while at < text.len() {
        match text.as_bytes()[at] {
            b'{' => depth += 1,
            b'}' if depth == 0 => return false,
            b'}' => depth -= 1,
            b'|' if depth == 0 => return false,
            _ => {}
        }
        at += step(text, at);
    }
    depth == 0
}

/// How many options are drawn, and what joins them: `2$$…`, `1-3$$…`, `2$$ and $$…`.
fn counted(options: &str) -> ((usize, usize), &str, &str) {
    let one = ((1, 1), SEPARATOR, options);
    let Some((count, rest)) = options.split_once("$$") else { return one };
    let number = |text: &str, open: usize| match text.trim() {
        "" => Some(open),
        text => text.parse().ok(),
    };
    let range = match count.split_once('-') {
        Some((least, most)) => number(least, 0).zip(number(most, usize::MAX)),
        None => count.trim().parse().ok().map(|count| (count, count)),
    };
    let Some((least, most)) = range.filter(|_| !count.trim().is_empty()) else { return one };
    // A separator ends before any option does.
    match rest.split_once("$$").filter(|(separator, _)| !separator.contains(['|', '{'])) {
        Some((separator, rest)) => ((least, most), separator, rest),
        None => ((least, most), SEPARATOR, rest),
    }
}

/// Options, at the `|` outside braces. Spaces at their ends do not count.
fn split(options: &str) -> Vec<&str> {
    let (mut parts, mut at, mut depth, mut start) = (Vec::new(), 0, 0_usize, 0);
    while at < options.len() {
        match options.as_bytes()[at] {
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            b'|' if depth == 0 => {
                parts.push(options[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
        at += step(options, at);
    }
    parts.push(options[start..].trim());
    parts
}

/// `3::red`: an option with its weight.
fn weighed(option: &str) -> (f64, &str) {
    let weight =
        option.split_once("::").and_then(|(weight, rest)| Some((decimal::read(weight.trim())?, rest)));
    match weight {
        Some((weight, rest)) if weight.is_finite() && weight >= 0.0 => (weight, rest.trim()),
        _ => (1.0, option),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn lists() -> Wildcards {
        let list = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        Wildcards(BTreeMap::from([
            ("colour".to_owned(), list(&["indigo", "ochre"])),
            ("art/cloth".to_owned(), list(&["__colour__ {adire|kente}"])),
            ("loop".to_owned(), list(&["a __loop__"])),
            ("wide".to_owned(), list(&["__deep__ __deep__ __deep__ __deep__"])),
            ("deep".to_owned(), list(&["{a|a} {a|a} {a|a} {a|a} {a|a} {a|a} {a|a} {a|a}"])),
        ]))
    }

    fn all(template: &str) -> BTreeSet<String> {
        let one = |seed| expand(template, &lists(), &mut Draws::new(seed), 4000).unwrap();
        (0..400).map(one).collect()
    }

    fn set(texts: &[&str]) -> BTreeSet<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn choices_take_each_of_their_options() {
        assert_eq!(all("{ red | blue} moons"), set(&["red moons", "blue moons"]));
        assert_eq!(all("a{|b}"), set(&["a", "ab"]));
        assert_eq!(all("{a|{b|c} d}"), set(&["a", "b d", "c d"]));
        assert_eq!(all("{0::a|b}"), set(&["b"]));
        assert_eq!(all("{a {b|c}}"), set(&["{a b}", "{a c}"]));
    }

    #[test]
    fn several_options_are_joined() {
        assert_eq!(all("{2$$a|b}"), set(&["a, b", "b, a"]));
        assert_eq!(all("{2$$ and $$a|b}"), set(&["a and b", "b and a"]));
        assert_eq!(all("{0-1$$a|b}"), set(&["", "a", "b"]));
        assert_eq!(all("{7$$a|b}"), set(&["a, b", "b, a"]), "no option is drawn twice");
        assert_eq!(all("{9$$a|{b|c}}"), set(&["a, b", "a, c", "b, a", "c, a"]));
    }

    #[test]
    fn wildcards_take_a_value_of_their_list() {
        assert_eq!(all("__colour__ moons"), set(&["indigo moons", "ochre moons"]));
        assert_eq!(all("(__Colour__:1.2)"), set(&["(indigo:1.2)", "(ochre:1.2)"]));
        assert_eq!(
            all("__art/cloth__"),
            set(&["indigo adire", "indigo kente", "ochre adire", "ochre kente"])
        );
        assert_eq!(all("<lora:my__colour__v2:1>"), set(&["<lora:my__colour__v2:1>"]));
        assert_eq!(all("__{colour|x}__"), set(&["indigo", "ochre", "__x__"]));
        assert_eq!(all("__unknown__"), set(&["__unknown__"]));
    }

    #[test]
    fn everything_else_stays_text() {
        for text in [
            "{red}",
            "{{red}}",
            "a|b",
            "{",
            "}",
            "{a|b",
            "a|b}",
            r"\{a|b\}",
            r"{a\|b}",
            r"\__colour__",
            "____",
            "__ a __",
            r"\",
            "{\"a\": [1]}",
            "é{",
        ] {
            assert_eq!(all(text), set(&[text]));
        }
        for text in ["{red}", r"\{a|b\}", "my__colour__v2", "(a:1.2) [b]", "é"] {
            assert!(!is_template(text), "{text}");
        }
        assert!(is_template("a {b|c}") && is_template("__colour__"));
    }

    #[test]
    fn the_seed_decides_and_each_seed_alike() {
        let one = |seed| expand("{a|b|c|d} __colour__", &lists(), &mut Draws::new(seed), 99).unwrap();
        assert_eq!(one(7), one(7));
        let firsts = (0..4_000).filter(|seed| one(*seed).starts_with('a')).count();
        assert!((900..1_100).contains(&firsts), "{firsts} of 4,000");
        // A prompt of a seed is that prompt for ever.
        assert_eq!([0, 1, 2, 3].map(one).join("; "), "b ochre; c indigo; c ochre; c indigo");
    }

    #[test]
    fn what_has_no_end_is_refused() {
        let refused = |template: &str| expand(template, &lists(), &mut Draws::new(1), 4000).unwrap_err();
        assert_eq!(refused("__loop__"), "The wildcard list loop contains itself.");
        assert_eq!(refused(&"__wide__ ".repeat(40)), "The template goes through more than 1000 choices.");
        let deep = format!("{}y{}", "{0::x|".repeat(40), "}".repeat(40));
        assert_eq!(refused(&deep), "Choices and wildcards are nested more than 16 deep.");
        assert!(
            expand("{aaaa|bbbb} c", &lists(), &mut Draws::new(1), 5).unwrap_err().ends_with("5 characters.")
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_what_it_becomes_is_no_template(
            text in "(\\{|\\}|\\||\\\\|\\$\\$|::|__|colour|[0-9.é -]){0,40}", seed: u64
        ) {
            if let Ok(expanded) = expand(&text, &lists(), &mut Draws::new(seed), 4000) {
                let again = expand(&expanded, &lists(), &mut Draws::new(seed ^ 1), 4000);
                prop_assert_eq!(again, Ok(expanded));
            }
        }
    }
}
