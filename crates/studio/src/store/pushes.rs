//! Rows of pushes.

use adire_protocol::{EvaluationVerdict, PushRecord, PushRequest, PushState, TrainingRequest};

use super::{
    Store, decode, encode,
    jobs::{forget_attempts, insert_job},
    sql,
    sql::storable,
    storage,
};
use crate::{
    StudioError,
    job::{Lease, NewJob, WriteError},
};

row! {
    struct PushRow {
        id: String,
        request: String,
        name: String,
        version: i64,
        state: String,
        progress: String,
        error: Option<String>,
        url: Option<String>,
        commit_id: Option<String>,
        created_at: i64,
        finished_at: Option<i64>,
    }
}

impl PushRow {
    fn record(self) -> Result<PushRecord, StudioError> {
        let request: PushRequest = decode(&self.request, "push", &self.id)?;
        let state = match self.state.as_str() {
            "running" => PushState::Running,
            "done" => PushState::Done,
            "failed" => PushState::Failed,
            "cancelled" => PushState::Cancelled,
            _ => PushState::Queued,
        };
        Ok(PushRecord {
            id: self.id,
            version: format!("{}@v{}", self.name, self.version),
            request,
            state,
            progress: self.progress,
            error: self.error,
            url: self.url,
            commit: self.commit_id,
            created_at: self.created_at,
            finished_at: self.finished_at,
        })
    }
}

impl super::About {
    /// Version and repository.
    pub(crate) const PUSH: Self =
        Self::of_admin("pushes", "a.name || '@v' || CAST(a.version AS TEXT) || ' to ' || a.repository");
}

const SELECT: &str = "SELECT p.id, p.request, p.name, p.version, j.state, p.progress, j.error, p.url, p.commit_id, \
                      j.created_at, j.finished_at FROM pushes p JOIN jobs j ON j.id = p.id";

