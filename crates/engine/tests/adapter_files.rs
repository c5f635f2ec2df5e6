//! Adapter files that are damaged, hostile or something else, and random sequences of switches.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::HashMap, path::Path};

use adire_engine::{
    EngineError, Parameter, Weight,
    adapter::{Adapter, Component, Strength, apply_each},
};
use candle_core::{DType, Device, Tensor};
use proptest::prelude::*;

const MODULES: [(&str, [usize; 2]); 4] =
    [("a.to_q", [6, 4]), ("a.to_k", [6, 5]), ("b.to_v", [3, 4]), ("b.to_out.0", [4, 4])];

fn random(shape: &[usize], seed: u64) -> Tensor {
    let mut noise = adire_engine::NoiseSource::new(adire_protocol::Rng::Cpu, seed);
    noise.randn(shape, &Device::Cpu).unwrap()
}

fn bytes(tensors: &[(String, Tensor)]) -> Vec<u8> {
    safetensors::serialize(tensors.iter().map(|(name, tensor)| (name, tensor)), None).unwrap()
}

/// An adapter over some of `MODULES`.
fn lora(seed: u64, modules: &[usize]) -> Vec<u8> {
    let mut tensors = Vec::new();
    for module in modules {
        let (name, [out, inputs]) = MODULES[*module];
        let (rank, key) = (1 + *module, format!("unet.{name}"));
        tensors.push((format!("{key}.lora_A.weight"), random(&[rank, inputs], seed)));
        tensors.push((format!("{key}.lora_B.weight"), random(&[out, rank], seed + 1)));
        tensors.push((format!("{key}.alpha"), Tensor::new(1.5f32, &Device::Cpu).unwrap()));
    }
    bytes(&tensors)
}

fn read(bytes: &[u8]) -> Result<Adapter, String> {
    match Adapter::from_bytes(Path::new("some.safetensors"), bytes) {
        Ok(adapter) => Ok(adapter),
        Err(EngineError::Adapter { path, message }) if path == Path::new("some.safetensors") => Err(message),
        Err(error) => panic!("another error: {error}"),
    }
}

