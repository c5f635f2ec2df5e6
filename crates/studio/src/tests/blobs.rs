//! Blobs and the rows that need them.

use adire_protocol::{TrainingConfig, TrainingRequest, TrainingState};

use super::*;
use crate::{
    ImageUse, NewEmbedding, Pixels, deletion, gc,
    png::encode_bare,
    shared::now,
    work::{EndedBy, Outcome},
};

const DAY: i64 = crate::limits::DAY_MS;

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
        while studio.training(&run.id).await.unwrap().job.state != TrainingState::Done {
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
    deletion::remove_unused(studio.shared()).await.unwrap();
    assert!(path(folder.path(), &embedding.hash).exists());
}

#[tokio::test]
async fn a_blob_that_lost_its_row_to_a_crash_goes_after_a_day() {
    let (folder, studio, _) = fresh().await;
    let generation = finished(&studio, &submit(&studio, "moons").await.id).await;
    let kept = generation.images[0].hash.clone();
    let orphan = studio.shared().blobs.put(b"stored, then the power failed").unwrap();
    std::fs::write(folder.path().join("blobs/ab.txt"), "not a blob").unwrap();
    for (at, left) in [(now() + DAY / 2, true), (now() + 2 * DAY, false)] {
        assert_eq!(gc::note_orphans(studio.shared(), at).await.unwrap(), usize::from(!left));
        deletion::remove_unused(studio.shared()).await.unwrap();
        assert_eq!(path(folder.path(), &orphan).exists(), left);
    }
    studio.image(&kept).await.unwrap();
    assert!(folder.path().join("blobs/ab.txt").exists());
}

#[tokio::test]
async fn blobs_of_another_database_are_not_taken_for_orphans() {
    let (folder, studio, _) = fresh().await;
    let orphan = studio.shared().blobs.put(b"a row of the other database names it").unwrap();
    std::fs::write(folder.path().join("blobs/.adire-owner"), "another database").unwrap();
    assert_eq!(gc::note_orphans(studio.shared(), now() + 2 * DAY).await.unwrap(), 0);
    deletion::remove_unused(studio.shared()).await.unwrap();
    assert!(path(folder.path(), &orphan).exists());
}
