//! Tools needed to build and test: finds them, installs them, or explains how to.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::shell::{cargo, root, run, succeeds};

const WASM: &str = "wasm32-unknown-unknown";

/// How the page's wasm is compiled on this machine.
pub(crate) enum WasmToolchain {
    /// The running toolchain has the target.
    Rustup,
    /// Debian's rustc-web, which builds the standard library along.
    Debian,
}

impl WasmToolchain {
    /// Finds one, or sets one up. `ADIRE_WASM_TOOLCHAIN=debian` forces the second way.
    pub(crate) fn ensure() -> Result<Self> {
        if env::var("ADIRE_WASM_TOOLCHAIN").as_deref() != Ok("debian") {
            if has_wasm_target()
                || (succeeds(Command::new("rustup").args(["target", "add", WASM])) && has_wasm_target())
            {
                return Ok(Self::Rustup);
            }
            eprintln!("rustup could not add {WASM}; trying Debian's packages instead.");
        }
        let source = Path::new("/usr/lib/rustlib/src/rust/library/std");
        if !(Path::new("/usr/bin/cargo").exists() && source.exists() || debian_source().is_some()) {
            apt_install(&["rustc-web", "cargo-web", "rust-web-src", "rust-web-llvm"]).with_context(|| {
                format!("compiling the page needs Rust's {WASM} target; `rustup target add {WASM}` did not work either")
            })?;
        }
        debian_linker()?;
        Ok(Self::Debian)
    }

    /// A command of cargo's for the page, like `build`.
    pub(crate) fn cargo(&self, name: &str) -> Command {
        let mut command = match self {
            Self::Rustup => cargo(),
            Self::Debian => {
                let mut command = Command::new("/usr/bin/cargo");
                let path = env::var("PATH").unwrap_or_default();
                command
                    .current_dir(root())
                    .env("PATH", format!("/usr/bin:{path}"))
                    .env("RUSTC_BOOTSTRAP", "1");
                // What rustup's proxy hands down would call the other compiler.
                for name in ["RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN", "CARGO"] {
                    command.env_remove(name);
                }
                command
            }
        };
        command.args([name, "--locked", "--target", WASM]);
        if matches!(self, Self::Debian) && name == "build" {
            command.arg("-Zbuild-std=std,panic_abort");
        }
        command
    }
}

fn has_wasm_target() -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).args(["--print", "target-libdir", "--target", WASM]).output();
    output.is_ok_and(|output| {
        let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
    })
}

/// The linker is a package of its own that Debian's compiler only recommends; its name has LLVM's version, which the
/// compiler's package knows: `rust-lld` is a link to it.
fn debian_linker() -> Result<()> {
    match fs::read_link("/usr/bin/rust-lld") {
        Ok(linker) if !Path::new("/usr/bin").join(&linker).exists() => {
            let name = linker.file_name().unwrap_or_default().to_string_lossy().into_owned();
            apt_install(&[&name]).context("compiling the page needs LLVM's linker")
        }
        _ => Ok(()),
    }
}

fn debian_source() -> Option<PathBuf> {
    fs::read_dir("/usr/src")
        .ok()?
        .flatten()
        .map(|entry| entry.path().join("library/std"))
        .find(|path| path.exists())
}

/// Chromium's executable, installed when it is missing.
pub(crate) fn chromium() -> Result<PathBuf> {
    if let Some(path) = env::var_os("CHROMIUM") {
        return Ok(path.into());
    }
    if let Some(path) = find(&["chromium", "chromium-browser", "google-chrome"]) {
        return Ok(path);
    }
    apt_install(&["chromium", "fonts-dejavu-core"])
        .context("the browser tests need Chromium; install it or name it in CHROMIUM")?;
    find(&["chromium"]).context("chromium was installed but is not on the PATH")
}

