//! The data folder: `adire.db`, `blobs/`, `node`, and `adire.lock`, which keeps a second server out.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use crate::StudioError;

/// Place of the blobs in the data folder.
pub(crate) const BLOBS: &str = "blobs";

/// How long a starting server waits for the one before it to let go.
const PATIENCE: Duration = Duration::from_secs(2);

/// Held for as long as the process uses the folder. The operating system lets go of it when the process
/// dies, however it dies; the file itself stays and means nothing.
#[derive(Debug)]
pub(crate) struct FolderLock {
    _file: File,
}

/// Makes the folder where it is absent and locks it. Blocks for up to two seconds.
pub(crate) fn claim(folder: &Path) -> Result<FolderLock, StudioError> {
    let unusable = |error: std::io::Error| {
        StudioError::Storage(format!(
            "Cannot use the data folder {}: {}. Pass another one with --data, or change its permissions.",
            folder.display(),
            reason(&error)
        ))
    };
    make_private(folder).map_err(unusable)?;
    fs::create_dir_all(folder.join(BLOBS)).map_err(unusable)?;
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(folder.join("adire.lock"))
        .map_err(unusable)?;
    let since = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if since.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_millis(20));
            }
            Err(TryLockError::WouldBlock) => {
                let mut by = String::new();
                let known = (&mut file).take(100).read_to_string(&mut by).is_ok() && !by.trim().is_empty();
                return Err(StudioError::InUse {
                    folder: folder.display().to_string(),
                    by: if known { by.trim().to_owned() } else { "another process".to_owned() },
                });
            }
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
    }
    file.set_len(0)
        .and_then(|()| file.seek(SeekFrom::Start(0)))
        .and_then(|_| writeln!(file, "process {}", std::process::id()))
        .map_err(unusable)?;
    Ok(FolderLock { _file: file })
}

/// The name of this node, by which its own jobs are known again after a crash; made at the first start.
pub(crate) fn node(folder: &Path) -> Result<String, StudioError> {
    let path = folder.join("node");
    let name = fs::read_to_string(&path).unwrap_or_default().trim().to_owned();
    if uuid::Uuid::parse_str(&name).is_ok() {
        return Ok(name);
    }
    let name = uuid::Uuid::new_v4().to_string();
    fs::write(&path, &name).map_err(|error| failed(format!("{} was not written", path.display()), &error))?;
    Ok(name)
}

/// Deletes a file that is not needed any more; whether it is gone. One that stays takes space, so the log names it. Blocks.
pub(crate) fn remove(path: &Path) -> bool {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), error = reason(&error), "a file was not deleted");
            false
        }
        _ => true,
    }
}

/// Turns an I/O error into a [`StudioError`]; a full disk has its own variant. `what`: a clause like “a.png could
/// not be kept”.
pub(crate) fn failed(what: impl std::fmt::Display, error: &std::io::Error) -> StudioError {
    use std::io::ErrorKind;
    /// `EMFILE` and `ENFILE`, which have no kind of their own; the same numbers on every Unix.
    const OUT_OF_FILES: [i32; 2] = [24, 23];
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StudioError::DiskFull,
        _ if cfg!(unix) && error.raw_os_error().is_some_and(|code| OUT_OF_FILES.contains(&code)) => {
            StudioError::OutOfFiles
        }
        _ => StudioError::Storage(format!("{what}: {}.", reason(error))),
    }
}

/// Makes the folder where it is absent, and closes it to other users of the machine: prompts, images and captions are in
/// it. What lies in it needs no look, because nobody gets past the folder.
fn make_private(folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(folder)?.permissions().mode();
        if mode & 0o077 != 0 {
            match fs::set_permissions(folder, fs::Permissions::from_mode(mode & 0o700)) {
                Ok(()) => tracing::info!(
                    folder = %folder.display(),
                    "the data folder was readable by other users of this machine; its permissions are now restricted"
                ),
                // Somebody else's folder that we may write to, a volume's root perhaps. To close it would lock us out.
                Err(error) => tracing::warn!(
                    folder = %folder.display(),
                    error = reason(&error),
                    "the data folder is readable by other users of this machine and belongs to another user; use a folder \
                     below it, such as {}, which this server can make and close",
                    folder.join("adire").display()
                ),
            }
        }
    }
    Ok(())
}

/// An input/output error in words that fit into a sentence.
pub(crate) fn reason(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "the disk is full".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        ErrorKind::ReadOnlyFilesystem => "the file system is read-only".to_owned(),
        ErrorKind::NotADirectory => "a part of the path is a file, not a folder".to_owned(),
        ErrorKind::NotFound => "no such file or folder".to_owned(),
        _ => error.to_string(),
    }
}
