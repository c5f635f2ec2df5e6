//! Damaged and hostile files: no panic, no more memory than a few times the file, and errors that name it.
//!
//! A corpus of small real files is mutated: bytes, header fields, lengths, offsets, shapes, names, configs.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, unreachable_pub, reason = "each test file uses a part")]
mod common;
#[path = "common/counting.rs"]
mod counting;

use std::path::Path;

use adire_engine::{Embedding, EngineError, LoadOptions, Pipeline, TextEncoder, UNet, Vae, adapter::Adapter};
use candle_core::{DType, Device};
use common::golden;
use counting::largest;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Most that reading `bytes` may ask for at once: tensors come as f32, and headers as parsed JSON.
fn bound(bytes: usize) -> usize {
    64 * bytes + (4 << 20)
}

/// Splits a safetensors file.
fn split(bytes: &[u8]) -> (Value, &[u8]) {
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    (serde_json::from_slice(&bytes[8..8 + header]).unwrap(), &bytes[8 + header..])
}

fn join(header: &[u8], data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header, data].concat()
}

/// What is done to a file.
#[derive(Clone, Debug)]
enum Damage {
    Bytes(Vec<(prop::sample::Index, u8)>),
    Cut(prop::sample::Index),
    Length(u64),
    /// A field of the header of one tensor.
    Field(prop::sample::Index, Value),
    /// A tensor gets another's place in the data.
    Overlap(prop::sample::Index, prop::sample::Index),
    Rename(prop::sample::Index, String),
    Header(Vec<u8>),
}

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(0)),
        Just(json!(1)),
        Just(json!(-1)),
        Just(json!(7.5)),
        Just(json!(u64::MAX)),
        Just(json!(i64::MAX)),
        Just(json!(1u64 << 33)),
        Just(json!(1e300)),
        Just(json!(null)),
        Just(json!("1")),
        (0u64..2000).prop_map(|n| json!(n)),
    ]
}

fn field() -> impl Strategy<Value = Value> {
    let shape = prop::collection::vec(number(), 0..7).prop_map(|shape| json!({ "shape": shape }));
    let offsets = prop::collection::vec(number(), 0..4).prop_map(|two| json!({ "data_offsets": two }));
    let dtypes = ["F64", "F32", "F16", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "F4", "C64", "X9", ""];
    let dtype = prop::sample::select(dtypes.to_vec()).prop_map(|dtype| json!({ "dtype": dtype }));
    prop_oneof![shape, offsets, dtype, Just(json!({ "shape": 5 })), Just(json!({ "more": [1] }))]
}

fn damage() -> impl Strategy<Value = Damage> {
    let index = any::<prop::sample::Index>;
    let names = [
        "",
        "unet:0:up",
        "unet:18446744073709551615:down",
        "text_encoder:1:up",
        "lora_unet_",
        ".alpha",
        "a..b",
        "lora_te_x.lora_up.weight",
        "unet.x.lora_A.weight",
        "base_model.model.lora_B.weight",
        "\u{0}",
        "down_blocks.99999999999999999999.resnets.0.conv1.weight",
        "x.lokr_w1",
        "x.on_input",
        "x.oft_blocks",
        "lycoris_x.a1.weight",
        "unet.unet.x.lora_A.\u{1b}[31m.weight",
        "bundle_emb.a.string_to_param.*",
        "x.hada_t1",
        "__metadata__",
    ];
    prop_oneof![
        prop::collection::vec((index(), any::<u8>()), 1..8).prop_map(Damage::Bytes),
        index().prop_map(Damage::Cut),
        prop_oneof![any::<u64>(), 0u64..100_000].prop_map(Damage::Length),
        (index(), field()).prop_map(|(at, value)| Damage::Field(at, value)),
        (index(), index()).prop_map(|(a, b)| Damage::Overlap(a, b)),
        (index(), prop::sample::select(names.to_vec()))
            .prop_map(|(at, name)| Damage::Rename(at, name.to_owned())),
        prop::collection::vec(any::<u8>(), 0..60).prop_map(Damage::Header),
    ]
}

