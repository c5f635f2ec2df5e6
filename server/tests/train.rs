//! `adire train` as a program: what it writes, going on after a kill, and what it says to bad input.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use adire_studio::{Pixels, encode_png};

fn model() -> PathBuf {
    // Absolute: the program runs in a folder of its own.
    std::path::absolute("../crates/engine/tests/goldens/pipeline").unwrap()
}

fn images(folder: &Path) -> PathBuf {
    let data = folder.join("pictures");
    fs::create_dir_all(&data).unwrap();
    for i in 0..4u8 {
        let rgb = (0..64 * 64 * 3).map(|at| (at as u8).wrapping_mul(3 + i)).collect();
        let png = encode_png(&Pixels { width: 64, height: 64, rgb }, "").unwrap();
        fs::write(data.join(format!("{i}.png")), png).unwrap();
    }
    data
}

fn train(folder: &Path, data: &Path, out: &str, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_adire"));
    command.current_dir(folder).arg("train").arg("--model").arg(model()).arg("--data").arg(data);
    command.args(["--name", "cloth", "--out", out, "--trigger", "tok", "--resolution", "64"]);
    command.args(["--held-out", "0.25", "--checkpoint-every", "4", "--accumulation", "1"]).args(more);
    command
}

fn run(mut command: Command) -> Output {
    command.output().unwrap()
}

fn complaint(output: &Output) -> String {
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!text.contains("panicked"), "{text}");
    text
}

