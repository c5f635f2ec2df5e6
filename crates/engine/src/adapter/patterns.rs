//! PEFT's `alpha_pattern`: module names as regular expressions, of which the first that matches counts.

use std::fmt;

use regex::Regex;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};

/// Longest pattern that is taken; a module's path has about 80 characters.
const MAX_LENGTH: usize = 1000;

/// Patterns with their values, in the order of the file.
#[derive(Clone, Debug, Default)]
pub(super) struct Patterns(Vec<(Pattern, f64)>);

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
        self.0.iter().find(|(pattern, _)| pattern.matches(module)).map(|(_, value)| *value)
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

    fn matches(&self, module: &str) -> bool {
        match self {
            Self::Expression(expression) => expression.is_match(module),
            Self::Path { path, whole } => {
                let Some(split) = module.len().checked_sub(path.len()) else { return false };
                let (before, end) = module.as_bytes().split_at(split);
                let fits =
                    end.iter().zip(path.as_bytes()).all(|(found, wanted)| *wanted == b'.' || found == wanted);
                fits && (before.is_empty() || (!whole && before.ends_with(b".")))
            }
        }
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
                let mut patterns = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, f64>()? {
                    patterns.push((Pattern::new(&key).map_err(M::Error::custom)?, value));
                }
                Ok(Patterns(patterns))
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
        assert_eq!(serde_json::from_str::<Patterns>("null").unwrap().first("to_q"), None);
        for wrong in [r#"{"(": 1}"#, r#"{"a": "b"}"#, "[1]"] {
            assert!(serde_json::from_str::<Patterns>(wrong).is_err(), "{wrong}");
        }
    }
}
