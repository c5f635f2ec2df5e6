//! `--device` and `--dtype`, as a person names them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use adire_engine::{DeviceChoice, Placement, Precision};

fn golden(name: &str) -> PathBuf {
    // Absolute: the program runs in a folder of its own.
    std::path::absolute(Path::new("../crates/engine/tests/goldens").join(name)).unwrap()
}

fn adire(folder: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_adire"));
    for name in ["ADIRE_MODEL", "ADIRE_DATA", "ADIRE_DEVICE", "ADIRE_DTYPE"] {
        command.env_remove(name);
    }
    command.envs(environment.iter().copied()).env("RUST_LOG", "off").current_dir(folder);
    let Output { status, stdout, stderr } = command.args(arguments).output().unwrap();
    (status.code(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

fn generate(folder: &Path, environment: &[(&str, &str)], more: &[&str]) -> (Option<i32>, String) {
    let model = golden("pipeline").display().to_string();
    let common = ["generate", "--model", &model, "--prompt", "red flower", "--seed", "3", "--steps", "2"];
    let size = ["--width", "64", "--height", "64", "--out", "a.png"];
    adire(folder, environment, &[&common[..], &size, more].concat())
}

fn recipe(folder: &Path) -> (String, String) {
    let recipe = adire_studio::read_recipe(&std::fs::read(folder.join("a.png")).unwrap()).unwrap();
    (recipe.device, recipe.dtype)
}

/// With a GPU and the feature there is nothing to be refused.
#[cfg(not(any(feature = "cuda", feature = "cuda-train")))]
#[test]
fn a_gpu_that_cannot_be_used_is_refused_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let model = golden("pipeline").display().to_string();
    let serve = ["serve", "--addr", "127.0.0.1:0", "--model", &model, "--data", "data", "--device", "cuda:0"];
    for (code, message) in [
        generate(folder.path(), &[], &["--device", "cuda:0"]),
        generate(folder.path(), &[("ADIRE_DEVICE", "cuda:0")], &[]),
        adire(folder.path(), &[], &serve),
    ] {
        assert_eq!((code, message.trim_end().lines().count()), (Some(1), 1), "{message}");
        let expected = "adire: the device cuda:0 cannot be used: this program was built without GPU support";
        assert!(message.starts_with(expected) && message.contains("--device cpu"), "{message}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was touched");
}

#[test]
fn other_words_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (code, message) = generate(folder.path(), &[], &["--device", "gpu"]);
    assert!(code == Some(2) && message.contains("auto, cpu or cuda:N"), "{message}");
    let (code, message) = generate(folder.path(), &[("ADIRE_DTYPE", "f64")], &[]);
    assert!(code == Some(2) && message.contains("auto, f32, f16 or bf16"), "{message}");
}

#[test]
fn an_image_says_how_it_was_computed_and_is_verified_so() {
    let folder = tempfile::tempdir().unwrap();
    let model = golden("pipeline").display().to_string();
    let verify = |more: &[&str]| {
        adire(folder.path(), &[], &[&["verify", "a.png", "--model", &model][..], more].concat())
    };
    let best = Placement::open(DeviceChoice::Cpu, Precision::Auto).unwrap().dtype.as_str();
    for (environment, more, dtype) in [
        (&[][..], &["--device", "cpu"][..], best),
        (&[("ADIRE_DTYPE", "f32")][..], &["--device", "cpu"][..], "f32"),
        (&[("ADIRE_DEVICE", "cpu"), ("ADIRE_DTYPE", "f16")][..], &[][..], "f16"),
        (&[("ADIRE_DTYPE", "f16")][..], &["--device", "cpu", "--dtype", "bf16"][..], "bf16"),
    ] {
        let (code, message) = generate(folder.path(), environment, more);
        assert_eq!(code, Some(0), "{message}");
        assert_eq!(recipe(folder.path()), ("cpu".to_owned(), dtype.to_owned()));
        let (code, message) = verify(&[]);
        assert!(code == Some(0) && message.contains("a.png: exact"), "{message}");
    }
    // The last one, in another precision than it was made with.
    let (_, message) = verify(&["--dtype", "f32"]);
    assert!(!message.contains("exact") && message.contains("on cpu in bf16; this is Adire"), "{message}");
    assert!(message.trim_end().ends_with("on cpu in f32."), "{message}");
}