#[test]
fn a_run_writes_adapter_log_samples_and_card() {
    let folder = tempfile::tempdir().unwrap();
    let data = images(folder.path());
    let more = ["--steps", "4", "--sample-prompt", "a tok cloth", "--sample-every", "2", "--text-encoder"];
    let output = run(train(folder.path(), &data, "out", &more));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let out = folder.path().join("out");
    for file in ["cloth.safetensors", "cloth-diffusers.safetensors", "README.md", "checkpoint.safetensors"] {
        assert!(out.join(file).is_file(), "{file}");
    }
    let samples: Vec<_> =
        fs::read_dir(out.join("samples")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(samples.len(), 3, "{samples:?}");
    let log = fs::read_to_string(out.join("training.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().filter(|line| line.get("loss").is_some()).count(), 4);
    assert_eq!(lines.iter().filter(|line| line.get("held_out_loss").is_some()).count(), 2);
    assert!(fs::read_to_string(out.join("README.md")).unwrap().contains("Trigger word: `tok`"));

    for file in ["cloth.safetensors", "cloth-diffusers.safetensors"] {
        let mut inspect = Command::new(env!("CARGO_BIN_EXE_adire"));
        inspect.args(["adapters", "inspect", "--json", "--model"]).arg(model()).arg(out.join(file));
        let output = run(inspect);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_run_makes_samples_by_itself_and_keeps_captions_out_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let data = images(folder.path());
    fs::write(data.join("0.txt"), "tok, PRIVATE words").unwrap();
    let done = |out: &str, more: &[&str]| {
        let output = run(train(folder.path(), &data, out, &[&["--steps", "2"], more].concat()));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let files = ["cloth.safetensors", "cloth-diffusers.safetensors", "README.md"];
        let files = files.map(|file| fs::read(folder.path().join(out).join(file)).unwrap());
        let samples = fs::read_dir(folder.path().join(out).join("samples")).unwrap().count();
        let matches = files.iter().filter(|bytes| bytes.windows(7).any(|part| part == b"PRIVATE")).count();
        (samples, matches)
    };
    // Two captions, and one without the trigger; before the first update and after both.
    assert_eq!(done("plain", &[]), (9, 0));
    assert_eq!(done("silent", &["--no-samples"]), (0, 0));
    let (samples, matches) = done("published", &["--publish-captions", "--sample-every", "2"]);
    assert!(samples == 6 && matches > 0, "{samples} {matches}");
}

#[test]
fn a_kohya_project_is_trained_on_with_its_class_images() {
    let folder = tempfile::tempdir().unwrap();
    let data = images(folder.path());
    let project = folder.path().join("project");
    for (place, files) in [("img/2_tok cloth", &[0, 1][..]), ("reg/1_cloth", &[2]), ("model/sample", &[3])] {
        fs::create_dir_all(project.join(place)).unwrap();
        for file in files {
            fs::copy(data.join(format!("{file}.png")), project.join(place).join(format!("{file}.png")))
                .unwrap();
        }
    }
    let output = run(train(folder.path(), &project, "out", &["--steps", "1", "--no-samples"]));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{message}");
    assert!(
        message.contains("1 class images") && message.contains("model: Skipped with its contents"),
        "{message}"
    );
    let card = fs::read_to_string(folder.path().join("out/README.md")).unwrap();
    assert!(card.contains("2 images (hash "), "{card}");
}

#[test]
fn a_killed_run_resumes_and_ends_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let data = images(folder.path());
    let more = ["--steps", "40"];
    assert!(run(train(folder.path(), &data, "whole", &more)).status.success());

    let mut command = train(folder.path(), &data, "killed", &more);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let checkpoint = folder.path().join("killed/checkpoint.safetensors");
    let since = Instant::now();
    while !checkpoint.is_file() {
        assert!(since.elapsed() < Duration::from_secs(120), "no checkpoint came");
        thread::sleep(Duration::from_millis(2));
    }
    // SIGKILL: nothing can be tidied up.
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(run(train(folder.path(), &data, "killed", &more)).status.success());
    let bytes = |out: &str, file: &str| fs::read(folder.path().join(out).join(file)).unwrap();
    for file in ["cloth.safetensors", "cloth-diffusers.safetensors", "checkpoint.safetensors"] {
        assert!(bytes("whole", file) == bytes("killed", file), "{file} differs");
    }

    let other = run(train(folder.path(), &data, "killed", &["--steps", "40", "--rank", "2"]));
    assert!(complaint(&other).contains("choose another folder with --out"));
}

#[test]
fn class_images_are_made_by_the_base_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let data = images(folder.path());
    let steps = ["--steps", "2", "--sample-every", "0"];
    let class = [&steps[..], &["--class-prompt", "a cloth", "--class-images", "2"]].concat();
    let done = |out: &str, more: &[&str]| {
        let output = run(train(folder.path(), &data, out, more));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::read(folder.path().join(out).join("cloth.safetensors")).unwrap()
    };
    let made = |out: &str| {
        let files = fs::read_dir(folder.path().join(out).join("class")).unwrap();
        let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        files.sort();
        files
    };
    let whole = done("whole", &class);
    assert_eq!(made("whole").len(), 2);
    assert!(whole != done("without", &steps), "the class pictures had no part in it");

    // As after a kill between the two.
    fs::create_dir_all(folder.path().join("half/class")).unwrap();
    let first = &made("whole")[0];
    let kept = folder.path().join("half/class").join(first.file_name().unwrap());
    fs::copy(first, &kept).unwrap();
    let before = fs::metadata(&kept).unwrap().modified().unwrap();
    assert!(whole == done("half", &class), "the same class pictures give the same bytes");
    assert_eq!(fs::metadata(&kept).unwrap().modified().unwrap(), before, "it was made once more");

    // Those that are given count.
    let own = folder.path().join("own");
    fs::create_dir_all(&own).unwrap();
    fs::copy(data.join("0.png"), own.join("0.png")).unwrap();
    done("given", &[&class[..], &["--class-data", own.to_str().unwrap()]].concat());
    assert_eq!(made("given").len(), 1);
}

/// The safetensors file `bytes` with one more tensor, `name`.
fn with_tensor(bytes: &[u8], name: &str) -> Vec<u8> {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let (header, data) = bytes[8..].split_at(length);
    let mut header: serde_json::Value = serde_json::from_slice(header).unwrap();
    let offsets = [data.len(), data.len() + 4];
    header[name] = serde_json::json!({"dtype": "F32", "shape": [1], "data_offsets": offsets});
    let header = header.to_string().into_bytes();
    [&(header.len() as u64).to_le_bytes()[..], &header, data, &[0; 4]].concat()
}

#[test]
fn a_run_starts_from_an_adapter_and_reports_what_it_leaves_out() {
    let folder = tempfile::tempdir().unwrap();
    let data = images(folder.path());
    let more = ["--steps", "2", "--sample-prompt", "a tok cloth", "--sample-every", "2"];
    assert!(run(train(folder.path(), &data, "first", &more)).status.success());
    let whole = folder.path().join("first/cloth.safetensors");
    let parts = folder.path().join("parts.safetensors");
    fs::write(&parts, with_tensor(&fs::read(&whole).unwrap(), "mystery")).unwrap();
    let held_out = |out: &str| {
        let log = fs::read_to_string(folder.path().join(out).join("training.jsonl")).unwrap();
        let lines = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.filter_map(|line| line["held_out_loss"].as_f64()).collect::<Vec<_>>()
    };
    for (out, parent, warned) in [("second", &whole, false), ("third", &parts, true)] {
        let file = parent.to_str().unwrap();
        let output = run(train(folder.path(), &data, out, &[&more[..], &["--continue-from", file]].concat()));
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{message}");
        let warning = "Applied in part: 1 of";
        assert_eq!(message.contains(warning) && message.contains("mystery"), warned, "{message}");
        assert_eq!(
            held_out(out)[0],
            *held_out("first").last().unwrap(),
            "it begins where the other one ended"
        );
        let samples = fs::read_dir(folder.path().join(out).join("samples")).unwrap().count();
        assert_eq!(samples, 3, "before the first step with the adapter and without, after the last with it");
    }
    let file = whole.to_str().unwrap();
    let other = train(
        folder.path(),
        &data,
        "other",
        &[&more[..], &["--rank", "2", "--continue-from", file]].concat(),
    );
    assert!(complaint(&run(other)).contains("use the settings it was made with"));
}

#[test]
fn bad_input_is_named_before_anything_is_computed() {
    let folder = tempfile::tempdir().unwrap();
    let (data, empty) = (images(folder.path()), folder.path().join("empty"));
    fs::create_dir_all(&empty).unwrap();
    let message = |data: &Path, more: &[&str]| complaint(&run(train(folder.path(), data, "bad", more)));
    assert!(message(&empty, &[]).contains("has no usable image"));
    assert!(message(&folder.path().join("nowhere"), &[]).contains("cannot be read: no such file or folder"));
    for (flag, value, words) in [
        ("--rank", "0", "rank must be 1 to 128; got 0"),
        ("--rank", "10000", "rank must be 1 to 128; got 10000"),
        ("--learning-rate", "nan", "got NaN"),
        ("--targets", "everything", "unknown targets"),
        ("--class-images", "3", "--class-images needs --class-prompt"),
        ("--class-prompt", "a cloth", "--class-prompt needs class images"),
        ("--class-pictures", "1001", "class_images must be 0 to 1000; got 1001"),
    ] {
        let text = message(&data, &[flag, value]);
        assert!(text.contains(words), "{flag} {value}: {text}");
    }
    fs::write(folder.path().join("bad.toml"), "stepps = 3\n").unwrap();
    assert!(message(&data, &["--config", "bad.toml"]).contains("unknown or invalid setting"));
    // Names become files.
    let mut named = Command::new(env!("CARGO_BIN_EXE_adire"));
    named.current_dir(folder.path()).args(["train", "--name", "../up", "--data"]).arg(&data);
    assert!(complaint(&run(named)).contains("the name "));
    // One image is trained on; there is then nothing to measure with.
    let single = folder.path().join("single");
    fs::create_dir_all(&single).unwrap();
    fs::copy(data.join("0.png"), single.join("0.png")).unwrap();
    let output = run(train(folder.path(), &single, "single", &["--steps", "1"]));
    assert!(String::from_utf8_lossy(&output.stderr).contains("Training on 1 images, 0 held out"));
    assert!(output.status.success());
}
