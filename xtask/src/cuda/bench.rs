//! `cargo xtask bench gpu`: one folder that tests the kernels of crates/cuda and all goldens on a GPU host, then measures the
//! program beside diffusers.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;

use super::{
    Capability, bundle, cache,
    kernels::{self, KernelsArgs},
};
use crate::shell::{self, cargo};

/// Tests of crates/cuda that run on device 0.
const CHECKS: [&str; 2] = ["kernels_runtime", "device"];

#[derive(Args)]
pub(crate) struct GpuArgs {
    /// Compute capabilities to compile the kernels for; the last one is added as PTX, for later generations
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "75,80,86,89,90")]
    arch: Vec<Capability>,
    /// Kernels for the emulator instead, to try the folder where there is no GPU
    #[arg(long, conflicts_with = "arch")]
    emulate: bool,
    /// The folder to make; it is emptied first. ~/.cache/adire/cuda/adire-gpu when left out
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: &GpuArgs) -> Result<()> {
    let out = match &args.out {
        Some(out) => out.clone(),
        None => cache()?.join("adire-gpu"),
    };
    let archive = cache()?.join(if args.emulate { "emulated" } else { "lib" });
    kernels::run(&KernelsArgs {
        arch: args.arch.clone(),
        out: Some(archive.clone()),
        emulate: args.emulate,
    })?;
    // Apart from the usual builds, which would otherwise be thrown away at every change of features.
    let target = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(_) => shell::target(),
        None => cache()?.join("target"),
    };
    let build = |words: &[&str]| {
        let mut command = cargo();
        command.args(words).args(["--locked", "--release", "--features", "cuda"]);
        command.env("CARGO_TARGET_DIR", &target).env("ADIRE_CUDA_KERNELS", &archive);
        command
    };
    eprintln!("Compiling adire with cuda in {} …", target.display());
    shell::run(&mut build(&["build", "--package", "adire-server"]))?;
    let mut checks = Vec::new();
    for check in CHECKS {
        let words =
            ["test", "--no-run", "--message-format", "json", "--package", "adire-cuda", "--test", check];
        checks.push((check, executable(&mut build(&words))?));
    }
    // Only now: what cannot be built leaves an earlier folder as it is.
    bundle::empty(&out)?;
    std::fs::create_dir_all(out.join("checks"))?;
    for (check, program) in checks {
        bundle::packed(&program, &out.join("checks").join(check))?;
    }
    bundle::fill(&out, &target.join("release/adire"), "13.0")
}

/// What cargo says that it has built.
fn executable(command: &mut Command) -> Result<PathBuf> {
    let output = command.stderr(Stdio::inherit()).output().context("cargo could not be started")?;
    if !output.status.success() {
        bail!("cargo failed ({})", output.status);
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let path = |line| {
        let message = serde_json::from_str::<Value>(line).ok()?;
        message.get("executable")?.as_str().map(PathBuf::from)
    };
    // Whatever else it says, the program comes last.
    text.lines().rev().find_map(path).context("cargo named no program")
}
