//! The database: rows in, rows out, on SQLite or on PostgreSQL with one text of each statement. Knows no queue and no
//! events, only the numbers of those that stay.

// The rows' macro is needed by those below it.
#[macro_use]
mod row;

mod adapters;
mod alerts;
mod batch;
mod blobs;
mod checkpoints;
mod comparisons;
mod datasets;
mod deletion;
mod embeddings;
mod evaluations;
mod flags;
mod generations;
mod history;
mod images;
mod imports;
mod jobs;
mod ledger;
mod lineage;
mod measurements;
mod mirrors;
mod pushes;
mod searchable;
mod settings;
mod shadow_pairs;
mod shadows;
mod shares;
mod sheets;
mod smoke;
mod sql;
mod stats;
mod timings;
mod training;
mod uploads;

use std::{path::Path, sync::Arc, time::Duration};

use adire_protocol::EmbeddingRecord;
use futures::future::BoxFuture;
use sqlx::{
    Any, AnyConnection, AnyPool, Connection as _, SqlSafeStr, Transaction,
    migrate::{MigrateError, Migration, MigrationType, Migrator},
};
use tokio::sync::Mutex;

use sql::{Kind, Place};

pub(crate) use adapters::{Addition, Listed};
pub(crate) use alerts::{NewAlert, Observed};
pub(crate) use comparisons::{ComparisonRow, VoteResult};
pub(crate) use datasets::{DatasetImageRow, DatasetRow};
pub(crate) use evaluations::{EvaluationRow, ImageScore, NewEvaluation, NewImage};
pub(crate) use generations::GenerationRow;
pub(crate) use history::HistoryFilter;
pub(crate) use images::{ImageRow, Inserted, Written, image_url};
pub(crate) use jobs::{About, OpenJob, Release};
pub(crate) use lineage::{DatasetOrigin, EvaluationOrigin, RunOrigin};
pub(crate) use searchable::words_of;
pub(crate) use shadow_pairs::{KeptPair, PairRow, PairScores, Waiting};
pub(crate) use shadows::{End, NewShadow, ShadowRow, StyleReference};
pub(crate) use smoke::SmokeRow;
pub use sql::DatabaseUrl;
pub(crate) use sql::storage;
pub(crate) use stats::{StatGroup, StatTotal};
pub(crate) use training::{RunFacts, RunRow};
pub(crate) use uploads::Uploaded;

use crate::{StudioError, client::Visitor};

