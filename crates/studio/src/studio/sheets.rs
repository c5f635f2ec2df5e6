//! The studio's API of sheets.

use adire_protocol::{SheetDetail, SheetRecord, SheetRequest};

use super::Studio;
use crate::{StudioError, sheets, tasks::detached};

impl Studio {
    /// Checks every cell of a sheet, and generates them one after the other.
    ///
    /// # Errors
    /// An axis, a value or a cell is not valid.
    pub async fn create_sheet(&self, request: SheetRequest) -> Result<SheetRecord, StudioError> {
        let shared = self.shared().clone();
        detached(async move { sheets::create(&shared, request).await }).await
    }

    /// The newest sheets, at most 100.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn sheets(&self) -> Result<Vec<SheetRecord>, StudioError> {
        self.shared().store.sheets().await
    }

    /// A sheet with its cells.
    ///
    /// # Errors
    /// No such sheet.
    pub async fn sheet(&self, id: &str) -> Result<SheetDetail, StudioError> {
        sheets::detail(self.shared(), id).await
    }

    /// Cancels what is not generated yet; one that has ended stays as it is.
    ///
    /// # Errors
    /// No such sheet.
    pub async fn cancel_sheet(&self, id: &str) -> Result<SheetRecord, StudioError> {
        let (shared, id) = (self.shared().clone(), id.to_owned());
        detached(async move { sheets::cancel(&shared, &id).await }).await
    }

    /// Cancels a sheet and forgets it; its images stay.
    ///
    /// # Errors
    /// No such sheet.
    pub async fn delete_sheet(&self, id: &str) -> Result<(), StudioError> {
        let (shared, id) = (self.shared().clone(), id.to_owned());
        detached(async move { sheets::delete(&shared, &id).await }).await
    }
}
