//! Running other programs, and where things are.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

/// The workspace's root. `cargo run` names its package's folder; the one this program was built in may be another
/// clone, where a target folder is kept between clones.
pub(crate) fn root() -> PathBuf {
    let manifest = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let manifest = manifest.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).to_owned());
    manifest.parent().expect("xtask lies in the workspace").to_owned()
}

/// The folder that cargo builds into.
pub(crate) fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// The cargo that runs us. It does not hand on what it tells us of our own package: build scripts (ring's) look at that, and
/// would run again after each change between `cargo xtask` and `cargo`.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    let of_package = |name: &str| {
        ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"]
            .iter()
            .any(|start| name.starts_with(start))
    };
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(of_package) {
            command.env_remove(name);
        }
    }
    command.env_remove("CARGO_PRIMARY_PACKAGE");
    command
}

/// Runs to the end; fails unless the exit status is 0.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    let status = command.status().with_context(|| format!("`{shown}` could not be started"))?;
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(())
}

/// Whether the command can be started and exits with 0; its output is thrown away.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// A symbolic link; one that is there already is replaced.
pub(crate) fn link(to: &str, from: &Path) -> Result<()> {
    let _ = std::fs::remove_file(from);
    #[cfg(unix)]
    return std::os::unix::fs::symlink(to, from)
        .with_context(|| format!("{} cannot be linked", from.display()));
    #[cfg(not(unix))]
    bail!("{} cannot be linked to {to}: CUDA builds are made on Linux", from.display());
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
