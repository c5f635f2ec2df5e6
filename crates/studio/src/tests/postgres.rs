//! The same tests on PostgreSQL: with `ADIRE_TEST_DATABASE=postgres` every data folder of a test has its rows in a
//! database of its own, on one server that this program starts and that ends with it. `cargo xtask test postgres`
//! does that. Tests of what only PostgreSQL does are ignored otherwise.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{LazyLock, OnceLock},
    time::Instant,
};

use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection, postgres::PgConnectOptions};
use tokio::sync::Mutex;

use super::*;
use crate::{
    DatabaseUrl,
    client::Who,
    job::{JobKind, NewJob},
    store::Store,
};

/// The server's end is tied to a pipe: when this program ends, however it ends, the shell reads end-of-file, stops the
/// server and removes the folder.
const RUN: &str = r#"
set -e
server=
end() { if [ -n "$server" ]; then kill -QUIT $server 2>/dev/null && wait $server; fi; cd /; rm -rf "$2"; }
trap 'end "$@"' EXIT
cd "$2"
"$1/initdb" -D data -U adire -A trust -E UTF8 --locale=C --no-sync --no-instructions >initdb.log 2>&1 || { cat initdb.log >&2; exit 1; }
"$1/postgres" -D data -k "$2" -c listen_addresses='' \
  -c fsync=${ADIRE_TEST_FSYNC:-off} -c synchronous_commit=${ADIRE_TEST_FSYNC:-off} -c full_page_writes=off \
  -c wal_level=minimal -c max_wal_senders=0 -c max_connections=200 -c shared_buffers=64MB \
  -c autovacuum=off -c jit=off -c timezone=UTC >server.log 2>&1 </dev/null &
server=$!
echo started
cat >/dev/null
"#;

const TEMPLATE: &str = "adire_template";

/// Whether the tests run on PostgreSQL.
pub(crate) fn chosen() -> bool {
    match std::env::var("ADIRE_TEST_DATABASE").as_deref() {
        Err(_) | Ok("" | "sqlite") => false,
        Ok("postgres") => true,
        Ok(other) => panic!("ADIRE_TEST_DATABASE is {other:?}: use sqlite or postgres"),
    }
}

/// A server on a folder and a socket of its own.
struct Server {
    folder: PathBuf,
    /// Held so that the shell keeps waiting.
    _shell: Child,
    _pipe: ChildStdin,
}

/// Debian's package keeps `initdb` and `postgres` out of the PATH.
fn programs() -> PathBuf {
    if let Some(named) = std::env::var_os("ADIRE_POSTGRES_BIN") {
        return named.into();
    }
    let folders = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = folders
        .filter_map(|entry| {
            let version: u32 = entry.file_name().to_str()?.parse().ok()?;
            let bin = entry.path().join("bin");
            (bin.join("initdb").is_file() && bin.join("postgres").is_file()).then_some((version, bin))
        })
        .max();
    newest.expect("PostgreSQL is not installed: apt-get install postgresql-15, or name ADIRE_POSTGRES_BIN").1
}

/// User and group of that name.
fn account(name: &str) -> Option<(u32, u32)> {
    std::fs::read_to_string("/etc/passwd").ok()?.lines().find_map(|line| {
        let mut part = line.split(':');
        (part.next()? == name).then_some(())?;
        Some((part.nth(1)?.parse().ok()?, part.next()?.parse().ok()?))
    })
}

impl Server {
    fn start() -> Self {
        use std::os::unix::{fs::MetadataExt, process::CommandExt};
        let bin = programs();
        // The path of a socket has at most 107 bytes, so this is not below `target`.
        let folder = std::env::temp_dir().join(format!("adire-pg-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", RUN, "adire-postgres"])
            .args([&bin, &folder])
            .current_dir("/")
            .env_remove("PGDATA")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C in a terminal goes to the tests only.
            .process_group(0);
        if std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) {
            // PostgreSQL refuses to run as root.
            let (user, group) =
                account("postgres").or_else(|| account("nobody")).expect("an unprivileged user");
            std::os::unix::fs::chown(&folder, Some(user), Some(group)).unwrap();
            command.uid(user).gid(group);
        }
        let mut shell = command.spawn().unwrap();
        let pipe = shell.stdin.take().unwrap();
        let first = BufReader::new(shell.stdout.take().unwrap()).lines().next();
        assert_eq!(first.and_then(Result::ok).as_deref(), Some("started"), "PostgreSQL did not start");
        let since = Instant::now();
        let ready = || Command::new(bin.join("pg_isready")).args(["-q", "-h"]).arg(&folder).status();
        while !ready().unwrap().success() {
            let log = || std::fs::read_to_string(folder.join("server.log")).unwrap_or_default();
            assert!(since.elapsed() < Duration::from_secs(30), "PostgreSQL did not answer:\n{}", log());
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { folder, _shell: shell, _pipe: pipe }
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://adire@localhost/{database}?host={}", self.folder.display())
    }

