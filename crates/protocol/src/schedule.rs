//! Schedules: the noise levels that a sampler visits.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

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
