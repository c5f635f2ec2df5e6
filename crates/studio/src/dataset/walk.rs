//! Lists the files of a folder, recursively. Links are followed only within what the caller may reach.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    time::Instant,
};

use super::{ImportWarning, files::Files, names::join};
use crate::{StudioError, folder::reason};

/// Folders below the folder that are looked into, one inside the other.
const DEPTH: usize = 8;
/// Most files and folders that are looked at.
const MAX_ENTRIES: usize = 200_000;

/// How far a reading may go.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reach {
    /// Links are followed within the folder only; in the Hub's cache, to the repository's own blobs as well.
    pub(crate) inside: bool,
    /// When it has taken too long.
    pub(crate) until: Option<Instant>,
}

impl Reach {
    /// # Errors
    /// It has taken too long.
    pub(super) fn check(self) -> Result<(), StudioError> {
        if self.until.is_some_and(|until| Instant::now() >= until) {
            return Err(Self::over());
        }
        Ok(())
    }

    /// The error after a timeout.
    pub(crate) fn over() -> StudioError {
        let message = "Reading took too long and was stopped; nothing was imported. Import fewer images at once, or use a faster disk.";
        StudioError::Image(message.to_owned())
    }
}

/// Every regular file, by its path below the folder; anything else is reported.
///
/// # Errors
/// The path is not a folder or cannot be read, has too many files, or takes too long.
pub(super) fn files_in(
    folder: &Path,
    reach: Reach,
    warnings: &mut Vec<ImportWarning>,
) -> Result<Files, StudioError> {
    let shown = folder.display();
    let root = folder.canonicalize().map_err(|error| unreadable(folder, &error))?;
    if !root.is_dir() {
        return Err(StudioError::Image(format!("{shown} is not a folder of images.")));
    }
    let mut bases = vec![root.clone()];
    bases.extend(blobs_of_hub(&root));
    let mut walk = Walk {
        reach,
        bases,
        been: HashMap::new(),
        entries: 0,
        hidden: Vec::new(),
        files: Files::new(),
        warnings,
    };
    walk.been.insert(root.clone(), String::new());
    walk.folder(&root, "", DEPTH).map_err(|stop| match stop {
        Stop::Io(error) => unreadable(folder, &error),
        Stop::Said(error) => error,
    })?;
    let (files, hidden) = (walk.files, walk.hidden);
    tell_hidden(hidden, warnings);
    Ok(files)
}

fn unreadable(folder: &Path, error: &io::Error) -> StudioError {
    StudioError::Image(format!("{} cannot be read: {}.", folder.display(), reason(error)))
}

/// Where the files of a snapshot in the Hub's cache really lie: `datasets--OWNER--NAME/{snapshots/COMMIT,blobs}`.
fn blobs_of_hub(root: &Path) -> Option<PathBuf> {
    let snapshots = root.ancestors().find(|path| path.file_name().is_some_and(|name| name == "snapshots"))?;
    let repository = snapshots.parent()?;
    let name = repository.file_name()?.to_str()?;
    let is_cached = ["datasets--", "models--"].iter().any(|kind| name.starts_with(kind));
    is_cached.then(|| repository.join("blobs"))
}

/// Why the walk ended early.
enum Stop {
    Io(io::Error),
    Said(StudioError),
}

impl From<StudioError> for Stop {
    fn from(error: StudioError) -> Self {
        Self::Said(error)
    }
}

struct Walk<'a> {
    reach: Reach,
    bases: Vec<PathBuf>,
    /// Folders that were looked into, by where they really lie, with the names that they have here.
    been: HashMap<PathBuf, String>,
    entries: usize,
    hidden: Vec<String>,
    files: Files,
    warnings: &'a mut Vec<ImportWarning>,
}

impl Walk<'_> {
    fn folder(&mut self, folder: &Path, shown: &str, depth: usize) -> Result<(), Stop> {
        let mut entries: Vec<_> =
            fs::read_dir(folder).map_err(Stop::Io)?.collect::<Result<_, _>>().map_err(Stop::Io)?;
        // So that warnings do not depend on the file system's order.
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            self.reach.check()?;
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                let message = format!("The folder has more than {MAX_ENTRIES} files; import a smaller one.");
                return Err(StudioError::Image(message).into());
            }
            let name = join(shown, &entry.file_name().to_string_lossy());
            if is_hidden(&entry.file_name().to_string_lossy()) {
                self.hidden.push(name);
                continue;
            }
            if let Err(why) = self.entry(&entry.path(), &name, depth)? {
                self.warnings.push(ImportWarning { name, message: format!("Skipped: {why}.") });
            }
        }
        Ok(())
    }

    /// One file, folder or link; the inner error is why it was left out.
    fn entry(&mut self, path: &Path, name: &str, depth: usize) -> Result<Result<(), String>, Stop> {
        let place = match path.canonicalize() {
            Ok(place) => place,
            Err(error) if path.is_symlink() => {
                return Ok(Err(format!("the link is broken ({})", reason(&error))));
            }
            Err(error) => return Ok(Err(format!("it cannot be read ({})", reason(&error)))),
        };
        if self.reach.inside && !self.bases.iter().any(|base| place.starts_with(base)) {
            return Ok(Err("the link points outside the folder".to_owned()));
        }
        let metadata = match place.metadata() {
            Ok(metadata) => metadata,
            Err(error) => return Ok(Err(format!("it cannot be read ({})", reason(&error)))),
        };
        if metadata.is_file() {
            // Two names that are no Unicode may look alike.
            let mut unique = name.to_owned();
            while self.files.contains_key(&unique) {
                unique = format!("_{unique}");
            }
            self.files.insert(unique, place);
            return Ok(Ok(()));
        }
        if !metadata.is_dir() {
            return Ok(Err("it is not a regular file but a pipe, a socket or a device".to_owned()));
        }
        if depth == 0 {
            return Ok(Err("it is nested too deeply".to_owned()));
        }
        if let Some(before) = self.been.get(&place) {
            let before = if before.is_empty() { "the whole folder" } else { before };
            return Ok(Err(format!("it is a duplicate of {before}")));
        }
        self.been.insert(place.clone(), name.to_owned());
        match self.folder(&place, name, depth - 1) {
            Err(Stop::Io(error)) => Ok(Err(format!("it cannot be read ({})", reason(&error)))),
            other => other.map(Ok),
        }
    }
}

