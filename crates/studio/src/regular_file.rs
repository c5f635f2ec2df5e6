//! Reads files from untrusted folders: regular files only, never more than a given number of bytes.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    path::Path,
};

use crate::folder::reason;

/// Opens a file for reading, if it is a regular one. What would make the opening itself wait (a pipe that nobody writes
/// into) or do something (a device) is not waited for. `path` must not be a link; callers resolve links first.
///
/// # Errors
/// It is something else than a regular file, or cannot be opened.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    // Before it is opened: opening a device can do something.
    if !path.metadata()?.is_file() {
        return Err(not_regular());
    }
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    }
    let file = options.open(path)?;
    // It may have become something else meanwhile.
    if file.metadata()?.is_file() { Ok(file) } else { Err(not_regular()) }
}

fn not_regular() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "it is not a regular file but a pipe, a socket, a device or a folder",
    )
}

/// The content of a regular file of at most `most` bytes.
///
/// # Errors
/// A clause without a full stop: what is wrong with it.
pub(crate) fn read(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let file = open_regular(path).map_err(|error| reason(&error))?;
    let mut bytes = Vec::new();
    // One byte more shows that there is too much, whatever the file system says of its size.
    file.take(most + 1).read_to_end(&mut bytes).map_err(|error| reason(&error))?;
    if bytes.len() as u64 > most {
        return Err(format!("it is larger than {most} bytes"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_regular_files_are_read_up_to_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, [7; 10]).unwrap();
        assert_eq!(read(&path, 10), Ok(vec![7; 10]));
        assert_eq!(read(&path, 9).unwrap_err(), "it is larger than 9 bytes");
        assert!(read(folder.path(), 9).unwrap_err().contains("not a regular file"));
        assert!(read(&folder.path().join("none"), 9).unwrap_err().contains("no such file"));
    }

    #[cfg(unix)]
    #[test]
    fn pipes_sockets_and_devices_are_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let made = std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap();
        assert!(made.success());
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        for path in [at("pipe"), at("socket"), "/dev/zero".into(), "/dev/null".into()] {
            assert!(read(&path, 1 << 20).unwrap_err().contains("not a regular file"), "{}", path.display());
        }
    }
}
