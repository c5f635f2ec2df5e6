//! Adapter versions: how names become versions, and what their files do to the model.

use std::{sync::Arc, time::Duration};

use adire_protocol::{
    AdapterDetail, AdapterReceipt, AdapterRef, AdapterUse, AdapterVersion, FieldError, ListedVersion,
    MAX_NOTE_CHARS, ValidationError, VersionChange, Which,
};

use crate::{
    AdapterFile, BackendError, Blob, LocalFile, StudioError, blobs::Blobs, registry::exact, shared::Shared,
    store::Listed, tasks::detached, time::now, unused_blobs::remove_unused,
};

/// How long one who asks for a receipt waits while the model is busy.
const PATIENCE: Duration = Duration::from_secs(3);

/// The version that `name`, `name@vN` or `name@alias` stands for. `known` is sorted by name, the newest version first.
pub(crate) fn resolve<'a>(
    known: &'a [AdapterVersion],
    name: &str,
) -> Result<&'a AdapterVersion, StudioError> {
    let wanted: AdapterRef =
        name.parse().map_err(|error| StudioError::invalid("adapters", format!("{error}.")))?;
    known
        .iter()
        .find(|version| wanted.means(version))
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

/// Every version that visitors may use, with what is known of those that the model takes only in part.
pub(crate) async fn offered(shared: &Shared) -> Result<Vec<AdapterVersion>, StudioError> {
    let warnings = shared.store.adapter_warnings(&shared.model.hash).await?;
    let mut known = shared.store.adapters().await?;
    for version in &mut known {
        version.warning = warnings.get(&version.hash).cloned();
    }
    Ok(known)
}

/// What is known of the adapters of `uses` that the model takes only in part: one sentence each, in their order.
pub(crate) async fn warnings(shared: &Shared, uses: &[AdapterUse]) -> Result<Vec<String>, StudioError> {
    if uses.is_empty() {
        return Ok(Vec::new());
    }
    let known = offered(shared).await?;
    let warning = |name: &str| {
        let version = resolve(&known, name).ok()?;
        version.warning.as_ref().map(|warning| format!("{}: {warning}", version.id()))
    };
    Ok(uses.iter().filter_map(|adapter| warning(&adapter.name)).collect())
}

/// The training run and step that a name stands for, if it is a checkpoint's.
pub(crate) fn checkpoint(name: &str) -> Option<(String, u32)> {
    match name.parse::<AdapterRef>().ok()?.which {
        Which::Checkpoint { run, step } => Some((run, step)),
        _ => None,
    }
}

/// Refuses those of `uses` that the model takes only in part, or of which that is not known yet.
pub(crate) async fn be_strict(shared: &Arc<Shared>, uses: &[AdapterUse]) -> Result<(), StudioError> {
    let mut errors = Vec::new();
    for (index, adapter) in uses.iter().enumerate() {
        let message = match detail(Arc::clone(shared), &adapter.name).await?.receipt {
            Some(AdapterReceipt { warning: None, .. }) => continue,
            Some(AdapterReceipt { warning: Some(warning), .. }) => format!("{}: {warning}", adapter.name),
            None => {
                format!("{}: the model is busy and has not checked the file yet. Try again.", adapter.name)
            }
        };
        errors.push(FieldError { field: format!("adapters[{index}]"), message });
    }
    if errors.is_empty() { Ok(()) } else { Err(StudioError::Invalid(ValidationError(errors))) }
}

/// A version with what its file does to the model. The model reads a file once, between two images.
pub(crate) async fn detail(shared: Arc<Shared>, name: &str) -> Result<AdapterDetail, StudioError> {
    let known = shared.store.adapters().await?;
    let version = resolve(&known, name)?.clone();
    let receipt = match shared.store.receipt(&version.hash, &shared.model.hash).await? {
        Some(receipt) => Some(receipt),
        None => {
            // Goes on when nobody waits any more, so that the next one who asks finds it.
            let made = detached(make_receipt(shared.clone(), version.clone()));
            tokio::time::timeout(PATIENCE, made).await.ok().transpose()?
        }
    };
    let downloads = downloads(&shared, &version).await?;
    let warning = receipt.as_ref().and_then(|receipt| receipt.warning.clone());
    Ok(AdapterDetail { version: AdapterVersion { warning, ..version }, receipt, downloads })
}

