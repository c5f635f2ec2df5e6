//! CUDA's compiler, headers and libraries: those of CUDA_HOME, or NVIDIA's packages on PyPI in the user's cache.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::{cache, stub};
use crate::shell::{self, succeeds};

/// One minor version throughout: a driver loads no code that a newer toolkit wrote.
const PACKAGES: [&str; 8] = [
    "nvidia-cuda-nvcc==13.0.88",
    "nvidia-cuda-crt==13.0.88",
    "nvidia-nvvm==13.0.88",
    "nvidia-cuda-runtime==13.0.*",
    "nvidia-cuda-cccl==13.0.*",
    "nvidia-cublas==13.0.*",
    "nvidia-cuda-nvrtc==13.0.*",
    "nvidia-curand==10.4.*",
];

/// What the kernels of crates/cuda need: the compiler, the static runtime, and what reads machine code.
const KERNEL_PACKAGES: [&str; 7] = [
    "nvidia-cuda-nvcc==13.0.88",
    "nvidia-cuda-crt==13.0.88",
    "nvidia-nvvm==13.0.88",
    "nvidia-cuda-runtime==13.0.96",
    "nvidia-cuda-cccl==13.0.85",
    "nvidia-cuda-cuobjdump==13.2.51",
    "nvidia-cuda-nvdisasm==13.2.51",
];

/// A folder with `bin/nvcc`, `include` and `lib64`.
pub(super) struct Toolkit {
    root: PathBuf,
}

impl Toolkit {
    /// Finds one, or installs one. Everything that is there already is left as it is.
    pub(super) fn ensure() -> Result<Self> {
        Self::find("venv", &PACKAGES, "compiler and libraries", "1.1 GB")?.ready()
    }

    /// The same with what the kernels of crates/cuda need, and no more.
    pub(super) fn for_kernels() -> Result<Self> {
        Self::find("kernels", &KERNEL_PACKAGES, "compiler", "0.5 GB")
    }

    /// That of CUDA_HOME, or `packages` in a folder of the cache.
    fn find(folder: &str, packages: &[&str], what: &str, size: &str) -> Result<Self> {
        if let Some(root) = env::var_os("CUDA_HOME").map(PathBuf::from) {
            if !root.join("bin/nvcc").is_file() {
                bail!("CUDA_HOME is {}, but bin/nvcc is missing in it; correct or unset it", root.display());
            }
            return Ok(Self { root });
        }
        let venv = cache()?.join(folder);
        let wanted = packages.join("\n");
        let stamp = venv.join("adire-packages.txt");
        if fs::read_to_string(&stamp).ok().as_deref() != Some(&wanted) {
            eprintln!("Installing CUDA's {what} into {} ({size}) …", venv.display());
            install(&venv, packages)?;
            fs::write(&stamp, wanted)?;
        }
        let root = nvidia(&venv).with_context(|| {
            format!("{} lacks nvidia/cu13/bin/nvcc; remove that folder and try again", venv.display())
        })?;
        Ok(Self { root })
    }

    /// Links and stubs that PyPI's packages lack.
    fn ready(self) -> Result<Self> {
        let lib = self.root.join("lib");
        if !self.root.join("lib64").exists() {
            shell::link("lib", &self.root.join("lib64"))?;
        }
        if lib.is_dir() {
            for entry in fs::read_dir(&lib)?.flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if let Some((stem, _)) = name.split_once(".so.")
                    && !lib.join(format!("{stem}.so")).exists()
                {
                    shell::link(&name, &lib.join(format!("{stem}.so")))?;
                }
            }
        }
        if !self.root.join("lib64/stubs/libcuda.so").exists() {
            stub::make(&self.root.join("lib64/stubs"), &self.root.join("include/cuda.h"))?;
        }
        Ok(self)
    }

    /// What CUDA's crates look at.
    pub(super) fn environment(&self, command: &mut Command) {
        let front = |variable: &str, folders: &[PathBuf]| {
            let old = env::var_os(variable).unwrap_or_default();
            let old = env::split_paths(&old).filter(|path| !path.as_os_str().is_empty()).collect::<Vec<_>>();
            // Only a path with a colon in it cannot be joined.
            env::join_paths(folders.iter().cloned().chain(old)).unwrap_or_default()
        };
        let lib = self.root.join("lib64");
        command
            .env("CUDA_HOME", &self.root)
            .env("CUDA_PATH", &self.root)
            .env("NVCC", self.root.join("bin/nvcc"))
            .env("PATH", front("PATH", &[self.root.join("bin")]))
            .env("LIBRARY_PATH", front("LIBRARY_PATH", &[lib.clone(), lib.join("stubs")]));
    }

    /// nvcc's, as "13.0".
    pub(super) fn version(&self) -> Result<String> {
        let output = Command::new(self.root.join("bin/nvcc")).arg("--version").output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let version = text.split("release ").nth(1).and_then(|rest| rest.split(',').next());
        Ok(version.context("nvcc does not say its version")?.to_owned())
    }

    /// The folder of the libraries.
    pub(super) fn libraries(&self) -> PathBuf {
        // PyPI's packages name it otherwise.
        let lib = self.root.join("lib64");
        if lib.exists() { lib } else { self.root.join("lib") }
    }

    /// The compiler.
    pub(super) fn nvcc(&self) -> PathBuf {
        self.root.join("bin/nvcc")
    }

    /// What shows machine code, if it is there.
    pub(super) fn cuobjdump(&self) -> Option<PathBuf> {
        Some(self.root.join("bin/cuobjdump")).filter(|program| program.is_file())
    }

    /// The folder of the stub of the driver's library, if this is one that we made.
    pub(super) fn driver_stub(&self) -> Option<PathBuf> {
        let stubs = self.root.join("lib64/stubs");
        stubs.join("stub.c").is_file().then_some(stubs)
    }
}

fn install(venv: &Path, packages: &[&str]) -> Result<()> {
    let python = venv.join("bin/python");
    if !succeeds(Command::new(&python).args(["-m", "pip", "--version"])) {
        fs::create_dir_all(venv)?;
        shell::run(Command::new("python3").args(["-m", "venv"]).arg(venv))
            .context("CUDA's compiler comes from PyPI, which needs python3 with its venv module (Debian: python3-venv)")?;
    }
    let pip = ["-m", "pip", "install", "--quiet", "--no-cache-dir", "--disable-pip-version-check"];
    shell::run(Command::new(&python).args(pip).args(packages))
        .context("NVIDIA's packages could not be installed from PyPI; or name a CUDA 13 toolkit in CUDA_HOME")
}

/// `nvidia/cu13` among the packages of `venv`.
fn nvidia(venv: &Path) -> Option<PathBuf> {
    let versions = fs::read_dir(venv.join("lib")).ok()?;
    let roots = versions.flatten().map(|version| version.path().join("site-packages/nvidia/cu13"));
    roots.into_iter().find(|root| root.join("bin/nvcc").is_file())
}
