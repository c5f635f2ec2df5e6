//! Samplers, and the names by which requests call them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::Schedule;

/// Sampler: the algorithm. The noise levels that it visits are its [`Schedule`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
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
    /// DPM-Solver++ (2M) (Lu et al. 2022).
    #[default]
    Dpmpp2m,
    /// The stochastic DPM-Solver++ of k-diffusion, two calls of the model per step.
    DpmppSde,
    /// The stochastic form of DPM-Solver++ (2M).
    Dpmpp2mSde,
    /// UniPC of order 2, B₂(h) (Zhao et al. 2023).
    UniPc,
    /// Multistep sampling of latent consistency models (Luo et al. 2023); of use with an LCM adapter or base.
    Lcm,
}

impl Sampler {
    /// Every sampler, in the order in which menus show them.
    pub const ALL: [Self; 10] = [
        Self::Dpmpp2m,
        Self::DpmppSde,
        Self::Dpmpp2mSde,
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
            Self::DpmppSde => "dpmpp_sde",
            Self::Dpmpp2mSde => "dpmpp_2m_sde",
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
            Self::DpmppSde => "DPM++ SDE",
            Self::Dpmpp2mSde => "DPM++ 2M SDE",
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
            Self::DpmppSde => &["k_dpmpp_sde"],
            Self::Dpmpp2mSde => &["k_dpmpp_2m_sde"],
            Self::Ddim | Self::UniPc | Self::Lcm => &[],
        }
    }

    /// The schedules it runs on, the one of A1111's “Automatic” first.
    pub fn schedules(self) -> &'static [Schedule] {
        match self {
            Self::Dpmpp2m | Self::DpmppSde => &[Schedule::Karras, Schedule::Normal],
            Self::Dpmpp2mSde => &[Schedule::Karras],
            _ => &[Schedule::Normal],
        }
    }

    /// Number of model calls in `steps` steps.
    pub fn model_calls(self, steps: u32) -> u32 {
        match self {
            // The last step ends at σ = 0 and needs no second call.
            Self::Heun | Self::DpmppSde => (2 * steps).saturating_sub(1),
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

/// A sampler as requests name it. Names such as `dpmpp_2m_karras` and A1111's `DPM++ 2M Karras` hold the schedule too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SamplerName {
    /// The sampler.
    pub sampler: Sampler,
    /// The schedule, if the name holds one.
    pub schedule: Option<Schedule>,
}

/// The names that hold a schedule. Records and responses keep them, for clients and versions without the field
/// `schedule`.
const FUSED: [(Sampler, Schedule, &str); 3] = [
    (Sampler::Dpmpp2m, Schedule::Karras, "dpmpp_2m_karras"),
    (Sampler::DpmppSde, Schedule::Karras, "dpmpp_sde_karras"),
    (Sampler::Dpmpp2mSde, Schedule::Karras, "dpmpp_2m_sde_karras"),
];

impl SamplerName {
    /// Whether the two have a name together.
    pub(crate) fn is_fused(sampler: Sampler, schedule: Schedule) -> bool {
        FUSED.iter().any(|(one, its, _)| (*one, *its) == (sampler, schedule))
    }

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        let fused = FUSED
            .iter()
            .find(|(sampler, schedule, _)| *sampler == self.sampler && Some(*schedule) == self.schedule);
        fused.map_or(self.sampler.name(), |(.., name)| name)
    }

    /// Every name on the wire.
    #[cfg(feature = "openapi")]
    fn all() -> impl Iterator<Item = &'static str> {
        Sampler::ALL.into_iter().map(Sampler::name).chain(FUSED.into_iter().map(|(.., name)| name))
    }
}

impl From<Sampler> for SamplerName {
    fn from(sampler: Sampler) -> Self {
        Self { sampler, schedule: None }
    }
}

impl fmt::Display for SamplerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text is not a sampler's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown sampler “{0}”; use one of: {names}", names = Sampler::ALL.map(Sampler::name).join(", "))]
pub struct ParseSamplerError(pub String);

