//! Words that stand for files.

use super::*;
use crate::{DataFolder, NewEmbedding};

fn new(folder: &Path, word: &str, content: &str) -> NewEmbedding {
    let path = folder.join(format!("{content}.safetensors"));
    std::fs::write(&path, content).unwrap();
    NewEmbedding { word: word.to_owned(), path, vectors: 4, width: 768 }
}

#[tokio::test]
async fn a_word_stands_for_one_file_until_it_is_removed() {
    let (folder, studio, _) = fresh().await;
    let files = tempfile::tempdir().unwrap();
    let added = studio.add_embedding(new(files.path(), "MyStyle", "one")).await.unwrap();
    assert_eq!((added.word.as_str(), added.vectors, added.bytes), ("MyStyle", 4, 3));
    // The same again is the one that is there, in whatever case; another file is refused.
    let again = studio.add_embedding(new(files.path(), "mystyle", "one")).await.unwrap();
    assert_eq!(again, added);
    match studio.add_embedding(new(files.path(), "MYSTYLE", "two")).await {
        Err(StudioError::EmbeddingExists { word }) => assert_eq!(word, "MyStyle"),
        other => panic!("{other:?}"),
    }
    let asked = studio.submit(request("red MyStyle"), &nobody()).await.unwrap();
    let image = finished(&studio, &asked.id).await.images.remove(0);
    assert_eq!(image.recipe.embeddings[0].hash, added.hash);
    assert!(image.infotext.contains(&format!("TI hashes: \"MyStyle: {}\"", &added.hash[..12])));
    let bytes = studio.image(&image.hash).await.unwrap();
    assert_eq!(crate::read_recipe(&bytes).unwrap().embeddings, image.recipe.embeddings);

    studio.remove_embedding("mystyle").await.unwrap();
    assert_eq!(studio.embeddings().await.unwrap(), []);
    assert!(matches!(studio.remove_embedding("mystyle").await, Err(StudioError::NotFound { .. })));
    let asked = studio.submit(request("red MyStyle"), &nobody()).await.unwrap();
    assert_eq!(finished(&studio, &asked.id).await.images[0].recipe.embeddings, []);
    // What was made with it can still be made again.
    assert!(crate::blob_path(folder.path(), &added.hash).unwrap().is_file());
}

#[tokio::test]
async fn a_full_disk_keeps_no_word_without_saying_so() {
    if postgres::chosen() {
        return;
    }
    let (_folder, studio, _) = fresh().await;
    let files = tempfile::tempdir().unwrap();
    studio.shared().store.fill_up().await;
    let mut refused = 0;
    for n in 0..200 {
        let word = format!("word{n}");
        match studio.add_embedding(new(files.path(), &word, "same")).await {
            Ok(_) => assert!(studio.embeddings().await.unwrap().iter().any(|one| one.word == word), "{word}"),
            Err(StudioError::DiskFull) => refused += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(refused > 0);
}

#[tokio::test]
async fn the_command_line_adds_what_the_next_server_offers() {
    let folder = tempfile::tempdir().unwrap();
    let files = tempfile::tempdir().unwrap();
    let data = DataFolder::open(folder.path()).await.unwrap();
    data.add_embedding(new(files.path(), "a", "one")).await.unwrap();
    data.close().await;
    let studio = open(folder.path(), FakeBackend::default()).await.unwrap();
    assert_eq!(studio.embeddings().await.unwrap()[0].word, "a");
    let (prompt, _) = studio.count_tokens("a moon".to_owned(), String::new(), Vec::new()).await.unwrap();
    assert_eq!(prompt.tokens, 5);
}
