//! Reads the server's JSON in the browser. serde's derived readers check every field twice and report every kind of error;
//! for a page that talks to its own server they were a sixth of the download. Here the browser parses, and each record
//! reads its fields by name.

mod records;

pub(crate) use records::records;

use std::borrow::Cow;

/// A parsed JSON value: the browser's own, or serde's where tests run.
#[derive(Clone, Debug)]
pub(crate) struct Value(Inner);

#[cfg(target_arch = "wasm32")]
type Inner = wasm_bindgen::JsValue;
#[cfg(not(target_arch = "wasm32"))]
type Inner = serde_json::Value;

#[cfg(target_arch = "wasm32")]
impl Value {
    fn parsed(text: &str) -> Option<Inner> {
        js_sys::JSON::parse(text).ok()
    }

    /// A field, or an item of a list; null where it is absent.
    pub(crate) fn get(&self, key: &str) -> Self {
        Self(js_sys::Reflect::get(&self.0, &key.into()).unwrap_or_default())
    }

    fn text(&self) -> Option<String> {
        self.0.as_string()
    }

    fn number(&self) -> Option<f64> {
        self.0.as_f64()
    }

    fn flag(&self) -> Option<bool> {
        self.0.as_bool()
    }

    fn is_nothing(&self) -> bool {
        self.0.is_null() || self.0.is_undefined()
    }

