//! PEFT's `alpha_pattern`: module names as regular expressions, of which the first that matches counts.

use std::{collections::HashMap, fmt};

use regex::Regex;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};

use super::keys::flatten;

/// Longest pattern that is taken; a module's path has about 80 characters.
const MAX_LENGTH: usize = 1000;

/// Most regular expressions; PEFT writes one path a module, which costs nothing to look up.
const MAX_EXPRESSIONS: usize = 500;

/// Most paths; SD 1.5 has 700 modules.
const MAX_PATHS: usize = 50_000;

/// Patterns with their values, in the order of the file.
#[derive(Clone, Debug, Default)]
pub(super) struct Patterns {
    /// Paths, flattened, and whether they are whole ones; with their place in the file.
    paths: HashMap<(String, bool), (usize, f64)>,
    others: Vec<(usize, Regex, f64)>,
}

#[derive(Clone, Debug)]
enum Pattern {
    /// A path; its dots stand for any character, as in any regular expression.
    Path { path: String, whole: bool },
    /// Python's `re.match(rf"(.*\.)?({key})$", name)`.
    Expression(Regex),
}

impl Patterns {
    /// The value of the first pattern that matches the module's path, or its end after a dot.
    pub(super) fn first(&self, module: &str) -> Option<f64> {
        // Every end of the path that begins after a dot, looked up at once: files may name thousands of modules.
        let flat = flatten(module);
        let begins = std::iter::once(0).chain(module.match_indices('.').map(|(dot, _)| dot + 1));
        let ends = begins.filter_map(|begin| self.paths.get(&(flat.get(begin..)?.to_owned(), false)));
        let path = ends.chain(self.paths.get(&(flat.clone(), true))).min_by_key(|(place, _)| *place);
        let other = self.others.iter().find(|(_, pattern, _)| pattern.is_match(module));
        match (path, other) {
            (Some((place, value)), Some((other, ..))) if place < other => Some(*value),
            (_, Some((_, _, value))) => Some(*value),
            (path, None) => path.map(|(_, value)| *value),
        }
    }

    fn push(&mut self, place: usize, key: &str, value: f64) -> Result<(), String> {
        match Pattern::new(key)? {
            // A dot in a pattern stands for any character; that it stands for `_` or a dot is all that paths need.
            Pattern::Path { path, whole } => {
                self.paths.entry((flatten(&path), whole)).or_insert((place, value));
            }
            Pattern::Expression(pattern) => self.others.push((place, pattern, value)),
        }
        if self.paths.len() > MAX_PATHS || self.others.len() > MAX_EXPRESSIONS {
            return Err(format!(
                "more than {MAX_PATHS} module names or {MAX_EXPRESSIONS} patterns; no model has as many modules"
            ));
        }
        Ok(())
    }
}

impl Pattern {
    fn new(key: &str) -> Result<Self, String> {
        if key.len() > MAX_LENGTH {
            return Err(format!("a pattern of {} characters; at most {MAX_LENGTH} are read", key.len()));
        }
        let whole = key.starts_with('^');
        let path = key.trim_start_matches('^').trim_end_matches('$');
        if path.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.')) {
            return Ok(Self::Path { path: path.to_owned(), whole });
        }
        let expression = Regex::new(&format!(r"^(?:.*\.)?(?:{key})$"));
        expression.map(Self::Expression).map_err(|_| {
            let key: String = key.chars().take(100).collect();
            format!("the pattern {key:?}, which cannot be understood")
        })
    }
}

impl<'de> Deserialize<'de> for Patterns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Patterns;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of numbers, or null")
            }

            fn visit_unit<E>(self) -> Result<Patterns, E> {
                Ok(Patterns::default())
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Patterns, M::Error> {
                let (mut patterns, mut place) = (Patterns::default(), 0);
                while let Some((key, value)) = map.next_entry::<String, f64>()? {
                    patterns.push(place, &key, value).map_err(M::Error::custom)?;
                    place += 1;
                }
                Ok(patterns)
            }
        }
        deserializer.deserialize_any(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_match_counts_as_in_peft() {
        let text = r#"{"attn1.to_q": 1, "^down.0.to_q": 2, "to_q": 3, ".*attn[12].*": 4, "^conv_in$": 5, "to_[kv]": 6}"#;
        let patterns: Patterns = serde_json::from_str(text).unwrap();
        for (module, expected) in [
            ("down.0.attn1.to_q", Some(1.0)),
            ("down.0.to_q", Some(2.0)),
            ("down_0.to_q", Some(2.0)),
            ("up.0.down.0.to_q", Some(3.0)),
            ("to_q", Some(3.0)),
            ("xto_q", None),
            ("down.0.attn2.to_out.0", Some(4.0)),
            ("conv_in", Some(5.0)),
            ("a.conv_in", None),
            ("a.to_v", Some(6.0)),
            ("", None),
        ] {
            assert_eq!(patterns.first(module), expected, "{module}");
        }
        // Any number of names costs no more than one, and of expressions there may be only some.
        let many: serde_json::Map<String, serde_json::Value> =
            (0..20_000).map(|i| (format!("blocks.{i}.to_q"), serde_json::json!(i))).collect();
        let patterns: Patterns = serde_json::from_value(many.into()).unwrap();
        assert_eq!(patterns.first("down.blocks.777.to_q"), Some(777.0));
        let many: serde_json::Map<String, serde_json::Value> =
            (0..501).map(|i| (format!("(a|b).{i}.to_q"), serde_json::json!(i))).collect();
        assert!(serde_json::from_value::<Patterns>(many.into()).is_err());
        assert_eq!(serde_json::from_str::<Patterns>("null").unwrap().first("to_q"), None);
        for wrong in [r#"{"(": 1}"#, r#"{"a": "b"}"#, "[1]"] {
            assert!(serde_json::from_str::<Patterns>(wrong).is_err(), "{wrong}");
        }
    }
}
