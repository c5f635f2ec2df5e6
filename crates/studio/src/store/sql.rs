//! SQLite and PostgreSQL behind one kind of pool: how they are reached, what each connection is set to, how a
//! transaction that writes begins, and what errors mean. Statements are one text for both; what that text must avoid
//! is in `docs/database.md`.

use std::{fmt, path::Path, str::FromStr, time::Duration};

use sqlx::{
    Any, AnyConnection, AnyPool, Connection as _, Database, Encode, Executor as _, Type,
    any::{AnyPoolOptions, AnyTypeInfo},
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgConnectOptions, PgDatabaseError},
};

use crate::StudioError;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);

/// Set on every connection, in this order: the others need a lock for a moment. WAL with NORMAL: a crash of the program
/// loses nothing; a power cut can lose the last moments but never leaves a half-written row, and no commit waits for the
/// disk. What is deleted is overwritten, so that a deleted prompt is not left in a free page, and large sorts write no prompts
/// to `/tmp`, which is small in a container.
const SQLITE: [&str; 6] = [
    "PRAGMA busy_timeout = 5000",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA secure_delete = ON",
    "PRAGMA temp_store = MEMORY",
];

/// An operator's own defaults would change what transactions see, and a lock that is never released would stop the
/// studio.
const POSTGRES: [&str; 2] =
    ["SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED", "SET lock_timeout = '10s'"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Sqlite,
    Postgres,
}

impl Kind {
    pub(super) fn of(connection: &AnyConnection) -> Self {
        if connection.backend_name() == "SQLite" { Self::Sqlite } else { Self::Postgres }
    }
}

/// The URL of a PostgreSQL database. It is shown without its user and password.
#[derive(Clone)]
pub struct DatabaseUrl {
    url: String,
    shown: String,
}

/// Options a URL may have after the question mark. sqlx would log the value of an unknown one.
const OPTIONS: [&str; 18] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

impl FromStr for DatabaseUrl {
    type Err = StudioError;

    /// The message never repeats any part of the URL: where a character of a password is not encoded, any part may be
    /// the password.
    fn from_str(url: &str) -> Result<Self, StudioError> {
        let refuse = |why: &str| {
            Err(StudioError::Storage(format!(
                "The database URL cannot be used: {why}. It has the form postgres://user:password@host:5432/name, with \
                 special characters of the password as %XX."
            )))
        };
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return refuse("it does not begin with postgres://");
        }
        if url.contains('#') {
            return refuse("it contains #, which must be written %23");
        }
        let options = url.split_once('?').map_or("", |(_, options)| options);
        for option in options.split('&').filter(|option| !option.is_empty()) {
            let key = option.split('=').next().unwrap_or_default();
            let is_setting = key.starts_with("options[") && key.ends_with(']');
            if !OPTIONS.contains(&key) && !is_setting {
                return refuse("it has an option after ? that is unknown");
            }
        }
        let Ok(parsed) = PgConnectOptions::from_str(url) else {
            return refuse("it is malformed");
        };
        let Some(name) = parsed.get_database() else {
            return refuse("it names no database");
        };
        if name.contains(['@', '/', ':']) {
            return refuse("the name of the database contains @, / or :");
        }
        let place = match parsed.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", parsed.get_host(), parsed.get_port()),
        };
        let shown = format!("PostgreSQL database {name} at {place}");
        Ok(Self { url: url.to_owned(), shown })
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// Where a store's rows are, for errors.
pub(super) struct Place {
    url: String,
    pub(super) shown: String,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl From<&DatabaseUrl> for Place {
    fn from(url: &DatabaseUrl) -> Self {
        Self { url: url.url.clone(), shown: url.shown.clone() }
    }
}

impl Place {
    /// A file, which is created where it is absent.
    pub(super) fn file(file: &Path) -> Result<Self, StudioError> {
        let shown = file.display().to_string();
        let path = std::path::absolute(file).ok();
        let Some(path) = path.as_deref().and_then(Path::to_str) else {
            return Err(StudioError::Storage(format!(
                "The database {shown} cannot be opened: its path is not valid UTF-8. Pass another data folder with --data."
            )));
        };
        // sqlx decodes the path and encodes nothing itself.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
        let mut encoded = String::with_capacity(path.len());
        for byte in path.bytes() {
            if plain(byte) {
                encoded.push(char::from(byte));
            } else {
                encoded.push_str(&format!("%{byte:02X}"));
            }
        }
        Ok(Self { url: format!("sqlite://{encoded}?mode=rwc"), shown })
    }

    /// A connection outside any pool.
    pub(super) async fn connect(&self) -> Result<AnyConnection, StudioError> {
        sqlx::any::install_default_drivers();
        let made = async {
            let mut connection = AnyConnection::connect(&self.url).await?;
            configure(&mut connection).await?;
            Ok(connection)
        };
        tokio::time::timeout(CONNECT, made)
            .await
            .unwrap_or(Err(sqlx::Error::PoolTimedOut))
            .map_err(|error| self.unreachable(error))
    }