/// A step of the layout: its number, its name, and its text on SQLite and on PostgreSQL.
type Step = (i64, &'static str, &'static str, &'static str);

macro_rules! same {
    ($version:literal, $name:literal, $file:literal) => {
        (
            $version,
            $name,
            include_str!(concat!("../../migrations/", $file)),
            include_str!(concat!("../../migrations/", $file)),
        )
    };
}

/// Every step of the layout, embedded in the program. A file that was released is never edited: its checksum is in
/// people's databases. Listed by hand because sqlx's macro would build SQLite a second time, for the compiler's host.
const STEPS: [Step; 33] = [
    same!(1, "studio", "0001_studio.sql"),
    same!(2, "uploads and receipts", "0002_uploads_and_receipts.sql"),
    same!(3, "datasets and training", "0003_datasets_and_training.sql"),
    (
        4,
        "limits and deletion",
        include_str!("../../migrations/0004_limits_and_deletion.sql"),
        include_str!("../../migrations/postgres/0004_limits_and_deletion.sql"),
    ),
    same!(5, "embeddings", "0005_embeddings.sql"),
    same!(6, "class images", "0006_class_images.sql"),
    same!(7, "adapter warnings", "0007_adapter_warnings.sql"),
    (
        8,
        "flags",
        include_str!("../../migrations/sqlite/0008_flags.sql"),
        include_str!("../../migrations/postgres/0008_flags.sql"),
    ),
    (
        9,
        "blob owners",
        include_str!("../../migrations/sqlite/0009_blob_owners.sql"),
        include_str!("../../migrations/postgres/0009_blob_owners.sql"),
    ),
    (
        10,
        "jobs",
        include_str!("../../migrations/sqlite/0010_jobs.sql"),
        include_str!("../../migrations/postgres/0010_jobs.sql"),
    ),
    (
        11,
        "registry",
        include_str!("../../migrations/sqlite/0011_registry.sql"),
        include_str!("../../migrations/postgres/0011_registry.sql"),
    ),
    (
        12,
        "evaluations",
        include_str!("../../migrations/sqlite/0012_evaluations.sql"),
        include_str!("../../migrations/postgres/0012_evaluations.sql"),
    ),
    (
        13,
        "shadows",
        include_str!("../../migrations/sqlite/0013_shadows.sql"),
        include_str!("../../migrations/postgres/0013_shadows.sql"),
    ),
    (
        14,
        "image adapters",
        include_str!("../../migrations/sqlite/0014_image_adapters.sql"),
        include_str!("../../migrations/postgres/0014_image_adapters.sql"),
    ),
    same!(15, "evaluation scores", "0015_evaluation_scores.sql"),
    same!(16, "history", "0016_history.sql"),
    same!(17, "shares", "0017_shares.sql"),
    same!(18, "comparisons", "0018_comparisons.sql"),
    same!(20, "stats", "0020_stats.sql"),
    same!(21, "alerts", "0021_alerts.sql"),
    same!(22, "pushes", "0022_pushes.sql"),
    same!(23, "mirrors", "0023_mirrors.sql"),
    same!(24, "imports", "0024_imports.sql"),
    same!(25, "sheets", "0025_sheets.sql"),
    (
        26,
        "history words",
        include_str!("../../migrations/sqlite/0026_history_words.sql"),
        include_str!("../../migrations/postgres/0026_history_words.sql"),
    ),
    (
        27,
        "history trigrams",
        include_str!("../../migrations/sqlite/0027_history_trigrams.sql"),
        include_str!("../../migrations/postgres/0027_history_trigrams.sql"),
    ),
    same!(28, "ratings", "0028_ratings.sql"),
    (
        33,
        "checkpoints",
        include_str!("../../migrations/sqlite/0033_checkpoints.sql"),
        include_str!("../../migrations/postgres/0033_checkpoints.sql"),
    ),
    (
        34,
        "history adapters",
        include_str!("../../migrations/sqlite/0034_history_adapters.sql"),
        include_str!("../../migrations/postgres/0034_history_adapters.sql"),
    ),
    same!(35, "prompts of versions", "0035_prompts_of_versions.sql"),
    (
        36,
        "evidence of moves",
        include_str!("../../migrations/sqlite/0036_evidence_of_moves.sql"),
        include_str!("../../migrations/postgres/0036_evidence_of_moves.sql"),
    ),
    same!(37, "kept steps", "0037_kept_steps.sql"),
    same!(38, "additions in the ledger", "0038_additions_in_the_ledger.sql"),
];

/// The key of the advisory lock that a studio holds on its PostgreSQL database: “adire”.
const LOCK: i64 = 0x61_6469_7265;

/// The key of the lock that [`Store::change_alone`] takes.
const ALONE: i64 = LOCK + 1;

/// How long a starting server waits for the one before it to release the database.
const PATIENCE: Duration = Duration::from_secs(3);

/// The database of a studio; clones share its connections.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pool: AnyPool,
    kind: Kind,
    /// Holds the lock on a PostgreSQL database until the store is closed or dropped. On SQLite the data folder's lock
    /// does that.
    guard: Arc<Mutex<Option<AnyConnection>>>,
    place: Arc<Place>,
    /// SQLite's connection for batches, see `batch`. It has its own, so that none waits for those that read, and what is
    /// written most is in one cache.
    lane: Arc<Mutex<Option<AnyConnection>>>,
    /// The embeddings, once they have been read.
    embeddings: Arc<Mutex<Option<Vec<EmbeddingRecord>>>>,
}

