//! Adapter versions and references to them in requests.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Stage, is_alias};

/// `name@vN` (one version), `name@alias` (the one that the alias stands for), `name` (the newest version) or `name@RUN/STEP` (no
/// version: a step of a training run, which cells of sheets use).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AdapterRef {
    /// Lower-case letters, digits, `-`, `_`, `.`; 1 to 64 of them, first a letter or digit.
    pub name: String,
    /// Which of its versions.
    pub which: Which,
}

/// Which version of an adapter a reference means.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Which {
    /// The one with the largest number.
    Newest,
    /// The one with this number, from 1.
    Version(u32),
    /// The one that this alias stands for.
    Alias(String),
    /// No version: the adapter at a step of a training run.
    Checkpoint {
        /// The run's id, a UUID.
        run: String,
        /// The step.
        step: u32,
    },
}

impl AdapterRef {
    /// Whether it may mean this version; of several the newest one is meant.
    pub fn means(&self, version: &AdapterVersion) -> bool {
        self.name == version.name
            && match &self.which {
                Which::Newest => true,
                Which::Version(number) => version.version == *number,
                Which::Alias(alias) => version.aliases.contains(alias),
                Which::Checkpoint { .. } => false,
            }
    }
}

impl fmt::Display for AdapterRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match &self.which {
            Which::Newest => f.write_str(name),
            Which::Version(version) => write!(f, "{name}@v{version}"),
            Which::Alias(alias) => write!(f, "{name}@{alias}"),
            Which::Checkpoint { run, step } => write!(f, "{name}@{run}/{step}"),
        }
    }
}

/// The text is not an adapter reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("“{0}” is not an adapter name; write name or name@v2 (letters, digits, - _ . only, at most 64)")]
pub struct ParseAdapterRefError(pub String);

impl FromStr for AdapterRef {
    type Err = ParseAdapterRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseAdapterRefError(text.chars().take(80).collect());
        let (name, which) = match text.split_once('@') {
            None => (text, Which::Newest),
            Some((name, alias)) if is_alias(alias) => (name, Which::Alias(alias.to_owned())),
            Some((name, checkpoint)) if checkpoint.contains('/') => {
                (name, checkpoint_of(checkpoint).ok_or_else(wrong)?)
            }
            Some((name, version)) => {
                let number = version.strip_prefix('v').unwrap_or(version);
                let number = number.parse::<u32>().ok().filter(|n| *n > 0).ok_or_else(wrong)?;
                (name, Which::Version(number))
            }
        };
        let first_fits = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        let rest_fits = name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.'));
        if !first_fits || !rest_fits || name.len() > 64 {
            return Err(wrong());
        }
        Ok(Self { name: name.to_owned(), which })
    }
}

/// `RUN/STEP`: a UUID and a number.
fn checkpoint_of(text: &str) -> Option<Which> {
    let (run, step) = text.split_once('/')?;
    let dashed = |(at, byte): (usize, u8)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
    };
    let is_uuid = run.len() == 36 && run.bytes().enumerate().all(dashed);
    let step = step.parse().ok().filter(|_| is_uuid && step.bytes().all(|byte| byte.is_ascii_digit()))?;
    Some(Which::Checkpoint { run: run.to_owned(), step })
}

/// An adapter in a request, with its strengths.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AdapterUse {
    /// `name@vN`, `name@alias` such as `adire@production`, or `name` for the newest version.
    pub name: String,
    /// Adapter strength; −5 to 5 unless the admin set another limit. With `te_strength`, it applies to the UNet only.
    #[serde(default = "one")]
    pub strength: f64,
    /// Strength in the text encoder, if it differs; same range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub te_strength: Option<f64>,
    /// Whether it comes from a `<lora:…>` tag of the prompt. In a request, such entries are ignored, because the tag adds
    /// them again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_prompt: bool,
}

impl AdapterUse {
    /// An adapter with one strength for text encoder and UNet.
    pub fn new(name: impl Into<String>, strength: f64) -> Self {
        Self { name: name.into(), strength, te_strength: None, in_prompt: false }
    }

    /// The strength in the text encoder.
    pub fn text_encoder_strength(&self) -> f64 {
        self.te_strength.unwrap_or(self.strength)
    }
}

fn one() -> f64 {
    1.0
}

/// An immutable adapter version known to this server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AdapterVersion {
    /// Adapter name without version, e.g. `adire`.
    pub name: String,
    /// From 1.
    pub version: u32,
    /// sha256 of the file, 64 hex digits.
    pub hash: String,
    /// Description, one sentence; may be empty.
    pub description: String,
    /// Trigger word; may be empty.
    pub trigger: String,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Milliseconds since 1970 (UTC).
    pub created_at: i64,
    /// One sentence if the adapter applies to the loaded model only in part; also absent while that is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// Where it is in its life.
    #[serde(default)]
    pub stage: Stage,
    /// Aliases that stand for it, sorted; `production` is that of the version in production.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
}

impl AdapterVersion {
    /// `name@vN`.
    pub fn id(&self) -> String {
        format!("{}@v{}", self.name, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_parse_and_print() {
        for (text, name, which) in [
            ("adire", "adire", Which::Newest),
            ("adire@v2", "adire", Which::Version(2)),
            ("my-style_1.5@v10", "my-style_1.5", Which::Version(10)),
            ("adire@production", "adire", Which::Alias("production".to_owned())),
            ("adire@v2-old", "adire", Which::Alias("v2-old".to_owned())),
        ] {
            let parsed: AdapterRef = text.parse().unwrap();
            assert_eq!((parsed.name.as_str(), &parsed.which), (name, &which));
            assert_eq!(parsed.to_string(), text);
        }
        assert_eq!("adire@2".parse::<AdapterRef>().unwrap().which, Which::Version(2));
    }

    #[test]
    fn what_could_become_a_path_is_refused() {
        let long = "a".repeat(65);
        for text in [
            "",
            "../etc",
            "a/b",
            "A",
            ".hidden",
            "a@v0",
            "a@",
            "a@v1@v2",
            "a@B",
            "a@.",
            "a@b@c",
            "a@../b",
            "a b",
            "é",
            long.as_str(),
        ] {
            assert!(text.parse::<AdapterRef>().is_err(), "{text} was accepted");
        }
    }
}
