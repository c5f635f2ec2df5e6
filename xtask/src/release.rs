//! `cargo xtask release`: an archive with the program, the starter model, the licences of all that is in it, and an SBOM.

mod parts;
mod sbom;
mod third_party;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use clap::Args;

use self::parts::Parts;
use crate::{
    serve::{self, BuildArgs},
    shell::{root, run, target},
};

#[derive(Args)]
pub(crate) struct ReleaseArgs {
    /// Cargo features of the server besides `embed`, separated by commas: cuda or cuda-train for NVIDIA GPUs
    #[arg(long, value_delimiter = ',')]
    features: Vec<String>,
}

#[derive(Args)]
pub(crate) struct LicensesArgs {
    /// Cargo features of the server besides `embed`, separated by commas
    #[arg(long, value_delimiter = ',')]
    features: Vec<String>,
    /// Folder for LICENSE, THIRD-PARTY-LICENSES.txt and adire.cdx.json
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Builds all of it and prints where the archive is.
pub(crate) fn release(args: &ReleaseArgs) -> Result<()> {
    let program = serve::build_whole(&BuildArgs { features: args.features.clone() })?;
    let parts = parts::of(&args.features)?;
    let name = name(&parts.version, &args.features, std::env::var("CUDA_COMPUTE_CAP").ok().as_deref());
    let folder = target().join("release-archive").join(&name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("models"))?;
    copy(&program, &folder.join("adire"))?;
    run(Command::new("cp").arg("-r").arg(root().join("models/starter")).arg(folder.join("models")))?;
    for file in ["README.md", "CHANGELOG.md"] {
        copy(&root().join(file), &folder.join(file))?;
    }
    write_licenses(&folder, &parts)?;

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
    let needs = glibc(&fs::read(&program)?)
        .map_or_else(String::new, |version| format!(", needs glibc {version} or newer"));
    println!("{} ({:.1} MB, {} crates{needs})", archive.display(), bytes as f64 / 1e6, parts.packages.len());
    Ok(())
}

/// Writes the licences of a program without building it.
pub(crate) fn licenses(args: &LicensesArgs) -> Result<()> {
    fs::create_dir_all(&args.out).with_context(|| format!("{} cannot be made", args.out.display()))?;
    write_licenses(&args.out, &parts::of(&args.features)?)
}

fn write_licenses(folder: &Path, parts: &Parts) -> Result<()> {
    copy(&root().join("LICENSE"), &folder.join("LICENSE"))?;
    fs::write(folder.join("THIRD-PARTY-LICENSES.txt"), third_party::text(parts)?)?;
    let sbom = serde_json::to_string_pretty(&sbom::document(parts))?;
    fs::write(folder.join("adire.cdx.json"), sbom + "\n")?;
    Ok(())
}

/// The archive's name: a program for GPUs names its features, and that of candle the generation that it is compiled for.
fn name(version: &str, features: &[String], capability: Option<&str>) -> String {
    let mut name = format!("adire-{version}-{}-linux", std::env::consts::ARCH);
    for feature in features {
        name.push('-');
        name.push_str(feature);
    }
    if let Some(capability) =
        capability.filter(|text| !text.is_empty() && features.iter().any(|feature| feature == "cuda-train"))
    {
        name.push_str("-sm");
        name.push_str(capability);
    }
    name
}

/// The oldest C library that has every symbol which the program names.
fn glibc(program: &[u8]) -> Option<String> {
    const MARK: &[u8] = b"GLIBC_2.";
    let digits = |rest: &[u8]| -> Option<u32> {
        let end = rest.iter().position(|byte| !byte.is_ascii_digit())?;
        // Names of versions end with a zero byte; GLIBC_2.2.5 counts as 2.2.
        (rest[end] == 0 || rest[end] == b'.').then(|| std::str::from_utf8(&rest[..end]).ok()?.parse().ok())?
    };
    let found = program.windows(MARK.len()).enumerate().filter(|(_, window)| *window == MARK);
    let newest = found.filter_map(|(at, _)| digits(&program[at + MARK.len()..])).max();
    newest.map(|minor| format!("2.{minor}"))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("{} cannot be copied", from.display())).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_glibc_that_a_program_names_is_what_it_needs() {
        let program =
            b"\x7fELF\0GLIBC_2.2.5\0GLIBC_2.34\0x\0GLIBC_2.9\0GLIBC_2.99 is a text, and so is GLIBC_2.";
        assert_eq!(glibc(program).as_deref(), Some("2.34"));
        assert_eq!(glibc(b"static"), None);
    }

    #[test]
    fn an_archive_is_named_by_its_features_and_generation() {
        let train = ["cuda-train".to_owned()];
        assert!(name("1.2.3", &train, Some("75")).ends_with("-linux-cuda-train-sm75"));
        assert!(name("1.2.3", &["cuda".to_owned()], Some("75")).ends_with("-linux-cuda"));
        assert!(name("1.2.3", &[], None).ends_with("-linux"));
    }
}
