//! Names of samplers and of noise sources.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// How the reverse diffusion is integrated. Names on the wire are snake_case; A1111's labels are accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Sampler {
    /// DDIM, η = 0 (Song et al. 2020).
    Ddim,
    /// Euler on the probability-flow ODE (Karras et al. 2022, algorithm 2 without churn).
    Euler,
    /// Euler with ancestral noise.
    EulerA,
    /// Pseudo linear multistep, SD 1.5's own scheduler (Liu et al. 2022), without Runge-Kutta warm-up.
    Pndm,
    /// DPM-Solver++ (2M) on Karras sigmas (Lu et al. 2022).
    #[default]
    #[serde(rename = "dpmpp_2m_karras")]
    Dpmpp2mKarras,
}

impl Sampler {
    /// Every sampler, in the order in which menus show them.
    pub const ALL: [Self; 5] = [Self::Dpmpp2mKarras, Self::Euler, Self::EulerA, Self::Ddim, Self::Pndm];

    /// The name on the wire and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ddim => "ddim",
            Self::Euler => "euler",
            Self::EulerA => "euler_a",
            Self::Pndm => "pndm",
            Self::Dpmpp2mKarras => "dpmpp_2m_karras",
        }
    }

    /// The label that A1111 writes into pictures and that people know.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ddim => "DDIM",
            Self::Euler => "Euler",
            Self::EulerA => "Euler a",
            Self::Pndm => "PNDM",
            Self::Dpmpp2mKarras => "DPM++ 2M Karras",
        }
    }
}

impl fmt::Display for Sampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no sampler of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown sampler “{0}”; use one of: ddim, euler, euler_a, pndm, dpmpp_2m_karras")]
pub struct ParseSamplerError(pub String);

impl FromStr for Sampler {
    type Err = ParseSamplerError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wanted = text.trim();
        Self::ALL
            .into_iter()
            .find(|s| s.name().eq_ignore_ascii_case(wanted) || s.label().eq_ignore_ascii_case(wanted))
            .ok_or_else(|| ParseSamplerError(wanted.chars().take(40).collect()))
    }
}

impl<'de> Deserialize<'de> for Sampler {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Where starting noise comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Rng {
    /// torch's CPU generator: MT19937 and Box-Muller.
    #[default]
    Cpu,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_and_label_parses_back() {
        for sampler in Sampler::ALL {
            assert_eq!(sampler.name().parse(), Ok(sampler));
            assert_eq!(sampler.label().parse(), Ok(sampler));
            let json = serde_json::to_string(&sampler).unwrap();
            assert_eq!(json, format!("\"{}\"", sampler.name()));
            assert_eq!(serde_json::from_str::<Sampler>(&json).unwrap(), sampler);
        }
    }

    #[test]
    fn an_unknown_name_says_what_is_known() {
        let error = "foo".parse::<Sampler>().unwrap_err().to_string();
        for sampler in Sampler::ALL {
            assert!(error.contains(sampler.name()), "{error} lacks {sampler}");
        }
    }
}
