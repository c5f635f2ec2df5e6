//! The database: rows in, rows out. SQL is kept to what SQLite and PostgreSQL share. Knows no queue and no
//! events, only the numbers of those that stay.

// The rows' macro is needed by those below it.
#[macro_use]
mod row;

mod adapters;
mod datasets;
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

pub(crate) use datasets::{DatasetRow, PictureRow};
pub(crate) use generations::{Finish, GenerationRow};
pub(crate) use images::{ImageRow, image_url};
pub(crate) use training::{JobEnd, JobRow};

use crate::StudioError;

/// Every step of the layout, embedded in the program. A file that was released is never edited: its checksum is in
/// people's databases. Listed by hand because sqlx's macro would build SQLite a second time, for the compiler's host.
const STEPS: [(i64, &str, &str); 4] = [
    (1, "studio", include_str!("../../migrations/0001_studio.sql")),
    (2, "uploads and receipts", include_str!("../../migrations/0002_uploads_and_receipts.sql")),
    (3, "datasets and training", include_str!("../../migrations/0003_datasets_and_training.sql")),
    (6, "class images", include_str!("../../migrations/0006_class_images.sql")),
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
            .busy_timeout(BUSY);
        // Few connections: SQLite has one writer at a time anyway.
        let pool = SqlitePoolOptions::new()
            .max_connections(4)
            .acquire_timeout(BUSY * 2)
            .connect_with(options)
            .await
            .map_err(|error| at(file, storage(error)))?;
        migrations().run(&pool).await.map_err(|error| at(file, migration(error)))?;
        Ok(Self { pool })
    }

    /// From now on there is no room for another row that needs a page: what a full disk does.
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
            "This database was written by a newer version of Adire. Start that version, or name another data \
             folder with --data."
                .to_owned(),
        ),
        MigrateError::VersionMismatch(version) => StudioError::Storage(format!(
            "This database was made by a development version of Adire (step {version} of its layout differs). \
             Name another data folder with --data."
        )),
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => storage(error),
        other => StudioError::Storage(format!("The database cannot be brought up to date: {other}.")),
    }
}

/// A database error as a sentence that says what to do. The numbers are SQLite's primary result codes.
pub(crate) fn storage(error: sqlx::Error) -> StudioError {
    let code = match &error {
        sqlx::Error::Database(database) => database.code().and_then(|code| code.parse::<u32>().ok()),
        _ => None,
    };
    StudioError::Storage(match (code.map(|code| code & 0xff), &error) {
        (Some(5 | 6), _) => {
            "The database is locked by another program. Close that one and try again.".to_owned()
        }
        (Some(8), _) => {
            "The database cannot be written. Check the permissions of the data folder.".to_owned()
        }
        (Some(10), _) => format!("The disk did not read or write the database: {error}."),
        (Some(11), _) => format!("The database is damaged: {error}. Restore it from a backup."),
        (Some(13), _) => return StudioError::DiskFull,
        (Some(14), _) => {
            "The database cannot be opened. Check the permissions of the data folder.".to_owned()
        }
        (Some(26), _) => {
            "This file is no SQLite database. Move it away or name another data folder.".to_owned()
        }
        (_, sqlx::Error::PoolTimedOut) => "The database is too busy; try again in a moment.".to_owned(),
        (_, sqlx::Error::PoolClosed) => return StudioError::ShuttingDown,
        _ => format!("The database refused: {error}."),
    })
}

/// Decodes JSON from a row.
fn decode<T: serde::de::DeserializeOwned>(text: &str, what: &str, id: &str) -> Result<T, StudioError> {
    serde_json::from_str(text)
        .map_err(|error| StudioError::Storage(format!("The stored {what} of {id} cannot be read: {error}.")))
}

/// Encodes JSON for a row. Our types have string keys and finite numbers only, so this does not fail in
/// practice; if it ever does, it is an error and no panic.
fn encode<T: serde::Serialize>(value: &T) -> Result<String, StudioError> {
    serde_json::to_string(value).map_err(|error| StudioError::Storage(format!("JSON: {error}.")))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::STEPS;

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
