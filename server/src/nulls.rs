//! JSON in which null means absent: clients in many languages write every field, and null where they have nothing.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

/// The JSON value in a body without the fields that are null, at any depth; `None`: it is null itself.
///
/// # Errors
/// It is not JSON, or a field stands in it twice.
pub(crate) fn without_nulls(body: &[u8]) -> Result<Option<Value>, serde_json::Error> {
    serde_json::from_slice::<Present>(body).map(|present| present.0)
}

/// A value, unless it is null.
struct Present(Option<Value>);

impl<'de> Deserialize<'de> for Present {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Json).map(Self)
    }
}

struct Json;

impl<'de> Visitor<'de> for Json {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Self::Value, E> {
        Ok(Some(flag.into()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Some(number.into()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Some(number.into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Some(Number::from_f64(number).map_or(Value::Null, Value::Number)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(text.into()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Self::Value, E> {
        Ok(Some(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        // The places of a list count: a null there is a value.
        while let Some(Present(value)) = list.next_element()? {
            values.push(value.unwrap_or(Value::Null));
        }
        Ok(Some(values.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut fields, mut absent) = (Map::new(), Vec::new());
        while let Some((name, Present(value))) = map.next_entry::<String, Present>()? {
            if fields.contains_key(&name) || absent.contains(&name) {
                return Err(A::Error::custom(format!("duplicate field `{name}`")));
            }
            match value {
                Some(value) => drop(fields.insert(name, value)),
                // More than a request has would make the search above slow.
                None if absent.len() < 256 => absent.push(name),
                None => {}
            }
        }
        Ok(Some(fields.into()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nulls_are_absent_and_nothing_else_is() {
        let read = |text: &str| without_nulls(text.as_bytes()).unwrap();
        assert_eq!(read("null"), None);
        let value = read(
            r#"{"a": null, "b": {"c": null, "d": [null, 1, {"e": null}]}, "f": false, "g": "", "h": 0}"#,
        );
        assert_eq!(value, Some(json!({"b": {"d": [null, 1, {}]}, "f": false, "g": "", "h": 0})));
        assert_eq!(read("[18446744073709551615, -1, 1.5]"), Some(json!([u64::MAX, -1, 1.5])));
        for wrong in [r#"{"a": 1, "a": 2}"#, r#"{"a": null, "a": 2}"#, "{", "{} {}", "", "NaN"] {
            assert!(without_nulls(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
