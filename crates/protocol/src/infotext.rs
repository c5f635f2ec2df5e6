//! A1111's generation text: the PNG `parameters` entry that sites and other programs read and write.
//!
//! Prompt (with `<lora:name:strength>` tags), a line `Negative prompt: …`, then one line of `Key: value`
//! pairs. A value that holds a comma, colon, quote or newline is written as a JSON string. Format as described in
//! AUTOMATIC1111's wiki and infotext parser; a last line of fewer than three pairs belongs to the prompt.

use crate::{AdapterUse, GenerationRequest, Recipe, Rng, Sampler};

/// The text for one picture.
pub fn format(recipe: &Recipe) -> String {
    let spec = &recipe.spec;
    let mut text = spec.prompt.clone();
    for adapter in &spec.adapters {
        text.push_str(&format!(" <lora:{}:{}>", adapter.name, adapter.strength));
    }
    if !spec.negative_prompt.is_empty() {
        text.push_str(&format!("\nNegative prompt: {}", spec.negative_prompt));
    }
    let (sampler, schedule) = spec.sampler.with_schedule_type();
    let mut pairs = vec![("Steps", spec.steps.to_string()), ("Sampler", sampler.to_owned())];
    if let Some(schedule) = schedule {
        pairs.push(("Schedule type", schedule.to_owned()));
    }
    pairs.extend([
        ("CFG scale", spec.guidance.to_string()),
        ("Seed", spec.seed.to_string()),
        ("Size", format!("{}x{}", spec.width, spec.height)),
        ("Model hash", recipe.model_hash.chars().take(10).collect()),
        ("Model", recipe.model.clone()),
        ("RNG", spec.rng.label().to_owned()),
    ]);
    if !spec.adapters.is_empty() {
        let hashes: Vec<String> = spec
            .adapters
            .iter()
            .zip(&recipe.adapter_hashes)
            .map(|(adapter, hash)| format!("{}: {}", adapter.name, hash.chars().take(12).collect::<String>()))
            .collect();
        pairs.push(("Lora hashes", hashes.join(", ")));
    }
    pairs.push(("Version", format!("Adire {}", recipe.version)));
    let line: Vec<String> =
        pairs.into_iter().map(|(key, value)| format!("{key}: {}", quoted(&value))).collect();
    format!("{text}\n{}", line.join(", "))
}

fn quoted(value: &str) -> String {
    if value.contains([',', ':', '\n', '"']) {
        serde_json::Value::from(value).to_string()
    } else {
        value.to_owned()
    }
}

/// Reads a text back into a request. What is unknown or unreadable is left out, so the form keeps its own
/// value there; only a text without any prompt and any pair gives `None`.
pub fn parse(text: &str) -> Option<GenerationRequest> {
    let text = text.trim().replace("\r\n", "\n");
    let mut lines: Vec<&str> = text.lines().collect();
    let pairs = lines.last().map(|line| pairs(line)).unwrap_or_default();
    let pairs = if pairs.len() >= 3 {
        lines.pop();
        pairs
    } else {
        Vec::new()
    };
    let (mut prompt, mut negative, mut in_negative) = (Vec::new(), Vec::new(), false);
    for line in lines {
        match line.strip_prefix("Negative prompt:") {
            Some(rest) => {
                in_negative = true;
                negative.push(rest.trim());
            }
            None if in_negative => negative.push(line),
            None => prompt.push(line),
        }
    }
    let (prompt, adapters) = take_lora_tags(&prompt.join("\n"));
    if prompt.is_empty() && pairs.is_empty() {
        return None;
    }
    let get = |wanted: &str| pairs.iter().find(|(key, _)| key == wanted).map(|(_, value)| value.as_str());
    let size = get("Size").and_then(|size| size.split_once('x'));
    Some(GenerationRequest {
        prompt,
        negative_prompt: negative.join("\n").trim().to_owned(),
        seed: get("Seed").and_then(|v| v.parse().ok()),
        steps: get("Steps").and_then(|v| v.parse().ok()),
        guidance: get("CFG scale").and_then(|v| v.parse().ok()).filter(|g: &f64| g.is_finite()),
        sampler: get("Sampler").and_then(|name| Sampler::from_schedule_type(name, get("Schedule type"))),
        rng: match get("RNG") {
            Some(name) => name.parse().ok(),
            // A1111 leaves out what it does by default.
            None => (!pairs.is_empty() && get("Version").is_none_or(is_a1111)).then_some(Rng::Cuda),
        },
        width: size.and_then(|(w, _)| w.trim().parse().ok()),
        height: size.and_then(|(_, h)| h.trim().parse().ok()),
        count: None,
        adapters,
    })
}

/// Whether a text's `Version` is A1111's (`v1.10.1`) or that of Forge, its fork (`f2.0.1`).
fn is_a1111(version: &str) -> bool {
    version.strip_prefix(['v', 'f']).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// `Key: value` pairs of one line; empty when the line is not made of such pairs.
fn pairs(line: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let Some((key, after)) = rest.split_once(':') else { return Vec::new() };
        let after = after.trim_start();
        let mut quoted = serde_json::Deserializer::from_str(after).into_iter::<String>();
        let (value, next) = match after.starts_with('"').then(|| quoted.next()).flatten() {
            Some(Ok(value)) => {
                let next = after.get(quoted.byte_offset()..).unwrap_or_default();
                (value, next.trim_start().trim_start_matches(','))
            }
            _ => match after.split_once(',') {
                Some((value, next)) => (value.trim().to_owned(), next),
                None => (after.trim().to_owned(), ""),
            },
        };
        found.push((key.trim().to_owned(), value));
        rest = next.trim_start();
    }
    found
}

