//! Schedules: the noise levels that a sampler visits.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Sampler, SamplerName};

/// Schedule of a sampler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// The model's training timesteps, spaced as its scheduler config says; A1111's “Uniform”.
    #[default]
    Normal,
    /// Spaced evenly in σ^(1/7) (Karras et al. 2022, equation 5).
    Karras,
}

impl Schedule {
    /// All schedules, in the order in which menus show them.
    pub const ALL: [Self; 2] = [Self::Karras, Self::Normal];

    /// The name on the wire and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Karras => "karras",
        }
    }

    /// The label in menus.
    pub fn label(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Karras => "Karras",
        }
    }

    /// A1111's schedule type.
    pub(crate) fn a1111(self) -> &'static str {
        match self {
            Self::Normal => "Uniform",
            Self::Karras => "Karras",
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text is not a schedule's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown schedule “{0}”; use one of: {names}", names = Schedule::ALL.map(Schedule::name).join(", "))]
pub struct ParseScheduleError(pub String);

impl FromStr for Schedule {
    type Err = ParseScheduleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wanted = text.trim();
        Self::ALL
            .into_iter()
            .find(|s| [s.name(), s.a1111()].iter().any(|name| name.eq_ignore_ascii_case(wanted)))
            .ok_or_else(|| ParseScheduleError(wanted.chars().take(40).collect()))
    }
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A sampler on a schedule that it runs on. On the wire two fields, `sampler` and `schedule`; `sampler` keeps the name
/// that holds the schedule too ([`SamplerName`]), and is enough where `schedule` is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(from = "Fields", into = "Fields")]
pub struct Sampling {
    /// The sampler.
    #[cfg_attr(feature = "openapi", schema(value_type = SamplerName))]
    pub sampler: Sampler,
    /// The noise levels it visits.
    pub schedule: Schedule,
}

#[derive(Serialize, Deserialize)]
struct Fields {
    sampler: SamplerName,
    #[serde(default)]
    schedule: Option<Schedule>,
}

impl From<Fields> for Sampling {
    fn from(Fields { sampler, schedule }: Fields) -> Self {
        Self::named(sampler, schedule)
    }
}

impl From<Sampling> for Fields {
    fn from(sampling: Sampling) -> Self {
        Self { sampler: sampling.into(), schedule: Some(sampling.schedule) }
    }
}

impl Sampling {
    /// Every sampler on each of its schedules, in the order in which menus show them.
    pub const ALL: [Self; 12] = [
        Self { sampler: Sampler::Dpmpp2m, schedule: Schedule::Karras },
        Self { sampler: Sampler::Dpmpp2m, schedule: Schedule::Normal },
        Self { sampler: Sampler::DpmppSde, schedule: Schedule::Karras },
        Self { sampler: Sampler::DpmppSde, schedule: Schedule::Normal },
        Self { sampler: Sampler::Dpmpp2mSde, schedule: Schedule::Karras },
        Self { sampler: Sampler::UniPc, schedule: Schedule::Normal },
        Self { sampler: Sampler::Euler, schedule: Schedule::Normal },
        Self { sampler: Sampler::EulerA, schedule: Schedule::Normal },
        Self { sampler: Sampler::Heun, schedule: Schedule::Normal },
        Self { sampler: Sampler::Ddim, schedule: Schedule::Normal },
        Self { sampler: Sampler::Pndm, schedule: Schedule::Normal },
        Self { sampler: Sampler::Lcm, schedule: Schedule::Normal },
    ];

    /// From the two fields; a schedule of its own counts for more than one in the sampler's name.
    pub fn named(name: SamplerName, schedule: Option<Schedule>) -> Self {
        let named = name.sampling();
        Self { schedule: schedule.unwrap_or(named.schedule), ..named }
    }

    /// The same, where either may be left to `default`.
    pub fn requested(name: Option<SamplerName>, schedule: Option<Schedule>, default: Self) -> Self {
        match name {
            Some(name) => Self::named(name, schedule),
            None => Self { schedule: schedule.unwrap_or(default.schedule), ..default },
        }
    }

    /// Whether the sampler runs on the schedule.
    pub fn is_supported(self) -> bool {
        self.sampler.schedules().contains(&self.schedule)
    }

    /// `DPM++ 2M Karras`: A1111's label for both in one.
    pub fn label(self) -> String {
        match self.schedule {
            Schedule::Normal => self.sampler.label().to_owned(),
            schedule => format!("{} {}", self.sampler.label(), schedule.label()),
        }
    }

    /// A1111's schedule type, where its name for the sampler alone does not say it.
    pub(crate) fn schedule_type(self) -> Option<&'static str> {
        (self.schedule == Schedule::Karras || self.sampler.automatic() != self).then(|| self.schedule.a1111())
    }
}

impl Default for Sampling {
    fn default() -> Self {
        Sampler::default().automatic()
    }
}

impl From<Sampler> for Sampling {
    /// On the schedule that the sampler's bare name means.
    fn from(sampler: Sampler) -> Self {
        sampler.bare()
    }
}

impl fmt::Display for Sampling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SamplerName::from(*self).name())
    }
}

impl FromStr for Sampling {
    type Err = crate::ParseSamplerError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(SamplerName::sampling)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sampler_is_listed_with_each_of_its_schedules() {
        let pairs = Sampler::ALL.into_iter().flat_map(|sampler| {
            sampler.schedules().iter().map(move |schedule| Sampling { sampler, schedule: *schedule })
        });
        assert_eq!(pairs.collect::<Vec<_>>(), Sampling::ALL);
        for schedule in Schedule::ALL {
            assert_eq!(schedule.name().parse(), Ok(schedule));
            assert_eq!(schedule.a1111().parse(), Ok(schedule));
        }
        assert!("sgm".parse::<Schedule>().unwrap_err().to_string().ends_with("use one of: karras, normal"));
    }

    #[test]
    fn two_fields_go_out_and_either_form_comes_in() {
        let karras = Sampling { sampler: Sampler::Dpmpp2m, schedule: Schedule::Karras };
        let json = r#"{"sampler":"dpmpp_2m_karras","schedule":"karras"}"#;
        assert_eq!(serde_json::to_string(&karras).unwrap(), json);
        let read = |json: &str| serde_json::from_str::<Sampling>(json).unwrap();
        assert_eq!(read(json), karras);
        assert_eq!(read(r#"{"sampler":"dpmpp_2m_karras"}"#), karras);
        assert_eq!(read(r#"{"sampler":"dpmpp_2m","schedule":"karras"}"#), karras);
        assert_eq!(read(r#"{"sampler":"dpmpp_2m"}"#), Sampler::Dpmpp2m.bare());
        assert_eq!(read(r#"{"sampler":"dpmpp_2m_karras","schedule":"normal"}"#), Sampler::Dpmpp2m.bare());
        for sampling in Sampling::ALL {
            assert_eq!(read(&serde_json::to_string(&sampling).unwrap()), sampling);
            assert_eq!(sampling.to_string().parse(), Ok(sampling));
        }
    }
}
