//! How a file becomes an adapter version.

use std::sync::Arc;

use adire_protocol::{AdapterReceipt, AdapterRef, AdapterVersion, MAX_REASON_CHARS, Stage, Which};
use futures::Stream;

use crate::{
    BackendError, Mover, NewAdapter, StudioError, UploadedFile,
    blobs::{SizeLimit, Staged},
    shared::Shared,
    store::Addition,
    time::now,
};

/// Largest file of an adapter that is uploaded, in bytes. LoRA files of SD 1.5 have at most a few hundred MiB; a whole model
/// has 2 GiB in half precision and 4 GiB in full.
pub const MAX_ADAPTER_BYTES: u64 = 2 << 30;

const LIMIT: SizeLimit = SizeLimit {
    bytes: MAX_ADAPTER_BYTES,
    of: "an adapter",
    advice: "Choose a LoRA file; a whole model is loaded with --model instead.",
};

/// Receives an adapter file.
pub(crate) async fn receive<B: AsRef<[u8]>, E: std::fmt::Display>(
    shared: &Shared,
    name: &str,
    chunks: impl Stream<Item = Result<B, E>>,
) -> Result<UploadedFile, StudioError> {
    shared.disk.check_reserve()?;
    UploadedFile::receive(&shared.blobs, name, chunks, LIMIT).await
}

/// Adds a file of this machine. `by`: who the ledger says added it; `None`: its lineage says what made it.
pub(crate) async fn add(
    shared: Arc<Shared>,
    new: NewAdapter,
    by: Option<Mover>,
) -> Result<AdapterVersion, StudioError> {
    let name = checked_name(&new)?;
    let staged = shared.blobs.stage_file(&new.path, StudioError::Adapter).await?;
    Ok(add_staged(&shared, staged, name, &new, by).await?.0)
}

/// Adds an uploaded file; `path` of `new` is ignored. Whether there was no such version before.
pub(crate) async fn add_uploaded(
    shared: Arc<Shared>,
    file: UploadedFile,
    new: NewAdapter,
    by: Mover,
) -> Result<(AdapterVersion, bool), StudioError> {
    let new = NewAdapter { path: file.name().into(), ..new };
    let name = checked_name(&new)?;
    let staged = shared.blobs.stage_received(file.into_received()).await?;
    add_staged(&shared, staged, name, &new, Some(by)).await
}

/// The name, which has no version.
fn checked_name(new: &NewAdapter) -> Result<String, StudioError> {
    let plain = new.name.parse::<AdapterRef>().ok().filter(|parsed| parsed.which == Which::Newest);
    let name = plain.ok_or_else(|| {
        let shown: String = new.name.chars().take(80).collect();
        StudioError::invalid(
            "name",
            format!("“{shown}” is not a valid adapter name; use at most 64 lower-case letters, digits, “-”, “_” or “.”."),
        )
    })?;
    if new.version == Some(0) {
        return Err(StudioError::invalid("version", "Versions start at 1."));
    }
    Ok(name.name)
}

/// Has the model try a file, names it, writes the row. Whether there was no such version before.
async fn add_staged(
    shared: &Shared,
    staged: Staged,
    name: String,
    new: &NewAdapter,
    by: Option<Mover>,
) -> Result<(AdapterVersion, bool), StudioError> {
    let mut row = AdapterVersion {
        name,
        version: new.version.unwrap_or(0),
        hash: staged.hash.clone(),
        description: new.description.trim().to_owned(),
        trigger: new.trigger.trim().to_owned(),
        bytes: staged.bytes,
        created_at: now(),
        warning: None,
        stage: Stage::default(),
        aliases: Vec::new(),
    };
    if let Some(existing) = existing(shared, &row).await? {
        let mut warnings = shared.store.adapter_warnings(&shared.model.hash).await?;
        return Ok((AdapterVersion { warning: warnings.remove(&existing.hash), ..existing }, false));
    }
    let receipt = check(shared, &staged, new).await?;
    if let (true, Some(warning)) = (new.strict, &receipt.warning) {
        return Err(StudioError::Adapter(format!("{}: {warning}", new.path.display())));
    }
    let _keeping = shared.blobs.keeping().await;
    row.hash = shared.blobs.keep(staged).await?;
    shared.store.save_receipt(&row.hash, &shared.model.hash, &receipt).await?;
    let file = new.path.file_name().unwrap_or_default().to_string_lossy();
    let addition =
        by.map(|by| Addition { who: by.to_string(), file: file.chars().take(MAX_REASON_CHARS).collect() });
    match shared.store.insert_adapter(&row, addition.as_ref()).await? {
        Some(stored) => Ok((AdapterVersion { warning: receipt.warning, ..stored }, true)),
        // Someone took the number since we looked: the same file is fine, another is not.
        None => existing(shared, &row)
            .await?
            .map(|existing| (existing, false))
            .ok_or_else(|| StudioError::Storage("The version number was just taken; try again.".to_owned())),
    }
}

/// The existing version of this file: the requested one, or any of this name when the number
/// was left open.
async fn existing(shared: &Shared, row: &AdapterVersion) -> Result<Option<AdapterVersion>, StudioError> {
    let known = shared.store.all_adapters().await?;
    let mut same_name = known.into_iter().filter(|listed| listed.version.name == row.name);
    if row.version == 0 {
        // One that was deleted comes back under a new number.
        let same = same_name.find(|listed| listed.version.hash == row.hash && listed.deleted_at.is_none());
        return Ok(same.map(|listed| listed.version));
    }
    match same_name.find(|listed| listed.version.version == row.version) {
        Some(taken) if taken.deleted_at.is_some() => Err(StudioError::Conflict(format!(
            "{} was deleted, and version numbers are never reused. Omit the version to get the next number.",
            taken.version.id()
        ))),
        Some(taken) if taken.version.hash != row.hash => {
            Err(StudioError::AdapterExists { id: taken.version.id() })
        }
        same => Ok(same.map(|listed| listed.version)),
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
