//! A1111's generation text: the PNG `parameters` entry that sites and other programs read and write.
//!
//! Prompt (with `<lora:name:strength>` tags), a line `Negative prompt: …`, then one line of `Key: value`
//! pairs. A value that holds a comma, colon, quote or newline is written as a JSON string. Format as described in
//! AUTOMATIC1111's wiki and infotext parser; a last line of fewer than three pairs belongs to the prompt.

use crate::{
    AdapterUse, GenerationRequest, GenerationSpec, HiresRequest, HiresUpscaler, Recipe, Rng, Sampler,
    lora_tag,
};

/// The text for one picture.
pub fn format(recipe: &Recipe) -> String {
    let spec = &recipe.spec;
    let mut text = spec.prompt.clone();
    for adapter in spec.adapters.iter().filter(|adapter| !adapter.in_prompt) {
        text.push(' ');
        text.push_str(&lora_tag::write(adapter));
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
    ]);
    // A1111's key for either; it has no second pass over a picture that began with one.
    let strength = spec.hires.as_ref().map(|hires| hires.strength).or(spec.denoising_strength);
    if let Some(strength) = strength {
        pairs.push(("Denoising strength", strength.to_string()));
    }
    if spec.clip_skip > 1 {
        pairs.push(("Clip skip", spec.clip_skip.to_string()));
    }
    pairs.push(("RNG", spec.rng.label().to_owned()));
    if let Some(hires) = &spec.hires {
        match hires.scale {
            Some(scale) => pairs.push(("Hires upscale", scale.to_string())),
            None => pairs.push(("Hires resize", format!("{}x{}", hires.width, hires.height))),
        }
        pairs.push(("Hires steps", hires.steps.to_string()));
        pairs.push(("Hires upscaler", hires.upscaler.label().to_owned()));
    }
    if may_be_padded(spec) {
        pairs.push(("Pad conds", "True".to_owned()));
    }
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

