//! Datasets: filled from anything that people have, edited, frozen.

use std::io::Write;

use adire_protocol::{DatasetChange, DatasetRecord, NewDataset, TrainingRequest};
use image::{ImageFormat, Rgb, RgbImage};
use zip::{ZipWriter, write::SimpleFileOptions};

use super::*;
use crate::{ErrorKind, UploadedFile};

pub(super) fn png(shade: u8, side: u32) -> Vec<u8> {
    let image = RgbImage::from_fn(side, side, |x, y| Rgb([x as u8, y as u8, shade]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

pub(super) async fn bring(studio: &Studio, files: &[(&str, Vec<u8>)]) -> Vec<UploadedFile> {
    let mut uploaded = Vec::new();
    for (name, bytes) in files {
        let chunks = bytes.chunks(1000).map(|chunk| Ok::<_, String>(chunk.to_vec()));
        let chunks: Vec<_> = chunks.collect();
        uploaded.push(studio.receive(name, futures::stream::iter(chunks)).await.unwrap());
    }
    uploaded
}

async fn add(studio: &Studio, id: &str, files: &[(&str, Vec<u8>)]) -> DatasetRecord {
    studio.add_to_dataset(id, bring(studio, files).await).await.unwrap()
}

pub(super) async fn dataset(studio: &Studio, name: &str, images: u8) -> DatasetRecord {
    let new = NewDataset { name: name.to_owned(), trigger: "tok".to_owned(), caption: "cloth".to_owned() };
    let id = studio.create_dataset(new).await.unwrap().id;
    let names: Vec<String> = (0..images).map(|i| format!("{i}.png")).collect();
    let files: Vec<_> = names.iter().zip(0..).map(|(name, shade)| (name.as_str(), png(shade, 64))).collect();
    add(studio, &id, &files).await
}

fn zipped(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in files {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn texts(record: &DatasetRecord) -> Vec<(&str, &str, u32)> {
    record.images.iter().map(|p| (p.name.as_str(), p.text.as_str(), p.repeats)).collect()
}

fn warning_of<'a>(record: &'a DatasetRecord, name: &str) -> &'a str {
    let warning = record.warnings.iter().find(|warning| warning.name == name);
    warning.map_or_else(|| panic!("nothing about {name}: {:?}", record.warnings), |r| r.message.as_str())
}

fn leftovers(folder: &Path) -> usize {
    std::fs::read_dir(folder.join("blobs/incoming")).unwrap().count()
}

#[tokio::test]
async fn a_dataset_takes_files_folders_and_archives() {
    let (folder, studio, _) = fresh().await;
    let new = NewDataset { name: "cloth".to_owned(), trigger: "tok".to_owned(), caption: String::new() };
    let id = studio.create_dataset(new).await.unwrap().id;
    let list = b"{\"file_name\": \"d.png\", \"text\": \"from the list\"}\n";
    let (c, d) = (png(3, 64), png(4, 64));
    let archive = zipped(&[
        ("set/3_red cloth/c.png", &c),
        ("set/d.png", &d),
        ("set/metadata.jsonl", list),
        ("__MACOSX/set/d.png", b"junk"),
        ("../../up.png", &png(5, 64)),
    ]);
    let record = add(
        &studio,
        &id,
        &[
            ("a.png", png(1, 64)),
            ("a.txt", b"from\n beside".to_vec()),
            ("set.zip", archive),
            ("copy.png", png(1, 64)),
            ("small.png", png(9, 8)),
            ("text.png", b"this is text".to_vec()),
            ("film.mp4", b"film".to_vec()),
        ],
    )
    .await;
    let expected = [
        ("a.png", "tok, from beside", 1),
        ("set/3_red cloth/c.png", "tok, red cloth", 3),
        ("set/d.png", "tok, from the list", 1),
        ("small.png", "tok", 1),
        ("up.png", "tok", 1),
    ];
    assert_eq!(texts(&record), expected);
    assert_eq!(warning_of(&record, "copy.png"), "Skipped: same pixels as a.png.");
    assert!(warning_of(&record, "text.png").contains("Unsupported file"));
    assert!(warning_of(&record, "film.mp4").contains("use PNG"));
    assert!(warning_of(&record, "small.png").contains("8 × 8"));
    assert!(warning_of(&record, "__MACOSX/set/d.png").contains("hidden"));
    assert!(warning_of(&record, "a.txt").contains("2 lines were joined"));
    assert_eq!(leftovers(folder.path()), 0, "what was uploaded is deleted");
    assert!(
        !folder.path().join("up.png").exists() && !folder.path().parent().unwrap().join("up.png").exists()
    );

    // The same again, and a caption that comes after its image.
    let record = add(&studio, &id, &[("b.png", c), ("up.txt", b"late".to_vec())]).await;
    assert_eq!(record.images.len(), 5);
    assert!(warning_of(&record, "b.png").contains("same pixels as set/3_red cloth/c.png"));
    assert_eq!(texts(&record)[4], ("up.png", "tok, late", 1));
    let listed = studio.datasets().await.unwrap();
    assert_eq!((listed[0].images, listed[0].frozen.as_deref()), (5, None));

    let hash = &record.images[0].hash;
    let thumbnail = studio.thumbnail(&id, hash).await.unwrap();
    assert_eq!(image::load_from_memory(&thumbnail).unwrap().width(), 64);
    assert!(studio.thumbnail(&id, &"0".repeat(64)).await.is_err());
}

#[tokio::test]
async fn archives_that_are_no_datasets_are_refused_and_nothing_of_them_stays() {
    let (folder, studio, _) = fresh().await;
    let id = dataset(&studio, "cloth", 1).await.id;
    // A few kilobytes that would be many megabytes.
    let bomb = zipped(&[("a.png", &vec![0; 40 << 20]), ("b.png", &png(7, 64))]);
    assert!(bomb.len() < 200_000);
    let whole = zipped(&[("c.png", &png(8, 64))]);
    let record = add(
        &studio,
        &id,
        &[("bomb.zip", bomb), ("half.zip", whole[..whole.len() / 2].to_vec()), ("good.zip", whole)],
    )
    .await;
    assert!(warning_of(&record, "bomb.zip").contains("Nothing was imported"), "{:?}", record.warnings);
    assert!(warning_of(&record, "half.zip").contains("not a readable zip file"));
    let names: Vec<_> = record.images.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["0.png", "c.png"]);
    assert_eq!(leftovers(folder.path()), 0);
}

#[tokio::test]
async fn captions_are_edited_one_by_one_and_together() {
    let (_folder, studio, _) = fresh().await;
    let record = dataset(&studio, "cloth", 3).await;
    let hash = |i: usize| record.images[i].hash.clone();
    let change = async |change| studio.change_dataset(&record.id, change).await;
    let own = "an indigo\n cloth".to_owned();
    let changed = change(DatasetChange::Caption { image: hash(0), caption: own }).await.unwrap();
    assert_eq!(texts(&changed)[0].1, "tok, an indigo cloth");
    let changed = change(DatasetChange::Prefix { prefix: "a photo of ".to_owned() }).await.unwrap();
    assert_eq!(texts(&changed)[0].1, "tok, a photo of an indigo cloth");
    assert_eq!(texts(&changed)[1].1, "tok, a photo of cloth");
    let (find, with) = ("photo".to_owned(), "picture".to_owned());
    let changed = change(DatasetChange::Replace { find, with }).await.unwrap();
    assert_eq!(texts(&changed)[0].1, "tok, a picture of an indigo cloth");
    assert_eq!(texts(&changed)[1].1, "tok, a picture of cloth");
    let changed = change(DatasetChange::Repeats { image: hash(2), repeats: 5 }).await.unwrap();
    assert_eq!(changed.images[2].repeats, 5);
    let unknown = DatasetChange::Caption { image: "0".repeat(64), caption: String::new() };
    assert_eq!(change(unknown).await.unwrap_err().kind(), ErrorKind::NotFound);
    let empty = DatasetChange::Replace { find: String::new(), with: String::new() };
    assert_eq!(change(empty).await.unwrap_err().kind(), ErrorKind::Invalid);
    let left = studio.remove_from_dataset(&record.id, &hash(1)).await.unwrap();
    assert_eq!(left.images.len(), 2);
    assert_eq!(
        studio.remove_from_dataset(&record.id, &hash(1)).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

#[tokio::test]
async fn a_dataset_that_a_training_uses_never_changes_and_a_copy_can() {
    let (folder, studio, _) = fresh().await;
    let record = dataset(&studio, "cloth", 2).await;
    let request = TrainingRequest {
        name: "cloth".to_owned(),
        dataset: record.id.clone(),
        config: adire_protocol::TrainingConfig { steps: 1, ..Default::default() },
        class_dataset: None,
        class_prompt: None,
        continue_from: None,
        note: String::new(),
    };
    let job = studio.train(request).await.unwrap();
    let frozen = studio.dataset(&record.id).await.unwrap();
    assert_eq!(frozen.frozen.as_ref(), Some(&job.dataset_hash));
    // The same name as the same images in a folder have.
    let images = folder.path().join("pictures");
    std::fs::create_dir_all(&images).unwrap();
    for shade in 0..2 {
        std::fs::write(images.join(format!("{shade}.png")), png(shade, 64)).unwrap();
    }
    assert_eq!(crate::read_dataset(&images, "cloth", "tok").unwrap().hash, job.dataset_hash);

    let image = frozen.images[0].hash.clone();
    let change = DatasetChange::Caption { image: image.clone(), caption: "other".to_owned() };
    for refused in [
        studio.change_dataset(&record.id, change.clone()).await,
        studio.remove_from_dataset(&record.id, &image).await,
        studio.add_to_dataset(&record.id, bring(&studio, &[("x.png", png(50, 64))]).await).await,
    ] {
        let error = refused.unwrap_err();
        assert!(error.kind() == ErrorKind::Conflict && error.to_string().contains("Duplicate it"), "{error}");
    }
    let copy = studio.copy_dataset(&record.id, Some("another".to_owned())).await.unwrap();
    assert_eq!((copy.images.len(), copy.name.as_str(), copy.is_draft()), (2, "another", true));
    studio.change_dataset(&copy.id, change).await.unwrap();
    // An image that two datasets have stays when one lets it go.
    studio.remove_from_dataset(&copy.id, &image).await.unwrap();
    assert!(studio.thumbnail(&record.id, &image).await.is_ok());
}

#[tokio::test]
async fn a_dataset_is_deleted_with_what_nothing_else_needs() {
    let (folder, studio, _, latch) = latched().await;
    let record = dataset(&studio, "cloth", 2).await;
    let blob = |hash: &str| crate::blob_path(folder.path(), hash).unwrap();
    let copy = studio.copy_dataset(&record.id, None).await.unwrap();
    let other = add(&studio, &copy.id, &[("own.png", png(77, 64))]).await;
    let own = &other.images.iter().find(|image| image.name == "own.png").unwrap().hash;
    studio.delete_dataset(&copy.id).await.unwrap();
    assert_eq!(studio.dataset(&copy.id).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(!blob(own).exists(), "nothing else has it");
    assert!(record.images.iter().all(|image| blob(&image.hash).is_file()), "the other dataset has them");

    // A training that may still go on needs its images; one that has ended does not.
    studio.submit(request("holds the model"), &nobody()).await.unwrap();
    let asked = TrainingRequest {
        name: "cloth".to_owned(),
        dataset: record.id.clone(),
        config: adire_protocol::TrainingConfig { steps: 1, ..Default::default() },
        class_dataset: None,
        class_prompt: None,
        continue_from: None,
        note: String::new(),
    };
    let job = studio.train(asked).await.unwrap();
    let refused = studio.delete_dataset(&record.id).await.unwrap_err();
    assert!(
        refused.kind() == ErrorKind::Conflict && refused.to_string().contains("Cancel the run"),
        "{refused}"
    );
    studio.cancel_training(&job.id).await.unwrap();
    studio.delete_dataset(&record.id).await.unwrap();
    assert_eq!(studio.training(&job.id).await.unwrap().run.dataset_hash, job.dataset_hash);
    assert!(record.images.iter().all(|image| !blob(&image.hash).exists()));
    assert_eq!(studio.delete_dataset(&record.id).await.unwrap_err().kind(), ErrorKind::NotFound);
    latch.allow(1000);
}

#[tokio::test]
async fn a_folder_is_imported_and_one_without_images_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let config = StudioConfig {
        import_from: vec![folder.path().join("pictures")],
        ..StudioConfig::new(folder.path().join("data"))
    };
    let studio = Studio::open(config, || Ok(FakeBackend::default())).await.unwrap();
    let new = NewDataset { name: "x".to_owned(), ..Default::default() };
    let id = studio.create_dataset(new).await.unwrap().id;
    let images = folder.path().join("pictures/10_red");
    std::fs::create_dir_all(&images).unwrap();
    std::fs::write(images.join("a.png"), "text").unwrap();
    let error = studio.import_folder(&id, &folder.path().join("pictures")).await.unwrap_err().to_string();
    assert!(error.contains("10_red/a.png: Skipped."), "{error}");
    std::fs::write(images.join("b.png"), png(0, 64)).unwrap();
    let record = studio.import_folder(&id, &folder.path().join("pictures")).await.unwrap();
    assert_eq!(texts(&record), [("10_red/b.png", "red", 10)]);
    assert!(images.join("b.png").is_file(), "an import copies");
    for other in ["/nowhere", "/etc", "pictures"] {
        let error = studio.import_folder(&id, Path::new(other)).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("--import-from"), "{error}");
    }
    let (_folder, closed, _) = fresh().await;
    let id = dataset(&closed, "y", 1).await.id;
    assert!(closed.import_folder(&id, &images).await.unwrap_err().to_string().contains("import is disabled"));
}
