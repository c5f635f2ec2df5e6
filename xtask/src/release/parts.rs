//! What is compiled into the program and into the page that it carries, as cargo resolves both with the features that they are
//! built with.

use std::{collections::BTreeSet, process::Command};

use anyhow::{Context, Result, bail};
use cargo_metadata::{CargoOpt, MetadataCommand, Package};

use crate::{
    shell::{cargo, root},
    site,
};

/// What the page is compiled for.
const WASM: &str = "wasm32-unknown-unknown";

/// What a program consists of.
pub(super) struct Parts {
    /// The program's own version.
    pub(super) version: String,
    /// Crates of others, by name and version.
    pub(super) packages: Vec<Package>,
    /// What else is compiled in.
    pub(super) others: Vec<Other>,
}

/// A part that is not a crate.
pub(super) struct Other {
    pub(super) name: &'static str,
    pub(super) version: Option<String>,
    /// SPDX expression, or the name of a licence that has none.
    pub(super) license: Result<&'static str, &'static str>,
    pub(super) url: &'static str,
}

/// The parts of a program with `features` besides `embed`.
pub(super) fn of(features: &[String]) -> Result<Parts> {
    let features: Vec<&str> = ["embed"].into_iter().chain(features.iter().map(String::as_str)).collect();
    let (host, rust) = compiler()?;
    let mut names =
        tree(&["--package", "adire-server", "--features", &features.join(","), "--target", &host])?;
    names.extend(tree(&[site::PAGE[0], site::PAGE[1], "--target", WASM])?);
    let metadata = MetadataCommand::new()
        .current_dir(root())
        .features(CargoOpt::SomeFeatures(
            features.iter().map(|name| format!("adire-server/{name}")).collect(),
        ))
        .other_options(vec![
            "--locked".to_owned(),
            format!("--filter-platform={host}"),
            format!("--filter-platform={WASM}"),
        ])
        .exec()?;
    let server = metadata.packages.iter().find(|package| package.name == "adire-server");
    let version = server.context("cargo names no package adire-server")?.version.to_string();
    let mut packages = Vec::new();
    for (name, version) in names {
        let mut found = metadata
            .packages
            .iter()
            .filter(|package| package.name.as_str() == name && package.version.to_string() == version);
        let Some(package) = found.next() else { bail!("cargo has no metadata of {name} {version}") };
        if package.source.is_some() {
            packages.push(package.clone());
        }
    }
    let mut others = vec![Other {
        name: "rust-std",
        version: Some(rust),
        license: Ok("MIT OR Apache-2.0"),
        url: "https://github.com/rust-lang/rust",
    }];
    if features.contains(&"cuda") {
        others.push(Other {
            name: "libcudart_static",
            version: None,
            license: Err("NVIDIA Software License Agreement, CUDA supplement"),
            url: "https://docs.nvidia.com/cuda/eula/",
        });
    }
    Ok(Parts { version, packages, others })
}

/// Names and versions of what a package is compiled with: its normal dependencies, with the features that they have in that build.
fn tree(arguments: &[&str]) -> Result<BTreeSet<(String, String)>> {
    let mut command = cargo();
    command.args(["tree", "--quiet", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}"]);
    let output = command.args(arguments).output().context("cargo tree could not be started")?;
    if !output.status.success() {
        bail!("cargo tree failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(parse(&String::from_utf8_lossy(&output.stdout)))
}

/// Lines of `name vVERSION`, of which some go on with a path or a remark.
fn parse(text: &str) -> BTreeSet<(String, String)> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let name = words.next()?;
        let version = words.next()?.strip_prefix('v')?;
        Some((name.to_owned(), version.to_owned()))
    };
    text.lines().filter_map(line).collect()
}

/// The compiler's own target and version.
fn compiler() -> Result<(String, String)> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output().context("rustc could not be started")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        value.map(str::to_owned).with_context(|| format!("rustc does not say its {name}"))
    };
    Ok((field("host")?, field("release")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_versions_are_read_from_cargo_tree() {
        let text = "adire-server v0.1.0 (/src/server)\nserde v1.0.229\nserde v1.0.229 (*)\nserde_derive v1.0.229 (proc-macro)\n\n";
        let found = parse(text);
        let names: Vec<String> = found.iter().map(|(name, version)| format!("{name} {version}")).collect();
        assert_eq!(names, ["adire-server 0.1.0", "serde 1.0.229", "serde_derive 1.0.229"]);
    }
}