impl Store {
    /// Opens the database that the URL names, or `adire.db` in the data folder, and brings it to this program's version.
    ///
    /// Boxed, because the compiler does not see through the connections' lifetimes that this is `Send`.
    pub(crate) fn open(
        data: &Path,
        database: Option<&DatabaseUrl>,
    ) -> BoxFuture<'static, Result<Self, StudioError>> {
        let (data, database) = (data.to_owned(), database.cloned());
        Box::pin(async move {
            #[cfg(test)]
            let database = match database {
                Some(url) => Some(url),
                None => crate::tests::postgres::database_of(&data).await,
            };
            match database {
                Some(url) => Self::open_url(&url).await,
                None => Self::open_file(&data.join("adire.db")).await,
            }
        })
    }

    /// Opens a SQLite file, which is created where it is absent.
    pub(crate) async fn open_file(file: &Path) -> Result<Self, StudioError> {
        let place = Place::file(file)?;
        let mut connection = place.connect().await?;
        let migrated = migrate(&mut connection, Kind::Sqlite).await;
        let closed = connection.close().await;
        migrated.and(closed.map_err(storage)).map_err(|error| place.name(error))?;
        let store = Self::pooled(place, Kind::Sqlite, None).await?;
        store.digest_visitors().await.map_err(|error| store.place.name(error))?;
        store.read_recipes().await.map_err(|error| store.place.name(error))?;
        Ok(store)
    }

    pub(crate) async fn open_url(url: &DatabaseUrl) -> Result<Self, StudioError> {
        let place = Place::from(url);
        let mut guard = place.connect().await?;
        let ready = async {
            sql::check_encoding(&mut guard).await?;
            claim(&mut guard).await?;
            migrate(&mut guard, Kind::Postgres).await
        };
        if let Err(error) = ready.await {
            // sqlx leaves its own lock on the connection when a migration fails; it goes with the connection.
            let _ = guard.close().await;
            return Err(place.name(error));
        }
        let store = Self::pooled(place, Kind::Postgres, Some(guard)).await?;
        store.read_recipes().await.map_err(|error| store.place.name(error))?;
        Ok(store)
    }

    async fn pooled(place: Place, kind: Kind, guard: Option<AnyConnection>) -> Result<Self, StudioError> {
        let lane = if kind == Kind::Sqlite { Some(place.connect().await?) } else { None };
        Ok(Self {
            pool: place.pool(kind).await?,
            kind,
            guard: Arc::new(Mutex::new(guard)),
            place: Arc::new(place),
            lane: Arc::new(Mutex::new(lane)),
            embeddings: Arc::default(),
        })
    }

    /// Begins a transaction that writes. SQLite takes its write lock at once: a transaction that reads first and writes
    /// later would fail when another one has written in between.
    async fn change(&self) -> Result<Transaction<'static, Any>, StudioError> {
        match self.kind {
            Kind::Sqlite => self.pool.begin_with("BEGIN IMMEDIATE").await,
            Kind::Postgres => self.pool.begin().await,
        }
        .map_err(storage)
    }

    /// Begins a transaction that writes and that no other one of these runs beside, as on SQLite: what decides whether
    /// uploads and generations stay. A row that is locked would not do, because the row may be absent.
    async fn change_alone(&self) -> Result<Transaction<'static, Any>, StudioError> {
        let mut change = self.change().await?;
        if self.kind == Kind::Postgres {
            sqlx::query("SELECT 1 FROM (SELECT pg_advisory_xact_lock($1)) AS locked")
                .bind(ALONE)
                .execute(&mut *change)
                .await
                .map_err(storage)?;
        }
        Ok(change)
    }

    /// Replaces visitors' ids, which rows had until 0004, by their digests: SQLite cannot compute them. An id is a UUID
    /// of 36 characters; a digest has 32.
    async fn digest_visitors(&self) -> Result<(), StudioError> {
        let mut change = self.change().await?;
        let mut replaced = 0;
        for (table, column) in [
            ("generations", "visitor"),
            ("images", "visitor"),
            ("upload_owners", "owner"),
            ("jobs", "owner"),
            ("history", "visitor"),
        ] {
            let found: Vec<(String,)> = sqlx::query_as(sql(format!(
                "SELECT DISTINCT {column} FROM {table} WHERE LENGTH({column}) = 36"
            )))
            .fetch_all(&mut *change)
            .await
            .map_err(storage)?;
            for (id,) in found {
                sqlx::query(sql(format!("UPDATE {table} SET {column} = $2 WHERE {column} = $1")))
                    .bind(&id)
                    .bind(Visitor(id.clone()).digest())
                    .execute(&mut *change)
                    .await
                    .map_err(storage)?;
                replaced += 1;
            }
        }
        change.commit().await.map_err(storage)?;
        if replaced > 0 {
            self.empty_log().await;
        }
        Ok(())
    }

    /// Brings an empty PostgreSQL database to an earlier step and executes statements on it.
    #[cfg(test)]
    pub(crate) async fn prepare_step(url: &DatabaseUrl, step: i64, statements: &[String]) {
        use sqlx::Executor as _;
        let mut connection = Place::from(url).connect().await.unwrap();
        let steps = steps(Kind::Postgres).into_iter().filter(|migration| migration.version <= step);
        Migrator::with_migrations(steps.collect()).run_direct(None, &mut connection, false).await.unwrap();
        for statement in statements {
            connection.execute(sql(statement.clone())).await.unwrap();
        }
        connection.close().await.unwrap();
    }

    /// Simulates a full disk: rows that need a new page are refused.
    #[cfg(test)]
    pub(crate) async fn fill_up(&self) {
        // SQLite takes the present size for any limit below it.
        self.limit_pages("PRAGMA max_page_count = 1").await;
    }

    /// Undoes [`Self::fill_up`].
    #[cfg(test)]
    pub(crate) async fn make_room(&self) {
        self.limit_pages("PRAGMA max_page_count = 1073741823").await;
    }

    #[cfg(test)]
    async fn limit_pages(&self, pragma: &'static str) {
        assert_eq!(self.kind, Kind::Sqlite);
        let mut held = Vec::new();
        for _ in 0..self.pool.options().get_max_connections() {
            let mut connection = self.pool.acquire().await.unwrap();
            sqlx::query(pragma).execute(&mut *connection).await.unwrap();
            held.push(connection);
        }
        if let Some(lane) = self.lane.lock().await.as_mut() {
            sqlx::query(pragma).execute(lane).await.unwrap();
        }
    }

    /// Ends every connection. SQLite then folds the write-ahead log into the file.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
        if let Some(lane) = self.lane.lock().await.take()
            && let Err(error) = lane.close().await
        {
            tracing::warn!(error = %storage(error), "the database was not closed in order");
        }
        if let Some(guard) = self.guard.lock().await.take()
            && let Err(error) = guard.close().await
        {
            tracing::debug!(error = %storage(error), "the database's lock was not released in order");
        }
    }
}

