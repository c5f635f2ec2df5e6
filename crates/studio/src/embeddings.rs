//! Embeddings: which words of prompts stand for files.

use std::{fs::File, path::PathBuf};

use adire_protocol::EmbeddingRecord;

use crate::{
    EmbeddingFile, LocalFile, NewEmbedding, StudioError,
    blobs::{Blobs, Local},
    folder::reason,
    shared::Shared,
    store::Store,
    tasks::blocking,
    time::now,
};

/// Keeps a file and the word that stands for it.
pub(crate) async fn add(
    store: &Store,
    blobs: &Blobs,
    new: NewEmbedding,
) -> Result<EmbeddingRecord, StudioError> {
    let (keeper, source) = (blobs.clone(), new.path.clone());
    let staged = blocking(move || {
        let file = File::open(&source).map_err(|error| {
            StudioError::Adapter(format!("{} cannot be read: {}.", source.display(), reason(&error)))
        })?;
        keeper.stage(file)
    })
    .await?;
    let NewEmbedding { word, vectors, width, .. } = new;
    let (hash, bytes) = (staged.hash.clone(), staged.bytes);
    let row = EmbeddingRecord { word, hash, vectors, width, bytes, created_at: now() };
    let taken = |known: &EmbeddingRecord| StudioError::EmbeddingExists { word: known.word.clone() };
    if let Some(known) = store.embedding(&row.word).await? {
        return if known.hash == row.hash { Ok(known) } else { Err(taken(&known)) };
    }
    let _keeping = blobs.keeping().await;
    blobs.keep(staged).await?;
    store.insert_embedding(&row).await?;
    // Read back: someone may have taken the word since we looked.
    match store.embedding(&row.word).await? {
        Some(known) if known.hash == row.hash => Ok(known),
        Some(known) => Err(taken(&known)),
        None => Err(StudioError::Storage(format!("The embedding {} was not stored; try again.", row.word))),
    }
}

/// Forgets a word.
pub(crate) async fn remove(store: &Store, word: &str) -> Result<EmbeddingRecord, StudioError> {
    let unknown = || StudioError::not_found("embedding", word);
    let known = store.embedding(word).await?.ok_or_else(unknown)?;
    store.delete_embedding(word).await?;
    Ok(known)
}

/// All that prompts may name.
pub(crate) async fn files(shared: &Shared) -> Result<Vec<EmbeddingFile>, StudioError> {
    let known = shared.store.embeddings().await?;
    let files = shared.blobs.locals(known.iter().map(|known| known.hash.clone()).collect()).await;
    let file = |(EmbeddingRecord { word, hash, vectors, .. }, file): (EmbeddingRecord, Local)| {
        let path = match file {
            Ok(Some(path)) => path,
            // Only a prompt that names it fails, when the engine finds no file.
            Ok(None) | Err(StudioError::Storage(_) | StudioError::Damaged(_)) => {
                tracing::warn!(word, hash, "the file of an embedding is missing or damaged");
                LocalFile::from(PathBuf::from(&hash))
            }
            Err(other) => return Err(other),
        };
        Ok(EmbeddingFile { word, hash, vectors, path })
    };
    known.into_iter().zip(files).map(file).collect()
}
