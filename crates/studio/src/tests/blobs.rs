//! Blobs and the rows that need them.

use adire_protocol::{TrainingConfig, TrainingRequest, TrainingState};

use super::*;
use crate::{
    BlobPlace, BlobStream, ImageUse, NewEmbedding, Pixels,
    blobs::Blobs,
    gc,
    job::{EndedBy, Outcome},
    png::encode_bare,
    time::now,
    unused_blobs::remove_unused,
};

const DAY: i64 = crate::time::DAY_MS;

fn path(folder: &Path, hash: &str) -> std::path::PathBuf {
    crate::blob_path(folder, hash).unwrap()
}

async fn check(studio: &Studio, kinds: usize) {
    let store = &studio.shared().store;
    let owners = store.owners().await;
    assert_eq!(owners, store.expected_owners().await);
    let found: std::collections::BTreeSet<_> = owners.iter().map(|(kind, _)| kind).collect();
    assert_eq!(found.len(), kinds, "{found:?}");
}

#[tokio::test]
async fn owners_follow_every_row_that_names_a_blob() {
    let (folder, studio, _) = fresh().await;
    let me = who("me");
    let pixels = Pixels { width: 64, height: 64, rgb: vec![9; 3 * 64 * 64] };
    let file = coming(encode_bare(&pixels).unwrap());
    let init = studio.upload(file, ImageUse::Colours, &me).await.unwrap().hash;
    let wanted = GenerationRequest { count: Some(2), init_image: Some(init), ..request("moons") };
    let generation = finished(&studio, &studio.submit(wanted, &me).await.unwrap().id).await;
    adapters::three_versions(&studio, folder.path()).await;
    let embedding = folder.path().join("word.safetensors");
    std::fs::write(&embedding, "vectors").unwrap();
    let new = NewEmbedding { word: "MyStyle".to_owned(), path: embedding, vectors: 4, width: 768 };
    let embedding = studio.add_embedding(new).await.unwrap();
    let dataset = datasets::dataset(&studio, "cloth", 2).await;
    let config = TrainingConfig {
        steps: 4,
        checkpoint_every: 2,
        sample_every: Some(2),
        sample_prompts: vec!["a tok".to_owned()],
        ..TrainingConfig::default()
    };
    let training = TrainingRequest {
        name: "cloth".to_owned(),
        dataset: dataset.id.clone(),
        config,
        class_dataset: None,
        class_prompt: None,
        continue_from: None,
        note: String::new(),
    };
    let run = studio.train(training).await.unwrap();
    let ended = async {
        while studio.training(&run.id).await.unwrap().run.state != TrainingState::Done {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.unwrap();
    check(&studio, 6).await;

    // A sample is made once more with other pixels, and others are undone.
    let store = &studio.shared().store;
    let (_, mut sample) = store.samples(&run.id, 0).await.unwrap().remove(0);
    let before = std::mem::replace(&mut sample.hash, "5".repeat(64));
    let lease = store.hold_again(&run.id).await;
    store.save_sample(&lease, &sample).await.unwrap();
    check(&studio, 6).await;
    assert!(store.unused_blobs().await.unwrap().contains(&before));
    store.rewind_run(&lease, 0, false).await.unwrap();
    store.end(EndedBy::Holder(&lease, 0), Outcome::Done { version: None }).await.unwrap();
    check(&studio, 6).await;

    studio.delete_image(&generation.id, 0, By::Client(&me)).await.unwrap();
    studio.delete_version("adire@v2").await.unwrap();
    check(&studio, 6).await;
    studio.delete_generation(&generation.id, By::Client(&me)).await.unwrap();
    let draft = studio.copy_dataset(&dataset.id, None).await.unwrap();
    studio.remove_from_dataset(&draft.id, &dataset.images[0].hash).await.unwrap();
    check(&studio, 4).await;
    studio.delete_dataset(&draft.id).await.unwrap();
    studio.delete_dataset(&dataset.id).await.unwrap();
    check(&studio, 3).await;
    assert!(!path(folder.path(), &dataset.images[0].hash).exists());

    // The word is free again; the file has its owner still.
    studio.remove_embedding("mystyle").await.unwrap();
    gc::note_orphans(studio.shared(), now() + 2 * DAY).await.unwrap();
    remove_unused(&studio.shared().store, &studio.shared().blobs).await.unwrap();
    assert!(path(folder.path(), &embedding.hash).exists());
}

#[tokio::test]
async fn a_blob_that_lost_its_row_to_a_crash_goes_after_a_day() {
    let (folder, studio, _) = fresh().await;
    let generation = finished(&studio, &submit(&studio, "moons").await.id).await;
    let kept = generation.images[0].hash.clone();
    let orphan = studio.shared().blobs.put(b"stored, then the power failed".to_vec()).await.unwrap();
    std::fs::write(folder.path().join("blobs/ab.txt"), "not a blob").unwrap();
    for (at, left) in [(now() + DAY / 2, true), (now() + 2 * DAY, false)] {
        assert_eq!(gc::note_orphans(studio.shared(), at).await.unwrap(), usize::from(!left));
        remove_unused(&studio.shared().store, &studio.shared().blobs).await.unwrap();
        assert_eq!(path(folder.path(), &orphan).exists(), left);
    }
    studio.image(&kept).await.unwrap();
    assert!(folder.path().join("blobs/ab.txt").exists());
}

/// Whoever asks first, all get one name: another would make the blobs strangers' to their own database.
#[tokio::test]
async fn a_database_has_one_name_however_many_ask() {
    for _ in 0..20 {
        let (_folder, studio, _) = fresh().await;
        let store = &studio.shared().store;
        let names = futures::future::join_all((0..4).map(|_| store.blobs_id())).await;
        let names: std::collections::HashSet<String> = names.into_iter().map(Result::unwrap).collect();
        assert_eq!(names.len(), 1);
    }
}

#[tokio::test]
async fn blobs_of_another_database_are_not_taken_for_orphans() {
    let (folder, studio, _) = fresh().await;
    let orphan = studio.shared().blobs.put(b"a row of the other database names it".to_vec()).await.unwrap();
    std::fs::write(folder.path().join("blobs/.adire-owner"), "another database").unwrap();
    assert_eq!(gc::note_orphans(studio.shared(), now() + 2 * DAY).await.unwrap(), 0);
    remove_unused(&studio.shared().store, &studio.shared().blobs).await.unwrap();
    assert!(path(folder.path(), &orphan).exists());
}

/// A stream's bytes.
pub(super) async fn read_back(stream: BlobStream) -> std::io::Result<Vec<u8>> {
    let pieces: Vec<_> = futures::TryStreamExt::try_collect(stream).await?;
    Ok(pieces.concat())
}

/// Whatever way a damaged blob is read, its content never arrives whole.
pub(super) async fn damage(blobs: &Blobs, hash: &str) {
    for _ in 0..2 {
        let blob = async || blobs.get(hash).await.unwrap().unwrap();
        let size = blob().await.size();
        let mut stream = blob().await.stream();
        let mut arrived = 0;
        let broken = loop {
            match stream.next().await {
                Some(Ok(piece)) => arrived += piece.len() as u64,
                Some(Err(error)) => break error,
                None => panic!("the stream ended in order"),
            }
        };
        assert!(arrived < size && broken.to_string().contains("damaged"), "{arrived} of {size}: {broken}");
        for error in [
            blob().await.range(0..2).await.map(drop).unwrap_err(),
            blob().await.bytes().await.map(drop).unwrap_err(),
            blobs.local(hash).await.map(drop).unwrap_err(),
        ] {
            assert!(error.to_string().contains("damaged"), "{error}");
        }
    }
}

#[tokio::test]
async fn blobs_are_read_whole_in_part_and_as_files() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(folder.path(), &BlobPlace::default()).await.unwrap();
    // Several pieces, the last one short.
    let content: Vec<u8> = (0..2_500_000_u32).map(|i| (i >> 5) as u8).collect();
    let put = |_| blobs.put(content.clone());
    let hashes = futures::future::try_join_all((0..16).map(put)).await.unwrap();
    let hash = &hashes[0];
    assert!(hashes.iter().all(|other| other == hash));
    let get = async || blobs.get(hash).await.unwrap().unwrap();
    assert_eq!(get().await.size(), content.len() as u64);
    assert!(read_back(get().await.stream()).await.unwrap() == content);
    for range in [0..1, 10..20, 1_048_570..1_048_590, 2_499_999..2_500_000] {
        let part = get().await.range(range.clone()).await.unwrap();
        let expected = &content[range.start as usize..range.end as usize];
        assert!(read_back(part).await.unwrap() == expected, "{range:?}");
    }
    assert_eq!(&*blobs.local(hash).await.unwrap().unwrap(), path(folder.path(), hash));
    // Deleted while it is read.
    let opened = get().await;
    blobs.remove(hash).await.unwrap();
    blobs.remove(hash).await.unwrap();
    assert!(blobs.get(hash).await.unwrap().is_none() && blobs.local(hash).await.unwrap().is_none());
    assert!(read_back(opened.stream()).await.unwrap() == content);
}

#[tokio::test]
async fn the_first_blobs_of_a_folder_may_come_at_once() {
    for _ in 0..50 {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(folder.path(), &BlobPlace::default()).await.unwrap();
        let hashes =
            futures::future::try_join_all((0..16).map(|_| blobs.put(b"one content".to_vec()))).await.unwrap();
        assert_eq!(hashes.len(), 16);
    }
}

#[tokio::test]
async fn a_damaged_blob_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(folder.path(), &BlobPlace::default()).await.unwrap();
    let hash = blobs.put(vec![5; 1_500_000]).await.unwrap();
    let mut bytes = std::fs::read(path(folder.path(), &hash)).unwrap();
    bytes[700_000] ^= 1;
    std::fs::write(path(folder.path(), &hash), bytes).unwrap();
    damage(&blobs, &hash).await;
    // The same content again mends it.
    blobs.put(vec![5; 1_500_000]).await.unwrap();
    assert_eq!(blobs.read(&hash).await.unwrap().unwrap().len(), 1_500_000);
}

#[tokio::test]
async fn a_blob_on_its_way_to_its_row_is_not_removed() {
    let (_folder, studio, _) = fresh().await;
    let shared = studio.shared();
    let keeping = shared.blobs.keeping().await;
    let hash = shared.blobs.put(b"content".to_vec()).await.unwrap();
    shared.store.note_blob(&hash).await.unwrap();
    let removal = remove_unused(&shared.store, &shared.blobs);
    let waits = tokio::time::timeout(Duration::from_millis(100), removal).await;
    assert!(waits.is_err() && shared.blobs.get(&hash).await.unwrap().is_some());
    drop(keeping);
    // The removal that waited may have begun meanwhile: then it has removed the blob, not this one.
    assert!(remove_unused(&shared.store, &shared.blobs).await.unwrap() <= 1);
    assert!(shared.blobs.get(&hash).await.unwrap().is_none());
}
