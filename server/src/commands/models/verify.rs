//! `adire models verify`: checks cached files against the hashes in their names, without network access.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;

use crate::commands::print;
use crate::hub::{self, Expected};

/// Maximum folder depth.
const DEPTH: usize = 8;

/// Models to verify.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// A name that `adire models list` shows [default: all downloaded models]
    name: Option<String>,
}

impl VerifyArgs {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let mut models = hub::cached(&hub::folder());
        if let Some(name) = &self.name {
            models.retain(|cached| cached.name == *name);
            if models.is_empty() {
                bail!("{name} is not a downloaded model; `adire models list` shows their names");
            }
        }
        let mut damaged = 0;
        for cached in &models {
            let mut files = Vec::new();
            collect(&cached.snapshot, 0, &mut files);
            let mut checked = 0;
            for path in files {
                let shown = path.strip_prefix(&cached.snapshot).unwrap_or(&path).display();
                match verify(&path) {
                    Ok(()) => checked += 1,
                    Err(error) => {
                        damaged += 1;
                        print(format_args!("{}: {shown} is damaged: {error:#}", cached.name))?;
                    }
                }
            }
            print(format_args!("{}: {checked} files match the Hub", cached.name))?;
        }
        if damaged > 0 {
            bail!("{damaged} files are damaged; remove them and pull the model again");
        }
        Ok(())
    }
}

fn verify(path: &Path) -> anyhow::Result<()> {
    let blob = path.canonicalize()?;
    let name = blob.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match Expected::new(name) {
        Some(expected) => hub::check(&blob, &expected),
        None => bail!("it is not stored in the cache under its hash"),
    }
}

/// Files below `folder`, including links, even dangling ones.
fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            if depth < DEPTH {
                collect(&path, depth + 1, files);
            }
        } else {
            files.push(path);
        }
    }
}
