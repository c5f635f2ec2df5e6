//! Noise sources.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Noise source: the random generator that a seed is for. The same seed gives another image with each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Rng {
    /// torch's generator on the CPU: MT19937 and Box-Muller. What diffusers' examples use.
    #[default]
    Cpu,
    /// torch's generator on a CUDA device: Philox and Box-Muller, computed here without one. A1111's
    /// default.
    Cuda,
}

impl Rng {
    /// All noise sources.
    pub const ALL: [Self; 2] = [Self::Cpu, Self::Cuda];

    /// The name on the wire and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        }
    }

    /// A1111's name of the setting in infotexts.
    pub fn label(self) -> &'static str {
        match self {
            Self::Cpu => "CPU",
            Self::Cuda => "GPU",
        }
    }
}

impl fmt::Display for Rng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text is not a noise source's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown noise source “{0}”; use one of: cpu, cuda")]
pub struct ParseRngError(pub String);

impl FromStr for Rng {
    type Err = ParseRngError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim().to_ascii_lowercase().as_str() {
            "cpu" => Ok(Self::Cpu),
            // A1111's own reimplementation of the same numbers is called NV there.
            "cuda" | "gpu" | "nv" => Ok(Self::Cuda),
            _ => Err(ParseRngError(text.trim().chars().take(40).collect())),
        }
    }
}

impl<'de> Deserialize<'de> for Rng {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_and_label_parses_back() {
        for rng in Rng::ALL {
            assert_eq!((rng.name().parse(), rng.label().parse()), (Ok(rng), Ok(rng)));
            let json = serde_json::to_string(&rng).unwrap();
            assert_eq!(json, format!("\"{}\"", rng.name()));
            assert_eq!(serde_json::from_str::<Rng>(&json).unwrap(), rng);
        }
    }
}
