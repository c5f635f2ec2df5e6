//! Datasets in a data folder: made, filled, edited as long as no training has used them, and named by their content
//! from then on.

use std::path::{Path, PathBuf};

use adire_protocol::{
    DatasetChange, DatasetImageRecord, DatasetRecord, DatasetSummary, MAX_CAPTION_BYTES,
    MAX_DATASET_NAME_CHARS, NewDataset,
};
use futures::Stream;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::{
    ImportWarning, archive,
    content::{content_hash, text_of},
    files::{Files, MAX_IMAGES, insert},
    layout,
    names::of_folder,
    read::{nothing_usable, scan_images},
    text::{beginning, one_line},
    uploaded_file::UploadedFile,
    walk::{Reach, files_in, is_hidden, tell_hidden},
};
use crate::{
    StudioError,
    blobs::{Blobs, SizeLimit},
    store::{DatasetImageRow, DatasetRow, Store},
    tasks::blocking,
    time::now,
};

/// Maximum size of one uploaded file. For archives; images have a lower limit.
const LIMIT: SizeLimit =
    SizeLimit { bytes: 4 << 30, of: "a file of a dataset", advice: "Split it and try again." };
/// Warnings that are kept; the newest ones, and how many there were before them.
const MAX_WARNINGS: usize = 1000;
/// What the dataset of a kohya project's class images is called, after the dataset's own name.
const CLASS_IMAGES: &str = ", class images";

/// The datasets of a data folder.
#[derive(Debug)]
pub(crate) struct DatasetStore {
    pub(super) data: PathBuf,
    pub(super) store: Store,
    pub(super) blobs: Blobs,
    /// Held while datasets are changed, so that two changes do not meet. Not while files are read.
    pub(crate) turn: Mutex<()>,
}