    async fn admin(&self) -> PgConnection {
        self.url("postgres").parse::<PgConnectOptions>().unwrap().connect().await.unwrap()
    }
}

/// Never dropped: the pipe ends the server.
static SERVER: OnceLock<Server> = OnceLock::new();

/// Databases by the data folders that they belong to.
static DATABASES: LazyLock<Mutex<HashMap<PathBuf, String>>> = LazyLock::new(Mutex::default);

async fn execute(connection: &mut PgConnection, statement: String) {
    sqlx::query(AssertSqlSafe(statement)).execute(connection).await.unwrap();
}

/// An empty database whose layout is today's.
async fn new_database(admin: &mut PgConnection, name: &str) {
    execute(admin, format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY FILE_COPY")).await;
}

/// The database of a data folder, if the tests run on PostgreSQL.
pub(crate) async fn database_of(data: &Path) -> Option<DatabaseUrl> {
    if chosen() { Some(url_of(data).await.parse().unwrap()) } else { None }
}

/// The URL of a data folder's database; the first call for a folder creates it.
pub(crate) async fn url_of(data: &Path) -> String {
    url(data, true).await
}

/// The URL of a database without any tables.
pub(crate) async fn empty_url_of(data: &Path) -> String {
    url(data, false).await
}

async fn url(data: &Path, migrated: bool) -> String {
    assert!(chosen(), "run this with ADIRE_TEST_DATABASE=postgres");
    let mut databases = DATABASES.lock().await;
    let server = match SERVER.get() {
        Some(server) => server,
        None => {
            let server = tokio::task::spawn_blocking(Server::start).await.unwrap();
            execute(&mut server.admin().await, format!("CREATE DATABASE {TEMPLATE}")).await;
            let url = server.url(TEMPLATE).parse().unwrap();
            Store::open_url(&url).await.unwrap().close().await;
            SERVER.get_or_init(|| server)
        }
    };
    if let Some(name) = databases.get(data) {
        return server.url(name);
    }
    let mut admin = server.admin().await;
    let gone: Vec<PathBuf> = databases.keys().filter(|folder| !folder.exists()).cloned().collect();
    for folder in gone {
        let name = databases.remove(&folder).unwrap();
        execute(&mut admin, format!("DROP DATABASE {name} WITH (FORCE)")).await;
    }
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let name = format!("t{}", COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    if migrated {
        new_database(&mut admin, &name).await;
    } else {
        execute(&mut admin, format!("CREATE DATABASE {name}")).await;
    }
    let url = server.url(&name);
    databases.insert(data.to_owned(), name);
    url
}

/// Every row of a data folder's database, as text.
pub(crate) async fn rows(data: &Path) -> Vec<String> {
    let mut connection = url_of(data).await.parse::<PgConnectOptions>().unwrap().connect().await.unwrap();
    let tables: Vec<(String,)> = sqlx::query_as(
        "SELECT CAST(table_name AS TEXT) FROM information_schema.tables WHERE table_schema = 'public'",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let mut rows = Vec::new();
    for (table,) in tables {
        let query = AssertSqlSafe(format!("SELECT CAST(t AS TEXT) FROM {table} t"));
        let found: Vec<(String,)> = sqlx::query_as(query).fetch_all(&mut connection).await.unwrap();
        rows.extend(found.into_iter().map(|(row,)| row));
    }
    rows
}

/// A store on a database of its own.
async fn store() -> (TempDir, DatabaseUrl, Store) {
    let folder = tempfile::tempdir().unwrap();
    let url = url_of(folder.path()).await.parse().unwrap();
    let store = Store::open_url(&url).await.unwrap();
    (folder, url, store)
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask test postgres"]
async fn a_second_studio_on_the_same_database_is_refused() {
    let (_folder, url, store) = store().await;
    let refused = Store::open_url(&url).await.unwrap_err().to_string();
    assert!(refused.contains("Another Adire uses this database"), "{refused}");
    store.close().await;
    // Dropped without being closed, as in a crash: the next one can open it all the same.
    drop(Store::open_url(&url).await.unwrap());
    Store::open_url(&url).await.unwrap().close().await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask test postgres"]
async fn next_versions_asked_for_at_once_are_all_given() {
    use adire_protocol::AdapterVersion;
    let (_folder, _url, store) = store().await;
    let add = async |store: Store, worker: i64| {
        for i in 0..25 {
            let new = AdapterVersion {
                name: "many".to_owned(),
                version: 0,
                hash: format!("{worker:032}{i:032}"),
                description: String::new(),
                trigger: String::new(),
                bytes: 1,
                created_at: i,
                warning: None,
                stage: Default::default(),
                aliases: Vec::new(),
            };
            assert!(store.insert_adapter(&new, None).await.unwrap().is_some());
        }
    };
    futures::future::join_all((0..8).map(|worker| add(store.clone(), worker))).await;
    let versions: Vec<u32> = store.adapters().await.unwrap().iter().map(|a| a.version).collect();
    assert_eq!(versions, (1..=200).rev().collect::<Vec<_>>());
    store.close().await;
}

/// Workers of two visitors share two uploads, and delete them in every way while others use them.
#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask test postgres"]
async fn deletions_at_once_neither_fail_nor_leave_anything() {
    let (_folder, studio, _) = fresh().await;
    let made = finished(&studio, &submit(&studio, "moons").await.id).await;
    let store = studio.shared().store.clone();
    let mut spec = store.generation(&made.id).await.unwrap().unwrap().spec().unwrap();
    // Named in the other order than they are held in.
    let (init, mask) = ("b".repeat(64), "a".repeat(64));
    (spec.init_image, spec.mask) = (Some(init.clone()), Some(mask.clone()));
    let (store, spec, uploads) = (&store, &spec, &[init, mask]);
    let work = async |worker: usize| {
        let visitor = format!("visitor{}", worker % 2);
        let who = Who { visitor: Some(visitor.clone()), network: None };
        for turn in 0..20 {
            let id = format!("{worker:04}-{turn:04}");
            for hash in uploads {
                store.keep_upload(hash, 10, &who, 1).await.unwrap();
            }
            let job = NewJob {
                id: id.clone(),
                kind: JobKind::Generation,
                owner: visitor.clone(),
                cost: 1,
                wants: String::new(),
                model: String::new(),
                created_at: 1,
            };
            store.insert_generation(&job, &who, spec).await.unwrap();
            match turn % 4 {
                0 => store.delete_uploads_of(&visitor).await.unwrap(),
                1 => drop(store.forget_uploads(2).await.unwrap()),
                2 => drop(store.delete_upload(&uploads[worker % 2]).await.unwrap()),
                _ => {}
            }
            assert!(store.delete_generation(&id, None).await.unwrap());
        }
    };
    futures::future::join_all((0..8).map(work)).await;
    assert_eq!(store.upload_bytes().await.unwrap(), 0);
    for visitor in ["visitor0", "visitor1"] {
        assert_eq!(store.uploaded_by(visitor, 0).await.unwrap().images, 0);
        assert_eq!(store.generations_of(visitor).await.unwrap(), Vec::<String>::new());
    }
    studio.shutdown().await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask test postgres"]
async fn the_layout_of_both_databases_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let url = url_of(folder.path()).await;
    let file = tempfile::tempdir().unwrap();
    let file = file.path().join("adire.db");
    Store::open_file(&file).await.unwrap().close().await;
    let mut sqlite = sqlx::sqlite::SqliteConnectOptions::new().filename(&file).connect().await.unwrap();
    let here: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT m.name, c.name, UPPER(c.type) FROM sqlite_master m JOIN pragma_table_info(m.name) c \
         WHERE m.type = 'table' AND m.name NOT LIKE '\\_sqlx%' ESCAPE '\\' ORDER BY 1, 2",
    )
    .fetch_all(&mut sqlite)
    .await
    .unwrap();
    let mut postgres = url.parse::<PgConnectOptions>().unwrap().connect().await.unwrap();
    let there: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT table_name || '', column_name || '', UPPER(data_type || '') FROM information_schema.columns \
         WHERE table_schema = 'public' AND table_name NOT LIKE '\\_sqlx%' ORDER BY 1, 2",
    )
    .fetch_all(&mut postgres)
    .await
    .unwrap();
    assert!(here.len() > 80, "{}", here.len());
    assert_eq!(here, there);
}
