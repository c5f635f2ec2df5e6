//! Rows of alerts and of messages about them.

use std::collections::HashMap;

use adire_protocol::{Alert, AlertDelivery};
use sqlx::{Any, Transaction};
use uuid::Uuid;

use super::{Store, decode, encode, sql, storage};
use crate::StudioError;

/// Generations that a rule looks at.
const OBSERVED: i64 = 20_000;

row! {
    /// A generation as rules see it.
    #[derive(Clone, Debug)]
    pub(crate) struct Observed {
        pub(crate) generation: String,
        pub(crate) versions: String,
        pub(crate) outcome: String,
        pub(crate) run_ms: Option<i64>,
        pub(crate) wait_ms: Option<i64>,
    }
}

row! {
    struct AlertRow {
        id: String,
        rule: String,
        message: String,
        version: Option<String>,
        value: f64,
        above: f64,
        counted: i64,
        generations: String,
        opened_at: i64,
        closed_at: Option<i64>,
        rollback: Option<String>,
    }
}

row! {
    struct DeliveryRow {
        alert: String,
        event: String,
        channel: String,
        state: String,
        attempts: i64,
        next_at: i64,
        error: Option<String>,
    }
}

/// An alert to be written.
#[derive(Clone, Debug)]
pub(crate) struct NewAlert {
    pub(crate) id: String,
    pub(crate) rule: String,
    pub(crate) message: String,
    pub(crate) version: Option<String>,
    pub(crate) value: f64,
    pub(crate) above: f64,
    pub(crate) count: u32,
    pub(crate) generations: Vec<String>,
    pub(crate) opened_at: i64,
    pub(crate) closed_at: Option<i64>,
}

const COLUMNS: &str =
    "id, rule, message, version, value, above, counted, generations, opened_at, closed_at, rollback";

impl AlertRow {
    fn record(self, deliveries: Vec<AlertDelivery>) -> Result<Alert, StudioError> {
        Ok(Alert {
            generations: decode(&self.generations, "generations", &self.id)?,
            id: self.id,
            rule: self.rule,
            message: self.message,
            version: self.version,
            value: self.value,
            above: self.above,
            count: u32::try_from(self.counted).unwrap_or(u32::MAX),
            opened_at: self.opened_at,
            closed_at: self.closed_at,
            rollback: self.rollback,
            deliveries,
        })
    }
}

async fn add(
    change: &mut Transaction<'_, Any>,
    alert: &str,
    event: &str,
    channels: &[&str],
    now: i64,
) -> Result<(), StudioError> {
    for channel in channels {
        sqlx::query(
            "INSERT INTO deliveries (id, alert, event, channel, state, next_at) \
             VALUES ($1, $2, $3, $4, 'waiting', $5)",
        )
        .bind(Uuid::now_v7().to_string())
        .bind(alert)
        .bind(event)
        .bind(*channel)
        .bind(now)
        .execute(&mut **change)
        .await
        .map_err(storage)?;
    }
    Ok(())
}

impl Store {
    /// Generations that ended from `since` on, the newest first.
    pub(crate) async fn observed(&self, since: i64) -> Result<Vec<Observed>, StudioError> {
        sqlx::query_as(
            "SELECT generation, versions, outcome, run_ms, wait_ms FROM generation_stats \
             WHERE ended_at >= $1 ORDER BY ended_at DESC, generation DESC LIMIT $2",
        )
        .bind(since)
        .bind(OBSERVED)
        .fetch_all(&self.pool)
        .await
        .map_err(storage)
    }

    /// The open alert of a rule: id and version.
    pub(crate) async fn open_alert(
        &self,
        rule: &str,
    ) -> Result<Option<(String, Option<String>)>, StudioError> {
        sqlx::query_as("SELECT id, version FROM alerts WHERE rule = $1 AND closed_at IS NULL")
            .bind(rule)
            .fetch_optional(&self.pool)
            .await
            .map_err(storage)
    }

    /// Open alerts from before `before` of which no message says that they opened.
    pub(crate) async fn unsaid_alerts(&self, before: i64) -> Result<Vec<Alert>, StudioError> {
        let rows: Vec<AlertRow> = sqlx::query_as(sql(format!(
            "SELECT {COLUMNS} FROM alerts WHERE closed_at IS NULL AND opened_at <= $1 AND NOT EXISTS \
             (SELECT 1 FROM deliveries d WHERE d.alert = alerts.id AND d.event = 'opened') ORDER BY id"
        )))
        .bind(before)
        .fetch_all(&self.pool)
        .await
        .map_err(storage)?;
        rows.into_iter().map(|row| row.record(Vec::new())).collect()
    }

