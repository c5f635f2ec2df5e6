//! Samplers and noise sources.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Sampler. Names on the wire are snake_case; A1111's labels are accepted.
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
    /// Heun's second-order method on the same ODE (Karras et al. 2022, algorithm 1).
    Heun,
    /// Pseudo linear multistep, SD 1.5's own scheduler (Liu et al. 2022), without Runge-Kutta warm-up.
    Pndm,
    /// DPM-Solver++ (2M) on the sigmas of training (Lu et al. 2022).
    #[serde(rename = "dpmpp_2m")]
    Dpmpp2m,
    /// DPM-Solver++ (2M) on Karras sigmas (Lu et al. 2022).
    #[default]
    #[serde(rename = "dpmpp_2m_karras")]
    Dpmpp2mKarras,
    /// The stochastic DPM-Solver++ of k-diffusion, two calls of the model per step, on the sigmas of training.
    DpmppSde,
    /// The same on Karras sigmas.
    DpmppSdeKarras,
    /// The stochastic form of DPM-Solver++ (2M) on Karras sigmas.
    #[serde(rename = "dpmpp_2m_sde_karras")]
    Dpmpp2mSdeKarras,
    /// UniPC of order 2, B₂(h) (Zhao et al. 2023).
    #[serde(rename = "unipc")]
    UniPc,
    /// Multistep sampling of latent consistency models (Luo et al. 2023); of use with an LCM adapter or base.
    Lcm,
}

impl Sampler {
    /// Every sampler, in the order in which menus show them.
    pub const ALL: [Self; 12] = [
        Self::Dpmpp2mKarras,
        Self::Dpmpp2m,
        Self::DpmppSdeKarras,
        Self::DpmppSde,
        Self::Dpmpp2mSdeKarras,
        Self::UniPc,
        Self::Euler,
        Self::EulerA,
        Self::Heun,
        Self::Ddim,
        Self::Pndm,
        Self::Lcm,
    ];

    /// The name on the wire and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ddim => "ddim",
            Self::Euler => "euler",
            Self::EulerA => "euler_a",
            Self::Heun => "heun",
            Self::Pndm => "pndm",
            Self::Dpmpp2m => "dpmpp_2m",
            Self::Dpmpp2mKarras => "dpmpp_2m_karras",
            Self::DpmppSde => "dpmpp_sde",
            Self::DpmppSdeKarras => "dpmpp_sde_karras",
            Self::Dpmpp2mSdeKarras => "dpmpp_2m_sde_karras",
            Self::UniPc => "unipc",
            Self::Lcm => "lcm",
        }
    }

    /// A1111's label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ddim => "DDIM",
            Self::Euler => "Euler",
            Self::EulerA => "Euler a",
            Self::Heun => "Heun",
            Self::Pndm => "PNDM",
            Self::Dpmpp2m => "DPM++ 2M",
            Self::Dpmpp2mKarras => "DPM++ 2M Karras",
            Self::DpmppSde => "DPM++ SDE",
            Self::DpmppSdeKarras => "DPM++ SDE Karras",
            Self::Dpmpp2mSdeKarras => "DPM++ 2M SDE Karras",
            Self::UniPc => "UniPC",
            Self::Lcm => "LCM",
        }
    }

    /// Other names that A1111 accepts.
    fn aliases(self) -> &'static [&'static str] {
        match self {
            Self::Euler => &["k_euler"],
            Self::EulerA => &["k_euler_a", "k_euler_ancestral"],
            Self::Heun => &["k_heun"],
            Self::Pndm => &["PLMS"],
            Self::Dpmpp2m => &["k_dpmpp_2m"],
            Self::Dpmpp2mKarras => &["k_dpmpp_2m_ka"],
            Self::DpmppSde => &["k_dpmpp_sde"],
            Self::DpmppSdeKarras => &["k_dpmpp_sde_ka"],
            Self::Dpmpp2mSdeKarras => &["k_dpmpp_2m_sde_ka"],
            Self::Ddim | Self::UniPc | Self::Lcm => &[],
        }
    }

    /// A1111's newer form: the sampler's name, and the schedule type where the sampler alone does not say it.
    pub(crate) fn with_schedule_type(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Dpmpp2m | Self::DpmppSde => (self.label(), Some("Uniform")),
            _ => match self.label().strip_suffix(" Karras") {
                Some(name) => (name, Some("Karras")),
                None => (self.label(), None),
            },
        }
    }

    /// Reads either of A1111's forms. A schedule type that we have no sampler for gives the sampler without it.
    pub(crate) fn from_schedule_type(name: &str, schedule_type: Option<&str>) -> Option<Self> {
        let plain: Option<Self> = name.parse().ok();
        let schedule_type = match schedule_type.map(str::trim) {
            None => return plain,
            // What A1111 takes of its own accord for these two.
            Some("Automatic") if matches!(plain, Some(Self::Dpmpp2m | Self::DpmppSde)) => "Karras",
            Some(given) => given,
        };
        format!("{} {schedule_type}", name.trim()).parse().ok().or(plain)
    }

    /// Number of model calls in `steps` steps.
    pub fn model_calls(self, steps: u32) -> u32 {
        match self {
            // The last step ends at σ = 0 and needs no second call.
            Self::Heun | Self::DpmppSde | Self::DpmppSdeKarras => (2 * steps).saturating_sub(1),
            Self::Pndm if steps > 1 => steps + 1,
            _ => steps,
        }
    }

    /// Maximum number of steps, if it has a limit of its own: latent consistency models are distilled on a
    /// schedule of 50 steps.
    pub fn most_steps(self) -> Option<u32> {
        match self {
            Self::Lcm => Some(50),
            _ => None,
        }
    }
}

