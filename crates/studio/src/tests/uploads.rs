//! Uploads: shown, used, and deleted when nobody uses them. Receipts of adapters.

use super::*;
use crate::{
    Pixels, client::Who, gc, png::encode_bare, tests::adapters::three_versions, time::now,
    unused_blobs::remove_unused,
};

pub(super) async fn upload(studio: &Studio, shade: u8) -> String {
    let pixels = Pixels { width: 8, height: 8, rgb: vec![shade; 192] };
    studio
        .upload(coming(encode_bare(&pixels).unwrap()), crate::ImageUse::Colours, &nobody())
        .await
        .unwrap()
        .hash
}

fn blob(folder: &TempDir, hash: &str) -> std::path::PathBuf {
    crate::blob_path(folder.path(), hash).unwrap()
}

#[tokio::test]
async fn an_upload_can_be_looked_at_and_goes_after_a_while_unless_a_request_names_it() {
    let (folder, studio, _) = fresh().await;
    let (idle, init, mask) = (upload(&studio, 1).await, upload(&studio, 2).await, upload(&studio, 3).await);
    assert!(studio.image(&idle).await.unwrap().starts_with(b"\x89PNG"));
    let begun =
        GenerationRequest { init_image: Some(init.clone()), mask: Some(mask.clone()), ..request("moons") };
    let made = finished(&studio, &studio.submit(begun, &nobody()).await.unwrap().id).await;

    let shared = studio.shared().clone();
    assert_eq!(gc::collect_uploads(&shared, now() - 1_000_000).await.unwrap(), 0, "they have just come");
    assert_eq!(gc::collect_uploads(&shared, now() + 1).await.unwrap(), 1);
    remove_unused(&shared.store, &shared.blobs).await.unwrap();
    assert!(matches!(studio.image(&idle).await, Err(StudioError::NotFound { .. })));
    assert!(!blob(&folder, &idle).exists());
    for hash in [&init, &mask, &made.images[0].hash] {
        assert!(blob(&folder, hash).exists());
        studio.image(hash).await.unwrap();
    }
    // What is gone can come again.
    assert_eq!(upload(&studio, 1).await, idle);
    studio.image(&idle).await.unwrap();
}

#[tokio::test]
async fn asking_for_an_old_upload_keeps_it() {
    let (_folder, studio, _) = fresh().await;
    let hash = upload(&studio, 1).await;
    let shared = studio.shared().clone();
    // Older than what is swept below, younger than what the studio sweeps by itself.
    shared.store.keep_upload(&hash, 100, &Who::default(), now() - 100_000).await.unwrap();
    // Refused for its steps, but its init image counts as used.
    let wrong = GenerationRequest { init_image: Some(hash.clone()), steps: Some(0), ..request("moons") };
    assert!(studio.submit(wrong, &nobody()).await.is_err());
    assert_eq!(gc::collect_uploads(&shared, now() - 60_000).await.unwrap(), 0);
    studio.image(&hash).await.unwrap();
}

#[tokio::test]
async fn adapters_are_not_given_out_as_images() {
    let (folder, studio, _) = fresh().await;
    let added = three_versions(&studio, folder.path()).await;
    assert!(matches!(studio.image(&added[0].hash).await, Err(StudioError::NotFound { .. })));
    let (version, file) = studio.adapter_file("adire").await.unwrap();
    assert_eq!((version, file.hash()), (added[1].clone(), added[1].hash.as_str()));
    assert_eq!(file.bytes().await.unwrap(), std::fs::read(blob(&folder, &added[1].hash)).unwrap());
}

#[tokio::test]
async fn a_receipt_is_made_once_and_kept() {
    let (folder, studio, _) = fresh().await;
    let added = three_versions(&studio, folder.path()).await;
    let detail = studio.adapter("adire@v1").await.unwrap();
    assert_eq!(detail.version, added[0]);
    let receipt = detail.receipt.unwrap();
    assert_eq!(receipt.applied.len(), 1);
    assert!(matches!(studio.adapter("nothing").await, Err(StudioError::UnknownAdapter { .. })));
    assert!(matches!(studio.adapter("../x").await, Err(StudioError::Invalid(_))));

    // One that an earlier program took in has no receipt yet.
    let shared = studio.shared().clone();
    shared.store.forget_receipts().await.unwrap();
    // Whoever asks does not wait long, so on a busy machine the first answer may come without it.
    let made = async {
        loop {
            if let Some(receipt) = studio.adapter("adire@v1").await.unwrap().receipt {
                return receipt;
            }
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, made).await.expect("it is made"), receipt);
    assert_eq!(shared.store.receipt(&added[0].hash, &shared.model.hash).await.unwrap(), Some(receipt));
}

#[tokio::test]
async fn a_busy_model_makes_no_one_wait_long_for_a_receipt() {
    let (folder, studio, _, latch) = latched().await;
    let added = three_versions(&studio, folder.path()).await;
    let shared = studio.shared().clone();
    shared.store.forget_receipts().await.unwrap();
    let job = submit(&studio, "moons").await;
    // One step: an image that has only started may not have reached the model yet.
    latch.allow(1);
    until(&studio, &job.id, "progress").await;
    assert_eq!(studio.adapter("adire@v1").await.unwrap().receipt, None);
    drop(latch);
    finished(&studio, &job.id).await;
    let receipt = async {
        loop {
            if let Some(receipt) = shared.store.receipt(&added[0].hash, &shared.model.hash).await.unwrap() {
                return receipt;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, receipt).await.expect("it is made all the same");
}