/// node's executable with the browser tests' packages beside the tests.
pub(crate) fn node_with_packages() -> Result<PathBuf> {
    if find(&["node"]).is_none() || find(&["npm"]).is_none() {
        apt_install(&["nodejs", "npm"]).context("the browser tests need Node.js 18 or newer with npm")?;
    }
    let node = find(&["node"]).context("node was installed but is not on the PATH")?;
    let tests = root().join("end2end");
    let (lock, installed) = (tests.join("package-lock.json"), tests.join("node_modules/.package-lock.json"));
    let newer = |a: &Path, b: &Path| match (
        fs::metadata(a).and_then(|m| m.modified()),
        fs::metadata(b).and_then(|m| m.modified()),
    ) {
        (Ok(a), Ok(b)) => a > b,
        _ => true,
    };
    if newer(&lock, &installed) {
        run(Command::new("npm")
            .args(["ci", "--no-audit", "--no-fund", "--loglevel=error"])
            .current_dir(&tests))?;
    }
    Ok(node)
}

/// cargo-deny, installed into the user's cache when it is missing; unoptimised, which compiles in half the time.
pub(crate) fn cargo_deny() -> Result<PathBuf> {
    const NAME: &str = "cargo-deny";
    if let Some(path) = find(&[NAME]) {
        return Ok(path);
    }
    let home = env::var_os("HOME").context("HOME is not set")?;
    let tools = Path::new(&home).join(".cache/adire/tools");
    let program = tools.join("bin").join(NAME);
    if !succeeds(Command::new(&program).arg("--version")) {
        // A target folder of its own: it needs other features of crates that the program uses, too.
        run(cargo()
            .args(["install", "--quiet", "--locked", "--debug", "--version", "^0.20", NAME, "--root"])
            .arg(&tools)
            .env("CARGO_TARGET_DIR", tools.join("target")))?;
        fs::remove_dir_all(tools.join("target")).ok();
    }
    Ok(program)
}

/// A Python with diffusers and PEFT, in the user's cache.
pub(crate) fn python() -> Result<PathBuf> {
    if let Some(path) = env::var_os("ADIRE_PYTHON") {
        return Ok(path.into());
    }
    let home = env::var_os("HOME").context("HOME is not set")?;
    let venv = Path::new(&home).join(".cache/adire/venv");
    let python = venv.join("bin/python");
    if !succeeds(Command::new(&python).args(["-c", "import torch, diffusers, peft, transformers, torchsde"]))
    {
        if find(&["python3"]).is_none() {
            bail!("the goldens need Python 3.10 or newer; install python3 and python3-venv");
        }
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        run(Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--requirement"])
            .arg(root().join("tools/goldens/requirements.txt")))?;
    }
    Ok(python)
}

/// A Python with moto, which plays S3 for tests, in the user's cache.
pub(crate) fn moto() -> Result<PathBuf> {
    if let Some(path) = env::var_os("ADIRE_MOTO_PYTHON") {
        return Ok(path.into());
    }
    let home = env::var_os("HOME").context("HOME is not set")?;
    let venv = Path::new(&home).join(".cache/adire/moto");
    let python = venv.join("bin/python");
    if !succeeds(Command::new(&python).args(["-c", "import moto.server, flask"])) {
        if find(&["python3"]).is_none() {
            bail!("the tests on S3 need python3 and python3-venv");
        }
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "moto[server]==5.2.*"]))?;
    }
    Ok(python)
}

/// A Python with MLflow's server, in the user's cache.
pub(crate) fn mlflow() -> Result<PathBuf> {
    if let Some(path) = env::var_os("ADIRE_MLFLOW_PYTHON") {
        return Ok(path.into());
    }
    let home = env::var_os("HOME").context("HOME is not set")?;
    let venv = Path::new(&home).join(".cache/adire/mlflow");
    let python = venv.join("bin/python");
    if !succeeds(Command::new(&python).args(["-c", "import mlflow.server, PIL"])) {
        if find(&["python3"]).is_none() {
            bail!("the tests on MLflow need python3 and python3-venv");
        }
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "mlflow==3.17.*", "pillow"]))?;
    }
    Ok(python)
}

