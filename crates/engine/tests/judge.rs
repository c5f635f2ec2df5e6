//! The judge against Pillow and transformers (`tools/goldens/judge.py`).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(unreachable_pub, reason = "each test file uses a part")]
mod common;

use std::fs;

use adire_engine::{EngineError, Rgb8, metric::Judge};
use candle_core::{Device, Tensor};
use common::{assert_close, golden, tensors};

fn judge() -> Judge {
    Judge::load(&golden("judge/clip"), &Device::Cpu).unwrap()
}

fn rgb8(tensor: &Tensor) -> Rgb8 {
    let (height, width, _) = tensor.dims3().unwrap();
    Rgb8 {
        width: width as u32,
        height: height as u32,
        data: tensor.flatten_all().unwrap().to_vec1().unwrap(),
    }
}

fn rows(rows: Vec<Vec<f32>>) -> Tensor {
    Tensor::new(rows, &Device::Cpu).unwrap()
}

#[test]
fn features_of_images_equal_transformers() {
    let goldens = tensors("judge/features.safetensors");
    let images: Vec<Rgb8> =
        (0..goldens["image_embeds"].dim(0).unwrap()).map(|i| rgb8(&goldens[&format!("{i}.image")])).collect();
    let (mut embeddings, mut maps, mut styles) = (Vec::new(), Vec::new(), Vec::new());
    for found in judge().images(&images).unwrap() {
        embeddings.push(found.embedding);
        maps.push(found.map);
        styles.push(found.style);
    }
    assert_close("embeddings", &rows(embeddings), &goldens["image_embeds"]);
    assert_close("maps", &rows(maps), &goldens["maps"]);
    assert_close("styles", &rows(styles), &goldens["styles"]);
}

/// DINOv2 is used on fewer patches than it was trained on, so positions are interpolated; CSD has OpenAI's names.
#[test]
fn dinov2_and_csd_take_over_maps_and_styles() {
    let goldens = tensors("judge/features.safetensors");
    let images: Vec<Rgb8> =
        (0..goldens["image_embeds"].dim(0).unwrap()).map(|i| rgb8(&goldens[&format!("{i}.image")])).collect();
    let with_both = || {
        let judge = judge().with_dinov2(&golden("judge/dinov2")).unwrap();
        judge.with_csd(&golden("judge/csd.safetensors")).unwrap()
    };
    let judge = with_both();
    let found = judge.images(&images).unwrap();
    let embeddings = found.iter().map(|found| found.embedding.clone()).collect();
    assert_close("embeddings", &rows(embeddings), &goldens["image_embeds"]);
    let maps = found.iter().map(|found| found.map.clone()).collect();
    assert_close("maps", &rows(maps), &goldens["dinov2_maps"]);
    let styles = found.iter().map(|found| found.style.clone()).collect();
    assert_close("styles", &rows(styles), &goldens["csd_styles"]);
    let other = self::judge().with_csd(&golden("judge/csd.safetensors")).unwrap();
    assert!(judge.hash().len() == 64 && judge.hash() != self::judge().hash() && judge.hash() != other.hash());
    assert_eq!(judge.hash(), with_both().hash());
}

#[test]
fn what_is_neither_dinov2_nor_csd_is_refused() {
    let message = |found: Result<Judge, EngineError>| found.map(drop).unwrap_err().to_string();
    let clip = message(judge().with_dinov2(&golden("judge/clip")));
    assert!(clip.contains("is of the model type \"clip\", not \"dinov2\""), "{clip}");
    let clip = message(judge().with_csd(&golden("judge/clip")));
    assert!(clip.contains("lacks the tensor last_layer_style; it is not a checkpoint of CSD"), "{clip}");
    let absent = message(judge().with_csd(&golden("judge/absent.safetensors")));
    assert!(absent.contains("absent.safetensors"), "{absent}");
    let folder = tempfile::tempdir().unwrap();
    let changed = |file: &str, from: &str, to: &str| {
        for entry in fs::read_dir(golden("judge/dinov2")).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
        let path = folder.path().join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} has no {from}");
        fs::write(&path, text.replace(from, to)).unwrap();
        message(judge().with_dinov2(folder.path()))
    };
    for (file, from, to, problem) in [
        (
            "preprocessor_config.json",
            "\"height\": 28,\n    \"width\": 28",
            "\"height\": 30,\n    \"width\": 30",
            "patches of 7",
        ),
        ("config.json", "\"use_swiglu_ffn\": false", "\"use_swiglu_ffn\": true", "SwiGLU"),
        ("config.json", "\"num_attention_heads\": 3", "\"num_attention_heads\": 5", "5 attention heads"),
        ("config.json", "\"hidden_size\": 24", "\"hidden_size\": 48", "has shape"),
        ("config.json", "\"mlp_ratio\": 2", "\"mlp_ratio\": 1e30", "mlp_ratio"),
        ("config.json", "\"image_size\": 42", "\"image_size\": 0", "image_size of 0"),
    ] {
        let found = changed(file, from, to);
        assert!(found.contains(problem), "{to}: {found}");
    }
}

#[test]
fn features_of_texts_equal_transformers() {
    let bytes = fs::read(golden("judge/features.safetensors")).unwrap();
    let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let texts: Vec<String> = serde_json::from_str(&metadata.metadata().as_ref().unwrap()["texts"]).unwrap();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let found = judge().texts(&texts).unwrap();
    assert_close("texts", &rows(found), &tensors("judge/features.safetensors")["text_embeds"]);
}

#[test]
fn the_hash_covers_every_file() {
    let hash_after = |file: &str| {
        let folder = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(golden("judge/clip")).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
        if !file.is_empty() {
            let path = folder.path().join(file);
            let text = fs::read_to_string(&path).unwrap();
            // A line more would be an invalid merge.
            let changed = if file == "merges.txt" { text.replacen("0.2", "0.3", 1) } else { text + "\n" };
            fs::write(&path, changed).unwrap();
        }
        Judge::load(folder.path(), &Device::Cpu).unwrap().hash().to_owned()
    };
    assert_eq!(hash_after(""), judge().hash());
    for file in ["config.json", "preprocessor_config.json", "vocab.json", "merges.txt"] {
        assert_ne!(hash_after(file), judge().hash(), "{file}");
    }
}

#[test]
fn a_folder_of_something_else_is_refused_with_the_file() {
    for (folder, file) in
        [("pipeline/text_encoder", "preprocessor_config.json"), ("tokenizer", "config.json")]
    {
        match Judge::load(&golden(folder), &Device::Cpu) {
            Err(EngineError::Model { path, message }) => {
                assert!(
                    path.ends_with(file) && message.contains("is missing"),
                    "{}: {message}",
                    path.display()
                );
            }
            other => panic!("{folder}: {other:?}"),
        }
    }
}
