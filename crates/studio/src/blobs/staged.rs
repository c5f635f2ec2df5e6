//! Files on their way into a store: whole and on the disk, but without their name.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use object_store::path::Path as ObjectPath;
use sha2::{Digest, Sha256};

use super::errors::file_failed;
use crate::StudioError;

/// Their place beside the blobs.
const FOLDER: &str = "incoming";

/// A file on its way in. Removed when dropped.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) path: PathBuf,
    pub(crate) hash: String,
    pub(crate) bytes: u64,
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Once it is kept the file has another name and there is nothing to remove.
        let _ = fs::remove_file(&self.path);
    }
}

impl Staged {
    /// Copies what `from` gives to `path`, where nothing is yet.
    pub(super) fn write(path: PathBuf, mut from: impl Read) -> Result<Self, StudioError> {
        let mut staged = Self { path, hash: String::new(), bytes: 0 };
        let mut copy = || -> io::Result<Sha256> {
            let mut file = File::create_new(&staged.path)?;
            let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 16]);
            loop {
                let read = from.read(&mut buffer)?;
                if read == 0 {
                    break;
                }
                hasher.update(&buffer[..read]);
                file.write_all(&buffer[..read])?;
                staged.bytes += read as u64;
            }
            // Content before name: a name in the store always stands for a whole file, even after a power cut.
            file.sync_all()?;
            Ok(hasher)
        };
        let hasher = copy().map_err(|error| file_failed(&error))?;
        staged.hash = hex::encode(hasher.finalize());
        Ok(staged)
    }
}

/// Makes the folder below `root` afresh, and removes what the store itself left half-written.
pub(super) fn clear(root: &Path) -> Result<(), StudioError> {
    let incoming = root.join(FOLDER);
    let _ = fs::remove_dir_all(&incoming);
    fs::create_dir_all(&incoming).map_err(|error| file_failed(&error))?;
    for entry in fs::read_dir(root).map_err(|error| file_failed(&error))?.flatten() {
        // object_store writes `name#7` before `name`.
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.rsplit_once('#')).map(|(_, number)| number);
        if number.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())) {
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

/// A new name below `root`.
pub(super) fn place(root: &Path) -> PathBuf {
    root.join(FOLDER).join(uuid::Uuid::new_v4().simple().to_string())
}

/// What a staged file is called in a store whose root is the folder it was staged below.
pub(super) fn object(path: &Path) -> ObjectPath {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    ObjectPath::from(FOLDER).join(name)
}
