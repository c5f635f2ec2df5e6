//! Tokenizer, text encoder, UNet and autoencoder against transformers and diffusers (`tools/goldens/modules.py`).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(unreachable_pub, reason = "each test file uses a part")]
mod common;

use adire_engine::{TextEncoder, Tokenizer, UNet, Vae};
use candle_core::{DType, Device};
use common::{assert_close, golden, relative_error, tensors};
use serde::Deserialize;

#[derive(Deserialize)]
struct Tokens {
    prompts: Vec<String>,
    tokenizer: Expected,
    #[serde(rename = "tokenizer-gaps")]
    gaps: Expected,
}

#[derive(Deserialize)]
struct Expected {
    ids: Vec<Vec<u32>>,
    counts: Vec<usize>,
}

#[test]
fn token_ids_equal_transformers() {
    let file = std::fs::read_to_string(golden("tokens.json")).unwrap();
    let Tokens { prompts, tokenizer, gaps } = serde_json::from_str(&file).unwrap();
    for (folder, expected) in [("tokenizer", tokenizer), ("tokenizer-gaps", gaps)] {
        let tokenizer = Tokenizer::load(&golden(folder), 77).unwrap();
        assert_eq!(prompts.len(), expected.ids.len());
        for (i, prompt) in prompts.iter().enumerate() {
            let found = tokenizer.encode(prompt).unwrap();
            assert_eq!(found.ids, expected.ids[i], "{folder}: {prompt:?}");
            let count = expected.counts[i];
            assert_eq!(tokenizer.count_tokens(prompt).unwrap(), count, "{folder}: {prompt:?}");
            assert_eq!(found.dropped, count.saturating_sub(tokenizer.room()), "{folder}: {prompt:?}");
        }
    }
}

#[test]
fn text_encoder_equals_transformers() {
    let goldens = tensors("modules.safetensors");
    let ids = goldens["text.ids"].to_dtype(DType::U32).unwrap().to_vec2::<u32>().unwrap();
    for name in ["text-quick-gelu", "text-gelu"] {
        let encoder = TextEncoder::load(&golden(name), DType::F32, &Device::Cpu).unwrap();
        assert_close(name, &encoder.forward(&ids).unwrap(), &goldens[&format!("{name}.out")]);
    }
}

#[test]
fn unet_equals_diffusers() {
    let goldens = tensors("modules.safetensors");
    for name in ["unet-sd15", "unet-variant"] {
        let unet = UNet::load(&golden(name), DType::F32, &Device::Cpu).unwrap();
        let (x, context) = (&goldens[&format!("{name}.x")], &goldens[&format!("{name}.context")]);
        for timestep in [0, 7, 481, 999] {
            let found = unet.forward(x, f64::from(timestep), context).unwrap();
            let what = format!("{name}.out.{timestep}");
            assert_close(&what, &found, &goldens[&what]);
        }
        let mixed = unet.forward_each(x, &[3.0, 700.0], context).unwrap();
        assert_close(&format!("{name} mixed"), &mixed, &goldens[&format!("{name}.out.mixed")]);
    }
}

#[test]
fn autoencoder_equals_diffusers() {
    let goldens = tensors("modules.safetensors");
    for name in ["vae-sd15", "vae-bare"] {
        let vae = Vae::load(&golden(name), DType::F32, &Device::Cpu).unwrap();
        let decoded = vae.decode(&goldens[&format!("{name}.z")]).unwrap();
        assert_close(&format!("{name} decoded"), &decoded, &goldens[&format!("{name}.decoded")]);
        let posterior = vae.encode(&goldens[&format!("{name}.pictures")]).unwrap();
        assert_close(&format!("{name} mean"), &posterior.mean, &goldens[&format!("{name}.mean")]);
        assert_close(&format!("{name} logvar"), &posterior.log_variance, &goldens[&format!("{name}.logvar")]);
    }
}

#[test]
fn tiles_equal_those_of_diffusers() {
    let goldens = tensors("tiles.safetensors");
    for name in ["vae-sd15", "vae-bare"] {
        let vae = Vae::load(&golden(name), DType::F32, &Device::Cpu).unwrap();
        let side = 32 / vae.factor();
        let decoded = vae.decode_tiled(&goldens[&format!("{name}.z")], side).unwrap();
        assert_close(&format!("{name} decoded"), &decoded, &goldens[&format!("{name}.decoded")]);
        let posterior = vae.encode_tiled(&goldens[&format!("{name}.pictures")], side).unwrap();
        assert_close(&format!("{name} mean"), &posterior.mean, &goldens[&format!("{name}.mean")]);
        assert_close(&format!("{name} logvar"), &posterior.log_variance, &goldens[&format!("{name}.logvar")]);
    }
}

/// Half precision is for GPUs; that the casts are in place shows on the CPU too.
#[test]
fn half_precision_is_the_same_model() {
    let goldens = tensors("modules.safetensors");
    let unet = UNet::load(&golden("unet-sd15"), DType::F16, &Device::Cpu).unwrap();
    let half = |key: &str| goldens[key].to_dtype(DType::F16).unwrap();
    let found = unet.forward(&half("unet-sd15.x"), 481.0, &half("unet-sd15.context")).unwrap();
    assert_eq!(found.dtype(), DType::F16);
    let error = relative_error(&found.to_dtype(DType::F32).unwrap(), &goldens["unet-sd15.out.481"]);
    assert!(error < 0.02, "{error}");
}

#[test]
fn every_weight_is_visited_once_under_its_checkpoint_name() {
    let mut unet = UNet::load(&golden("unet-variant"), DType::F32, &Device::Cpu).unwrap();
    let mut text = TextEncoder::load(&golden("text-gelu"), DType::F32, &Device::Cpu).unwrap();
    for folder in ["unet-variant/diffusion_pytorch_model", "text-gelu/model"] {
        let file = tensors(&format!("{folder}.safetensors"));
        let mut expected: Vec<String> = file
            .iter()
            .filter(|(name, tensor)| tensor.rank() > 1 && !name.contains("embedding.weight"))
            .map(|(name, _)| name.trim_end_matches(".weight").to_owned())
            .collect();
        let mut found = Vec::new();
        let mut visit = |path: &str, weight: &mut adire_engine::Weight| {
            let key = if file.contains_key(&format!("{path}.weight")) {
                path
            } else {
                &path["text_model.".len()..]
            };
            assert_eq!(weight.dims(), file[&format!("{key}.weight")].dims());
            found.push(key.to_owned());
            Ok(())
        };
        if folder.starts_with("unet") {
            unet.visit_weights(&mut visit).unwrap();
        } else {
            text.visit_weights(&mut visit).unwrap();
        }
        expected.sort();
        found.sort();
        assert_eq!(found, expected);
    }
}
