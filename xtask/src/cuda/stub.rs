//! A driver library to link against where no driver is installed.
//!
//! The program needs `libcuda.so.1` of the machine that it runs on. To link it, a library is enough that has the
//! same names. Every function of this one returns CUDA_ERROR_STUB_LIBRARY, so that a program that finds no other
//! says so instead of failing in the loader.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use anyhow::{Context, Result, bail};

use crate::shell;

/// CUDA_ERROR_STUB_LIBRARY of cuda.h.
const STUB_LIBRARY: u32 = 34;

/// Makes `folder/libcuda.so.1`, and `libcuda.so` beside it for the linker, with the functions that `header` declares.
pub(super) fn make(folder: &Path, header: &Path) -> Result<()> {
    let text = fs::read(header).with_context(|| format!("{} cannot be read", header.display()))?;
    let text = String::from_utf8_lossy(&text);
    let names = functions(&text);
    if names.len() < 300 {
        bail!(
            "{} declares only {} functions of the driver; expected several hundred",
            header.display(),
            names.len()
        );
    }
    fs::create_dir_all(folder)?;
    let source = folder.join("stub.c");
    let code: String =
        names.iter().map(|name| format!("int {name}(void) {{ return {STUB_LIBRARY}; }}\n")).collect();
    fs::write(&source, code)?;
    shell::run(
        Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-w", "-Wl,-soname,libcuda.so.1", "-o"])
            .arg(folder.join("libcuda.so.1"))
            .arg(&source),
    )
    .context("the stub of the driver's library needs a C compiler")?;
    shell::link("libcuda.so.1", &folder.join("libcuda.so"))
}

/// Every name `cu` + capital letter in the header: functions, those of older versions too.
fn functions(header: &str) -> BTreeSet<&str> {
    header
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| {
            word.strip_prefix("cu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_found_with_their_versions() {
        let header = "#define cuCtxCreate cuCtxCreate_v4\nCUresult CUDAAPI cuInit(unsigned int Flags); cuuint64_t x; CUdevice d;";
        let found: Vec<_> = functions(header).into_iter().collect();
        assert_eq!(found, ["cuCtxCreate", "cuCtxCreate_v4", "cuInit"]);
    }
}
