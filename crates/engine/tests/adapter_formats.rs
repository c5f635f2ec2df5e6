//! cloneofsimo's files and PEFT folders against PyTorch and PEFT (`tools/goldens/adapter_formats.py`), and every
//! format written in every other.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(unreachable_pub, reason = "each test file uses a part")]
mod common;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use adire_engine::{
    TextEncoder, UNet,
    adapter::{Adapter, ExportFile, ExportFormat, Format, ModuleTable, Receipt, apply},
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

    fn apply(&mut self, adapter: &Adapter, strength: f64) -> Receipt {
        apply(&[(adapter, strength.into())], &mut self.unet, &mut self.text).unwrap().remove(0)
    }

    /// Every bit of every effective weight.
    fn bits(&mut self) -> Vec<u32> {
        let mut bits = Vec::new();
        let mut take = |_: &str, weight: &mut adire_engine::Weight| {
            let values = weight.effective()?.flatten_all()?.to_vec1::<f32>()?;
            bits.extend(values.into_iter().map(f32::to_bits));
            Ok(())
        };
        self.unet.visit_weights(&mut take).unwrap();
        self.text.visit_weights(&mut take).unwrap();
        bits
    }
}

fn table() -> ModuleTable {
    ModuleTable::of_folder(&golden("pipeline")).unwrap()
}