impl Damage {
    fn apply(&self, bytes: &[u8]) -> Vec<u8> {
        let mut out = bytes.to_vec();
        let (header, data) = split(bytes);
        let Value::Object(mut header) = header else { panic!("a header is an object") };
        let names: Vec<String> = header.keys().filter(|name| *name != "__metadata__").cloned().collect();
        match self {
            Self::Bytes(changes) => {
                // Most of a file is data; damage there says little, so most goes into the header.
                for (n, (at, value)) in changes.iter().enumerate() {
                    let end = if n % 4 == 0 { out.len() } else { 8 + header_length(bytes) };
                    out[at.index(end)] = *value;
                }
                return out;
            }
            Self::Cut(at) => {
                out.truncate(at.index(bytes.len()));
                return out;
            }
            Self::Length(length) => {
                out[..8].copy_from_slice(&length.to_le_bytes());
                return out;
            }
            Self::Header(json) => return join(json, data),
            Self::Field(at, value) => {
                let entry = header.get_mut(&names[at.index(names.len())]).unwrap();
                for (key, value) in value.as_object().unwrap() {
                    entry[key] = value.clone();
                }
            }
            Self::Overlap(a, b) => {
                let (a, b) = (&names[a.index(names.len())], &names[b.index(names.len())]);
                header[a]["data_offsets"] = header[b]["data_offsets"].clone();
            }
            Self::Rename(at, name) => {
                let entry = header.remove(&names[at.index(names.len())]).unwrap();
                header.insert(name.clone(), entry);
            }
        }
        join(Value::Object(header).to_string().as_bytes(), data)
    }
}

fn header_length(bytes: &[u8]) -> usize {
    u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize
}

/// The error must name the file and say something.
fn check(error: &EngineError, path: &Path) {
    match error {
        EngineError::Model { path: named, message } | EngineError::Adapter { path: named, message } => {
            assert!(named.starts_with(path), "{error} does not name {}", path.display());
            assert!(message.len() > 10, "{error}");
        }
        // A pipeline whose parts are each in order, but do not compute.
        error => panic!("an error without a file: {error}"),
    }
}

const ADAPTERS: [&str; 20] = [
    "adapters/kohya-alphas.safetensors",
    "adapters/diffusers.safetensors",
    "adapters/processors.safetensors",
    "adapters/locon.safetensors",
    "adapters/loha.safetensors",
    "adapters/lokr.safetensors",
    "adapters/dora.safetensors",
    "adapter-formats/cloneofsimo.safetensors",
    "adapter-kinds/full.safetensors",
    "adapter-kinds/norms.safetensors",
    "adapter-kinds/ia3-outputs.safetensors",
    "adapter-kinds/glora.safetensors",
    "adapter-kinds/oft-rescale.safetensors",
    "adapter-kinds/boft-constraint.safetensors",
    "adapter-kinds/lokr-tucker.safetensors",
    "adapter-kinds/loha-tucker-dora.safetensors",
    "adapter-kinds/peft-oft/adapter_model.safetensors",
    "adapter-kinds/peft-boft/adapter_model.safetensors",
    "../cases/adapters/bundled-embedding.safetensors",
    "../cases/adapters/float8.safetensors",
];

/// Pieces that names of adapters' tensors are made of, and some that they are not.
const PIECES: [&str; 44] = [
    "lora",
    "unet",
    "te",
    "te1",
    "te2",
    "text_encoder",
    "text_encoders",
    "clip_l",
    "transformer",
    "base_model",
    "model",
    "diffusion_model",
    "lycoris",
    "oft_unet",
    "_orig_mod",
    "down_blocks",
    "input_blocks",
    "0",
    "99999999999999999999",
    "to_q",
    "to_out_lora",
    "processor",
    "lora_A",
    "lora_B",
    "lora_down",
    "default_0",
    "weight",
    "bias",
    "alpha",
    "diff",
    "diff_b",
    "w_norm",
    "on_input",
    "a1",
    "oft_blocks",
    "oft_R",
    "boft_s",
    "lokr_w1",
    "hada_t1",
    "bundle_emb",
    "string_to_param",
    "*",
    "",
    "\u{202e}é\u{0}",
];

const EMBEDDINGS: [&str; 4] = [
    "embeddings/diffusers.safetensors",
    "embeddings/my-style.safetensors",
    "embeddings/string_to_param.safetensors",
    "embeddings/clip_l.safetensors",
];