impl DatasetStore {
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
        let images = self.images(id).await?;
        let record = |image: DatasetImageRow| DatasetImageRecord {
            text: text_of(&image.caption, &row.caption, &row.trigger_word),
            repeats: image.repeats(),
            width: image.width(),
            height: image.height(),
            hash: image.hash,
            name: image.name,
            caption: image.caption,
        };
        Ok(DatasetRecord {
            images: images.into_iter().map(record).collect(),
            warnings: row.warnings()?,
            class_dataset: row.class_dataset,
            id: row.id,
            name: row.name,
            trigger: row.trigger_word,
            caption: row.caption,
            frozen: row.hash,
            created_at: row.created_at,
        })
    }

    /// In the order in which trainings see them.
    pub(crate) async fn images(&self, id: &str) -> Result<Vec<DatasetImageRow>, StudioError> {
        let mut images = self.store.dataset_images(id).await?;
        // Here and not in the database, whose order may follow a language.
        images.sort_by(|a, b| (&a.name, &a.hash).cmp(&(&b.name, &b.hash)));
        Ok(images)
    }

    pub(crate) async fn row(&self, id: &str) -> Result<DatasetRow, StudioError> {
        let missing = || StudioError::not_found("dataset", id);
        self.store.dataset(id).await?.ok_or_else(missing)
    }

    pub(super) async fn draft(&self, id: &str) -> Result<DatasetRow, StudioError> {
        let row = self.row(id).await?;
        if row.hash.is_some() { Err(StudioError::Frozen { name: row.name }) } else { Ok(row) }
    }

    /// Receives a file as its bytes come.
    pub(crate) async fn receive<B: AsRef<[u8]>, E: std::fmt::Display>(
        &self,
        name: &str,
        chunks: impl Stream<Item = Result<B, E>>,
    ) -> Result<UploadedFile, StudioError> {
        UploadedFile::receive(&self.blobs, name, chunks, LIMIT).await
    }

    /// Adds uploaded images, captions and archives of both.
    pub(crate) async fn add(
        &self,
        id: &str,
        uploaded: Vec<UploadedFile>,
    ) -> Result<DatasetRecord, StudioError> {
        let row = self.draft(id).await?;
        let blobs = self.blobs.clone();
        let (files, warnings, kept) = blocking(move || {
            let (mut files, mut warnings, mut kept) = (Files::new(), Vec::new(), Vec::new());
            let mut hidden = Vec::new();
            for incoming in uploaded {
                if incoming.is_archive() {
                    let unpacked = (files.clone(), kept.len());
                    let (path, name) = (incoming.path().to_owned(), incoming.name().to_owned());
                    let expanded =
                        archive::expand(&path, &name, &blobs, &mut files, &mut kept, &mut warnings);
                    match expanded {
                        Ok(()) => {}
                        Err(StudioError::Image(message)) => {
                            (files, _) = unpacked;
                            kept.truncate(unpacked.1);
                            warnings.push(ImportWarning { name, message });
                        }
                        Err(other) => return Err(other),
                    }
                } else if incoming.name().split('/').any(is_hidden) {
                    hidden.push(incoming.name().to_owned());
                } else {
                    insert(&mut files, incoming.name().to_owned(), incoming.path(), &mut warnings);
                }
                kept.push(incoming);
            }
            tell_hidden(hidden, &mut warnings);
            Ok((files, warnings, kept))
        })
        .await?;
        let record = self.take(row, files, Reach::default(), warnings).await;
        drop(kept);
        record
    }

    /// Adds the images of a folder of this machine.
    pub(crate) async fn import(
        &self,
        id: &str,
        folder: &Path,
        reach: Reach,
    ) -> Result<DatasetRecord, StudioError> {
        let row = self.draft(id).await?;
        let (folder, shown) = (folder.to_owned(), folder.display().to_string());
        let before = self.store.dataset_images(id).await?.len();
        let (files, warnings) = blocking(move || {
            let mut warnings = Vec::new();
            let files = files_in(&folder, reach, &mut warnings)?;
            Ok((files, warnings))
        })
        .await?;
        let record = self.take(row, files, reach, warnings).await?;
        if record.images.len() == before && before == 0 {
            return Err(StudioError::Image(nothing_usable(&shown, &record.warnings)));
        }
        Ok(record)
    }

    /// Stores the images among `files` and reports on the rest. Class images of a kohya project become a
    /// dataset of their own.
    async fn take(
        &self,
        row: DatasetRow,
        mut files: Files,
        reach: Reach,
        mut warnings: Vec<ImportWarning>,
    ) -> Result<DatasetRecord, StudioError> {
        let present = self.names(&row.id).await?;
        let classes = layout::sort(&mut files, &present, &mut warnings);
        if !classes.is_empty() {
            self.take_classes(&row, classes, reach, &mut warnings).await?;
        }
        self.take_images(&row, files, present, reach, warnings).await?;
        self.read(&row.id).await
    }

    async fn names(&self, id: &str) -> Result<Vec<String>, StudioError> {
        Ok(self.store.dataset_images(id).await?.into_iter().map(|image| image.name).collect())
    }

    /// Keeps class images in the dataset that belongs to `row`, which is made where it is absent.
    async fn take_classes(
        &self,
        row: &DatasetRow,
        files: Files,
        reach: Reach,
        warnings: &mut Vec<ImportWarning>,
    ) -> Result<(), StudioError> {
        let known = match &row.class_dataset {
            Some(id) => self.store.dataset(id).await?.filter(|class| class.hash.is_none()),
            None => None,
        };
        let class = match known {
            Some(class) => class,
            None => {
                let words = files.keys().filter_map(|name| name.rsplit('/').nth(1).and_then(of_folder));
                let caption = words.map(|(_, words)| words).next().unwrap_or_default();
                let name: String =
                    row.name.chars().take(MAX_DATASET_NAME_CHARS - CLASS_IMAGES.len()).collect();
                let new = NewDataset { name: name + CLASS_IMAGES, trigger: String::new(), caption };
                let class = DatasetRow::new(Uuid::now_v7().to_string(), new.validate()?, now());
                self.store.insert_dataset(&class).await?;
                class
            }
        };
        let first = files.keys().next().cloned().unwrap_or_default();
        let before = self.names(&class.id).await?;
        let had = before.len();
        let taken = self.take_images(&class, files, before, reach, Vec::new()).await;
        let count = self.store.dataset_images(&class.id).await?.len();
        if count == 0 {
            let class_warnings = self.row(&class.id).await?.warnings()?;
            self.store.drop_dataset(&class.id).await?;
            warnings.extend(class_warnings);
            return taken;
        }
        taken?;
        self.store.set_class_dataset(&row.id, &class.id).await?;
        if count > had {
            let folder = first.rsplit_once('/').map_or(first.as_str(), |(folder, _)| folder);
            warnings.push(ImportWarning {
                name: folder.to_owned(),
                message: format!(
                    "Class images of a kohya project: {} of them were added to the dataset “{}”, which the training form offers as class images.",
                    count - had,
                    class.name
                ),
            });
        }
        Ok(())
    }

    /// Reads first, and holds the turn only while what was found is written: files may be slow to come.
    async fn take_images(
        &self,
        row: &DatasetRow,
        files: Files,
        present: Vec<String>,
        reach: Reach,
        mut warnings: Vec<ImportWarning>,
    ) -> Result<(), StudioError> {
        let (blobs, shown) = (self.blobs.clone(), row.name.clone());
        let (captions, found, files, mut warnings) = blocking(move || {
            let mut keep = |bytes: &[u8]| blobs.stage(bytes).map(Some);
            let (captions, found) = scan_images(&files, &shown, &present, reach, &mut keep, &mut warnings)?;
            Ok((captions, found, files, warnings))
        })
        .await?;
        let _turn = self.turn.lock().await;
        // A training may have begun meanwhile, and others may have uploaded the same files.
        let row = self.draft(&row.id).await?;
        let present = self.store.dataset_images(&row.id).await?;
        let mut changed = Vec::new();
        let mut recaption = |image: &DatasetImageRow, caption: &str, warnings: &mut Vec<ImportWarning>| {
            if image.caption == caption {
                return;
            }
            if !image.caption.is_empty() {
                let before = beginning(&image.caption, 200);
                let message = format!("Caption replaced; it was “{before}”.");
                warnings.push(ImportWarning { name: image.name.clone(), message });
            }
            changed.push((image.hash.clone(), caption.to_owned()));
        };
        // Captions may come after their images.
        for image in present.iter().filter(|image| !files.contains_key(&image.name)) {
            if let Some(caption) = captions.own(&image.name) {
                recaption(image, caption, &mut warnings);
            }
        }
        let (mut new, mut staged) = (Vec::new(), Vec::new());
        for found in found {
            if let Some(same) = present.iter().find(|image| image.pixels == found.pixels) {
                if found.own {
                    recaption(same, &found.caption, &mut warnings);
                }
                let message = format!("Skipped: same pixels as {}.", same.name);
                warnings.push(ImportWarning { name: found.name, message });
                continue;
            }
            if present.iter().any(|image| image.name == found.name) {
                let message = "Another image with this name already exists; both are kept.".to_owned();
                warnings.push(ImportWarning { name: found.name.clone(), message });
            }
            let Some(kept) = found.kept else { continue };
            new.push(DatasetImageRow {
                hash: kept.hash.clone(),
                pixels: found.pixels,
                name: found.name,
                caption: found.caption,
                repeats: found.repeats.into(),
                width: found.width.into(),
                height: found.height.into(),
            });
            staged.push(kept);
        }
        if present.len() + new.len() > MAX_IMAGES {
            let count = present.len() + new.len();
            let message = format!("{} would have {count} images; the limit is {MAX_IMAGES}.", row.name);
            return Err(StudioError::Image(message));
        }
        let _keeping = self.blobs.keeping().await;
        self.blobs.keep_all(staged).await?;
        let all = bounded(row.warnings()?, warnings);
        self.store.add_images(&row.id, &new, &changed, &all).await
    }

    /// Changes texts.
    pub(crate) async fn change(&self, id: &str, change: DatasetChange) -> Result<DatasetRecord, StudioError> {
        change.validate()?;
        let _turn = self.turn.lock().await;
        let row = if matches!(change, DatasetChange::ClearWarnings) {
            self.row(id).await?
        } else {
            self.draft(id).await?
        };
        let missing = |hash: &str| StudioError::not_found("dataset image", hash);
        match change {
            DatasetChange::Describe(new) => {
                let new = new.validate()?;
                self.store.describe_dataset(id, &new).await?;
            }
            DatasetChange::Caption { image, caption } => {
                let caption = one_line(&caption);
                if !self.store.set_captions(id, &[(image.clone(), caption)]).await? {
                    return Err(missing(&image));
                }
            }
            DatasetChange::Repeats { image, repeats } => {
                if !self.store.set_repeats(id, &image, repeats).await? {
                    return Err(missing(&image));
                }
            }
            DatasetChange::Prefix { prefix } => {
                self.rewrite(row, |words| (!words.is_empty()).then(|| format!("{prefix}{words}"))).await?;
            }
            DatasetChange::Replace { find, with } => {
                self.rewrite(row, |words| words.contains(&find).then(|| words.replace(&find, &with))).await?;
            }
            DatasetChange::ClearWarnings => self.store.set_warnings(id, &[]).await?,
        }
        self.read(id).await
    }

    /// Changes every caption for which `f` has another one: images' own, and the dataset's.
    async fn rewrite(&self, row: DatasetRow, f: impl Fn(&str) -> Option<String>) -> Result<(), StudioError> {
        let mut changed = Vec::new();
        for image in self.store.dataset_images(&row.id).await? {
            if let Some(caption) = f(&image.caption) {
                changed.push((image.hash, short(one_line(&caption))?));
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
        if let Some(class) = &row.class_dataset {
            self.store.set_class_dataset(&copy.id, class).await?;
        }
        let images = self.store.dataset_images(id).await?;
        self.store.add_images(&copy.id, &images, &[], &[]).await?;
        self.read(&copy.id).await
    }

    /// Makes the dataset one that never changes and gives the hash of its content.
    ///
    /// # Errors
    /// It has no images.
    pub(crate) async fn freeze(&self, id: &str) -> Result<String, StudioError> {
        let _turn = self.turn.lock().await;
        let row = self.row(id).await?;
        if let Some(hash) = row.hash {
            return Ok(hash);
        }
        let images = self.images(id).await?;
        if images.is_empty() {
            return Err(StudioError::Image(format!("Dataset {} has no images. Add at least one.", row.name)));
        }
        let texts: Vec<String> =
            images.iter().map(|p| text_of(&p.caption, &row.caption, &row.trigger_word)).collect();
        let contents =
            images.iter().zip(&texts).map(|(p, text)| (p.pixels.as_str(), p.repeats(), text.as_str()));
        let hash = content_hash(contents);
        self.store.freeze_dataset(id, &hash).await?;
        Ok(hash)
    }
}

/// The newest warnings, and the number of older ones that were dropped.
fn bounded(before: Vec<ImportWarning>, new: Vec<ImportWarning>) -> Vec<ImportWarning> {
    let forgotten = |warning: &ImportWarning| {
        let words = warning.message.strip_suffix(FORGOTTEN).filter(|_| warning.name.is_empty());
        words.and_then(|number| number.parse::<usize>().ok())
    };
    let mut gone = before.first().and_then(forgotten).unwrap_or_default();
    let skipped = usize::from(gone > 0);
    let mut all: Vec<ImportWarning> = before.into_iter().skip(skipped).chain(new).collect();
    if gone > 0 || all.len() > MAX_WARNINGS {
        let more = all.len().saturating_sub(MAX_WARNINGS - 1);
        all.drain(..more);
        gone += more;
        all.insert(0, ImportWarning { name: String::new(), message: format!("{gone}{FORGOTTEN}") });
    }
    all
}

/// What stands after the number of warnings that there was no room for.
const FORGOTTEN: &str = " earlier warnings were dropped.";

fn short(caption: String) -> Result<String, StudioError> {
    if caption.len() <= 4 * MAX_CAPTION_BYTES {
        return Ok(caption);
    }
    Err(StudioError::Image("A caption would exceed the length limit; no captions were changed.".to_owned()))
}
