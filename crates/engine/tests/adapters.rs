//! Adapters against diffusers and PEFT (`tools/goldens/adapters.py`): what a small model says with them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(unreachable_pub, reason = "each test file uses a part")]
mod common;

use std::path::{Path, PathBuf};

use adire_engine::{
    EngineError, TextEncoder, UNet,
    adapter::{Adapter, Component, Family, Format, Receipt, Strength, apply},
};
use candle_core::{DType, Device, Tensor};
use common::{assert_close, golden, tensors};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    name: String,
    adapters: Vec<(PathBuf, f64)>,
}

struct Models {
    unet: UNet,
    text: TextEncoder,
}

impl Models {
    fn load() -> Self {
        let folder = golden("pipeline");
        let unet = UNet::load(&folder.join("unet"), DType::F32, &Device::Cpu).unwrap();
        let text = TextEncoder::load(&folder.join("text_encoder"), DType::F32, &Device::Cpu).unwrap();
        Self { unet, text }
    }

    fn apply(&mut self, adapters: &[(&Adapter, f64)]) -> Vec<Receipt> {
        let adapters: Vec<_> = adapters.iter().map(|(a, strength)| (*a, Strength::from(*strength))).collect();
        apply(&adapters, &mut self.unet, &mut self.text).unwrap()
    }

    fn refusal(&mut self, adapter: &Adapter) -> String {
        match apply(&[(adapter, Strength::from(1.0))], &mut self.unet, &mut self.text) {
            Err(EngineError::Adapter { message, .. }) => message,
            other => panic!("{} was not refused: {other:?}", adapter.path().display()),
        }
    }

    fn outputs(&self) -> (Tensor, Tensor) {
        let given = tensors("adapters/expected.safetensors");
        let ids = given["ids"].to_dtype(DType::U32).unwrap().to_vec2::<u32>().unwrap();
        let unet = self.unet.forward(&given["x"], 321.0, &given["context"]).unwrap();
        (unet, self.text.forward(&ids).unwrap())
    }

    /// Every bit of every effective weight.
    fn bits(&mut self) -> Vec<u32> {
        let (unet, text) = self.bits_apart();
        [unet, text].concat()
    }

    /// Those of the UNet and those of the text encoder.
    fn bits_apart(&mut self) -> (Vec<u32>, Vec<u32>) {
        let take = |bits: &mut Vec<u32>, weight: &mut adire_engine::Weight| {
            let values = weight.effective()?.flatten_all()?.to_vec1::<f32>()?;
            bits.extend(values.into_iter().map(f32::to_bits));
            Ok(())
        };
        let (mut unet, mut text) = (Vec::new(), Vec::new());
        self.unet.visit_weights(&mut |_, weight| take(&mut unet, weight)).unwrap();
        self.text.visit_weights(&mut |_, weight| take(&mut text, weight)).unwrap();
        (unet, text)
    }
}

fn adapter(name: impl AsRef<Path>) -> Adapter {
    Adapter::read(&golden("adapters").join(name)).unwrap()
}

#[test]
fn outputs_equal_diffusers() {
    let cases: Vec<Case> =
        serde_json::from_slice(&std::fs::read(golden("adapters/cases.json")).unwrap()).unwrap();
    assert!(cases.len() >= 15, "{} cases", cases.len());
    let expected = tensors("adapters/expected.safetensors");
    let mut models = Models::load();
    for Case { name, adapters } in cases {
        let read: Vec<_> = adapters.iter().map(|(file, strength)| (adapter(file), *strength)).collect();
        let borrowed: Vec<_> = read.iter().map(|(adapter, strength)| (adapter, *strength)).collect();
        for receipt in models.apply(&borrowed) {
            assert!(!receipt.applied.is_empty(), "{name}");
            assert!(receipt.skipped.is_empty() && receipt.unknown.is_empty(), "{name}: {receipt:?}");
            assert!(receipt.applied.iter().all(|layer| layer.ratio > 0.0), "{name}");
        }
        let (unet, text) = models.outputs();
        assert_close(&format!("{name}, unet"), &unet, &expected[&format!("{name}.unet")]);
        assert_close(&format!("{name}, text"), &text, &expected[&format!("{name}.text")]);
    }
    models.apply(&[]);
    let (unet, text) = models.outputs();
    assert_close("base unet", &unet, &expected["base.unet"]);
    assert_close("base text", &text, &expected["base.text"]);
}