/// Whether the file of a version is given out.
async fn downloads(shared: &Shared, version: &AdapterVersion) -> Result<bool, StudioError> {
    let known = shared.store.all_adapters().await?;
    let listed = known.into_iter().find(|listed| listed.version == *version);
    Ok(shared.downloads && listed.is_some_and(|listed| listed.downloads))
}

/// The receipt of a file, which is made where it is not known yet. The device must be free.
///
/// # Errors
/// The file does not fit the model; the message names the version.
pub(crate) async fn receipt(shared: &Shared, file: &AdapterFile) -> Result<AdapterReceipt, StudioError> {
    if let Some(receipt) = shared.store.receipt(&file.hash, &shared.model.hash).await? {
        return Ok(receipt);
    }
    let receipt =
        shared.worker.check_adapter(file.path.to_path_buf()).await?.map_err(|error| match error {
            BackendError::Failed(text) => StudioError::Adapter(format!(
                "{} does not fit the base model {}, so it cannot be evaluated on it: {text}",
                file.id, shared.model.name
            )),
            BackendError::Cancelled => StudioError::ShuttingDown,
        })?;
    shared.store.save_receipt(&file.hash, &shared.model.hash, &receipt).await?;
    Ok(receipt)
}

async fn make_receipt(shared: Arc<Shared>, version: AdapterVersion) -> Result<AdapterReceipt, StudioError> {
    let _turn = shared.receipts.lock().await;
    // Another request may have computed it meanwhile.
    if let Some(receipt) = shared.store.receipt(&version.hash, &shared.model.hash).await? {
        return Ok(receipt);
    }
    let file = local(&shared.blobs, &version).await?;
    let receipt = shared.worker.check_adapter(file.to_path_buf()).await?.map_err(|error| match error {
        BackendError::Failed(text) => StudioError::Adapter(text),
        BackendError::Cancelled => StudioError::ShuttingDown,
    })?;
    // The worker has read it.
    drop(file);
    shared.store.save_receipt(&version.hash, &shared.model.hash, &receipt).await?;
    Ok(receipt)
}

/// The file of a version for the engine.
pub(crate) async fn local(blobs: &Blobs, version: &AdapterVersion) -> Result<LocalFile, StudioError> {
    blobs.local(&version.hash).await?.ok_or_else(|| lost(version))
}

/// The files of adapters that a request names in full.
pub(crate) async fn files(shared: &Shared, uses: &[AdapterUse]) -> Result<Vec<AdapterFile>, StudioError> {
    if uses.is_empty() {
        return Ok(Vec::new());
    }
    // A version that was hidden after the request was taken is used all the same; one that was deleted is gone.
    let known = shared.store.all_adapters().await?;
    let is_gone = |listed: &&Listed| listed.deleted_at.is_some();
    let gone: Vec<String> = known.iter().filter(is_gone).map(|listed| listed.version.id()).collect();
    let known: Vec<AdapterVersion> = known.into_iter().map(|listed| listed.version).collect();
    let mut files = Vec::with_capacity(uses.len());
    for adapter in uses {
        if let Some((run, step)) = checkpoint(&adapter.name) {
            files.push(checkpoint_file(shared, adapter, &run, step).await?);
            continue;
        }
        let version = resolve(&known, &adapter.name)?;
        if gone.contains(&version.id()) {
            return Err(StudioError::Adapter(format!(
                "Adapter {} was deleted while this generation was queued. Choose another one.",
                version.id()
            )));
        }
        let path = local(&shared.blobs, version).await?;
        let (id, hash) = (version.id(), version.hash.clone());
        let (strength, te_strength) = (adapter.strength, adapter.text_encoder_strength());
        files.push(AdapterFile { id, hash, path, strength, te_strength });
    }
    Ok(files)
}

