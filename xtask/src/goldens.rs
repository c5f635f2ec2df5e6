//! Reference tensors from diffusers and PEFT.

use std::{fs, process::Command};

use anyhow::Result;

use crate::{
    shell::{self, root},
    tools,
};

/// These write the models that the others use.
const FIRST: [&str; 2] = ["modules.py", "images.py"];

/// Runs every script of tools/goldens, those that others build upon first.
pub(crate) fn run() -> Result<()> {
    let python = tools::python()?;
    let folder = root().join("tools/goldens");
    let mut scripts: Vec<_> = fs::read_dir(&folder)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "py"))
        .filter(|path| !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('_')))
        .collect();
    scripts.sort_by_key(|script| {
        let name = script.file_name().unwrap_or_default().to_string_lossy().into_owned();
        (FIRST.iter().position(|first| *first == name).unwrap_or(FIRST.len()), name)
    });
    for script in scripts {
        eprintln!("Running {} …", script.display());
        shell::run(Command::new(&python).arg(&script).current_dir(&folder))?;
    }
    Ok(())
}
