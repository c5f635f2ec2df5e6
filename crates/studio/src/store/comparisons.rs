//! Rows of comparisons and their votes.

use super::{Store, sql, sql::storable, storage};
use crate::StudioError;

row! {
    /// A comparison as stored.
    #[derive(Clone, Debug)]
    pub(crate) struct ComparisonRow {
        pub(crate) id: String,
        pub(crate) token: String,
        pub(crate) evaluation: String,
        pub(crate) version: String,
        pub(crate) against: String,
        pub(crate) created_at: i64,
        pub(crate) closed_at: Option<i64>,
    }
}

const COLUMNS: &str =
    "SELECT id, token, evaluation, version, against, created_at, closed_at FROM comparisons";

/// What became of a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VoteResult {
    Counted,
    /// This voter has voted on the pair.
    Repeated,
    /// No votes are taken any more.
    Closed,
}

impl Store {
    /// Writes a comparison unless its versions have one: votes that begin again and again until they say what is wanted
    /// bound no error.
    pub(crate) async fn insert_comparison(&self, row: &ComparisonRow) -> Result<(), StudioError> {
        let mut change = self.change_alone().await?;
        sqlx::query(
            "INSERT INTO comparisons (id, token, evaluation, version, against, created_at) \
             SELECT $1, $2, $3, $4, $5, $6 \
             WHERE NOT EXISTS (SELECT 1 FROM comparisons WHERE version = $4 AND against = $5)",
        )
        .bind(&row.id)
        .bind(&row.token)
        .bind(&row.evaluation)
        .bind(&row.version)
        .bind(&row.against)
        .bind(row.created_at)
        .execute(&mut *change)
        .await
        .map_err(storage)?;
        change.commit().await.map_err(storage)
    }

    /// Every comparison, newest first.
    pub(crate) async fn comparisons(&self) -> Result<Vec<ComparisonRow>, StudioError> {
        sqlx::query_as(sql(format!("{COLUMNS} ORDER BY id DESC")))
            .fetch_all(&self.pool)
            .await
            .map_err(storage)
    }

    /// The one whose `column` has a value; the newest of several.
    async fn comparison_by(&self, column: &str, value: &str) -> Result<Option<ComparisonRow>, StudioError> {
        if !storable(value) {
            return Ok(None);
        }
        sqlx::query_as(sql(format!("{COLUMNS} WHERE {column} = $1 ORDER BY id DESC LIMIT 1")))
            .bind(value)
            .fetch_optional(&self.pool)
            .await
            .map_err(storage)
    }

    pub(crate) async fn comparison(&self, id: &str) -> Result<Option<ComparisonRow>, StudioError> {
        self.comparison_by("id", id).await
    }

    pub(crate) async fn comparison_of_token(
        &self,
        token: &str,
    ) -> Result<Option<ComparisonRow>, StudioError> {
        self.comparison_by("token", token).await
    }

    /// The comparison of two versions, the first if an earlier program began several; an empty name is the base model.
    pub(crate) async fn comparison_between(
        &self,
        version: &str,
        against: &str,
    ) -> Result<Option<ComparisonRow>, StudioError> {
        sqlx::query_as(sql(format!("{COLUMNS} WHERE version = $1 AND against = $2 ORDER BY id LIMIT 1")))
            .bind(version)
            .bind(against)
            .fetch_optional(&self.pool)
            .await
            .map_err(storage)
    }

    /// Takes votes again.
    pub(crate) async fn reopen_comparison(&self, id: &str) -> Result<(), StudioError> {
        sqlx::query("UPDATE comparisons SET closed_at = NULL WHERE id = $1")
            .bind(id)
            .execute(&self.pool)
            .await
            .map_err(storage)?;
        Ok(())
    }

    /// No votes are taken any more; whether they were.
    pub(crate) async fn close_comparison(&self, id: &str, at: i64) -> Result<bool, StudioError> {
        let closed = sqlx::query("UPDATE comparisons SET closed_at = $2 WHERE id = $1 AND closed_at IS NULL")
            .bind(id)
            .bind(at)
            .execute(&self.pool)
            .await
            .map_err(storage)?;
        Ok(closed.rows_affected() > 0)
    }

    /// Votes in the order in which they came: `better`, `worse` or `tie`.
    pub(crate) async fn votes(&self, comparison: &str) -> Result<Vec<String>, StudioError> {
        let rows: Vec<(String,)> =
            sqlx::query_as("SELECT outcome FROM votes WHERE comparison = $1 ORDER BY number")
                .bind(comparison)
                .fetch_all(&self.pool)
                .await
                .map_err(storage)?;
        Ok(rows.into_iter().map(|(outcome,)| outcome).collect())
    }

    /// The pairs that a voter has voted on.
    pub(crate) async fn pairs_of_voter(
        &self,
        comparison: &str,
        visitor: &str,
    ) -> Result<Vec<i64>, StudioError> {
        let rows: Vec<(i64,)> =
            sqlx::query_as("SELECT pair FROM votes WHERE comparison = $1 AND visitor = $2 ORDER BY number")
                .bind(comparison)
                .bind(visitor)
                .fetch_all(&self.pool)
                .await
                .map_err(storage)?;
        Ok(rows.into_iter().map(|(pair,)| pair).collect())
    }

    /// Counts a vote, `better`, `worse` or `tie`; a voter's second on the same pair changes nothing.
    pub(crate) async fn vote(
        &self,
        comparison: &str,
        pair: u32,
        visitor: &str,
        outcome: &str,
        at: i64,
    ) -> Result<VoteResult, StudioError> {
        let mut change = self.change_alone().await?;
        let open: Option<(i64,)> =
            sqlx::query_as("SELECT created_at FROM comparisons WHERE id = $1 AND closed_at IS NULL")
                .bind(comparison)
                .fetch_optional(&mut *change)
                .await
                .map_err(storage)?;
        if open.is_none() {
            return Ok(VoteResult::Closed);
        }
        let written = sqlx::query(
            "INSERT INTO votes (comparison, pair, visitor, number, outcome, voted_at) \
             SELECT $1, $2, $3, COALESCE(MAX(number), 0) + 1, $4, $5 FROM votes WHERE comparison = $1 \
             ON CONFLICT (comparison, pair, visitor) DO NOTHING",
        )
        .bind(comparison)
        .bind(i64::from(pair))
        .bind(visitor)
        .bind(outcome)
        .bind(at)
        .execute(&mut *change)
        .await
        .map_err(storage)?;
        change.commit().await.map_err(storage)?;
        Ok(if written.rows_affected() > 0 { VoteResult::Counted } else { VoteResult::Repeated })
    }
}
