//! Model folders that cannot be used: each gives a sentence that names the file, and no panic.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, unreachable_pub, reason = "each test file uses a part")]
mod common;

use std::path::Path;

use adire_engine::{EngineError, LoadOptions, Pipeline};
use candle_core::{DType, Device, Tensor};
use common::golden;

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A usable folder that the test may spoil.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&golden("pipeline"), folder.path());
    folder
}

/// Loads the folder after `spoil` and gives the message without the folder's own path.
fn message(spoil: impl FnOnce(&Path)) -> String {
    let folder = folder();
    spoil(folder.path());
    let error = Pipeline::load(folder.path(), &LoadOptions::default()).unwrap_err();
    let (EngineError::Model { .. } | EngineError::Request(_)) = &error else {
        panic!("not the folder's fault: {error}")
    };
    error.to_string().replace(&format!("{}/", folder.path().display()), "")
}

fn replace(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{text} lacks {from}");
    std::fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn every_missing_file_is_named() {
    let files = [
        "model_index.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
        "text_encoder/config.json",
        "text_encoder/model.safetensors",
        "tokenizer/vocab.json",
        "tokenizer/merges.txt",
        "scheduler/scheduler_config.json",
    ];
    for file in files {
        let error = message(|folder| std::fs::remove_file(folder.join(file)).unwrap());
        assert!(error.starts_with(&format!("{file}: ")), "{error}");
        assert!(error.contains("missing") || error.contains("cannot be"), "{error}");
    }
}

#[test]
fn no_folder_and_an_empty_folder() {
    let nowhere = Path::new("/nowhere/model");
    let error = Pipeline::load(nowhere, &LoadOptions::default()).unwrap_err().to_string();
    assert!(error.starts_with("/nowhere/model: is not a folder."), "{error}");
    let empty = tempfile::tempdir().unwrap();
    let error = Pipeline::load(empty.path(), &LoadOptions::default()).unwrap_err().to_string();
    assert!(error.contains("model_index.json: is missing."), "{error}");
}

#[test]
fn truncated_weights() {
    let bytes = std::fs::read(golden("pipeline").join(UNET)).unwrap();
    for length in [0, 5, 8, 100, 4000, bytes.len() / 2, bytes.len() - 1] {
        let error = message(|folder| std::fs::write(folder.join(UNET), &bytes[..length]).unwrap());
        assert!(error.starts_with(&format!("{UNET}: is ")), "{error}");
        assert!(error.contains("truncated") || error.contains("not a safetensors file"), "{error}");
        assert!(error.ends_with("Download it again."), "{error}");
    }
}

#[test]
fn pickles_are_refused_by_content_and_by_name() {
    for head in [&b"PK\x03\x04 zip of torch.save"[..], b"\x80\x02}q\x00(X\x06\x00\x00\x00"] {
        let error = message(|folder| std::fs::write(folder.join(UNET), head).unwrap());
        assert!(error.starts_with(&format!("{UNET}: is a PyTorch pickle")), "{error}");
        assert!(error.contains("can run any code") && error.contains("convert it"), "{error}");
    }
    for name in ["diffusion_pytorch_model.bin", "diffusion_pytorch_model.ckpt"] {
        let error = message(|folder| {
            std::fs::rename(folder.join(UNET), folder.join("unet").join(name)).unwrap();
        });
        assert!(error.starts_with(&format!("unet/{name}: is a PyTorch pickle.")), "{error}");
    }
    let error = message(|folder| {
        let text = folder.join("text_encoder");
        std::fs::rename(text.join("model.safetensors"), text.join("pytorch_model.bin")).unwrap();
    });
    assert!(error.starts_with("text_encoder/pytorch_model.bin: is a PyTorch pickle."), "{error}");
}

#[test]
fn something_else_named_safetensors() {
    for bytes in [vec![0xff; 64], b"<html>404 Not Found</html>".to_vec(), vec![0; 64]] {
        let error = message(|folder| std::fs::write(folder.join(UNET), &bytes).unwrap());
        assert!(error.starts_with(&format!("{UNET}: is not a safetensors file")), "{error}");
    }
}

#[test]
fn a_tensor_of_another_shape() {
    let error = message(|folder| {
        replace(
            &folder.join("unet/config.json"),
            "\"cross_attention_dim\": 32",
            "\"cross_attention_dim\": 24",
        )
    });
    let expected = format!(
        "{UNET}: the tensor down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight has shape [16, 32], \
         but its config.json asks for [16, 24]; they do not belong together."
    );
    assert_eq!(error, expected);
}

#[test]
fn a_missing_tensor() {
    let error = message(|folder| {
        let mut tensors = candle_core::safetensors::load(folder.join(UNET), &Device::Cpu).unwrap();
        tensors.remove("mid_block.resnets.1.conv2.bias").unwrap();
        candle_core::safetensors::save(&tensors, folder.join(UNET)).unwrap();
    });
    let expected = format!(
        "{UNET}: lacks the tensor mid_block.resnets.1.conv2.bias; the file does not fit its config.json."
    );
    assert_eq!(error, expected);
}

#[test]
fn configs_that_are_no_json_or_of_another_family() {
    for file in ["unet/config.json", "vae/config.json", "text_encoder/config.json", "model_index.json"] {
        for text in ["", "not json", "[1, 2]", "{\"unet\": "] {
            let error = message(|folder| std::fs::write(folder.join(file), text).unwrap());
            assert!(
                error.starts_with(&format!("{file}: is not the JSON that is expected here")),
                "{text}: {error}"
            );
        }
    }
    let index = |from: &'static str, to: &'static str| {
        message(|folder| replace(&folder.join("model_index.json"), from, to))
    };
    let error = index("UNet2DConditionModel", "SD3Transformer2DModel");
    assert!(error.contains("has a unet of class SD3Transformer2DModel"), "{error}");
    let error = index("\"vae\"", "\"vqvae\"");
    assert!(error.contains("names no vae"), "{error}");
    let unet = |from: &'static str, to: &'static str| {
        message(|folder| replace(&folder.join("unet/config.json"), from, to))
    };
    let error = unet("\"addition_embed_type\": null", "\"addition_embed_type\": \"text_time\"");
    assert!(error.contains("sets addition_embed_type"), "{error}");
    let error = unet("\"norm_num_groups\": 4", "\"norm_num_groups\": 5");
    assert!(error.contains("has 16 channels that 5 groups do not divide"), "{error}");
    let error = unet("\"attention_head_dim\": 4", "\"attention_head_dim\": 0");
    assert!(error.contains("0 attention heads do not divide"), "{error}");
    let error = unet("\"attention_head_dim\": 4", "\"attention_head_dim\": [4]");
    assert!(
        error.contains("attention_head_dim that is not one value or one for each of 2 blocks"),
        "{error}"
    );
    let error = unet("\"CrossAttnDownBlock2D\"", "\"SimpleCrossAttnDownBlock2D\"");
    assert!(error.contains("SimpleCrossAttnDownBlock2D"), "{error}");
}

#[test]
fn a_tokenizer_that_does_not_belong_to_the_model() {
    let error = message(|folder| std::fs::write(folder.join("tokenizer/vocab.json"), "{\"a\": 0}").unwrap());
    assert!(error.starts_with("tokenizer/vocab.json: "), "{error}");
    let error = message(|folder| {
        let path = folder.join("tokenizer/vocab.json");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replacen('{', "{\"extra</w>\": 5000, ", 1)).unwrap();
    });
    assert!(error.contains("has a tokenizer of") && error.contains("but a text encoder of"), "{error}");
}

