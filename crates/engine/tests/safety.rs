//! The safety checker against Pillow, transformers and diffusers (`tools/goldens/safety.py`).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, unreachable_pub, reason = "each test file uses a part")]
mod common;

use std::{fs, ops::ControlFlow, path::Path};

use adire_engine::{EngineError, LoadOptions, Pipeline, Rgb8, SafetyChecker};
use adire_protocol::{GenerationRequest, Limits};
use candle_core::{DType, Device, Tensor};
use common::{golden, tensors};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Expected {
    flagged: bool,
    special: Vec<f32>,
    concepts: Vec<f32>,
}

fn checker() -> SafetyChecker {
    SafetyChecker::load(&golden("safety"), DType::F32, &Device::Cpu).unwrap()
}

fn expected() -> Vec<Expected> {
    let bytes = fs::read(golden("safety/images.safetensors")).unwrap();
    let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    serde_json::from_str(&metadata.metadata().as_ref().unwrap()["verdicts"]).unwrap()
}

fn rgb8(tensor: &Tensor) -> Rgb8 {
    let (height, width, _) = tensor.dims3().unwrap();
    let data = tensor.flatten_all().unwrap().to_vec1().unwrap();
    Rgb8 { width: width as u32, height: height as u32, data }
}

#[test]
fn preprocessing_equals_transformers() {
    let (goldens, checker) = (tensors("safety/images.safetensors"), checker());
    for i in 0..expected().len() {
        let found = checker.preprocess(&rgb8(&goldens[&format!("{i}.picture")])).unwrap();
        let wanted = &goldens[&format!("{i}.pixels")];
        assert_eq!(found.dims(), wanted.dims());
        let error = (found - wanted).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        // A byte more or less would be 0.014.
        assert!(error < 1e-6, "image {i} is off by {error}");
    }
}

#[test]
fn verdicts_equal_diffusers() {
    let (goldens, checker, expected) = (tensors("safety/images.safetensors"), checker(), expected());
    assert!(expected.iter().any(|e| e.flagged) && expected.iter().any(|e| !e.flagged));
    for (i, expected) in expected.iter().enumerate() {
        let found = checker.check(&rgb8(&goldens[&format!("{i}.picture")])).unwrap();
        assert_eq!(found.flagged, expected.flagged, "image {i}");
        assert_eq!(found.special_scores, expected.special, "image {i}");
        assert_eq!(found.concept_scores, expected.concepts, "image {i}");
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, goal) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        if path.is_dir() { copy(&path, &goal) } else { fs::copy(&path, &goal).map(drop).unwrap() }
    }
}

/// The small pipeline with the small checker, whose every threshold is `threshold`.
fn model_with_checker(folder: &Path, threshold: f32) {
    copy(&golden("pipeline"), folder);
    copy(&golden("safety"), folder);
    let file = folder.join("safety_checker/model.safetensors");
    let mut weights = candle_core::safetensors::load(&file, &Device::Cpu).unwrap();
    for name in ["concept_embeds_weights", "special_care_embeds_weights"] {
        let count = weights[name].dim(0).unwrap();
        weights.insert(name.to_owned(), Tensor::full(threshold, count, &Device::Cpu).unwrap());
    }
    candle_core::safetensors::save(&weights, &file).unwrap();
}

fn generate(folder: &Path, safety_checker: bool) -> adire_engine::Output {
    let mut pipeline =
        Pipeline::load(folder, &LoadOptions { safety_checker, ..LoadOptions::default() }).unwrap();
    assert_eq!(pipeline.info().safety_checker, safety_checker);
    let request = GenerationRequest {
        prompt: "red flower".to_owned(),
        steps: Some(2),
        width: Some(64),
        height: Some(64),
        ..Default::default()
    };
    let spec = request.validate(&Limits::default(), &pipeline.info().defaults, 3).unwrap();
    pipeline.generate(&spec, &mut |_| ControlFlow::Continue(())).unwrap()
}

#[test]
fn a_flagged_image_is_black_and_others_are_untouched() {
    let folder = tempfile::tempdir().unwrap();
    model_with_checker(folder.path(), 2.0);
    let (without, passed) = (generate(folder.path(), false), generate(folder.path(), true));
    assert!(!without.withheld && !passed.withheld);
    assert_eq!(without.image, passed.image);
    model_with_checker(folder.path(), -2.0);
    let withheld = generate(folder.path(), true);
    assert!(withheld.withheld && withheld.image.data.iter().all(|byte| *byte == 0));
    assert_eq!(withheld.latents.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap(), 0.0);
    assert_eq!(generate(folder.path(), false).image, without.image, "off by default");
}

#[test]
fn asking_for_a_checker_that_is_not_there_is_told() {
    let options = LoadOptions { safety_checker: true, ..LoadOptions::default() };
    let error = Pipeline::load(&golden("pipeline"), &options).unwrap_err().to_string();
    assert!(error.contains("has no safety checker") && error.contains("ADIRE_SAFETY_CHECKER"), "{error}");
}

#[test]
fn damaged_checkers_are_refused_with_the_file() {
    let change = |file: &str, change: &dyn Fn(&mut Value)| {
        let folder = tempfile::tempdir().unwrap();
        copy(&golden("safety"), folder.path());
        let path = folder.path().join(file);
        let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut config);
        fs::write(&path, config.to_string()).unwrap();
        match SafetyChecker::load(folder.path(), DType::F32, &Device::Cpu) {
            Err(EngineError::Model { path, message }) => {
                assert!(path.starts_with(folder.path()), "{}", path.display());
                message
            }
            other => panic!("{file} was taken: {other:?}"),
        }
    };
    let (config, preprocessor) = ("safety_checker/config.json", "feature_extractor/preprocessor_config.json");
    for (key, value) in [
        ("hidden_size", json!(0)),
        ("hidden_size", json!(30)),
        ("num_attention_heads", json!(0)),
        ("patch_size", json!(0)),
        ("patch_size", json!(1000)),
        ("image_size", json!(1u64 << 40)),
        ("num_hidden_layers", json!(1_000_000)),
        ("num_channels", json!(1)),
        ("hidden_act", json!("tanh")),
    ] {
        change(config, &|c| c["vision_config"][key] = value.clone());
    }
    change(config, &|c| c["projection_dim"] = json!(13));
    for (key, value) in [
        ("size", json!(7)),
        ("size", json!({ "height": 28, "width": 28 })),
        ("size", json!({ "shortest_edge": 1u64 << 50 })),
        ("crop_size", json!({ "height": 28, "width": 27 })),
        ("resample", json!(2)),
        ("do_center_crop", json!(false)),
        ("image_std", json!([0.2, 0.0, 0.2])),
        ("image_mean", json!([0.5])),
    ] {
        change(preprocessor, &|c| c[key] = value.clone());
    }
    let folder = tempfile::tempdir().unwrap();
    copy(&golden("safety"), folder.path());
    fs::remove_dir_all(folder.path().join("feature_extractor")).unwrap();
    let error = SafetyChecker::load(folder.path(), DType::F32, &Device::Cpu).unwrap_err().to_string();
    assert!(error.contains("preprocessor_config.json") && error.contains("is missing"), "{error}");
}
