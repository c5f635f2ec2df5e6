//! Rows of runs and versions that were taken over from MLflow servers.

use std::collections::BTreeMap;

use adire_protocol::{ImportedRun, MetricPoint};

use super::{Store, decode, encode, storage};
use crate::StudioError;

row! {
    struct RunRow {
        id: String,
        source: String,
        experiment: String,
        name: String,
        status: String,
        started_at: i64,
        finished_at: Option<i64>,
        params: String,
        tags: String,
    }
}

impl RunRow {
    fn run(self) -> Result<ImportedRun, StudioError> {
        Ok(ImportedRun {
            params: decode(&self.params, "params", &self.id)?,
            tags: decode(&self.tags, "tags", &self.id)?,
            id: self.id,
            source: self.source,
            experiment: self.experiment,
            name: self.name,
            status: self.status,
            started_at: self.started_at,
            finished_at: self.finished_at,
        })
    }
}

const COLUMNS: &str = "id, source, experiment, name, status, started_at, finished_at, params, tags";

impl Store {
    /// Keeps a run with its metrics, or what is new of them. `false`: nothing was.
    pub(crate) async fn keep_imported_run(
        &self,
        run: &ImportedRun,
        metrics: &BTreeMap<String, Vec<MetricPoint>>,
    ) -> Result<bool, StudioError> {
        let mut change = self.change().await?;
        let (params, tags) = (encode(&run.params)?, encode(&run.tags)?);
        let written = sqlx::query(
            "INSERT INTO imported_runs (id, source, experiment, name, status, started_at, finished_at, params, tags) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (id) DO UPDATE SET \
             experiment = excluded.experiment, name = excluded.name, status = excluded.status, \
             finished_at = excluded.finished_at, params = excluded.params, tags = excluded.tags \
             WHERE imported_runs.experiment <> excluded.experiment OR imported_runs.name <> excluded.name \
             OR imported_runs.status <> excluded.status OR imported_runs.params <> excluded.params \
             OR imported_runs.tags <> excluded.tags \
             OR COALESCE(imported_runs.finished_at, 0) <> COALESCE(excluded.finished_at, 0)",
        )
        .bind(&run.id)
        .bind(&run.source)
        .bind(&run.experiment)
        .bind(&run.name)
        .bind(&run.status)
        .bind(run.started_at)
        .bind(run.finished_at)
        .bind(params)
        .bind(tags)
        .execute(&mut *change)
        .await
        .map_err(storage)?;
        let mut new = written.rows_affected();
        for (name, points) in metrics {
            for point in points {
                let written = sqlx::query(
                    "INSERT INTO imported_metrics (run, name, step, at, value) VALUES ($1, $2, $3, $4, $5) \
                     ON CONFLICT (run, name, step, at) DO UPDATE SET value = excluded.value \
                     WHERE imported_metrics.value <> excluded.value",
                )
                .bind(&run.id)
                .bind(name)
                .bind(point.step)
                .bind(point.at)
                .bind(point.value)
                .execute(&mut *change)
                .await
                .map_err(storage)?;
                new += written.rows_affected();
            }
        }
        change.commit().await.map_err(storage)?;
        Ok(new > 0)
    }

    /// Every run that was taken over, the newest first, at most 500.
    pub(crate) async fn imported_runs(&self) -> Result<Vec<ImportedRun>, StudioError> {
        let rows: Vec<RunRow> = sqlx::query_as(super::sql(format!(
            "SELECT {COLUMNS} FROM imported_runs ORDER BY started_at DESC, id LIMIT 500"
        )))
        .fetch_all(&self.pool)
        .await
        .map_err(storage)?;
        rows.into_iter().map(RunRow::run).collect()
    }

    /// One of them.
    pub(crate) async fn imported_run(&self, id: &str) -> Result<Option<ImportedRun>, StudioError> {
        let row: Option<RunRow> =
            sqlx::query_as(super::sql(format!("SELECT {COLUMNS} FROM imported_runs WHERE id = $1")))
                .bind(id)
                .fetch_optional(&self.pool)
                .await
                .map_err(storage)?;
        row.map(RunRow::run).transpose()
    }

    /// Its metrics.
    pub(crate) async fn imported_metrics(
        &self,
        run: &str,
    ) -> Result<BTreeMap<String, Vec<MetricPoint>>, StudioError> {
        let rows: Vec<(String, i64, i64, f64)> = sqlx::query_as(
            "SELECT name, step, at, value FROM imported_metrics WHERE run = $1 ORDER BY name, step, at",
        )
        .bind(run)
        .fetch_all(&self.pool)
        .await
        .map_err(storage)?;
        let mut metrics: BTreeMap<String, Vec<MetricPoint>> = BTreeMap::new();
        for (name, step, at, value) in rows {
            metrics.entry(name).or_default().push(MetricPoint { step, at, value });
        }
        Ok(metrics)
    }

    /// Versions that were registered with a run.
    pub(crate) async fn imported_versions_of(&self, run: &str) -> Result<Vec<String>, StudioError> {
        let rows: Vec<(String,)> =
            sqlx::query_as("SELECT version FROM imported_versions WHERE run = $1 ORDER BY version")
                .bind(run)
                .fetch_all(&self.pool)
                .await
                .map_err(storage)?;
        Ok(rows.into_iter().map(|(version,)| version).collect())
    }

    /// What a registered version became here.
    pub(crate) async fn imported_version(
        &self,
        (source, model, number): (&str, &str, &str),
    ) -> Result<Option<String>, StudioError> {
        let row: Option<(String,)> = sqlx::query_as(
            "SELECT version FROM imported_versions WHERE source = $1 AND model = $2 AND number = $3",
        )
        .bind(source)
        .bind(model)
        .bind(number)
        .fetch_optional(&self.pool)
        .await
        .map_err(storage)?;
        Ok(row.map(|(version,)| version))
    }

    /// Notes that.
    pub(crate) async fn keep_imported_version(
        &self,
        (source, model, number): (&str, &str, &str),
        run: &str,
        version: &str,
    ) -> Result<(), StudioError> {
        sqlx::query(
            "INSERT INTO imported_versions (source, model, number, run, version) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (source, model, number) DO UPDATE SET run = excluded.run, version = excluded.version",
        )
        .bind(source)
        .bind(model)
        .bind(number)
        .bind(run)
        .bind(version)
        .execute(&self.pool)
        .await
        .map_err(storage)?;
        Ok(())
    }
}