#[test]
fn switching_leaves_nothing_behind() {
    let (kohya, diffusers, dora) =
        (adapter("kohya.safetensors"), adapter("diffusers.safetensors"), adapter("dora.safetensors"));
    let mut models = Models::load();
    let base = models.bits();
    models.apply(&[(&kohya, 0.8)]);
    let with_kohya = models.bits();
    assert_ne!(with_kohya, base);
    models.apply(&[(&dora, 1.0), (&diffusers, -2.0)]);
    assert_ne!(models.bits(), with_kohya);
    models.apply(&[(&kohya, 0.8)]);
    assert_eq!(models.bits(), with_kohya, "A→B→A");
    models.apply(&[]);
    assert_eq!(models.bits(), base, "A→none");
    models.apply(&[(&kohya, 0.0), (&dora, 0.0)]);
    assert_eq!(models.bits(), base, "strength 0");
    models.apply(&[(&kohya, 0.8), (&diffusers, 0.0)]);
    assert_eq!(models.bits(), with_kohya, "a neighbour at strength 0");
}

#[test]
fn text_encoder_and_unet_have_strengths_of_their_own() {
    let kohya = adapter("kohya.safetensors");
    let mut models = Models::load();
    let (unet_base, text_base) = models.bits_apart();
    models.apply(&[(&kohya, 0.75)]);
    let (unet_on, text_on) = models.bits_apart();
    assert!(unet_on != unet_base && text_on != text_base);
    let mut apart = |unet, text_encoder| {
        let strength = Strength { unet, text_encoder };
        let receipts = apply(&[(&kohya, strength)], &mut models.unet, &mut models.text).unwrap();
        assert_eq!((receipts[0].strength, receipts[0].te_strength), (unet, text_encoder));
        for layer in &receipts[0].applied {
            let strength = if layer.component == Component::Unet { unet } else { text_encoder };
            assert_eq!(layer.scale, 1.5 / layer.rank as f64 * strength, "{}", layer.module);
        }
        models.bits_apart()
    };
    assert_eq!(apart(0.75, 0.0), (unet_on.clone(), text_base.clone()), "bit for bit");
    assert_eq!(apart(0.0, 0.75), (unet_base, text_on.clone()), "bit for bit");
    let (unet, text) = apart(0.75, -0.75);
    assert!(unet == unet_on && text != text_on && text != text_base);
}

#[test]
fn the_receipt_tells_the_scales() {
    let mut models = Models::load();
    let receipts = models.apply(&[(&adapter("kohya.safetensors"), 0.5)]);
    let [receipt] = &receipts[..] else { panic!("{} receipts", receipts.len()) };
    assert_eq!((receipt.formats.as_slice(), receipt.family), (&[Format::Kohya][..], Family::Width(32)));
    let text = receipt.applied.iter().filter(|layer| layer.component == Component::TextEncoder).count();
    assert!(text == 12 && receipt.applied.len() > 50, "{text} of {}", receipt.applied.len());
    for layer in &receipt.applied {
        assert_eq!(layer.alpha, 1.5);
        assert_eq!(layer.scale, 1.5 / layer.rank as f64 * 0.5, "{}", layer.module);
    }
    let ranks: std::collections::BTreeSet<_> = receipt.applied.iter().map(|layer| layer.rank).collect();
    assert_eq!(ranks.into_iter().collect::<Vec<_>>(), [1, 2, 4]);
    assert_eq!(adapter("kohya.safetensors").metadata()["ss_network_alpha"], "1.5");
}

#[test]
fn adapters_of_other_models_are_refused_by_name() {
    let mut models = Models::load();
    let base = models.bits();
    for (file, made_for) in [
        ("sdxl-kohya", "SDXL"),
        ("sdxl-diffusers", "SDXL"),
        ("sd2-kohya", "Stable Diffusion 2.x"),
        ("flux", "Flux"),
    ] {
        let message = models.refusal(&adapter(format!("{file}.safetensors")));
        assert!(message.contains(&format!("made for {made_for}")) || message.contains(made_for), "{message}");
        assert!(message.contains("Use an adapter made for this model."), "{message}");
    }
    assert_eq!(models.bits(), base);
}