struct Model(Vec<(&'static str, Weight)>);

impl Model {
    fn new(dtype: DType) -> Self {
        let weight = |(i, (name, shape)): (usize, &(&'static str, [usize; 2]))| {
            (*name, Weight::new(random(shape, 900 + i as u64).to_dtype(dtype).unwrap()))
        };
        Self(MODULES.iter().enumerate().map(weight).collect())
    }

    fn apply(
        &mut self,
        adapters: &[(&Adapter, f64)],
    ) -> adire_engine::Result<Vec<adire_engine::adapter::Receipt>> {
        let adapters: Vec<_> = adapters.iter().map(|(a, strength)| (*a, Strength::from(*strength))).collect();
        apply_each(&adapters, &mut |f| {
            self.0.iter_mut().try_for_each(|(name, w)| f(Component::Unet, name, Parameter::Weight, w))
        })
    }

    fn bits(&self) -> Vec<u32> {
        let values = |weight: &Weight| {
            weight
                .effective()
                .unwrap()
                .to_dtype(DType::F32)
                .unwrap()
                .flatten_all()
                .unwrap()
                .to_vec1::<f32>()
                .unwrap()
        };
        self.0.iter().flat_map(|(_, weight)| values(weight)).map(f32::to_bits).collect()
    }

    fn deltas(&self) -> Vec<f32> {
        let delta = |weight: &Weight| {
            (weight.effective().unwrap() - weight.base().unwrap())
                .unwrap()
                .flatten_all()
                .unwrap()
                .to_vec1::<f32>()
                .unwrap()
        };
        self.0.iter().flat_map(|(_, weight)| delta(weight)).collect()
    }
}

#[test]
fn what_is_no_adapter_is_refused_with_the_reason() {
    let good = lora(1, &[0, 1, 2, 3]);
    let named = |name: &str, tensor: &Tensor| bytes(&[(name.to_owned(), tensor.clone())]);
    let matrix = random(&[2, 4], 0);
    let mut huge_header = good.clone();
    huge_header[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    let mut long_header = good.clone();
    long_header[..8].copy_from_slice(&(good.len() as u64 * 2).to_le_bytes());
    let huge_tensor =
        br#"{"x.lora_A.weight":{"dtype":"F32","shape":[1000000000,1000000000],"data_offsets":[0,4]}}"#;
    let mut huge_shape = (huge_tensor.len() as u64).to_le_bytes().to_vec();
    huge_shape.extend_from_slice(huge_tensor);
    huge_shape.extend_from_slice(&[0; 4]);
    let pair = |down: &[usize], up: &[usize]| {
        bytes(&[
            ("unet.a.to_q.lora_A.weight".to_owned(), random(down, 0)),
            ("unet.a.to_q.lora_B.weight".to_owned(), random(up, 0)),
        ])
    };
    let nan = (&matrix * f64::NAN).unwrap();
    for (what, bytes, expected) in [
        ("empty", Vec::new(), "too few"),
        ("a zip", b"PK\x03\x04rest of a zip file".to_vec(), "pickle"),
        ("a pickle", b"\x80\x02}q\x00.".to_vec(), "pickle"),
        ("a page", b"<!DOCTYPE html><html>not found</html>".to_vec(), "web page"),
        ("a pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:0".to_vec(), "LFS"),
        ("truncated", good[..good.len() - 5].to_vec(), "truncated"),
        ("truncated in the header", good[..40].to_vec(), "truncated"),
        ("huge header", huge_header, "impossible header size"),
        ("long header", long_header, "truncated"),
        ("huge shape", huge_shape, "damaged"),
        ("text", b"hello, I am a text file of some length".to_vec(), "safetensors"),
        ("a checkpoint", named("model.diffusion_model.input_blocks.0.0.weight", &matrix), "whole model"),
        ("an embedding", named("emb_params", &matrix), "textual inversion"),
        ("only one factor", named("unet.a.to_q.lora_A.weight", &matrix), "no up factor"),
        ("only the other", named("unet.a.to_q.lora_B.weight", &matrix), "lacks a factor"),
        ("only alpha", named("unet.a.to_q.alpha", &random(&[1], 0)), "no adapter"),
        ("NaN", named("unet.a.to_q.lora_A.weight", &nan), "NaN"),
        ("whole numbers", named("x.lora_A.weight", &matrix.to_dtype(DType::U8).unwrap()), "U8"),
        ("two ranks", pair(&[2, 4], &[6, 3]), "do not share a rank"),
        (
            "an infinite alpha",
            named("unet.a.to_q.alpha", &Tensor::new(f32::INFINITY, &Device::Cpu).unwrap()),
            "infinity",
        ),
        ("on_input alone", named("unet.a.to_q.on_input", &random(&[1], 0)), "no weight"),
        ("blocks that are not square", named("unet.a.to_q.oft_blocks", &random(&[2, 3, 2], 0)), "[2, 3, 2]"),
        ("a triangle that is none", named("unet.a.to_q.oft_R", &random(&[2, 5], 0)), "[2, 5]"),
        ("half a GLoRA", named("unet.a.to_q.a1.weight", &matrix), "lacks a factor"),
        ("DoRA without factors", named("unet.a.to_q.dora_scale", &matrix), "lacks a factor"),
        ("rank 0", pair(&[0, 4], &[6, 0]), "shape [0, 4]"),
        ("rank 9000", pair(&[9000, 1], &[1, 9000]), "rank 9000"),
        ("a vector", pair(&[4], &[6, 4]), "shape [4]"),
        ("five dimensions", pair(&[1, 1, 1, 1, 4], &[6, 1]), "5 dimensions"),
    ] {
        match read(&bytes) {
            Ok(_) => panic!("{what} was taken"),
            Err(message) => assert!(message.contains(expected), "{what}: {message}"),
        }
    }
    let missing = Adapter::read(Path::new("/nowhere/at all.safetensors")).unwrap_err().to_string();
    assert!(
        missing.contains("/nowhere/at all.safetensors") && missing.contains("cannot be read"),
        "{missing}"
    );
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let mut model = Model::new(DType::F32);
    let base = model.bits();
    let pair = |name: &str, inputs, out| {
        let tensors = [
            (format!("{name}.lora_down.weight"), random(&[2, inputs], 0)),
            (format!("{name}.lora_up.weight"), random(&[out, 2], 0)),
        ];
        read(&bytes(&tensors)).unwrap()
    };
    for (adapter, expected) in [
        (pair("lora_unet_a_to_q", 7, 6), "a.to_q is [6, 4] in this model, but [6, 7] in the file"),
        (pair("lora_unet_c_to_q", 4, 6), "none of its 1 layers (for example lora_unet_c_to_q) exists here"),
        (pair("lora_te_a_to_q", 4, 6), "changes nothing in this model"),
    ] {
        let error = model.apply(&[(&adapter, 1.0)]).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(model.bits(), base);
    }
    // Layers that fit are applied; the others are reported.
    let mut tensors = vec![
        ("lora_unet_a_to_q.lora_down.weight".to_owned(), random(&[2, 4], 0)),
        ("lora_unet_a_to_q.lora_up.weight".to_owned(), random(&[6, 2], 0)),
        ("lora_unet_nowhere.lora_down.weight".to_owned(), random(&[2, 4], 0)),
        ("lora_unet_nowhere.lora_up.weight".to_owned(), random(&[6, 2], 0)),
    ];
    tensors.push(("something.else".to_owned(), random(&[3], 0)));
    let receipts = model.apply(&[(&read(&bytes(&tensors)).unwrap(), 1.0)]).unwrap();
    assert_eq!(receipts[0].applied.len(), 1);
    assert_eq!(receipts[0].skipped[0].module, "lora_unet_nowhere");
    assert_eq!(receipts[0].unknown, ["something.else"]);
}

#[test]
fn bundled_embeddings_are_kept_by_their_word() {
    let mut tensors = vec![
        ("lora_unet_a_to_q.lora_down.weight".to_owned(), random(&[2, 4], 0)),
        ("lora_unet_a_to_q.lora_up.weight".to_owned(), random(&[6, 2], 0)),
        ("bundle_emb.mystyle.string_to_param.*".to_owned(), random(&[2, 192], 1)),
        ("bundle_emb.one.emb_params".to_owned(), random(&[192], 2)),
        ("bundle_emb.two.clip_g".to_owned(), random(&[1, 5], 3)),
    ];
    let adapter = read(&bytes(&tensors)).unwrap();
    let shapes: Vec<_> = adapter.embeddings().iter().map(|(word, t)| (word.as_str(), t.dims())).collect();
    assert_eq!(shapes, [("mystyle", &[2, 192][..]), ("one", &[1, 192])]);
    assert_eq!(adapter.unknown_keys(), ["bundle_emb.two.clip_g"]);
    tensors.push(("bundle_emb.one.string_to_param.*".to_owned(), random(&[192], 2)));
    assert!(read(&bytes(&tensors)).unwrap_err().contains("\"one\" twice"));
}

/// Whatever the file calls a module, its change is applied once, or the file is refused.
#[test]
fn two_spellings_of_one_module_are_said() {
    let mut model = Model::new(DType::F32);
    let pair = |name: &str, down: &str, up: &str| {
        [
            (format!("{name}.{down}.weight"), random(&[2, 4], 0)),
            (format!("{name}.{up}.weight"), random(&[6, 2], 0)),
        ]
    };
    let kohya = pair("lora_unet_a_to_q", "lora_down", "lora_up");
    let twice = [kohya.clone(), pair("unet.a.to_q", "lora_A", "lora_B")].concat();
    let error = read(&bytes(&twice)).unwrap_err();
    assert!(
        error.contains("\"lora_unet_a_to_q.lora_down.weight\" and as \"unet.a.to_q.lora_A.weight\""),
        "{error}"
    );
    let twice =
        [pair("unet.a.to_q", "lora_A.one", "lora_B.one"), pair("unet.a.to_q", "lora_A.two", "lora_B.two")];
    let error = read(&bytes(&twice.concat())).unwrap_err();
    assert!(error.contains("lora_A.one") && error.contains("lora_A.two"), "{error}");
    let twice = [kohya.clone(), pair("base_model.model.a.to_q", "lora_A", "lora_B")].concat();
    let error = model.apply(&[(&read(&bytes(&twice)).unwrap(), 1.0)]).unwrap_err().to_string();
    assert!(error.contains("changes a.to_q twice"), "{error}");
    // One spelling may complete the other.
    let alpha = ("unet.a.to_q.alpha".to_owned(), Tensor::new(1f32, &Device::Cpu).unwrap());
    let adapter = read(&bytes(&[&kohya[..], &[alpha]].concat())).unwrap();
    assert_eq!(adapter.modules()[0].scale, 0.5);
}

#[test]
fn what_has_no_place_is_counted_by_sort() {
    let mut model = Model::new(DType::F32);
    let tensors = [
        ("lora_unet_a_to_q.diff".to_owned(), random(&[6, 4], 0)),
        ("lora_unet_a_to_q.diff_b".to_owned(), random(&[6], 0)),
        ("lora_unet_a_to_k.diff_b".to_owned(), random(&[6], 0)),
        ("lora_unet_nowhere.on_input".to_owned(), Tensor::new(1f32, &Device::Cpu).unwrap()),
        ("lora_unet_nowhere.weight".to_owned(), random(&[6], 0)),
        ("bundle_emb.word.emb_params".to_owned(), random(&[2, 8], 0)),
        ("a.b.weight".to_owned(), random(&[3], 0)),
        ("x\u{1b}[31m".to_owned(), random(&[3], 0)),
    ];
    let adapter = read(&bytes(&tensors)).unwrap();
    let receipt = model.apply(&[(&adapter, 1.0)]).unwrap().remove(0);
    assert_eq!(receipt.applied.len(), 1);
    let sorts: Vec<(&str, u32)> = receipt.left_out.iter().map(|l| (l.sort.as_str(), l.tensors)).collect();
    let expected = [
        ("of layers that this model does not have", 2),
        ("biases of layers that have none", 2),
        ("with unknown names", 2),
    ];
    assert_eq!(sorts, expected);
    let error = receipt.warning().unwrap();
    assert!(error.starts_with("Applied in part: 6 of 8 tensors were left out: 2 of layers"), "{error}");
    assert!(error.contains("x\\u{1b}[31m") && !error.contains('\u{1b}'), "{error}");
}

#[test]
fn wrong_shapes_are_named_with_both_and_no_other_model_is_blamed() {
    let mut model = Model::new(DType::F32);
    for (name, shape, expected) in [
        ("lora_unet_a_to_q.diff", &[4, 6][..], "a.to_q is [6, 4] in this model, but [4, 6] in the file"),
        ("lora_unet_a_to_q.ia3_l", &[5, 1], "but [5, 1] for its outputs in the file (as lora_unet_a_to_q)"),
        ("lora_unet_a_to_q.ia3_l", &[1, 5], "but [1, 5] for its inputs in the file"),
        ("lora_unet_a_to_q.oft_blocks", &[2, 2, 2], "but blocks of [2, 2, 2] in the file"),
        ("lora_unet_a_to_q.oft_diag", &[1, 4, 4], "but blocks of [1, 4, 4] in the file"),
        ("lora_unet_a_to_q.oft_R", &[1, 3], "but blocks of [1, 3] in the file"),
        ("lora_unet_a_to_q.boft_R", &[3, 2, 2, 2], "but blocks of [3, 2, 2, 2] in the file"),
    ] {
        let adapter = read(&bytes(&[(name.to_owned(), random(shape, 1))])).unwrap();
        let error = model.apply(&[(&adapter, 1.0)]).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("made for"), "{error}");
    }
}

/// A few adapters, each over another set of modules.
fn pool() -> Vec<Adapter> {
    let sets: [&[usize]; 5] = [&[0], &[0, 1], &[2, 3], &[0, 1, 2, 3], &[1, 3]];
    sets.iter().enumerate().map(|(i, modules)| read(&lora(10 * i as u64, modules)).unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_sequence_of_switches_ends_like_a_fresh_load(
        half in any::<bool>(),
        switches in prop::collection::vec(prop::collection::vec((0usize..5, -2.0f64..2.0), 0..4), 1..40),
    ) {
        let (pool, dtype) = (pool(), if half { DType::F16 } else { DType::F32 });
        let mut model = Model::new(dtype);
        let base = model.bits();
        for switch in &switches {
            let adapters: Vec<_> = switch.iter().map(|(which, strength)| (&pool[*which], *strength)).collect();
            model.apply(&adapters).unwrap();
        }
        let last: Vec<_> = switches.last().unwrap().iter().map(|(which, s)| (&pool[*which], *s)).collect();
        let mut fresh = Model::new(dtype);
        fresh.apply(&last).unwrap();
        prop_assert_eq!(model.bits(), fresh.bits());
        model.apply(&[]).unwrap();
        prop_assert_eq!(model.bits(), base);
    }

    #[test]
    fn strengths_are_linear(which in 0usize..5, strength in -2.0f64..2.0) {
        let pool = pool();
        let mut model = Model::new(DType::F32);
        model.apply(&[(&pool[which], 1.0)]).unwrap();
        let one = model.deltas();
        model.apply(&[(&pool[which], strength)]).unwrap();
        for (found, one) in model.deltas().iter().zip(one) {
            prop_assert!((f64::from(*found) - f64::from(one) * strength).abs() < 1e-5);
        }
    }

    #[test]
    fn no_damage_makes_reading_panic(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(), is_cut in any::<bool>(),
    ) {
        let mut bytes = lora(3, &[0, 1, 2, 3]);
        for (index, value) in damage {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        if is_cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(adapter) = read(&bytes) {
            let _ = Model::new(DType::F32).apply(&[(&adapter, 1.0)]);
        }
    }

    #[test]
    fn no_header_makes_reading_panic(
        dims in prop::collection::vec(prop_oneof![0usize..9, Just(usize::MAX), Just(1 << 33)], 0..6),
        suffix in prop::sample::select(vec![
            "lora_down.weight", "lora_up.weight", "lora_mid.weight", "alpha", "dora_scale", "hada_w1_a", "hada_t1",
            "lokr_w1", "lokr_w2_b", "lokr_t2", "diff", "diff_b", "w_norm", "on_input", "weight", "a1.weight", "oft_blocks",
            "oft_diag", "oft_R", "boft_R", "ia3_l", "rescale",
        ]),
        shapes in prop::collection::hash_map(
            prop::sample::select(vec![
                "lora_down.weight", "lora_up.weight", "lora_mid.weight", "alpha", "dora_scale", "hada_w1_a",
                "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2", "lokr_w1", "lokr_w1_a", "lokr_w1_b",
                "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2", "diff", "diff_b", "w_norm", "b_norm", "on_input", "weight",
                "a1.weight", "a2.weight", "b1.weight", "b2.weight", "bm.weight", "oft_blocks", "oft_diag", "rescale",
                "oft_R", "boft_R", "boft_s", "ia3_l", "lora_B.bias", "scalar",
            ]),
            prop::collection::vec(1usize..4, 0..5),
            0..8,
        ),
    ) {
        // A header whose shape has nothing to do with its data.
        let entry = serde_json::json!({ "dtype": "F32", "shape": dims, "data_offsets": [0, 8] });
        let header = serde_json::json!({ format!("lora_unet_a_to_q.{suffix}"): entry }).to_string();
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend_from_slice(header.as_bytes());
        file.extend_from_slice(&[0; 8]);
        let _ = read(&file);

        // Consistent tensors whose shapes have nothing to do with one another.
        let shapes: HashMap<&str, Vec<usize>> = shapes;
        let tensors: Vec<_> = shapes
            .iter()
            .map(|(suffix, shape)| (format!("lora_unet_b_to_out_0.{suffix}"), random(shape, 5)))
            .collect();
        if let Ok(adapter) = read(&bytes(&tensors)) {
            let _ = Model::new(DType::F32).apply(&[(&adapter, 1.0)]);
        }
    }
}
