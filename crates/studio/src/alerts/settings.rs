//! The settings of alerts: TOML with addresses and rules.

use std::collections::BTreeSet;

use adire_protocol::{AdapterRef, AlertMeasure, PRODUCTION, Which};
use serde::Deserialize;

/// Most rules.
const MAX_RULES: usize = 50;
/// Longest window.
const MAX_WINDOW: u32 = 30 * 24 * 60;

/// Settings without a rule tell what can be set.
pub(crate) const EXAMPLE: &str = r#"# webhook = "https://example.org/hooks/adire"
# ntfy = "https://ntfy.sh/a-topic-that-nobody-guesses"
#
# [[rule]]
# name = "failures"
# measure = "failed_share"
# above = 0.2
"#;

/// The settings.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// Gets JSON.
    pub(crate) webhook: Option<String>,
    /// A topic's address.
    pub(crate) ntfy: Option<String>,
    #[serde(rename = "rule")]
    pub(crate) rules: Vec<Rule>,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    pub(crate) name: String,
    pub(crate) measure: AlertMeasure,
    pub(crate) version: Option<String>,
    pub(crate) above: f64,
    #[serde(default = "an_hour")]
    pub(crate) window_minutes: u32,
    #[serde(default = "twenty")]
    pub(crate) min_count: u32,
    #[serde(default)]
    pub(crate) rollback: bool,
}

fn an_hour() -> u32 {
    60
}

fn twenty() -> u32 {
    20
}

impl Settings {
    /// Reads and checks them.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let settings: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start].lines().count().max(1));
            format!("Line {line}: {}.", error.message().trim_end_matches('.'))
        })?;
        for (name, address) in [("webhook", &settings.webhook), ("ntfy", &settings.ntfy)] {
            let fits = |address: &String| {
                let rest = address.strip_prefix("https://").or_else(|| address.strip_prefix("http://"));
                rest.is_some_and(|rest| !rest.starts_with(['/', ':']) && !rest.is_empty())
                    && address.bytes().all(|byte| byte.is_ascii_graphic())
            };
            if address.as_ref().is_some_and(|address| !fits(address)) {
                return Err(format!("{name} must be an address that begins with https:// or http://."));
            }
        }
        if settings.rules.len() > MAX_RULES {
            return Err(format!("There are {} rules; the limit is {MAX_RULES}.", settings.rules.len()));
        }
        let mut names = BTreeSet::new();
        for rule in &settings.rules {
            rule.check()?;
            if !names.insert(&rule.name) {
                return Err(format!("Two rules are named {}.", rule.name));
            }
        }
        Ok(settings)
    }
}

impl Rule {
    fn check(&self) -> Result<(), String> {
        let name = &self.name;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
            return Err(format!(
                "“{}” is not a valid rule name; use at most 64 letters, digits, “-”, “_” or “.”.",
                name.chars().take(80).collect::<String>()
            ));
        }
        let most = if self.is_share() { 1.0 } else { 1e6 };
        if !(0.0..most).contains(&self.above) {
            return Err(format!("{name}: above must be at least 0 and below {most}; got {}.", self.above));
        }
        if !(1..=MAX_WINDOW).contains(&self.window_minutes) {
            return Err(format!(
                "{name}: window_minutes must be 1 to {MAX_WINDOW}; got {}.",
                self.window_minutes
            ));
        }
        if !(1..=100_000).contains(&self.min_count) {
            return Err(format!("{name}: min_count must be 1 to 100000; got {}.", self.min_count));
        }
        let wanted = self.version.as_ref().map(|version| version.parse::<AdapterRef>());
        let of_production = match wanted {
            None => false,
            Some(Ok(AdapterRef { which: Which::Version(_), .. })) => false,
            Some(Ok(AdapterRef { which: Which::Alias(alias), .. })) if alias == PRODUCTION => true,
            Some(_) => {
                return Err(format!("{name}: version must be like adire@v2 or adire@production."));
            }
        };
        if self.rollback && !of_production {
            return Err(format!("{name}: rollback needs a version like adire@production."));
        }
        Ok(())
    }

    /// Whether its values are shares.
    pub(crate) fn is_share(&self) -> bool {
        matches!(self.measure, AlertMeasure::FailedShare | AlertMeasure::CancelledShare)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: &str = "[[rule]]\nname = \"a\"\nmeasure = \"failed_share\"\nabove = 0.2\n";

    #[test]
    fn a_rule_has_defaults() {
        let settings = Settings::parse(&format!("ntfy = \"https://ntfy.sh/x\"\n{RULE}")).unwrap();
        let rule = &settings.rules[0];
        assert_eq!((rule.window_minutes, rule.min_count, rule.rollback), (60, 20, false));
        assert_eq!(Settings::parse(EXAMPLE).unwrap(), Settings::default());
        assert_eq!(Settings::parse("").unwrap(), Settings::default());
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, words) in [
            ("webhook = \"ftp://a\"".to_owned(), "webhook must be an address"),
            ("webhook = \"https://\"".to_owned(), "webhook must be an address"),
            ("ntfy = \"https://a b\"".to_owned(), "ntfy must be an address"),
            (format!("{RULE}{RULE}"), "Two rules are named a"),
            (RULE.replace("0.2", "1.5"), "a: above must be at least 0 and below 1; got 1.5."),
            (RULE.replace("0.2", "nan"), "above must be"),
            (format!("{RULE}min_count = 0"), "min_count must be 1 to 100000; got 0."),
            (format!("{RULE}window_minutes = 0"), "window_minutes must be 1 to 43200; got 0."),
            (format!("{RULE}version = \"adire\""), "version must be like"),
            (format!("{RULE}version = \"adire@stable\""), "version must be like"),
            (format!("{RULE}rollback = true"), "rollback needs a version like adire@production"),
            (format!("{RULE}version = \"adire@v1\"\nrollback = true"), "rollback needs"),
            (RULE.replace("\"a\"", "\"a b\""), "is not a valid rule name"),
            (RULE.replace("failed_share", "mood"), "mood"),
            ("colour = 1".to_owned(), "colour"),
        ] {
            let error = Settings::parse(&text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
