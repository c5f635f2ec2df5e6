//! Seeds in requests, where −1 means random.

use std::fmt;

use serde::{
    Deserializer,
    de::{Error, Visitor},
};

/// Largest seed: 2⁵³ − 1, the largest integer that JavaScript carries exactly.
pub(crate) const MAX_SEED: u64 = (1 << 53) - 1;

/// Deserialises a seed that may be absent, null or −1.
pub(crate) fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    deserializer.deserialize_any(Seed)
}

/// Parses a seed: a number, or −1 for random.
///
/// # Errors
/// A sentence, if it is neither.
pub fn parse(text: &str) -> Result<Option<u64>, String> {
    // Some keyboards write the minus sign itself.
    let text = text.trim().replace('\u{2212}', "-");
    if text == "-1" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| refusal(&text))
}

/// Deserialises a seed; −1 draws a random one.
pub(crate) fn or_random<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    deserializer.deserialize_any(Seed).map(|seed| seed.unwrap_or_else(random))
}

/// A random seed, 0 to 2³² − 1.
pub fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    // The keys of a new state are the operating system's random numbers.
    std::hash::RandomState::new().build_hasher().finish() & 0xffff_ffff
}

/// A seed on the command line: a number, or −1 for a random one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeedArg(pub Option<u64>);

impl std::str::FromStr for SeedArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).map(Self)
    }
}

fn refusal(got: impl fmt::Display) -> String {
    let shown: String = got.to_string().chars().take(40).collect();
    format!("the seed must be 0 to {MAX_SEED}, or -1 for a random one; got {shown}")
}

struct Seed;

impl<'de> Visitor<'de> for Seed {
    type Value = Option<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from 0 to {MAX_SEED}, or -1 for a random one")
    }

    fn visit_u64<E: Error>(self, seed: u64) -> Result<Self::Value, E> {
        Ok(Some(seed))
    }

    fn visit_i64<E: Error>(self, seed: i64) -> Result<Self::Value, E> {
        match u64::try_from(seed) {
            Ok(seed) => Ok(Some(seed)),
            Err(_) if seed == -1 => Ok(None),
            Err(_) => Err(E::custom(refusal(seed))),
        }
    }

    fn visit_f64<E: Error>(self, seed: f64) -> Result<Self::Value, E> {
        if seed == -1.0 {
            return Ok(None);
        }
        // What JSON readers make of numbers beyond 64 bits; below, a fraction of 0 is none.
        if seed.fract() == 0.0 && (0.0..=MAX_SEED as f64).contains(&seed) {
            return Ok(Some(seed as u64));
        }
        Err(E::custom(refusal(seed)))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

#[cfg(test)]
mod tests {
    use crate::GenerationRequest;

    #[test]
    fn minus_one_is_random_and_other_negative_numbers_are_refused() {
        let read = |seed: &str| {
            let json = format!("{{\"prompt\": \"\", \"seed\": {seed}}}");
            serde_json::from_str::<GenerationRequest>(&json).map(|request| request.seed)
        };
        for random in ["-1", "-1.0", "null"] {
            assert_eq!(read(random).unwrap(), None, "{random}");
        }
        assert_eq!(read("9007199254740991").unwrap(), Some((1 << 53) - 1));
        assert_eq!(read("7.0").unwrap(), Some(7));
        for wrong in ["-2", "1.5", "\"7\"", "true", "[]", "1e30"] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.contains("-1 for a random one"), "{wrong}: {error}");
        }
        assert_eq!(super::parse(" −1"), Ok(None));
        assert_eq!(super::parse("7"), Ok(Some(7)));
        assert!(super::parse("-7").unwrap_err().contains("got -7"));
    }
}