#[test]
fn outputs_equal_pytorch() {
    let text = std::fs::read(golden("adapter-formats/cases.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_slice(&text).unwrap();
    assert_eq!(cases.len(), 5);
    let expected = tensors("adapter-formats/expected.safetensors");
    let ids = expected["ids"].to_dtype(DType::U32).unwrap().to_vec2::<u32>().unwrap();
    let mut models = Models::load();
    for Case { name, adapters } in cases {
        let [(file, strength)] = &adapters[..] else { panic!("{name}") };
        let adapter = Adapter::read(&golden("adapter-formats").join(file)).unwrap();
        let receipt = models.apply(&adapter, *strength);
        assert!(receipt.skipped.is_empty() && receipt.unknown.is_empty(), "{name}: {receipt:?}");
        let unet = models.unet.forward(&expected["x"], 321.0, &expected["context"]).unwrap();
        assert_close(&format!("{name}, unet"), &unet, &expected[&format!("{name}.unet")]);
        let text = models.text.forward(&ids).unwrap();
        assert_close(&format!("{name}, text"), &text, &expected[&format!("{name}.text")]);
    }
}

#[test]
fn numbered_files_are_told_from_others_and_refused_for_other_models() {
    let adapter = Adapter::read(&golden("adapter-formats/cloneofsimo.safetensors")).unwrap();
    assert_eq!(adapter.formats(), [Format::Cloneofsimo]);
    assert_eq!(adapter.family().to_string(), "a model whose text has width 32");
    assert!(adapter.modules().iter().all(|module| module.scale == 1.0));
    // The first layers of a file for Stable Diffusion 2: its text has another width.
    let mut file = BTreeMap::new();
    for (number, (outputs, inputs)) in
        [(16, 16), (16, 16), (16, 16), (16, 16), (128, 16), (16, 16), (16, 1024)].into_iter().enumerate()
    {
        let zeros = |shape: (usize, usize)| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        file.insert(format!("unet:{number}:down"), zeros((1, inputs)));
        file.insert(format!("unet:{number}:up"), zeros((outputs, 1)));
    }
    let bytes = safetensors::serialize(file.iter(), None).unwrap();
    let adapter = Adapter::from_bytes(Path::new("sd2"), &bytes).unwrap();
    let mut models = Models::load();
    let error = apply(&[(&adapter, 1.0.into())], &mut models.unet, &mut models.text).unwrap_err().to_string();
    assert!(error.contains("It was made for Stable Diffusion 2.x."), "{error}");
}

/// Writes an export and reads it back.
fn read_back(files: &[ExportFile]) -> Adapter {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.safetensors");
    for file in files {
        let path = if file.name.as_os_str().is_empty() { out.clone() } else { out.join(&file.name) };
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, &file.bytes).unwrap();
    }
    Adapter::read(&out).unwrap()
}

const EVERY: [ExportFormat; 3] = [ExportFormat::Kohya, ExportFormat::Diffusers, ExportFormat::Peft];

#[test]
fn every_format_in_every_other_has_the_same_effect_bit_for_bit() {
    let mut models = Models::load();
    let table = table();
    for file in [
        "adapters/kohya.safetensors",
        "adapters/kohya-alphas.safetensors",
        "adapters/diffusers.safetensors",
        "adapters/diffusers-former.safetensors",
        "adapters/processors-bare.safetensors",
        "adapters/peft",
        "adapters/peft-rslora",
        "adapters/peft-dora",
        "adapter-formats/cloneofsimo.safetensors",
        "adapter-formats/cloneofsimo-2022.safetensors",
        "adapter-formats/cloneofsimo-extended.safetensors",
        "adapter-formats/peft-patterns",
    ] {
        let adapter = Adapter::read(&golden(file)).unwrap();
        let layers = models.apply(&adapter, 0.7).applied.len();
        let bits = models.bits();
        for format in EVERY {
            let written = read_back(&adapter.export(format, &table).unwrap());
            let receipt = models.apply(&written, 0.7);
            assert!(receipt.skipped.is_empty() && receipt.unknown.is_empty(), "{file}, {format:?}");
            assert_eq!(receipt.applied.len(), layers, "{file}, {format:?}");
            assert!(models.bits() == bits, "{file} as {format:?} has another effect");
            let again = read_back(&written.export(ExportFormat::Kohya, &table).unwrap());
            models.apply(&again, 0.7);
            assert!(models.bits() == bits, "{file} as {format:?} and kohya has another effect");
        }
    }
}

fn content(bytes: &[u8]) -> BTreeMap<String, (Vec<usize>, safetensors::Dtype, Vec<u8>)> {
    let file = safetensors::SafeTensors::deserialize(bytes).unwrap();
    file.iter()
        .map(|(name, view)| (name.to_owned(), (view.shape().to_vec(), view.dtype(), view.data().to_vec())))
        .collect()
}

#[test]
fn kohya_comes_back_from_the_others_with_the_same_factors_and_alphas() {
    let table = table();
    for file in ["adapters/kohya.safetensors", "adapters/kohya-alphas.safetensors"] {
        let original = std::fs::read(golden(file)).unwrap();
        let adapter = Adapter::read(&golden(file)).unwrap();
        let alphas: BTreeMap<String, f64> =
            adapter.modules().into_iter().map(|module| (module.name, module.alpha)).collect();
        for format in EVERY {
            let there = read_back(&adapter.export(format, &table).unwrap());
            let back = there.export(ExportFormat::Kohya, &table).unwrap();
            let (found, original) = (content(&back[0].bytes), content(&original));
            for (name, tensor) in original.iter().filter(|(name, _)| !name.ends_with(".alpha")) {
                assert_eq!(found.get(name), Some(tensor), "{file}, {format:?}: {name}");
            }
            let factors = original.keys().filter(|name| !name.ends_with(".alpha")).count();
            assert_eq!(found.len(), factors + alphas.len(), "an alpha for each layer, and nothing else");
            let read: BTreeMap<String, f64> =
                read_back(&back).modules().into_iter().map(|module| (module.name, module.alpha)).collect();
            assert_eq!(read, alphas, "{file}, {format:?}");
            if format != ExportFormat::Peft && file.ends_with("kohya.safetensors") {
                assert_eq!(
                    read_back(&back).metadata()["ss_network_alpha"],
                    "1.5",
                    "the trainer's notes stay"
                );
            }
        }
    }
}

/// transformers 5 took `text_model` out of the text tower's names. PEFT writes the names that the model has; what it wrote
/// with one version is read with the other, in every format.
#[test]
fn names_of_either_version_of_transformers_mean_the_same() {
    let mut models = Models::load();
    let bits = |models: &mut Models, adapter: &Adapter| {
        let receipt = models.apply(adapter, 1.0);
        assert!(receipt.skipped.is_empty() && receipt.unknown.is_empty(), "{receipt:?}");
        models.bits()
    };
    // PEFT 0.21 wrote this one with transformers 5.
    let (folder, part) = (golden("adapter-formats/peft-patterns"), "text_encoder/adapter_model.safetensors");
    let current = bits(&mut models, &Adapter::read(&folder).unwrap());
    let other = tempfile::tempdir().unwrap();
    for file in [
        "unet/adapter_model.safetensors",
        "unet/adapter_config.json",
        part,
        "text_encoder/adapter_config.json",
    ] {
        let goal = other.path().join(file);
        std::fs::create_dir_all(goal.parent().unwrap()).unwrap();
        std::fs::copy(folder.join(file), goal).unwrap();
    }
    let renamed = |from: &Path, to: &Path, change: &dyn Fn(&str) -> String| {
        let tensors = candle_core::safetensors::load(from, &Device::Cpu).unwrap();
        let names: Vec<String> = tensors.keys().map(|name| change(name)).collect();
        assert!(names.iter().any(|name| !tensors.contains_key(name)), "{} has those names", from.display());
        let tensors = names.into_iter().zip(tensors.values());
        std::fs::write(to, safetensors::serialize(tensors, None).unwrap()).unwrap();
    };
    renamed(&folder.join(part), &other.path().join(part), &|name| {
        name.replace("base_model.model.encoder.", "base_model.model.text_model.encoder.")
    });
    assert!(bits(&mut models, &Adapter::read(other.path()).unwrap()) == current, "PEFT");
    for (file, with, without) in [
        ("kohya", "lora_te_text_model_encoder", "lora_te_encoder"),
        ("diffusers-former", "text_encoder.text_model.encoder", "text_encoder.encoder"),
    ] {
        let from = golden("adapters").join(format!("{file}.safetensors"));
        let to = other.path().join("renamed.safetensors");
        renamed(&from, &to, &|name| name.replace(with, without));
        let found = bits(&mut models, &Adapter::read(&to).unwrap());
        assert!(bits(&mut models, &Adapter::read(&from).unwrap()) == found, "{file}");
    }
}

/// What PEFT itself would look for today.
#[test]
fn peft_folders_have_the_names_of_transformers_5() {
    let adapter = Adapter::read(&golden("adapters/kohya.safetensors")).unwrap();
    let files = adapter.export(ExportFormat::Peft, &table()).unwrap();
    let text =
        files.iter().find(|file| file.name.ends_with("text_encoder/adapter_model.safetensors")).unwrap();
    let names: Vec<String> = content(&text.bytes).into_keys().collect();
    assert!(names.iter().all(|name| name.starts_with("base_model.model.encoder.layers.")), "{names:?}");
    let theirs =
        std::fs::read(golden("adapter-formats/peft-patterns/text_encoder/adapter_model.safetensors"))
            .unwrap();
    assert!(content(&theirs).keys().all(|name| names.contains(name)));
}

#[test]
fn what_a_format_cannot_express_is_refused_by_name() {
    let mut models = Models::load();
    let table = table();
    for (file, expected) in [
        ("locon", "has a third factor between the two (Tucker)"),
        ("loha", "is a Hadamard product (LoHa)"),
        ("lokr", "is a Kronecker product (LoKr)"),
        ("dora", "has a DoRA magnitude for each input"),
    ] {
        let adapter = Adapter::read(&golden("adapters").join(format!("{file}.safetensors"))).unwrap();
        for format in [ExportFormat::Diffusers, ExportFormat::Peft] {
            let error = adapter.export(format, &table).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("lora_unet_"), "{file}: {error}");
            assert!(error.contains("kohya's format can hold it"), "{error}");
        }
        models.apply(&adapter, 1.0);
        let bits = models.bits();
        let written = read_back(&adapter.export(ExportFormat::Kohya, &table).unwrap());
        models.apply(&written, 1.0);
        assert!(models.bits() == bits, "{file} as kohya has another effect");
    }
    // A module that the model does not have has no dotted name.
    let sdxl = Adapter::read(&golden("adapters/sdxl-kohya.safetensors")).unwrap();
    let error = sdxl.export(ExportFormat::Diffusers, &table).unwrap_err().to_string();
    assert!(error.contains("made for SDXL") && error.contains("--model"), "{error}");
    // Some layers with DoRA, some without.
    let mut mixed =
        candle_core::safetensors::load(golden("adapters/kohya.safetensors"), &Device::Cpu).unwrap();
    let name =
        mixed.keys().find(|name| name.ends_with("attn1_to_q.alpha")).unwrap().replace("alpha", "dora_scale");
    mixed.insert(name, Tensor::ones((16, 1), DType::F32, &Device::Cpu).unwrap());
    let bytes = safetensors::serialize(mixed.iter(), None).unwrap();
    let mixed = Adapter::from_bytes(Path::new("mixed"), &bytes).unwrap();
    let error = mixed.export(ExportFormat::Peft, &table).unwrap_err().to_string();
    assert!(error.contains("has DoRA for all or none"), "{error}");
}

