//! The limit of a token: images in each minute, hour or day.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// How many images a token may ask for in each period of UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct TokenLimit {
    /// Images in each period.
    pub(super) images: u32,
    per: Period,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Period {
    Minute,
    Hour,
    Day,
}

impl Period {
    const ALL: [(Self, &'static str, u64); 3] =
        [(Self::Minute, "minute", 60), (Self::Hour, "hour", 3600), (Self::Day, "day", 86_400)];

    fn facts(self) -> (&'static str, u64) {
        let found = Self::ALL.into_iter().find(|(period, ..)| *period == self);
        found.map_or(("day", 86_400), |(_, name, seconds)| (name, seconds))
    }
}

impl TokenLimit {
    /// Length of its period.
    pub(super) fn seconds(self) -> u64 {
        self.per.facts().1
    }
}

impl fmt::Display for TokenLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.images, self.per.facts().0)
    }
}

impl FromStr for TokenLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (images, per) = text.trim().split_once('/')?;
            let images = images.trim().parse().ok().filter(|images| *images > 0)?;
            let (per, ..) = Period::ALL.into_iter().find(|(_, name, _)| per.trim() == *name)?;
            Some(Self { images, per })
        };
        read().ok_or_else(|| "expected images per minute, hour or day, for example 100/day".to_owned())
    }
}

impl TryFrom<String> for TokenLimit {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<TokenLimit> for String {
    fn from(limit: TokenLimit) -> Self {
        limit.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::TokenLimit;

    #[test]
    fn a_limit_is_a_number_above_0_and_a_period() {
        let limit: TokenLimit = " 2 / hour ".parse().unwrap();
        assert_eq!((limit.to_string().as_str(), limit.seconds()), ("2/hour", 3600));
        for wrong in ["", "3", "0/day", "3/year", "-1/day", "many/day"] {
            assert!(wrong.parse::<TokenLimit>().is_err(), "{wrong}");
        }
    }
}