    fn items(&self) -> Option<Vec<Self>> {
        use wasm_bindgen::JsCast;
        let list: &js_sys::Array = self.0.dyn_ref()?;
        Some((0..list.length()).map(|at| Self(list.get(at))).collect())
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Value {
    fn parsed(text: &str) -> Option<Inner> {
        serde_json::from_str(text).ok()
    }

    /// A field, or an item of a list; null where it is absent.
    pub(crate) fn get(&self, key: &str) -> Self {
        let item = || self.0.get(key.parse::<usize>().ok()?);
        Self(self.0.get(key).or_else(item).cloned().unwrap_or_default())
    }

    fn text(&self) -> Option<String> {
        self.0.as_str().map(str::to_owned)
    }

    fn number(&self) -> Option<f64> {
        self.0.as_f64()
    }

    fn flag(&self) -> Option<bool> {
        self.0.as_bool()
    }

    fn is_nothing(&self) -> bool {
        self.0.is_null()
    }

    fn items(&self) -> Option<Vec<Self>> {
        Some(self.0.as_array()?.iter().cloned().map(Self).collect())
    }
}

impl Value {
    /// Parses a text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::parsed(&exact(text)).map(Self)
    }

    /// The value as a record; `None` when anything in it is missing or of another type.
    pub(crate) fn read<T: Wire>(&self) -> Option<T> {
        let mut wrong = false;
        let read = T::take(self, &mut wrong);
        (!wrong).then_some(read)
    }
}

/// Quotes whole numbers of more than fifteen digits, which a browser's numbers would round; seeds have 64 bits.
fn exact(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut out = String::new();
    let (mut copied, mut at, mut in_text) = (0, 0, false);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' if in_text => at += 1,
            b'"' => in_text = !in_text,
            b'0'..=b'9' if !in_text => {
                let end = at + bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                let in_fraction = |byte: Option<&u8>| byte.is_some_and(|byte| b".eE+-".contains(byte));
                let whole = !in_fraction(at.checked_sub(1).and_then(|before| bytes.get(before)))
                    && !in_fraction(bytes.get(end));
                if end - at > 15 && whole {
                    for part in [&text[copied..at], "\"", &text[at..end], "\""] {
                        out.push_str(part);
                    }
                    copied = end;
                }
                at = end - 1;
            }
            _ => {}
        }
        at += 1;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

/// Types that can be read from a [`Value`]. An invalid value yields an empty one and sets the flag; a reader without error
/// branches is a fraction of the size.
pub(crate) trait Wire {
    fn take(value: &Value, wrong: &mut bool) -> Self;
}

/// The value, or an empty one and the flag.
fn or_wrong<T: Default>(found: Option<T>, wrong: &mut bool) -> T {
    *wrong |= found.is_none();
    found.unwrap_or_default()
}

impl Wire for String {
    fn take(value: &Value, wrong: &mut bool) -> Self {
        or_wrong(value.text(), wrong)
    }
}

impl Wire for f64 {
    fn take(value: &Value, wrong: &mut bool) -> Self {
        or_wrong(value.number(), wrong)
    }
}

impl Wire for u32 {
    fn take(value: &Value, wrong: &mut bool) -> Self {
        f64::take(value, wrong) as Self
    }
}

impl Wire for u64 {
    /// Exact: numbers that a browser would round are text here, see [`exact`].
    fn take(value: &Value, wrong: &mut bool) -> Self {
        match value.text() {
            Some(digits) => or_wrong(digits.parse().ok(), wrong),
            None => f64::take(value, wrong) as Self,
        }
    }
}

impl Wire for i64 {
    fn take(value: &Value, wrong: &mut bool) -> Self {
        f64::take(value, wrong) as Self
    }
}

impl Wire for bool {
    /// The server leaves out what is false by default.
    fn take(value: &Value, wrong: &mut bool) -> Self {
        !value.is_nothing() && or_wrong(value.flag(), wrong)
    }
}

impl<T: Wire> Wire for Option<T> {
    fn take(value: &Value, wrong: &mut bool) -> Self {
        (!value.is_nothing()).then(|| T::take(value, wrong))
    }
}

impl<T: Wire> Wire for Box<T> {
    fn take(value: &Value, wrong: &mut bool) -> Self {
        Self::new(T::take(value, wrong))
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn take(value: &Value, wrong: &mut bool) -> Self {
        let mut taken = Self::new();
        // The server leaves out lists that are empty by default.
        if value.is_nothing() {
            return taken;
        }
        for item in or_wrong(value.items(), wrong) {
            taken.push(T::take(&item, wrong));
        }
        taken
    }
}

impl Wire for () {
    fn take(_: &Value, _: &mut bool) {}
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    /// A pair travels as a list of two.
    fn take(value: &Value, wrong: &mut bool) -> Self {
        (A::take(&value.get("0"), wrong), B::take(&value.get("1"), wrong))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_a_browser_would_round_are_read_digit_by_digit() {
        for seed in [0, 7, 999_999_999_999_999, 1 << 53, (1 << 53) + 1, u64::MAX - 1, u64::MAX] {
            let text = format!(r#"{{"seed":{seed},"list":[{seed}]}}"#);
            let value = Value::parse(&text).unwrap();
            assert_eq!(value.get("seed").read::<u64>(), Some(seed), "{text}");
            assert_eq!(value.get("list").read::<Vec<u64>>(), Some(vec![seed]), "{text}");
        }
        assert_eq!(Value::parse("18446744073709551616").unwrap().read::<u64>(), None);
    }

    #[test]
    fn a_pair_is_a_list_of_two() {
        let read = |text| Value::parse(text).unwrap().read::<(Vec<u32>, String)>();
        assert_eq!(read(r#"[[1,2],"x"]"#), Some((vec![1, 2], "x".to_owned())));
        assert_eq!(read("[[1,2]]"), None);
        assert_eq!(read(r#"[["x"],"x"]"#), None);
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        for text in [
            r#"{"a":"12345678901234567890","b\"":"\\","c":"\" 12345678901234567890"}"#,
            "[0.12345678901234567,12345678901234567.5,1e1234567890123456,-12345678901234567]",
            "é 123",
            "\\",
        ] {
            assert!(matches!(exact(text), Cow::Borrowed(_)), "{text} became {}", exact(text));
        }
        assert_eq!(exact(r#"["\\",12345678901234567]"#), r#"["\\","12345678901234567"]"#);
    }
}
