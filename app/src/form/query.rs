//! The form in an address: links that fill it, and the way back after a plain form post was refused.

use super::{AdapterRow, FormValues};

/// `prompt=red%20moons&seed=7&adapter=adire%40v2:0.8`. Empty fields are left out.
pub(crate) fn encode(values: &FormValues) -> String {
    let mut query = String::new();
    let mut add = |key: &str, value: &str| {
        if !value.is_empty() {
            if !query.is_empty() {
                query.push('&');
            }
            query.push_str(key);
            query.push('=');
            percent(&mut query, value);
        }
    };
    add("prompt", &values.prompt);
    add("negative_prompt", &values.negative_prompt);
    add("seed", &values.seed);
    add("steps", &values.steps);
    add("guidance", &values.guidance);
    add("size", &values.size);
    if !values.size.contains('x') {
        add("width", &values.width);
        add("height", &values.height);
    }
    add("sampler", &values.sampler);
    add("rng", &values.rng);
    add("count", &values.count);
    add("clip_skip", &values.clip_skip);
    for AdapterRow { name, strength } in values.adapters.iter().filter(|row| row.is_on()) {
        add("adapter", &format!("{name}:{strength}"));
    }
    query
}

/// Keys and values of a query, decoded. What is no escape, or no UTF-8, is kept as well as it can be.
pub(crate) fn pairs(query: &str) -> Vec<(String, String)> {
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(key), decoded(value))
    };
    query.split('&').filter(|part| !part.is_empty()).map(pair).collect()
}

/// Reads what [`encode`] wrote, or what a person wrote: unknown keys are ignored.
pub(crate) fn parse(pairs: &[(String, String)]) -> FormValues {
    let mut values = FormValues::default();
    for (key, value) in pairs {
        let field = match key.as_str() {
            "prompt" => &mut values.prompt,
            "negative_prompt" => &mut values.negative_prompt,
            "seed" => &mut values.seed,
            "steps" => &mut values.steps,
            "guidance" => &mut values.guidance,
            "size" => &mut values.size,
            "width" => &mut values.width,
            "height" => &mut values.height,
            "sampler" => &mut values.sampler,
            "rng" => &mut values.rng,
            "count" => &mut values.count,
            "clip_skip" => &mut values.clip_skip,
            "adapter" => {
                let (name, strength) = value.rsplit_once(':').unwrap_or((value.as_str(), ""));
                values.adapters.push(AdapterRow { name: name.to_owned(), strength: strength.to_owned() });
                continue;
            }
            _ => continue,
        };
        value.clone_into(field);
    }
    if values.size.is_empty() && !(values.width.is_empty() && values.height.is_empty()) {
        "custom".clone_into(&mut values.size);
    }
    values
}

/// RFC 3986: everything but unreserved characters, so that the text may stand anywhere in an address.
fn percent(out: &mut String, text: &str) {
    const HEX: [u8; 16] = *b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
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

    #[test]
    fn queries_are_read_as_browsers_write_them() {
        let read = pairs("prompt=red+moons%2C%20“x”&&job&%zz=%4&bad=%ff");
        let expected = [("prompt", "red moons, “x”"), ("job", ""), ("%zz", "%4"), ("bad", "\u{fffd}")];
        assert_eq!(read, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }

    #[test]
    fn hand_written_sizes_are_custom_ones() {
        let values = parse(&pairs("width=128&x=y"));
        assert_eq!((values.size.as_str(), values.width.as_str()), ("custom", "128"));
    }
}
