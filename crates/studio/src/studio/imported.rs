//! The studio's API of runs and versions that were taken over from MLflow servers.

use std::collections::BTreeMap;

use adire_protocol::{ImportedRun, ImportedRunDetail, MetricPoint};

use super::Studio;
use crate::StudioError;

impl Studio {
    /// Keeps a run with its metrics, or what is new of them. `false`: nothing was.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn keep_imported_run(
        &self,
        run: &ImportedRun,
        metrics: &BTreeMap<String, Vec<MetricPoint>>,
    ) -> Result<bool, StudioError> {
        self.shared().store.keep_imported_run(run, metrics).await
    }

    /// Runs that were taken over, the newest first, at most 500.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn imported_runs(&self) -> Result<Vec<ImportedRun>, StudioError> {
        self.shared().store.imported_runs().await
    }

    /// One of them with its metrics.
    ///
    /// # Errors
    /// No such run.
    pub async fn imported_run(&self, id: &str) -> Result<ImportedRunDetail, StudioError> {
        let store = &self.shared().store;
        let run = store.imported_run(id).await?.ok_or_else(|| StudioError::not_found("imported run", id))?;
        let metrics = store.imported_metrics(id).await?;
        Ok(ImportedRunDetail { run, metrics, versions: store.imported_versions_of(id).await? })
    }

    /// The version (`name@vN`) that a registered version of an MLflow server became. `of`: server, model and number.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn imported_version(&self, of: (&str, &str, &str)) -> Result<Option<String>, StudioError> {
        self.shared().store.imported_version(of).await
    }

    /// Notes that. `run`: the run that it was registered with; may be empty.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn keep_imported_version(
        &self,
        of: (&str, &str, &str),
        run: &str,
        version: &str,
    ) -> Result<(), StudioError> {
        self.shared().store.keep_imported_version(of, run, version).await
    }
}