    /// Every open alert: id and rule.
    pub(crate) async fn open_alerts(&self) -> Result<Vec<(String, String)>, StudioError> {
        sqlx::query_as("SELECT id, rule FROM alerts WHERE closed_at IS NULL ORDER BY id")
            .fetch_all(&self.pool)
            .await
            .map_err(storage)
    }

    /// Writes an alert with its messages; whether the rule had none that is open.
    pub(crate) async fn insert_alert(
        &self,
        alert: &NewAlert,
        channels: &[&str],
    ) -> Result<bool, StudioError> {
        let mut change = self.change_alone().await?;
        let inserted = sqlx::query(
            "INSERT INTO alerts (id, rule, message, version, value, above, counted, generations, opened_at, closed_at) \
             SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10 \
             WHERE NOT EXISTS (SELECT 1 FROM alerts WHERE rule = $2 AND closed_at IS NULL)",
        )
        .bind(&alert.id)
        .bind(&alert.rule)
        .bind(&alert.message)
        .bind(&alert.version)
        .bind(alert.value)
        .bind(alert.above)
        .bind(i64::from(alert.count))
        .bind(encode(&alert.generations)?)
        .bind(alert.opened_at)
        .bind(alert.closed_at)
        .execute(&mut *change)
        .await
        .map_err(storage)?;
        if inserted.rows_affected() == 0 {
            return Ok(false);
        }
        add(&mut change, &alert.id, "opened", channels, alert.opened_at).await?;
        change.commit().await.map_err(storage)?;
        Ok(true)
    }

    /// Adds messages that an alert has opened, unless it has some.
    pub(crate) async fn add_opened(
        &self,
        alert: &str,
        channels: &[&str],
        now: i64,
    ) -> Result<(), StudioError> {
        let mut change = self.change_alone().await?;
        let (known,): (i64,) =
            sqlx::query_as("SELECT COUNT(*) FROM deliveries WHERE alert = $1 AND event = 'opened'")
                .bind(alert)
                .fetch_one(&mut *change)
                .await
                .map_err(storage)?;
        if known == 0 {
            add(&mut change, alert, "opened", channels, now).await?;
        }
        change.commit().await.map_err(storage)
    }

    /// Closes an alert, with messages about that.
    pub(crate) async fn close_alert(&self, id: &str, now: i64, channels: &[&str]) -> Result<(), StudioError> {
        let mut change = self.change().await?;
        let closed = sqlx::query("UPDATE alerts SET closed_at = $2 WHERE id = $1 AND closed_at IS NULL")
            .bind(id)
            .bind(now)
            .execute(&mut *change)
            .await
            .map_err(storage)?;
        if closed.rows_affected() > 0 {
            add(&mut change, id, "closed", channels, now).await?;
        }
        change.commit().await.map_err(storage)
    }

    /// Takes the right to move production of an adapter back for an alert; whether no other alert did within `between`
    /// milliseconds.
    pub(crate) async fn claim_rollback(
        &self,
        alert: &str,
        adapter: &str,
        now: i64,
        between: i64,
    ) -> Result<bool, StudioError> {
        let mut change = self.change_alone().await?;
        let claimed = sqlx::query(
            "UPDATE alerts SET rolled_back = $2, rolled_back_at = $3 WHERE id = $1 AND NOT EXISTS \
             (SELECT 1 FROM alerts a WHERE a.rolled_back = $2 AND a.rolled_back_at > $4 AND a.id <> $1)",
        )
        .bind(alert)
        .bind(adapter)
        .bind(now)
        .bind(now - between)
        .execute(&mut *change)
        .await
        .map_err(storage)?;
        change.commit().await.map_err(storage)?;
        Ok(claimed.rows_affected() > 0)
    }

    /// Notes what the rollback did.
    pub(crate) async fn note_rollback(&self, alert: &str, note: &str) -> Result<(), StudioError> {
        sqlx::query("UPDATE alerts SET rollback = $2 WHERE id = $1")
            .bind(alert)
            .bind(note)
            .execute(&self.pool)
            .await
            .map_err(storage)?;
        Ok(())
    }