async fn checkpoint_file(
    shared: &Shared,
    adapter: &AdapterUse,
    run: &str,
    step: u32,
) -> Result<AdapterFile, StudioError> {
    let gone = || StudioError::Adapter(format!("Step {step} of the training run was deleted."));
    let hash = shared.store.checkpoint(run, step).await?.ok_or_else(gone)?;
    let path = shared.blobs.local(&hash).await?.ok_or_else(gone)?;
    let (strength, te_strength) = (adapter.strength, adapter.text_encoder_strength());
    Ok(AdapterFile { id: adapter.name.clone(), hash, path, strength, te_strength })
}

fn lost(version: &AdapterVersion) -> StudioError {
    StudioError::Damaged(format!("The file of {} is missing.", version.id()))
}

/// The file of a version, to be given out.
pub(crate) async fn file(shared: &Shared, name: &str) -> Result<(AdapterVersion, Blob), StudioError> {
    let known = shared.store.adapters().await?;
    let version = resolve(&known, name)?.clone();
    if !downloads(shared, &version).await? {
        return Err(StudioError::NotAllowed(format!(
            "Downloading {} is disabled on this server. You can still use the adapter here.",
            version.id()
        )));
    }
    let blob = shared.blobs.get(&version.hash).await?.ok_or_else(|| lost(&version))?;
    Ok((version, blob))
}

/// The same as a file of this machine.
pub(crate) async fn local_file(
    shared: &Shared,
    name: &str,
) -> Result<(AdapterVersion, LocalFile), StudioError> {
    let (version, _) = file(shared, name).await?;
    let path = local(&shared.blobs, &version).await?;
    Ok((version, path))
}

/// Every version with what has been decided about it, for the admin.
pub(crate) async fn list(shared: &Shared) -> Result<Vec<ListedVersion>, StudioError> {
    let known = shared.store.all_adapters().await?;
    let record = |listed: Listed| ListedVersion {
        version: listed.version,
        hidden: listed.hidden,
        downloads: listed.downloads,
        deleted_at: listed.deleted_at,
        note: listed.note,
    };
    Ok(known.into_iter().map(record).collect())
}

/// Hides a version or shows it again, gives its file out or not, and keeps a note about it.
pub(crate) async fn offer(
    shared: &Shared,
    name: &str,
    change: VersionChange,
) -> Result<ListedVersion, StudioError> {
    let (name, version) = exact(&shared.store, name).await?;
    let note = change.note.map(|note| note.trim().to_owned());
    if let Some(chars) =
        note.as_ref().map(|note| note.chars().count()).filter(|chars| *chars > MAX_NOTE_CHARS)
    {
        return Err(StudioError::invalid(
            "note",
            format!("The note has {chars} characters; the limit is {MAX_NOTE_CHARS}."),
        ));
    }
    let change = VersionChange { note, ..change };
    if !shared.store.offer_adapter(&name, version, &change).await? {
        return Err(gone(&name, version));
    }
    find(shared, &name, version).await
}

/// Deletes a version and its file, where no other version has the same.
pub(crate) async fn delete(shared: &Shared, name: &str) -> Result<ListedVersion, StudioError> {
    let (name, version) = exact(&shared.store, name).await?;
    if !shared.store.delete_adapter(&name, version, now()).await? {
        return Err(gone(&name, version));
    }
    remove_unused(&shared.store, &shared.blobs).await?;
    shared.store.empty_log().await;
    find(shared, &name, version).await
}

async fn find(shared: &Shared, name: &str, version: u32) -> Result<ListedVersion, StudioError> {
    let known = list(shared).await?;
    let found = known.into_iter().find(|l| l.version.name == name && l.version.version == version);
    found.ok_or_else(|| gone(name, version))
}

fn gone(name: &str, version: u32) -> StudioError {
    StudioError::not_found("adapter version", &format!("{name}@v{version}"))
}