/// The Python with diffusers, and what the clients' tests need beside it.
pub(crate) fn clients() -> Result<PathBuf> {
    let python = python()?;
    if !succeeds(Command::new(&python).args(["-c", "import huggingface_hub, prometheus_client"])) {
        run(Command::new(&python).args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "huggingface_hub",
            "prometheus-client",
        ]))?;
    }
    Ok(python)
}

/// A program of the crate hf-hub, in the user's cache.
pub(crate) fn hf_hub() -> Result<PathBuf> {
    let home = env::var_os("HOME").context("HOME is not set")?;
    let target = Path::new(&home).join(".cache/adire/hf-hub");
    let manifest = root().join("tools/clients/hf_hub/Cargo.toml");
    run(cargo()
        .args(["build", "--quiet", "--locked", "--manifest-path"])
        .arg(manifest)
        .env("CARGO_TARGET_DIR", &target))?;
    Ok(target.join("debug/hf-hub-client"))
}

/// A Python with other programs' clients, and the folder of those for node; both in the user's cache.
pub(crate) fn dialects() -> Result<(PathBuf, PathBuf)> {
    let home = env::var_os("HOME").context("HOME is not set")?;
    let folder = Path::new(&home).join(".cache/adire/dialects");
    let python = folder.join("bin/python");
    let listed = root().join("tools/clients/dialects");
    if !succeeds(
        Command::new(&python)
            .args(["-c", "import webuiapi, openai, gradio_client, huggingface_hub, requests"]),
    ) {
        if find(&["python3"]).is_none() {
            bail!("the tests of dialects need Python 3.10 or newer; install python3 and python3-venv");
        }
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        let install = ["-m", "pip", "install", "--quiet", "--requirement"];
        run(Command::new(&python).args(install).arg(listed.join("requirements.txt")))?;
    }
    if find(&["node"]).is_none() || find(&["npm"]).is_none() {
        apt_install(&["nodejs", "npm"]).context("the tests of dialects need Node.js 18 or newer with npm")?;
    }
    let packages = folder.join("npm");
    if !packages.join("node_modules/@gradio/client").exists() {
        fs::create_dir_all(&packages)?;
        fs::copy(listed.join("package.json"), packages.join("package.json"))?;
        run(Command::new("npm")
            .args(["install", "--no-audit", "--no-fund", "--loglevel=error"])
            .current_dir(&packages))?;
    }
    Ok((python, packages))
}

/// The same Python with Gradio itself, for a measurement beside it.
pub(crate) fn dialects_with_gradio() -> Result<PathBuf> {
    let (python, _) = dialects()?;
    if !succeeds(Command::new(&python).args(["-c", "import gradio, numpy"])) {
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "gradio==6.*", "numpy"]))?;
    }
    Ok(python)
}

fn find(names: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    names
        .iter()
        .flat_map(|name| env::split_paths(&path).map(move |dir| dir.join(name)))
        .find(|file| file.is_file())
}

fn apt_install(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    if find(&["apt-get"]).is_none() {
        bail!(
            "missing: {list} (Debian's names); this machine has no apt-get, so please install them by hand"
        );
    }
    let as_root = succeeds(Command::new("sh").args(["-c", "test $(id -u) = 0"]));
    if !as_root && !succeeds(Command::new("sudo").args(["-n", "true"])) {
        bail!("missing: {list}; run `sudo apt-get install {list}` and try again");
    }
    let apt = |arguments: &[&str]| {
        let mut command = if as_root { Command::new("apt-get") } else { Command::new("sudo") };
        if !as_root {
            command.arg("apt-get");
        }
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    eprintln!("Installing {list} …");
    run(&mut apt(&["update", "-qq"]))?;
    run(apt(&["install", "-y", "-qq", "--no-install-recommends"]).args(packages))
}

/// Whether the programs that the tests on PostgreSQL start are there; Debian's package keeps them out of the PATH.
pub(crate) fn postgres_installed() -> bool {
    if let Some(folder) = std::env::var_os("ADIRE_POSTGRES_BIN") {
        return PathBuf::from(folder).join("initdb").is_file();
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    versions.map(|version| version.path().join("bin/initdb")).any(|program| program.is_file())
}
