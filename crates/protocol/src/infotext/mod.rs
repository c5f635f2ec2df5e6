//! A1111's generation text: the PNG `parameters` entry that sites and other programs read and write.
//!
//! Prompt (with `<lora:name:strength>` tags), a line `Negative prompt: …`, then one line of `Key: value`
//! pairs. A value that holds a comma, colon, quote or newline is written as a JSON string. Format as described in
//! AUTOMATIC1111's wiki and infotext parser.

mod pairs;
mod read;

pub use read::parse;
pub(crate) use read::{has_parameters, take_lora_tags};

use crate::{EmbeddingUse, GenerationRequest, GenerationSpec, Recipe, fields::FIELDS, lora_tag};

/// A1111's order.
const ORDER: [&str; 19] = [
    "Steps",
    "Sampler",
    "Schedule type",
    "CFG scale",
    "Seed",
    "Size",
    "Model hash",
    "Model",
    "VAE hash",
    "VAE",
    "Variation seed",
    "Variation seed strength",
    "Denoising strength",
    "Clip skip",
    "RNG",
    "Hires upscale",
    "Hires resize",
    "Hires steps",
    "Hires upscaler",
];

/// The text for one image.
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
    let mut request = GenerationRequest::from(spec.clone());
    // A1111 writes these two only where they are not what it does by default.
    request.clip_skip = request.clip_skip.filter(|skip| *skip > 1);
    request.schedule = request.schedule.filter(|_| spec.sampling.schedule_type().is_some());
    let mut pairs: Vec<(&str, String)> = Vec::new();
    for field in &FIELDS {
        let value = field.slot(&mut request).and_then(|slot| slot.a1111());
        pairs.extend(field.infotext.zip(value));
    }
    pairs.extend([
        ("Size", format!("{}x{}", spec.width, spec.height)),
        ("Model hash", recipe.model_hash.chars().take(10).collect()),
        ("Model", recipe.model.clone()),
    ]);
    if let Some(vae) = &recipe.vae {
        pairs.push(("VAE hash", vae.hash.chars().take(10).collect()));
        pairs.push(("VAE", vae.name.clone()));
    }
    if let Some(hires) = spec.hires.as_ref().filter(|hires| hires.scale.is_none()) {
        pairs.push(("Hires resize", format!("{}x{}", hires.width, hires.height)));
    }
    // What is in no order of A1111's stands behind its own.
    pairs.sort_by_key(|(key, _)| ORDER.iter().position(|known| known == key).unwrap_or(ORDER.len()));
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
    if !recipe.embeddings.is_empty() {
        let hash =
            |one: &EmbeddingUse| format!("{}: {}", one.word, one.hash.chars().take(12).collect::<String>());
        let hashes: Vec<String> = recipe.embeddings.iter().map(hash).collect();
        pairs.push(("TI hashes", hashes.join(", ")));
    }
    if let Some(template) = &spec.template {
        // As the extension dynamic prompts names them.
        pairs.push(("Template", template.prompt.clone()));
        if !template.negative_prompt.is_empty() {
            pairs.push(("Negative Template", template.negative_prompt.clone()));
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        AdapterUse, HiresRequest, HiresSpec, HiresUpscaler, Rng, Sampler, Sampling, Template, VaeUse,
    };
    use proptest::prelude::*;

    fn recipe(prompt: &str, negative: &str, sampling: impl Into<Sampling>) -> Recipe {
        Recipe {
            spec: GenerationSpec {
                prompt: prompt.to_owned(),
                negative_prompt: negative.to_owned(),
                seed: 42,
                steps: 20,
                guidance: 7.5,
                sampling: sampling.into(),
                width: 256,
                height: 320,
                count: 1,
                clip_skip: 1,
                adapters: vec![AdapterUse::new("adire@v2", -0.8)],
                ..GenerationSpec::default()
            },
            adapter_hashes: vec!["ab".repeat(32)],
            embeddings: Vec::new(),
            vae: None,
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
        let text = format(&recipe("red moons", "blur", Sampler::Dpmpp2m.automatic()));
        assert_eq!(
            text,
            "red moons <lora:adire@v2:-0.8>\nNegative prompt: blur\nSteps: 20, Sampler: DPM++ 2M, \
             Schedule type: Karras, CFG scale: 7.5, Seed: 42, Size: 256x320, Model hash: cdcdcdcdcd, \
             Model: \"starter, small\", RNG: CPU, Lora hashes: \"adire@v2: abababababab\", Version: Adire 0.1.0"
        );
    }

    #[test]
    fn embeddings_and_another_vae_are_named_as_in_a1111() {
        let mut recipe = recipe("red moons by mystyle", "", Sampler::Euler);
        let embedding =
            |word: &str, hash: &str| EmbeddingUse { word: word.to_owned(), hash: hash.repeat(32) };
        recipe.embeddings = vec![embedding("mystyle", "12"), embedding("EasyNegative", "34")];
        recipe.vae = Some(VaeUse { name: "some.safetensors".to_owned(), hash: "56".repeat(32) });
        let text = format(&recipe);
        assert!(
            text.contains(", TI hashes: \"mystyle: 121212121212, EasyNegative: 343434343434\", "),
            "{text}"
        );
        assert!(text.contains(", VAE hash: 5656565656, VAE: some.safetensors, "), "{text}");
        assert_eq!(parse(&text).unwrap().prompt, "red moons by mystyle");
    }

    #[test]
    fn every_sampler_survives_the_way_there_and_back() {
        for (sampling, rng) in Sampling::ALL.into_iter().zip(Rng::ALL.into_iter().cycle()) {
            let mut recipe = recipe("red moons", "", sampling);
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
        assert_eq!((request.sampling(), request.seed), (Some(Sampler::EulerA.into()), Some(1_234_567_890)));
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
            denoising_strength: 0.6,
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
            denoising_strength: Some(0.7),
            upscaler: Some(HiresUpscaler::Image),
            ..HiresRequest::default()
        };
        assert_eq!((read.hires, read.denoising_strength), (Some(expected), None));
    }

    #[test]
    fn the_denoising_strength_of_img2img_is_written_and_read() {
        let mut recipe = recipe("red moons", "", Sampler::Euler);
        (recipe.spec.init_image, recipe.spec.denoising_strength) = (Some("ab".repeat(32)), Some(0.45));
        let text = format(&recipe);
        assert!(text.contains("Denoising strength: 0.45, RNG"), "{text}");
        let read = parse(&text).unwrap();
        assert_eq!((read.denoising_strength, read.init_image, read.hires), (Some(0.45), None, None));
    }

    #[test]
    fn a_template_is_written_beside_the_prompt_that_it_became() {
        let mut recipe = recipe("red moons", "", Sampler::Euler);
        let template = Template { prompt: "{red|blue} moons".to_owned(), ..Template::default() };
        recipe.spec.template = Some(template);
        let text = format(&recipe);
        assert!(text.starts_with("red moons <lora"), "{text}");
        assert!(text.contains(", Template: {red|blue} moons, Version"), "{text}");
        let read = parse(&text).unwrap();
        assert_eq!((read.prompt.as_str(), read.unknown), ("red moons", Vec::new()));
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
    fn every_field_of_the_table_is_in_the_text_and_read_from_it() {
        let mut recipe = recipe("red moons", "", Sampler::Dpmpp2m.automatic());
        recipe.spec.clip_skip = 2;
        (recipe.spec.subseed, recipe.spec.subseed_strength) = (Some(9), Some(0.25));
        recipe.spec.hires = Some(HiresSpec {
            scale: Some(2.0),
            width: 512,
            height: 640,
            denoising_strength: 0.6,
            steps: 12,
            upscaler: HiresUpscaler::Latent,
        });
        let text = format(&recipe);
        let mut read = parse(&text).unwrap();
        for field in FIELDS.iter().filter(|field| field.name != "denoising_strength") {
            let Some(key) = field.infotext else { continue };
            assert!(text.contains(&format!("{key}: ")), "{key} is not in {text}");
            assert_ne!(field.text(&mut read), "", "{key} is not read");
        }
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
