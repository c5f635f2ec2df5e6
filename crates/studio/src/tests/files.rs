//! The data folder: locking, path safety, and errors when it is unusable.

use std::fs;

use super::*;
use crate::{BlobPlace, blobs::Blobs};

#[tokio::test]
async fn a_second_server_on_the_same_folder_names_the_first() {
    let (folder, studio, _) = fresh().await;
    let second = open(folder.path(), FakeBackend::default()).await.err().unwrap();
    assert!(matches!(second, StudioError::InUse { .. }), "{second:?}");
    let sentence = second.to_string();
    assert!(sentence.contains(&format!("process {}", std::process::id())), "{sentence}");
    assert!(sentence.contains("--data"), "{sentence}");
    studio.shutdown().await;
    open(folder.path(), FakeBackend::default()).await.unwrap();
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "not a folder").unwrap();
    let mut impossible = vec![file.join("data")];
    if cfg!(target_os = "linux") {
        // Nobody can write there, not even root.
        impossible.push("/proc/adire-data".into());
    }
    for path in impossible {
        let error = open(&path, FakeBackend::default()).await.err().unwrap();
        assert!(matches!(error, StudioError::Storage(_)), "{error:?}");
        let sentence = error.to_string();
        assert!(sentence.contains(path.to_str().unwrap()) && sentence.contains("--data"), "{sentence}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_read_only_folder_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(folder.path().join("probe"), "").is_ok() {
        // Root writes anywhere; the test above covers it.
        return;
    }
    let error = open(folder.path(), FakeBackend::default()).await.err().unwrap().to_string();
    assert!(error.contains("permission denied"), "{error}");
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_left_alone() {
    if postgres::chosen() {
        return;
    }
    let (folder, studio, _) = fresh().await;
    studio.shutdown().await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("adire.db"));
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'from the future', TRUE, x'00', 0)",
    )
    .execute(&pool)
    .await
    .unwrap();
    pool.close().await;
    let error = open(folder.path(), FakeBackend::default()).await.err().unwrap().to_string();
    assert!(error.contains("newer version of Adire"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_not_a_database_is_left_alone() {
    if postgres::chosen() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("adire.db");
    fs::write(&file, "a shopping list, long enough to be no empty database header at all".repeat(20))
        .unwrap();
    let error = open(folder.path(), FakeBackend::default()).await.err().unwrap().to_string();
    assert!(error.contains("adire.db") && error.contains("not a SQLite database"), "{error}");
    assert!(fs::read_to_string(file).unwrap().starts_with("a shopping list"));
}

#[tokio::test]
async fn a_database_locked_by_another_program_is_an_error_not_a_hang() {
    if postgres::chosen() {
        return;
    }
    let (_folder, studio, _) = fresh().await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(_folder.path().join("adire.db"));
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    let mut other = pool.acquire().await.unwrap();
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut *other).await.unwrap();
    let refused = tokio::time::timeout(PATIENCE, studio.submit(request("moons"), &nobody())).await.unwrap();
    assert!(matches!(&refused, Err(StudioError::Storage(text)) if text.contains("locked")), "{refused:?}");
    assert_eq!(studio.queue().ahead, 0, "its place is free again");
    sqlx::query("ROLLBACK").execute(&mut *other).await.unwrap();
    finished(&studio, &submit(&studio, "moons").await.id).await;
}

#[tokio::test]
async fn only_a_hash_names_a_blob() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(folder.path(), &BlobPlace::default()).await.unwrap();
    fs::write(folder.path().join("secret"), "secret").unwrap();
    let hash = blobs.put(b"content".to_vec()).await.unwrap();
    assert_eq!(blobs.read(&hash).await.unwrap().as_deref(), Some(&b"content"[..]));
    assert_eq!(blobs.put(b"content".to_vec()).await.unwrap(), hash);
    let upper = hash.to_uppercase();
    let (dots, traversal) = ("../".repeat(21) + "s", format!("../secret{}", "0".repeat(55)));
    let unicode = format!("é{}", "0".repeat(62));
    let mut nul = hash.clone();
    nul.replace_range(10..11, "\0");
    for name in ["", "ab", "/etc/passwd", "../secret", &upper, &dots, &traversal, &unicode, &nul, &hash[1..]]
    {
        assert_eq!(crate::blob_path(folder.path(), name), None, "{name:?}");
        assert!(blobs.get(name).await.unwrap().is_none(), "{name:?}");
        assert!(blobs.local(name).await.unwrap().is_none(), "{name:?}");
    }
    assert_eq!(blobs.read(&"0".repeat(64)).await.unwrap(), None);
}

#[tokio::test]
async fn half_written_files_are_removed_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let open = async || Blobs::open(folder.path(), &BlobPlace::default()).await.unwrap();
    let blobs = open().await;
    let staged = blobs.stage(&b"content"[..]).unwrap();
    let path = staged.path.clone();
    std::mem::forget(staged);
    assert!(path.is_file());
    let (half, other) = (folder.path().join("blobs/.adire-owner#7"), folder.path().join("blobs/a#b"));
    fs::write(&half, "").unwrap();
    fs::write(&other, "").unwrap();
    open().await;
    assert!(!path.exists() && !half.exists() && other.exists());
}

#[tokio::test]
async fn a_full_disk_is_reported_and_loses_nothing() {
    if postgres::chosen() {
        return;
    }
    let (_folder, studio, _) = fresh().await;
    let kept = submit(&studio, "kept").await;
    let kept = finished(&studio, &kept.id).await;
    studio.shared().store.fill_up().await;
    // Small rows find room in pages that exist; sooner or later one does not.
    let mut refusal = None;
    for i in 0..500 {
        let long = format!("{i} {}", "stars ".repeat(60));
        match studio.submit(request(&long), &nobody()).await {
            Ok(generation) => drop(studio.cancel(&generation.id, By::Admin).await),
            Err(error) => {
                refusal = Some(error);
                break;
            }
        }
    }
    let refusal = refusal.expect("the database takes any number of rows");
    assert!(matches!(refusal, StudioError::DiskFull), "{refusal:?}");
    assert_eq!(studio.generation(&kept.id).await.unwrap().images, kept.images);
}
