//! The kernels of `crates/cuda/kernels`, compiled into one archive, and what its machine code must look like.

use std::{
    collections::BTreeMap,
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use clap::Args;

use super::{Capability, cache, toolkit::Toolkit};
use crate::shell::{self, root};

/// Turing, Ampere, Ada and Hopper, and by PTX what follows.
const ARCHITECTURES: &str = "75,80,86,89,90";
/// Beside sources and architectures all that an object depends on.
const FLAGS: [&str; 7] =
    ["-std=c++17", "-O3", "-DNDEBUG", "-Xcompiler=-fPIC", "-Xcompiler=-O2", "-Xfatbin=-compress-all", "-c"];
/// Files whose kernels multiply on tensor cores: machine code without HMMA would be a mistake.
const TENSOR_CORES: &str = "_mma";
/// Bytes of stack that any kernel may have: a few numbers put aside, as around calls of division.
const CALLS: u32 = 16;
/// Kernels of any shape and type, which may keep a few numbers in memory (bytes of stack): tensor cores compute what is frequent.
const FALLBACK: (&str, u32) = ("plain_", 512);
/// On Turing products hold in registers what Ampere copies on the side: some of them put numbers aside (bytes of stack), and the largest
/// tile is not there.
const TURING: (&str, u32) = ("sm_75 ", 96);
const NOT_ON_TURING: &str = "product_mma_256x128";

#[derive(Args)]
pub(super) struct KernelsArgs {
    /// Compute capabilities to compile for; the last one is added as PTX, for later generations
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = ARCHITECTURES)]
    pub(super) arch: Vec<Capability>,
    /// Folder for libadire_cuda.a and libcudart_static.a. ~/.cache/adire/cuda/lib when left out
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// Compile them for the CPU instead, with the emulator: to test what calls them where there is no GPU
    #[arg(long, conflicts_with = "arch")]
    pub(super) emulate: bool,
}

pub(super) fn run(args: &KernelsArgs) -> Result<()> {
    if args.emulate { emulate(args) } else { compile_all(&args.arch, args.out.clone()).map(drop) }
}

/// The kernels for every generation, in the usual folder, which is returned.
pub(super) fn build() -> Result<PathBuf> {
    let arch: Result<Vec<Capability>, String> = ARCHITECTURES.split(',').map(str::parse).collect();
    compile_all(&arch.map_err(anyhow::Error::msg)?, None)
}

fn compile_all(arch: &[Capability], out: Option<PathBuf>) -> Result<PathBuf> {
    let toolkit = Toolkit::for_kernels()?;
    let begun = Instant::now();
    let out = match out {
        Some(out) => out,
        None => cache()?.join("lib"),
    };
    let objects = cache()?.join("objects");
    for folder in [&out, &objects] {
        fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    }
    let sources = Sources::read()?;
    let mut compiled = Vec::new();
    let mut usage = Usage::default();
    for source in &sources.units {
        let (object, is_new) = compile(&toolkit, &sources, source, arch, &objects)?;
        usage.add(&toolkit, &object, arch)?;
        if is_new {
            eprintln!("{} after {:.0} s", name(source), begun.elapsed().as_secs_f64());
        }
        compiled.push(object);
    }
    let archive = out.join("libadire_cuda.a");
    let _ = fs::remove_file(&archive);
    shell::run(Command::new("ar").arg("rcs").arg(&archive).args(&compiled))
        .context("the archive needs ar (Debian: binutils)")?;
    let runtime = out.join("libcudart_static.a");
    fs::copy(toolkit.libraries().join("libcudart_static.a"), &runtime)
        .with_context(|| format!("{} cannot be written", runtime.display()))?;
    usage.check()?;
    println!(
        "Built {} by nvcc {}: {} kernels for {}, {:.1} MB; at most {} registers, {} with a stack of more than {CALLS} bytes (fallbacks, and products on Turing). Not run: that needs a GPU.",
        archive.display(),
        toolkit.version()?,
        usage.kernels.len(),
        arch.iter().map(|arch| format!("sm_{}", arch.0)).collect::<Vec<_>>().join(", "),
        fs::metadata(&archive)?.len() as f64 / 1e6,
        usage.kernels.values().map(|kernel| kernel.registers).max().unwrap_or(0),
        usage.kernels.values().filter(|kernel| kernel.stack > CALLS).count(),
    );
    Ok(out)
}