impl Store {
    /// Writes a push and puts it into the queue, unless the version is on its way to that repository already; the id of the
    /// one that is.
    pub(crate) async fn insert_push(
        &self,
        job: &NewJob,
        request: &PushRequest,
        (name, version): (&str, u32),
    ) -> Result<String, StudioError> {
        let mut change = self.change_alone().await?;
        let open: Option<(String,)> = sqlx::query_as(
            "SELECT p.id FROM pushes p JOIN jobs j ON j.id = p.id WHERE p.name = $1 AND p.version = $2 \
             AND p.repository = $3 AND j.state IN ('queued', 'running')",
        )
        .bind(name)
        .bind(i64::from(version))
        .bind(&request.repository)
        .fetch_optional(&mut *change)
        .await
        .map_err(storage)?;
        if let Some((id,)) = open {
            return Ok(id);
        }
        insert_job(&mut change, job).await?;
        sqlx::query(
            "INSERT INTO pushes (id, request, name, version, repository) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(&job.id)
        .bind(encode(request)?)
        .bind(name)
        .bind(i64::from(version))
        .bind(&request.repository)
        .execute(&mut *change)
        .await
        .map_err(storage)?;
        change.commit().await.map_err(storage)?;
        Ok(job.id.clone())
    }

    pub(crate) async fn push(&self, id: &str) -> Result<Option<PushRecord>, StudioError> {
        if !storable(id) {
            return Ok(None);
        }
        let row: Option<PushRow> = sqlx::query_as(sql(format!("{SELECT} WHERE p.id = $1")))
            .bind(id)
            .fetch_optional(&self.pool)
            .await
            .map_err(storage)?;
        row.map(PushRow::record).transpose()
    }

    /// The newest pushes; those of one version, if it is given.
    pub(crate) async fn pushes(&self, of: Option<(&str, u32)>) -> Result<Vec<PushRecord>, StudioError> {
        let (name, version) = of.unwrap_or_default();
        let rows: Vec<PushRow> = sqlx::query_as(sql(format!(
            "{SELECT} WHERE $1 = '' OR (p.name = $1 AND p.version = $2) ORDER BY p.id DESC LIMIT 50"
        )))
        .bind(name)
        .bind(i64::from(version))
        .fetch_all(&self.pool)
        .await
        .map_err(storage)?;
        rows.into_iter().map(PushRow::record).collect()
    }

    /// Notes what the holder is doing.
    pub(crate) async fn note_push(&self, lease: &Lease, progress: &str) -> Result<(), WriteError> {
        let mut change = self.change_noted(lease, "progress").await?;
        sqlx::query("UPDATE pushes SET progress = $2 WHERE id = $1")
            .bind(&lease.job)
            .bind(progress)
            .execute(&mut *change)
            .await
            .map_err(storage)?;
        forget_attempts(&mut change, &lease.job).await?;
        change.commit().await.map_err(storage)?;
        Ok(())
    }

    /// Notes where the repository is and what was committed.
    pub(crate) async fn note_pushed(
        &self,
        lease: &Lease,
        url: &str,
        commit: Option<&str>,
    ) -> Result<(), WriteError> {
        let mut change = self.change_noted(lease, "pushed").await?;
        sqlx::query("UPDATE pushes SET url = $2, commit_id = $3, progress = '' WHERE id = $1")
            .bind(&lease.job)
            .bind(url)
            .bind(commit)
            .execute(&mut *change)
            .await
            .map_err(storage)?;
        change.commit().await.map_err(storage)?;
        Ok(())
    }

    /// The version's images of its evaluations: suite, place of the prompt in it, prompt as rendered, and hash.
    pub(crate) async fn evaluation_samples(
        &self,
        name: &str,
        version: u32,
    ) -> Result<Vec<(String, i64, String, String)>, StudioError> {
        sqlx::query_as(
            "SELECT e.suite, i.prompt AS place, i.text, i.hash FROM evaluation_images i JOIN evaluations e ON e.id = i.evaluation \
             WHERE e.name = $1 AND e.version = $2 AND i.role = 'challenger' \
             ORDER BY e.id DESC, i.prompt, i.seed LIMIT 100",
        )
        .bind(name)
        .bind(i64::from(version))
        .fetch_all(&self.pool)
        .await
        .map_err(storage)
    }

    /// The run that made a version (`name@vN`): id, request and hash of the dataset.
    pub(crate) async fn run_of(
        &self,
        version: &str,
    ) -> Result<Option<(String, TrainingRequest, String)>, StudioError> {
        let row: Option<(String, String, String)> = sqlx::query_as(
            "SELECT id, request, dataset_hash FROM training_jobs WHERE version = $1 ORDER BY id DESC LIMIT 1",
        )
        .bind(version)
        .fetch_optional(&self.pool)
        .await
        .map_err(storage)?;
        row.map(|(id, request, dataset)| {
            let request = decode(&request, "training run", &id)?;
            Ok((id, request, dataset))
        })
        .transpose()
    }

    /// The last samples of a run: prompt and hash.
    pub(crate) async fn samples_of_run(&self, run: &str) -> Result<Vec<(String, String)>, StudioError> {
        sqlx::query_as(
            "SELECT prompt, hash FROM training_samples WHERE job = $1 AND with_adapter = 1 \
             ORDER BY step DESC, prompt_index LIMIT 100",
        )
        .bind(run)
        .fetch_all(&self.pool)
        .await
        .map_err(storage)
    }

    /// The last verdict on a version.
    pub(crate) async fn last_verdict(
        &self,
        name: &str,
        version: u32,
    ) -> Result<Option<EvaluationVerdict>, StudioError> {
        let row: Option<(String, String)> = sqlx::query_as(
            "SELECT id, verdict FROM evaluations WHERE name = $1 AND version = $2 AND verdict IS NOT NULL \
             ORDER BY id DESC LIMIT 1",
        )
        .bind(name)
        .bind(i64::from(version))
        .fetch_optional(&self.pool)
        .await
        .map_err(storage)?;
        row.map(|(id, verdict)| decode(&verdict, "verdict", &id)).transpose()
    }
}
