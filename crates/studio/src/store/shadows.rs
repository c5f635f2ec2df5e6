//! Rows of shadows: which challenger renders which production generations again, and why that ended.

use adire_protocol::{LedgerAction, LedgerMove, PRODUCTION};
use serde::{Deserialize, Serialize};
use sqlx::{Any, Transaction};

use super::{Store, decode, encode, sql, storage};
use crate::StudioError;

row! {
    /// A shadow as stored.
    #[derive(Clone, Debug)]
    pub(crate) struct ShadowRow {
        pub(crate) id: String,
        pub(crate) name: String,
        pub(crate) version: i64,
        pub(crate) hash: String,
        pub(crate) champion: i64,
        pub(crate) base: String,
        pub(crate) judge: String,
        pub(crate) judge_name: String,
        style: String,
        pub(crate) every: i64,
        pub(crate) max_pairs: i64,
        pub(crate) generations: i64,
        pub(crate) started_at: i64,
        pub(crate) started_by: String,
        pub(crate) ended_at: Option<i64>,
        pub(crate) ended_by: Option<String>,
        pub(crate) reason: Option<String>,
    }
}

const SELECT: &str = "SELECT id, name, version, hash, champion, base, judge, judge_name, style, every, max_pairs, \
                      generations, started_at, started_by, ended_at, ended_by, reason FROM shadows";

impl ShadowRow {
    /// The challenger, `name@vN`.
    pub(crate) fn challenger(&self) -> String {
        format!("{}@v{}", self.name, self.version)
    }

    /// The version in production, `name@vN`.
    pub(crate) fn champion(&self) -> String {
        format!("{}@v{}", self.name, self.champion)
    }

    pub(crate) fn style(&self) -> Result<StyleReference, StudioError> {
        decode(&self.style, "style reference", &self.id)
    }
}

/// Images that a shadow measures style by. They stay the same for all of its pairs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StyleReference {
    /// Held-out images of the challenger's dataset, by hash.
    pub(crate) held_out: Vec<String>,
    /// The base model's images of an evaluation, by hash.
    pub(crate) base: Vec<String>,
    /// Why style is not measured.
    pub(crate) note: Option<String>,
}

/// What a shadow is switched on with.
#[derive(Clone, Debug)]
pub(crate) struct NewShadow {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) challenger: (u32, String),
    pub(crate) champion: (u32, String),
    pub(crate) base: String,
    pub(crate) judge: String,
    pub(crate) judge_name: String,
    pub(crate) style: StyleReference,
    pub(crate) every: u32,
    pub(crate) max_pairs: u32,
    pub(crate) at: i64,
    pub(crate) by: String,
}

/// When, by whom and why something ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End<'a> {
    pub(crate) at: i64,
    pub(crate) by: &'a str,
    pub(crate) reason: &'a str,
}

