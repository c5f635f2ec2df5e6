//! Deleting is for good: rows, texts in the database's files, images and uploads on the disk.

use adire_protocol::{AdapterUse, GenerationState, VersionChange};

use super::*;
use crate::{
    ErrorKind, NewAdapter, Pixels, Retention, gc, png::encode_bare, tests::adapters::three_versions,
    time::now, unused_blobs::remove_unused,
};

fn blob(folder: &TempDir, hash: &str) -> std::path::PathBuf {
    crate::blob_path(folder.path(), hash).unwrap()
}

async fn upload(studio: &Studio, shade: u8, client: &Client) -> String {
    let pixels = Pixels { width: 64, height: 64, rgb: vec![shade; 3 * 64 * 64] };
    studio.upload(coming(encode_bare(&pixels).unwrap()), crate::ImageUse::Colours, client).await.unwrap().hash
}

async fn made(studio: &Studio, wanted: GenerationRequest, client: &Client) -> Generation {
    finished(studio, &studio.submit(wanted, client).await.unwrap().id).await
}

/// Whether a text stands in any file of the database, or in any row of it on PostgreSQL.
async fn is_written(folder: &TempDir, text: &str) -> bool {
    if postgres::chosen() {
        return postgres::rows(folder.path()).await.iter().any(|row| row.contains(text));
    }
    ["adire.db", "adire.db-wal"].iter().any(|name| {
        let bytes = std::fs::read(folder.path().join(name)).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

fn is_gone<T: std::fmt::Debug>(answer: Result<T, StudioError>) -> bool {
    answer.is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

#[tokio::test]
async fn a_deleted_generation_leaves_no_trace() {
    let (folder, studio, _) = fresh().await;
    let me = who("me");
    let init = upload(&studio, 9, &me).await;
    let secret = "my very private garden behind the house";
    let wanted = GenerationRequest { count: Some(2), init_image: Some(init.clone()), ..request(secret) };
    let generation = made(&studio, wanted, &me).await;
    assert!(is_written(&folder, secret).await);
    for stranger in [who("them"), nobody()] {
        let refused = studio.delete_generation(&generation.id, By::Client(&stranger)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Forbidden, "{refused}");
    }
    studio.delete_generation(&generation.id, By::Client(&me)).await.unwrap();
    assert!(is_gone(studio.generation(&generation.id).await));
    assert!(is_gone(studio.events(&generation.id, 0).await.map(|_| ())));
    for hash in generation.images.iter().map(|image| &image.hash).chain([&init]) {
        assert!(is_gone(studio.image(hash).await.map(|_| ())), "{hash}");
        assert!(!blob(&folder, hash).exists(), "{hash}");
    }
    assert!(studio.history("me", 10, None).await.unwrap().is_empty());
    assert!(!is_written(&folder, secret).await, "not in the database and not in its log");
    // Twice is once.
    assert!(is_gone(studio.delete_generation(&generation.id, By::Client(&me)).await));
}

#[tokio::test]
async fn one_image_goes_alone_and_the_last_one_takes_its_prompt() {
    let (folder, studio, _) = fresh().await;
    let me = who("me");
    let generation = made(&studio, GenerationRequest { count: Some(2), ..request("two moons") }, &me).await;
    let [first, second] = [0, 1].map(|i| generation.images[i].hash.clone());
    let refused = studio.delete_image(&generation.id, 0, By::Client(&who("them"))).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Forbidden);
    studio.delete_image(&generation.id, 0, By::Client(&me)).await.unwrap();
    assert!(!blob(&folder, &first).exists() && blob(&folder, &second).exists());
    let left = studio.generation(&generation.id).await.unwrap();
    assert_eq!(left.images.iter().map(|image| image.index).collect::<Vec<_>>(), [1]);
    assert!(is_gone(studio.delete_image(&generation.id, 0, By::Client(&me)).await), "twice");
    studio.delete_image(&generation.id, 1, By::Client(&me)).await.unwrap();
    assert!(is_gone(studio.generation(&generation.id).await));
    assert!(!is_written(&folder, "two moons").await);
}

#[tokio::test]
async fn what_two_have_stays_until_the_last_deletes_it() {
    let (folder, studio, _) = fresh().await;
    let (me, you) = (who("me"), who("you"));
    // The same pixels by two people, and the same request, which makes the same image.
    let init = upload(&studio, 9, &me).await;
    assert_eq!(upload(&studio, 9, &you).await, init);
    let wanted = || GenerationRequest { init_image: Some(init.clone()), ..request("moons") };
    let (mine, yours) = (made(&studio, wanted(), &me).await, made(&studio, wanted(), &you).await);
    let image = mine.images[0].hash.clone();
    assert_eq!(image, yours.images[0].hash, "the double's images depend on the request alone");
    studio.delete_generation(&mine.id, By::Client(&me)).await.unwrap();
    for hash in [&image, &init] {
        studio.image(hash).await.unwrap();
    }
    studio.delete_generation(&yours.id, By::Client(&you)).await.unwrap();
    for hash in [&image, &init] {
        assert!(!blob(&folder, hash).exists());
    }
}

#[tokio::test]
async fn an_upload_stays_while_its_owner_has_another_generation_with_it() {
    let (folder, studio, _) = fresh().await;
    let me = who("me");
    let init = upload(&studio, 9, &me).await;
    let wanted =
        |seed| GenerationRequest { init_image: Some(init.clone()), seed: Some(seed), ..request("moons") };
    let (one, two) = (made(&studio, wanted(1), &me).await, made(&studio, wanted(2), &me).await);
    studio.delete_generation(&one.id, By::Client(&me)).await.unwrap();
    assert!(blob(&folder, &init).exists());
    studio.delete_generation(&two.id, By::Client(&me)).await.unwrap();
    assert!(!blob(&folder, &init).exists());
}

#[tokio::test]
async fn all_mine_goes_and_nothing_else() {
    let (folder, studio, _, latch) = latched().await;
    let (me, you) = (who("me"), who("you"));
    let unused = upload(&studio, 5, &me).await;
    let yours = studio.submit(request("yours"), &you).await.unwrap();
    until(&studio, &yours.id, "started").await;
    let waits = studio.submit(request("mine waits"), &me).await.unwrap();
    drop(latch);
    let yours = finished(&studio, &yours.id).await;
    finished(&studio, &waits.id).await;
    let deleted = studio.delete_history(&me).await.unwrap();
    assert_eq!(deleted.generations, 1);
    assert!(studio.history("me", 10, None).await.unwrap().is_empty());
    assert!(!blob(&folder, &unused).exists());
    studio.image(&yours.images[0].hash).await.unwrap();
    assert_eq!(studio.delete_history(&nobody()).await.unwrap().generations, 0, "nobody has a history");
}

#[tokio::test]
async fn what_runs_or_waits_is_cancelled_and_deleted() {
    let (folder, studio, _, latch) = latched().await;
    let me = who("me");
    let long = GenerationRequest { count: Some(3), ..request("a long one") };
    let running = studio.submit(long, &me).await.unwrap();
    let waiting = studio.submit(request("a waiting one"), &me).await.unwrap();
    latch.allow(4 + 1);
    until_step(&studio, &running.id, 1, 1).await;
    let first = studio.generation(&running.id).await.unwrap().images[0].hash.clone();
    let busy = studio.delete_image(&running.id, 0, By::Client(&me)).await.unwrap_err();
    assert_eq!(busy.kind(), ErrorKind::Conflict, "{busy}");
    studio.delete_generation(&waiting.id, By::Client(&me)).await.unwrap();
    assert!(is_gone(studio.generation(&waiting.id).await));
    // The step that runs may end only after the deletion was requested.
    let (deleted, ()) =
        tokio::join!(studio.delete_generation(&running.id, By::Client(&me)), async { drop(latch) });
    deleted.unwrap();
    assert!(is_gone(studio.generation(&running.id).await));
    assert!(!blob(&folder, &first).exists());
    assert_eq!(studio.queue().ahead, 0);
    made(&studio, request("another"), &me).await;
}

#[tokio::test]
async fn a_waiting_generation_whose_init_image_is_deleted_says_so() {
    let (_folder, studio, _, latch) = latched().await;
    let (me, you) = (who("me"), who("you"));
    let init = upload(&studio, 7, &me).await;
    let blocker = studio.submit(request("blocks"), &you).await.unwrap();
    until(&studio, &blocker.id, "started").await;
    // By the link that I gave them.
    let wanted = GenerationRequest { init_image: Some(init), ..request("theirs") };
    let theirs = studio.submit(wanted, &you).await.unwrap();
    studio.delete_history(&me).await.unwrap();
    drop(latch);
    let record = finished(&studio, &theirs.id).await;
    assert_eq!(record.state, GenerationState::Failed);
    assert!(
        record.error.as_deref().unwrap_or_default().contains("was deleted while this generation was queued"),
        "{record:?}"
    );
}

#[tokio::test]
async fn the_admin_deletes_anybodys_by_generation_image_and_visitor() {
    let (folder, studio, _) = fresh().await;
    let (me, you) = (who("me"), who("you"));
    let one = made(&studio, request("one"), &me).await;
    let two = made(&studio, GenerationRequest { seed: Some(8), ..request("two") }, &me).await;
    let three = made(&studio, GenerationRequest { seed: Some(9), ..request("three") }, &you).await;
    let listed = studio.gallery(10, None).await.unwrap();
    assert_eq!(listed.iter().map(|image| image.prompt.as_str()).collect::<Vec<_>>(), ["three", "two", "one"]);
    studio.delete_generation(&one.id, By::Admin).await.unwrap();
    let deleted = studio.delete_content(&two.images[0].hash).await.unwrap();
    assert_eq!(deleted.images, 1);
    assert!(is_gone(studio.generation(&two.id).await));
    assert!(is_gone(studio.delete_content(&two.images[0].hash).await));
    studio.delete_visitor(listed[0].visitor.as_deref().unwrap()).await.unwrap();
    assert!(!blob(&folder, &three.images[0].hash).exists());
    assert!(studio.gallery(10, None).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_crash_between_rows_and_files_leaves_nothing_behind() {
    let (folder, studio, _) = fresh().await;
    let me = who("me");
    let generation = made(&studio, request("moons"), &me).await;
    let hash = generation.images[0].hash.clone();
    // As if the program ended here.
    studio.shared().store.delete_generation(&generation.id, None).await.unwrap();
    assert!(blob(&folder, &hash).exists());
    assert!(is_gone(studio.image(&hash).await.map(|_| ())), "it is not shown any more");
    studio.shutdown().await;
    let studio = open(folder.path(), FakeBackend::default()).await.unwrap();
    gc::collect(studio.shared(), now()).await.unwrap();
    assert!(!blob(&folder, &hash).exists());
    // Made again at the same moment as it is noted, it stays.
    studio.shared().store.delete_upload(&hash).await.unwrap();
    made(&studio, request("moons"), &me).await;
    remove_unused(&studio.shared().store, &studio.shared().blobs).await.unwrap();
    studio.image(&hash).await.unwrap();
}

#[tokio::test]
async fn what_is_older_than_it_is_kept_goes_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let retention = Retention { keep_for: Some(Duration::from_secs(3600)), ..Retention::default() };
    let config = StudioConfig { retention, ..StudioConfig::new(folder.path()) };
    let studio = Studio::open(config, || Ok(FakeBackend::default())).await.unwrap();
    let me = who("me");
    let generation = made(&studio, request("moons"), &me).await;
    let idle = upload(&studio, 3, &me).await;
    let hour = 3_600_000;
    assert_eq!(gc::collect(studio.shared(), now()).await.unwrap().generations, 0);
    let swept = gc::collect(studio.shared(), now() + hour + 1).await.unwrap();
    assert_eq!((swept.generations, swept.uploads), (1, 1));
    assert!(is_gone(studio.generation(&generation.id).await));
    assert!(!blob(&folder, &generation.images[0].hash).exists() && !blob(&folder, &idle).exists());
}

#[tokio::test]
async fn without_a_limit_images_stay_and_fruitless_generations_go() {
    let (_folder, studio, _) = fresh().await;
    let me = who("me");
    let kept = made(&studio, request("moons"), &me).await;
    let failed = made(&studio, request("fail!"), &me).await;
    let swept = gc::collect(studio.shared(), now() + 400 * crate::time::DAY_MS).await.unwrap();
    assert_eq!(swept.generations, 1);
    assert!(is_gone(studio.generation(&failed.id).await));
    studio.image(&kept.images[0].hash).await.unwrap();
}

#[tokio::test]
async fn a_hidden_version_is_not_there_for_visitors_and_comes_back() {
    let (folder, studio, _, latch) = latched().await;
    let added = three_versions(&studio, folder.path()).await;
    let with =
        |name: &str| GenerationRequest { adapters: vec![AdapterUse::new(name, 1.0)], ..request("moons") };
    let blocker = studio.submit(request("blocks"), &nobody()).await.unwrap();
    until(&studio, &blocker.id, "started").await;
    let waiting = studio.submit(with("adire@v2"), &who("me")).await.unwrap();
    let hide = VersionChange { hidden: Some(true), downloads: None, note: None };
    assert!(studio.change_version("adire@v2", hide.clone()).await.unwrap().hidden);
    let listed: Vec<String> = studio.adapters().await.unwrap().iter().map(|v| v.id()).collect();
    assert_eq!(listed, ["adire@v1", "indigo@v1"], "the newest one that is shown is the default now");
    assert!(matches!(
        studio.submit(with("adire@v2"), &nobody()).await,
        Err(StudioError::UnknownAdapter { .. })
    ));
    assert!(studio.adapter("adire@v2").await.is_err() && studio.adapter_file("adire@v2").await.is_err());
    let newest = studio.submit(with("adire"), &nobody()).await.unwrap();
    assert_eq!(newest.spec.adapters[0].name, "adire@v1");
    drop(latch);
    let record = finished(&studio, &waiting.id).await;
    assert_eq!(record.images[0].recipe.adapter_hashes, [added[1].hash.clone()], "it had been taken already");
    let shown = studio
        .change_version("adire@v2", VersionChange { hidden: Some(false), downloads: None, note: None })
        .await;
    assert!(!shown.unwrap().hidden);
    assert_eq!(studio.adapter("adire").await.unwrap().version, added[1]);
    assert!(studio.change_version("adire", hide.clone()).await.is_err(), "a version is named in full");
    assert!(is_gone(studio.change_version("adire@v9", hide).await));
}

#[tokio::test]
async fn a_deleted_version_is_gone_with_its_file_and_its_number_is_not_used_again() {
    let (folder, studio, _, latch) = latched().await;
    let added = three_versions(&studio, folder.path()).await;
    let with = GenerationRequest { adapters: vec![AdapterUse::new("adire@v2", 1.0)], ..request("moons") };
    let blocker = studio.submit(request("blocks"), &nobody()).await.unwrap();
    until(&studio, &blocker.id, "started").await;
    let waiting = studio.submit(with, &who("me")).await.unwrap();
    assert!(studio.delete_version("adire@v2").await.unwrap().deleted_at.is_some());
    assert!(!blob(&folder, &added[1].hash).exists());
    assert!(is_gone(studio.delete_version("adire@v2").await), "twice");
    drop(latch);
    let record = finished(&studio, &waiting.id).await;
    assert!(
        record.error.as_deref().unwrap_or_default().contains("was deleted while this generation was queued"),
        "{record:?}"
    );
    let new = |version, content: &str| NewAdapter {
        name: "adire".to_owned(),
        version,
        path: folder.path().join(content),
        description: String::new(),
        trigger: String::new(),
        strict: false,
    };
    let same = studio.add_adapter(new(Some(2), "two")).await.unwrap_err();
    assert!(same.kind() == ErrorKind::Conflict && same.to_string().contains("never reused"), "{same}");
    assert_eq!(studio.add_adapter(new(None, "two")).await.unwrap().version, 3);
    assert!(blob(&folder, &added[1].hash).exists());
    // The file of two versions stays until the last of them goes.
    let indigo = NewAdapter { name: "other".to_owned(), ..new(None, "three") };
    studio.add_adapter(indigo).await.unwrap();
    studio.delete_version("indigo@v1").await.unwrap();
    assert!(blob(&folder, &added[2].hash).exists());
    studio.delete_version("other@v1").await.unwrap();
    assert!(!blob(&folder, &added[2].hash).exists());
}

#[tokio::test]
async fn files_are_given_out_only_where_the_admin_allows_it() {
    let (folder, studio, _) = fresh().await;
    three_versions(&studio, folder.path()).await;
    let keep = VersionChange { hidden: None, downloads: Some(false), note: None };
    studio.change_version("adire@v1", keep).await.unwrap();
    let refused = studio.adapter_file("adire@v1").await.unwrap_err();
    assert!(
        refused.kind() == ErrorKind::Forbidden && refused.to_string().contains("is disabled"),
        "{refused}"
    );
    assert!(!studio.adapter("adire@v1").await.unwrap().downloads);
    assert!(studio.adapter("adire@v2").await.unwrap().downloads);
    studio.shutdown().await;
    let config = StudioConfig { downloads: false, ..StudioConfig::new(folder.path()) };
    let studio = Studio::open(config, || Ok(FakeBackend::default())).await.unwrap();
    assert_eq!(studio.adapter_file("adire@v2").await.unwrap_err().kind(), ErrorKind::Forbidden);
}

#[tokio::test]
async fn a_request_may_not_name_an_image_of_a_dataset_or_a_sample() {
    let (folder, studio, _) = fresh().await;
    let pixels = Pixels { width: 64, height: 64, rgb: vec![40; 3 * 64 * 64] };
    let path = folder.path().join("secret.png");
    std::fs::write(&path, encode_bare(&pixels).unwrap()).unwrap();
    let new = adire_protocol::NewDataset { name: "d".to_owned(), ..Default::default() };
    let dataset = studio.create_dataset(new).await.unwrap();
    let file = studio.receive("secret.png", coming(std::fs::read(&path).unwrap())).await.unwrap();
    let record = studio.add_to_dataset(&dataset.id, vec![file]).await.unwrap();
    let hash = record.images[0].hash.clone();
    let wanted = GenerationRequest { init_image: Some(hash), ..request("moons") };
    let error = studio.submit(wanted, &who("me")).await.unwrap_err();
    assert!(matches!(&error, StudioError::Invalid(_)), "{error:?}");
}

#[cfg(unix)]
#[tokio::test]
async fn the_data_folder_is_closed_to_others_also_when_it_was_there_before() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o755)).unwrap();
    let studio = open(&data, FakeBackend::default()).await.unwrap();
    assert_eq!(std::fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
    studio.shutdown().await;
}

#[tokio::test]
async fn visitors_of_an_older_database_become_digests() {
    if postgres::chosen() {
        return;
    }
    let (folder, studio, _) = fresh().await;
    let id = "0b9f1a52-7d0e-4b0a-9d2c-1f2e3d4c5b6a";
    let generation = made(&studio, request("moons"), &who(id)).await;
    studio.shutdown().await;
    // As a program of before wrote it.
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("adire.db"));
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    for table in ["generations", "images"] {
        let update = sqlx::AssertSqlSafe(format!("UPDATE {table} SET visitor = '{id}'"));
        sqlx::query(update).execute(&pool).await.unwrap();
    }
    pool.close().await;
    assert!(is_written(&folder, id).await);
    let studio = open(folder.path(), FakeBackend::default()).await.unwrap();
    assert_eq!(studio.history(id, 10, None).await.unwrap(), generation.images);
    studio.delete_generation(&generation.id, By::Client(&who(id))).await.unwrap();
    assert!(!is_written(&folder, id).await);
}
