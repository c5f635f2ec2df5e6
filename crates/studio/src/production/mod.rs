//! What follows from a move to production: the adapter is pinned, a smoke image is made, and files are looked at, so that a
//! damaged version leaves production.

mod smoke;

use std::{sync::Arc, time::Duration};

use adire_protocol::{AdapterUse, LedgerEntry, LedgerMove, PRODUCTION, Smoke, SmokeResult};
use futures::future::BoxFuture;

use crate::{
    Mover, StudioError, registry::Registry, shared::Shared, store::Store, tasks::detached, worker::Worker,
};

/// How long the answer to a move waits for its image; it is stored all the same.
const PATIENCE: Duration = Duration::from_secs(20);

/// Pins what is in production now, makes the smoke image of a move to production and adds its result.
pub(crate) async fn after(shared: Arc<Shared>, made: LedgerMove) -> LedgerEntry {
    if made.alias.as_deref() != Some(PRODUCTION) {
        return LedgerEntry { made, outcome: None, smoke: None };
    }
    if let Err(error) = pin(&shared.store, &shared.worker).await {
        tracing::warn!(%error, "the versions in production were not pinned");
    }
    let Some(version) = made.to_version else { return LedgerEntry { made, outcome: None, smoke: None } };
    let smoke = take(shared, made.clone(), version).await;
    LedgerEntry { made, outcome: None, smoke: Some(smoke) }
}

/// Makes the smoke image of a move to production and stores it.
async fn take(shared: Arc<Shared>, made: LedgerMove, version: u32) -> Smoke {
    let taken = detached(async move {
        let taken = smoke::take(&shared, &made, version).await;
        match &taken {
            Ok(smoke) => {
                tracing::info!(adapter = made.name, version, result = smoke.result.word(), "smoke image")
            }
            Err(error) => tracing::warn!(adapter = made.name, version, %error, "no smoke image"),
        }
        taken
    });
    let without = |result, problem| Smoke { result, difference: None, url: None, problem };
    match tokio::time::timeout(PATIENCE, taken).await {
        Ok(Ok(smoke)) => smoke,
        Ok(Err(error)) => without(SmokeResult::Failed, Some(error.to_string())),
        Err(_) => without(SmokeResult::Pending, None),
    }
}

/// Tells the backend which adapter files are in production.
async fn pin(store: &Store, worker: &Worker) -> Result<(), StudioError> {
    let known = store.adapters().await?;
    let in_production =
        known.into_iter().filter(|version| version.aliases.iter().any(|alias| alias == PRODUCTION));
    let hashes: Vec<String> = in_production.map(|version| version.hash).collect();
    if !hashes.is_empty() {
        worker.pin(hashes);
    }
    Ok(())
}

/// Looks at the file of every version in production; earlier versions replace those that are damaged. Then makes the smoke
/// images of moves that were made while no server ran.
pub(crate) async fn check_all(shared: Arc<Shared>, started_at: i64) {
    let checked = async {
        let registry = registry(&shared);
        for name in registry.store.ledgers().await? {
            registry.check_production(&name).await?;
        }
        pin(&shared.store, &shared.worker).await
    };
    if let Err(error) = checked.await {
        tracing::warn!(%error, "the files in production were not all checked");
    }
    if let Err(error) = take_missing(&shared, started_at).await {
        tracing::warn!(%error, "the versions in production have no smoke images");
    }
}

/// The smoke image of each adapter's last move to production, where it has none: the command line loads no model.
async fn take_missing(shared: &Arc<Shared>, started_at: i64) -> Result<(), StudioError> {
    for name in shared.store.ledgers().await? {
        let book = shared.store.book(&name).await?;
        let Some(made) = book.production_at(started_at).cloned() else { continue };
        let taken = shared.store.smokes(&name).await?.contains_key(&made.number);
        // This server's own moves have theirs made by `after`.
        let before = made.at < started_at && !taken && !shared.work.is_closing();
        if let Some(version) = made.to_version.filter(|_| before) {
            take(shared.clone(), made, version).await;
        }
    }
    Ok(())
}

/// Looks at the versions in production of these adapters, because a file could not be read.
///
/// Boxed, because the compiler does not see through the store's lifetimes that this is `Send`.
pub(crate) fn doubt(shared: &Shared, uses: &[AdapterUse]) -> BoxFuture<'static, ()> {
    let (registry, worker) = (registry(shared), shared.worker.clone());
    let name = |adapter: &AdapterUse| adapter.name.split('@').next().unwrap_or_default().to_owned();
    let names: Vec<String> = uses.iter().map(name).collect();
    let checked = async move {
        for name in names {
            if registry.check_production(&name).await?.is_some() {
                pin(&registry.store, &worker).await?;
            }
        }
        Ok::<(), StudioError>(())
    };
    Box::pin(async move {
        if let Err(error) = checked.await {
            tracing::warn!(%error, "the files in production were not all checked");
        }
    })
}

fn registry(shared: &Shared) -> Registry {
    Registry {
        store: shared.store.clone(),
        blobs: shared.blobs.clone(),
        by: Mover::Server,
        base: Some(shared.model.hash.clone()),
    }
}
