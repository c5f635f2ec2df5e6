//! Texts in images, there and back, and files that mean harm.

use adire_protocol::{AdapterUse, GenerationSpec, Recipe, Rng, Sampler, Template, infotext};

use crate::{Pixels, encode_png, encode_with_recipe, read_request};

fn pixels() -> Pixels {
    Pixels { width: 2, height: 2, rgb: (0..12).collect() }
}

fn recipe(prompt: &str) -> Recipe {
    Recipe {
        spec: GenerationSpec {
            prompt: prompt.to_owned(),
            negative_prompt: String::new(),
            seed: 42,
            rng: Rng::Cpu,
            steps: 20,
            guidance: 7.25,
            sampling: Sampler::EulerA.into(),
            width: 256,
            height: 320,
            count: 1,
            clip_skip: 2,
            adapters: vec![AdapterUse { te_strength: Some(-1.5), ..AdapterUse::new("adire@v2", 0.1 + 0.2) }],
            subseed: Some(7),
            subseed_strength: Some(0.3),
            template: Some(Template { prompt: "{a|b}".to_owned(), ..Template::default() }),
            ..GenerationSpec::default()
        },
        adapter_hashes: vec!["ab".repeat(32)],
        embeddings: Vec::new(),
        vae: None,
        model: "starter".to_owned(),
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
fn an_image_restores_its_request_exactly() {
    for prompt in ["red moons", "àdìrẹ ẹlẹ́kọ, 藍染め", "café", "line\nSteps: 1, Seed: 2, Size: 3x4"]
    {
        let recipe = recipe(prompt);
        let png = encode_with_recipe(&pixels(), &recipe).unwrap();
        assert_eq!(read_request(&png).unwrap(), recipe.spec.into());
    }
}

#[test]
fn other_programs_find_the_text_they_know() {
    for (prompt, kind) in [("café", &b"tEXtparameters\0"[..]), ("ẹlẹ́kọ", &b"iTXtparameters\0"[..])] {
        let png = encode_with_recipe(&pixels(), &recipe(prompt)).unwrap();
        assert!(png.windows(kind.len()).any(|window| window == kind), "{prompt}");
    }
    let text = infotext::format(&recipe("red moons"));
    let png = encode_png(&pixels(), &text).unwrap();
    let request = read_request(&png).unwrap();
    assert_eq!((request.prompt.as_str(), request.seed, request.width), ("red moons", Some(42), Some(256)));
}

#[test]
fn what_differs_from_run_to_run_is_not_in_the_file() {
    let slower = Recipe { seconds: 99.0, ..recipe("red moons") };
    let files = [recipe("red moons"), slower].map(|recipe| encode_with_recipe(&pixels(), &recipe).unwrap());
    assert_eq!(files[0], files[1]);
}

#[test]
fn pixels_of_the_wrong_number_are_refused() {
    let short = Pixels { rgb: vec![0; 11], ..pixels() };
    assert!(encode_png(&short, "").is_err());
    let empty = Pixels { width: 0, height: 0, rgb: Vec::new() };
    assert!(encode_png(&empty, "").is_err());
}

#[test]
fn broken_and_hostile_files_are_errors() {
    let png = encode_with_recipe(&pixels(), &recipe("red moons")).unwrap();
    for length in 0..png.len() {
        let _ = read_request(&png[..length]);
    }
    for at in 0..png.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bad = png.clone();
            bad[at] ^= flip;
            let _ = read_request(&bad);
        }
    }
    assert!(read_request(b"").is_err());
    assert!(read_request(b"GIF89a").is_err());
    assert!(read_request(&png[..40]).is_err());
    let plain = encode_png(&pixels(), "").unwrap();
    let sentence = read_request(&plain).unwrap_err().to_string();
    assert!(sentence.contains("no generation parameters"), "{sentence}");
}

#[test]
fn a_text_bomb_is_not_unpacked() {
    // 64 MiB of spaces, packed into a few kilobytes.
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 1, 1);
    encoder.add_ztxt_chunk("parameters".to_owned(), " ".repeat(64 << 20)).unwrap();
    encoder.write_header().unwrap().write_image_data(&[0]).unwrap();
    assert!(bytes.len() < 1 << 20);
    assert!(read_request(&bytes).is_err());
    // A long plain one is not looked at either.
    let long = encode_png(&pixels(), &format!("moons{}", " x".repeat(1 << 20))).unwrap();
    assert!(read_request(&long).is_err());
}
