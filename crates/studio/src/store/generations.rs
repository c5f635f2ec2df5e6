//! Rows of generations.

use adire_protocol::{GenerationSpec, GenerationState};

use super::{Store, decode, encode, sql, sql::storable, storage};
use crate::{StudioError, client::Who};

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
        pub(crate) epoch: i64,
        pub(crate) attempts: i64,
        pub(crate) started_event: Option<i64>,
        pub(crate) final_event: Option<i64>,
    }
}

impl GenerationRow {
    pub(crate) fn state(&self) -> GenerationState {
        use GenerationState::{Cancelled, Done, Failed, Queued, Running};
        // The column's CHECK leaves no other word.
        [Running, Done, Failed, Cancelled].into_iter().find(|s| s.name() == self.state).unwrap_or(Queued)
    }

    pub(crate) fn spec(&self) -> Result<GenerationSpec, StudioError> {
        decode(&self.spec, "request", &self.id)
    }
}

/// How a generation ended.
pub(crate) struct Finish<'a> {
    pub(crate) state: GenerationState,
    pub(crate) at: i64,
    pub(crate) error: Option<&'a str>,
    pub(crate) event: u64,
}

const COLUMNS: &str = "id, visitor, network, state, spec, created_at, started_at, finished_at, error, epoch, attempts, \
                       started_event, final_event";

impl Store {
    pub(crate) async fn insert_generation(
        &self,
        id: &str,
        who: &Who,
        spec: &GenerationSpec,
        created_at: i64,
    ) -> Result<(), StudioError> {
        let mut change = self.change_alone().await?;
        sqlx::query(
            "INSERT INTO generations (id, visitor, network, state, spec, created_at) \
             VALUES ($1, $2, $3, 'queued', $4, $5)",
        )
        .bind(id)
        .bind(&who.visitor)
        .bind(&who.network)
        .bind(encode(spec)?)
        .bind(created_at)
        .execute(&mut *change)
        .await
        .map_err(storage)?;
        for hash in spec.init_image.iter().chain(&spec.mask) {
            sqlx::query(
                "INSERT INTO generation_inputs (generation, hash) VALUES ($1, $2) \
                 ON CONFLICT (generation, hash) DO NOTHING",
            )
            .bind(id)
            .bind(hash)
            .execute(&mut *change)
            .await
            .map_err(storage)?;
        }
        change.commit().await.map_err(storage)
    }

    pub(crate) async fn generation(&self, id: &str) -> Result<Option<GenerationRow>, StudioError> {
        if !storable(id) {
            return Ok(None);
        }
        sqlx::query_as(sql(format!("SELECT {COLUMNS} FROM generations WHERE id = $1")))
            .bind(id)
            .fetch_optional(&self.pool)
            .await
            .map_err(storage)
    }

    /// Queued and running ones of a visitor, oldest first.
    pub(crate) async fn active(&self, visitor: &str) -> Result<Vec<GenerationRow>, StudioError> {
        sqlx::query_as(sql(format!("SELECT {COLUMNS} FROM generations WHERE state IN ('queued', 'running') AND visitor = $1 ORDER BY id")))
        .bind(visitor)
        .fetch_all(&self.pool)
        .await
        .map_err(storage)
    }

    /// Counts a new start of the server for what the last one left, and gives it in its old order.
    pub(crate) async fn reopen_unfinished(&self) -> Result<Vec<GenerationRow>, StudioError> {
        sqlx::query(
            "UPDATE generations SET state = 'queued', epoch = epoch + 1 WHERE state IN ('queued', 'running')",
        )
        .execute(&self.pool)
        .await
        .map_err(storage)?;
        sqlx::query_as(sql(format!("SELECT {COLUMNS} FROM generations WHERE state = 'queued' ORDER BY id")))
            .fetch_all(&self.pool)
            .await
            .map_err(storage)
    }

    pub(crate) async fn start(&self, id: &str, at: i64, event: u64) -> Result<(), StudioError> {
        sqlx::query(
            "UPDATE generations SET state = 'running', started_at = $2, started_event = $3, \
             attempts = attempts + 1 WHERE id = $1",
        )
        .bind(id)
        .bind(at)
        .bind(event.cast_signed())
        .execute(&self.pool)
        .await
        .map_err(storage)?;
        Ok(())
    }

    /// Undoes a start because the server stops in order; this does not count as an attempt.
    pub(crate) async fn put_back(&self, id: &str) -> Result<(), StudioError> {
        sqlx::query("UPDATE generations SET state = 'queued', started_at = NULL, attempts = 0 WHERE id = $1")
            .bind(id)
            .execute(&self.pool)
            .await
            .map_err(storage)?;
        Ok(())
    }

    pub(crate) async fn finish(&self, id: &str, finish: &Finish<'_>) -> Result<(), StudioError> {
        sqlx::query(
            "UPDATE generations SET state = $2, finished_at = $3, error = $4, final_event = $5, network = NULL \
             WHERE id = $1",
        )
        .bind(id)
        .bind(finish.state.name())
        .bind(finish.at)
        .bind(finish.error)
        .bind(finish.event.cast_signed())
        .execute(&self.pool)
        .await
        .map_err(storage)?;
        Ok(())
    }
}
