//! Rows of the registry: aliases, the ledger's moves and its end, verdicts. Decides nothing: `registry` does.

use std::collections::HashMap;

use adire_protocol::{LedgerAction, LedgerMove, Stage, VerdictOutcome};
use sqlx::{Any, Transaction};

use super::{Store, shadows::follow_move, sql, storage};
use crate::{
    StudioError,
    ledger::{self, Alias, Book, Draft, FIRST_DIGEST, Head, Known, Verdict, digest},
};

row! {
    struct MoveRow {
        name: String,
        number: i64,
        at: i64,
        who: String,
        action: String,
        alias: Option<String>,
        from_version: Option<i64>,
        to_version: Option<i64>,
        verdict: Option<String>,
        verdict_digest: Option<String>,
        reason: String,
        previous_digest: String,
        digest: String,
    }
}

row! {
    struct VerdictRow {
        version: i64,
        id: String,
        outcome: String,
        base: Option<String>,
        champion: Option<i64>,
        policy_hash: String,
        criteria: String,
        created_at: i64,
    }
}

const MOVE: &str = "name, number, at, who, action, alias, from_version, to_version, verdict, verdict_digest, reason, \
                    previous_digest, digest";

/// A number of a row; every one that this program wrote fits.
fn small(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

impl MoveRow {
    /// `None` for what this program never wrote.
    fn read(self) -> Option<LedgerMove> {
        let row = self;
        Some(LedgerMove {
            action: LedgerAction::from_word(&row.action)?,
            number: row.number.cast_unsigned(),
            at: row.at,
            who: row.who,
            name: row.name,
            alias: row.alias,
            from_version: row.from_version.map(small),
            to_version: row.to_version.map(small),
            verdict: row.verdict,
            verdict_digest: row.verdict_digest,
            reason: row.reason,
            previous_digest: row.previous_digest,
            digest: row.digest,
        })
    }
}

impl VerdictRow {
    /// `None` for what this program never wrote.
    fn read(self, name: &str) -> Result<Option<Verdict>, StudioError> {
        let Self { version, id, outcome, base, champion, policy_hash, criteria, created_at } = self;
        let whole = (&id, name, version, champion, &base, &policy_hash, &outcome, &criteria, created_at);
        let digest = ledger::verdict_digest(&whole)?;
        let Some(outcome) = VerdictOutcome::from_word(&outcome) else { return Ok(None) };
        let (version, champion) = (small(version), champion.map(small));
        Ok(Some(Verdict { version, id, outcome, base, champion, policy_hash, digest }))
    }
}

impl Store {
    /// The version that an alias stands for.
    pub(crate) async fn alias(&self, name: &str, alias: &str) -> Result<Option<u32>, StudioError> {
        let row: Option<(i64,)> =
            sqlx::query_as("SELECT version FROM aliases WHERE name = $1 AND alias = $2")
                .bind(name)
                .bind(alias)
                .fetch_optional(&self.pool)
                .await
                .map_err(storage)?;
        Ok(row.map(|(version,)| small(version)))
    }

    /// Appends what `decide` makes of the registry as it stands to the ledger of `name`, and moves the alias, in one
    /// transaction that no other one of these runs beside.
    pub(crate) async fn append_move(
        &self,
        name: &str,
        (at, who): (i64, &str),
        decide: impl FnOnce(&Book) -> Result<Draft, StudioError> + Send,
    ) -> Result<LedgerMove, StudioError> {
        let mut change = self.change_alone().await?;
        let made = append(&mut change, name, (at, who), decide).await?;
        change.commit().await.map_err(storage)?;
        Ok(made)
    }

    /// Everything that the registry knows of an adapter.
    pub(crate) async fn book(&self, name: &str) -> Result<Book, StudioError> {
        let mut reading = self.pool.begin().await.map_err(storage)?;
        book(&mut reading, name).await
    }

    /// Names that have a ledger, sorted.
    pub(crate) async fn ledgers(&self) -> Result<Vec<String>, StudioError> {
        let rows: Vec<(String,)> =
            sqlx::query_as("SELECT name FROM ledger_heads UNION SELECT name FROM moves ORDER BY name")
                .fetch_all(&self.pool)
                .await
                .map_err(storage)?;
        Ok(rows.into_iter().map(|(name,)| name).collect())
    }
}

/// Stage and aliases by name and number of a version.
pub(super) type Standing = HashMap<(String, u32), (Stage, Vec<String>)>;

impl Store {
    /// Stage and aliases of every version that has left its first stage or has an alias.
    pub(super) async fn standing(&self) -> Result<Standing, StudioError> {
        let moves: Vec<(String, String, Option<i64>, Option<i64>)> = sqlx::query_as(
            "SELECT name, action, from_version, to_version FROM moves \
             WHERE action NOT IN ('add', 'set_alias', 'delete_alias') ORDER BY name, number",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(storage)?;
        let mut standing = Standing::new();
        for of_one in moves.chunk_by(|a, b| a.0 == b.0) {
            let changes = of_one.iter().filter_map(|(_, action, from, to)| {
                Some((LedgerAction::from_word(action)?, from.map(small), to.map(small)))
            });
            for (version, stage) in ledger::stages(changes) {
                standing.insert((of_one[0].0.clone(), version), (stage, Vec::new()));
            }
        }
        let aliases: Vec<(String, i64, String)> =
            sqlx::query_as("SELECT name, version, alias FROM aliases ORDER BY name, alias")
                .fetch_all(&self.pool)
                .await
                .map_err(storage)?;
        for (name, version, alias) in aliases {
            standing.entry((name, small(version))).or_default().1.push(alias);
        }
        Ok(standing)
    }
}

async fn book(reading: &mut Transaction<'_, Any>, name: &str) -> Result<Book, StudioError> {
    let versions: Vec<(i64, String, i64, i64)> = sqlx::query_as(
        "SELECT version, hash, hidden, CASE WHEN deleted_at IS NULL THEN 0 ELSE 1 END AS deleted \
         FROM adapter_versions WHERE name = $1 ORDER BY version",
    )
    .bind(name)
    .fetch_all(&mut **reading)
    .await
    .map_err(storage)?;
    let moves: Vec<MoveRow> =
        sqlx::query_as(sql(format!("SELECT {MOVE} FROM moves WHERE name = $1 ORDER BY number")))
            .bind(name)
            .fetch_all(&mut **reading)
            .await
            .map_err(storage)?;
    let aliases: Vec<(String, i64, String)> =
        sqlx::query_as("SELECT alias, version, digest FROM aliases WHERE name = $1 ORDER BY alias")
            .bind(name)
            .fetch_all(&mut **reading)
            .await
            .map_err(storage)?;
    let head: Option<(i64, String)> =
        sqlx::query_as("SELECT moves, digest FROM ledger_heads WHERE name = $1")
            .bind(name)
            .fetch_optional(&mut **reading)
            .await
            .map_err(storage)?;
    let verdicts: Vec<VerdictRow> = sqlx::query_as(
        "SELECT version, id, outcome, base, champion, policy_hash, criteria, created_at FROM verdicts \
         WHERE name = $1 ORDER BY created_at, id",
    )
    .bind(name)
    .fetch_all(&mut **reading)
    .await
    .map_err(storage)?;
    let verdicts: Vec<Option<Verdict>> =
        verdicts.into_iter().map(|row| row.read(name)).collect::<Result<_, _>>()?;
    let (mut read, mut unreadable) = (Vec::with_capacity(moves.len()), None);
    for row in moves {
        let number = row.number.cast_unsigned();
        let Some(made) = row.read() else {
            unreadable = Some(number);
            break;
        };
        read.push(made);
    }
    Ok(Book {
        name: name.to_owned(),
        versions: versions
            .into_iter()
            .map(|(version, hash, hidden, deleted)| Known {
                version: small(version),
                hash,
                hidden: hidden != 0,
                deleted: deleted != 0,
            })
            .collect(),
        moves: read,
        unreadable,
        aliases: aliases
            .into_iter()
            .map(|(alias, version, digest)| Alias { alias, version: small(version), digest })
            .collect(),
        head: head.map(|(moves, digest)| Head { moves: moves.cast_unsigned(), digest }),
        verdicts: verdicts.into_iter().flatten().collect(),
    })
}

/// As [`Store::append_move`], in a transaction of [`Store::change_alone`].
pub(super) async fn append(
    change: &mut Transaction<'_, Any>,
    name: &str,
    (at, who): (i64, &str),
    decide: impl FnOnce(&Book) -> Result<Draft, StudioError> + Send,
) -> Result<LedgerMove, StudioError> {
    let book = book(change, name).await?;
    if let Some(number) = book.unreadable {
        return Err(ledger::unreadable(name, number));
    }
    let draft = decide(&book)?;
    let Head { moves, digest: previous } = book.head.clone().unwrap_or_default();
    let mut made = LedgerMove {
        number: moves + 1,
        at,
        who: who.to_owned(),
        name: name.to_owned(),
        action: draft.action,
        alias: draft.alias,
        from_version: draft.from,
        to_version: draft.to,
        verdict_digest: draft.verdict.as_ref().and_then(|id| book.verdict(id)).map(|of| of.digest.clone()),
        verdict: draft.verdict,
        reason: draft.reason,
        previous_digest: previous,
        digest: String::new(),
    };
    made.digest = digest(&made)?;
    insert(change, &made).await?;
    advance_head(change, &made).await?;
    point(change, &made).await?;
    follow_move(change, &made).await?;
    Ok(made)
}

async fn insert(change: &mut Transaction<'_, Any>, made: &LedgerMove) -> Result<(), StudioError> {
    sqlx::query(sql(format!(
        "INSERT INTO moves ({MOVE}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
    )))
    .bind(&made.name)
    .bind(made.number.cast_signed())
    .bind(made.at)
    .bind(&made.who)
    .bind(made.action.word())
    .bind(made.alias.as_deref())
    .bind(made.from_version.map(i64::from))
    .bind(made.to_version.map(i64::from))
    .bind(made.verdict.as_deref())
    .bind(made.verdict_digest.as_deref())
    .bind(&made.reason)
    .bind(&made.previous_digest)
    .bind(&made.digest)
    .execute(&mut **change)
    .await
    .map_err(storage)?;
    Ok(())
}

/// Compare-and-set: the ledger still ends where this move begins.
async fn advance_head(change: &mut Transaction<'_, Any>, made: &LedgerMove) -> Result<(), StudioError> {
    if made.previous_digest == FIRST_DIGEST {
        sqlx::query(
            "INSERT INTO ledger_heads (name, moves, digest) VALUES ($1, 0, $2) ON CONFLICT (name) DO NOTHING",
        )
        .bind(&made.name)
        .bind(FIRST_DIGEST)
        .execute(&mut **change)
        .await
        .map_err(storage)?;
    }
    let advanced = sqlx::query(
        "UPDATE ledger_heads SET moves = $2, digest = $3 WHERE name = $1 AND moves = $2 - 1 AND digest = $4",
    )
    .bind(&made.name)
    .bind(made.number.cast_signed())
    .bind(&made.digest)
    .bind(&made.previous_digest)
    .execute(&mut **change)
    .await
    .map_err(storage)?;
    if advanced.rows_affected() == 1 {
        return Ok(());
    }
    Err(StudioError::Conflict(format!("{} was moved at the same moment; look again.", made.name)))
}

/// Lets the alias stand for the version that the move names.
async fn point(change: &mut Transaction<'_, Any>, made: &LedgerMove) -> Result<(), StudioError> {
    let Some(alias) = &made.alias else { return Ok(()) };
    let query = match made.to_version {
        Some(version) => sqlx::query(
            "INSERT INTO aliases (name, alias, version, digest) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (name, alias) DO UPDATE SET version = excluded.version, digest = excluded.digest",
        )
        .bind(&made.name)
        .bind(alias)
        .bind(i64::from(version))
        .bind(&made.digest),
        None => {
            sqlx::query("DELETE FROM aliases WHERE name = $1 AND alias = $2").bind(&made.name).bind(alias)
        }
    };
    query.execute(&mut **change).await.map_err(storage)?;
    Ok(())
}

/// The aliases of a version, `production` first.
pub(super) async fn aliases_of(
    change: &mut Transaction<'_, Any>,
    name: &str,
    version: u32,
) -> Result<Vec<String>, StudioError> {
    let rows: Vec<(String,)> = sqlx::query_as(
        "SELECT alias FROM aliases WHERE name = $1 AND version = $2 \
         ORDER BY CASE WHEN alias = 'production' THEN 0 ELSE 1 END, alias",
    )
    .bind(name)
    .bind(i64::from(version))
    .fetch_all(&mut **change)
    .await
    .map_err(storage)?;
    Ok(rows.into_iter().map(|(alias,)| alias).collect())
}

#[cfg(test)]
impl Store {
    /// Executes a statement that this program never would; whether the database took it.
    pub(crate) async fn tamper(&self, statement: &str) -> Result<(), String> {
        let mut tries = 100;
        loop {
            let done = sqlx::query(sql(statement.to_owned())).execute(&self.pool).await;
            match done.map(drop).map_err(|error| error.to_string()) {
                // A transaction that failed is rolled back when its connection is used again.
                Err(error) if error.contains("locked") && tries > 0 => tries -= 1,
                other => return other,
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// Removes the triggers that protect the ledger and its verdicts.
    pub(crate) async fn disarm(&self) {
        let triggers: &[&str] = match self.kind {
            super::Kind::Sqlite => &[
                "moves_are_not_changed",
                "moves_are_not_deleted",
                "moves_are_appended",
                "verdicts_are_not_changed",
                "verdicts_are_not_deleted",
            ],
            super::Kind::Postgres => &[
                "moves_are_not_changed ON moves",
                "moves_are_not_truncated ON moves",
                "verdicts_are_not_changed ON verdicts",
            ],
        };
        for trigger in triggers {
            self.tamper(&format!("DROP TRIGGER {trigger}")).await.unwrap();
        }
    }

    /// Lets every write to a table fail from now on.
    pub(crate) async fn break_table(&self, table: &str) {
        let statements: &[String] = &match self.kind {
            super::Kind::Sqlite => ["INSERT", "UPDATE", "DELETE"].map(|what| {
                format!("CREATE TRIGGER broken_{what} AFTER {what} ON {table} BEGIN SELECT RAISE(ABORT, 'broken'); END")
            }),
            super::Kind::Postgres => [
                "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'broken'; END $$".to_owned(),
                format!("CREATE TRIGGER broken AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION broken()"),
                "SELECT 1".to_owned(),
            ],
        };
        for statement in statements {
            self.tamper(statement).await.unwrap();
        }
    }

    /// Undoes [`Self::break_table`].
    pub(crate) async fn mend_table(&self, table: &str) {
        let statements: &[String] = &match self.kind {
            super::Kind::Sqlite => {
                ["INSERT", "UPDATE", "DELETE"].map(|what| format!("DROP TRIGGER broken_{what}"))
            }
            super::Kind::Postgres => [
                format!("DROP TRIGGER broken ON {table}"),
                "DROP FUNCTION broken".to_owned(),
                "SELECT 1".to_owned(),
            ],
        };
        for statement in statements {
            self.tamper(statement).await.unwrap();
        }
    }

    /// A verdict on `adire` as the gate would write it; `at`: the later, the newer.
    pub(crate) async fn add_verdict(&self, id: &str, at: i64, given: &Verdict) {
        sqlx::query(
            "INSERT INTO verdicts (id, name, version, champion, base, policy_hash, outcome, criteria, created_at) \
             VALUES ($1, 'adire', $2, $3, $4, $5, $6, '[]', $7)",
        )
        .bind(id)
        .bind(i64::from(given.version))
        .bind(given.champion.map(i64::from))
        .bind(given.base.as_deref())
        .bind(&given.policy_hash)
        .bind(given.outcome.word())
        .bind(at)
        .execute(&self.pool)
        .await
        .unwrap();
    }
}
