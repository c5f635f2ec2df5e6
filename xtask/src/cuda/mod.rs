//! The CUDA build, also on a machine that has neither a GPU nor CUDA: `cargo xtask cuda kernels | check | bundle`.

pub(crate) mod bench;
mod bundle;
mod kernels;
mod server;
mod stub;
mod toolkit;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};

pub(crate) use self::server::prepare;
use self::toolkit::Toolkit;
use crate::shell::{self, cargo};

#[derive(Args)]
pub(crate) struct CudaArgs {
    #[command(subcommand)]
    command: CudaCommand,
}

#[derive(Subcommand)]
enum CudaCommand {
    /// Compile the server for GPUs; CUDA's compiler comes from PyPI where CUDA_HOME names none.
    Check(CheckArgs),
    /// Compile the kernels of crates/cuda into libadire_cuda.a, and check their machine code.
    Kernels(kernels::KernelsArgs),
    /// Make a folder that tests and measures the program on a GPU host with a driver and PyTorch.
    Bundle(bundle::BundleArgs),
}

#[derive(Args)]
struct CheckArgs {
    /// Compute capabilities without the point: 75 is Turing (T4), 80 Ampere, 89 Ada, 90 Hopper.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "90,75")]
    cap: Vec<Capability>,
    /// Further cargo features beside cuda-train: cudnn, flash-attn.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    features: Vec<String>,
}

/// A GPU generation, as nvcc counts: 75 for 7.5.
#[derive(Clone, Copy)]
pub(crate) struct Capability(u32);

impl std::str::FromStr for Capability {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // CUDA 13 compiles for nothing before Turing.
        text.parse().ok().filter(|cap| (75..=130).contains(cap)).map(Self).ok_or_else(|| {
            "a compute capability is a number from 75 on, without the point: 75, 80, 89, 90".to_owned()
        })
    }
}

pub(crate) fn run(args: &CudaArgs) -> Result<()> {
    match &args.command {
        CudaCommand::Check(args) => check(args),
        CudaCommand::Kernels(args) => kernels::run(args),
        CudaCommand::Bundle(args) => bundle::run(args),
    }
}

fn check(args: &CheckArgs) -> Result<()> {
    let toolkit = Toolkit::ensure()?;
    let mut built = Vec::new();
    for capability in &args.cap {
        let begun = Instant::now();
        let program = build(&toolkit, *capability, &args.features, "dev", &QUICK)?;
        let size = fs::metadata(&program).map_or(0, |file| file.len()) as f64 / 1e6;
        let minutes = begun.elapsed().as_secs_f64() / 60.0;
        built.push(format!("sm_{} ({size:.0} MB, {minutes:.1} min)", capability.0));
    }
    let features = std::iter::once("cuda-train").chain(args.features.iter().map(String::as_str));
    println!(
        "Built adire with the features {} by nvcc {} for {}; not run, since that needs a GPU.",
        features.collect::<Vec<_>>().join(", "),
        toolkit.version()?,
        built.join(" and ")
    );
    Ok(())
}

/// A program that is only checked need not be fast.
const QUICK: [&str; 2] =
    ["profile.dev.package.candle-core.opt-level=0", "profile.dev.package.adire-engine.opt-level=0"];

/// Compiles the server for one generation, with further `settings` of cargo; gives the program, which the next call for
/// another generation overwrites.
fn build(
    toolkit: &Toolkit,
    capability: Capability,
    features: &[String],
    profile: &str,
    settings: &[&str],
) -> Result<PathBuf> {
    // Apart from the usual builds, which would otherwise be thrown away at every change of features.
    let target = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(_) => shell::target(),
        None => cache()?.join("target"),
    };
    let features = std::iter::once("cuda-train").chain(features.iter().map(String::as_str));
    let features = features.collect::<Vec<_>>().join(",");
    eprintln!("Compiling adire with {features} for sm_{} in {} …", capability.0, target.display());
    let mut command = cargo();
    command
        .args(["build", "--profile", profile, "--package", "adire-server", "--features", &features])
        .args(settings.iter().flat_map(|setting| ["--config", setting]))
        .env("CARGO_TARGET_DIR", &target)
        .env("CUDA_COMPUTE_CAP", capability.0.to_string());
    toolkit.environment(&mut command);
    shell::run(&mut command)?;
    Ok(target.join(if profile == "dev" { "debug" } else { profile }).join("adire"))
}

/// Where everything about CUDA is kept between runs.
fn cache() -> Result<PathBuf> {
    let home = std::env::var_os("HOME").context("HOME is not set")?;
    Ok(Path::new(&home).join(".cache/adire/cuda"))
}
