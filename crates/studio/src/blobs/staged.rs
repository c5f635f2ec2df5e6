//! Files on their way into a store: whole and on the disk, but without their name.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::errors::file_failed;
use crate::{StudioError, folder};

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
        folder::remove(&self.path);
    }
}

impl Staged {
    /// Copies what `from` gives to `path`, where nothing is yet.
    pub(super) fn write(path: PathBuf, from: impl Read) -> Result<Self, StudioError> {
        let mut staged = Self { path, hash: String::new(), bytes: 0 };
        let copy = || -> io::Result<()> {
            let mut file = File::create_new(&staged.path)?;
            (staged.hash, staged.bytes) = pass(from, &mut file)?;
            // Content before name: a name in the store always stands for a whole file, even after a power cut.
            file.sync_all()
        };
        copy().map_err(|error| file_failed(&error))?;
        Ok(staged)
    }

    /// Takes over a file that was written to `path`.
    pub(super) fn adopt(path: PathBuf) -> Result<Self, StudioError> {
        let mut staged = Self { path, hash: String::new(), bytes: 0 };
        let mut read = || -> io::Result<()> {
            // Not every system syncs a file that was opened for reading alone.
            let mut file = File::options().read(true).write(true).open(&staged.path)?;
            (staged.hash, staged.bytes) = pass(&mut file, io::sink())?;
            // As above.
            file.sync_all()
        };
        read().map_err(|error| file_failed(&error))?;
        Ok(staged)
    }

    /// Writes content to `path`, where nothing is yet, whose hash is known.
    pub(super) fn whole(path: PathBuf, hash: String, content: &[u8]) -> Result<Self, StudioError> {
        let staged = Self { path, hash, bytes: content.len() as u64 };
        let write = || -> io::Result<()> {
            let mut file = File::create_new(&staged.path)?;
            file.write_all(content)?;
            // As above.
            file.sync_all()
        };
        write().map_err(|error| file_failed(&error))?;
        Ok(staged)
    }

    /// Gives the file its name, which is on the disk then, too.
    pub(super) fn move_to(&self, path: &Path) -> Result<(), StudioError> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let rename = || {
            fs::rename(&self.path, path)?;
            sync_folder(folder)
        };
        rename().map_err(|error| file_failed(&error))
    }
}

/// Passes bytes on; their hash and how many they are.
fn pass(mut from: impl Read, mut to: impl Write) -> io::Result<(String, u64)> {
    let (mut hasher, mut buffer, mut bytes) = (Sha256::new(), vec![0; 1 << 16], 0);
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok((hex::encode(hasher.finalize()), bytes));
        }
        hasher.update(&buffer[..read]);
        to.write_all(&buffer[..read])?;
        bytes += read as u64;
    }
}

/// Names in a folder are on the disk then. Only Unix has that.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
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

/// Makes the folders of all blobs, `00` to `ff`, so that no image waits for one.
pub(super) fn make_folders(root: &Path) -> Result<(), StudioError> {
    let make = || {
        for byte in 0..=u8::MAX {
            match fs::create_dir(root.join(format!("{byte:02x}"))) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        sync_folder(root)
    };
    make().map_err(|error| file_failed(&error))
}

/// A new name below `root`.
pub(super) fn place(root: &Path) -> PathBuf {
    root.join(FOLDER).join(uuid::Uuid::new_v4().simple().to_string())
}