#[test]
fn stable_diffusion_itself_needs_no_model_folder() {
    let (prefix, q) = ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q", [320, 320]);
    let zeros = |shape: [usize; 2]| Tensor::zeros(&shape, DType::F16, &Device::Cpu).unwrap();
    let mut file = BTreeMap::from([
        (format!("{prefix}.lora_down.weight"), zeros([4, q[1]])),
        (format!("{prefix}.lora_up.weight"), zeros([q[0], 4])),
    ]);
    let te = "lora_te_text_model_encoder_layers_11_mlp_fc1";
    file.insert(format!("{te}.lora_down.weight"), zeros([2, 768]));
    file.insert(format!("{te}.lora_up.weight"), zeros([3072, 2]));
    let bytes = safetensors::serialize(file.iter(), None).unwrap();
    let adapter = Adapter::from_bytes(Path::new("some"), &bytes).unwrap();
    let written = adapter.export(ExportFormat::Diffusers, &ModuleTable::sd15().unwrap()).unwrap();
    let names: Vec<String> = content(&written[0].bytes).into_keys().collect();
    assert_eq!(
        names,
        [
            "text_encoder.text_model.encoder.layers.11.mlp.fc1.lora_A.weight",
            "text_encoder.text_model.encoder.layers.11.mlp.fc1.lora_B.weight",
            "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight",
            "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_B.weight",
        ]
    );
}

