//! What the gate demands of a version: one TOML for each model, in which everything may be left out.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The gate's settings. The defaults are meant to be kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Confidence of every one-sided bound.
    pub confidence: f64,
    /// Whether images can be used at all.
    pub floors: FloorPolicy,
    /// Whether prompts are followed about as well as by the base model.
    pub adherence: AdherencePolicy,
    /// Whether the style is better than the champion's, or than none.
    pub style: StylePolicy,
    /// Whether training images are copied.
    pub copying: CopyingPolicy,
    /// Whether people prefer it to the champion, or to the base.
    pub people: PeoplePolicy,
}

/// Hard limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FloorPolicy {
    /// The smallest share of images that are rendered without an error.
    pub success_rate: f64,
    /// The longest that 95 % of the images may take, in seconds; no limit when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_p95: Option<f64>,
    /// Show the result, but do not let it count.
    pub muted: bool,
}

/// Non-inferiority to the base on prompt adherence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdherencePolicy {
    /// How much of the base's CLIPScore may be lost, as a share of it.
    pub margin: f64,
    /// An absolute CLIPScore that the mean must reach. It measures the judge as much as the adapter: a value is good for one
    /// judge only. None when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_score_floor: Option<f64>,
    /// Show the result of that floor, but do not let it count; as `muted` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_score_floor_muted: Option<bool>,
    /// Show the result, but do not let it count.
    pub muted: bool,
}

/// Superiority on style.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StylePolicy {
    /// The smallest gain that matters, as a share of the way from the champion's (or base's) mean margin to that of the
    /// held-out images themselves. A version that surely gains less fails.
    pub smallest_gain: f64,
    /// Show the result, but do not let it count.
    pub muted: bool,
}

/// Tests of copying.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CopyingPolicy {
    /// A data-copying z at or below this fails.
    pub z: f64,
    /// A share of images whose own training image is the nearest from which on they count as copies, provided that it
    /// is also significantly more than the base's.
    pub own_image_rate: f64,
    /// A share of the way from the base's images to the training images themselves. Images that have surely covered more
    /// count as copies.
    pub copied_share: f64,
    /// Show the result, but do not let it count.
    pub muted: bool,
}

/// Blind votes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PeoplePolicy {
    /// `None`: the result counts once people prefer one of the two. `true`: it is only shown. `false`: without a preference
    /// the verdict is inconclusive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub muted: Option<bool>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            confidence: 0.95,
            floors: FloorPolicy::default(),
            adherence: AdherencePolicy::default(),
            style: StylePolicy::default(),
            copying: CopyingPolicy::default(),
            people: PeoplePolicy::default(),
        }
    }
}

impl Default for FloorPolicy {
    fn default() -> Self {
        Self { success_rate: 0.95, seconds_p95: None, muted: false }
    }
}

impl Default for AdherencePolicy {
    fn default() -> Self {
        Self { margin: 0.05, clip_score_floor: None, clip_score_floor_muted: None, muted: false }
    }
}

impl Default for StylePolicy {
    fn default() -> Self {
        Self { smallest_gain: 0.1, muted: false }
    }
}

impl Default for CopyingPolicy {
    fn default() -> Self {
        Self { z: -3.0, own_image_rate: 0.5, copied_share: 0.5, muted: false }
    }
}

/// Why a text is not a policy.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PolicyError {
    /// Not TOML, an unknown key, or a value of another type.
    #[error("The gate's settings are not valid: {0}.")]
    Format(String),
    /// A number outside its range.
    #[error("{name} must be {low} to {high}; got {value}.")]
    Range {
        /// The key.
        name: &'static str,
        /// The smallest value.
        low: f64,
        /// The largest value.
        high: f64,
        /// What was given.
        value: f64,
    },
}

impl Policy {
    /// Reads TOML. Empty text is the default policy.
    ///
    /// # Errors
    /// Unknown keys, wrong types, numbers out of range.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let policy: Self =
            toml::from_str(text).map_err(|error| PolicyError::Format(error.message().to_owned()))?;
        for (name, value, low, high) in [
            ("confidence", Some(policy.confidence), 0.5, 0.999),
            ("floors.success_rate", Some(policy.floors.success_rate), 0.0, 1.0),
            ("floors.seconds_p95", policy.floors.seconds_p95, 0.001, 86_400.0),
            ("adherence.margin", Some(policy.adherence.margin), 0.0, 1.0),
            ("adherence.clip_score_floor", policy.adherence.clip_score_floor, 0.0, 2.5),
            ("style.smallest_gain", Some(policy.style.smallest_gain), 0.0, 1.0),
            ("copying.z", Some(policy.copying.z), -100.0, 0.0),
            ("copying.copied_share", Some(policy.copying.copied_share), 0.0, 1.0),
            ("copying.own_image_rate", Some(policy.copying.own_image_rate), 0.0, 1.0),
        ] {
            if let Some(value) = value.filter(|value| !(low..=high).contains(value)) {
                return Err(PolicyError::Range { name, low, high, value });
            }
        }
        Ok(policy)
    }

    /// As TOML, every value written out.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).unwrap_or_else(|error| unreachable!("a policy is plain tables: {error}"))
    }

    /// sha256 of [`Self::to_toml`], 64 hex digits: what a verdict names.
    pub fn hash(&self) -> String {
        hex::encode(Sha256::digest(self.to_toml()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_survives_its_own_text() {
        let policy = Policy::parse("[adherence]\nmargin = 0.1\nclip_score_floor = 0.75\n").unwrap();
        assert_eq!(Policy::parse(&policy.to_toml()).unwrap(), policy);
        assert_ne!(policy.hash(), Policy::default().hash());
        assert_eq!(Policy::parse("").unwrap(), Policy::default());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let message = |text: &str| Policy::parse(text).unwrap_err().to_string();
        assert!(
            message("[style]\nmargin = 1").contains("unknown field `margin`"),
            "{}",
            message("[style]\nmargin = 1")
        );
        assert!(message("confidence = \"high\"").contains("invalid type"));
        assert_eq!(message("confidence = 95"), "confidence must be 0.5 to 0.999; got 95.");
        assert_eq!(message("[adherence]\nmargin = nan"), "adherence.margin must be 0 to 1; got NaN.");
    }
}
