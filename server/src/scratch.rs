//! Files of a command that go with it. They lie in `tmp` of the data folder: adapters are large, and the system's own folder
//! for such files may be in memory, as in a container.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use tempfile::{Builder, NamedTempFile, TempDir};

/// How old a file is that a killed command must have left.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// A new file for an adapter, deleted on drop. `data` exists.
pub(crate) fn adapter(data: &Path) -> io::Result<NamedTempFile> {
    Builder::new().suffix(".safetensors").tempfile_in(folder(data)?)
}

/// A new folder, deleted on drop; the system's, where the data folder is absent or cannot be written.
pub(crate) fn directory(data: &Path) -> io::Result<TempDir> {
    let own = data.is_dir().then(|| tempfile::tempdir_in(folder(data)?));
    own.and_then(Result::ok).map_or_else(tempfile::tempdir, Ok)
}

fn folder(data: &Path) -> io::Result<PathBuf> {
    let folder = data.join("tmp");
    fs::create_dir_all(&folder)?;
    for entry in fs::read_dir(&folder)?.flatten() {
        let age = entry.metadata().and_then(|found| found.modified());
        let age = age.ok().and_then(|then| SystemTime::now().duration_since(then).ok());
        if age.is_some_and(|age| age > ABANDONED) {
            // What cannot be removed now is tried again by the next command.
            let _ = fs::remove_file(entry.path()).or_else(|_| fs::remove_dir_all(entry.path()));
        }
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_lie_in_the_data_folder_and_go() {
        let data = tempfile::tempdir().unwrap();
        let file = adapter(data.path()).unwrap();
        let inner = directory(data.path()).unwrap();
        assert!(file.path().starts_with(data.path()) && inner.path().starts_with(data.path()));
        let (file, inner) = (file.into_temp_path(), inner.keep());
        // Left by a command that was killed two days ago, beside one that runs.
        let old = data.path().join("tmp/old.safetensors");
        let then = SystemTime::now() - 2 * ABANDONED;
        fs::File::create(&old).unwrap().set_modified(then).unwrap();
        drop(adapter(data.path()).unwrap());
        assert!(!old.exists() && file.exists() && inner.exists());
        let path = file.to_path_buf();
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_data_folder_that_is_absent_stays_absent() {
        let around = tempfile::tempdir().unwrap();
        let data = around.path().join("data");
        assert!(directory(&data).unwrap().path().is_dir());
        assert!(!data.exists());
    }
}
