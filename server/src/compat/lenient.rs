//! Values as clients of other programs send them: whole numbers as 20.0 or "20", flags as 0 and 1 or "true".

use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;

/// A number, also as text.
pub(crate) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    read(Value::deserialize(deserializer)?)
        .map_err(|got| D::Error::custom(format!("{got}, expected a number")))
}

/// A whole number from 0 up.
pub(crate) fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let refuse = |got| D::Error::custom(format!("{got}, expected a whole number from 0 up"));
    let value = Value::deserialize(deserializer)?;
    let shown = value.to_string();
    let Some(number) = read(value).map_err(refuse)? else { return Ok(None) };
    let fits = number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number);
    if fits { Ok(Some(number as u32)) } else { Err(refuse(cut(&shown))) }
}

/// A seed; negative ones mean a random one.
pub(crate) fn seed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let refuse = |got| D::Error::custom(format!("{got}, expected a whole number, or -1 for a random seed"));
    let value = Value::deserialize(deserializer)?;
    if let Some(seed) = value.as_u64() {
        return Ok(Some(seed));
    }
    let shown = value.to_string();
    match read(value).map_err(refuse)? {
        None => Ok(None),
        Some(number) if number < 0.0 => Ok(None),
        Some(number) if number.fract() == 0.0 && number < 9e15 => Ok(Some(number as u64)),
        Some(_) => Err(refuse(cut(&shown))),
    }
}

/// A flag.
pub(crate) fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    match &value {
        Value::Null => Ok(None),
        Value::Bool(flag) => Ok(Some(*flag)),
        Value::Number(number) => Ok(Some(number.as_f64() != Some(0.0))),
        Value::String(text) if text.is_empty() => Ok(None),
        Value::String(text) if ["true", "1"].contains(&text.to_lowercase().as_str()) => Ok(Some(true)),
        Value::String(text) if ["false", "0"].contains(&text.to_lowercase().as_str()) => Ok(Some(false)),
        other => Err(D::Error::custom(format!("{}, expected true or false", cut(&other.to_string())))),
    }
}

fn read(value: Value) -> Result<Option<f64>, String> {
    match value {
        Value::Null => Ok(None),
        Value::Number(number) => Ok(number.as_f64()),
        Value::String(text) if text.trim().is_empty() => Ok(None),
        Value::String(text) => {
            let number = text.trim().parse().ok().filter(|number: &f64| number.is_finite());
            number.map(Some).ok_or_else(|| cut(&format!("\"{text}\"")))
        }
        other => Err(cut(&other.to_string())),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default)]
    struct All {
        #[serde(deserialize_with = "number")]
        n: Option<f64>,
        #[serde(deserialize_with = "whole")]
        w: Option<u32>,
        #[serde(deserialize_with = "seed")]
        s: Option<u64>,
        #[serde(deserialize_with = "flag")]
        f: Option<bool>,
    }

    #[test]
    fn numbers_and_flags_come_in_many_forms() {
        let read = |json: &str| serde_json::from_str::<All>(json);
        let all = All { n: Some(7.0), w: Some(20), s: Some(5), f: Some(true) };
        assert_eq!(read(r#"{"n": 7, "w": 20, "s": 5, "f": true}"#).unwrap(), all);
        assert_eq!(read(r#"{"n": "7", "w": "20", "s": "5", "f": 1}"#).unwrap(), all);
        assert_eq!(read(r#"{"n": 7.0, "w": 20.0, "s": 5.0, "f": "True"}"#).unwrap(), all);
        assert_eq!(read(r#"{"n": "", "w": null, "s": -1, "f": ""}"#).unwrap(), All::default());
        assert_eq!(read(r#"{"s": 9007199254740991}"#).unwrap().s, Some(9_007_199_254_740_991));
        for wrong in
            [r#"{"n": "much"}"#, r#"{"w": 1.5}"#, r#"{"w": -1}"#, r#"{"s": "x"}"#, r#"{"f": "maybe"}"#]
        {
            assert!(read(wrong).unwrap_err().to_string().contains("expected"), "{wrong}");
        }
    }
}
