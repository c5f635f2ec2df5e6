//! Images made from images against diffusers (`tools/goldens/img2img.py`).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, unreachable_pub, reason = "each test file uses a part")]
mod common;

use std::{collections::HashMap, ops::ControlFlow};

use adire_engine::{EngineError, InitImage, InpaintMask, LoadOptions, Output, Pipeline, Rgb8, StepReport};
use adire_protocol::{
    Defaults, GenerationRequest, GenerationSpec, HiresRequest, Limits, Sampler, SamplerName, Sampling,
};
use candle_core::{DType, Tensor};
use common::{golden, relative_error, tensors};
use serde::Deserialize;

#[derive(Deserialize)]
struct Request {
    prompt: String,
    negative: String,
    steps: u32,
    guidance: f64,
    seed: u64,
    width: u32,
    height: u32,
}

fn metadata(file: &str, key: &str) -> String {
    let bytes = std::fs::read(golden(file)).unwrap();
    let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    metadata.metadata().as_ref().unwrap()[key].clone()
}

/// The request of `images.py`, changed and checked.
fn spec(change: impl FnOnce(&mut GenerationRequest)) -> GenerationSpec {
    let request: Request = serde_json::from_str(&metadata("images.safetensors", "request")).unwrap();
    let mut wanted = GenerationRequest {
        prompt: request.prompt,
        negative_prompt: request.negative,
        steps: Some(request.steps),
        guidance: Some(request.guidance),
        seed: Some(request.seed),
        ..GenerationRequest::default()
    };
    change(&mut wanted);
    let (width, height) = (request.width, request.height);
    let defaults = Defaults { steps: 1, guidance: 1.0, width, height, sampling: Sampler::Ddim.into() };
    // The golden's images are smaller and of odder sizes than people may ask for.
    let limits = Limits { min_size: 8, size_step: 4, ..Limits::default() };
    wanted.validate(&limits, &defaults, 0).unwrap()
}

fn from_init_image(sampling: impl Into<Sampling>, strength: f64, masked: bool) -> GenerationSpec {
    let sampling = sampling.into();
    spec(|r| {
        (r.sampler, r.denoising_strength) = (Some(sampling.into()), Some(strength));
        r.init_image = Some("ab".repeat(32));
        if masked {
            (r.mask, r.keep_unmasked) = (Some("cd".repeat(32)), Some(false));
        }
    })
}

fn pipeline() -> Pipeline {
    Pipeline::load(&golden("pipeline"), &LoadOptions::default()).unwrap()
}

fn bytes(tensor: &Tensor) -> Vec<u8> {
    tensor.flatten_all().unwrap().to_dtype(DType::U8).unwrap().to_vec1().unwrap()
}

fn init(goldens: &HashMap<String, Tensor>) -> (Rgb8, InpaintMask) {
    let (height, width, _) = goldens["init"].dims3().unwrap();
    let (width, height) = (width as u32, height as u32);
    let inpaint = bytes(&goldens["mask"]).into_iter().map(|grey| grey >= 128).collect();
    (Rgb8 { width, height, data: bytes(&goldens["init"]) }, InpaintMask { width, height, inpaint })
}

fn check(name: &str, output: &Output, goldens: &HashMap<String, Tensor>) {
    let latents = relative_error(&output.latents, &goldens[&format!("{name}.latents")]);
    assert!(latents < 1e-3, "{name}: relative error of the latents {latents:.1e}");
    let expected = &goldens[&format!("{name}.pixels")];
    let (height, width, _) = expected.dims3().unwrap();
    assert_eq!((output.image.width as usize, output.image.height as usize), (width, height));
    let most = output.image.data.iter().zip(bytes(expected)).map(|(a, b)| a.abs_diff(b)).max().unwrap();
    assert!(most <= 2, "{name}: a pixel is off by {most}");
}

fn go_on(_: StepReport) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn every_sampler_begins_in_the_middle_as_diffusers_does() {
    let (goldens, mut pipeline) = (tensors("img2img.safetensors"), pipeline());
    let (image, _) = init(&goldens);
    let init_image = Some(InitImage { image: &image, mask: None });
    let strength: f64 = metadata("img2img.safetensors", "strength").parse().unwrap();
    for sampling in Sampling::ALL {
        let spec = from_init_image(sampling, strength, false);
        let output = pipeline.generate_from(&spec, init_image, &mut go_on).unwrap();
        check(&format!("img2img/{sampling}"), &output, &goldens);
    }
    for strength in ["0.2", "0.9", "1.0"] {
        for sampler in [Sampler::Pndm, Sampler::Euler] {
            let spec = from_init_image(sampler, strength.parse().unwrap(), false);
            let output = pipeline.generate_from(&spec, init_image, &mut go_on).unwrap();
            check(&format!("img2img/{sampler}/{strength}"), &output, &goldens);
        }
    }
}

