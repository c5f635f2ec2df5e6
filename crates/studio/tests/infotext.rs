//! Image files as other programs save them; each stands for a kind of report about programs that misread it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path};

use adire_protocol::{AdapterUse, GenerationRequest, HiresUpscaler, Rng, Sampler};
use adire_studio::{read_recipe, read_request};

fn file(name: &str) -> Vec<u8> {
    fs::read(Path::new("tests/infotext").join(name)).unwrap()
}

fn read(name: &str) -> GenerationRequest {
    read_request(&file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The numbers that all of these files hold.
fn same(name: &str) -> GenerationRequest {
    let request = read(name);
    assert_eq!(request.steps, Some(23), "{name}: {request:?}");
    assert_eq!((request.guidance, request.sampling()), (Some(6.5), Some(Sampler::EulerA.bare())), "{name}");
    assert!(!request.negative_prompt.contains("Steps"), "{name}: {}", request.negative_prompt);
    request
}

fn size(request: &GenerationRequest) -> (Option<u32>, Option<u32>) {
    (request.width, request.height)
}

const LARGE: (Option<u32>, Option<u32>) = (Some(512), Some(768));

#[test]
fn plain_and_odd_lines_of_parameters_are_read() {
    for name in [
        "00-plain.png",
        "01-dynamic-prompts.png",
        "02-newline-in-value.png",
        "07-after-pixels.png",
        "11-one-line.png",
        "12-civitai-generator.png",
        "21-trailing-flag.png",
        "22-ensd.png",
        "30-jpeg.jpg",
        "31-webp.webp",
    ] {
        let request = same(name);
        assert_eq!(request.prompt, "a blue cloth with stars", "{name}");
        assert_eq!(request.negative_prompt, "blurry, ugly", "{name}");
        assert_eq!((request.seed, size(&request)), (Some(12_345), LARGE), "{name}");
        assert_eq!(request.warnings, [""; 0], "{name}");
    }
    assert_eq!(read("00-plain.png").unknown, [""; 0]);
    assert_eq!(read("01-dynamic-prompts.png").unknown, [""; 0]);
    let hires = read("02-newline-in-value.png").hires.unwrap();
    assert_eq!((hires.scale, hires.steps, hires.denoising_strength), (Some(2.0), Some(10), Some(0.6)));
    assert_eq!(hires.upscaler, Some(HiresUpscaler::Latent));
    assert_eq!(read("21-trailing-flag.png").unknown, ["Tiling"]);
    let many = read("23-negative-multiline.png");
    assert_eq!(many.prompt, "stars,\nblue cloth");
    assert_eq!(many.negative_prompt, "blurry,\n(bad:1.3),\nEasyNegative");
    assert_eq!(many.unknown.len(), 3, "{:?}", many.unknown);
}

#[test]
fn a_hires_size_of_nothing_is_not_used() {
    let request = read("03-sdnext-hires.png");
    let hires = request.hires.clone().unwrap();
    assert_eq!((hires.scale, hires.width, hires.height), (Some(1.5), None, None));
    assert_eq!((hires.steps, hires.denoising_strength), (Some(25), Some(0.5)));
    assert_eq!((request.seed, request.steps), (Some(1_003_952_981), Some(10)));
    assert!(request.warnings[0].contains("ESRGAN 4x Valar"), "{:?}", request.warnings);
}

#[test]
fn json_of_other_programs_is_read_and_is_never_a_prompt() {
    for (name, sampler) in [
        ("04-swarm-one-line.png", Sampler::Euler),
        ("05-swarm-indented.png", Sampler::Euler),
        ("06-fooocus.png", Sampler::EulerA),
    ] {
        let request = read(name);
        assert_eq!(
            (request.prompt.as_str(), request.negative_prompt.as_str()),
            ("a blue cloth with stars", "blurry")
        );
        assert_eq!(
            (request.seed, request.steps, request.guidance),
            (Some(12_345), Some(23), Some(6.5)),
            "{name}"
        );
        assert_eq!(
            (size(&request), request.sampling(), request.rng),
            (LARGE, Some(sampler.bare()), Some(Rng::Cpu)),
            "{name}"
        );
    }
    assert!(read("06-fooocus.png").unknown.contains(&"scheduler: karras".to_owned()));
}

#[test]
fn utf8_is_read_as_utf8() {
    let request = same("08-utf8-in-text.png");
    assert_eq!(
        (request.prompt.as_str(), request.negative_prompt.as_str()),
        ("青い布に白い星, café", "ぼやけ")
    );
}

#[test]
fn seeds_stay_or_are_reported() {
    let far = same("09-seed-64-bit.png");
    assert_eq!(far.seed, None);
    assert!(far.warnings[0].contains("6687881544318117707"), "{:?}", far.warnings);
    let random = same("10-seed-minus-one.png");
    assert_eq!((random.seed, random.unknown.len(), random.warnings.len()), (None, 0, 0));
}

#[test]
fn adapters_keep_their_strength() {
    for name in ["14-block-weights.png", "15-block-weights-named.png"] {
        let request = same(name);
        assert_eq!(request.adapters, [AdapterUse::new("adire", 0.5)], "{name}");
        assert_eq!(request.prompt, "a blue cloth with stars", "{name}");
        assert!(request.warnings[0].starts_with("Block weights are not used"), "{:?}", request.warnings);
    }
    assert_eq!(same("16-lora-names.png").adapters, [AdapterUse::new("Adire Cloth_v1.5-V1", 0.8)]);
}

#[test]
fn an_empty_prompt_and_img2img_are_read() {
    let empty = same("17-empty-prompt.png");
    assert_eq!((empty.prompt.as_str(), empty.negative_prompt.as_str()), ("", "blurry"));
    let begun = same("20-img2img.png");
    assert_eq!((begun.denoising_strength, begun.init_image), (Some(0.55), None));
}

#[test]
fn what_is_not_understood_is_named() {
    let unknown = read("18-unknown-sampler.png");
    assert_eq!(unknown.sampling(), None);
    assert_eq!(unknown.unknown, ["Sampler: DPM++ 3M SDE", "Schedule type: Exponential"]);
    let karras = read("19-euler-karras.png");
    assert_eq!(
        (karras.sampling(), karras.unknown),
        (Some(Sampler::Euler.bare()), vec!["Schedule type: Karras".to_owned()])
    );
    let ensd = read("22-ensd.png");
    assert_eq!(ensd.unknown, ["ENSD: 31337", "Eta: 0.67"]);
    assert_eq!((ensd.subseed, ensd.subseed_strength), (Some(99), Some(0.3)));
    let civitai = read("12-civitai-generator.png");
    assert_eq!(civitai.unknown, ["Civitai lora: v1 (model version 349887) at strength 0.7"]);
}

#[test]
fn foreign_files_have_no_recipe_of_ours() {
    for name in ["00-plain.png", "30-jpeg.jpg", "31-webp.webp"] {
        assert!(read_recipe(&file(name)).unwrap_err().to_string().contains("has no Adire recipe"));
    }
}
