//! `adire adapters push`, with the starter's adapter and real files, to a server that speaks the Hub's protocol.

#[path = "../../src/publish/tests/fake_hub.rs"]
mod fake_hub;

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Command, Output},
};

use fake_hub::FakeHub;

const TOKEN: &str = "hf_secret_of_the_tests";

fn starter(name: &str) -> String {
    std::path::absolute(Path::new("../models/starter").join(name)).unwrap().to_str().unwrap().to_owned()
}

fn adire(folder: &Path, hub: &FakeHub, token: Option<&str>, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_adire"));
    for name in ["ADIRE_DATA", "ADIRE_DATABASE", "ADIRE_MODEL", "ADIRE_JUDGE", "HF_TOKEN", "RUST_LOG"] {
        command.env_remove(name);
    }
    command
        .env("HF_ENDPOINT", format!("http://127.0.0.1:{}", hub.line.port))
        .env("HF_HOME", folder.join("hub"))
        .envs(token.map(|token| ("HF_TOKEN", token)))
        .current_dir(folder)
        .args(arguments)
        .output()
        .unwrap()
}

/// Names of the tensors of a safetensors file.
fn tensors(file: &[u8]) -> Vec<String> {
    let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&file[8..8 + length]).unwrap();
    let names = header.as_object().unwrap().keys().filter(|name| *name != "__metadata__");
    names.cloned().collect()
}

#[test]
fn an_evaluated_adapter_is_pushed_whole_with_its_card() {
    let hub = FakeHub::start(false);
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| adire(folder.path(), &hub, Some(TOKEN), arguments);
    let (model, adapter) = (starter(""), starter("adapters/adire-v2.safetensors"));
    let add = ["adapters", "add", &adapter, "--name", "adire", "--trigger", "in adire style"];
    let added = run(&[&add[..], &["--description", "Indigo for a REPOSITORY.", "--model", &model]].concat());
    super::stdout(&added);
    let suite = "name = \"two\"\nseeds = [1]\nprompts = [\"white moons on blue cloth, {trigger}\", \
                 \"a visitor's own, {trigger}\"]\nprivate = [\"a visitor's own, {trigger}\"]\n";
    std::fs::write(folder.path().join("suite.toml"), suite).unwrap();
    let judge = starter("clip");
    let evaluate = ["evaluate", "adire@v1", "--model", &model, "--suite", "suite.toml", "--judge", &judge];
    let evaluated = run(&evaluate);
    // Two prompts are too few for a verdict.
    assert_eq!(evaluated.status.code(), Some(3), "{}", String::from_utf8_lossy(&evaluated.stderr));

    let push = ["adapters", "push", "adire@v1", "ada/cloth", "--license", "cc-by-4.0"];
    let push = [&push[..], &["--base-model", "org/starter", "--model", &model]].concat();
    let without = adire(folder.path(), &hub, None, &push);
    assert!(super::failure(&without).contains("HF_TOKEN is not set"));
    let pushed = run(&push);
    let printed = super::stdout(&pushed);
    assert!(printed.contains("/ada/cloth") && !printed.contains(TOKEN), "{printed}");

    let state = hub.state.lock().unwrap();
    assert!(state.repositories["ada/cloth"], "it is private");
    let names: BTreeSet<&str> = state.files.keys().map(String::as_str).collect();
    let expected =
        ["README.md", "adire-v1.safetensors", "images/sample-1.png", "pytorch_lora_weights.safetensors"];
    assert_eq!(names, BTreeSet::from(expected), "the private prompt has no image");
    let diffusers = tensors(&state.files["pytorch_lora_weights.safetensors"]);
    let theirs = |name: &String| name.starts_with("unet.") || name.starts_with("text_encoder.");
    assert!(!diffusers.is_empty() && diffusers.iter().all(theirs), "{:?}", diffusers.first());
    let kohya = tensors(&state.files["adire-v1.safetensors"]);
    assert!(kohya.len() >= diffusers.len() && kohya.iter().all(|name| name.starts_with("lora_")));
    let image = image::load_from_memory(&state.files["images/sample-1.png"]).unwrap();
    assert_eq!((image.width(), image.height()), (256, 256));

    let card = String::from_utf8(state.files["README.md"].clone()).unwrap();
    let front = card.strip_prefix("---\n").unwrap().split_once("\n---\n").unwrap().0;
    let widget = "widget:\n- text: \"white moons on blue cloth, in adire style\"\n  output:\n    url: \"images/sample-1.png\"";
    for words in [
        widget,
        "license: \"cc-by-4.0\"",
        "base_model: \"org/starter\"",
        "instance_prompt: \"in adire style\"",
        "library_name: diffusers",
    ] {
        assert!(front.contains(words), "{words}: {card}");
    }
    for words in [
        "load_lora_weights(\"ada/cloth\", weight_name=\"pytorch_lora_weights.safetensors\")",
        "from_pretrained(\"org/starter\")",
        "Indigo for a REPOSITORY.",
        "<Gallery />",
        "## Evaluation\n\n- Verdict: inconclusive.\n- floors, pass: ",
        "- `pytorch_lora_weights.safetensors`: for diffusers",
        "- `adire-v1.safetensors`: for other programs",
    ] {
        assert!(card.contains(words), "{words}: {card}");
    }
    assert!(!card.contains("visitor"), "{card}");
    drop(state);

    // Again: nothing is sent, and no commit is made.
    super::stdout(&run(&push));
    assert_eq!(hub.state.lock().unwrap().commits, 1);
    let heads = [hub.line.heads(), hub.store.heads()].concat();
    assert!(heads.iter().any(|head| head.starts_with("PUT ")), "files went to the store");
    assert!(hub.store.heads().iter().all(|head| !head.contains(TOKEN)), "the store gets no token");
}

#[test]
fn what_cannot_be_pushed_is_one_sentence() {
    let hub = FakeHub::start(false);
    let folder = tempfile::tempdir().unwrap();
    for (arguments, words) in [
        (["adire@v7", "ada/cloth"], "adire@v7"),
        (["adire@v1", "cloth"], "The repository must be like owner/name; got “cloth”."),
    ] {
        let push = [&["adapters", "push"][..], &arguments].concat();
        let refused = super::failure(&adire(folder.path(), &hub, Some(TOKEN), &push));
        assert!(refused.contains(words) && refused.trim_end().lines().count() == 1, "{refused}");
    }
    assert!(hub.line.heads().is_empty());
}
