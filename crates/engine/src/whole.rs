//! Files that appear whole or not at all.

use std::{
    fs::{self, OpenOptions},
    io,
    path::Path,
};

/// Has `write` make a file or folder at a path beside `path`, and renames it, so that nothing half-written is ever seen
/// under that name. A file is on the disk before it has the name.
///
/// # Errors
/// The disk is full or the folder cannot be written; what was there before is then as it was.
pub fn write_whole(path: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    // One name, so that what a kill leaves is overwritten the next time.
    let part = path.with_file_name(format!(".{}.part", name.to_string_lossy()));
    let written = write(&part).and_then(|()| match part.is_file() {
        true => OpenOptions::new().append(true).open(&part)?.sync_all(),
        false => Ok(()),
    });
    let moved = written.and_then(|()| fs::rename(&part, path));
    if moved.is_err() {
        // It may not exist, and may be a folder; the error that matters is the first one.
        let _ = fs::remove_file(&part);
        let _ = fs::remove_dir_all(&part);
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let fail = |part: &Path| {
            fs::write(part, "half")?;
            Err(io::Error::other("no"))
        };
        assert!(write_whole(&path, fail).is_err());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        write_whole(&path, |part| fs::write(part, "x")).unwrap();
        assert!(write_whole(&path, fail).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "x");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        let below = folder.path().join("b");
        write_whole(&below, |part| fs::create_dir(part).and_then(|()| fs::write(part.join("c"), "x")))
            .unwrap();
        assert!(below.join("c").is_file());
    }
}
