//! One folder that tests and measures the program on a GPU host that has a driver and PyTorch, and nothing of ours.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use clap::Args;

use super::{Capability, build, cache, toolkit::Toolkit};
use crate::shell::{self, root};

/// Most bytes of the folder: what is carried to a GPU host is small. CUDA's large libraries come with PyTorch.
const MAX_BUNDLE_BYTES: u64 = 60_000_000;
/// Libraries of CUDA small enough to come along; the others are taken from the host's PyTorch.
const LIBRARIES: [&str; 1] = ["libcudart.so.13"];
/// The scripts, in tools/device.
const SCRIPTS: [&str; 5] = ["README.md", "run.sh", "run.py", "weights.py", "peer.py"];

#[derive(Args)]
pub(super) struct BundleArgs {
    /// Compute capability to compile for. 75 runs on every GPU from Turing on, without bf16; 80 and more with it, on
    /// GPUs of that generation and later ones
    #[arg(long, default_value = "75")]
    cap: Capability,
    /// Cargo's profile: device, or dev where a program without optimised dependencies will do
    #[arg(long, value_name = "NAME", default_value = "device")]
    profile: String,
    /// The folder to make; it is emptied first. ~/.cache/adire/cuda/adire-device when left out
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) fn run(args: &BundleArgs) -> Result<()> {
    let toolkit = Toolkit::ensure()?;
    let out = match &args.out {
        Some(out) => out.clone(),
        None => cache()?.join("adire-device"),
    };
    empty(&out)?;
    let program = build(&toolkit, args.cap, &[], &args.profile, &[])?;
    fs::create_dir_all(&out)?;
    for library in LIBRARIES {
        copy(&toolkit.libraries().join(library), &out.join("lib").join(library))?;
    }
    if let Some(stub) = toolkit.driver_stub() {
        copy(&stub.join("libcuda.so.1"), &out.join("no-driver/libcuda.so.1"))?;
    }
    fill(&out, &program, &toolkit.version()?)?;
    println!("It is for sm_{} and later.", args.cap.0);
    Ok(())
}

/// An empty folder of that name. One with anything in it must be an earlier bundle.
pub(super) fn empty(out: &Path) -> Result<()> {
    if out.exists() {
        if !out.join("run.sh").is_file() && fs::read_dir(out)?.next().is_some() {
            bail!("{} is not empty and no earlier bundle; name another folder with --out", out.display());
        }
        fs::remove_dir_all(out).with_context(|| format!("{} cannot be emptied", out.display()))?;
    }
    Ok(())
}

/// Adds the program, the golden files, and the scripts that use them.
pub(super) fn fill(out: &Path, program: &Path, cuda: &str) -> Result<()> {
    packed(program, &out.join("adire"))?;
    for script in SCRIPTS {
        copy(&root().join("tools/device").join(script), &out.join(script))?;
    }
    let start = out.join("run.sh");
    fs::write(&start, fs::read_to_string(&start)?.replace("CUDA_VERSION", cuda))?;
    copy_all(&root().join("crates/engine/tests/goldens"), &out.join("goldens"))?;
    let size = size(out)?;
    if size > MAX_BUNDLE_BYTES {
        bail!(
            "{} has {} MB; {} are wanted at most",
            out.display(),
            size / 1_000_000,
            MAX_BUNDLE_BYTES / 1_000_000
        );
    }
    println!(
        "Made {} ({:.1} MB): carry it to a GPU host and run ./run.sh there.",
        out.display(),
        size as f64 / 1e6
    );
    Ok(())
}

/// A program without symbols, as a `.gz` beside that name, which run.sh unpacks: kernels pack to a third.
pub(super) fn packed(program: &Path, to: &Path) -> Result<()> {
    copy(program, to)?;
    shell::run(Command::new("strip").arg(to))
        .with_context(|| format!("{} cannot be stripped; install binutils", program.display()))?;
    shell::run(Command::new("gzip").args(["-9", "--force"]).arg(to))
}

/// With its permissions.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::copy(from, to).with_context(|| format!("{} cannot be copied to {}", from.display(), to.display()))?;
    Ok(())
}

fn copy_all(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("{} cannot be read", from.display()))? {
        let (from, to) = {
            let entry = entry?;
            (entry.path(), to.join(entry.file_name()))
        };
        if from.is_dir() { copy_all(&from, &to)? } else { copy(&from, &to)? }
    }
    Ok(())
}

fn size(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        sum += if path.is_dir() { size(&path)? } else { fs::metadata(&path)?.len() };
    }
    Ok(sum)
}