fn config_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        number(),
        prop::collection::vec(number(), 0..12).prop_map(Value::Array),
        Just(json!("CrossAttnDownBlock2D")),
        Just(json!(["UpBlock2D", "DownBlock2D"])),
        Just(json!(vec![1; 5000])),
        Just(json!({})),
        Just(json!(true)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_adapters(which in 0..ADAPTERS.len(), damage in prop::collection::vec(damage(), 1..3)) {
        let path = golden(ADAPTERS[which]);
        let mut bytes = std::fs::read(&path).unwrap();
        for step in &damage {
            // A second step needs a header that can still be read.
            if SafeHeader::of(&bytes).is_some() {
                bytes = step.apply(&bytes);
            }
        }
        let (result, most) = largest(|| Adapter::from_bytes(&path, &bytes));
        prop_assert!(most <= bound(bytes.len()), "allocated {most} bytes for a file of {}", bytes.len());
        if let Err(error) = result {
            check(&error, &path);
        }
    }

    /// Whatever is put together from such pieces, reading ends, and a message shows no character that a terminal acts on.
    #[test]
    fn names_of_any_pieces(
        names in prop::collection::vec(
            (prop::collection::vec(0..PIECES.len(), 1..9), any::<bool>(), prop::collection::vec(1usize..4, 0..5)),
            1..7,
        ),
    ) {
        let mut header = serde_json::Map::new();
        let mut data = Vec::new();
        for (pieces, dotted, shape) in &names {
            let pieces: Vec<&str> = pieces.iter().map(|piece| PIECES[*piece]).collect();
            let begin = data.len();
            data.extend((0..shape.iter().product::<usize>()).flat_map(|n| (n as f32 * 0.1).to_le_bytes()));
            let entry = json!({ "dtype": "F32", "shape": shape, "data_offsets": [begin, data.len()] });
            header.insert(pieces.join(if *dotted { "." } else { "_" }), entry);
        }
        let bytes = join(Value::Object(header).to_string().as_bytes(), &data);
        let path = Path::new("pieces.safetensors");
        if let Err(error) = Adapter::from_bytes(path, &bytes) {
            let error = error.to_string();
            prop_assert!(!error.chars().any(|c| c.is_control() || c == '\u{202e}'), "{error:?}");
        }
    }

    #[test]
    fn damaged_embeddings(which in 0..EMBEDDINGS.len(), damage in prop::collection::vec(damage(), 1..3)) {
        let path = golden(EMBEDDINGS[which]);
        let mut bytes = std::fs::read(&path).unwrap();
        for step in &damage {
            if SafeHeader::of(&bytes).is_some() {
                bytes = step.apply(&bytes);
            }
        }
        let (result, most) = largest(|| Embedding::from_bytes(&path, &bytes));
        prop_assert!(most <= bound(bytes.len()), "allocated {most} bytes for a file of {}", bytes.len());
        match result {
            Ok(found) => prop_assert!(found.vectors() * found.width() <= bytes.len() && found.called(Some("a")).is_ok()),
            Err(error) => check(&error, &path),
        }
    }

    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300), length in any::<Option<u16>>()) {
        let bytes = match length {
            Some(length) => [&u64::from(length).to_le_bytes()[..], &bytes].concat(),
            None => bytes,
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("random.safetensors");
        std::fs::write(&path, &bytes).unwrap();
        let (result, most) = largest(|| Adapter::from_bytes(&path, &bytes));
        check(&result.unwrap_err(), &path);
        prop_assert!(most <= bound(bytes.len()));
        let (result, most) = largest(|| Embedding::from_bytes(&path, &bytes));
        check(&result.unwrap_err(), &path);
        prop_assert!(most <= bound(bytes.len()));
        let (result, most) = largest(|| Pipeline::load(&path, &LoadOptions::default()));
        check(&result.unwrap_err(), &path);
        prop_assert!(most <= bound(bytes.len()));
    }
}

/// Whether a file's header can be taken apart once more.
struct SafeHeader;

impl SafeHeader {
    fn of(bytes: &[u8]) -> Option<Self> {
        let length = usize::try_from(u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?)).ok()?;
        let header: Value = serde_json::from_slice(bytes.get(8..length.checked_add(8)?)?).ok()?;
        let tensors = header.as_object()?.iter().filter(|(name, _)| *name != "__metadata__");
        let mut entries = tensors.map(|(_, entry)| entry).peekable();
        entries.peek()?;
        entries.all(Value::is_object).then_some(Self)
    }
}