impl Store {
    /// Switches a shadow on. `false`: another one of the adapter is on, or production has moved. Images of earlier ones are
    /// given up.
    pub(crate) async fn insert_shadow(&self, new: &NewShadow) -> Result<bool, StudioError> {
        let mut change = self.change_alone().await?;
        let (standing,): (i64,) = sqlx::query_as(
            "SELECT COUNT(*) FROM aliases a JOIN adapter_versions v ON v.name = a.name AND v.version = $3 \
             WHERE a.name = $1 AND a.alias = $2 AND a.version = $4 AND v.deleted_at IS NULL \
             AND NOT EXISTS (SELECT 1 FROM shadows s WHERE s.name = $1 AND s.ended_at IS NULL)",
        )
        .bind(&new.name)
        .bind(PRODUCTION)
        .bind(i64::from(new.challenger.0))
        .bind(i64::from(new.champion.0))
        .fetch_one(&mut *change)
        .await
        .map_err(storage)?;
        if standing == 0 {
            return Ok(false);
        }
        sqlx::query("DELETE FROM shadow_images WHERE shadow IN (SELECT id FROM shadows WHERE name = $1)")
            .bind(&new.name)
            .execute(&mut *change)
            .await
            .map_err(storage)?;
        sqlx::query(
            "INSERT INTO shadows (id, name, version, hash, champion, champion_hash, base, judge, judge_name, style, \
             every, max_pairs, started_at, started_by) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        )
        .bind(&new.id)
        .bind(&new.name)
        .bind(i64::from(new.challenger.0))
        .bind(&new.challenger.1)
        .bind(i64::from(new.champion.0))
        .bind(&new.champion.1)
        .bind(&new.base)
        .bind(&new.judge)
        .bind(&new.judge_name)
        .bind(encode(&new.style)?)
        .bind(i64::from(new.every))
        .bind(i64::from(new.max_pairs))
        .bind(new.at)
        .bind(&new.by)
        .execute(&mut *change)
        .await
        .map_err(storage)?;
        change.commit().await.map_err(storage)?;
        Ok(true)
    }

    /// Gives a shadow that is on another k and bound. Whether it was on.
    pub(crate) async fn change_shadow(
        &self,
        id: &str,
        (every, max_pairs): (u32, u32),
        at: i64,
    ) -> Result<bool, StudioError> {
        let mut change = self.change_alone().await?;
        let done =
            sqlx::query("UPDATE shadows SET every = $2, max_pairs = $3 WHERE id = $1 AND ended_at IS NULL")
                .bind(id)
                .bind(i64::from(every))
                .bind(i64::from(max_pairs))
                .execute(&mut *change)
                .await
                .map_err(storage)?;
        end_where_full(&mut change, id, at).await?;
        change.commit().await.map_err(storage)?;
        Ok(done.rows_affected() > 0)
    }

    /// Ends a shadow; pairs that wait are left out. Whether it was on.
    pub(crate) async fn end_shadow(&self, id: &str, end: End<'_>) -> Result<bool, StudioError> {
        let mut change = self.change_alone().await?;
        let ended = end_one(&mut change, id, end).await?;
        change.commit().await.map_err(storage)?;
        Ok(ended)
    }

    /// The last shadow of a version.
    pub(crate) async fn shadow_of(&self, name: &str, version: u32) -> Result<Option<ShadowRow>, StudioError> {
        sqlx::query_as(sql(format!("{SELECT} WHERE name = $1 AND version = $2 ORDER BY id DESC LIMIT 1")))
            .bind(name)
            .bind(i64::from(version))
            .fetch_optional(&self.pool)
            .await
            .map_err(storage)
    }

    /// The shadow of an adapter that is on.
    pub(crate) async fn shadow_on(&self, name: &str) -> Result<Option<ShadowRow>, StudioError> {
        sqlx::query_as(sql(format!("{SELECT} WHERE name = $1 AND ended_at IS NULL")))
            .bind(name)
            .fetch_optional(&self.pool)
            .await
            .map_err(storage)
    }

    pub(crate) async fn shadow(&self, id: &str) -> Result<Option<ShadowRow>, StudioError> {
        sqlx::query_as(sql(format!("{SELECT} WHERE id = $1")))
            .bind(id)
            .fetch_optional(&self.pool)
            .await
            .map_err(storage)
    }

    /// The base model's images of the newest evaluation of an adapter that has some, by prompt and seed.
    pub(crate) async fn base_images(
        &self,
        name: &str,
        base: &str,
        most: i64,
    ) -> Result<Vec<String>, StudioError> {
        let rows: Vec<(String,)> = sqlx::query_as(
            "SELECT i.hash FROM evaluation_images i WHERE i.role = 'base' AND i.evaluation = \
             (SELECT MAX(e.id) FROM evaluations e WHERE e.name = $1 AND e.base = $2 AND EXISTS \
              (SELECT 1 FROM evaluation_images b WHERE b.evaluation = e.id AND b.role = 'base')) \
             ORDER BY i.prompt, i.seed LIMIT $3",
        )
        .bind(name)
        .bind(base)
        .bind(most)
        .fetch_all(&self.pool)
        .await
        .map_err(storage)?;
        Ok(rows.into_iter().map(|(hash,)| hash).collect())
    }
}

async fn end_one(change: &mut Transaction<'_, Any>, id: &str, end: End<'_>) -> Result<bool, StudioError> {
    let done = sqlx::query(
        "UPDATE shadows SET ended_at = $2, ended_by = $3, reason = $4 WHERE id = $1 AND ended_at IS NULL",
    )
    .bind(id)
    .bind(end.at)
    .bind(end.by)
    .bind(end.reason)
    .execute(&mut **change)
    .await
    .map_err(storage)?;
    for text in [
        "DELETE FROM shadow_images WHERE shadow = $1 AND number IN \
         (SELECT number FROM shadow_pairs WHERE shadow = $1 AND state = 'waiting')",
        "UPDATE shadow_pairs SET state = 'left_out', note = 'The shadow ended first.' \
         WHERE shadow = $1 AND state = 'waiting'",
    ] {
        sqlx::query(text).bind(id).execute(&mut **change).await.map_err(storage)?;
    }
    Ok(done.rows_affected() > 0)
}

/// Ends a shadow once all of its pairs are scored.
pub(super) async fn end_where_full(
    change: &mut Transaction<'_, Any>,
    id: &str,
    at: i64,
) -> Result<(), StudioError> {
    let full: Vec<(i64,)> = sqlx::query_as(
        "SELECT s.max_pairs FROM shadows s WHERE s.id = $1 AND s.ended_at IS NULL AND s.max_pairs <= \
         (SELECT COUNT(*) FROM shadow_pairs p WHERE p.shadow = s.id AND p.state = 'scored')",
    )
    .bind(id)
    .fetch_all(&mut **change)
    .await
    .map_err(storage)?;
    let Some((pairs,)) = full.first() else { return Ok(()) };
    let reason =
        if *pairs == 1 { "Its pair is scored.".to_owned() } else { format!("All {pairs} pairs are scored.") };
    end_one(change, id, End { at, by: "server", reason: &reason }).await?;
    Ok(())
}

/// What a row of the ledger means for the shadow of its adapter: it ends when production moves or its challenger is set aside.
pub(super) async fn follow_move(
    change: &mut Transaction<'_, Any>,
    made: &LedgerMove,
) -> Result<(), StudioError> {
    let on: Vec<(String, i64)> =
        sqlx::query_as("SELECT id, version FROM shadows WHERE name = $1 AND ended_at IS NULL")
            .bind(&made.name)
            .fetch_all(&mut **change)
            .await
            .map_err(storage)?;
    let Some((id, challenger)) = on.first() else { return Ok(()) };
    let is_challenger = made.to_version.map(i64::from) == Some(*challenger);
    let (name, number) = (&made.name, made.number);
    let version = |version: Option<u32>| version.map_or_else(|| "nothing".to_owned(), |v| format!("v{v}"));
    let what = match made.action {
        LedgerAction::Add | LedgerAction::SetAlias | LedgerAction::DeleteAlias | LedgerAction::Reopen => {
            return Ok(());
        }
        _ if made.alias.as_deref() == Some(PRODUCTION) && is_challenger => {
            format!("{name}@v{challenger} went to production")
        }
        _ if made.alias.as_deref() == Some(PRODUCTION) => {
            format!("Production moved from {} to {}", version(made.from_version), version(made.to_version))
        }
        LedgerAction::Reject if is_challenger => format!("{name}@v{challenger} was rejected"),
        LedgerAction::Archive if is_challenger => format!("{name}@v{challenger} was archived"),
        _ => return Ok(()),
    };
    let reason = format!("{what} (row {number} of the ledger).");
    end_one(change, id, End { at: made.at, by: &made.who, reason: &reason }).await?;
    Ok(())
}

/// A version is deleted: its shadow ends, and its images go.
pub(super) async fn forget_version(
    change: &mut Transaction<'_, Any>,
    (name, version): (&str, u32),
    at: i64,
) -> Result<(), StudioError> {
    let of_version: Vec<(String,)> =
        sqlx::query_as("SELECT id FROM shadows WHERE name = $1 AND version = $2")
            .bind(name)
            .bind(i64::from(version))
            .fetch_all(&mut **change)
            .await
            .map_err(storage)?;
    let reason = format!("{name}@v{version} was deleted.");
    for (id,) in of_version {
        end_one(change, &id, End { at, by: "admin", reason: &reason }).await?;
        sqlx::query("DELETE FROM shadow_images WHERE shadow = $1")
            .bind(&id)
            .execute(&mut **change)
            .await
            .map_err(storage)?;
    }
    Ok(())
}
