//! The form as a query string: links that fill it, redirects after a refused form post, and the body of a post.

use adire_protocol::SamplerName;

use super::{AdapterRow, FormValues, NAMES, values::sampling_texts};

/// Value in an address for a form that deliberately has no adapter.
const NO_ADAPTER: &str = "none";

/// `prompt=red%20moons&seed=7&adapter=adire%40v2:0.8`. Empty fields are left out. `adapter=none`: there are rows, and
/// all of them are off.
pub(crate) fn encode(values: &FormValues) -> String {
    with_adapters(texts(values, values.size.contains('x')), values)
}

/// The same with every field, including an unused width and height.
pub(crate) fn encode_fields(values: &FormValues) -> String {
    with_adapters(texts(values, false), values)
}

fn with_adapters(mut query: String, values: &FormValues) -> String {
    for AdapterRow { name, strength } in values.adapters.iter().filter(|row| row.is_on()) {
        add(&mut query, "adapter", &format!("{name}:{strength}"));
    }
    if !values.adapters.is_empty() && !values.adapters.iter().any(AdapterRow::is_on) {
        add(&mut query, "adapter", NO_ADAPTER);
    }
    query
}

/// The body that a browser posts for the form.
pub(crate) fn post_body(values: &FormValues) -> String {
    let mut body = texts(values, false);
    for (i, row) in values.adapters.iter().enumerate() {
        add(&mut body, &format!("adapters[{i}][name]"), &row.name);
        add(&mut body, &format!("adapters[{i}][strength]"), &row.strength);
    }
    body
}

fn texts(values: &FormValues, size_says_all: bool) -> String {
    let mut query = String::new();
    for (name, value) in NAMES.into_iter().zip(values.texts()) {
        if !(size_says_all && matches!(name, "width" | "height")) {
            add(&mut query, name, value);
        }
    }
    query
}

/// Adds a pair, unless its value is empty.
pub(crate) fn add(query: &mut String, key: &str, value: &str) {
    if !value.is_empty() {
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str(&percent_encoded(key, b""));
        query.push('=');
        query.push_str(&percent_encoded(value, b""));
    }
}

/// Decoded keys and values of a query. Invalid escapes and invalid UTF-8 are decoded leniently.
pub(crate) fn pairs(query: &str) -> Vec<(String, String)> {
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(key), decoded(value))
    };
    query.split('&').filter(|part| !part.is_empty()).map(pair).collect()
}

/// Reads a query as [`encode`] writes it; unknown keys are ignored.
pub(crate) fn parse(pairs: &[(String, String)]) -> FormValues {
    let mut values = FormValues::default();
    for (key, value) in pairs {
        if let Some(at) = NAMES.iter().position(|name| name == key) {
            value.clone_into(values.texts_mut()[at]);
        } else if key == "adapter" && value == NO_ADAPTER {
            values.adapters.push(AdapterRow::default());
        } else if key == "adapter" {
            let (name, strength) = value.rsplit_once(':').unwrap_or((value.as_str(), ""));
            values.adapters.push(AdapterRow { name: name.to_owned(), strength: strength.to_owned() });
        }
    }
    // Links of older versions have one name for both; a bare name meant the training's own schedule.
    if values.schedule.is_empty()
        && let Ok(name) = values.sampler.parse::<SamplerName>()
    {
        (values.sampler, values.schedule) = sampling_texts(name.sampling());
    }
    if values.size.is_empty() && !(values.width.is_empty() && values.height.is_empty()) {
        "custom".clone_into(&mut values.size);
    }
    values
}

/// Most adapter rows of a plain form; requests take fewer.
#[cfg(feature = "ssr")]
const MAX_ADAPTER_ROWS: usize = 64;

/// Sets one field of a plain form: `steps`, `adapters[1][strength]`. Other names are ignored.
#[cfg(feature = "ssr")]
pub(crate) fn set_posted(values: &mut FormValues, name: &str, text: String) {
    if let Some(at) = NAMES.iter().position(|known| *known == name) {
        *values.texts_mut()[at] = text;
        return;
    }
    let row = name.strip_prefix("adapters[").and_then(|rest| rest.strip_suffix(']'));
    let Some((index, part)) = row.and_then(|row| row.split_once("][")) else { return };
    let Some(index) = index.parse().ok().filter(|index| *index < MAX_ADAPTER_ROWS) else { return };
    if values.adapters.len() <= index {
        values.adapters.resize_with(index + 1, AdapterRow::default);
    }
    match part {
        "name" => values.adapters[index].name = text,
        "strength" => values.adapters[index].strength = text,
        _ => {}
    }
}