/// The parts of the small pipeline, each with how it is loaded.
const PARTS: [(&str, &str); 3] = [
    ("unet", "diffusion_pytorch_model.safetensors"),
    ("vae", "diffusion_pytorch_model.safetensors"),
    ("text_encoder", "model.safetensors"),
];

/// Parts of the small pipeline in one file, under the names of the original code.
fn single_file(parts: &[&str]) -> Vec<u8> {
    let names: Value =
        serde_json::from_slice(&std::fs::read(golden("checkpoints/ldm.json")).unwrap()).unwrap();
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (part, file) in PARTS.iter().filter(|(part, _)| parts.contains(part)) {
        let bytes = std::fs::read(golden("pipeline").join(part).join(file)).unwrap();
        let (tensors, content) = split(&bytes);
        for (key, entry) in tensors.as_object().unwrap() {
            let names = &names["pipeline"][part];
            let name = names.get(key).or_else(|| names.get(format!("text_model.{key}")));
            let Some(name) = name.and_then(Value::as_str) else { continue };
            let mut entry = entry.clone();
            for offset in entry["data_offsets"].as_array_mut().unwrap() {
                *offset = json!(offset.as_u64().unwrap() + data.len() as u64);
            }
            header.insert(name.to_owned(), entry);
        }
        data.extend_from_slice(content);
    }
    join(Value::Object(header).to_string().as_bytes(), &data)
}

fn load(part: &str, folder: &Path) -> Result<(), EngineError> {
    match part {
        "unet" => UNet::load(folder, DType::F32, &Device::Cpu).map(|_| ()),
        "vae" => Vae::load(folder, DType::F32, &Device::Cpu).map(|_| ()),
        _ => TextEncoder::load(folder, DType::F32, &Device::Cpu).map(|_| ()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_models(which in 0..PARTS.len(), damage in damage()) {
        let (part, file) = PARTS[which];
        let from = golden("pipeline").join(part);
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(from.join("config.json"), folder.path().join("config.json")).unwrap();
        let bytes = damage.apply(&std::fs::read(from.join(file)).unwrap());
        std::fs::write(folder.path().join(file), &bytes).unwrap();
        let (result, most) = largest(|| load(part, folder.path()));
        prop_assert!(most <= bound(bytes.len()), "allocated {most} bytes for a file of {}", bytes.len());
        if let Err(error) = result {
            check(&error, folder.path());
        }
    }

    #[test]
    fn damaged_single_files(vae_only in any::<bool>(), damage in damage()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let bytes = damage.apply(&single_file(if vae_only { &["vae"] } else { &["unet", "vae", "text_encoder"] }));
        std::fs::write(&path, &bytes).unwrap();
        let (model, options) = match vae_only {
            true => (golden("pipeline"), LoadOptions { vae: Some(path.clone()), ..LoadOptions::default() }),
            false => (path.clone(), LoadOptions { config: Some(golden("pipeline")), ..LoadOptions::default() }),
        };
        let (result, most) = largest(|| Pipeline::load(&model, &options));
        // The other parts and the vocabulary are read too.
        prop_assert!(most <= bound(bytes.len()) + (32 << 20), "allocated {most} bytes for a file of {}", bytes.len());
        if let Err(error) = result {
            check(&error, &path);
        }
    }

    #[test]
    fn hostile_configs(
        which in 0..PARTS.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), config_value()), 1..4),
    ) {
        let (part, file) = PARTS[which];
        let from = golden("pipeline").join(part);
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(from.join(file), folder.path().join(file)).unwrap();
        let mut config: Value = serde_json::from_slice(&std::fs::read(from.join("config.json")).unwrap()).unwrap();
        let keys: Vec<String> = config.as_object().unwrap().keys().cloned().collect();
        for (at, value) in changes {
            config[&keys[at.index(keys.len())]] = value;
        }
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        let size = std::fs::metadata(from.join(file)).unwrap().len() as usize;
        let (result, most) = largest(|| load(part, folder.path()));
        prop_assert!(most <= bound(size), "allocated {most} bytes for a file of {size}");
        if let Err(error) = result {
            check(&error, folder.path());
        }
    }
}
