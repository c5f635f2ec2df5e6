//! The studio's API of figures.

use adire_protocol::{Memory, Monitoring, Period};

use super::Studio;
use crate::{
    StudioError,
    monitoring::{self, Total},
};

impl Studio {
    /// Figures of generations in a period; `version`: only of those with these adapter versions, except in the list of
    /// all versions.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn monitoring(
        &self,
        period: Period,
        version: Option<String>,
    ) -> Result<Monitoring, StudioError> {
        monitoring::report(self.shared(), period, version).await
    }

    /// Sums since the beginning, for counters. They do not fall when generations are deleted.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn totals(&self) -> Result<Vec<Total>, StudioError> {
        monitoring::totals(self.shared()).await
    }

    /// Memory now.
    pub fn memory(&self) -> Memory {
        monitoring::memory(self.shared())
    }

    /// When this studio was opened, in milliseconds since 1970 (UTC).
    pub fn started_at(&self) -> i64 {
        self.shared().started_at
    }
}
