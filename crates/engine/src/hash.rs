//! The name of a base model: a hash over its weights.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use crate::{EngineError, Result};

/// sha256 of a file's bytes as 64 hex digits.
///
/// # Errors
/// The file cannot be read.
pub fn file_hash(path: &Path) -> Result<String> {
    let fail = |e: std::io::Error| EngineError::model(path, format!("cannot be read ({e})."));
    let mut file = File::open(path).map_err(fail)?;
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0u8; 1 << 20]);
    loop {
        match file.read(&mut buffer).map_err(fail)? {
            0 => return Ok(hex::encode(hasher.finalize())),
            n => hasher.update(&buffer[..n]),
        }
    }
}

/// sha256 over the lines `<sha256 of the file>  <path in the folder>\n` of `files`, in the order given: what
/// `sha256sum text_encoder/… unet/… vae/… | sha256sum` prints inside the folder.
pub(crate) fn base_hash(folder: &Path, files: &[PathBuf]) -> Result<String> {
    let hashes: Vec<Result<String>> = std::thread::scope(|scope| {
        let threads: Vec<_> = files.iter().map(|file| scope.spawn(|| file_hash(file))).collect();
        let panicked = |path: &Path| Err(EngineError::model(path, "cannot be hashed."));
        threads.into_iter().zip(files).map(|(t, f)| t.join().unwrap_or_else(|_| panicked(f))).collect()
    });
    let mut lines = Sha256::new();
    for (file, hash) in files.iter().zip(hashes) {
        let name = file.strip_prefix(folder).unwrap_or(file);
        lines.update(format!("{}  {}\n", hash?, name.display()));
    }
    Ok(hex::encode(lines.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_sha256sum() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::write(&a, "abc").unwrap();
        std::fs::write(&b, "").unwrap();
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(file_hash(&a).unwrap(), abc);
        // printf 'abc' > a; : > b; sha256sum a b | sha256sum
        let both = base_hash(folder.path(), &[a, b]).unwrap();
        assert_eq!(both, "09c7e0b8a02d027d95ec0375a600ed4ad4d6b26a1c93f16d9150cab5fec761a6");
    }
}
