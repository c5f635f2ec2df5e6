//! Whole images against diffusers' StableDiffusionPipeline (`tools/goldens/images.py`).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, unreachable_pub, reason = "each test file uses a part")]
mod common;

use std::{collections::HashMap, ops::ControlFlow, path::Path, sync::Arc};

use adire_engine::{
    Embedding, EngineError, LoadOptions, Output, Pipeline, Rgb8,
    adapter::{Adapter, bundled_words},
};
use adire_protocol::{GenerationSpec, Rng, Sampler, Sampling};
use candle_core::{DType, Device, Tensor};
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

fn spec() -> GenerationSpec {
    let bytes = std::fs::read(golden("images.safetensors")).unwrap();
    let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let text = &metadata.metadata().as_ref().unwrap()["request"];
    let Request { prompt, negative, steps, guidance, seed, width, height } =
        serde_json::from_str(text).unwrap();
    GenerationSpec {
        prompt,
        negative_prompt: negative,
        seed,
        rng: Rng::Cpu,
        steps,
        guidance,
        sampling: Sampler::Ddim.into(),
        width,
        height,
        count: 1,
        clip_skip: 1,
        ..GenerationSpec::default()
    }
}

fn pipeline() -> Pipeline {
    Pipeline::load(&golden("pipeline"), &LoadOptions::default()).unwrap()
}

fn render(pipeline: &mut Pipeline, spec: &GenerationSpec) -> Output {
    pipeline.generate(spec, &mut |_| ControlFlow::Continue(())).unwrap()
}

fn check(name: &str, output: &Output, goldens: &HashMap<String, Tensor>) {
    let latents = relative_error(&output.latents, &goldens[&format!("{name}.latents")]);
    assert!(latents < 1e-3, "{name}: relative error of the latents {latents:.1e}");
    let expected = &goldens[&format!("{name}.pixels")];
    let (height, width, _) = expected.dims3().unwrap();
    assert_eq!((output.image.width as usize, output.image.height as usize), (width, height));
    let expected = expected.flatten_all().unwrap().to_dtype(DType::U8).unwrap().to_vec1::<u8>().unwrap();
    let most = output.image.data.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    assert!(most <= 2, "{name}: a pixel is off by {most}");
}

#[test]
fn every_samplers_image_equals_diffusers() {
    let (goldens, mut pipeline) = (tensors("images.safetensors"), pipeline());
    for sampling in Sampling::ALL {
        let output = render(&mut pipeline, &GenerationSpec { sampling, ..spec() });
        check(&sampling.to_string(), &output, &goldens);
    }
}

#[test]
fn guidance_negative_prompt_and_size_have_diffusers_effect() {
    let (goldens, mut pipeline) = (tensors("images.safetensors"), pipeline());
    let output = render(&mut pipeline, &GenerationSpec { guidance: 1.0, ..spec() });
    check("unguided", &output, &goldens);
    let output = render(&mut pipeline, &GenerationSpec { negative_prompt: String::new(), ..spec() });
    check("no-negative", &output, &goldens);
    let output = render(&mut pipeline, &GenerationSpec { prompt: String::new(), ..spec() });
    check("empty", &output, &goldens);
    let output = render(
        &mut pipeline,
        &GenerationSpec { sampling: Sampler::Pndm.into(), width: 64, height: 64, ..spec() },
    );
    check("square", &output, &goldens);
}

#[test]
fn a_variation_goes_from_one_seeds_image_to_the_others() {
    let mut pipeline = pipeline();
    for rng in Rng::ALL {
        let small = GenerationSpec { width: 32, height: 32, steps: 2, seed: 5, rng, ..spec() };
        let other = GenerationSpec { seed: 9, ..small.clone() };
        let mut varied = |strength| {
            let (subseed, subseed_strength) = (Some(9), Some(strength));
            render(&mut pipeline, &GenerationSpec { subseed, subseed_strength, ..small.clone() }).image
        };
        let (whole, part) = (varied(1.0), varied(0.35));
        let (first, second) = (render(&mut pipeline, &small).image, render(&mut pipeline, &other).image);
        let apart =
            |image: &Rgb8| image.data.iter().zip(&second.data).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(apart(&whole) <= 1, "at strength 1 it is the other seed's image");
        assert!(part != first && part != second);
    }
}

#[test]
fn prompts_are_read_as_a1111_reads_them() {
    let mut pipeline = pipeline();
    let small = GenerationSpec { width: 32, height: 32, steps: 2, ..spec() };
    let mut draw = |change: &dyn Fn(&mut GenerationSpec)| {
        let mut spec = small.clone();
        change(&mut spec);
        render(&mut pipeline, &spec).image
    };
    let plain = draw(&|_| ());
    assert_eq!(draw(&|s| s.prompt.push_str("<lora:any@v1:0.5>")), plain, "a tag is not read");
    assert_ne!(draw(&|s| s.negative_prompt.push_str("<lora:any@v1:0.5>")), plain, "a tag is text there");
    assert_eq!(draw(&|s| s.prompt = format!("({}:1)", s.prompt)), plain);
    assert_ne!(draw(&|s| s.prompt = s.prompt.replace("flower", "(flower:1.5)")), plain);
    assert_ne!(draw(&|s| s.clip_skip = 2), plain);
    assert_ne!(draw(&|s| s.prompt.push_str(" BREAK blue")), plain);
    assert_ne!(draw(&|s| s.negative_prompt.push_str(" BREAK BREAK blue")), plain);
    assert_eq!(draw(&|_| ()), plain);
}