    pub(super) async fn pool(&self, kind: Kind) -> Result<AnyPool, StudioError> {
        AnyPoolOptions::new()
            // SQLite has one writer at a time anyway.
            .max_connections(if kind == Kind::Sqlite { 4 } else { 16 })
            .acquire_timeout(CONNECT)
            // A file does not go away as a server does.
            .test_before_acquire(kind == Kind::Postgres)
            .after_connect(|connection, _| Box::pin(configure(connection)))
            .connect(&self.url)
            .await
            .map_err(|error| self.unreachable(error))
    }

    /// Why no connection was made.
    fn unreachable(&self, error: sqlx::Error) -> StudioError {
        let why = match &error {
            sqlx::Error::Io(error) => crate::folder::reason(error),
            sqlx::Error::Tls(error) => format!("TLS failed: {error}"),
            sqlx::Error::PoolTimedOut => "no answer within 10 seconds".to_owned(),
            _ => return self.name(storage(error)),
        };
        StudioError::Storage(format!("The {} cannot be reached: {why}.", self.shown))
    }

    /// The same error, with where it happened.
    pub(super) fn name(&self, error: StudioError) -> StudioError {
        StudioError::Storage(format!("{}: {error}", self.shown))
    }
}

async fn configure(connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    let statements: &[&str] = match Kind::of(connection) {
        Kind::Sqlite => &SQLITE,
        Kind::Postgres => &POSTGRES,
    };
    for statement in statements {
        connection.execute(*statement).await?;
    }
    Ok(())
}

/// Refuses a PostgreSQL database whose text is not UTF-8: prompts may hold any character.
pub(super) async fn check_encoding(connection: &mut AnyConnection) -> Result<(), StudioError> {
    let (encoding,): (String,) = sqlx::query_as(
        "SELECT pg_encoding_to_char(encoding) || '' FROM pg_database WHERE datname = current_database()",
    )
    .fetch_one(connection)
    .await
    .map_err(storage)?;
    if encoding == "UTF8" {
        return Ok(());
    }
    Err(StudioError::Storage(format!(
        "The database stores text as {encoding}. Create it with ENCODING 'UTF8', see docs/database.md."
    )))
}

/// Whether a row can have this text: PostgreSQL refuses a NUL, even in a search.
pub(super) fn storable(text: &str) -> bool {
    !text.contains('\0')
}

/// An `f64` that may be NULL. sqlx 0.9 gives a NULL of it the type float4; PostgreSQL then expects float4 from every
/// later value of the same statement and refuses it. A test fails when sqlx is mended; then this can go.
pub(super) struct Real(pub(super) Option<f64>);

impl Type<Any> for Real {
    fn type_info() -> AnyTypeInfo {
        <f64 as Type<Any>>::type_info()
    }
}

impl Encode<'_, Any> for Real {
    fn encode_by_ref(&self, to: &mut <Any as Database>::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
        match self.0 {
            Some(value) => Encode::<Any>::encode_by_ref(&value, to),
            // The other half of the swap.
            None => Encode::<Any>::encode_by_ref(&None::<f32>, to),
        }
    }
}

/// A database error as a sentence that says what to do.
pub(crate) fn storage(error: sqlx::Error) -> StudioError {
    let (code, postgres) = match &error {
        sqlx::Error::Database(database) => (
            database.code().unwrap_or_default().into_owned(),
            database.try_downcast_ref::<PgDatabaseError>().is_some(),
        ),
        _ => (String::new(), false),
    };
    // An SQLSTATE can be all digits, so which database it came from is asked first.
    let known = if postgres { of_postgres(&code) } else { of_sqlite(&code, &error) };
    match (known, &error) {
        (Some(known), _) => known,
        (None, sqlx::Error::PoolTimedOut) => {
            StudioError::Storage("The database is too busy; try again in a moment.".to_owned())
        }
        (None, sqlx::Error::PoolClosed) => StudioError::ShuttingDown,
        (None, sqlx::Error::Io(error)) => StudioError::Storage(format!(
            "The connection to the database failed: {}. Try again in a moment.",
            crate::folder::reason(error)
        )),
        (None, sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_)) => {
            StudioError::Damaged(format!("A row of the database is unreadable: {error}."))
        }
        (None, _) => StudioError::Storage(format!("Database error: {error}.")),
    }
}

/// By SQLite's primary result code.
fn of_sqlite(code: &str, error: &sqlx::Error) -> Option<StudioError> {
    Some(StudioError::Storage(match code.parse::<u32>().ok()? & 0xff {
        5 | 6 => "The database is locked by another program. Close it and try again.".to_owned(),
        8 => "The database cannot be written. Check the permissions of the data folder.".to_owned(),
        10 => format!("Disk error in the database: {error}."),
        11 => format!("The database is damaged: {error}. Restore it from a backup."),
        13 => return Some(StudioError::DiskFull),
        14 => "The database cannot be opened. Check the permissions of the data folder.".to_owned(),
        26 => "The file is not a SQLite database. Move it, or pass another data folder.".to_owned(),
        _ => return None,
    }))
}