    /// The newest alerts.
    pub(crate) async fn alerts(&self, limit: i64) -> Result<Vec<Alert>, StudioError> {
        let rows: Vec<AlertRow> = sqlx::query_as(sql(format!(
            "SELECT {COLUMNS} FROM alerts ORDER BY opened_at DESC, id DESC LIMIT $1"
        )))
        .bind(limit)
        .fetch_all(&self.pool)
        .await
        .map_err(storage)?;
        let deliveries: Vec<DeliveryRow> = sqlx::query_as(
            "SELECT d.alert, d.event, d.channel, d.state, d.attempts, d.next_at, d.error FROM deliveries d \
             WHERE d.alert IN (SELECT a.id FROM alerts a ORDER BY a.opened_at DESC, a.id DESC LIMIT $1) ORDER BY d.id",
        )
        .bind(limit)
        .fetch_all(&self.pool)
        .await
        .map_err(storage)?;
        let mut of: HashMap<String, Vec<AlertDelivery>> = HashMap::new();
        for row in deliveries {
            let waits = row.state == "waiting";
            of.entry(row.alert).or_default().push(AlertDelivery {
                event: row.event,
                channel: row.channel,
                state: row.state,
                attempts: u32::try_from(row.attempts).unwrap_or(u32::MAX),
                next_at: waits.then_some(row.next_at),
                error: row.error,
            });
        }
        rows.into_iter()
            .map(|row| {
                let deliveries = of.remove(&row.id).unwrap_or_default();
                row.record(deliveries)
            })
            .collect()
    }

    /// Messages that are due: id, event, channel and alert, the oldest first.
    pub(crate) async fn due_deliveries(
        &self,
        now: i64,
    ) -> Result<Vec<(String, String, String, Alert)>, StudioError> {
        let rows: Vec<(String, String, String, String)> = sqlx::query_as(
            "SELECT id, event, channel, alert FROM deliveries WHERE state = 'waiting' AND next_at <= $1 \
             ORDER BY id LIMIT 20",
        )
        .bind(now)
        .fetch_all(&self.pool)
        .await
        .map_err(storage)?;
        let mut due = Vec::with_capacity(rows.len());
        for (id, event, channel, alert) in rows {
            let row: Option<AlertRow> =
                sqlx::query_as(sql(format!("SELECT {COLUMNS} FROM alerts WHERE id = $1")))
                    .bind(&alert)
                    .fetch_optional(&self.pool)
                    .await
                    .map_err(storage)?;
            if let Some(row) = row {
                due.push((id, event, channel, row.record(Vec::new())?));
            }
        }
        Ok(due)
    }

    /// How often a message was tried, and when its alert was opened or closed; `None` unless it waits.
    pub(crate) async fn delivery(&self, id: &str) -> Result<Option<(i64, i64)>, StudioError> {
        sqlx::query_as(
            "SELECT d.attempts, CASE WHEN d.event = 'closed' THEN COALESCE(a.closed_at, a.opened_at) \
             ELSE a.opened_at END AS since FROM deliveries d JOIN alerts a ON a.id = d.alert \
             WHERE d.id = $1 AND d.state = 'waiting'",
        )
        .bind(id)
        .fetch_optional(&self.pool)
        .await
        .map_err(storage)
    }

    /// A message was sent.
    pub(crate) async fn delivered(&self, id: &str) -> Result<(), StudioError> {
        sqlx::query(
            "UPDATE deliveries SET state = 'sent', attempts = attempts + 1, error = NULL WHERE id = $1",
        )
        .bind(id)
        .execute(&self.pool)
        .await
        .map_err(storage)?;
        Ok(())
    }

    /// A message could not be sent; `next`: when it is tried again.
    pub(crate) async fn fail_delivery(
        &self,
        id: &str,
        error: &str,
        next: Option<i64>,
    ) -> Result<(), StudioError> {
        sqlx::query(
            "UPDATE deliveries SET attempts = attempts + 1, error = $2, state = $3, \
             next_at = CASE WHEN $3 = 'waiting' THEN $4 ELSE next_at END WHERE id = $1 AND state = 'waiting'",
        )
        .bind(id)
        .bind(error)
        .bind(if next.is_some() { "waiting" } else { "failed" })
        .bind(next.unwrap_or_default())
        .execute(&self.pool)
        .await
        .map_err(storage)?;
        Ok(())
    }
}