/// A text with everything percent-encoded but RFC 3986's unreserved characters and `keep`. Without `keep` it is valid anywhere
/// in an address.
pub fn percent_encoded(text: &str, keep: &[u8]) -> String {
    const HEX: [u8; 16] = *b"0123456789ABCDEF";
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') || keep.contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push(char::from(HEX[usize::from(byte >> 4)]));
            encoded.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    encoded
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let escape = match (first, after) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)),
            _ => None,
        };
        let (byte, after) = match (escape, first) {
            (Some((high, low)), _) => (high * 16 + low, &after[2..]),
            (None, b'+') => (b' ', after),
            (None, other) => (*other, after),
        };
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_survives_an_address() {
        let values = FormValues {
            prompt: "“moons” & 50 % stars\nrow two; é".to_owned(),
            seed: "7".to_owned(),
            size: "256x320".to_owned(),
            rng: "cuda".to_owned(),
            mask: "cd".repeat(32),
            hires_scale: "1.5".to_owned(),
            adapters: vec![
                AdapterRow { name: "adire@v2".to_owned(), strength: "-0.8".to_owned() },
                AdapterRow { name: "kente@v1".to_owned(), strength: String::new() },
            ],
            ..Default::default()
        };
        let query = encode(&values);
        assert!(query.is_ascii() && !query.contains([' ', '\n', '"', '#', ';']), "{query}");
        assert_eq!(parse(&pairs(&query)), values);
    }

    #[cfg(feature = "ssr")]
    #[test]
    fn the_form_survives_a_post() {
        let row =
            |name: &str, strength: &str| AdapterRow { name: name.to_owned(), strength: strength.to_owned() };
        let values = FormValues {
            prompt: "a&b=c [d]".to_owned(),
            init_image: "ab".repeat(32),
            hires: "latent".to_owned(),
            adapters: vec![row("", "1"), row("adire@v2", "0.5")],
            ..Default::default()
        };
        let mut read = FormValues::default();
        for (name, text) in pairs(&post_body(&values)) {
            set_posted(&mut read, &name, text);
        }
        assert_eq!(read, values);
        for name in ["adapters[9999999][name]", "adapters[-1][name]", "adapters[0]", "adapters[0][x]", "x"] {
            set_posted(&mut read, name, "y".to_owned());
        }
        assert_eq!(read, values);
    }

    #[test]
    fn no_adapter_at_all_can_be_said() {
        let off = FormValues { adapters: vec![AdapterRow::default(); 2], ..Default::default() };
        assert_eq!(encode(&off), "adapter=none");
        assert!(parse(&pairs("adapter=none")).adapters.iter().all(|row| !row.is_on()));
        assert_eq!(parse(&pairs("adapter=none")).adapters.len(), 1);
        assert_eq!(encode(&FormValues::default()), "");
        assert_eq!(parse(&pairs("adapter=none%40v1:1")).adapters, [AdapterRow::of("none@v1".to_owned())]);
    }

    #[test]
    fn queries_are_read_as_browsers_write_them() {
        let read = pairs("prompt=red+moons%2C%20“x”&&job&%zz=%4&bad=%ff");
        let expected = [("prompt", "red moons, “x”"), ("job", ""), ("%zz", "%4"), ("bad", "\u{fffd}")];
        assert_eq!(read, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }

    #[test]
    fn links_of_older_versions_keep_their_schedule() {
        let read = |query: &str| {
            let values = parse(&pairs(query));
            (values.sampler, values.schedule)
        };
        let both = |sampler: &str, schedule: &str| (sampler.to_owned(), schedule.to_owned());
        assert_eq!(read("sampler=dpmpp_2m_karras"), both("dpmpp_2m", "auto"));
        assert_eq!(read("sampler=dpmpp_2m"), both("dpmpp_2m", "normal"));
        assert_eq!(read("sampler=euler"), both("euler", "auto"));
        assert_eq!(read("sampler=dpmpp_2m&schedule=auto"), both("dpmpp_2m", "auto"));
        assert_eq!(read("sampler=foo"), both("foo", ""));
    }

    #[test]
    fn hand_written_sizes_are_custom_ones() {
        let values = parse(&pairs("width=128&x=y"));
        assert_eq!((values.size.as_str(), values.width.as_str()), ("custom", "128"));
    }
}
