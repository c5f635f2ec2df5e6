//! Rows of generations.

use adire_protocol::{GenerationSpec, GenerationState};

use super::{Store, decode, encode, jobs::insert_job, sql, sql::storable, storage};
use crate::{
    StudioError,
    client::Who,
    job::{NewJob, Queued},
    stats,
};

row! {
    /// A generation as stored.
    #[derive(Clone, Debug)]
    pub(crate) struct GenerationRow {
        pub(crate) id: String,
        // Digest of the visitor's id.
        pub(crate) visitor: Option<String>,
        // The client's network; cleared once the generation has ended.
        pub(crate) network: Option<String>,
        state: String,
        spec: String,
        pub(crate) created_at: i64,
        pub(crate) started_at: Option<i64>,
        pub(crate) finished_at: Option<i64>,
        pub(crate) error: Option<String>,
    }
}

impl GenerationRow {
    pub(crate) fn state(&self) -> GenerationState {
        use GenerationState::{Cancelled, Done, Failed, Queued, Running};
        // The column's CHECK leaves no other word.
        [Running, Done, Failed, Cancelled].into_iter().find(|s| s.name() == self.state).unwrap_or(Queued)
    }

    /// Who requested it.
    pub(crate) fn who(&self) -> Who {
        Who { visitor: self.visitor.clone(), network: self.network.clone() }
    }

    pub(crate) fn spec(&self) -> Result<GenerationSpec, StudioError> {
        decode(&self.spec, "request", &self.id)
    }
}

const SELECT: &str = "SELECT g.id, g.visitor, g.network, j.state, g.spec, j.created_at, j.started_at, j.finished_at, \
                      j.error FROM generations g JOIN jobs j ON j.id = g.id";

impl Store {
    /// Writes a generation and puts it into the queue.
    pub(crate) async fn insert_generation(
        &self,
        job: &NewJob,
        who: &Who,
        spec: &GenerationSpec,
    ) -> Result<Queued, StudioError> {
        let mut change = self.change_alone().await?;
        let queued = insert_job(&mut change, job).await?;
        sqlx::query(
            "INSERT INTO generations (id, visitor, network, spec, versions, prompt_key) VALUES ($1, $2, $3, $4, $5, $6)",
        )
            .bind(&job.id)
            .bind(&who.visitor)
            .bind(&who.network)
            .bind(encode(spec)?)
            .bind(stats::versions(spec))
            .bind(stats::prompt_key(&spec.prompt))
            .execute(&mut *change)
            .await
            .map_err(storage)?;
        for hash in spec.init_image.iter().chain(&spec.mask) {
            sqlx::query(
                "INSERT INTO generation_inputs (generation, hash) VALUES ($1, $2) \
                 ON CONFLICT (generation, hash) DO NOTHING",
            )
            .bind(&job.id)
            .bind(hash)
            .execute(&mut *change)
            .await
            .map_err(storage)?;
        }
        change.commit().await.map_err(storage)?;
        Ok(queued)
    }

    pub(crate) async fn generation(&self, id: &str) -> Result<Option<GenerationRow>, StudioError> {
        if !storable(id) {
            return Ok(None);
        }
        sqlx::query_as(sql(format!("{SELECT} WHERE g.id = $1")))
            .bind(id)
            .fetch_optional(&self.pool)
            .await
            .map_err(storage)
    }

    /// Queued and running ones of a visitor, oldest first.
    pub(crate) async fn active(&self, visitor: &str) -> Result<Vec<GenerationRow>, StudioError> {
        sqlx::query_as(sql(format!(
            "{SELECT} WHERE j.state IN ('queued', 'running') AND j.kind = 'generation' AND g.visitor = $1 ORDER BY g.id"
        )))
        .bind(visitor)
        .fetch_all(&self.pool)
        .await
        .map_err(storage)
    }
}