/// The same archive for the CPU: everything but what talks to a GPU, and the emulator in its place.
fn emulate(args: &KernelsArgs) -> Result<()> {
    let out = match &args.out {
        Some(out) => out.clone(),
        None => cache()?.join("emulated"),
    };
    fs::create_dir_all(&out).with_context(|| format!("{} cannot be made", out.display()))?;
    let sources = Sources::read()?;
    let emulator = sources.folder.join("emulate.cpp");
    let compiler = std::env::var_os("CXX").unwrap_or_else(|| "g++".into());
    let mut objects = Vec::new();
    for unit in sources.units.iter().chain([&emulator]).filter(|unit| name(unit) != "device.cu") {
        let object = out.join(format!("{}.o", name(unit)));
        let flags = [
            "-std=c++17",
            "-O2",
            "-fPIC",
            "-DADIRE_EMULATE",
            "-U_FORTIFY_SOURCE",
            "-Wno-unknown-pragmas",
            "-x",
            "c++",
            "-c",
        ];
        let mut command = Command::new(&compiler);
        command.args(flags).arg("-I").arg(&sources.folder).arg(unit).arg("-o").arg(&object);
        shell::run(&mut command).context("the emulator needs g++ (Debian: build-essential)")?;
        objects.push(object);
    }
    let archive = out.join("libadire_cuda.a");
    let _ = fs::remove_file(&archive);
    shell::run(Command::new("ar").arg("rcs").arg(&archive).args(&objects))?;
    for object in objects {
        fs::remove_file(object)?;
    }
    println!(
        "Built {} for the CPU. Test with ADIRE_CUDA_KERNELS={} cargo test -p adire-cuda --features cuda",
        archive.display(),
        out.display()
    );
    Ok(())
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Everything in the folder of the kernels.
struct Sources {
    folder: PathBuf,
    /// What nvcc compiles, each by itself.
    units: Vec<PathBuf>,
    /// Of all headers and tables: any of them may be part of any unit.
    shared: u64,
    /// Of everything: goes into recipes.
    all: u64,
}

impl Sources {
    fn read() -> Result<Self> {
        let folder = root().join("crates/cuda/kernels");
        let mut files = Vec::new();
        list(&folder, &mut files)?;
        files.sort();
        let (mut shared, mut all) = (DefaultHasher::new(), DefaultHasher::new());
        let mut units = Vec::new();
        for file in files {
            let content = fs::read(&file).with_context(|| format!("{} cannot be read", file.display()))?;
            let name = name(&file);
            // The emulator is not part of what runs on a GPU.
            if name.starts_with("emulate") || name.ends_with(".md") {
                continue;
            }
            (&name, &content).hash(&mut all);
            if name.ends_with(".cu") {
                units.push(file);
            } else {
                (&name, &content).hash(&mut shared);
            }
        }
        if units.is_empty() {
            bail!("{} has no kernels", folder.display());
        }
        Ok(Self { folder, units, shared: shared.finish(), all: all.finish() })
    }
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() { list(&path, files)? } else { files.push(path) }
    }
    Ok(())
}

/// The object of a unit, and whether it had to be compiled; equal sources and flags are compiled once.
fn compile(
    toolkit: &Toolkit,
    sources: &Sources,
    unit: &Path,
    arch: &[Capability],
    objects: &Path,
) -> Result<(PathBuf, bool)> {
    let mut flags: Vec<String> = FLAGS.iter().map(|flag| (*flag).to_owned()).collect();
    for Capability(number) in arch {
        flags.extend(["-gencode".to_owned(), format!("arch=compute_{number},code=sm_{number}")]);
    }
    if let Some(Capability(last)) = arch.last() {
        flags.extend(["-gencode".to_owned(), format!("arch=compute_{last},code=compute_{last}")]);
    }
    if name(unit) == "tables.cu" {
        flags.push(format!("-DADIRE_SOURCES_HASH={:#x}ull", sources.all));
    }
    let mut key = DefaultHasher::new();
    (&flags, sources.shared, fs::read(unit)?, toolkit.version()?).hash(&mut key);
    let object = objects.join(format!("{}.{:016x}.o", name(unit).trim_end_matches(".cu"), key.finish()));
    if object.is_file() {
        return Ok((object, false));
    }
    let unfinished = object.with_extension(format!("{}.o.part", std::process::id()));
    let mut command = Command::new(toolkit.nvcc());
    command.args(&flags).arg("-I").arg(&sources.folder).arg(unit).arg("-o").arg(&unfinished);
    shell::run(&mut command)?;
    fs::rename(&unfinished, &object)
        .with_context(|| format!("{} cannot be renamed", unfinished.display()))?;
    Ok((object, true))
}