impl fmt::Display for Sampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text is not a sampler's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown sampler “{0}”; use one of: {names}", names = Sampler::ALL.map(Sampler::name).join(", "))]
pub struct ParseSamplerError(pub String);

impl FromStr for Sampler {
    type Err = ParseSamplerError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wanted = text.trim();
        let is = |name: &str| name.eq_ignore_ascii_case(wanted);
        Self::ALL
            .into_iter()
            .find(|s| is(s.name()) || is(s.label()) || s.aliases().iter().any(|alias| is(alias)))
            .ok_or_else(|| ParseSamplerError(wanted.chars().take(40).collect()))
    }
}

impl<'de> Deserialize<'de> for Sampler {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

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
        for sampler in Sampler::ALL {
            assert_eq!(sampler.name().parse(), Ok(sampler));
            assert_eq!(sampler.label().parse(), Ok(sampler));
            let json = serde_json::to_string(&sampler).unwrap();
            assert_eq!(json, format!("\"{}\"", sampler.name()));
            assert_eq!(serde_json::from_str::<Sampler>(&json).unwrap(), sampler);
        }
        for rng in Rng::ALL {
            assert_eq!((rng.name().parse(), rng.label().parse()), (Ok(rng), Ok(rng)));
            let json = serde_json::to_string(&rng).unwrap();
            assert_eq!(json, format!("\"{}\"", rng.name()));
            assert_eq!(serde_json::from_str::<Rng>(&json).unwrap(), rng);
        }
    }

    #[test]
    fn no_text_names_two_samplers() {
        let mut names: Vec<String> = Sampler::ALL
            .into_iter()
            .flat_map(|s| {
                [s.name(), s.label()].into_iter().chain(s.aliases().iter().copied()).map(move |n| (s, n))
            })
            .map(|(sampler, name)| {
                assert_eq!(name.parse(), Ok(sampler));
                format!("{} {sampler}", name.to_ascii_lowercase())
            })
            .collect();
        names.sort();
        names.dedup();
        let mut bare: Vec<_> = names.iter().map(|n| n.rsplit_once(' ').unwrap().0).collect();
        bare.dedup();
        assert_eq!(bare.len(), names.len());
    }

    #[test]
    fn both_of_a1111s_forms_are_read() {
        for sampler in Sampler::ALL {
            let (name, schedule) = sampler.with_schedule_type();
            assert_eq!(Sampler::from_schedule_type(name, schedule), Some(sampler));
            assert_eq!(Sampler::from_schedule_type(sampler.label(), None), Some(sampler));
        }
        let read = |name, schedule| Sampler::from_schedule_type(name, Some(schedule));
        assert_eq!(read("DPM++ SDE", "Karras"), Some(Sampler::DpmppSdeKarras));
        assert_eq!(read("DPM++ 2M", "Automatic"), Some(Sampler::Dpmpp2mKarras));
        assert_eq!(read("Euler a", "Automatic"), Some(Sampler::EulerA));
        assert_eq!(read("DPM++ 2M", "Exponential"), Some(Sampler::Dpmpp2m));
        assert_eq!(read("DPM++ 2M SDE", "Exponential"), None);
    }

    #[test]
    fn an_unknown_name_says_what_is_known() {
        let error = "foo".parse::<Sampler>().unwrap_err().to_string();
        for sampler in Sampler::ALL {
            assert!(error.contains(sampler.name()), "{error} lacks {sampler}");
        }
    }
}