#[test]
fn a_strength_out_of_range_is_refused() {
    let mut models = Models::load();
    let kohya = adapter("kohya.safetensors");
    for strength in [100.1, -101.0, f64::NAN, f64::INFINITY, 1e9] {
        for strength in [Strength { unet: 1.0, text_encoder: strength }, Strength::from(strength)] {
            let result = apply(&[(&kohya, strength)], &mut models.unet, &mut models.text);
            assert!(matches!(result, Err(EngineError::Request(_))), "{strength:?}");
        }
    }
}

#[test]
fn the_same_file_twice_adds_up() {
    let mut models = Models::load();
    let kohya = adapter("kohya.safetensors");
    models.apply(&[(&kohya, 0.25), (&kohya, 0.5)]);
    let (twice, _) = models.outputs();
    models.apply(&[(&kohya, 0.75)]);
    assert_close("0.25 + 0.5", &twice, &models.outputs().0);
}

/// A thousand switches between five adapters, some at once, some negative: what is in effect at the end is what a
/// model that never had another one computes with.
#[test]
fn no_history_of_switches_leaves_a_trace() {
    let files = ["kohya", "diffusers", "lokr", "loha", "dora"].map(|name| {
        let name = format!("{name}.safetensors");
        adapter(&name)
    });
    let fingerprint = |models: &mut Models| {
        let (unet, text) = (&mut models.unet, &mut models.text);
        adire_engine::adapter::fingerprint("base", &mut |f| adire_engine::adapter::visit(unet, text, f))
            .unwrap()
    };
    let mut models = Models::load();
    let plain = fingerprint(&mut models);
    let mut state = 7u64;
    let mut random = |n: u64| {
        // Knuth's MMIX generator; the high digits are the random ones.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    let mut last = Vec::new();
    for _ in 0..1000 {
        last = (0..random(4)).map(|_| (random(5) as usize, random(9) as f64 / 2.0 - 2.0)).collect();
        last.sort_by_key(|(index, _)| *index);
        last.dedup_by_key(|(index, _)| *index);
        let chosen: Vec<_> = last.iter().map(|(index, strength)| (&files[*index], *strength)).collect();
        models.apply(&chosen);
    }
    if last.is_empty() {
        last.push((1, 0.5));
    }
    let chosen: Vec<_> = last.iter().map(|(index, strength)| (&files[*index], *strength)).collect();
    models.apply(&chosen);
    let mut fresh = Models::load();
    fresh.apply(&chosen);
    assert_eq!(fingerprint(&mut models), fingerprint(&mut fresh));
    models.apply(&[]);
    assert_eq!(fingerprint(&mut models), plain);
    assert_ne!(fingerprint(&mut fresh), plain);
}

/// The sum over all weights of a plain LoRA's change grows with its strength and nothing else.
#[test]
fn strengths_are_linear() {
    let (mut models, lora) = (Models::load(), adapter("kohya.safetensors"));
    let mut change = |strength: f64| {
        models.apply(&[(&lora, strength)]);
        let mut deltas = Vec::new();
        let mut take = |_: &str, weight: &mut adire_engine::Weight| {
            deltas.extend((weight.effective()? - weight.base()?)?.flatten_all()?.to_vec1::<f32>()?);
            Ok(())
        };
        models.unet.visit_weights(&mut take).unwrap();
        models.text.visit_weights(&mut take).unwrap();
        deltas
    };
    let whole = change(1.0);
    let largest = whole.iter().fold(0f32, |most, x| most.max(x.abs()));
    assert!(largest > 1e-3, "{largest}");
    for strength in [-2.0, -0.5, 0.25, 1.5, 2.0] {
        for (found, whole) in change(strength).into_iter().zip(&whole) {
            // Effective and base weights are rounded to f32 before they are subtracted.
            assert!((found - whole * strength as f32).abs() < 1e-5 * largest.max(1.0), "{strength}");
        }
    }
}
