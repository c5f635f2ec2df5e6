//! Files named by the sha256 of their content, under `blobs/ab/cd…`. The one place to change for another
//! object store; a local folder is all that is needed now, and adapters must be local files anyway because
//! the engine maps them into memory. Every function blocks: call them off the async threads.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use sha2::{Digest, Sha256};

use crate::{StudioError, folder, shared::milliseconds};

/// Their place in the data folder.
pub(crate) const FOLDER: &str = "blobs";

/// The file that names the database the blobs belong to.
const OWNER: &str = ".adire-owner";

/// How often, and after how long, a file is tried again when the process may open no more: half a minute, in which idle
/// connections end.
const TRIES: u32 = 60;
const PAUSE: Duration = Duration::from_millis(500);

/// The blobs of a data folder.
#[derive(Clone, Debug)]
pub(crate) struct Blobs {
    root: PathBuf,
}

/// A file on its way in: complete and on the disk, but without its name. Removed when dropped.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) path: PathBuf,
    pub(crate) hash: String,
    pub(crate) bytes: u64,
}

impl Drop for Staged {
    fn drop(&mut self) {
        // After `keep` the file has another name and there is nothing to remove.
        let _ = fs::remove_file(&self.path);
    }
}

impl Blobs {
    /// Opens the folder and removes what a crash left half-written. Only the holder of the folder's lock may
    /// call this.
    pub(crate) fn open(root: PathBuf) -> Result<Self, StudioError> {
        let incoming = root.join("incoming");
        let _ = fs::remove_dir_all(&incoming);
        fs::create_dir_all(&incoming).map_err(|error| failed(&incoming, &error))?;
        Ok(Self { root })
    }

    /// Writes bytes and gives their hash.
    pub(crate) fn put(&self, bytes: &[u8]) -> Result<String, StudioError> {
        let hash = hex(&Sha256::digest(bytes));
        if self.path(&hash).is_some_and(|path| path.is_file()) {
            return Ok(hash);
        }
        again(TRIES, PAUSE, || self.keep(self.stage(bytes)?))
    }

    /// Takes in what `from` gives, under a temporary name, synced to the disk.
    pub(crate) fn stage(&self, mut from: impl Read) -> Result<Staged, StudioError> {
        let mut staged = Staged { path: self.incoming(), hash: String::new(), bytes: 0 };
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
        let hasher = copy().map_err(|error| failed(&staged.path, &error))?;
        staged.hash = hex(&hasher.finalize());
        Ok(staged)
    }

    /// Where a file on its way in may be written; nothing is there yet.
    pub(crate) fn incoming(&self) -> PathBuf {
        self.root.join("incoming").join(uuid::Uuid::new_v4().simple().to_string())
    }

