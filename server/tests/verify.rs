//! `adire verify`, run as a person runs it, on a small random model.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn golden(name: &str) -> PathBuf {
    // Absolute: the program runs in a folder of its own.
    std::path::absolute(Path::new("../crates/engine/tests/goldens").join(name)).unwrap()
}

fn adire(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_adire"));
    let command = command
        .env_remove("ADIRE_MODEL")
        .env_remove("ADIRE_DATA")
        .env_remove("ADIRE_VAE")
        .env_remove("ADIRE_SAFETY_CHECKER")
        .current_dir(folder);
    command.args(arguments).output().unwrap()
}

fn code_and_text(output: &Output) -> (Option<i32>, String) {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

/// An image with an adapter, in `folder` as a.png.
fn image(folder: &Path) -> (String, String) {
    let model = golden("pipeline").display().to_string();
    let lora = golden("adapters/kohya.safetensors").display().to_string();
    let weighted = format!("{lora}:0.5");
    let made = ["generate", "--model", &model, "--prompt", "red flower", "--steps", "2", "--out", "a.png"];
    let size = ["--width", "64", "--height", "64", "--seed", "3", "--lora", &weighted];
    let output = adire(folder, &[&made[..], &size[..]].concat());
    assert!(output.status.success(), "{}", code_and_text(&output).1);
    (model, lora)
}

#[test]
fn an_image_is_made_again_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let (model, lora) = image(folder.path());
    let again = ["verify", "a.png", "--model", &model];
    let (code, text) = code_and_text(&adire(folder.path(), &again));
    assert!(code == Some(1) && text.contains("pass its file with --lora"), "{text}");
    let (code, text) = code_and_text(&adire(folder.path(), &[&again[..], &["--lora", &lora]].concat()));
    assert!(code == Some(0) && text.contains("a.png: exact: every pixel is the same"), "{text}");
}

#[test]
fn embeddings_are_kept_used_by_their_word_and_found_by_verify() {
    let folder = tempfile::tempdir().unwrap();
    let model = golden("pipeline").display().to_string();
    let style = golden("embeddings/diffusers.safetensors").display().to_string();
    let run = |arguments: &[&str]| code_and_text(&adire(folder.path(), arguments));
    let generate = |out: &str, more: &[&str]| {
        let common =
            ["generate", "--model", &model, "--prompt", "red Fancy, moons", "--seed", "3", "--steps", "2"];
        let size = ["--width", "64", "--height", "64", "--out", out];
        let (code, text) = run(&[&common[..], &size[..], more].concat());
        assert_eq!(code, Some(0), "{text}");
        let bytes = std::fs::read(folder.path().join(out)).unwrap();
        (adire_studio::read_recipe(&bytes).unwrap(), String::from_utf8_lossy(&bytes).into_owned())
    };
    let (plain, _) = generate("plain.png", &[]);
    assert_eq!(plain.embeddings, []);
    let (recipe, file) = generate("a.png", &["--embedding", &format!("{style}:fancy")]);
    let hash = adire_engine::file_hash(Path::new(&style)).unwrap();
    assert_eq!((recipe.embeddings[0].word.as_str(), &recipe.embeddings[0].hash), ("fancy", &hash));
    assert!(file.contains(&format!("TI hashes: \"fancy: {}\"", &hash[..12])), "in the infotext too");
    let pixels = |name: &str| image::open(folder.path().join(name)).unwrap().into_rgb8();
    assert_ne!(pixels("plain.png"), pixels("a.png"));

    let verify = ["verify", "a.png", "--model", &model, "--data", "data"];
    let (code, text) = run(&verify);
    assert!(code == Some(1) && text.contains("pass its file with --embedding"), "{text}");
    let (code, text) = run(&[&verify[..], &["--embedding", &style]].concat());
    assert!(code == Some(0) && text.contains("exact"), "{text}");

    let add = |more: &[&str]| {
        run(&[&["embeddings", "add", &style, "--data", "data", "--model", &model], more].concat())
    };
    let (code, text) = add(&["--word", "fancy"]);
    assert!(code == Some(0) && text.starts_with("Added fancy (3 vectors) to data"), "{text}");
    let (code, text) = run(&verify);
    assert!(code == Some(0) && text.contains("exact"), "from the data folder: {text}");
    let (code, text) = add(&[]);
    assert!(code == Some(0) && text.starts_with("Added <my-style> (3 vectors)"), "its own word: {text}");
    let dot = golden("embeddings/dot.safetensors").display().to_string();
    let taken = ["embeddings", "add", &dot, "--word", "FANCY", "--data", "data", "--model", &model];
    let (code, text) = run(&taken);
    assert!(code == Some(1) && text.contains("“fancy” already names another embedding"), "{text}");
    let (code, text) = add(&["--word", "a:b"]);
    assert!(code == Some(1) && text.contains("got \"a:b\". Give one with --word"), "{text}");
    let (_, text) = run(&["embeddings", "list", "--data", "data"]);
    assert!(text.contains("<my-style>  3 × 32  sha256 ") && text.contains("fancy  3 × 32"), "{text}");
    let (code, text) = run(&["embeddings", "remove", "Fancy", "--data", "data"]);
    assert!(code == Some(0) && text.contains("fancy removed from data"), "{text}");
    let (code, text) = run(&["embeddings", "remove", "fancy", "--data", "data"]);
    assert!(code == Some(1) && text.contains("Embedding fancy not found."), "{text}");

    // A text encoder of another width, and a file that is not an embedding.
    let wide = golden("text-gelu").join("model.safetensors").display().to_string();
    let (code, text) = run(&["embeddings", "add", &wide, "--data", "data", "--model", &model]);
    assert!(code == Some(1) && text.contains("is not an embedding"), "{text}");
    let lora = golden("adapters/kohya.safetensors").display().to_string();
    let (code, text) = run(&["embeddings", "add", &lora, "--data", "data", "--model", &model]);
    assert!(code == Some(1) && text.contains("looks like an adapter"), "{text}");
    std::fs::write(folder.path().join("a.pt"), b"PK\x03\x04").unwrap();
    let (code, text) = run(&["embeddings", "add", "a.pt", "--data", "data", "--model", &model]);
    assert!(code == Some(1) && text.contains("pickle") && text.contains(".safetensors"), "{text}");
}