/// Takes `<lora:name:strength>` tags out of a prompt.
fn take_lora_tags(prompt: &str) -> (String, Vec<AdapterUse>) {
    let (mut kept, mut adapters, mut rest) = (String::new(), Vec::new(), prompt);
    while let Some(start) = rest.find("<lora:") {
        let Some(length) = rest[start..].find('>') else { break };
        let mut parts = rest[start + "<lora:".len()..start + length].split(':');
        let name = parts.next().unwrap_or_default().trim().to_owned();
        let strength = parts.next().and_then(|s| s.trim().parse::<f64>().ok()).filter(|s| s.is_finite());
        kept.push_str(rest[..start].trim_end());
        if !name.is_empty() {
            adapters.push(AdapterUse { name, strength: strength.unwrap_or(1.0) });
        }
        rest = &rest[start + length + 1..];
    }
    kept.push_str(rest);
    (kept.trim().to_owned(), adapters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GenerationSpec, Rng};
    use proptest::prelude::*;

    fn recipe(prompt: &str, negative: &str, sampler: Sampler) -> Recipe {
        Recipe {
            spec: GenerationSpec {
                prompt: prompt.to_owned(),
                negative_prompt: negative.to_owned(),
                seed: 42,
                rng: Rng::Cpu,
                steps: 20,
                guidance: 7.5,
                sampler,
                width: 256,
                height: 320,
                count: 1,
                adapters: vec![AdapterUse { name: "adire@v2".to_owned(), strength: -0.8 }],
            },
            adapter_hashes: vec!["ab".repeat(32)],
            model: "starter, small".to_owned(),
            model_hash: "cd".repeat(32),
            device: "cpu".to_owned(),
            dtype: "f32".to_owned(),
            version: "0.1.0".to_owned(),
            fingerprint: String::new(),
            seconds: 1.5,
            switch_seconds: 0.0,
        }
    }

    #[test]
    fn the_text_is_a1111s() {
        let text = format(&recipe("red moons", "blur", Sampler::Dpmpp2mKarras));
        assert_eq!(
            text,
            "red moons <lora:adire@v2:-0.8>\nNegative prompt: blur\nSteps: 20, Sampler: DPM++ 2M, \
             Schedule type: Karras, CFG scale: 7.5, Seed: 42, Size: 256x320, Model hash: cdcdcdcdcd, \
             Model: \"starter, small\", RNG: CPU, Lora hashes: \"adire@v2: abababababab\", Version: Adire 0.1.0"
        );
    }

    #[test]
    fn every_sampler_survives_the_way_there_and_back() {
        for (sampler, rng) in Sampler::ALL.into_iter().zip(Rng::ALL.into_iter().cycle()) {
            let mut recipe = recipe("red moons", "", sampler);
            recipe.spec.rng = rng;
            let back = parse(&format(&recipe)).unwrap();
            let expected = GenerationRequest { count: None, ..recipe.spec.into() };
            assert_eq!(back, expected);
        }
    }

    #[test]
    fn a_text_from_the_web_is_read() {
        let text = "a cat\non a mat <lora:foo:0.5:0.2>\nNegative prompt: dog,\nugly\nSteps: 30, Sampler: Euler a, \
                    Schedule type: Automatic, CFG scale: 7, Seed: 1234567890, Size: 512x768, Clip skip: 2";
        let request = parse(text).unwrap();
        assert_eq!(request.prompt, "a cat\non a mat");
        assert_eq!(request.negative_prompt, "dog,\nugly");
        assert_eq!((request.sampler, request.seed), (Some(Sampler::EulerA), Some(1_234_567_890)));
        assert_eq!(request.adapters, vec![AdapterUse { name: "foo".to_owned(), strength: 0.5 }]);
        assert_eq!(request.rng, Some(Rng::Cuda));
    }

    #[test]
    fn whose_noise_a_seed_is_for_is_read() {
        let rng = |more: &str| parse(&format!("a cat\nSteps: 3, Sampler: Euler, Seed: 1{more}")).unwrap().rng;
        assert_eq!(rng(", RNG: CPU"), Some(Rng::Cpu));
        assert_eq!(rng(", RNG: NV, Version: v1.9.0"), Some(Rng::Cuda));
        assert_eq!(rng(", Version: v1.9.0"), Some(Rng::Cuda));
        assert_eq!(rng(", Version: ComfyUI"), None);
        assert_eq!(parse("a cat").unwrap().rng, None);
    }

    #[test]
    fn a_bare_prompt_with_a_colon_stays_a_prompt() {
        assert_eq!(parse("ratio: 2, nice").unwrap().prompt, "ratio: 2, nice");
        assert_eq!(parse(""), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC*") {
            let _ = parse(&text);
        }

        #[test]
        fn tags_and_quotes_do_not_make_it_panic(text in "[<>:lora\", \n\\\\Steps0-9é]{0,80}") {
            let _ = parse(&text);
        }
    }
}
