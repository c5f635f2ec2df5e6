//! `adire evaluate` as a program: its exit codes, and what it says where there can be no verdict.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use adire_studio::DataFolder;

/// One prompt and seed: few images, and too little for a verdict.
const SUITE: &str = "name = \"one\"\nseeds = [1]\nprompts = [\"red flower, {trigger}\"]\n";

fn golden(name: &str) -> PathBuf {
    // Absolute: the program runs in a folder of its own.
    std::path::absolute(Path::new("../crates/engine/tests/goldens").join(name)).unwrap()
}

fn judge() -> PathBuf {
    std::path::absolute("../models/starter/clip").unwrap()
}

fn adire(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_adire"));
    for name in ["ADIRE_DATA", "ADIRE_DATABASE", "ADIRE_MODEL", "ADIRE_JUDGE", "RUST_LOG"] {
        command.env_remove(name);
    }
    command.current_dir(folder).env("HF_HOME", folder.join("hub")).args(arguments).output().unwrap()
}

fn evaluate(folder: &Path, more: &[&str]) -> Output {
    let model = golden("pipeline");
    fs::write(folder.join("suite.toml"), SUITE).unwrap();
    let common = ["evaluate", "cloth@v1", "--model", model.to_str().unwrap(), "--suite", "suite.toml"];
    adire(folder, &[&common[..], more].concat())
}

fn add(folder: &Path, file: &Path) {
    let (file, model) = (file.to_str().unwrap(), golden("pipeline"));
    let model = model.to_str().unwrap();
    let added = adire(folder, &["adapters", "add", file, "--name", "cloth", "--model", model]);
    assert!(added.status.success(), "{}", text(&added));
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// An adapter whose every number is 0.
fn without_effect(folder: &Path) -> PathBuf {
    let mut bytes = fs::read(golden("adapters/kohya.safetensors")).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[8 + header..].fill(0);
    let file = folder.join("zero.safetensors");
    fs::write(&file, bytes).unwrap();
    file
}

#[test]
fn too_small_a_suite_is_inconclusive_in_a_table_and_as_json() {
    let folder = tempfile::tempdir().unwrap();
    add(folder.path(), &golden("adapters/kohya.safetensors"));
    let judge = judge();
    let output = evaluate(folder.path(), &["--judge", judge.to_str().unwrap()]);
    let shown = text(&output);
    assert_eq!(output.status.code(), Some(3), "{shown}");
    assert!(shown.starts_with("cloth@v1: inconclusive, compared with the base model on 1 images"), "{shown}");
    assert!(shown.contains("\nfloors     pass          ") && shown.contains("1 of the 6 prompts"), "{shown}");

    let output = evaluate(folder.path(), &["--json", "--judge", judge.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    let detail: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(detail["evaluation"]["verdict"]["outcome"], "inconclusive");
    let render =
        detail["evaluation"]["steps"].as_array().unwrap().iter().find(|step| step["name"] == "render");
    assert_eq!(render.unwrap()["state"], "reused", "images are kept between calls");
}

#[test]
fn an_adapter_without_effect_fails() {
    let folder = tempfile::tempdir().unwrap();
    add(folder.path(), &without_effect(folder.path()));
    let judge = judge();
    let output = evaluate(folder.path(), &["--judge", judge.to_str().unwrap()]);
    let shown = text(&output);
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(shown.contains("cloth@v1: fail") && shown.contains("changes nothing"), "{shown}");
}

#[test]
fn what_prevents_a_verdict_is_one_sentence_and_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let (model, judge) = (golden("pipeline"), judge());
    let refused = |arguments: &[&str], words: &str| {
        let common = ["evaluate", "cloth@v1", "--model", model.to_str().unwrap()];
        let output = adire(folder.path(), &[&common[..], arguments].concat());
        let shown = text(&output);
        assert_eq!(output.status.code(), Some(2), "{shown}");
        assert!(shown.starts_with("adire: ") && shown.contains(words), "{shown}");
        assert_eq!(shown.trim_end().lines().count(), 1, "{shown}");
    };
    refused(&["--suite", "none.toml"], "cannot read the suite none.toml");
    refused(&[], "cloth");
    add(folder.path(), &golden("adapters/kohya.safetensors"));
    fs::write(folder.path().join("bad.toml"), "name = 'x'\nseeds = [1]\nprompts = ['a', 'a']").unwrap();
    refused(&["--suite", "bad.toml"], "prompt 2 repeats an earlier one");
    refused(&["--against", "cloth@v7", "--judge", judge.to_str().unwrap()], "cloth");
    refused(&["--judge", "nowhere"], "The judge nowhere was not found");
}

#[test]
fn a_data_folder_in_use_names_the_api() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let held = runtime.block_on(DataFolder::open(&folder.path().join("data"))).unwrap();
    let output = evaluate(folder.path(), &[]);
    let shown = text(&output);
    assert_eq!(output.status.code(), Some(2), "{shown}");
    assert!(shown.contains("POST /admin/api/evaluations"), "{shown}");
    runtime.block_on(held.close());
}

/// A version against itself: the same images, so it is not better.
#[test]
fn a_version_against_itself_does_not_pass() {
    let folder = tempfile::tempdir().unwrap();
    add(folder.path(), &golden("adapters/kohya.safetensors"));
    let judge = judge();
    let output =
        evaluate(folder.path(), &["--against", "cloth@v1", "--json", "--judge", judge.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    let detail: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(detail["evaluation"]["champion"], "cloth@v1");
    let images = detail["images"].as_array().unwrap();
    let hash = |role: &str| &images.iter().find(|image| image["role"] == role).unwrap()["hash"];
    assert_eq!(hash("champion"), hash("challenger"));
    let criteria = detail["evaluation"]["verdict"]["criteria"].as_array().unwrap();
    let style = criteria.iter().find(|criterion| criterion["kind"] == "style").unwrap();
    assert_ne!(style["outcome"], "pass");
}
