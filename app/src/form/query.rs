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

/// Reads what [`encode`] wrote, or what a person wrote: unknown keys are ignored. The pairs are decoded already.
pub(crate) fn parse<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> FormValues {
    let mut values = FormValues::default();
    for (key, value) in pairs {
        let field = match key {
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
                let (name, strength) = value.rsplit_once(':').unwrap_or((value, ""));
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
        let pairs: Vec<(String, String)> = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key.to_owned(), decoded(value)))
            .collect();
        assert_eq!(parse(pairs.iter().map(|(key, value)| (key.as_str(), value.as_str()))), values);
    }

    #[test]
    fn hand_written_sizes_are_custom_ones() {
        let values = parse([("width", "128"), ("x", "y")].into_iter());
        assert_eq!((values.size.as_str(), values.width.as_str()), ("custom", "128"));
    }

    fn decoded(text: &str) -> String {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            if byte == b'%' {
                let hex: Vec<u8> = rest.by_ref().take(2).collect();
                bytes.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
            } else {
                bytes.push(byte);
            }
        }
        String::from_utf8(bytes).unwrap()
    }
}
