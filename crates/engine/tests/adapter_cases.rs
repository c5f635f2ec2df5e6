//! Files in the shapes of those that users of other programs met, in the starter model: each is applied, and the same
//! change under other names gives the same bits.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use adire_engine::{
    TextEncoder, UNet,
    adapter::{Adapter, Component, Kind, Receipt, Strength, apply, visit},
};
use candle_core::{DType, Device};

struct Models {
    unet: UNet,
    text: TextEncoder,
    plain: Vec<u32>,
}

impl Models {
    fn load() -> Self {
        let folder = Path::new("../../models/starter");
        let unet = UNet::load(&folder.join("unet"), DType::F32, &Device::Cpu).unwrap();
        let text = TextEncoder::load(&folder.join("text_encoder"), DType::F32, &Device::Cpu).unwrap();
        let mut models = Self { unet, text, plain: Vec::new() };
        models.plain = models.bits();
        models
    }

    fn apply(&mut self, name: &str) -> Receipt {
        let adapter = read(name);
        let receipt =
            apply(&[(&adapter, Strength::from(0.9))], &mut self.unet, &mut self.text).unwrap().remove(0);
        assert_ne!(self.bits(), self.plain, "{name}");
        receipt
    }

    fn bits(&mut self) -> Vec<u32> {
        let mut bits = Vec::new();
        visit(&mut self.unet, &mut self.text, &mut |_, _, _, weight| {
            let values = weight.effective()?.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
            bits.extend(values.into_iter().map(f32::to_bits));
            Ok(())
        })
        .unwrap();
        bits
    }
}

fn read(name: &str) -> Adapter {
    Adapter::read(&Path::new("tests/cases/adapters").join(format!("{name}.safetensors"))).unwrap()
}

fn count(receipt: &Receipt, kind: Kind) -> usize {
    receipt.applied.iter().filter(|layer| layer.kind == kind).count()
}

#[test]
fn other_names_give_the_same_bits() {
    let mut models = Models::load();
    for (name, equal) in [
        ("lycoris-prefix", "lycoris-prefix.equals"),
        ("comfy-saved", "comfy-saved.equals"),
        ("float8", "float8.equals"),
        ("unet-unet-prefix", "plain"),
        ("peft-default-0", "plain"),
        ("peft-own-name", "peft-own-name.equals"),
    ] {
        let receipt = models.apply(name);
        assert_eq!(receipt.warning(), None, "{name}");
        let bits = models.bits();
        let other = models.apply(equal);
        assert_eq!(receipt.applied.len(), other.applied.len(), "{name}");
        assert!(bits == models.bits(), "{name} is not {equal}");
    }
}

#[test]
fn differences_and_factors_of_one_file_are_all_applied() {
    let mut models = Models::load();
    let receipt = models.apply("lycoris-diff-and-factors");
    assert_eq!(receipt.warning(), None);
    assert!(count(&receipt, Kind::Full) > 0 && count(&receipt, Kind::Lora) > 0, "{receipt:?}");
    assert_eq!(receipt.applied.len(), read("lycoris-diff-and-factors").modules().len());
}

#[test]
fn norms_are_applied() {
    let mut models = Models::load();
    let receipt = models.apply("lora-with-norms");
    assert_eq!(receipt.warning(), None);
    assert!(count(&receipt, Kind::Norm) > 1 && count(&receipt, Kind::Lora) > 1, "{receipt:?}");
    assert!(receipt.applied.iter().any(|layer| layer.module == "conv_norm_out" && layer.ratio > 0.0));
}

#[test]
fn factors_of_inputs_and_outputs_are_applied() {
    let mut models = Models::load();
    let receipt = models.apply("ia3");
    assert_eq!(receipt.warning(), None);
    assert_eq!(count(&receipt, Kind::Ia3), receipt.applied.len());
}

#[test]
fn comfyuis_text_encoder_is_clips() {
    let mut models = Models::load();
    let receipt = models.apply("comfy-saved");
    assert!(receipt.applied.iter().any(|layer| layer.component == Component::TextEncoder), "{receipt:?}");
}

#[test]
fn a_bundled_embedding_is_known_as_one() {
    let mut models = Models::load();
    let receipt = models.apply("bundled-embedding");
    let adapter = read("bundled-embedding");
    assert_eq!(adapter.embeddings().keys().collect::<Vec<_>>(), ["mystyle"]);
    assert!(receipt.unknown.is_empty() && receipt.skipped.is_empty(), "{receipt:?}");
    assert_eq!(receipt.warning(), None);
}