/// Brings a database to this program's version, on a connection outside the pool: after an error sqlx's lock on a
/// PostgreSQL database stays with the connection, and every other program would wait for it.
async fn migrate(connection: &mut AnyConnection, kind: Kind) -> Result<(), StudioError> {
    Migrator::with_migrations(steps(kind)).run_direct(None, connection, false).await.map_err(migration)
}

fn steps(kind: Kind) -> Vec<Migration> {
    let step = |(version, name, sqlite, postgres): Step| {
        let text = if kind == Kind::Sqlite { sqlite } else { postgres };
        Migration::new(version, name.into(), MigrationType::Simple, text.into_sql_str(), false)
    };
    STEPS.into_iter().map(step).collect()
}

/// Takes the lock on a PostgreSQL database, which ends with the connection. Two servers would each run what the other
/// one has queued.
async fn claim(connection: &mut AnyConnection) -> Result<(), StudioError> {
    let since = std::time::Instant::now();
    loop {
        let (claimed,): (i64,) =
            sqlx::query_as("SELECT CASE WHEN pg_try_advisory_lock($1) THEN 1 ELSE 0 END")
                .bind(LOCK)
                .fetch_one(&mut *connection)
                .await
                .map_err(storage)?;
        if claimed == 1 {
            return Ok(());
        }
        if since.elapsed() > PATIENCE {
            return Err(StudioError::Storage(
                "Another Adire uses this database. Stop that one, or pass another database with --database."
                    .to_owned(),
            ));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn migration(error: MigrateError) -> StudioError {
    match error {
        MigrateError::VersionMissing(_) | MigrateError::VersionTooNew(..) => StudioError::Storage(
            "This database was written by a newer version of Adire. Use that version, or pass another data folder with \
             --data (another database with --database)."
                .to_owned(),
        ),
        MigrateError::VersionMismatch(version) => StudioError::Storage(format!(
            "This database was created by a development version of Adire (migration {version} differs). Pass another data folder with --data."
        )),
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => storage(error),
        other => StudioError::Storage(format!("The database could not be migrated: {other}.")),
    }
}

/// A statement put together from texts of this crate; nothing that came from outside is ever part of it.
///
/// A statement that writes and returns rows ends in `fetch_all`, or runs in a transaction: `fetch_one` and
/// `fetch_optional` stop after the first row, and with them the commit's error is lost, a full disk for example.
/// Columns are named: a cached `SELECT *` breaks when another program adds one. Tests below look after both.
fn sql(text: String) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(text)
}

/// Decodes JSON from a row.
fn decode<T: serde::de::DeserializeOwned>(text: &str, what: &str, id: &str) -> Result<T, StudioError> {
    serde_json::from_str(text)
        .map_err(|error| StudioError::Damaged(format!("The stored {what} of {id} is unreadable: {error}.")))
}

/// Encodes JSON for a row. Our types have string keys and finite numbers only, so this does not fail in
/// practice; if it ever does, it is an error and no panic.
fn encode<T: serde::Serialize>(value: &T) -> Result<String, StudioError> {
    serde_json::to_string(value).map_err(|error| StudioError::Storage(format!("JSON: {error}.")))
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        fs,
        path::{Path, PathBuf},
    };

    use adire_protocol::AdapterVersion;

    use super::{STEPS, Step, Store};
    use crate::StudioError;

    /// Every statement of the crate, from `sqlx::query` to its `await` or in a batch, with the file it is in.
    fn statements() -> Vec<(PathBuf, String)> {
        let (mut folders, mut found) = (vec![PathBuf::from("src")], Vec::new());
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path != Path::new("src/store/mod.rs") {
                    let text = fs::read_to_string(&path).unwrap();
                    let parts = text.split("sqlx::query").skip(1);
                    found.extend(parts.map(|part| {
                        (path.clone(), part.split(".await").next().unwrap_or_default().to_owned())
                    }));
                    let parts = text.split("Statement::of(").skip(1);
                    found.extend(parts.map(|part| {
                        (path.clone(), part.split(".bind").next().unwrap_or_default().to_owned())
                    }));
                }
            }
        }
        assert!(found.len() > 60, "{} statements: are they still found?", found.len());
        found
    }

    /// What is wrong with a statement, see [`super::sql`].
    fn fault(statement: &str) -> Option<&'static str> {
        let words: Vec<&str> = statement.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        let has = |word: &str| words.contains(&word);
        let writes = has("INSERT") || has("UPDATE") || has("DELETE") || has("REPLACE");
        let first = has("fetch_one") || has("fetch_optional") || has("fetch");
        let outside = statement.contains("self.pool") || statement.contains("&pool");
        if writes && first && outside {
            return Some("a write that ends after its first row loses the error of its commit");
        }
        let all = statement.contains("SELECT *") || statement.contains("RETURNING *");
        all.then_some("the columns are not named")
    }

    #[test]
    fn no_write_loses_its_error_and_every_column_is_named() {
        for (file, statement) in statements() {
            assert_eq!(fault(&statement), None, "{}: sqlx::query{statement}", file.display());
        }
        // The rule finds what it is for.
        let lost = r#"_as("INSERT INTO a (b) VALUES ($1) RETURNING b").fetch_one(&self.pool)"#;
        assert!(fault(lost).is_some());
        assert!(fault(&lost.replace("fetch_one", "fetch_optional")).is_some());
        assert!(fault(&lost.replace("fetch_one", "fetch_all")).is_none());
        assert!(fault(&lost.replace("&self.pool", "&mut *change")).is_none());
        assert!(fault(r#"_as("SELECT * FROM a").fetch_all(&self.pool)"#).is_some());
    }

    /// Rows reported as stored exist, however full the disk.
    #[tokio::test]
    async fn a_version_that_a_full_disk_refused_is_not_listed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_file(&folder.path().join("adire.db")).await.unwrap();
        store.fill_up().await;
        let (mut stored, mut refused) = (0, 0);
        for i in 0..100 {
            let new = AdapterVersion {
                name: "full".to_owned(),
                version: 0,
                hash: format!("{i:064}"),
                description: "a long description ".repeat(60),
                trigger: String::new(),
                bytes: 1,
                created_at: i,
                warning: None,
                stage: Default::default(),
                aliases: Vec::new(),
            };
            match store.insert_adapter(&new, None).await {
                Ok(version) => {
                    assert!(version.is_some());
                    stored += 1;
                }
                Err(StudioError::DiskFull) => refused += 1,
                Err(other) => panic!("{other}"),
            }
        }
        assert!(refused > 0, "the disk was never full");
        assert_eq!(store.adapters().await.unwrap().len(), stored);
    }

    /// A file that is not listed would never be applied.
    #[test]
    fn every_migration_file_is_listed() {
        let mut found = BTreeSet::new();
        for folder in ["migrations", "migrations/sqlite", "migrations/postgres"] {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    assert!(found.insert(fs::read_to_string(&path).unwrap()), "{} twice", path.display());
                    let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
                    let known = |(version, title, ..): &Step| {
                        name == format!("{version:04}_{}", title.replace(' ', "_"))
                    };
                    assert!(STEPS.iter().any(known), "{}", path.display());
                }
            }
        }
        let listed: BTreeSet<String> = STEPS
            .iter()
            .flat_map(|(_, _, sqlite, postgres)| [*sqlite, *postgres])
            .map(str::to_owned)
            .collect();
        assert_eq!(listed, found);
    }
}