impl FromStr for SamplerName {
    type Err = ParseSamplerError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wanted = text.trim();
        let find = |name: &str| {
            let is = |known: &str| known.eq_ignore_ascii_case(name);
            Sampler::ALL
                .into_iter()
                .find(|s| is(s.name()) || is(s.label()) || s.aliases().iter().any(|alias| is(alias)))
        };
        let fused = || {
            [" Karras", "_karras", "_ka"].iter().find_map(|suffix| {
                let at = wanted.len().checked_sub(suffix.len())?;
                let (name, end) = (wanted.get(..at)?, wanted.get(at..)?);
                find(name)
                    .filter(|s| end.eq_ignore_ascii_case(suffix) && s.schedules().contains(&Schedule::Karras))
            })
        };
        match (find(wanted), fused()) {
            (Some(sampler), _) => Ok(sampler.into()),
            (None, Some(sampler)) => Ok(Self { sampler, schedule: Some(Schedule::Karras) }),
            (None, None) => Err(ParseSamplerError(wanted.chars().take(40).collect())),
        }
    }
}

impl Serialize for SamplerName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for SamplerName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(feature = "openapi")]
mod schema {
    use utoipa::{
        PartialSchema, ToSchema,
        openapi::{ObjectBuilder, RefOr, Schema, Type},
    };

    use super::SamplerName;

    impl PartialSchema for SamplerName {
        fn schema() -> RefOr<Schema> {
            let description = "Sampler. Names that end in `_karras` hold the schedule too; requests also take A1111's labels.";
            ObjectBuilder::new()
                .schema_type(Type::String)
                .enum_values(Some(Self::all()))
                .description(Some(description))
                .into()
        }
    }

    impl ToSchema for SamplerName {
        // The name that clients generated from older documents know.
        fn name() -> std::borrow::Cow<'static, str> {
            "Sampler".into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sampling;

    fn read(text: &str) -> Option<(Sampler, Option<Schedule>)> {
        text.parse::<SamplerName>().ok().map(|name| (name.sampler, name.schedule))
    }

    #[test]
    fn every_name_and_label_parses_back() {
        for sampler in Sampler::ALL {
            for name in [sampler.name(), sampler.label()].iter().chain(sampler.aliases()) {
                assert_eq!(read(name), Some((sampler, None)), "{name}");
            }
        }
        for sampling in Sampling::ALL {
            let name = SamplerName::from(sampling);
            assert_eq!(name.name().parse::<SamplerName>().unwrap().sampling(), sampling);
            let json = serde_json::to_string(&name).unwrap();
            assert_eq!(serde_json::from_str::<SamplerName>(&json).unwrap().sampling(), sampling);
        }
    }

    #[test]
    fn fused_names_of_older_versions_and_of_a1111_hold_the_schedule() {
        let karras = Some(Schedule::Karras);
        for (name, sampler) in [
            ("dpmpp_2m_karras", Sampler::Dpmpp2m),
            ("DPM++ 2M Karras", Sampler::Dpmpp2m),
            ("k_dpmpp_2m_ka", Sampler::Dpmpp2m),
            ("dpmpp_sde_karras", Sampler::DpmppSde),
            ("DPM++ SDE Karras", Sampler::DpmppSde),
            ("k_dpmpp_sde_ka", Sampler::DpmppSde),
            ("dpmpp_2m_sde_karras", Sampler::Dpmpp2mSde),
            ("dpm++ 2m sde karras", Sampler::Dpmpp2mSde),
            ("k_dpmpp_2m_sde_ka", Sampler::Dpmpp2mSde),
        ] {
            assert_eq!(read(name), Some((sampler, karras)), "{name}");
        }
        for unknown in ["Euler Karras", "karras", "_karras", "", "é_karras"] {
            assert_eq!(read(unknown), None, "{unknown}");
        }
        // What the bare names have always meant.
        assert_eq!(Sampler::Dpmpp2m.bare().schedule, Schedule::Normal);
        assert_eq!(Sampler::DpmppSde.bare().schedule, Schedule::Normal);
        assert_eq!(Sampler::Dpmpp2mSde.bare().schedule, Schedule::Karras);
    }

    #[test]
    fn no_text_names_two_samplers() {
        let mut names: Vec<String> = Sampler::ALL
            .into_iter()
            .flat_map(|s| [s.name(), s.label()].into_iter().chain(s.aliases().iter().copied()))
            .map(str::to_ascii_lowercase)
            .collect();
        names.sort();
        let all = names.len();
        names.dedup();
        // Of these the label is the name in capitals.
        let alike = Sampler::ALL.iter().filter(|s| s.name().eq_ignore_ascii_case(s.label())).count();
        assert_eq!(names.len(), all - alike);
    }

    #[test]
    fn an_unknown_name_says_what_is_known() {
        let error = "foo".parse::<SamplerName>().unwrap_err().to_string();
        for sampler in Sampler::ALL {
            assert!(error.contains(sampler.name()), "{error} lacks {sampler}");
        }
    }
}
