//! Datasets in a data folder: made, filled, edited as long as no training has used them, and named by their content
//! from then on.

use std::{
    collections::HashMap,
    fs::{self, File},
    path::{Path, PathBuf},
};

use adire_protocol::{
    DatasetChange, DatasetPictureRecord, DatasetRecord, DatasetSummary, LONGEST_CAPTION, NewDataset,
};
use futures::{Stream, StreamExt};
use tokio::{io::AsyncWriteExt, sync::Mutex};
use uuid::Uuid;

use super::{
    Files, Remark, archive,
    captions::Captions,
    content_hash,
    read::{Found, files_in, look, nothing_usable},
    text_of,
};
use crate::{
    StudioError,
    blobs::Blobs,
    folder::reason,
    shared::{blocking, now},
    store::{DatasetRow, PictureRow, Store},
};

/// Most bytes of one file that is brought; archives are that large, pictures must be smaller.
const LARGEST_FILE: u64 = 4 << 30;
/// Remarks that are kept; the newest ones.
const MOST_REMARKS: usize = 200;

/// A file on its way into a dataset: on the disk, without a name of its own. Deleted when dropped.
#[derive(Debug)]
pub struct Incoming {
    name: String,
    path: PathBuf,
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // Nobody needs it any more; what was kept of it is a blob.
        let _ = fs::remove_file(&self.path);
    }
}

impl Incoming {
    pub(super) fn create(blobs: &Blobs, name: &str) -> Result<(Self, File), StudioError> {
        let this = Self { name: archive::clean(name), path: blobs.incoming() };
        let file = File::create_new(&this.path).map_err(|error| this.failed(&error))?;
        Ok((this, file))
    }

    /// As it is called, with the folders it lay in.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn failed(&self, error: &std::io::Error) -> StudioError {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        if matches!(error.kind(), StorageFull | QuotaExceeded) {
            return StudioError::DiskFull;
        }
        StudioError::Storage(format!("{} could not be kept: {}.", self.name, reason(error)))
    }

    fn is_archive(&self) -> bool {
        let lower = self.name.to_lowercase();
        lower.ends_with(".zip")
    }
}

/// The datasets of a data folder.
#[derive(Debug)]
pub(crate) struct Library {
    pub(super) data: PathBuf,
    pub(super) store: Store,
    pub(super) blobs: Blobs,
    /// Held while datasets are changed, so that two changes do not meet.
    pub(super) turn: Mutex<()>,
}

impl Library {
    pub(crate) fn new(data: PathBuf, store: Store, blobs: Blobs) -> Self {
        Self { data, store, blobs, turn: Mutex::default() }
    }

    /// Every dataset, the newest first.
    pub(crate) async fn list(&self) -> Result<Vec<DatasetSummary>, StudioError> {
        self.store.datasets().await
    }

    pub(crate) async fn create(&self, new: NewDataset) -> Result<DatasetRecord, StudioError> {
        let new = new.validate()?;
        let row = DatasetRow::new(Uuid::now_v7().to_string(), new, now());
        self.store.insert_dataset(&row).await?;
        self.read(&row.id).await
    }

    pub(crate) async fn read(&self, id: &str) -> Result<DatasetRecord, StudioError> {
        let row = self.row(id).await?;
        let pictures = self.pictures(id).await?;
        let record = |picture: PictureRow| DatasetPictureRecord {
            text: text_of(&picture.caption, &row.caption, &row.trigger_word),
            repeats: picture.repeats(),
            width: picture.width(),
            height: picture.height(),
            hash: picture.hash,
            name: picture.name,
            caption: picture.caption,
        };
        Ok(DatasetRecord {
            pictures: pictures.into_iter().map(record).collect(),
            remarks: row.remarks()?,
            id: row.id,
            name: row.name,
            trigger: row.trigger_word,
            caption: row.caption,
            frozen: row.hash,
            created_at: row.created_at,
        })
    }

    /// In the order in which trainings see them.
    pub(crate) async fn pictures(&self, id: &str) -> Result<Vec<PictureRow>, StudioError> {
        let mut pictures = self.store.dataset_pictures(id).await?;
        // Here and not in the database, whose order may follow a language.
        pictures.sort_by(|a, b| (&a.name, &a.hash).cmp(&(&b.name, &b.hash)));
        Ok(pictures)
    }

    pub(crate) async fn row(&self, id: &str) -> Result<DatasetRow, StudioError> {
        let missing = || StudioError::NotFound { what: "dataset", id: id.chars().take(80).collect() };
        self.store.dataset(id).await?.ok_or_else(missing)
    }

    pub(super) async fn draft(&self, id: &str) -> Result<DatasetRow, StudioError> {
        let row = self.row(id).await?;
        if row.hash.is_some() { Err(StudioError::Frozen { name: row.name }) } else { Ok(row) }
    }

