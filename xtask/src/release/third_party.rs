//! The licence texts of all that is compiled into the program, each text once.

use std::{collections::BTreeMap, fmt::Write as _, fs};

use anyhow::{Context, Result};
use cargo_metadata::Package;

use super::parts::Parts;

/// How the files are called that say what may be done with a crate.
const NAMES: [&str; 6] = ["license", "licence", "copying", "notice", "unlicense", "copyright"];

/// One text for the archive.
pub(super) fn text(parts: &Parts) -> Result<String> {
    let mut users: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut without = Vec::new();
    for package in &parts.packages {
        let id = format!("{} {}", package.name, package.version);
        let files = license_files(package)?;
        if files.is_empty() {
            let license = package.license.as_deref().unwrap_or("no licence is named");
            let source = package.repository.as_deref().unwrap_or("no repository is named");
            without.push(format!("{id}: {license} ({source})"));
        }
        for file in files {
            let users = users.entry(file).or_default();
            if !users.contains(&id) {
                users.push(id.clone());
            }
        }
    }
    let mut text =
        "Licences of what is compiled into Adire. Above each text are the crates whose packages have it.\n"
            .to_owned();
    if !without.is_empty() {
        let list = without.join("\n  ");
        let _ = write!(
            text,
            "\nThe packages of these crates have no file with a licence; their manifests name it:\n  {list}\n"
        );
    }
    text.push_str("\nBesides the crates:\n");
    for other in &parts.others {
        let (Ok(license) | Err(license)) = other.license;
        let version = other.version.as_deref().unwrap_or_default();
        let _ = writeln!(text, "  {} {version}: {license} ({})", other.name, other.url);
    }
    for (license, users) in users {
        let _ = write!(text, "\n{}\n{}\n\n{license}\n", "=".repeat(80), users.join(", "));
    }
    Ok(text)
}

/// What the files of a crate say, in the order of their names.
fn license_files(package: &Package) -> Result<Vec<String>> {
    let folder = package.manifest_path.parent().context("a manifest lies in a folder")?;
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("{folder} cannot be read"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        if path.is_file() && NAMES.iter().any(|known| name.starts_with(known)) && !name.ends_with(".rs") {
            paths.push(path);
        }
    }
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let text = fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
        Ok(text.replace("\r\n", "\n").trim_end().to_owned())
    };
    paths.iter().map(read).collect()
}
