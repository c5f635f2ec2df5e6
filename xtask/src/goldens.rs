//! Reference tensors from diffusers and PEFT.

use std::{fs, process::Command};

use anyhow::Result;

use crate::{
    shell::{self, root},
    tools,
};

/// Runs every script of tools/goldens in the order of their names.
pub(crate) fn run() -> Result<()> {
    let python = tools::python()?;
    let folder = root().join("tools/goldens");
    let mut scripts: Vec<_> = fs::read_dir(&folder)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "py"))
        .filter(|path| !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('_')))
        .collect();
    scripts.sort();
    for script in scripts {
        eprintln!("Running {} …", script.display());
        shell::run(Command::new(&python).arg(&script).current_dir(&folder))?;
    }
    Ok(())
}
