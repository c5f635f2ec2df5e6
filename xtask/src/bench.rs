//! Measurements; never part of the tests.

use std::process::Command;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::{bench_cpu as cpu, cuda::bench as gpu, serve, shell, test::Bench, tools};

#[derive(Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// The page in Chromium: transfer, requests, first paint, overhead of a generation, memory.
    Web,
    /// Pages, searches of the history and /metrics with 100,000 generations behind them; fails above their budgets.
    Pages,
    /// The gate on adapters that are good, noise, without effect, and overfitted, each with its verdict within three minutes.
    Gate,
    /// What a call costs beyond the engine's own time, by the server's own API and those of other programs, beside Gradio.
    Dialects,
    /// Images, switches of adapters, load and memory beside diffusers in f32 and bf16, at Stable Diffusion 1.5's shapes with
    /// random weights (8 GB of memory, 3 GB of disk, half an hour on two cores).
    Cpu,
    /// A training step in f32 and bf16 beside diffusers and PEFT, at Stable Diffusion 1.5's shapes with random weights (12 GB of memory,
    /// 5 GB of disk).
    Train,
    /// Make a folder for a GPU host with a driver and PyTorch: its one command tests every kernel and golden there, then measures
    /// beside diffusers, eager and compiled, within ten minutes.
    Gpu(gpu::GpuArgs),
}

/// Measures and prints.
pub(crate) fn run(args: &BenchArgs) -> Result<()> {
    match &args.what {
        What::Web => {
            let program = serve::build(&[])?;
            shell::run(Bench::ready()?.node(&program).arg("bench.mjs"))
        }
        What::Pages => pages(),
        What::Gate => gate(),
        What::Dialects => dialects(),
        What::Cpu => cpu::run(),
        What::Train => train(),
        What::Gpu(args) => gpu::run(args),
    }
}

/// Fails where a budget is exceeded.
fn pages() -> Result<()> {
    let program = serve::build(&[])?;
    let script = shell::root().join("tools/bench/pages.py");
    let model = shell::root().join("models/starter");
    shell::run(Command::new("python3").arg(script).arg(program).arg(model).env("RUST_LOG", "warn"))
}

/// Fails where a verdict is another one, or comes late.
fn gate() -> Result<()> {
    let python = tools::python()?;
    let program = serve::build(&[])?;
    let script = shell::root().join("tools/bench/gate.py");
    let model = shell::root().join("models/starter");
    shell::run(Command::new(python).arg(script).arg(program).arg(model).env("RUST_LOG", "warn"))
}

/// Fails where a budget is exceeded.
fn dialects() -> Result<()> {
    let python = tools::dialects_with_gradio()?;
    let program = serve::build(&[])?;
    let script = shell::root().join("tools/bench/dialects.py");
    let model = shell::root().join("models/starter");
    shell::run(Command::new(python).arg(script).arg(program).arg(model).env("RUST_LOG", "warn"))
}

/// diffusers first, then the engine: only one of them is in memory.
fn train() -> Result<()> {
    let python = tools::python()?;
    let folder = shell::target().join("bench/sd15");
    if !folder.join("model_index.json").is_file() {
        eprintln!("Making a model of random weights …");
        let script = shell::root().join("tools/parity/real.py");
        shell::run(Command::new(&python).arg(script).arg(&folder))?;
    }
    let build = ["build", "--quiet", "--release", "--package", "adire-engine", "--example", "train"];
    shell::run(shell::cargo().args(build))?;
    for dtype in ["f32", "bf16"] {
        eprintln!("diffusers and PEFT, {dtype}:");
        let script = shell::root().join("tools/bench/train.py");
        shell::run(Command::new(&python).arg(script).arg(&folder).env("ADIRE_DTYPE", dtype))?;
        eprintln!("the engine, {dtype}:");
        let program = shell::target().join("release/examples/train");
        shell::run(Command::new(program).arg(&folder).env("ADIRE_DTYPE", dtype))?;
    }
    Ok(())
}
