//! `adire generate` and `adire adapters inspect`, run as a person runs them, on a small random model.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use adire_protocol::{Rng, Sampler};

fn golden(name: &str) -> PathBuf {
    // Absolute: the program runs in a folder of its own.
    std::path::absolute(Path::new("../crates/engine/tests/goldens").join(name)).unwrap()
}

fn adire(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_adire"));
    command.env_remove("ADIRE_MODEL").current_dir(folder).args(arguments).output().unwrap()
}

/// `adire generate` on the small model, two steps of 64 × 64 pixels.
fn generate(folder: &Path, more: &[&str]) -> Output {
    let model = golden("pipeline");
    let mut arguments = vec!["generate", "--model", model.to_str().unwrap(), "--prompt", "red flower"];
    arguments.extend(["--seed", "7", "--steps", "2", "--width", "64", "--height", "64"]);
    arguments.extend(more);
    adire(folder, &arguments)
}

fn failure(output: &Output, code: i32) -> String {
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{message}");
    assert!(!message.contains("panicked") && !message.contains("backtrace"), "{message}");
    message
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn an_image_carries_its_request() {
    let folder = tempfile::tempdir().unwrap();
    let lora = golden("adapters/kohya.safetensors");
    let lora = format!("{}:-0.5", lora.display());
    let more = ["--sampler", "Euler a", "--rng", "cuda", "--negative", "dots", "--lora", &lora];
    let output =
        generate(folder.path(), &[&more[..], &["--out", "a.png", "--latents", "a.safetensors"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("a.png (seed 7, "));
    assert_eq!(names(folder.path()), ["a.png", "a.safetensors"]);

    let png = std::fs::read(folder.path().join("a.png")).unwrap();
    let request = adire_studio::read_request(&png).unwrap();
    assert_eq!((request.prompt.as_str(), request.negative_prompt.as_str()), ("red flower", "dots"));
    assert_eq!(
        (request.seed, request.steps, request.sampling()),
        (Some(7), Some(2), Some(Sampler::EulerA.into()))
    );
    assert_eq!(request.rng, Some(Rng::Cuda));
    assert_eq!((request.adapters[0].name.as_str(), request.adapters[0].strength), ("kohya", -0.5));

    let other = generate(folder.path(), &["--sampler", "Euler a", "--out", "cpu.png"]);
    assert!(other.status.success());
    let cpu = adire_studio::read_request(&std::fs::read(folder.path().join("cpu.png")).unwrap()).unwrap();
    assert_eq!(cpu.rng, Some(Rng::Cpu));

    let again = generate(folder.path(), &[&more[..], &["--out", "b.png"]].concat());
    assert!(again.status.success());
    assert_eq!(std::fs::read(folder.path().join("b.png")).unwrap(), png, "the same request, the same bytes");
}

#[test]
fn prompts_are_a1111s() {
    let folder = tempfile::tempdir().unwrap();
    let kohya = golden("adapters/kohya.safetensors");
    let pixels = |name: &str, more: &[&str]| {
        let output = generate(folder.path(), &[more, &["--out", name]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let infotext = adire_studio::read_request(&std::fs::read(folder.path().join(name)).unwrap()).unwrap();
        (image::open(folder.path().join(name)).unwrap().into_rgb8().into_raw(), infotext)
    };
    let (plain, request) = pixels("plain.png", &[]);
    assert_eq!(request.clip_skip, Some(1));
    let (skipped, request) = pixels("skipped.png", &["--clip-skip", "2"]);
    assert_eq!(request.clip_skip, Some(2));
    assert_ne!(skipped, plain);
    let lora = |strengths: &str| format!("{}:{strengths}", kohya.display());
    let (both, _) = pixels("both.png", &["--lora", &lora("1")]);
    let (apart, request) = pixels("apart.png", &["--lora", &lora("0:1")]);
    assert_eq!((request.adapters[0].strength, request.adapters[0].te_strength), (1.0, Some(0.0)));
    assert!(both != apart && apart != plain);

    let message = failure(&generate(folder.path(), &["--clip-skip", "3", "--out", "x.png"]), 2);
    assert!(message.contains("Clip skip must be 1 to 2; got 3."), "{message}");
    let model = golden("pipeline");
    let tag =
        ["generate", "--model", model.to_str().unwrap(), "--prompt", "a <lora:nope:1>", "--out", "x.png"];
    let message = failure(&adire(folder.path(), &tag), 1);
    assert!(message.contains("nope") && message.contains("--lora FILE"), "{message}");
}

#[test]
fn a_prompt_takes_a_value_of_a_list() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("lists.txt"), "[colour]\nindigo\n").unwrap();
    let output =
        generate(folder.path(), &["--negative", "__colour__", "--wildcards", "lists.txt", "--out", "a.png"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let request = adire_studio::read_request(&std::fs::read(folder.path().join("a.png")).unwrap()).unwrap();
    assert_eq!(request.negative_prompt, "indigo");
    std::fs::write(folder.path().join("lists.txt"), "indigo\n").unwrap();
    let output = generate(folder.path(), &["--wildcards", "lists.txt", "--out", "b.png"]);
    assert!(failure(&output, 1).contains("lists.txt: Line 1: a list begins with its name"));
}

#[test]
fn strength_0_is_the_image_without() {
    let folder = tempfile::tempdir().unwrap();
    let kohya = golden("adapters/kohya.safetensors");
    let pixels = |name: &str, more: &[&str]| {
        let output = generate(folder.path(), &[more, &["--out", name]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        image::open(folder.path().join(name)).unwrap().into_rgb8().into_raw()
    };
    let plain = pixels("plain.png", &[]);
    assert_eq!(pixels("zero.png", &["--lora", &format!("{}:0", kohya.display())]), plain);
    assert_ne!(pixels("one.png", &["--lora", kohya.to_str().unwrap()]), plain);
}

/// By name, version or alias, while no server uses the folder.
#[test]
fn a_prompt_names_adapters_of_the_data_folder() {
    let folder = tempfile::tempdir().unwrap();
    let kohya = golden("adapters/kohya.safetensors").display().to_string();
    let model = golden("pipeline").display().to_string();
    let run = |arguments: &[&str]| {
        let output = adire(folder.path(), arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    run(&["adapters", "add", &kohya, "--name", "dots", "--model", &model]);
    run(&["alias", "set", "dots@v1", "stable"]);
    let prompt = |text: &str, more: &[&str]| {
        let size = ["--width", "64", "--height", "64", "--steps", "2", "--seed", "3", "--model", &model];
        adire(folder.path(), &[&["generate", "--prompt", text][..], &size, more].concat())
    };
    let pixels = |text: &str, name: &str, more: &[&str]| {
        let output = prompt(text, &[more, &["--out", name]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        image::open(folder.path().join(name)).unwrap().into_rgb8().into_raw()
    };
    let by_file = pixels("moons", "file.png", &["--lora", &format!("{kohya}:0.5")]);
    for name in ["dots", "dots@v1", "dots@stable"] {
        assert_eq!(pixels(&format!("moons <lora:{name}:0.5>"), "named.png", &["--data", "data"]), by_file);
    }
    let without = failure(&prompt("moons <lora:dots:0.5>", &["--out", "b.png"]), 1);
    assert!(without.contains("bundles no adapters") && without.contains("--data DIR"), "{without}");
    let unknown = failure(&prompt("moons <lora:dots@next:0.5>", &["--out", "b.png", "--data", "data"]), 1);
    assert!(unknown.contains("dots@next") && unknown.contains("dots@v1"), "{unknown}");
    let nowhere = failure(&prompt("moons <lora:dots:0.5>", &["--out", "b.png", "--data", "nowhere"]), 1);
    assert!(nowhere.contains("the data folder nowhere does not exist"), "{nowhere}");
    assert!(!folder.path().join("b.png").exists() && !folder.path().join("nowhere").exists());
}

#[test]
fn a_seed_of_minus_one_is_random_and_partly_decoded_images_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let half =
        image::RgbaImage::from_fn(64, 64, |x, _| image::Rgba([200, 0, 0, if x < 32 { 0 } else { 255 }]));
    half.save(folder.path().join("init.png")).unwrap();
    let model = golden("pipeline");
    let draw = |out: &str, more: &[&str]| {
        let mut arguments =
            vec!["generate", "--model", model.to_str().unwrap(), "--prompt", "", "--seed", "-1"];
        arguments.extend(["--steps", "2", "--width", "64", "--height", "64", "--out", out]);
        arguments.extend(more);
        adire(folder.path(), &arguments)
    };
    let [a, b] = ["a.png", "b.png"].map(|out| {
        let output = draw(out, &["--init-image", "init.png"]);
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && message.contains("init.png: 50% of the image is transparent"),
            "{message}"
        );
        adire_studio::read_request(&std::fs::read(folder.path().join(out)).unwrap()).unwrap()
    });
    assert!(a.seed != b.seed && a.prompt.is_empty(), "{:?} {:?}", a.seed, b.seed);
    let mut jpeg = std::io::Cursor::new(Vec::new());
    image::DynamicImage::from(half).into_rgb8().write_to(&mut jpeg, image::ImageFormat::Jpeg).unwrap();
    let jpeg = jpeg.into_inner();
    std::fs::write(folder.path().join("cut.jpg"), &jpeg[..jpeg.len() - 60]).unwrap();
    assert!(failure(&draw("c.png", &["--init-image", "cut.jpg"]), 1).contains("incomplete"));
}

#[test]
fn wrong_arguments_end_with_2_and_write_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for (more, expected) in [
        (&["--width", "513"][..], "513"),
        (&["--steps", "0"], "Steps must be 1 to 150; got 0."),
        (&["--steps", "1000000000"], "Steps must be"),
        (&["--guidance", "NaN"], "Guidance"),
        (&["--sampler", "magic"], "unknown sampler"),
        (&["--sampler", "lcm", "--steps", "51"], "1 to 50 with LCM"),
        (&["--rng", "dice"], "use one of: cpu, cuda"),
        (&["--lora", "a.safetensors:1e9"], "must be -5 to 5; got 1000000000"),
        (&["--lora", "a.safetensors:4", "--max-strength", "2"], "must be -2 to 2; got 4"),
        (&["--max-strength", "1000"], "at most 100"),
        (&["--seed", "x"], "seed"),
        (&["--seed", "-2"], "-1 for a random one"),
    ] {
        let model = golden("pipeline");
        let mut arguments = vec!["generate", "--model", model.to_str().unwrap(), "--out", "a.png"];
        if more[0] != "--prompt" {
            arguments.extend(["--prompt", "red flower"]);
        }
        arguments.extend(more);
        let message = failure(&adire(folder.path(), &arguments), 2);
        assert!(message.contains(expected), "{more:?}: {message}");
    }
    assert!(names(folder.path()).is_empty());
}

#[test]
fn what_cannot_be_used_ends_with_1_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let good = std::fs::read(golden("adapters/kohya.safetensors")).unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    write("cut.safetensors", &good[..good.len() - 9]);
    write("pickle.safetensors", b"\x80\x02}q\x00.");
    write("empty.safetensors", b"");
    let sdxl = golden("adapters/sdxl-diffusers.safetensors");
    for (more, expected) in [
        (&["--out", "a.png", "--lora", "cut.safetensors"][..], "truncated"),
        (&["--out", "a.png", "--lora", "pickle.safetensors:0.5"], "pickle"),
        (&["--out", "a.png", "--lora", "empty.safetensors"], "too few"),
        (&["--out", "a.png", "--lora", "missing.safetensors"], "cannot be read"),
        (&["--out", "a.png", "--lora", sdxl.to_str().unwrap()], "made for SDXL"),
        (&["--out", "nowhere/a.png"], "the folder nowhere does not exist"),
        (&["--out", "."], "is a folder"),
    ] {
        let message = failure(&generate(folder.path(), more), 1);
        assert!(message.contains(expected), "{more:?}: {message}");
        assert_eq!(message.trim_end().lines().count(), 1, "{message}");
    }
    assert!(!folder.path().join("a.png").exists());
}

/// A safetensors file with two numbers more under that name, and how many tensors it then has.
fn with_tensor(bytes: &[u8], name: &str) -> (Vec<u8>, usize) {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let (header, data) = bytes[8..].split_at(length);
    let mut header: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(header).unwrap();
    let places = [data.len(), data.len() + 8];
    header
        .insert(name.to_owned(), serde_json::json!({ "dtype": "F32", "shape": [2], "data_offsets": places }));
    let count = header.keys().filter(|key| *key != "__metadata__").count();
    let text = serde_json::to_vec(&header).unwrap();
    let more = [1f32, 2.0].map(f32::to_le_bytes).concat();
    ([&(text.len() as u64).to_le_bytes()[..], &text, data, &more].concat(), count)
}

/// What takes effect only in part says so, and `--strict` refuses it; no name reaches a terminal raw.
#[test]
fn skipped_tensors_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let good = std::fs::read(golden("adapters/kohya.safetensors")).unwrap();
    let (odd, bias) = ("something_\u{1b}[31mX", "lora_unet_conv_norm_out.diff_b");
    let write = |bytes: &[u8]| std::fs::write(folder.path().join("odd.safetensors"), bytes).unwrap();
    write(&with_tensor(&with_tensor(&good, odd).0, bias).0);
    let message = failure(&generate(folder.path(), &["--out", "a.png", "--lora", "odd.safetensors"]), 1);
    assert!(message.contains("conv_norm_out's bias is [16] in this model, but [2] in the file"), "{message}");

    let (bytes, count) = with_tensor(&good, odd);
    write(&bytes);
    let expected = format!(
        "Applied in part: 1 of {count} tensors was left out: 1 with unknown names (something_\\u{{1b}}[31mX)."
    );
    let output = generate(folder.path(), &["--out", "a.png", "--lora", "odd.safetensors:-4.5"]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && message.contains(&expected), "{message}");
    let message =
        failure(&generate(folder.path(), &["--out", "b.png", "--strict", "--lora", "odd.safetensors"]), 1);
    assert!(message.contains(&expected) && !folder.path().join("b.png").exists(), "{message}");

    let model = golden("pipeline");
    let inspect = |more: &[&str]| {
        adire(folder.path(), &[&["adapters", "inspect", "odd.safetensors"][..], more].concat())
    };
    let on_model = ["--model", model.to_str().unwrap()];
    let output = inspect(&on_model);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains(&expected) && !text.contains('\u{1b}'), "{text}");
    assert!(failure(&inspect(&[&on_model[..], &["--strict"]].concat()), 1).contains(&expected));
    failure(&inspect(&["--strict"]), 1);

    let data = folder.path().join("data");
    let add = |more: &[&str]| {
        let arguments =
            ["adapters", "add", "odd.safetensors", "--name", "odd", "--data", data.to_str().unwrap()];
        adire(folder.path(), &[&arguments[..], &on_model[..], more].concat())
    };
    assert!(failure(&add(&["--strict"]), 1).contains(&expected));
    let output = add(&[]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && message.contains(&expected), "{message}");

    // A name with an escape in an error, too.
    write(&with_tensor(&good, "lora_unet_\u{1b}[31mX.lora_down.weight").0);
    let message = failure(&inspect(&[]), 1);
    assert!(message.contains("\\u{1b}") && !message.contains('\u{1b}'), "{message:?}");
}

#[test]
fn inspect_says_what_a_file_is() {
    let folder = tempfile::tempdir().unwrap();
    let (file, model) = (golden("adapters/kohya.safetensors"), golden("pipeline"));
    let (file, model) = (file.to_str().unwrap(), model.to_str().unwrap());
    let output = adire(folder.path(), &["adapters", "inspect", file]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for expected in ["format         kohya", "adire (24)", "rank 4 ("] {
        assert!(text.contains(expected), "{text}");
    }
    let output = adire(folder.path(), &["adapters", "inspect", file, "--model", model, "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["formats"], serde_json::json!(["kohya"]));
    assert_eq!(
        report["receipt"]["applied"].as_array().unwrap().len(),
        report["modules"].as_array().unwrap().len()
    );

    std::fs::write(folder.path().join("page"), "<!DOCTYPE html>").unwrap();
    let message = failure(&adire(folder.path(), &["adapters", "inspect", "page"]), 1);
    assert!(message.contains("web page"), "{message}");
}

#[test]
fn convert_writes_what_the_same_program_reads_back() {
    let folder = tempfile::tempdir().unwrap();
    let (file, model) = (golden("adapters/kohya.safetensors"), golden("pipeline"));
    let (file, model) = (file.to_str().unwrap(), model.to_str().unwrap());
    let image = |name: &str, lora: &str| {
        let output = generate(folder.path(), &["--lora", lora, "--out", name]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        image::open(folder.path().join(name)).unwrap().into_rgb8().into_raw()
    };
    let expected = image("original.png", file);
    for (to, out) in [("diffusers", "d.safetensors"), ("peft", "p"), ("kohya", "k.safetensors")] {
        let convert = ["adapters", "convert", file, "--to", to, "--out", out, "--model", model];
        let output = adire(folder.path(), &convert);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stdout).starts_with(&format!("{out}: ")));
        assert_eq!(image(&format!("{to}.png"), out), expected, "{to}");
        let message = failure(&adire(folder.path(), &convert), 1);
        assert!(message.contains("exists already"), "{message}");
    }
    assert!(folder.path().join("p/unet/adapter_config.json").is_file());

    // A PEFT folder is added to a data folder as one file.
    let add = ["adapters", "add", "p", "--name", "peft", "--data", "data", "--model", model];
    let output = adire(folder.path(), &add);
    let message = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        message.starts_with("Added peft@v1 to data"),
        "{message}{}",
        String::from_utf8_lossy(&output.stderr)
    );

    let loha = golden("adapters/loha.safetensors");
    let convert =
        ["adapters", "convert", loha.to_str().unwrap(), "--to", "peft", "--out", "no", "--model", model];
    let message = failure(&adire(folder.path(), &convert), 1);
    assert!(message.contains("Hadamard product") && !folder.path().join("no").exists(), "{message}");
    let convert = ["adapters", "convert", file, "--to", "a1111", "--out", "no"];
    assert!(failure(&adire(folder.path(), &convert), 2).contains("write kohya, diffusers or peft"));
}
