//! Moves of the registry, and its ledger.

use adire_protocol::{
    Ledger, LedgerCheck, LedgerEntry, LedgerMove, ProductionAt, PromotionRequest, RollbackRequest, Stage,
};

use super::Studio;
use crate::{
    Mover, StudioError, production,
    registry::{Registry, ledger, production_at, verify},
    tasks::detached,
};

impl Studio {
    fn registry(&self, by: Mover) -> Registry {
        let shared = self.shared();
        let base = Some(shared.model.hash.clone());
        Registry { store: shared.store.clone(), blobs: shared.blobs.clone(), by, base }
    }

    /// Puts a version (`name@vN`) into production; the one that is there is archived. The smoke image follows; after some
    /// seconds the caller stops waiting for it.
    ///
    /// # Errors
    /// No such version, no reason, no passing verdict unless forced, or its stage, visibility or file does not allow it.
    pub async fn promote(
        &self,
        id: &str,
        request: PromotionRequest,
        by: Mover,
    ) -> Result<LedgerEntry, StudioError> {
        let (shared, registry, id) = (self.shared().clone(), self.registry(by), id.to_owned());
        detached(async move { Ok(production::after(shared, registry.promote(&id, request).await?).await) })
            .await
    }

    /// Returns production of an adapter to an earlier version, without the gate. The smoke image follows, as after a
    /// promotion.
    ///
    /// # Errors
    /// No such adapter, no reason, or no earlier version.
    pub async fn roll_back(
        &self,
        name: &str,
        request: RollbackRequest,
        by: Mover,
    ) -> Result<LedgerEntry, StudioError> {
        let (shared, registry, name) = (self.shared().clone(), self.registry(by), name.to_owned());
        detached(
            async move { Ok(production::after(shared, registry.roll_back(&name, request).await?).await) },
        )
        .await
    }

    /// Makes a version (`name@vN`) rejected, archived or a candidate again.
    ///
    /// # Errors
    /// No such version, no reason, or its stage does not allow it.
    pub async fn change_stage(
        &self,
        id: &str,
        to: Stage,
        reason: &str,
        by: Mover,
    ) -> Result<LedgerMove, StudioError> {
        let (shared, registry) = (self.shared().clone(), self.registry(by));
        let (id, reason) = (id.to_owned(), reason.to_owned());
        detached(async move {
            let made = registry.change_stage(&id, to, &reason).await?;
            Ok(production::after(shared, made).await.made)
        })
        .await
    }

    /// Lets a free alias stand for a version (`name@vN`).
    ///
    /// # Errors
    /// No such version, or the alias is protected or misspelt.
    pub async fn set_alias(
        &self,
        id: &str,
        alias: &str,
        reason: &str,
        by: Mover,
    ) -> Result<LedgerMove, StudioError> {
        let (registry, id) = (self.registry(by), id.to_owned());
        let (alias, reason) = (alias.to_owned(), reason.to_owned());
        detached(async move { registry.set_alias(&id, &alias, &reason).await }).await
    }

    /// Deletes a free alias.
    ///
    /// # Errors
    /// No such alias, or it is protected.
    pub async fn delete_alias(
        &self,
        name: &str,
        alias: &str,
        reason: &str,
        by: Mover,
    ) -> Result<LedgerMove, StudioError> {
        let (registry, name) = (self.registry(by), name.to_owned());
        let (alias, reason) = (alias.to_owned(), reason.to_owned());
        detached(async move { registry.delete_alias(&name, &alias, &reason).await }).await
    }

    /// An adapter's ledger.
    ///
    /// # Errors
    /// No such adapter.
    pub async fn ledger(&self, name: &str) -> Result<Ledger, StudioError> {
        ledger(&self.shared().store, name).await
    }

    /// Verifies an adapter's ledger.
    ///
    /// # Errors
    /// No such adapter.
    pub async fn verify_ledger(&self, name: &str) -> Result<LedgerCheck, StudioError> {
        verify(&self.shared().store, name).await
    }

    /// What was in production at a time (milliseconds since 1970), with the move that put it there.
    ///
    /// # Errors
    /// No such adapter.
    pub async fn production_at(&self, name: &str, at: i64) -> Result<ProductionAt, StudioError> {
        production_at(&self.shared().store, name, at).await
    }
}
