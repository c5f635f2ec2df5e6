//! A database that an earlier version wrote opens, and every row of it is still there.

use adire_protocol::{GenerationState, TrainingState};
use sqlx::{ConnectOptions as _, SqliteConnection, sqlite::SqliteConnectOptions};

use super::*;
use crate::store::Store;

/// A database at step 7 of its layout with rows in every table, as `sqlite3 adire.db .dump` wrote it. Not to be edited:
/// people have such files.
const STEP_7: &str = include_str!("stored/step7.sql");

async fn connect(folder: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(folder.join("adire.db")).create_if_missing(true);
    options.connect().await.unwrap()
}

async fn earlier() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    sqlx::raw_sql(STEP_7).execute(&mut connect(folder.path()).await).await.unwrap();
    folder
}

async fn texts(connection: &mut SqliteConnection, query: String) -> Vec<String> {
    let rows: Vec<(String,)> =
        sqlx::query_as(sqlx::AssertSqlSafe(query)).fetch_all(&mut *connection).await.unwrap();
    rows.into_iter().map(|(text,)| text).collect()
}

/// Every table with the columns that `STEP_7` gave it.
async fn columns(connection: &mut SqliteConnection) -> Vec<(String, Vec<String>)> {
    let tables = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name";
    let mut found = Vec::new();
    for table in texts(connection, tables.to_owned()).await {
        let names = texts(connection, format!("SELECT name FROM pragma_table_info('{table}')")).await;
        found.push((table, names));
    }
    found
}

/// Where the columns of a table are read: since step 9 some of them are in `jobs` and `job_events`.
fn source(table: &str, today: bool) -> String {
    let event = |names: &str| {
        format!("(SELECT MAX(e.number) FROM job_events e WHERE e.job = g.id AND e.name IN ({names}))")
    };
    match table {
        "generations" if today => format!(
            "(SELECT g.id, g.visitor, g.network, g.spec, j.state, j.created_at, j.started_at, j.finished_at, j.error, \
             j.lease AS epoch, j.attempts, {} AS started_event, {} AS final_event \
             FROM generations g JOIN jobs j ON j.id = g.id)",
            event("'started'"),
            event("'done', 'failed', 'cancelled'"),
        ),
        "training_jobs" if today => {
            "(SELECT t.id, t.request, t.dataset_hash, t.step, t.halved, t.version, t.forecast, \
             t.waited_ms, j.state, j.created_at, j.started_at, j.finished_at, j.error, j.attempts \
             FROM training_jobs t JOIN jobs j ON j.id = t.id)"
                .to_owned()
        }
        _ => table.to_owned(),
    }
}

/// The rows of these columns, as SQL literals.
async fn content(
    connection: &mut SqliteConnection,
    of: &[(String, Vec<String>)],
    today: bool,
) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    for (table, columns) in of {
        let quoted: Vec<String> = columns.iter().map(|column| format!("quote({column})")).collect();
        let only = if table == "_sqlx_migrations" { "WHERE version <= 7" } else { "" };
        let (quoted, source) = (quoted.join(" || ', ' || "), source(table, today));
        let query = format!("SELECT {quoted} AS line FROM {source} {only} ORDER BY line");
        found.push((table.clone(), texts(connection, query).await));
    }
    found
}