/// Whether prompt and negative prompt may have different numbers of chunks, of which the shorter is padded here.
/// A1111 does so only when this pair asks for it; where the numbers are equal it changes nothing there. Up to 75
/// characters are one chunk (a token is at least one character).
fn may_be_padded(spec: &GenerationSpec) -> bool {
    let long = |text: &str| text.chars().count() > 75 || text.contains("BREAK");
    spec.guidance > 1.0 && (long(&lora_tag::without(&spec.prompt)) || long(&spec.negative_prompt))
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
    let size_of = |key: &str| get(key).and_then(|size| size.split_once('x'));
    let size = size_of("Size");
    let strength =
        get("Denoising strength").and_then(|v| v.parse().ok()).filter(|s: &f64| (0.0..=1.0).contains(s));
    let resized = size_of("Hires resize");
    let has_hires =
        ["Hires upscale", "Hires resize", "Hires upscaler"].into_iter().any(|key| get(key).is_some());
    let hires = has_hires.then(|| HiresRequest {
        scale: match resized {
            Some(_) => None,
            None => get("Hires upscale").and_then(|v| v.parse().ok()).filter(|s: &f64| s.is_finite()),
        },
        width: resized.and_then(|(w, _)| w.trim().parse().ok()),
        height: resized.and_then(|(_, h)| h.trim().parse().ok()),
        strength,
        // A1111's 0 stands for those of the first pass.
        steps: get("Hires steps").and_then(|v| v.parse().ok()).filter(|steps| *steps > 0),
        upscaler: get("Hires upscaler").map(HiresUpscaler::from_label),
    });
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
        // A1111 writes it only when something is skipped.
        clip_skip: match get("Clip skip") {
            Some(text) => text.parse().ok().filter(|n| *n > 0),
            None => (!pairs.is_empty()).then_some(1),
        },
        adapters,
        // The text does not name the pictures that it began with; its strength is for whoever puts one there.
        init_image: None,
        mask: None,
        denoising_strength: strength.filter(|_| hires.is_none()),
        keep_unmasked: None,
        hires,
        strict: false,
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

/// Takes `<lora:…>` tags out of a prompt; what cannot be read of one is left out.
fn take_lora_tags(prompt: &str) -> (String, Vec<AdapterUse>) {
    let (mut kept, mut adapters, mut at) = (String::new(), Vec::new(), 0);
    for tag in lora_tag::find(prompt) {
        kept.push_str(prompt[at..tag.range.start].trim_end());
        at = tag.range.end;
        let adapter = tag.adapter.unwrap_or_else(|_| AdapterUse::new(prompt[tag.name].trim(), 1.0));
        if !adapter.name.is_empty() {
            adapters.push(AdapterUse { in_prompt: false, ..adapter });
        }
    }
    kept.push_str(&prompt[at..]);
    (kept.trim().to_owned(), adapters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GenerationSpec, HiresSpec, Rng};
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
                clip_skip: 1,
                adapters: vec![AdapterUse::new("adire@v2", -0.8)],
                init_image: None,
                mask: None,
                denoising_strength: None,
                keep_unmasked: None,
                hires: None,
            },
            adapter_hashes: vec!["ab".repeat(32)],
            model: "starter, small".to_owned(),
            model_hash: "cd".repeat(32),
            device: "cpu".to_owned(),
            dtype: "f32".to_owned(),
            version: "0.1.0".to_owned(),
            fingerprint: String::new(),
            withheld: false,
            seconds: 1.5,
            switch_seconds: 0.0,
            warnings: Vec::new(),
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
        let foo = AdapterUse { te_strength: Some(0.5), ..AdapterUse::new("foo", 0.2) };
        assert_eq!((request.adapters, request.clip_skip), (vec![foo], Some(2)));
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
    fn tags_of_the_prompt_are_written_once_and_clip_skip_only_when_something_is_skipped() {
        let mut recipe = recipe("red <lora:adire@v1:0.5:1> moons", "", Sampler::Euler);
        let tagged =
            AdapterUse { te_strength: Some(0.5), in_prompt: true, ..AdapterUse::new("adire@v1", 1.0) };
        recipe.spec.adapters.push(tagged);
        recipe.adapter_hashes.push("ef".repeat(32));
        recipe.spec.clip_skip = 2;
        assert_eq!(
            format(&recipe),
            "red <lora:adire@v1:0.5:1> moons <lora:adire@v2:-0.8>\nSteps: 20, Sampler: Euler, CFG scale: 7.5, \
             Seed: 42, Size: 256x320, Model hash: cdcdcdcdcd, Model: \"starter, small\", Clip skip: 2, RNG: CPU, \
             Lora hashes: \"adire@v2: abababababab, adire@v1: efefefefefef\", Version: Adire 0.1.0"
        );
        assert_eq!(parse(&format(&recipe)).unwrap().clip_skip, Some(2));
    }

    #[test]
    fn a_second_pass_is_written_and_read_as_in_a1111() {
        let mut recipe = recipe("red moons", "", Sampler::Euler);
        let hires = |scale| HiresSpec {
            scale,
            width: 512,
            height: 640,
            strength: 0.6,
            steps: 12,
            upscaler: HiresUpscaler::Latent,
        };
        for (scale, line) in [(Some(2.0), "Hires upscale: 2,"), (None, "Hires resize: 512x640,")] {
            recipe.spec.hires = Some(hires(scale));
            let text = format(&recipe);
            let rest = format!("RNG: CPU, {line} Hires steps: 12, Hires upscaler: Latent, Lora");
            assert!(text.contains(&rest) && text.contains(", Denoising strength: 0.6,"), "{text}");
            let expected = GenerationRequest { count: None, ..recipe.spec.clone().into() };
            assert_eq!(parse(&text), Some(expected));
        }
        let theirs = "a cat\nSteps: 20, Sampler: Euler a, Seed: 1, Size: 512x512, Denoising strength: 0.7, \
                      Hires upscale: 1.5, Hires upscaler: R-ESRGAN 4x+, Version: v1.10.1";
        let read = parse(theirs).unwrap();
        let expected = HiresRequest {
            scale: Some(1.5),
            strength: Some(0.7),
            upscaler: Some(HiresUpscaler::Image),
            ..HiresRequest::default()
        };
        assert_eq!((read.hires, read.denoising_strength), (Some(expected), None));
    }

    #[test]
    fn the_strength_of_a_picture_from_a_picture_is_written_and_read() {
        let mut recipe = recipe("red moons", "", Sampler::Euler);
        (recipe.spec.init_image, recipe.spec.denoising_strength) = (Some("ab".repeat(32)), Some(0.45));
        let text = format(&recipe);
        assert!(text.contains("Denoising strength: 0.45, RNG"), "{text}");
        let read = parse(&text).unwrap();
        assert_eq!((read.denoising_strength, read.init_image, read.hires), (Some(0.45), None, None));
    }

    #[test]
    fn a1111_is_told_to_pad_where_we_do() {
        let padded = |prompt: &str, negative: &str| {
            format(&recipe(prompt, negative, Sampler::Euler)).contains(", Pad conds: True,")
        };
        assert!(!padded("red moons", "blur"));
        assert!(padded("red BREAK moons", "blur"));
        assert!(padded("red", &"blur, ".repeat(20)));
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