/// The word works while the adapter takes part, and is one like any other before and after.
#[test]
fn an_embedding_that_an_adapter_brings_along_works_by_its_word() {
    let mut pipeline = pipeline();
    let small =
        GenerationSpec { width: 32, height: 32, steps: 2, prompt: "red mystyle".to_owned(), ..spec() };
    let mut weights =
        candle_core::safetensors::load(golden("adapters/kohya.safetensors"), &Device::Cpu).unwrap();
    let bytes = |weights: &HashMap<String, Tensor>| safetensors::serialize(weights, None).unwrap();
    let adapter = |bytes: &[u8]| Arc::new(Adapter::from_bytes(Path::new("a.safetensors"), bytes).unwrap());
    let plain = adapter(&bytes(&weights));
    let style = Embedding::read(&golden("embeddings/string_to_param.safetensors")).unwrap();
    let own = tensors("embeddings/string_to_param.safetensors").remove("string_to_param.*").unwrap();
    weights.insert("bundle_emb.mystyle.string_to_param.*".to_owned(), own);
    let bundle = adapter(&bytes(&weights));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes(&weights)).unwrap();
    assert_eq!(bundled_words(file.path()).unwrap(), [("mystyle".to_owned(), 3)]);

    pipeline.set_adapters(&[(plain, 1.0.into())]).unwrap();
    let without = render(&mut pipeline, &small);
    assert_eq!(without.embeddings, []);
    pipeline.set_embeddings(vec![("mystyle".to_owned(), Arc::new(style))]).unwrap();
    let expected = render(&mut pipeline, &small);
    assert_ne!(expected.image, without.image);
    pipeline.set_embeddings(Vec::new()).unwrap();
    pipeline.set_adapters(&[(Arc::clone(&bundle), 1.0.into())]).unwrap();
    let found = render(&mut pipeline, &small);
    assert_eq!(found.image, expected.image);
    assert_eq!(found.embeddings, [("mystyle".to_owned(), bundle.hash().to_owned())]);
    pipeline.set_adapters(&[]).unwrap();
    assert_eq!(render(&mut pipeline, &small).embeddings, []);

    // One for another model's text encoder is refused with both widths.
    let wide = Tensor::zeros((1, 48), DType::F32, &Device::Cpu).unwrap();
    weights.insert("bundle_emb.mystyle.string_to_param.*".to_owned(), wide);
    let error = pipeline.set_adapters(&[(adapter(&bytes(&weights)), 1.0.into())]).unwrap_err().to_string();
    assert!(error.contains("\"mystyle\" is 48 wide") && error.contains("is 32 wide"), "{error}");
}

#[test]
fn the_same_request_gives_the_same_bytes() {
    let mut pipeline = pipeline();
    let first = render(&mut pipeline, &spec());
    render(&mut pipeline, &GenerationSpec { prompt: "other".to_owned(), width: 32, ..spec() });
    assert_eq!(render(&mut pipeline, &spec()).image, first.image);
}

#[test]
fn steps_are_reported_with_previews_and_a_break_ends_the_work() {
    let mut pipeline = pipeline();
    let mut seen = Vec::new();
    let output = pipeline.generate(&spec(), &mut |step| {
        assert_eq!((step.preview.width, step.preview.height), (16, 12));
        assert_eq!(step.preview.data.len(), 16 * 12 * 3);
        seen.push((step.step, step.steps));
        ControlFlow::Continue(())
    });
    output.unwrap();
    assert_eq!(seen, (1..=7).map(|i| (i, 7)).collect::<Vec<_>>());

    let mut calls = 0;
    let stopped = pipeline.generate(&spec(), &mut |step| {
        calls += 1;
        if step.step == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(stopped, Err(EngineError::Cancelled)));
    assert_eq!(calls, 3);
}

#[test]
fn impossible_sizes_are_refused() {
    let mut pipeline = pipeline();
    let error = pipeline
        .generate(&GenerationSpec { width: 63, ..spec() }, &mut |_| ControlFlow::Continue(()))
        .unwrap_err();
    assert_eq!(error.to_string(), "the size is 63 × 48; both sides must be multiples of 4");
}

#[test]
fn the_model_describes_itself() {
    let pipeline = pipeline();
    let info = pipeline.info();
    assert_eq!((info.name.as_str(), info.device.as_str(), info.dtype.as_str()), ("pipeline", "cpu", "f32"));
    assert_eq!((info.native_size, info.prompt_tokens, info.defaults.width), (64, 75, 64));
    assert_eq!(info.limits.clip_skip, 2);
    assert_eq!(info.hash.len(), 64);
    assert_eq!(pipeline.tokenizer().count_tokens("a <|endoftext|> !").unwrap(), 3);
}
