//! Files that only the server's own user may read.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::Path,
};

/// Makes a folder with mode 0700 where it is absent.
pub(super) fn folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Writes a file with mode 0600 as a whole or not at all.
pub(super) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    write_then(path, content, File::sync_all)
}

/// The same without waiting for the disk: for what may be lost in a power cut.
pub(super) fn write_soon(path: &Path, content: &[u8]) -> io::Result<()> {
    write_then(path, content, |_| Ok(()))
}

fn write_then(path: &Path, content: &[u8], then: fn(&File) -> io::Result<()>) -> io::Result<()> {
    let staged = path.with_extension(super::token()?);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&staged).and_then(|mut file| {
        file.write_all(content)?;
        then(&file)
    });
    let named = written.and_then(|()| fs::rename(&staged, path));
    if named.is_err() {
        // The error says what matters; a file that was never made is as good as a removed one.
        let _ = fs::remove_file(&staged);
    }
    named
}

/// The content of a file; `None` where there is none.
pub(super) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn nobody_else_can_read_it() {
        use std::os::unix::fs::PermissionsExt;

        let data = tempfile::tempdir().unwrap();
        let inner = data.path().join("operator");
        folder(&inner).unwrap();
        let file = inner.join("password");
        for content in ["one", "two"] {
            write(&file, content.as_bytes()).unwrap();
            assert_eq!(read(&file).unwrap().unwrap(), content.as_bytes());
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&inner), mode(&file)), (0o700, 0o600));
        assert_eq!(fs::read_dir(&inner).unwrap().count(), 1, "nothing half-written stays");
        assert_eq!(read(&inner.join("nothing")).unwrap(), None);
    }
}
