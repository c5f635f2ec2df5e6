//! Every way in which a model comes: odd structures, half precision, several files, one file under the original
//! names (`tools/goldens/checkpoints.py`).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(unreachable_pub, reason = "each test file uses a part")]
mod common;

use std::{
    collections::{BTreeMap, HashMap},
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use adire_engine::{LoadOptions, Output, Pipeline, UNet};
use adire_protocol::{GenerationRequest, Sampler};
use candle_core::{DType, Device, Tensor};
use common::{assert_close, golden, relative_error, tensors};

type Tensors = BTreeMap<String, Tensor>;

fn save(path: &Path, tensors: &Tensors, notes: &[(&str, &str)]) {
    let notes: HashMap<String, String> =
        notes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let bytes = safetensors::serialize(tensors.iter(), Some(notes)).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn to_dtype(tensors: &Tensors, dtype: DType) -> Tensors {
    tensors.iter().map(|(name, tensor)| (name.clone(), tensor.to_dtype(dtype).unwrap())).collect()
}

fn load(path: &Path) -> Tensors {
    candle_core::safetensors::load(path, &Device::Cpu).unwrap().into_iter().collect()
}

const UNETS: [&str; 3] = ["unet-no-mid", "unet-lists", "unet-plain-mid"];
const STEM: &str = "diffusion_pytorch_model";

/// A folder with the UNet's config, and its weights.
fn unet_folder(name: &str) -> (tempfile::TempDir, Tensors) {
    let folder = tempfile::tempdir().unwrap();
    let config = golden("checkpoints").join(name).join("config.json");
    std::fs::copy(config, folder.path().join("config.json")).unwrap();
    let prefix = format!("{name}.weight.");
    let weights = tensors("checkpoints/unets.safetensors")
        .into_iter()
        .filter_map(|(key, tensor)| Some((key.strip_prefix(&prefix)?.to_owned(), tensor)))
        .collect();
    (folder, weights)
}

fn check_unet(name: &str, what: &str, folder: &Path) {
    let goldens = tensors("checkpoints/unets.safetensors");
    let unet = UNet::load(folder, DType::F32, &Device::Cpu).unwrap();
    let (x, context) = (&goldens[&format!("{name}.x")], &goldens[&format!("{name}.context")]);
    let found = unet.forward(x, 321.0, context).unwrap();
    assert_close(&format!("{name}, {what}"), &found, &goldens[&format!("{name}.out")]);
}

#[test]
fn unets_of_other_structures_equal_diffusers() {
    for name in UNETS {
        let (folder, weights) = unet_folder(name);
        assert_eq!(weights.values().next().unwrap().dtype(), DType::F16);
        save(&folder.path().join(format!("{STEM}.safetensors")), &weights, &[]);
        check_unet(name, "f16", folder.path());
        let mut unet = UNet::load(folder.path(), DType::F32, &Device::Cpu).unwrap();
        let mut visited = Vec::new();
        let mut visit = |path: &str, _: &mut adire_engine::Weight| {
            visited.push(format!("{path}.weight"));
            Ok(())
        };
        unet.visit_weights(&mut visit).unwrap();
        visited.sort();
        let matrices = weights.iter().filter(|(_, tensor)| tensor.rank() > 1).map(|(name, _)| name.clone());
        assert_eq!(visited, matrices.collect::<Vec<_>>(), "{name}: every weight can take an adapter");
    }
}

/// Splits `weights` over three files that `index` lists.
fn shards(folder: &Path, index: &str, variant: &str, weights: &Tensors) {
    let mut map = serde_json::Map::new();
    for shard in 0..3 {
        let file = format!("{STEM}{variant}-{:05}-of-00003.safetensors", shard + 1);
        let part: Tensors = weights
            .iter()
            .enumerate()
            .filter(|(i, _)| i % 3 == shard)
            .map(|(_, (name, tensor))| (name.clone(), tensor.clone()))
            .collect();
        save(&folder.join(&file), &part, &[]);
        map.extend(part.into_keys().map(|name| (name, file.clone().into())));
    }
    let index_json = serde_json::json!({ "metadata": { "total_size": 1 }, "weight_map": map });
    std::fs::write(folder.join(index), index_json.to_string()).unwrap();
}

#[test]
fn every_layout_of_files_is_found() {
    let name = "unet-no-mid";
    for (index, variant) in [
        (format!("{STEM}.safetensors.index.json"), ""),
        (format!("{STEM}.fp16.safetensors.index.json"), ".fp16"),
        (format!("{STEM}.safetensors.fp16.index.json"), ".fp16"),
        (format!("{STEM}.safetensors.index.fp16.json"), ".fp16"),
    ] {
        let (folder, weights) = unet_folder(name);
        shards(folder.path(), &index, variant, &weights);
        check_unet(name, &index, folder.path());
    }
    for dtype in [DType::F16, DType::F32, DType::F64] {
        let (folder, weights) = unet_folder(name);
        save(&folder.path().join(format!("{STEM}.fp16.safetensors")), &to_dtype(&weights, dtype), &[]);
        check_unet(name, dtype.as_str(), folder.path());
    }
    // bf16 rounds the weights; that the same model is read shows by a looser bound.
    let (folder, weights) = unet_folder(name);
    save(&folder.path().join(format!("{STEM}.safetensors")), &to_dtype(&weights, DType::BF16), &[]);
    let goldens = tensors("checkpoints/unets.safetensors");
    let unet = UNet::load(folder.path(), DType::F32, &Device::Cpu).unwrap();
    let (x, context) = (&goldens[&format!("{name}.x")], &goldens[&format!("{name}.context")]);
    let found = unet.forward(x, 321.0, context).unwrap();
    let error = relative_error(&found, &goldens[&format!("{name}.out")]);
    assert!((1e-5..0.05).contains(&error), "{error}");
}

#[test]
fn split_files_that_do_not_fit_together() {
    let index = format!("{STEM}.safetensors.index.json");
    let message = |spoil: &dyn Fn(&Path)| {
        let (folder, weights) = unet_folder("unet-no-mid");
        shards(folder.path(), &index, "", &weights);
        spoil(folder.path());
        let error = UNet::load(folder.path(), DType::F32, &Device::Cpu).unwrap_err().to_string();
        error.replace(&format!("{}/", folder.path().display()), "")
    };
    let second = format!("{STEM}-00002-of-00003.safetensors");
    let error = message(&|folder| std::fs::remove_file(folder.join(&second)).unwrap());
    assert!(error.starts_with(&format!("{second}: is missing, but {index} lists it.")), "{error}");
    let error = message(&|folder| std::fs::write(folder.join(&second), b"PK\x03\x04zip of torch").unwrap());
    assert!(error.starts_with(&format!("{second}: is a PyTorch pickle")), "{error}");
    let error = message(&|folder| {
        std::fs::copy(folder.join(&second), folder.join(second.replace("00002-of", "00003-of"))).unwrap();
    });
    assert!(error.contains("holds ") && error.contains("and so does"), "{error}");
    for outside in ["../elsewhere.safetensors", "/etc/passwd", "a/b.safetensors", "..", ""] {
        let text = serde_json::json!({ "weight_map": { "conv_in.weight": outside } }).to_string();
        let error = message(&|folder| std::fs::write(folder.join(&index), &text).unwrap());
        assert!(error.contains("must be the name of a file in the same folder"), "{outside}: {error}");
    }
    let error = message(&|folder| {
        std::fs::write(folder.join(&index), r#"{"weight_map": {"a": "pytorch_model.bin"}}"#).unwrap();
    });
    assert!(error.starts_with("pytorch_model.bin: is not a safetensors file"), "{error}");
}

/// Names in a single-file checkpoint: part → diffusers' name → the file's.
fn ldm_names() -> HashMap<String, HashMap<String, String>> {
    let text = std::fs::read_to_string(golden("checkpoints/ldm.json")).unwrap();
    let mut all: HashMap<String, HashMap<String, HashMap<String, String>>> =
        serde_json::from_str(&text).unwrap();
    all.remove("pipeline").unwrap()
}

/// The small pipeline as one file, with everything else that such files hold.
fn single_file() -> Tensors {
    let names = ldm_names();
    let mut single = Tensors::new();
    for (part, file) in [("unet", STEM), ("vae", STEM), ("text_encoder", "model")]
        .map(|(part, stem)| (part, golden("pipeline").join(part).join(format!("{stem}.safetensors"))))
    {
        let names = &names[part];
        let mut written = 0;
        for (key, tensor) in load(&file) {
            let nested = format!("text_model.{key}");
            let name = names.get(&key).or_else(|| names.get(&nested)).unwrap();
            let is_projection = part == "vae" && key.contains(".attentions.") && tensor.rank() == 2;
            let tensor = if is_projection {
                let (out, inputs) = tensor.dims2().unwrap();
                tensor.reshape((out, inputs, 1, 1)).unwrap()
            } else {
                tensor
            };
            let noise = (&tensor + 1.0).unwrap();
            let flat = name.trim_start_matches("model.").replace('.', "");
            single.insert(format!("model_ema.{flat}"), noise);
            single.insert(name.clone(), tensor);
            written += 1;
        }
        assert_eq!(written, names.len(), "{part}");
    }
    let ids = Tensor::arange(0i64, 77, &Device::Cpu).unwrap().reshape((1, 77)).unwrap();
    single.insert("cond_stage_model.transformer.text_model.embeddings.position_ids".to_owned(), ids);
    single.insert("model_ema.num_updates".to_owned(), Tensor::new(7i64, &Device::Cpu).unwrap());
    single.insert("betas".to_owned(), Tensor::zeros(1000, DType::F32, &Device::Cpu).unwrap());
    single
}

fn options() -> LoadOptions {
    LoadOptions { config: Some(golden("pipeline")), ..LoadOptions::default() }
}

fn render(pipeline: &mut Pipeline, steps: u32) -> Output {
    let request = GenerationRequest {
        prompt: "red flower".to_owned(),
        seed: Some(5),
        steps: Some(steps),
        guidance: Some(3.0),
        width: Some(64),
        height: Some(64),
        sampler: Some(Sampler::Ddim.into()),
        ..Default::default()
    };
    let info = pipeline.info().clone();
    let spec = request.validate(&info.limits, &info.defaults, 0).unwrap();
    pipeline.generate(&spec, &mut |_| ControlFlow::Continue(())).unwrap()
}

fn rendered(path: &Path, options: &LoadOptions) -> Vec<u8> {
    render(&mut Pipeline::load(path, options).unwrap(), 2).image.data
}

#[test]
fn a_single_file_is_the_same_model_as_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some model.safetensors");
    let single = single_file();
    save(&path, &single, &[]);
    let pipeline = Pipeline::load(&path, &options()).unwrap();
    assert_eq!(pipeline.info().name, "some model");
    assert_eq!(pipeline.info().hash, adire_engine::file_hash(&path).unwrap(), "as model sites show it");
    assert_eq!(rendered(&path, &options()), rendered(&golden("pipeline"), &LoadOptions::default()));

    // Merging tools write the projections of the autoencoder as matrices, some drop `text_model`.
    let merged: Tensors = single
        .into_iter()
        .map(|(name, tensor)| match tensor.dims() {
            [out, inputs, 1, 1] if name.contains("attn_1") => {
                let shape = (*out, *inputs);
                (name, tensor.reshape(shape).unwrap())
            }
            _ => (name.replace("transformer.text_model.", "transformer."), tensor),
        })
        .collect();
    save(&path, &merged, &[]);
    assert_eq!(rendered(&path, &options()), rendered(&golden("pipeline"), &LoadOptions::default()));
}

#[test]
fn another_vae_takes_the_place_of_the_models_own_under_every_name() {
    let temporary = tempfile::tempdir().unwrap();
    let base = golden("pipeline");
    let mut weights = load(&base.join("vae").join(format!("{STEM}.safetensors")));
    let last = weights.get_mut("decoder.conv_out.weight").unwrap();
    *last = (&*last * 0.5).unwrap();
    // Expected: the model with these weights in its own folder.
    let whole = temporary.path().join("whole");
    for part in ["unet", "vae", "text_encoder", "tokenizer", "scheduler"] {
        std::fs::create_dir_all(whole.join(part)).unwrap();
        for entry in std::fs::read_dir(base.join(part)).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), whole.join(part).join(entry.file_name())).unwrap();
        }
    }
    std::fs::copy(base.join("model_index.json"), whole.join("model_index.json")).unwrap();
    save(&whole.join("vae").join(format!("{STEM}.safetensors")), &weights, &[]);
    let expected = rendered(&whole, &LoadOptions::default());
    assert_ne!(expected, rendered(&base, &LoadOptions::default()));

    let names = ldm_names();
    let renamed = |prefix: &str| -> Tensors {
        let name = |key: &String| names["vae"][key].replacen("first_stage_model.", prefix, 1);
        weights.iter().map(|(key, tensor)| (name(key), tensor.clone())).collect()
    };
    let file = |name: &str, tensors: &Tensors| {
        let path = temporary.path().join(name);
        save(&path, tensors, &[]);
        path
    };
    let mut single = single_file();
    single.extend(renamed("first_stage_model."));
    for vae in [
        whole.join("vae"),
        whole.clone(),
        file("diffusers.safetensors", &weights),
        file("original.safetensors", &renamed("first_stage_model.")),
        file("bare.safetensors", &renamed("")),
        file("checkpoint.safetensors", &single),
    ] {
        let options = LoadOptions { vae: Some(vae.clone()), ..LoadOptions::default() };
        let mut pipeline = Pipeline::load(&base, &options).unwrap();
        assert_eq!(render(&mut pipeline, 2).image.data, expected, "{}", vae.display());
        let used = pipeline.info().vae.clone().unwrap();
        assert_eq!(Some(used.name.as_str()), vae.file_name().and_then(|name| name.to_str()));
        if vae.is_file() {
            assert_eq!(used.hash, adire_engine::file_hash(&vae).unwrap());
        }
    }
    let beside = LoadOptions { vae: Some(temporary.path().join("bare.safetensors")), ..options() };
    let checkpoint = file("model.safetensors", &single_file());
    assert_eq!(rendered(&checkpoint, &beside), expected, "beside a single-file checkpoint");
    assert_eq!(Pipeline::load(&base, &LoadOptions::default()).unwrap().info().vae, None);

    // A VAE in the wrong place, and something else in a VAE's.
    for vae in ["diffusers.safetensors", "original.safetensors", "bare.safetensors", "whole/vae"] {
        let path = temporary.path().join(vae);
        let error = Pipeline::load(&path, &options()).unwrap_err().to_string();
        assert!(error.contains("is a VAE") && error.contains("--vae"), "{error}");
        if path.is_file() {
            let error = adire_engine::adapter::Adapter::read(&path).unwrap_err().to_string();
            assert!(error.contains("it is a VAE; use it with --vae"), "{error}");
        }
    }
    for (wrong, expected) in [
        (base.join(format!("unet/{STEM}.safetensors")), "is not a VAE"),
        (golden("adapters/kohya.safetensors"), "is not a VAE"),
        (base.join("unet"), "UNet2DConditionModel"),
        (temporary.path().join("nothing"), "cannot be opened"),
    ] {
        let options = LoadOptions { vae: Some(wrong), ..LoadOptions::default() };
        let error = Pipeline::load(&base, &options).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn half_precision_single_files_equal_half_precision_folders() {
    for dtype in [DType::F16, DType::BF16] {
        let temporary = tempfile::tempdir().unwrap();
        let (folder, path) = (temporary.path().join("folder"), temporary.path().join("half.safetensors"));
        for part in ["unet", "vae", "text_encoder", "tokenizer", "scheduler"] {
            std::fs::create_dir_all(folder.join(part)).unwrap();
            for entry in std::fs::read_dir(golden("pipeline").join(part)).unwrap() {
                let entry = entry.unwrap();
                let target = folder.join(part).join(entry.file_name());
                if target.extension().is_some_and(|extension| extension == "safetensors") {
                    save(&target, &to_dtype(&load(&entry.path()), dtype), &[]);
                } else {
                    std::fs::copy(entry.path(), target).unwrap();
                }
            }
        }
        std::fs::copy(golden("pipeline/model_index.json"), folder.join("model_index.json")).unwrap();
        let floats = single_file().into_iter().filter(|(_, tensor)| tensor.dtype().is_float()).collect();
        save(&path, &to_dtype(&floats, dtype), &[]);
        assert_eq!(rendered(&path, &options()), rendered(&folder, &LoadOptions::default()), "{dtype:?}");
    }
}

#[test]
fn the_prediction_type_is_honoured() {
    let goldens = tensors("checkpoints/predictions.safetensors");
    let check = |what: &str, kind: &str, mut pipeline: Pipeline| {
        let error = relative_error(&render(&mut pipeline, 3).latents, &goldens[kind]);
        assert!(error < 1e-3, "{what}: relative error {error:.1e}");
    };
    let temporary = tempfile::tempdir().unwrap();
    let single = single_file();
    for kind in ["epsilon", "v_prediction", "sample"] {
        let folder = temporary.path().join(kind);
        for part in ["unet", "vae", "text_encoder", "tokenizer", "scheduler"] {
            std::fs::create_dir_all(folder.join(part)).unwrap();
            for entry in std::fs::read_dir(golden("pipeline").join(part)).unwrap() {
                let entry = entry.unwrap();
                std::fs::copy(entry.path(), folder.join(part).join(entry.file_name())).unwrap();
            }
        }
        std::fs::copy(golden("pipeline/model_index.json"), folder.join("model_index.json")).unwrap();
        let config = folder.join("scheduler/scheduler_config.json");
        let mut scheduler: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&config).unwrap()).unwrap();
        scheduler["prediction_type"] = kind.into();
        std::fs::write(&config, scheduler.to_string()).unwrap();
        check(kind, kind, Pipeline::load(&folder, &LoadOptions::default()).unwrap());

        let path = temporary.path().join("single.safetensors");
        save(&path, &single, &[]);
        let options = LoadOptions { config: Some(folder), ..LoadOptions::default() };
        check("single file with configs", kind, Pipeline::load(&path, &options).unwrap());
    }
    // What a file says of itself.
    let path = temporary.path().join("noted.safetensors");
    save(&path, &single, &[("modelspec.prediction_type", "v")]);
    check("noted", "v_prediction", Pipeline::load(&path, &options()).unwrap());
    save(&path, &single, &[("modelspec.prediction_type", "epsilon")]);
    check("noted", "epsilon", Pipeline::load(&path, &options()).unwrap());
    let mut marked = single;
    marked.insert("v_pred".to_owned(), Tensor::zeros(0, DType::F32, &Device::Cpu).unwrap());
    save(&path, &marked, &[]);
    check("marked", "v_prediction", Pipeline::load(&path, &options()).unwrap());
}

