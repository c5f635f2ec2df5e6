//! Adapter versions: how names become versions, and how a file becomes one.

use std::{fs::File, path::PathBuf, sync::Arc, time::Duration};

use adire_protocol::{
    AdapterDetail, AdapterReceipt, AdapterRef, AdapterVersion, FieldError, ValidationError,
};

use crate::{
    BackendError, NewAdapter, StudioError,
    blobs::Staged,
    folder::reason,
    shared::{Shared, blocking, detached, now},
};

/// How long one who asks for a receipt waits while the model is busy.
const PATIENCE: Duration = Duration::from_secs(3);

/// The version that `name` or `name@vN` stands for. `known` is sorted by name, the newest version first.
pub(crate) fn resolve<'a>(
    known: &'a [AdapterVersion],
    name: &str,
) -> Result<&'a AdapterVersion, StudioError> {
    let wanted: AdapterRef = name.parse().map_err(|error| invalid("adapters", format!("{error}.")))?;
    known
        .iter()
        .find(|version| version.name == wanted.name && wanted.version.is_none_or(|n| n == version.version))
        .ok_or_else(|| StudioError::UnknownAdapter { name: name.to_owned(), known: nearest(known, name) })
}

/// What exists, the nearest name first, at most ten.
fn nearest(known: &[AdapterVersion], name: &str) -> Vec<String> {
    let mut ids: Vec<String> = known.iter().map(AdapterVersion::id).collect();
    // Stable: equally near ones stay in their order.
    ids.sort_by_cached_key(|id| distance(id, name));
    ids.truncate(10);
    ids
}

/// Levenshtein's distance. Both texts are short: a name has at most 64 letters and a version.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(80).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(80).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

/// Takes a file in: copies it aside, has the model try it, names it, writes the row.
pub(crate) async fn add(shared: Arc<Shared>, new: NewAdapter) -> Result<AdapterVersion, StudioError> {
    let plain = new.name.parse::<AdapterRef>().ok().filter(|parsed| parsed.version.is_none());
    let name = plain.ok_or_else(|| {
        let shown: String = new.name.chars().take(80).collect();
        invalid(
            "name",
            format!("“{shown}” is no adapter name: lower-case letters, digits, - _ . only, at most 64."),
        )
    })?;
    if new.version == Some(0) {
        return Err(invalid("version", "Versions count from 1.".to_owned()));
    }
    let (blobs, source) = (shared.blobs.clone(), new.path.clone());
    let staged = blocking(move || {
        let file = File::open(&source).map_err(|error| {
            StudioError::Adapter(format!("{} cannot be read: {}.", source.display(), reason(&error)))
        })?;
        blobs.stage(file)
    })
    .await?;
    let mut row = AdapterVersion {
        name: name.name,
        version: new.version.unwrap_or(0),
        hash: staged.hash.clone(),
        description: new.description.trim().to_owned(),
        trigger: new.trigger.trim().to_owned(),
        bytes: staged.bytes,
        created_at: now(),
    };
    if let Some(existing) = existing(&shared, &row).await? {
        return Ok(existing);
    }
    let receipt = check(&shared, &staged, &new).await?;
    let blobs = shared.blobs.clone();
    row.hash = blocking(move || blobs.keep(staged)).await?;
    shared.store.save_receipt(&row.hash, &shared.model.hash, &receipt).await?;
    match shared.store.insert_adapter(&row).await? {
        Some(stored) => Ok(stored),
        // Someone took the number since we looked: the same file is fine, another is not.
        None => existing(&shared, &row)
            .await?
            .ok_or_else(|| StudioError::Storage("The version number was just taken; try again.".to_owned())),
    }
}

/// The version that already stands for this file: the one asked for, or any of this name when the number
/// was left open.
async fn existing(shared: &Shared, row: &AdapterVersion) -> Result<Option<AdapterVersion>, StudioError> {
    let known = shared.store.adapters().await?;
    let mut same_name = known.into_iter().filter(|version| version.name == row.name);
    if row.version == 0 {
        return Ok(same_name.find(|version| version.hash == row.hash));
    }
    match same_name.find(|version| version.version == row.version) {
        Some(taken) if taken.hash != row.hash => Err(StudioError::AdapterExists { id: taken.id() }),
        same => Ok(same),
    }
}

async fn check(shared: &Shared, staged: &Staged, new: &NewAdapter) -> Result<AdapterReceipt, StudioError> {
    shared.worker.check_adapter(staged.path.clone()).await?.map_err(|error| match error {
        // The model was shown our copy; people know the file by their own name for it.
        BackendError::Failed(text) => StudioError::Adapter(
            text.replace(&staged.path.display().to_string(), &new.path.display().to_string()),
        ),
        BackendError::Cancelled => StudioError::ShuttingDown,
    })
}

/// A version with what its file does to the model. The model reads a file once, between two pictures.
pub(crate) async fn detail(shared: Arc<Shared>, name: &str) -> Result<AdapterDetail, StudioError> {
    let known = shared.store.adapters().await?;
    let version = resolve(&known, name)?.clone();
    let receipt = match shared.store.receipt(&version.hash, &shared.model.hash).await? {
        Some(receipt) => Some(receipt),
        None => {
            // Goes on when nobody waits any more, so that the next one who asks finds it.
            let made = detached(make_receipt(shared, version.clone()));
            tokio::time::timeout(PATIENCE, made).await.ok().transpose()?
        }
    };
    Ok(AdapterDetail { version, receipt })
}

async fn make_receipt(shared: Arc<Shared>, version: AdapterVersion) -> Result<AdapterReceipt, StudioError> {
    let _turn = shared.receipts.lock().await;
    // Another one may have asked for it meanwhile.
    if let Some(receipt) = shared.store.receipt(&version.hash, &shared.model.hash).await? {
        return Ok(receipt);
    }
    let path = shared.blobs.path(&version.hash).filter(|path| path.is_file());
    let path = path.ok_or_else(|| StudioError::Storage(format!("The file of {} is lost.", version.id())))?;
    let receipt = shared.worker.check_adapter(path).await?.map_err(|error| match error {
        BackendError::Failed(text) => StudioError::Adapter(text),
        BackendError::Cancelled => StudioError::ShuttingDown,
    })?;
    shared.store.save_receipt(&version.hash, &shared.model.hash, &receipt).await?;
    Ok(receipt)
}

/// The file of a version, to be given out.
pub(crate) async fn file(shared: &Shared, name: &str) -> Result<(AdapterVersion, PathBuf), StudioError> {
    let known = shared.store.adapters().await?;
    let version = resolve(&known, name)?.clone();
    let path = shared.blobs.path(&version.hash).filter(|path| path.is_file());
    let path = path.ok_or_else(|| StudioError::Storage(format!("The file of {} is lost.", version.id())))?;
    Ok((version, path))
}

fn invalid(field: &str, message: String) -> StudioError {
    StudioError::Invalid(ValidationError(vec![FieldError { field: field.to_owned(), message }]))
}