#[test]
fn another_vae_is_in_the_recipe_and_required() {
    let folder = tempfile::tempdir().unwrap();
    let model = golden("pipeline").display().to_string();
    let vae = golden("pipeline/vae/diffusion_pytorch_model.safetensors").display().to_string();
    let make =
        ["generate", "--model", &model, "--prompt", "", "--steps", "2", "--seed", "1", "--out", "a.png"];
    let size = ["--width", "64", "--height", "64", "--vae", &vae];
    let (code, text) = code_and_text(&adire(folder.path(), &[&make[..], &size].concat()));
    assert_eq!(code, Some(0), "{text}");
    let bytes = std::fs::read(folder.path().join("a.png")).unwrap();
    let used = adire_studio::read_recipe(&bytes).unwrap().vae.unwrap();
    assert_eq!(used.name, "diffusion_pytorch_model.safetensors");
    assert_eq!(used.hash, adire_engine::file_hash(Path::new(&vae)).unwrap());
    assert!(
        String::from_utf8_lossy(&bytes).contains(&format!("VAE hash: {}, VAE: diffusion", &used.hash[..10]))
    );
    let again = ["verify", "a.png", "--model", &model];
    let (code, text) = code_and_text(&adire(folder.path(), &again));
    assert!(code == Some(1) && text.contains("pass its file or folder with --vae"), "{text}");
    let (code, text) = code_and_text(&adire(folder.path(), &[&again[..], &["--vae", &vae]].concat()));
    assert!(code == Some(0) && text.contains("exact"), "{text}");
    // A VAE in the place of a model.
    let wrong = golden("pipeline/vae").display().to_string();
    let (code, text) = code_and_text(&adire(folder.path(), &["verify", "a.png", "--model", &wrong]));
    assert!(code == Some(1) && text.contains("is a VAE") && text.contains("--vae"), "{text}");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, goal) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &goal);
        } else {
            std::fs::copy(path, goal).unwrap();
        }
    }
}

/// The small model with the small safety checker, which finds something wherever a cosine is above `threshold`.
fn model_with_checker(folder: &Path, threshold: f32) -> String {
    let model = folder.join("model");
    copy(&golden("pipeline"), &model);
    copy(&golden("safety"), &model);
    let file = model.join("safety_checker/model.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let json: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    for name in ["concept_embeds_weights", "special_care_embeds_weights"] {
        let offset = |i: usize| 8 + header + json[name]["data_offsets"][i].as_u64().unwrap() as usize;
        for number in bytes[offset(0)..offset(1)].chunks_exact_mut(4) {
            number.copy_from_slice(&threshold.to_le_bytes());
        }
    }
    std::fs::write(file, bytes).unwrap();
    model.display().to_string()
}

#[test]
fn an_image_that_the_safety_checker_withheld_is_black_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let model = model_with_checker(folder.path(), -2.0);
    let generate = |more: &[&str]| {
        let common = ["generate", "--model", &model, "--prompt", "red flower", "--seed", "3", "--steps", "2"];
        let size = ["--width", "64", "--height", "64"];
        let (code, text) = code_and_text(&adire(folder.path(), &[&common[..], &size[..], more].concat()));
        assert_eq!(code, Some(0), "{text}");
        text
    };
    let verify = |file: &str| code_and_text(&adire(folder.path(), &["verify", file, "--model", &model]));
    let text = generate(&["--safety-checker", "--out", "a.png", "--latents", "a.safetensors"]);
    assert!(text.contains("Blocked by the safety checker"), "{text}");
    assert!(!folder.path().join("a.safetensors").exists(), "the latents would show it");
    let image = image::open(folder.path().join("a.png")).unwrap().into_rgb8();
    assert!(image.into_raw().iter().all(|byte| *byte == 0));
    let recipe = adire_studio::read_recipe(&std::fs::read(folder.path().join("a.png")).unwrap()).unwrap();
    assert!(recipe.withheld);
    let (code, text) = verify("a.png");
    assert!(
        code == Some(0)
            && text.contains("exact")
            && text.contains("Blocked by the safety checker both times"),
        "{text}"
    );

    // Off by default.
    let text = generate(&["--out", "b.png"]);
    assert!(!text.contains("Blocked"), "{text}");
    let (code, text) = verify("b.png");
    assert!(code == Some(0) && !text.contains("Blocked"), "{text}");

    // One that finds nothing any more.
    std::fs::remove_dir_all(&model).unwrap();
    model_with_checker(folder.path(), 2.0);
    let (code, text) = verify("a.png");
    assert!(code == Some(1) && text.contains("passes it now"), "{text}");
    std::fs::remove_dir_all(Path::new(&model).join("safety_checker")).unwrap();
    let (code, text) = verify("a.png");
    assert!(code == Some(1) && text.contains("has no safety checker"), "{text}");
}

