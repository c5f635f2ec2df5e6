//! `cargo xtask bench cpu`: the program beside diffusers, one after the other, as a table of ratios.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    shell::{cargo, root, run as succeed, target},
    tools,
};

/// Images that are timed after a first one; their median counts.
const IMAGES: &str = "5";
/// Rows of the table: a name, the key in both reports, and its unit.
const ROWS: [(&str, &str, &str); 11] = [
    ("load", "load_seconds", "s"),
    ("first image", "first_seconds", "s"),
    ("step", "step_seconds", "s"),
    ("image", "seconds", "s"),
    ("text encoder, both prompts", "text_seconds", "s"),
    ("VAE decode", "decode_seconds", "s"),
    ("image of 20 steps with an adapter", "adapter_image_seconds", "s"),
    ("switch of adapters", "switch_seconds", "s"),
    ("switch to adapters that were in effect before", "switch_back_seconds", "s"),
    ("fingerprint of the weights", "fingerprint_seconds", "s"),
    ("peak memory", "peak_gb", "GB"),
];

/// Measures and prints a Markdown table for `docs/performance.md`.
pub(crate) fn run() -> Result<()> {
    let python = tools::python()?;
    let model = model(&python)?;
    // As everything else builds it, so that nothing is compiled twice.
    succeed(cargo().args(["build", "--quiet", "--locked", "--release", "--package", "adire-server"]))?;
    let program = target().join("release/adire");
    println!("Processor: {}, {} threads\n", processor(), std::thread::available_parallelism()?);
    let dtypes: &[&str] = if multiplies_bf16() {
        &["f32", "bf16"]
    } else {
        println!("It has no products of bf16, so f32 alone is measured.\n");
        &["f32"]
    };
    let starter = root().join("models/starter");
    // What is measured, its size in pixels, its steps, and those of an image with an adapter.
    for (name, model, size, steps, adapter_steps) in [
        ("SD 1.5, 256 × 256, 4 steps", &model, "256", "4", "0"),
        ("starter model, 256 × 256, 20 steps", &starter, "256", "20", "0"),
        ("SD 1.5, 512 × 512, 4 steps", &model, "512", "4", "20"),
    ] {
        let common = |command: &mut Command| {
            command.args(["--size", size, "--steps", steps, "--images", IMAGES, "--switches", "10"]);
            command.args(["--adapter-steps", adapter_steps]);
            for adapter in ["a", "b"] {
                let file = model.join(format!("lora-{adapter}.safetensors"));
                if file.is_file() {
                    command.arg("--lora").arg(file);
                }
            }
        };
        let mut pairs = Vec::new();
        for &dtype in dtypes {
            let mut ours = Command::new(&program);
            ours.args(["measure", "--device", "cpu", "--dtype", dtype, "--model"]).arg(model);
            common(&mut ours);
            let mut theirs = Command::new(&python);
            theirs.arg(root().join("tools/device/peer.py")).arg(model);
            theirs.args(["--device", "cpu", "--dtype", dtype, "--brief"]);
            common(&mut theirs);
            // One after the other: what the host takes changes with the hour.
            pairs.push((dtype, report(&mut ours)?, report(&mut theirs)?));
        }
        print!("{}", table(name, &pairs));
    }
    Ok(())
}

/// A folder with random weights and two adapters of rank 16.
fn model(python: &Path) -> Result<PathBuf> {
    let folder = target().join("bench/sd15-f16");
    if folder.join("complete").is_file() {
        return Ok(folder);
    }
    eprintln!("Making a model of random weights …");
    let tokenizer = target().join("bench/tokenizer");
    let write = "import sys, pathlib; sys.path.insert(0, sys.argv[1]); import real; \
                 real.write_tokenizer(pathlib.Path(sys.argv[2]))";
    succeed(Command::new(python).args(["-c", write]).arg(root().join("tools/parity")).arg(&tokenizer))?;
    let script = root().join("tools/device/weights.py");
    succeed(Command::new(python).arg(script).arg(&folder).arg("--tokenizer").arg(&tokenizer))?;
    fs::write(folder.join("complete"), "")?;
    Ok(folder)
}

/// What the command prints as JSON.
fn report(command: &mut Command) -> Result<Value> {
    eprintln!("{command:?}");
    let output = command.stdout(Stdio::piped()).spawn()?.wait_with_output()?;
    ensure!(output.status.success(), "{command:?} failed ({})", output.status);
    let text = String::from_utf8(output.stdout)?;
    let begin = text.find('{').with_context(|| format!("{command:?} printed no JSON: {text}"))?;
    serde_json::from_str(&text[begin..]).with_context(|| format!("{command:?} printed no JSON: {text}"))
}

fn table(name: &str, pairs: &[(&str, Value, Value)]) -> String {
    let mut text = format!("| {name} |");
    for (dtype, ..) in pairs {
        let _ = write!(text, " Adire {dtype} | diffusers {dtype} | ratio |");
    }
    text.push_str("\n|");
    text.push_str(&" --- |".repeat(1 + 3 * pairs.len()));
    text.push('\n');
    for (row, key, unit) in ROWS {
        let value = |report: &Value| report.get(key).and_then(Value::as_f64);
        let _ = write!(text, "| {row} |");
        for (_, ours, theirs) in pairs {
            for report in [ours, theirs] {
                match value(report) {
                    Some(value) => _ = write!(text, " {value:.3} {unit} |"),
                    None => text.push_str(" – |"),
                }
            }
            match value(ours).zip(value(theirs)) {
                Some((ours, theirs)) if theirs > 0.0 => _ = write!(text, " {:.2}× |", ours / theirs),
                _ => text.push_str(" – |"),
            }
        }
        text.push('\n');
    }
    text.push('\n');
    text
}

/// Whether the processor multiplies bf16 itself. Elsewhere `--dtype auto` takes f32, and PyTorch's bf16 is slower than its f32.
fn multiplies_bf16() -> bool {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    info.split_whitespace().any(|flag| matches!(flag, "avx512_bf16" | "amx_bf16"))
}

/// As Linux names it.
fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let named =
        info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    named.unwrap_or("unknown").to_owned()
}