/// What lies in folders without anybody wanting it.
pub(super) fn is_hidden(file_name: &str) -> bool {
    file_name.starts_with('.')
        || ["__macosx", "thumbs.db", "desktop.ini", "@eadir"].contains(&file_name.to_lowercase().as_str())
}

/// Says in one warning what was hidden.
pub(super) fn tell_hidden(hidden: Vec<String>, warnings: &mut Vec<ImportWarning>) {
    let more = hidden.len().saturating_sub(1);
    let Some(name) = hidden.into_iter().next() else { return };
    let message = match more {
        0 => "Skipped: hidden file.".to_owned(),
        1 => "Skipped, as is another hidden file or folder.".to_owned(),
        more => format!("Skipped, as are {more} other hidden files or folders."),
    };
    warnings.push(ImportWarning { name, message });
}

#[cfg(all(test, unix))]
mod tests {
    use std::{os::unix::fs::symlink, time::Duration};

    use super::*;

    fn warning_of(warnings: &[ImportWarning], name: &str) -> String {
        let found = warnings.iter().find(|warning| warning.name == name);
        found.unwrap_or_else(|| panic!("nothing about {name}: {warnings:?}")).message.clone()
    }

    #[test]
    fn links_pipes_devices_and_loops() {
        let around = tempfile::tempdir().unwrap();
        let folder = around.path().join("set");
        let at = |name: &str| folder.join(name);
        fs::create_dir_all(at("inner/deep")).unwrap();
        fs::create_dir_all(around.path().join("foreign")).unwrap();
        fs::write(around.path().join("foreign/secret.txt"), "secret").unwrap();
        fs::write(at("a.png"), "a").unwrap();
        fs::write(at(".DS_Store"), "").unwrap();
        fs::write(at("inner/.hidden"), "").unwrap();
        symlink(around.path().join("foreign/secret.txt"), at("a.txt")).unwrap();
        symlink(around.path().join("foreign"), at("folder")).unwrap();
        symlink("/dev/zero", at("zero.png")).unwrap();
        symlink("nowhere", at("broken.png")).unwrap();
        symlink("loop.png", at("loop.png")).unwrap();
        symlink("../..", at("inner/deep/up")).unwrap();
        symlink("a.png", at("again.png")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket.png")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(at("pipe.png")).status().unwrap().success());

        let mut warnings = Vec::new();
        let inside = Reach { inside: true, until: None };
        let files = files_in(&folder, inside, &mut warnings).unwrap();
        assert_eq!(files.keys().collect::<Vec<_>>(), ["a.png", "again.png"]);
        for name in ["a.txt", "folder", "zero.png"] {
            assert_eq!(warning_of(&warnings, name), "Skipped: the link points outside the folder.");
        }
        for name in ["socket.png", "pipe.png"] {
            assert!(warning_of(&warnings, name).contains("not a regular file"));
        }
        for name in ["broken.png", "loop.png"] {
            assert!(warning_of(&warnings, name).contains("link is broken"));
        }
        assert_eq!(warning_of(&warnings, "inner/deep/up"), "Skipped: it is a duplicate of the whole folder.");
        assert!(warning_of(&warnings, ".DS_Store").contains("another hidden"));
        assert!(!warnings.iter().any(|warning| warning.name.contains("secret")), "{warnings:?}");

        // Whoever sits at the machine may follow links wherever they lead.
        let mut warnings = Vec::new();
        let files = files_in(&folder, Reach::default(), &mut warnings).unwrap();
        assert_eq!(files.keys().collect::<Vec<_>>(), ["a.png", "a.txt", "again.png", "folder/secret.txt"]);
        assert!(warning_of(&warnings, "zero.png").contains("not a regular file"));

        let late = Reach { inside: true, until: Some(Instant::now() - Duration::from_secs(1)) };
        let error = files_in(&folder, late, &mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains("took too long"), "{error}");
    }

    #[test]
    fn the_hubs_cache_is_read_by_its_own_path() {
        let cache = tempfile::tempdir().unwrap();
        let repository = cache.path().join("datasets--me--cloth");
        let snapshot = repository.join("snapshots/abc/train");
        fs::create_dir_all(&snapshot).unwrap();
        fs::create_dir_all(repository.join("blobs")).unwrap();
        fs::write(repository.join("blobs/123"), "a").unwrap();
        fs::write(cache.path().join("token"), "hf_secret").unwrap();
        symlink("../../../blobs/123", snapshot.join("a.png")).unwrap();
        symlink("../../../../token", snapshot.join("a.txt")).unwrap();
        let mut warnings = Vec::new();
        let inside = Reach { inside: true, until: None };
        for (folder, name) in [(repository.join("snapshots/abc"), "train/a.png"), (snapshot, "a.png")] {
            let files = files_in(&folder, inside, &mut warnings).unwrap();
            assert_eq!(files.keys().collect::<Vec<_>>(), [name]);
        }
        assert!(warning_of(&warnings, "a.txt").contains("points outside the folder"));
    }
}
