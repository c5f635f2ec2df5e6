//! Whether a file is the one that the Hub has. Files in Git LFS are named by their sha256, others by git's hash of
//! a blob: sha1 of `blob <bytes>\0` and the content. The cache keeps each file under that name.

use std::{fs::File, io::Read, path::Path};

use anyhow::{Context, bail};
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The hash that a file should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Sha256(String),
    GitBlob(String),
}

impl Expected {
    /// Parses an ETag or a name in the cache; `None` if it is not a hash.
    pub(crate) fn new(name: &str) -> Option<Self> {
        let is_hash = name.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c));
        match name.len() {
            64 if is_hash => Some(Self::Sha256(name.to_owned())),
            40 if is_hash => Some(Self::GitBlob(name.to_owned())),
            _ => None,
        }
    }
}

/// Reads all of `path`.
///
/// # Errors
/// The file cannot be read, or has another hash.
pub(crate) fn check(path: &Path, expected: &Expected) -> anyhow::Result<()> {
    let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let bytes = file.metadata().with_context(|| format!("cannot read {}", path.display()))?.len();
    let (kind, wanted, found) = match expected {
        Expected::Sha256(wanted) => ("sha256", wanted, hash(&mut file, Sha256::new())),
        Expected::GitBlob(wanted) => {
            let start = Sha1::new_with_prefix(format!("blob {bytes}\0"));
            ("git hash", wanted, hash(&mut file, start))
        }
    };
    let found = found.with_context(|| format!("cannot read {}", path.display()))?;
    if found != *wanted {
        bail!("its {kind} is {found}, but the Hub lists {wanted}");
    }
    Ok(())
}

fn hash<D: Digest>(file: &mut File, mut digest: D) -> std::io::Result<String> {
    let mut buffer = vec![0u8; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex::encode(digest.finalize())),
            n => digest.update(&buffer[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_git_and_sha256sum() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "abc").unwrap();
        // printf abc | git hash-object --stdin; printf abc | sha256sum
        let git = "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f";
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        for wanted in [git, sha256] {
            check(&path, &Expected::new(wanted).unwrap()).unwrap();
        }
        std::fs::write(&path, "abd").unwrap();
        for wanted in [git, sha256] {
            let message = check(&path, &Expected::new(wanted).unwrap()).unwrap_err().to_string();
            assert!(message.contains(wanted), "{message}");
        }
        for no_hash in ["", "../../etc", "W/abc", &"g".repeat(64), &"a".repeat(41)] {
            assert_eq!(Expected::new(no_hash), None);
        }
    }
}
