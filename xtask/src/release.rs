//! `cargo xtask release`: an archive with the program, the starter model, the licences of all crates in it, and an SBOM.

mod sbom;
mod third_party;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};
use clap::Args;

use crate::{
    serve::{self, BuildArgs},
    shell::{root, run, target},
};

#[derive(Args)]
pub(crate) struct ReleaseArgs {
    /// Cargo features of the server besides `embed`, separated by commas: cuda-train for NVIDIA GPUs
    #[arg(long, value_delimiter = ',')]
    features: Vec<String>,
}

/// What is compiled into the program: the server, and the page that it carries.
const ROOTS: [&str; 2] = ["adire-server", "adire-frontend"];

/// Builds all of it and prints where the archive is.
pub(crate) fn release(args: &ReleaseArgs) -> Result<()> {
    let program = serve::build_whole(&BuildArgs { features: args.features.clone() })?;
    let metadata = MetadataCommand::new()
        .current_dir(root())
        .other_options(vec!["--locked".to_owned(), "--filter-platform=x86_64-unknown-linux-gnu".to_owned()])
        .exec()?;
    let packages = compiled(&metadata);
    let version =
        &metadata.packages.iter().find(|package| package.name == ROOTS[0]).context("no server")?.version;
    let kind = if args.features.is_empty() { String::new() } else { format!("-{}", args.features.join("-")) };
    let name = format!("adire-{version}-x86_64-linux{kind}");

    let folder = target().join("release-archive").join(&name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("models"))?;
    copy(&program, &folder.join("adire"))?;
    run(Command::new("cp").arg("-r").arg(root().join("models/starter")).arg(folder.join("models")))?;
    for file in ["LICENSE", "README.md", "CHANGELOG.md"] {
        copy(&root().join(file), &folder.join(file))?;
    }
    fs::write(folder.join("THIRD-PARTY-LICENSES.txt"), third_party::text(&packages)?)?;
    let sbom = serde_json::to_string_pretty(&sbom::document(&version.to_string(), &packages))?;
    fs::write(folder.join("adire.cdx.json"), sbom + "\n")?;

    let archive = target().join("release-archive").join(format!("{name}.tar.gz"));
    // The same files make the same archive, on any machine, at any time.
    let same = [
        "--sort=name",
        "--mtime=@0",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
        "--use-compress-program=gzip -n",
    ];
    run(Command::new("tar")
        .args(same)
        .arg("-C")
        .arg(target().join("release-archive"))
        .arg("-cf")
        .arg(&archive)
        .arg(&name))?;
    let bytes = fs::metadata(&archive)?.len();
    println!("{} ({:.1} MB, {} crates)", archive.display(), bytes as f64 / 1e6, packages.len());
    Ok(())
}

fn copy(from: &Path, to: &PathBuf) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("{} cannot be copied", from.display())).map(drop)
}

/// The packages of others that are in the program, by name and version. What only builds or tests it is not.
fn compiled(metadata: &Metadata) -> Vec<&Package> {
    let Some(resolve) = &metadata.resolve else { return Vec::new() };
    let mut open: Vec<&PackageId> = metadata
        .packages
        .iter()
        .filter(|package| ROOTS.contains(&package.name.as_str()))
        .map(|package| &package.id)
        .collect();
    let mut seen = Vec::new();
    while let Some(id) = open.pop() {
        if seen.contains(&id) {
            continue;
        }
        seen.push(id);
        let Some(node) = resolve.nodes.iter().find(|node| node.id == *id) else { continue };
        for dependency in &node.deps {
            if dependency.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal) {
                open.push(&dependency.pkg);
            }
        }
    }
    let others = |package: &&Package| seen.contains(&&package.id) && package.source.is_some();
    let mut packages: Vec<&Package> = metadata.packages.iter().filter(others).collect();
    packages.sort_by(|a, b| (a.name.as_str(), &a.version).cmp(&(b.name.as_str(), &b.version)));
    packages
}