#[tokio::test]
async fn every_row_of_an_earlier_database_is_kept() {
    let folder = earlier().await;
    let mut connection = connect(folder.path()).await;
    let columns = columns(&mut connection).await;
    let before = content(&mut connection, &columns, false).await;
    assert_eq!(before.len(), 17, "tables");
    for (table, rows) in &before {
        assert!(!rows.is_empty(), "{table} has no row to lose");
    }
    drop(connection);
    // Twice: the second start migrates nothing.
    for _ in 0..2 {
        let store = Store::open_file(&folder.path().join("adire.db")).await.unwrap();
        store.close().await;
        let mut connection = connect(folder.path()).await;
        assert_eq!(content(&mut connection, &columns, true).await, before);
        let broken = texts(&mut connection, "SELECT integrity_check FROM pragma_integrity_check".to_owned());
        assert_eq!(broken.await, ["ok"]);
        let orphans = texts(&mut connection, "SELECT \"table\" FROM pragma_foreign_key_check".to_owned());
        assert_eq!(orphans.await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn an_earlier_database_is_read_as_it_was_written() {
    let folder = earlier().await;
    reads_as_it_was_written(Store::open_file(&folder.path().join("adire.db")).await.unwrap()).await;
}

/// PostgreSQL has been there since step 8; the same rows.
#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask test postgres"]
async fn an_earlier_database_is_read_as_it_was_written_on_postgres() {
    let folder = tempfile::tempdir().unwrap();
    let url = postgres::empty_url_of(folder.path()).await;
    let inserts: Vec<String> = STEP_7
        .lines()
        .filter(|line| line.starts_with("INSERT INTO") && !line.starts_with("INSERT INTO _sqlx"))
        .map(|line| line.replace("char(10)", "chr(10)"))
        .collect();
    Store::prepare_step(&url.parse().unwrap(), 8, &inserts).await;
    reads_as_it_was_written(Store::open_url(&url.parse().unwrap()).await.unwrap()).await;
}

async fn reads_as_it_was_written(store: Store) {
    let visitor = Visitor("0b9f1a52-7d0e-4b0a-9d2c-1f2e3d4c5b6a".to_owned()).digest();
    let ids = store.generations_of(&visitor).await.unwrap();
    let done = store.generation(&ids[0]).await.unwrap().unwrap();
    assert_eq!(
        (done.state(), done.network.as_deref(), done.error.as_deref()),
        (GenerationState::Done, None, None)
    );
    let spec = done.spec().unwrap();
    assert_eq!(spec.prompt, "MyCloth with moons, it's “blue”");
    assert!(spec.init_image.is_some() && spec.mask.is_some());
    let images = store.images_of(&done.id).await.unwrap();
    let images: Vec<_> = images.into_iter().map(|image| image.record().unwrap()).collect();
    assert_eq!(images.iter().map(|image| image.index).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(images[0].recipe.embeddings[0].word, "MyCloth");
    let (made_with, total) = store.images_with("indigo@v1", 1).await.unwrap();
    assert_eq!((made_with[0].position, total), (1, 2), "the newest, and how many there are");
    assert_eq!(store.uploaded_by(&visitor, 0).await.unwrap().images, 2);
    assert_eq!(store.unused_blobs().await.unwrap().len(), 2);

    assert_eq!(store.owners().await, store.expected_owners().await);
    assert_eq!(
        store.owners().await.len(),
        2 + 3 + 3 + 1 + 4 + 3,
        "images, uploads, versions, embedding, datasets, samples"
    );

    let adapters = store.all_adapters().await.unwrap();
    let listed: Vec<_> =
        adapters.iter().map(|a| (a.version.id(), a.hidden, a.downloads, a.deleted_at.is_some())).collect();
    let expected = [
        ("adire@v2", true, false, false),
        ("adire@v1", false, true, true),
        ("cloth@v1", false, true, false),
        ("indigo@v1", false, true, false),
    ];
    assert_eq!(
        listed,
        expected.map(|(id, hidden, downloads, deleted)| (id.to_owned(), hidden, downloads, deleted))
    );
    assert_eq!(store.embeddings().await.unwrap()[0].word, "MyCloth");
    assert_eq!(store.setting::<Vec<String>>("fixture").await.unwrap().unwrap(), ["a", "b"]);

    let runs = store.runs().await.unwrap();
    let states: Vec<_> = runs.iter().map(|run| (run.state(), run.halved())).collect();
    assert_eq!(states, [(TrainingState::Paused, true), (TrainingState::Done, false)]);
    let done = &runs[1];
    assert_eq!(done.request().unwrap().note, "first try");
    assert!(done.forecast().unwrap().is_some());
    let points = store.points(&done.id, 0).await.unwrap();
    assert_eq!(points.iter().map(|(_, point)| point.step).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert_eq!((points[0].1.loss, points[0].1.held_out_loss), (None, Some(1.0)));
    let samples = store.samples(&done.id, 0).await.unwrap();
    let samples: Vec<_> = samples.iter().map(|(_, sample)| (sample.step, sample.with_adapter)).collect();
    assert_eq!(samples, [(0, false), (2, true), (4, true)]);

    let datasets = store.datasets().await.unwrap();
    let shown: Vec<_> = datasets.iter().map(|d| (d.name.as_str(), d.frozen.is_some(), d.images)).collect();
    assert_eq!(shown, [("class", false, 1), ("draft", false, 1), ("cloth", true, 2)]);
    let draft = store.dataset(&datasets[1].id).await.unwrap().unwrap();
    assert_eq!(draft.class_dataset.as_ref(), Some(&datasets[0].id));
    store.close().await;
}

/// A whole data folder of November 2026, as `tools/fixtures/data_folder.py` had the program write it.
const FOLDER: &[u8] = include_bytes!("../../tests/stored/folder.zip");

/// The files below a folder by their paths in it, with their content.
fn files(root: &Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    let (mut found, mut folders) = (std::collections::BTreeMap::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
                found.insert(name, std::fs::read(path).unwrap());
            }
        }
    }
    found
}

#[tokio::test]
async fn a_folder_of_an_earlier_program_opens_with_everything_in_it() {
    // Its rows are in a file of SQLite's.
    if postgres::chosen() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    zip::ZipArchive::new(std::io::Cursor::new(FOLDER)).unwrap().extract(folder.path()).unwrap();
    let ids: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("fixture.json")).unwrap()).unwrap();
    let before = files(folder.path());
    for beginning in ["adire.db", "blobs/", "operator/", "thumbnails/", "training/"] {
        assert!(before.keys().any(|name| name.starts_with(beginning)), "{beginning} in {:?}", before.keys());
    }
    // Twice: what the first start migrates is not migrated again.
    for _ in 0..2 {
        let studio = open(folder.path(), FakeBackend::default()).await.unwrap();
        let runs = studio.trainings().await.unwrap();
        assert_eq!((runs.len(), runs[0].state, runs[0].step), (1, TrainingState::Done, 2));
        assert_eq!(runs[0].version.as_deref(), Some("circles@v1"));
        let run = studio.training(&runs[0].id).await.unwrap();
        assert_eq!((run.points.len(), run.samples.len()), (2, 2));
        assert_eq!(studio.training_steps(&runs[0].id).await.unwrap(), [1, 2]);
        let datasets = studio.datasets().await.unwrap();
        let dataset = studio.dataset(&datasets[0].id).await.unwrap();
        assert_eq!((datasets[0].name.as_str(), dataset.images.len()), ("circles", 4));
        for image in &dataset.images {
            assert!(!studio.thumbnail(&dataset.id, &image.hash).await.unwrap().is_empty());
        }
        assert!(studio.verify_ledger("circles").await.unwrap().fault.is_none());
        assert_eq!(studio.linkable_version("circles@stable").await.unwrap().id(), "circles@v1");
        for (visitor, prompt) in [("ada", "circles on blue cloth"), ("ben", "stars")] {
            let id = ids["generations"][visitor].as_str().unwrap();
            let generation = studio.generation(id).await.unwrap();
            assert_eq!((generation.state, generation.spec.prompt.as_str()), (GenerationState::Done, prompt));
            assert_eq!(generation.spec.init_image.is_some(), visitor == "ben");
            for image in &generation.images {
                assert!(!studio.file_of(image).await.unwrap().is_empty());
            }
            let image = adire_protocol::ImageRef { generation: id.to_owned(), index: 0 };
            let kept = studio.history_image(&image, By::Admin).await.unwrap();
            assert_eq!(kept.rating.starred, visitor == "ada");
        }
        studio.shutdown().await;
        drop(studio);
        for (name, content) in &before {
            if !name.starts_with("adire.db") {
                let now = std::fs::read(folder.path().join(name));
                assert_eq!(now.as_ref().ok(), Some(content), "{name}");
            }
        }
    }
}
