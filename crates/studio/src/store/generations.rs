//! Rows of generations.

use adire_protocol::{GenerationSpec, GenerationState};

use super::{
    Store,
    batch::{Batch, Statement},
    decode, encode,
    images::{ImageRow, images_of},
    jobs::{add_job, queued},
    sql,
    sql::storable,
    storage,
};
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

impl super::About {
    pub(crate) const GENERATION: Self = Self { table: "generations", text: "a.spec", network: "a.network" };
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
        let mut batch = Batch::default();
        let place = add_job(&mut batch, job);
        batch.add(
            Statement::of(
                "INSERT INTO generations (id, visitor, network, spec, versions, prompt_key) \
                 VALUES ($1, $2, $3, $4, $5, $6)",
            )
            .bind(&job.id)
            .bind(who.visitor.as_deref())
            .bind(who.network.as_deref())
            .bind(encode(spec)?)
            .bind(stats::versions(spec))
            .bind(stats::prompt_key(&spec.prompt)),
        );
        for hash in spec.init_image.iter().chain(&spec.mask) {
            batch.add(
                Statement::of(
                    "INSERT INTO generation_inputs (generation, hash) VALUES ($1, $2) \
                     ON CONFLICT (generation, hash) DO NOTHING",
                )
                .bind(&job.id)
                .bind(hash),
            );
        }
        queued(&self.at_once(batch, true).await?, place)
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

    /// One with its images, in order.
    pub(crate) async fn generation_and_images(
        &self,
        id: &str,
    ) -> Result<Option<(GenerationRow, Vec<ImageRow>)>, StudioError> {
        if !storable(id) {
            return Ok(None);
        }
        let mut batch = Batch::default();
        let row = batch.add(Statement::of(format!("{SELECT} WHERE g.id = $1")).bind(id));
        let images = batch.add(images_of(id));
        let mut connection = self.pool.acquire().await.map_err(storage)?;
        let rows = batch.run(&mut connection).await?;
        let found = rows.of(row)?.into_iter().next();
        found.map(|row| Ok((row, rows.of(images)?))).transpose()
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