/// By SQLSTATE.
fn of_postgres(code: &str) -> Option<StudioError> {
    Some(StudioError::Storage(
        match code {
            "53100" => return Some(StudioError::DiskFull),
            "22021" => {
                let message = "A text contains a NUL character, which cannot be stored.";
                return Some(StudioError::invalid("text", message));
            }
            "40001" | "40P01" | "55P03" | "57014" => "The database is too busy; try again in a moment.",
            "53300" => {
                "The database has no connection left. Raise its max_connections, or close other programs that use it."
            }
            "57P01" | "57P02" | "57P03" => "The database is stopping or starting; try again in a moment.",
            "25006" => "The database is read-only. Connect to the primary server.",
            "28P01" | "28000" => {
                "The database refused the user or the password. Check the URL of --database, and pg_hba.conf."
            }
            "3D000" => "The database does not exist. Create it first; see docs/database.md.",
            "42501" => "The user of the database may not do this. Make that user the owner of the database.",
            _ => return None,
        }
        .to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::postgres;

    #[tokio::test]
    #[ignore = "needs PostgreSQL: cargo xtask test postgres"]
    async fn a_null_keeps_the_type_of_a_double() {
        let folder = tempfile::tempdir().unwrap();
        let url: DatabaseUrl = postgres::url_of(folder.path()).await.parse().unwrap();
        let mut connection = Place::from(&url).connect().await.unwrap();
        connection.execute("CREATE TEMPORARY TABLE reals (x DOUBLE PRECISION)").await.unwrap();
        for value in [None, Some(0.1), None, Some(1e300)] {
            sqlx::query("INSERT INTO reals (x) VALUES ($1)")
                .bind(Real(value))
                .execute(&mut connection)
                .await
                .unwrap();
        }
        let found: Vec<(Option<f64>,)> = sqlx::query_as("SELECT x FROM reals ORDER BY x NULLS LAST")
            .fetch_all(&mut connection)
            .await
            .unwrap();
        assert_eq!(found, [(Some(0.1),), (Some(1e300),), (None,), (None,)]);

        // Without `Real`; when this works, sqlx is mended and `Real` can go.
        let plain = "INSERT INTO reals (x) VALUES ($1) RETURNING x";
        sqlx::query(plain).bind(None::<f64>).fetch_all(&mut connection).await.unwrap();
        assert!(sqlx::query(plain).bind(Some(0.1)).fetch_all(&mut connection).await.is_err());
    }

    #[test]
    fn a_password_is_never_shown() {
        for url in [
            "postgres://adire:s3cret@db.example:5433/studio",
            "postgresql://adire@db.example:5433/studio?password=s3cret&sslmode=require",
        ] {
            let url: DatabaseUrl = url.parse().unwrap();
            assert_eq!(url.to_string(), "PostgreSQL database studio at db.example:5433");
            assert!(!format!("{url:?}").contains("s3cret"));
        }
        // Each has a character that should have been encoded, or is wrong in another way.
        for url in [
            "mysql://adire:s3cret@localhost/studio",
            "adire:s3cret@localhost/studio",
            "postgres://adire:s3cret#x@localhost/studio",
            "postgres://adire:s3cret?x@localhost/studio",
            "postgres://adire:s3cret/x@localhost/studio",
            "postgres://adire:5432/s3cret@localhost/studio",
            "postgres://adire:x@localhost:s3cret/studio",
            "postgres://localhost/studio?s3cret=1",
            "postgres://localhost/studio?sslmode=s3cret",
            "postgres://adire:s3cret@localhost",
        ] {
            let refused = url.parse::<DatabaseUrl>().unwrap_err().to_string();
            assert!(
                !refused.contains("s3cret") && refused.contains("postgres://user:password@"),
                "{refused}"
            );
        }
    }

    #[tokio::test]
    async fn a_database_that_cannot_be_reached_is_named() {
        let url: DatabaseUrl = "postgres://adire:s3cret@127.0.0.1:1/studio".parse().unwrap();
        let error = Place::from(&url).connect().await.unwrap_err().to_string();
        assert!(
            error.starts_with("The PostgreSQL database studio at 127.0.0.1:1 cannot be reached: "),
            "{error}"
        );
        assert!(!error.contains("s3cret"), "{error}");
    }

    #[tokio::test]
    async fn sorts_of_sqlite_stay_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let mut connection = Place::file(&folder.path().join("adire.db")).unwrap().connect().await.unwrap();
        let (store,): (i64,) = sqlx::query_as("PRAGMA temp_store").fetch_one(&mut connection).await.unwrap();
        assert_eq!(store, 2, "MEMORY");
    }

    #[tokio::test]
    async fn a_file_may_have_any_name_that_is_text() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a b.db", "x%41y.db", "q?m#h&mode=ro.db", "ü “é”.db"] {
            let file = folder.path().join(name);
            Place::file(&file).unwrap().connect().await.unwrap().close().await.unwrap();
            assert!(file.is_file(), "{name}");
        }
    }
}
