//! A sampler on one of its schedules.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Sampler, SamplerName, Schedule};

impl Sampler {
    /// The sampler on its usual schedule: A1111's “Automatic”.
    pub fn automatic(self) -> Sampling {
        Sampling { sampler: self, schedule: self.schedules()[0] }
    }

    /// The sampler on the schedule that its bare name has always meant: the training's own, if it has that.
    pub fn bare(self) -> Sampling {
        let normal = self.schedules().contains(&Schedule::Normal);
        let schedule = if normal { Schedule::Normal } else { self.schedules()[0] };
        Sampling { sampler: self, schedule }
    }
}

impl SamplerName {
    /// What it stands for, without a schedule of its own: the sampler's bare name.
    pub fn sampling(self) -> Sampling {
        match self.schedule {
            Some(schedule) => Sampling { sampler: self.sampler, schedule },
            None => self.sampler.bare(),
        }
    }
}

impl From<Sampling> for SamplerName {
    fn from(Sampling { sampler, schedule }: Sampling) -> Self {
        let fused = Self::is_fused(sampler, schedule);
        Self { sampler, schedule: fused.then_some(schedule) }
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
