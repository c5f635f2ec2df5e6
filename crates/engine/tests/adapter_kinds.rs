//! Every kind of change that LyCORIS and PEFT write, against what they make of it themselves
//! (`tools/goldens/adapter_kinds.py`).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(unreachable_pub, reason = "each test file uses a part")]
mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use adire_engine::{
    TextEncoder, UNet,
    adapter::{Adapter, ExportFormat, Kind, ModuleTable, Receipt, Strength, apply, visit},
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

    /// Every bit of every parameter in effect.
    fn bits(&mut self) -> Vec<u32> {
        let mut bits = Vec::new();
        visit(&mut self.unet, &mut self.text, &mut |_, _, _, weight| {
            let values = weight.effective()?.flatten_all()?.to_vec1::<f32>()?;
            bits.extend(values.into_iter().map(f32::to_bits));
            Ok(())
        })
        .unwrap();
        bits
    }
}

fn cases() -> Vec<Case> {
    serde_json::from_slice(&std::fs::read(golden("adapter-kinds/cases.json")).unwrap()).unwrap()
}

fn read(file: &Path) -> Adapter {
    Adapter::read(&golden("adapter-kinds").join(file)).unwrap()
}

#[test]
fn outputs_equal_those_of_lycoris_and_peft() {
    let expected = tensors("adapter-kinds/expected.safetensors");
    let ids = expected["ids"].to_dtype(DType::U32).unwrap().to_vec2::<u32>().unwrap();
    let (mut models, mut kinds, mut wrong) = (Models::load(), BTreeSet::new(), Vec::new());
    for Case { name, adapters } in cases() {
        let [(file, strength)] = &adapters[..] else { panic!("{name}") };
        let adapter = read(file);
        let receipt = models.apply(&[(&adapter, *strength)]).remove(0);
        kinds.extend(receipt.applied.iter().map(|layer| layer.kind));
        // LyCORIS writes a bias' difference for modules that have one, so nothing is left out.
        assert_eq!(receipt.warning(), None, "{name}");
        assert!(receipt.applied.iter().all(|layer| layer.ratio > 0.0), "{name}: {receipt:?}");
        let unet = models.unet.forward(&expected["x"], 321.0, &expected["context"]).unwrap();
        let text = models.text.forward(&ids).unwrap().narrow(1, 0, 6).unwrap();
        for (what, found) in [("unet", &unet), ("text", &text)] {
            let expected = &expected[&format!("{name}.{what}")];
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| assert_close(&name, found, expected)))
                .is_err()
            {
                wrong.push(format!("{name}, {what}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    use Kind::{Boft, Full, Glora, Ia3, Loha, Lokr, Lora, Norm, Oft};
    assert_eq!(kinds, BTreeSet::from([Lora, Loha, Lokr, Full, Norm, Ia3, Glora, Oft, Boft]));
}

/// Differences, norms and biases too: what was there before is there again, to the bit.
#[test]
fn no_switch_leaves_a_trace() {
    let mut models = Models::load();
    let plain = models.bits();
    let files: BTreeMap<PathBuf, Adapter> = cases()
        .into_iter()
        .map(|case| case.adapters[0].0.clone())
        .map(|file| (file.clone(), read(&file)))
        .collect();
    let full = &files[Path::new("full.safetensors")];
    models.apply(&[(full, 0.8)]);
    let first = models.bits();
    assert_ne!(first, plain);
    for (file, adapter) in &files {
        models.apply(&[(adapter, 1.3), (full, -0.4)]);
        assert_ne!(models.bits(), first, "{}", file.display());
        models.apply(&[(full, 0.8)]);
        assert_eq!(models.bits(), first, "{}", file.display());
        models.apply(&[(adapter, 0.0)]);
        assert_eq!(models.bits(), plain, "{}", file.display());
    }
    models.apply(&[]);
    assert_eq!(models.bits(), plain);
}

/// What is not a rotation is linear in its strength; a rotation is continuous.
#[test]
fn a_small_strength_changes_little() {
    let mut models = Models::load();
    let plain = models.bits();
    for Case { name, adapters } in cases() {
        let adapter = read(&adapters[0].0);
        let mut largest = |strength: f64| {
            models.apply(&[(&adapter, strength)]);
            let found = models.bits();
            let moved =
                found.iter().zip(&plain).map(|(a, b)| (f32::from_bits(*a) - f32::from_bits(*b)).abs());
            moved.fold(0f32, f32::max)
        };
        let (whole, small) = (largest(1.0), largest(1e-3));
        assert!(small > 0.0 && small < 0.02 * whole.max(0.1), "{name}: {small} of {whole}");
    }
}

/// LyCORIS' names for every kind that LyCORIS has.
#[test]
fn every_kind_of_lycoris_is_written_as_it_was_read() {
    let (mut models, folder) = (Models::load(), tempfile::tempdir().unwrap());
    let table = ModuleTable::of_folder(&golden("pipeline")).unwrap();
    let files: BTreeSet<PathBuf> = cases().into_iter().map(|case| case.adapters[0].0.clone()).collect();
    for file in files {
        let adapter = read(&file);
        let path = folder.path().join("written.safetensors");
        let written = match adapter.export(ExportFormat::Kohya, &table) {
            Ok(files) => files,
            Err(error) => {
                let only_peft = [
                    "peft-lokr",
                    "peft-ia3",
                    "peft-oft",
                    "peft-oft-series",
                    "peft-oft-shared",
                    "peft-boft",
                    "peft-boft-stages",
                    "peft-lora-bias",
                ];
                assert!(only_peft.contains(&file.to_str().unwrap()), "{error}");
                continue;
            }
        };
        std::fs::write(&path, &written[0].bytes).unwrap();
        models.apply(&[(&adapter, 0.9)]);
        let bits = models.bits();
        models.apply(&[(&Adapter::read(&path).unwrap(), 0.9)]);
        assert!(models.bits() == bits, "{}", file.display());
        let error = adapter.export(ExportFormat::Diffusers, &table).err().map(|error| error.to_string());
        let is_plain =
            ["locon-dora-outputs.safetensors", "lora-e5m2.safetensors"].contains(&file.to_str().unwrap());
        assert_eq!(error.is_none(), is_plain, "{}: {error:?}", file.display());
    }
}

/// As `adire adapters add` keeps them.
#[test]
fn every_peft_folder_can_be_one_file() {
    let mut models = Models::load();
    let files: BTreeSet<PathBuf> = cases().into_iter().map(|case| case.adapters[0].0.clone()).collect();
    let folders: Vec<PathBuf> = files.into_iter().map(|file| golden("adapter-kinds").join(file)).collect();
    let folders: Vec<PathBuf> = folders.into_iter().filter(|path| path.is_dir()).collect();
    assert_eq!(folders.len(), 10);
    for folder in folders {
        models.apply(&[(&Adapter::read(&folder).unwrap(), 1.0)]);
        let bits = models.bits();
        let bytes = adire_engine::adapter::one_file(&folder).unwrap();
        let adapter = Adapter::from_bytes(Path::new("one.safetensors"), &bytes).unwrap();
        models.apply(&[(&adapter, 1.0)]);
        assert!(models.bits() == bits, "{}", folder.display());
    }
}

/// A PEFT folder says the same as its tensors in one file, where that says what the folder's config says.
#[test]
fn a_folder_reads_as_its_tensors_in_one_file_do() {
    let mut models = Models::load();
    for (name, alpha) in [("peft-loha", 3.0), ("peft-lokr-factors", 2.0)] {
        let folder = golden("adapter-kinds").join(name);
        let all =
            candle_core::safetensors::load(folder.join("adapter_model.safetensors"), &Device::Cpu).unwrap();
        let mut tensors: Vec<(String, Tensor)> = all.into_iter().collect();
        let modules: BTreeSet<String> =
            tensors.iter().map(|(key, _)| key.rsplit_once('.').unwrap().0.to_owned()).collect();
        for module in modules {
            tensors.push((format!("{module}.alpha"), Tensor::new(alpha as f32, &Device::Cpu).unwrap()));
        }
        let file = tempfile::tempdir().unwrap();
        let path = file.path().join("one.safetensors");
        let bytes = safetensors::serialize(tensors.iter().map(|(key, tensor)| (key, tensor)), None).unwrap();
        std::fs::write(&path, bytes).unwrap();
        models.apply(&[(&Adapter::read(&folder).unwrap(), 1.0)]);
        let bits = models.bits();
        models.apply(&[(&Adapter::read(&path).unwrap(), 1.0)]);
        assert!(models.bits() == bits, "{name}");
    }
}
