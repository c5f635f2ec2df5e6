//! Moves of the registry in a data folder without a model, and its ledger.

use adire_protocol::{Ledger, LedgerCheck, LedgerMove, PromotionRequest, RollbackRequest, Stage};

use super::DataFolder;
use crate::{
    Mover, StudioError,
    registry::{Registry, ledger, verify},
};

impl DataFolder {
    fn registry(&self) -> Registry {
        let (store, blobs) = (self.store().clone(), self.blobs().clone());
        Registry { store, blobs, by: Mover::CommandLine, base: None }
    }

    /// As [`crate::Studio::promote`].
    ///
    /// # Errors
    /// As [`crate::Studio::promote`].
    pub async fn promote(&self, id: &str, request: PromotionRequest) -> Result<LedgerMove, StudioError> {
        self.registry().promote(id, request).await
    }

    /// As [`crate::Studio::roll_back`].
    ///
    /// # Errors
    /// As [`crate::Studio::roll_back`].
    pub async fn roll_back(&self, name: &str, request: RollbackRequest) -> Result<LedgerMove, StudioError> {
        self.registry().roll_back(name, request).await
    }

    /// As [`crate::Studio::change_stage`].
    ///
    /// # Errors
    /// As [`crate::Studio::change_stage`].
    pub async fn change_stage(&self, id: &str, to: Stage, reason: &str) -> Result<LedgerMove, StudioError> {
        self.registry().change_stage(id, to, reason).await
    }

    /// As [`crate::Studio::set_alias`].
    ///
    /// # Errors
    /// As [`crate::Studio::set_alias`].
    pub async fn set_alias(&self, id: &str, alias: &str, reason: &str) -> Result<LedgerMove, StudioError> {
        self.registry().set_alias(id, alias, reason).await
    }

    /// As [`crate::Studio::delete_alias`].
    ///
    /// # Errors
    /// As [`crate::Studio::delete_alias`].
    pub async fn delete_alias(
        &self,
        name: &str,
        alias: &str,
        reason: &str,
    ) -> Result<LedgerMove, StudioError> {
        self.registry().delete_alias(name, alias, reason).await
    }

    /// As [`crate::Studio::ledger`].
    ///
    /// # Errors
    /// As [`crate::Studio::ledger`].
    pub async fn ledger(&self, name: &str) -> Result<Ledger, StudioError> {
        ledger(self.store(), name).await
    }

    /// As [`crate::Studio::verify_ledger`].
    ///
    /// # Errors
    /// As [`crate::Studio::verify_ledger`].
    pub async fn verify_ledger(&self, name: &str) -> Result<LedgerCheck, StudioError> {
        verify(self.store(), name).await
    }
}