    /// Takes a file's bytes in as they come.
    pub(crate) async fn receive<B: AsRef<[u8]>, E: std::fmt::Display>(
        &self,
        name: &str,
        chunks: impl Stream<Item = Result<B, E>>,
    ) -> Result<Incoming, StudioError> {
        let (blobs, owned) = (self.blobs.clone(), name.to_owned());
        let (incoming, file) = blocking(move || Incoming::create(&blobs, &owned)).await?;
        let mut file = tokio::fs::File::from_std(file);
        let mut bytes = 0u64;
        let mut chunks = std::pin::pin!(chunks);
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| {
                StudioError::Picture(format!("{} did not arrive whole: {error}.", incoming.name))
            })?;
            bytes += chunk.as_ref().len() as u64;
            if bytes > LARGEST_FILE {
                return Err(StudioError::Picture(format!(
                    "{} has more than {LARGEST_FILE} bytes; divide it.",
                    incoming.name
                )));
            }
            file.write_all(chunk.as_ref()).await.map_err(|error| incoming.failed(&error))?;
        }
        file.flush().await.map_err(|error| incoming.failed(&error))?;
        Ok(incoming)
    }

    /// Adds what was brought: pictures, captions beside them, archives of both.
    pub(crate) async fn add(&self, id: &str, brought: Vec<Incoming>) -> Result<DatasetRecord, StudioError> {
        let _turn = self.turn.lock().await;
        let row = self.draft(id).await?;
        let blobs = self.blobs.clone();
        let (files, remarks, kept) = blocking(move || {
            let (mut files, mut remarks, mut kept) = (Files::new(), Vec::new(), Vec::new());
            for incoming in brought {
                if incoming.is_archive() {
                    let unpacked = (files.clone(), kept.len());
                    let (path, name) = (incoming.path.clone(), incoming.name.clone());
                    let expanded = archive::expand(&path, &name, &blobs, &mut files, &mut kept, &mut remarks);
                    match expanded {
                        Ok(()) => {}
                        Err(StudioError::Picture(message)) => {
                            (files, _) = unpacked;
                            kept.truncate(unpacked.1);
                            remarks.push(Remark { name, message });
                        }
                        Err(other) => return Err(other),
                    }
                } else {
                    files.insert(incoming.name.clone(), incoming.path.clone());
                }
                kept.push(incoming);
            }
            Ok((files, remarks, kept))
        })
        .await?;
        let record = self.take(row, files, remarks).await;
        drop(kept);
        record
    }

    /// Adds the pictures of a folder of this machine.
    pub(crate) async fn import(&self, id: &str, folder: &Path) -> Result<DatasetRecord, StudioError> {
        let _turn = self.turn.lock().await;
        let row = self.draft(id).await?;
        let (folder, shown) = (folder.to_owned(), folder.display().to_string());
        let (files, remarks) = blocking(move || {
            let mut remarks = Vec::new();
            let files = files_in(&folder, &mut remarks)?;
            Ok((files, remarks))
        })
        .await?;
        let before = self.store.dataset_pictures(id).await?.len();
        let seen = remarks.clone();
        let record = self.take(row, files, remarks).await?;
        if record.pictures.len() == before && before == 0 {
            let remarks = if record.remarks.is_empty() { seen } else { record.remarks };
            return Err(StudioError::Picture(nothing_usable(&shown, &remarks)));
        }
        Ok(record)
    }

    /// Keeps the pictures among `files`, and what is to be said of the rest.
    async fn take(
        &self,
        row: DatasetRow,
        files: Files,
        mut remarks: Vec<Remark>,
    ) -> Result<DatasetRecord, StudioError> {
        let present = self.store.dataset_pictures(&row.id).await?;
        let (blobs, id, shown) = (self.blobs.clone(), row.id.clone(), row.name.clone());
        let (new, changed, remarks) = blocking(move || {
            let mut seen: HashMap<String, String> =
                present.iter().map(|picture| (picture.pixels.clone(), picture.name.clone())).collect();
            let found = look(&files, &shown, &mut seen, &mut remarks)?;
            // Captions may come after their pictures.
            let mut captions = Captions::new(&files);
            let late = present.into_iter().filter(|picture| !files.contains_key(&picture.name));
            let changed: Vec<(String, String)> = late
                .filter_map(|picture| Some((picture.hash, captions.own(&picture.name, &mut remarks)?)))
                .collect();
            let keep = |found: Found| {
                let file = File::open(&found.path).map_err(|error| {
                    StudioError::Picture(format!("{} cannot be read: {}.", found.name, reason(&error)))
                })?;
                Ok(PictureRow {
                    hash: blobs.keep(blobs.stage(file)?)?,
                    pixels: found.pixels,
                    name: found.name,
                    caption: found.caption,
                    repeats: found.repeats.into(),
                    width: found.width.into(),
                    height: found.height.into(),
                })
            };
            let new = found.into_iter().map(keep).collect::<Result<Vec<_>, StudioError>>()?;
            Ok((new, changed, remarks))
        })
        .await?;
        let mut all = row.remarks()?;
        all.extend(remarks);
        all.drain(..all.len().saturating_sub(MOST_REMARKS));
        self.store.add_pictures(&id, &new, &changed, &all).await?;
        self.read(&row.id).await
    }

    /// Changes texts.
    pub(crate) async fn change(&self, id: &str, change: DatasetChange) -> Result<DatasetRecord, StudioError> {
        change.validate()?;
        let _turn = self.turn.lock().await;
        let row = if matches!(change, DatasetChange::ClearRemarks) {
            self.row(id).await?
        } else {
            self.draft(id).await?
        };
        let missing = |hash: &str| StudioError::NotFound {
            what: "picture of this dataset",
            id: hash.chars().take(80).collect(),
        };
        match change {
            DatasetChange::Describe(new) => {
                let new = new.validate()?;
                self.store.describe_dataset(id, &new).await?;
            }
            DatasetChange::Caption { picture, caption } => {
                let caption = one_line(&caption);
                if !self.store.set_captions(id, &[(picture.clone(), caption)]).await? {
                    return Err(missing(&picture));
                }
            }
            DatasetChange::Repeats { picture, repeats } => {
                if !self.store.set_repeats(id, &picture, repeats).await? {
                    return Err(missing(&picture));
                }
            }
            DatasetChange::Prefix { prefix } => {
                self.rewrite(row, |words| (!words.is_empty()).then(|| format!("{prefix}{words}"))).await?;
            }
            DatasetChange::Replace { find, with } => {
                self.rewrite(row, |words| words.contains(&find).then(|| words.replace(&find, &with))).await?;
            }
            DatasetChange::ClearRemarks => self.store.set_remarks(id, &[]).await?,
        }
        self.read(id).await
    }

    /// Changes every caption for which `f` has another one: pictures' own, and the dataset's.
    async fn rewrite(&self, row: DatasetRow, f: impl Fn(&str) -> Option<String>) -> Result<(), StudioError> {
        let mut changed = Vec::new();
        for picture in self.store.dataset_pictures(&row.id).await? {
            if let Some(caption) = f(&picture.caption) {
                changed.push((picture.hash, short(one_line(&caption))?));
            }
        }
        let for_all = f(&row.caption).map(|caption| short(one_line(&caption))).transpose()?;
        self.store.set_captions(&row.id, &changed).await?;
        if let Some(caption) = for_all {
            let new = NewDataset { name: row.name, trigger: row.trigger_word, caption };
            self.store.describe_dataset(&row.id, &new).await?;
        }
        Ok(())
    }

    /// A draft with the same content.
    pub(crate) async fn copy(&self, id: &str, name: Option<String>) -> Result<DatasetRecord, StudioError> {
        let _turn = self.turn.lock().await;
        let row = self.row(id).await?;
        let new = NewDataset {
            name: name.unwrap_or_else(|| row.name.clone()),
            trigger: row.trigger_word,
            caption: row.caption,
        };
        let copy = DatasetRow::new(Uuid::now_v7().to_string(), new.validate()?, now());
        self.store.insert_dataset(&copy).await?;
        let pictures = self.store.dataset_pictures(id).await?;
        self.store.add_pictures(&copy.id, &pictures, &[], &[]).await?;
        self.read(&copy.id).await
    }

    /// Makes the dataset one that never changes and gives the hash of its content.
    ///
    /// # Errors
    /// It has no pictures.
    pub(crate) async fn freeze(&self, id: &str) -> Result<String, StudioError> {
        let _turn = self.turn.lock().await;
        let row = self.row(id).await?;
        if let Some(hash) = row.hash {
            return Ok(hash);
        }
        let pictures = self.pictures(id).await?;
        if pictures.is_empty() {
            return Err(StudioError::Picture(format!(
                "The dataset {} has no picture to train on; add at least one.",
                row.name
            )));
        }
        let texts: Vec<String> =
            pictures.iter().map(|p| text_of(&p.caption, &row.caption, &row.trigger_word)).collect();
        let contents =
            pictures.iter().zip(&texts).map(|(p, text)| (p.pixels.as_str(), p.repeats(), text.as_str()));
        let hash = content_hash(contents);
        self.store.freeze_dataset(id, &hash).await?;
        Ok(hash)
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn short(caption: String) -> Result<String, StudioError> {
    if caption.len() <= 4 * LONGEST_CAPTION {
        return Ok(caption);
    }
    Err(StudioError::Picture(
        "A caption would become longer than any text encoder reads; nothing was changed.".to_owned(),
    ))
}