/// What a kernel takes of a multiprocessor.
#[derive(Debug, PartialEq, Eq)]
struct Kernel {
    registers: u32,
    stack: u32,
    local: u32,
}

/// All kernels of all architectures, and what is wrong with them.
#[derive(Default)]
struct Usage {
    /// By `<object> <architecture> <mangled name>`.
    kernels: BTreeMap<String, Kernel>,
    faults: Vec<String>,
}

impl Usage {
    fn add(&mut self, toolkit: &Toolkit, object: &Path, arch: &[Capability]) -> Result<()> {
        let Some(cuobjdump) = toolkit.cuobjdump() else { return Ok(()) };
        // device.cu and checks.cu have no kernels, and cuobjdump says so by failing.
        let output = Command::new(&cuobjdump).arg("-res-usage").arg(object).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let found = parse(&text);
        let unit = name(object);
        for (kernel, use_of) in found {
            let most = match () {
                () if kernel.contains(FALLBACK.0) => FALLBACK.1,
                () if kernel.starts_with(TURING.0) && unit.contains(TENSOR_CORES) => TURING.1,
                () => CALLS,
            };
            if use_of.stack + use_of.local > most {
                self.faults.push(format!(
                    "{unit}: {kernel} has {} bytes of stack, {} of local memory",
                    use_of.stack, use_of.local
                ));
            }
            self.kernels.insert(format!("{unit} {kernel}"), use_of);
        }
        if unit.contains(TENSOR_CORES) {
            for Capability(number) in arch {
                if *number == 75 && unit.contains(NOT_ON_TURING) {
                    continue;
                }
                let output = Command::new(&cuobjdump)
                    .args(["-sass", "-arch", &format!("sm_{number}")])
                    .arg(object)
                    .output()?;
                if !output.stdout.windows(4).any(|window| window == b"HMMA") {
                    self.faults.push(format!("{unit}: sm_{number} has no HMMA"));
                }
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        if self.faults.is_empty() {
            Ok(())
        } else {
            bail!("machine code is not as it must be:\n{}", self.faults.join("\n"))
        }
    }
}

/// `cuobjdump -res-usage`: names with the architecture before them.
fn parse(text: &str) -> Vec<(String, Kernel)> {
    let (mut found, mut arch, mut function) = (Vec::new(), String::new(), None);
    for line in text.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("arch = ") {
            rest.clone_into(&mut arch);
        } else if let Some(rest) = line.strip_prefix("Function ") {
            function = Some(rest.trim_end_matches(':').to_owned());
        } else if line.starts_with("REG:") {
            let value = |key: &str| {
                let field = line.split_whitespace().find_map(|word| word.strip_prefix(key));
                field.and_then(|value| value.parse().ok()).unwrap_or(0)
            };
            let kernel = Kernel { registers: value("REG:"), stack: value("STACK:"), local: value("LOCAL:") };
            if let Some(function) = function.take() {
                found.push((format!("{arch} {function}"), kernel));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_read_from_cuobjdump() {
        let text = "Fatbin elf code:\n================\narch = sm_80\ncode version = [1,8]\n\nResource usage:\n Common:\n  GLOBAL:0\n \
                    Function _Z1kPf:\n  REG:40 STACK:8 SHARED:1024 LOCAL:4 CONSTANT[0]:368 TEXTURE:0 SURFACE:0 SAMPLER:0\n";
        let expected = ("sm_80 _Z1kPf".to_owned(), Kernel { registers: 40, stack: 8, local: 4 });
        assert_eq!(parse(text), [expected]);
    }
}