    /// Gives a staged file its name.
    pub(crate) fn keep(&self, staged: Staged) -> Result<String, StudioError> {
        let hash = staged.hash.clone();
        let path =
            self.path(&hash).ok_or_else(|| StudioError::Storage(format!("{hash} is not a sha256.")))?;
        let renamed = match fs::rename(&staged.path, &path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let folder = path.parent().unwrap_or(&self.root);
                fs::create_dir_all(folder).and_then(|()| fs::rename(&staged.path, &path))
            }
            other => other,
        };
        renamed.map_err(|error| failed(&path, &error))?;
        Ok(hash)
    }

    /// The content of a blob; `None` when there is none of that name.
    pub(crate) fn get(&self, hash: &str) -> Result<Option<Vec<u8>>, StudioError> {
        let Some(path) = self.path(hash) else { return Ok(None) };
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&path, &error)),
        }
    }

    /// The blobs whose names begin with these two digits, each with the time of its last change (milliseconds since
    /// 1970).
    pub(crate) fn list(&self, prefix: &str) -> Result<Vec<(String, i64)>, StudioError> {
        let folder = self.root.join(prefix);
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|error| failed(&folder, &error))?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| failed(&folder, &error))?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            // One that is deleted meanwhile is no error.
            let Some(changed) = entry.metadata().and_then(|metadata| metadata.modified()).ok() else {
                continue;
            };
            if is_hash(&name) {
                found.push((name, milliseconds(changed)));
            }
        }
        Ok(found)
    }

    /// Marks the blobs as those of the database `id`, unless another one has marked them. Whether they are `id`'s.
    pub(crate) fn claim(&self, id: &str) -> Result<bool, StudioError> {
        let path = self.root.join(OWNER);
        match fs::read_to_string(&path) {
            Ok(owner) => Ok(owner.trim() == id),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::write(&path, id).map_err(|error| failed(&path, &error))?;
                Ok(true)
            }
            Err(error) => Err(failed(&path, &error)),
        }
    }

    /// Removes a blob; one that is not there is as good.
    pub(crate) fn remove(&self, hash: &str) -> Result<(), StudioError> {
        let Some(path) = self.path(hash) else { return Ok(()) };
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&path, &error)),
            _ => Ok(()),
        }
    }

    /// Width and height of a blob that is a PNG file, from its first bytes; `None` when there is none of that name,
    /// or it is something else.
    pub(crate) fn png_size(&self, hash: &str) -> Result<Option<(u32, u32)>, StudioError> {
        let Some(path) = self.path(hash) else { return Ok(None) };
        let mut head = [0; 24];
        match File::open(&path).and_then(|mut file| file.read_exact(&mut head)) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => {
                return Ok(None);
            }
            Err(error) => return Err(failed(&path, &error)),
        }
        // Signature, then the header chunk, which comes first: its length, its name, width, height.
        let [signature @ .., w0, w1, w2, w3, h0, h1, h2, h3] = head;
        let size = (u32::from_be_bytes([w0, w1, w2, w3]), u32::from_be_bytes([h0, h1, h2, h3]));
        Ok((signature == *b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR" && size.0 > 0 && size.1 > 0).then_some(size))
    }

    /// Where a blob lies or would lie. Only 64 lower-case hex digits are a name, so nothing that a client
    /// sends leads anywhere else.
    pub(crate) fn path(&self, hash: &str) -> Option<PathBuf> {
        path_below(&self.root, hash)
    }
}

/// Path of the blob with that name below `root`; `None` for an invalid name.
pub(crate) fn path_below(root: &Path, hash: &str) -> Option<PathBuf> {
    is_hash(hash).then(|| root.join(&hash[..2]).join(&hash[2..]))
}

fn is_hash(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Tries once more while too many files are open. What was made must not be lost because others hold connections.
fn again<T>(
    mut tries: u32,
    pause: Duration,
    mut work: impl FnMut() -> Result<T, StudioError>,
) -> Result<T, StudioError> {
    loop {
        match work() {
            Err(StudioError::OutOfFiles) if tries > 1 => {
                tries -= 1;
                thread::sleep(pause);
            }
            other => return other,
        }
    }
}

fn failed(path: &Path, error: &io::Error) -> StudioError {
    let failed = folder::failed("A file of the studio could not be read or written", error);
    if matches!(failed, StudioError::Storage(_)) {
        // The path is for the log: the sentence may reach visitors.
        tracing::error!(path = %path.display(), %error, "a file of the data folder could not be read or written");
    }
    failed
}

/// Lower-case hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_has_its_own_error() {
        let error_of = |kind| failed(Path::new("/data/blobs/x"), &io::Error::from(kind));
        assert!(matches!(error_of(io::ErrorKind::StorageFull), StudioError::DiskFull));
        assert!(matches!(error_of(io::ErrorKind::QuotaExceeded), StudioError::DiskFull));
        let other = error_of(io::ErrorKind::PermissionDenied).to_string();
        assert!(other.contains("permission denied") && !other.contains("/blobs"), "{other}");
    }

    #[cfg(unix)]
    #[test]
    fn too_many_open_files_are_waited_for() {
        let mut left = 3;
        let kept = again(5, Duration::ZERO, || {
            left -= 1;
            if left > 0 { Err(failed(Path::new("x"), &io::Error::from_raw_os_error(24))) } else { Ok("kept") }
        });
        assert!(matches!(kept, Ok("kept")));
        let mut tried = 0;
        let given_up = again(5, Duration::ZERO, || {
            tried += 1;
            Err::<(), _>(failed(Path::new("x"), &io::Error::from_raw_os_error(23)))
        });
        assert!(matches!(given_up, Err(StudioError::OutOfFiles)) && tried == 5);
        let mut tried = 0;
        let other = again(5, Duration::ZERO, || {
            tried += 1;
            Err::<(), _>(StudioError::DiskFull)
        });
        assert!(matches!(other, Err(StudioError::DiskFull)) && tried == 1, "nothing else is");
    }
}