#[test]
fn images_from_images_are_made_again_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let model = golden("pipeline").display().to_string();
    let generate = |more: &[&str]| {
        let common = ["generate", "--model", &model, "--prompt", "red flower", "--seed", "3", "--steps", "4"];
        let output = adire(folder.path(), &[&common[..], more].concat());
        assert!(output.status.success(), "{}", code_and_text(&output).1);
    };
    let verify = |more: &[&str]| {
        code_and_text(&adire(folder.path(), &[&["verify", "--model", &model][..], more].concat()))
    };
    generate(&["--width", "64", "--height", "72", "--hires", "1.5:image:0.5:1", "--out", "a.png"]);
    let (code, text) = verify(&["a.png"]);
    assert!(code == Some(0) && text.contains("a.png: exact"), "{text}");

    let mask = image::GrayImage::from_fn(10, 10, |x, _| image::Luma([if x < 5 { 0 } else { 255 }]));
    mask.save(folder.path().join("mask.png")).unwrap();
    let begun =
        ["--init-image", "a.png", "--mask", "mask.png", "--denoising-strength", "0.5", "--out", "b.png"];
    generate(&begun);
    let open = |name: &str| image::open(folder.path().join(name)).unwrap().into_rgb8();
    let (before, after) = (open("a.png"), open("b.png"));
    assert_eq!((after.width(), after.height()), (96, 104), "its own size, in steps of 8");
    assert_eq!((before.width(), before.height()), (96, 104), "1.5 times as large, in steps of 8");
    let left = |image: &image::RgbImage| image::imageops::crop_imm(image, 0, 0, 48, 104).to_image();
    assert_eq!(left(&before), left(&after), "what the mask leaves black");
    assert_ne!(before, after);
    let (code, text) = verify(&["b.png"]);
    assert!(code == Some(1) && text.contains("pass the file with --image"), "{text}");
    let (code, text) = verify(&["b.png", "--image", "a.png", "--image", "mask.png"]);
    assert!(code == Some(0) && text.contains("b.png: exact"), "{text}");
}

#[test]
fn changed_pixels_are_seen() {
    let folder = tempfile::tempdir().unwrap();
    let (model, lora) = image(folder.path());
    let path = folder.path().join("a.png");
    let png = std::fs::read(&path).unwrap();
    let recipe = adire_studio::read_recipe(&png).unwrap();
    assert_eq!(recipe.fingerprint.len(), 64);
    let mut rgb = image::load_from_memory(&png).unwrap().into_rgb8().into_raw();
    let mut verdict = |change: u8| {
        rgb.iter_mut().take(30).for_each(|value| *value = value.wrapping_add(change));
        let pixels = adire_studio::Pixels { width: 64, height: 64, rgb: rgb.clone() };
        std::fs::write(&path, adire_studio::encode_with_recipe(&pixels, &recipe).unwrap()).unwrap();
        code_and_text(&adire(folder.path(), &["verify", "a.png", "--model", &model, "--lora", &lora]))
    };
    let (code, text) = verdict(1);
    assert!(code == Some(0) && text.contains("close: pixels differ by at most 1 of 255"), "{text}");
    let (code, text) = verdict(100);
    assert!(code == Some(1) && text.contains("different: pixels differ by at most"), "{text}");
}

#[test]
fn what_cannot_be_verified_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    write("text.png", b"no picture");
    let pixels = adire_studio::Pixels { width: 1, height: 1, rgb: vec![0; 3] };
    write(
        "foreign.png",
        &adire_studio::encode_png(&pixels, "moons\nSteps: 2, Sampler: Euler, Seed: 1").unwrap(),
    );
    for (name, reason) in [
        ("none.png", "cannot be read"),
        ("text.png", "Unsupported file. Use PNG"),
        ("foreign.png", "has no Adire recipe"),
    ] {
        let (code, text) = code_and_text(&adire(folder.path(), &["verify", name]));
        assert!(code == Some(1) && text.contains(name) && text.contains(reason), "{text}");
        assert!(!text.contains("panicked"), "{text}");
    }
}
