//! Adapter files in other programs' formats. Each is written once, into the folder `exports` of the data folder, and read
//! from there; the folder can be deleted at any time.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use adire_engine::{
    EngineError,
    adapter::{Adapter, ExportFormat, ModuleTable},
    write_whole,
};
use adire_protocol::AdapterVersion;
use adire_studio::{LocalFile, Studio, StudioError};
use serde::{Deserialize, Serialize};
use sha1::{Digest as _, Sha1};
use sha2::Sha256;
use tokio::sync::Mutex;

/// diffusers' name of an adapter's file.
pub(crate) const DIFFUSERS: &str = "pytorch_lora_weights.safetensors";

/// Changes when the same file is exported to other bytes.
const REVISION: u32 = 1;

/// What is known of an exported file, kept beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    pub(crate) sha256: String,
    pub(crate) bytes: u64,
}

/// Why a format has no file, kept in place of one.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    File(Known),
    Refused(String),
}

/// A file of an adapter version.
#[derive(Clone, Debug)]
pub(crate) struct Exported {
    /// As repositories have it.
    pub(crate) name: String,
    pub(crate) known: Known,
    pub(crate) path: LocalPath,
}

/// Where it lies: in the folder, or the file as it was added.
#[derive(Clone, Debug)]
pub(crate) enum LocalPath {
    Exported(PathBuf),
    Added(LocalFile),
}

impl AsRef<Path> for LocalPath {
    fn as_ref(&self) -> &Path {
        match self {
            Self::Exported(path) => path,
            Self::Added(file) => file,
        }
    }
}

/// Exports files, one at a time.
pub(crate) struct Exports {
    folder: PathBuf,
    /// The model's, for the names of its modules; SD 1.5's without one.
    model: Option<PathBuf>,
    turn: Mutex<()>,
}

impl Exports {
    /// Exports into this folder. `model`: the model's folder in Hugging Face layout.
    pub(crate) fn new(folder: PathBuf, model: Option<PathBuf>) -> Self {
        Self { folder, model, turn: Mutex::default() }
    }

    /// The files of a version (`name@vN`) as a repository has them: diffusers' and kohya's, or the file as it was added where
    /// it cannot be written as these.
    ///
    /// # Errors
    /// No such version; its file is not given out or lost; the folder cannot be written.
    pub(crate) async fn files(
        self: &Arc<Self>,
        studio: &Studio,
        id: &str,
    ) -> Result<Vec<Exported>, StudioError> {
        let (version, file) = studio.adapter_local(id).await?;
        self.export_all(version, file).await
    }