#[test]
fn peft_folders_that_cannot_be_used_say_why() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("adapter");
    std::fs::create_dir_all(&folder).unwrap();
    let refusal = || Adapter::read(&folder).unwrap_err().to_string();
    assert!(refusal().contains("holds no adapter: a PEFT folder has adapter_model.safetensors"));
    std::fs::write(folder.join("adapter_model.bin"), "x").unwrap();
    assert!(refusal().contains("adapter_model.bin: is a pickle"));
    let from = |name: &str| std::fs::copy(golden("adapters/peft").join(name), folder.join(name)).unwrap();
    from("adapter_model.safetensors");
    let error = refusal();
    assert!(error.contains("adapter_config.json: is missing; it says how strongly"), "{error}");
    for (config, expected) in [
        ("{", "cannot be understood"),
        ("[]", "cannot be understood"),
        (r#"{"peft_type": "VERA"}"#, "of PEFT type VERA; expected one of LORA, LOHA"),
        (
            r#"{"peft_type": "LORA", "alpha_pattern": {"(": 1}}"#,
            "the pattern \"(\", which cannot be understood",
        ),
    ] {
        std::fs::write(folder.join("adapter_config.json"), config).unwrap();
        let error = refusal();
        assert!(error.contains(expected), "{config}: {error}");
    }
    from("adapter_config.json");
    assert_eq!(Adapter::read(&folder).unwrap().formats(), [Format::Peft]);
}
