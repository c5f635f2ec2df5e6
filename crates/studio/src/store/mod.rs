//! The database: rows in, rows out. SQL is kept to what SQLite and PostgreSQL share. Knows no queue and no
//! events, only the numbers of those that stay.

// The rows' macro is needed by those below it.
#[macro_use]
mod row;

mod adapters;
mod datasets;
mod deletion;
mod embeddings;
mod generations;
mod images;
mod measurements;
mod settings;
mod timings;
mod training;
mod uploads;

use std::{path::Path, time::Duration};

use sqlx::{
    SqlSafeStr, SqlitePool,
    migrate::{MigrateError, Migration, MigrationType, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

pub(crate) use adapters::Listed;
pub(crate) use datasets::{DatasetImageRow, DatasetRow};
pub(crate) use generations::{Finish, GenerationRow};
pub(crate) use images::{ImageRow, image_url};
pub(crate) use training::{RunFacts, RunOutcome, RunRow};
pub(crate) use uploads::Uploaded;

use crate::{StudioError, client::Visitor};

/// Every step of the layout, embedded in the program. A file that was released is never edited: its checksum is in
/// people's databases. Listed by hand because sqlx's macro would build SQLite a second time, for the compiler's host.
const STEPS: [(i64, &str, &str); 7] = [
    (1, "studio", include_str!("../../migrations/0001_studio.sql")),
    (2, "uploads and receipts", include_str!("../../migrations/0002_uploads_and_receipts.sql")),
    (3, "datasets and training", include_str!("../../migrations/0003_datasets_and_training.sql")),
    (4, "limits and deletion", include_str!("../../migrations/0004_limits_and_deletion.sql")),
    (5, "embeddings", include_str!("../../migrations/0005_embeddings.sql")),
    (6, "class images", include_str!("../../migrations/0006_class_images.sql")),
    (7, "adapter warnings", include_str!("../../migrations/0007_adapter_warnings.sql")),
];

/// How long a statement waits for another program's lock.
const BUSY: Duration = Duration::from_secs(5);

/// The database of a data folder; clones share its connections.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pool: SqlitePool,
}

impl Store {
    /// Opens or makes the database file and brings it to this program's version.
    pub(crate) async fn open(file: &Path) -> Result<Self, StudioError> {
        // WAL with NORMAL: a crash of the program loses nothing; a power cut can lose the last moments but
        // never leaves a half-written row, and no commit waits for the disk.
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .foreign_keys(true)
            // What is deleted is overwritten: a prompt that somebody took back is not left in a free page.
            .pragma("secure_delete", "ON")
            .busy_timeout(BUSY);
        // Few connections: SQLite has one writer at a time anyway.
        let pool = SqlitePoolOptions::new()
            .max_connections(4)
            .acquire_timeout(BUSY * 2)
            .connect_with(options)
            .await
            .map_err(|error| at(file, storage(error)))?;
        migrations().run(&pool).await.map_err(|error| at(file, migration(error)))?;
        let store = Self { pool };
        store.digest_visitors().await.map_err(|error| at(file, error))?;
        Ok(store)
    }

    /// Replaces visitors' ids, which rows had until 0004, by their digests: SQLite cannot compute them. An id is a UUID
    /// of 36 characters; a digest has 32.
    async fn digest_visitors(&self) -> Result<(), StudioError> {
        let mut change = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(storage)?;
        let mut replaced = 0;
        for (table, column) in [("generations", "visitor"), ("images", "visitor"), ("upload_owners", "owner")]
        {
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

    /// Simulates a full disk: rows that need a new page are refused.
    #[cfg(test)]
    pub(crate) async fn fill_up(&self) {
        let mut held = Vec::new();
        for _ in 0..self.pool.options().get_max_connections() {
            let mut connection = self.pool.acquire().await.unwrap();
            // SQLite takes the present size for any limit below it.
            sqlx::query("PRAGMA max_page_count = 1").execute(&mut *connection).await.unwrap();
            held.push(connection);
        }
    }

    /// Ends every connection and folds the write-ahead log into the file.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

fn migrations() -> Migrator {
    Migrator::with_migrations(
        STEPS
            .into_iter()
            .map(|(version, name, sql)| {
                Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
            })
            .collect(),
    )
}

fn at(file: &Path, error: StudioError) -> StudioError {
    StudioError::Storage(format!("{}: {error}", file.display()))
}

fn migration(error: MigrateError) -> StudioError {
    match error {
        MigrateError::VersionMissing(_) | MigrateError::VersionTooNew(..) => StudioError::Storage(
            "This database was written by a newer version of Adire. Use that version, or pass another data folder with --data."
                .to_owned(),
        ),
        MigrateError::VersionMismatch(version) => StudioError::Storage(format!(
            "This database was created by a development version of Adire (migration {version} differs). Pass another data folder with --data."
        )),
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => storage(error),
        other => StudioError::Storage(format!("The database could not be migrated: {other}.")),
    }
}

/// A database error as a sentence that says what to do. The numbers are SQLite's primary result codes.
pub(crate) fn storage(error: sqlx::Error) -> StudioError {
    let code = match &error {
        sqlx::Error::Database(database) => database.code().and_then(|code| code.parse::<u32>().ok()),
        _ => None,
    };
    StudioError::Storage(match (code.map(|code| code & 0xff), &error) {
        (Some(5 | 6), _) => "The database is locked by another program. Close it and try again.".to_owned(),
        (Some(8), _) => {
            "The database cannot be written. Check the permissions of the data folder.".to_owned()
        }
        (Some(10), _) => format!("Disk error in the database: {error}."),
        (Some(11), _) => format!("The database is damaged: {error}. Restore it from a backup."),
        (Some(13), _) => return StudioError::DiskFull,
        (Some(14), _) => {
            "The database cannot be opened. Check the permissions of the data folder.".to_owned()
        }
        (Some(26), _) => {
            "The file is not a SQLite database. Move it, or pass another data folder.".to_owned()
        }
        (_, sqlx::Error::PoolTimedOut) => "The database is too busy; try again in a moment.".to_owned(),
        (_, sqlx::Error::PoolClosed) => return StudioError::ShuttingDown,
        _ => format!("Database error: {error}."),
    })
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
        .map_err(|error| StudioError::Storage(format!("The stored {what} of {id} is unreadable: {error}.")))
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

    use super::{STEPS, Store};
    use crate::StudioError;

    /// Every statement of the crate, from `sqlx::query` to its `await`, with the file it is in.
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
        let store = Store::open(&folder.path().join("adire.db")).await.unwrap();
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
            };
            match store.insert_adapter(&new).await {
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

    /// A file that nobody lists would never be applied.
    #[test]
    fn every_migration_file_is_listed() {
        let folder = Path::new("migrations");
        let files: BTreeSet<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let listed: BTreeSet<String> = STEPS
            .iter()
            .map(|(version, name, _)| format!("{version:04}_{}.sql", name.replace(' ', "_")))
            .collect();
        assert_eq!(listed, files);
    }
}