    /// The files of this version, whether it is given out or not.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub(crate) async fn export_all(
        self: &Arc<Self>,
        version: AdapterVersion,
        file: LocalFile,
    ) -> Result<Vec<Exported>, StudioError> {
        let _turn = self.turn.lock().await;
        let own = self.clone();
        let beside = format!("{}-v{}.safetensors", version.name, version.version);
        let work = move || {
            let added = Known { sha256: version.hash.clone(), bytes: version.bytes };
            let mut files = Vec::new();
            for (format, name) in
                [(ExportFormat::Diffusers, DIFFUSERS), (ExportFormat::Kohya, beside.as_str())]
            {
                match own.export(&file, &version.hash, format)? {
                    (path, Outcome::File(known)) => {
                        let path = LocalPath::Exported(path);
                        files.push(Exported { name: name.to_owned(), known, path });
                    }
                    (_, Outcome::Refused(_)) if format == ExportFormat::Kohya => {
                        let path = LocalPath::Added(file.clone());
                        files.push(Exported { name: name.to_owned(), known: added.clone(), path });
                    }
                    (_, Outcome::Refused(why)) => tracing::debug!(adapter = version.id(), why, "no export"),
                }
            }
            Ok(files)
        };
        let done = tokio::task::spawn_blocking(work).await;
        let done = done.unwrap_or_else(|error| Err(io::Error::other(error)));
        done.map_err(|error| StudioError::Storage(format!("The adapter could not be exported: {error}.")))
    }

    /// The file with this hash in a format: what was exported before, or a new export.
    fn export(&self, file: &Path, hash: &str, format: ExportFormat) -> io::Result<(PathBuf, Outcome)> {
        let word = if format == ExportFormat::Diffusers { "diffusers" } else { "kohya" };
        let path = self.folder.join(format!("{hash}-{word}-{REVISION}.safetensors"));
        let note = path.with_extension("json");
        if let Some(outcome) = fs::read(&note).ok().and_then(|text| serde_json::from_slice(&text).ok()) {
            let is_whole = match &outcome {
                Outcome::File(known) => fs::metadata(&path).is_ok_and(|found| found.len() == known.bytes),
                Outcome::Refused(_) => true,
            };
            if is_whole {
                return Ok((path, outcome));
            }
        }
        fs::create_dir_all(&self.folder)?;
        let table = match &self.model {
            Some(folder) if folder.is_dir() => ModuleTable::of_folder(folder),
            _ => ModuleTable::sd15(),
        };
        let table = table.map_err(io::Error::other)?;
        let made = Adapter::from_bytes(file, &fs::read(file)?).and_then(|read| read.export(format, &table));
        let outcome = match made.as_deref() {
            Ok([file]) => {
                write_whole(&path, |part| fs::write(part, &file.bytes))?;
                let sha256 = hex::encode(Sha256::digest(&file.bytes));
                Outcome::File(Known { sha256, bytes: file.bytes.len() as u64 })
            }
            Ok(_) => Outcome::Refused("it is several files".to_owned()),
            Err(error @ EngineError::Adapter { .. }) => Outcome::Refused(error.to_string()),
            // Too little memory, for example: another time it may be exported.
            Err(error) => return Err(io::Error::other(error.to_string())),
        };
        let text = serde_json::to_vec(&outcome).map_err(io::Error::other)?;
        write_whole(&note, |part| fs::write(part, &text))?;
        Ok((path, outcome))
    }
}

/// The commit of a version: changes with its name, number and files, so that a client's cache never goes stale.
pub(crate) fn commit(id: &str, files: &[Exported], card: &str) -> String {
    let mut hasher = Sha1::new_with_prefix(id);
    for file in files {
        hasher.update(format!("\n{} {}", file.name, file.known.sha256));
    }
    hasher.update(format!("\n{card}"));
    hex::encode(hasher.finalize())
}

/// git's name of a small file.
pub(crate) fn git_blob(bytes: &[u8]) -> String {
    let mut hasher = Sha1::new_with_prefix(format!("blob {}\0", bytes.len()));
    hasher.update(bytes);
    hex::encode(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_gits_and_a_commit_changes_with_what_it_holds() {
        // printf abc | git hash-object --stdin
        assert_eq!(git_blob(b"abc"), "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f");
        let file = |sha256: &str| Exported {
            name: DIFFUSERS.to_owned(),
            known: Known { sha256: sha256.to_owned(), bytes: 1 },
            path: LocalPath::Exported(PathBuf::new()),
        };
        let one = commit("a@v1", &[file("aa")], "card");
        assert_eq!(one.len(), 40);
        assert_eq!(one, commit("a@v1", &[file("aa")], "card"));
        for other in [
            commit("a@v2", &[file("aa")], "card"),
            commit("a@v1", &[file("ab")], "card"),
            commit("a@v1", &[file("aa")], "card 2"),
        ] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.safetensors");
        let exports = Exports::new(folder.path().join("exports"), None);
        let failed = exports.export(&file, "aa", ExportFormat::Diffusers).unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::NotFound);
        fs::write(&file, "no adapter").unwrap();
        let (_, outcome) = exports.export(&file, "aa", ExportFormat::Diffusers).unwrap();
        assert!(matches!(&outcome, Outcome::Refused(why) if !why.contains("os error")), "{outcome:?}");
    }

    #[test]
    fn what_cannot_be_exported_is_refused_once_and_for_all() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.safetensors");
        fs::write(&file, "no adapter").unwrap();
        let exports = Exports::new(folder.path().join("exports"), None);
        for _ in 0..2 {
            let (path, outcome) = exports.export(&file, "aa", ExportFormat::Diffusers).unwrap();
            assert!(matches!(outcome, Outcome::Refused(_)) && !path.exists());
            // The second time the file is not read.
            fs::write(&file, "").unwrap();
        }
    }
}