#[test]
fn every_sampler_paints_within_a_mask_as_diffusers_does() {
    let (goldens, mut pipeline) = (tensors("img2img.safetensors"), pipeline());
    let (image, mask) = init(&goldens);
    let init_image = Some(InitImage { image: &image, mask: Some(&mask) });
    let strength: f64 = metadata("img2img.safetensors", "strength").parse().unwrap();
    for sampling in Sampling::ALL {
        let spec = from_init_image(sampling, strength, true);
        let output = pipeline.generate_from(&spec, init_image, &mut go_on).unwrap();
        check(&format!("inpaint/{sampling}"), &output, &goldens);
    }
    let spec = from_init_image(Sampler::Euler, 1.0, true);
    let output = pipeline.generate_from(&spec, init_image, &mut go_on).unwrap();
    check("inpaint/euler/1.0", &output, &goldens);

    let kept = GenerationSpec { keep_unmasked: Some(true), ..spec };
    let kept = pipeline.generate_from(&kept, init_image, &mut go_on).unwrap().image;
    assert_ne!(kept, output.image);
    for (i, inpaint) in mask.inpaint.iter().enumerate() {
        let expected = if *inpaint { &output.image } else { &image };
        assert_eq!(kept.data[3 * i..3 * i + 3], expected.data[3 * i..3 * i + 3], "pixel {i}");
    }
}

#[test]
fn a_second_pass_over_latents_equals_diffusers() {
    let (goldens, mut pipeline) = (tensors("img2img.safetensors"), pipeline());
    let cases: HashMap<String, (SamplerName, u32, u32, u32, f64)> =
        serde_json::from_str(&metadata("img2img.safetensors", "hires")).unwrap();
    assert_eq!(cases.len(), 3);
    for (name, (sampler, width, height, steps, strength)) in cases {
        let spec = spec(|r| {
            r.sampler = Some(sampler);
            r.hires = Some(HiresRequest {
                width: Some(width),
                height: Some(height),
                denoising_strength: Some(strength),
                steps: Some(steps),
                ..HiresRequest::default()
            });
        });
        let mut seen = Vec::new();
        let output = pipeline.generate_from(&spec, None, &mut |step| {
            seen.push((step.step, step.steps, step.preview.width));
            ControlFlow::Continue(())
        });
        check(&name, &output.unwrap(), &goldens);
        let first = (1..=7).map(|step| (step, 7 + steps, 16));
        let second = (8..=7 + steps).map(|step| (step, 7 + steps, width / 4));
        assert_eq!(seen, first.chain(second).collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn a_second_pass_over_the_image_is_larger_and_repeatable() {
    let mut pipeline = pipeline();
    let mut draw = |json: &str| {
        let spec = spec(|r| r.hires = serde_json::from_str(json).unwrap());
        pipeline.generate_from(&spec, None, &mut go_on).unwrap().image
    };
    let first = draw("null");
    let weak = draw(r#"{"scale": 2, "strength": 0.05, "steps": 1, "upscaler": "image"}"#);
    let strong = draw(r#"{"scale": 2, "strength": 1.0, "steps": 3, "upscaler": "image"}"#);
    assert_eq!((weak.width, weak.height), (2 * first.width, 2 * first.height));
    assert_eq!(draw(r#"{"scale": 2, "strength": 1.0, "steps": 3, "upscaler": "image"}"#), strong);
    assert_ne!(draw(r#"{"scale": 2, "strength": 1.0, "steps": 3, "upscaler": "latent"}"#), strong);
}

#[test]
fn a_break_ends_either_pass_within_one_step() {
    let mut pipeline = pipeline();
    let spec = spec(|r| r.hires = Some(HiresRequest { steps: Some(4), ..HiresRequest::default() }));
    for last in [1, 7, 8, 10] {
        let mut calls = 0;
        let stopped = pipeline.generate_from(&spec, None, &mut |step| {
            calls += 1;
            if step.step == last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(matches!(stopped, Err(EngineError::Cancelled)));
        assert_eq!(calls, last);
    }
}

#[test]
fn steps_that_are_left_out_are_not_counted() {
    let (goldens, mut pipeline) = (tensors("img2img.safetensors"), pipeline());
    let (image, mask) = init(&goldens);
    for sampling in Sampling::ALL {
        let mut seen = Vec::new();
        let init_image = InitImage { image: &image, mask: Some(&mask) };
        let output =
            pipeline.generate_from(&from_init_image(sampling, 0.6, true), Some(init_image), &mut |step| {
                seen.push((step.step, step.steps));
                ControlFlow::Continue(())
            });
        output.unwrap();
        assert_eq!(seen, [(1, 4), (2, 4), (3, 4), (4, 4)], "{sampling}");
    }
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let (goldens, mut pipeline) = (tensors("img2img.safetensors"), pipeline());
    let (image, mask) = init(&goldens);
    let small = Rgb8 { width: 32, height: 24, data: vec![0; 3 * 32 * 24] };
    let (plain, named) = (spec(|_| ()), from_init_image(Sampler::Ddim, 0.6, false));
    let masked = from_init_image(Sampler::Ddim, 0.6, true);
    let with = |image, mask| Some(InitImage { image, mask });
    let mut refused = |spec: &GenerationSpec, init_image: Option<InitImage<'_>>| {
        let result = pipeline.generate_from(spec, init_image, &mut |_| panic!("nothing should be computed"));
        assert!(matches!(result, Err(EngineError::Request(_))), "{result:?}");
    };
    refused(&plain, with(&image, None));
    refused(&named, None);
    refused(&named, with(&image, Some(&mask)));
    refused(&named, with(&small, None));
    refused(&masked, with(&image, None));
    let narrow = InpaintMask { width: 32, ..mask.clone() };
    refused(&masked, with(&image, Some(&narrow)));
    let none_left = GenerationSpec { denoising_strength: Some(0.1), ..named };
    refused(&none_left, with(&image, None));
}