#[test]
fn single_files_that_cannot_be_used_say_why() {
    let temporary = tempfile::tempdir().unwrap();
    let path: PathBuf = temporary.path().join("model.safetensors");
    let refusal = |options: &LoadOptions| {
        let error = Pipeline::load(&path, options).unwrap_err().to_string();
        error.strip_prefix(&format!("{}: ", path.display())).unwrap_or(&error).to_owned()
    };
    let whole = single_file();
    save(&path, &whole, &[]);
    let error = refusal(&LoadOptions::default());
    assert!(error.contains("has no tokenizer") && error.contains("--tokenizer"), "{error}");
    let options_with_tokenizer =
        LoadOptions { tokenizer: Some(golden("tokenizer")), ..LoadOptions::default() };
    let error = refusal(&options_with_tokenizer);
    assert!(
        error.contains("Stable Diffusion 1.x (a model of another structure needs its own configs)"),
        "{error}"
    );

    let tensor = Tensor::zeros((2, 2), DType::F32, &Device::Cpu).unwrap();
    for (name, expected) in [
        ("conditioner.embedders.0.transformer.text_model.x", "is an SDXL model"),
        ("cond_stage_model.model.transformer.resblocks.0.x", "is a Stable Diffusion 2.x model"),
        ("model.diffusion_model.joint_blocks.0.x", "is a Stable Diffusion 3 model"),
        ("double_blocks.0.img_attn.x", "is a Flux model"),
        ("control_model.input_blocks.0.0.weight", "is a ControlNet"),
        ("lora_unet_down_blocks_0.lora_down.weight", "is an adapter, not a model"),
        ("down_blocks.0.resnets.0.conv1.weight", "is one part of a model in Hugging Face layout"),
        ("model_ema.diffusion_modelout0weight", "holds only EMA weights"),
        ("model.diffusion_model.out.0.weight", "has no autoencoder"),
        ("something", "is not a Stable Diffusion 1.x checkpoint"),
    ] {
        save(&path, &Tensors::from([(name.to_owned(), tensor.clone())]), &[]);
        let error = refusal(&options());
        assert!(error.starts_with(expected), "{name}: {error}");
    }
    let without_text =
        whole.clone().into_iter().filter(|(name, _)| !name.starts_with("cond_stage")).collect();
    save(&path, &without_text, &[]);
    assert!(refusal(&options()).starts_with("has no text encoder"));
    let mut inpainting = whole.clone();
    let key = "model.diffusion_model.input_blocks.0.0.weight";
    let conv = &whole[key];
    let nine = Tensor::cat(&[conv, conv, &conv.narrow(1, 0, 1).unwrap()], 1).unwrap();
    inpainting.insert(key.to_owned(), nine);
    save(&path, &inpainting, &[]);
    assert!(refusal(&options()).contains("has a UNet from 9 to 4 channels"));
    for head in [&b"PK\x03\x04 zip of torch.save"[..], b"\x80\x02}q\x00(X\x06\x00\x00\x00"] {
        std::fs::write(&path, head).unwrap();
        let error = refusal(&options());
        assert!(
            error.starts_with("is a PyTorch pickle") && error.contains(".safetensors version"),
            "{error}"
        );
    }
}