#[test]
fn a_manifest_with_impossible_values() {
    let manifest =
        |text: &'static str| message(|folder| std::fs::write(folder.join("adire.json"), text).unwrap());
    let error = manifest("{\"defaults\": {\"steps\": 0}}");
    assert!(
        error.starts_with("adire.json: has defaults that cannot be used. Steps must be 1 to 150; got 0"),
        "{error}"
    );
    let error = manifest("{\"adapters\": [{\"name\": \"a\", \"version\": 1, \"file\": \"../secret\"}]}");
    assert!(error.contains("must be a path below the model folder"), "{error}");
    let error = manifest("{\"defaults\": {\"sampler\": \"magic\"}}");
    assert!(error.contains("unknown sampler"), "{error}");
}

#[test]
fn what_is_allowed_to_differ() {
    let folder = folder();
    let path = folder.path();
    // Half precision under its variant name, the names of the first versions of diffusers, a manifest.
    let tensors = candle_core::safetensors::load(path.join(UNET), &Device::Cpu).unwrap();
    let half: std::collections::HashMap<String, Tensor> =
        tensors.into_iter().map(|(name, tensor)| (name, tensor.to_dtype(DType::F16).unwrap())).collect();
    std::fs::remove_file(path.join(UNET)).unwrap();
    candle_core::safetensors::save(&half, path.join("unet/diffusion_pytorch_model.fp16.safetensors"))
        .unwrap();
    let vae = path.join("vae/diffusion_pytorch_model.safetensors");
    let old_name = |name: &str| {
        let pairs = [("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")];
        pairs.iter().fold(name.to_owned(), |name, (new, old)| name.replace(new, old))
    };
    let tensors = candle_core::safetensors::load(&vae, &Device::Cpu).unwrap();
    let old: std::collections::HashMap<String, Tensor> =
        tensors.into_iter().map(|(name, tensor)| (old_name(&name), tensor)).collect();
    assert!(old.contains_key("decoder.mid_block.attentions.0.query.weight"));
    candle_core::safetensors::save(&old, &vae).unwrap();
    let text = r#"{"name": "test model", "trigger": "adire style", "unknown": 1,
        "example_prompts": ["one", {"prompt": "two"}], "defaults": {"steps": 12, "sampler": "euler_a"},
        "adapters": [{"name": "adire", "version": 2, "file": "adapters/v2.safetensors"}]}"#;
    std::fs::write(path.join("adire.json"), text).unwrap();

    let pipeline = Pipeline::load(path, &LoadOptions::default()).unwrap();
    let info = pipeline.info();
    assert_eq!((info.name.as_str(), info.defaults.steps, info.example_prompts.len()), ("test model", 12, 2));
    let adapters = pipeline.manifest().adapters();
    assert_eq!((adapters[0].version, adapters[0].trigger.as_deref()), (2, Some("adire style")));
    assert_eq!(adapters[0].file, path.join("adapters/v2.safetensors"));
}
