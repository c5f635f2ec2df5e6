//! The studio's API of shadow rendering.

use adire_protocol::{ShadowRecord, ShadowRequest};

use super::Studio;
use crate::{Mover, StudioError, shadows, tasks::detached};

impl Studio {
    /// The shadow of a version (`name@vN`) that is on, or its last one, with what it has found.
    ///
    /// # Errors
    /// It never had one.
    pub async fn shadow(&self, id: &str) -> Result<ShadowRecord, StudioError> {
        shadows::record(self.shared(), id).await
    }

    /// The version of an adapter whose shadow is on.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn shadow_on(&self, name: &str) -> Result<Option<String>, StudioError> {
        shadows::challenger(self.shared(), name).await
    }

    /// Has a candidate render every k-th production generation again, or changes k and the bound of one that does.
    ///
    /// # Errors
    /// No such version; numbers out of range; nothing in production to compare with; another version's shadow is on; its stage, its
    /// file, the loaded model or a missing judge does not allow it.
    pub async fn set_shadow(
        &self,
        id: &str,
        request: ShadowRequest,
        by: Mover,
    ) -> Result<ShadowRecord, StudioError> {
        detached(shadows::switch_on(self.shared().clone(), id.to_owned(), request, by)).await
    }

    /// Switches a version's shadow off; its results stay.
    ///
    /// # Errors
    /// It is not on.
    pub async fn end_shadow(&self, id: &str, by: Mover) -> Result<ShadowRecord, StudioError> {
        detached(shadows::switch_off(self.shared().clone(), id.to_owned(), by)).await
    }
}
