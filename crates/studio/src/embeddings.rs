//! Embeddings: which words of prompts stand for files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use adire_protocol::EmbeddingRecord;
use futures::Stream;

use crate::{
    EmbeddingFacts, EmbeddingFault, EmbeddingFile, LocalFile, NewEmbedding, StudioError, UploadedFile,
    blobs::{Blobs, Local, SizeLimit, Staged},
    folder,
    shared::Shared,
    store::Store,
    tasks::blocking,
    time::now,
};

/// Largest file of an embedding that is uploaded, in bytes: what the engine reads at most.
pub const MAX_EMBEDDING_BYTES: u64 = 16 << 20;

const LIMIT: SizeLimit = SizeLimit {
    bytes: MAX_EMBEDDING_BYTES,
    of: "an embedding",
    advice: "Choose a textual inversion; a LoRA file is added as an adapter.",
};

/// Receives an embedding file.
pub(crate) async fn receive<B: AsRef<[u8]>, E: std::fmt::Display>(
    shared: &Shared,
    name: &str,
    chunks: impl Stream<Item = Result<B, E>>,
) -> Result<UploadedFile, StudioError> {
    shared.disk.check_reserve()?;
    UploadedFile::receive(&shared.blobs, name, chunks, LIMIT).await
}

/// Keeps an uploaded file under `word`, otherwise the file's own word or its name. Whether it was not there before.
pub(crate) async fn add_uploaded(
    shared: &Shared,
    file: UploadedFile,
    word: Option<String>,
) -> Result<(EmbeddingRecord, bool), StudioError> {
    let reader = shared.embedding_reader.clone();
    let (facts, file) = blocking(move || {
        let content = fs::read(file.path())
            .map_err(|error| folder::failed(format_args!("{} could not be read", file.name()), &error))?;
        Ok((reader(Path::new(file.name()), &content, word.as_deref()), file))
    })
    .await?;
    let facts = facts.map_err(|fault| match fault {
        EmbeddingFault::File(message) => StudioError::Adapter(message),
        EmbeddingFault::Word(message) => StudioError::invalid("word", message),
    })?;
    let staged = shared.blobs.stage_received(file.into_received()).await?;
    keep(&shared.store, &shared.blobs, staged, facts).await
}

/// Keeps a file of this machine and the word that stands for it.
pub(crate) async fn add(
    store: &Store,
    blobs: &Blobs,
    new: NewEmbedding,
) -> Result<EmbeddingRecord, StudioError> {
    let staged = blobs.stage_file(&new.path, StudioError::Adapter).await?;
    let NewEmbedding { word, vectors, width, .. } = new;
    Ok(keep(store, blobs, staged, EmbeddingFacts { word, vectors, width }).await?.0)
}

/// Whether it was not there before.
async fn keep(
    store: &Store,
    blobs: &Blobs,
    staged: Staged,
    EmbeddingFacts { word, vectors, width }: EmbeddingFacts,
) -> Result<(EmbeddingRecord, bool), StudioError> {
    let (hash, bytes) = (staged.hash.clone(), staged.bytes);
    let row = EmbeddingRecord { word, hash, vectors, width, bytes, created_at: now() };
    let taken = |known: &EmbeddingRecord| StudioError::EmbeddingExists { word: known.word.clone() };
    if let Some(known) = store.embedding(&row.word).await? {
        return if known.hash == row.hash { Ok((known, false)) } else { Err(taken(&known)) };
    }
    let _keeping = blobs.keeping().await;
    blobs.keep(staged).await?;
    store.insert_embedding(&row).await?;
    // Read back: someone may have taken the word since we looked.
    match store.embedding(&row.word).await? {
        Some(known) if known.hash == row.hash => Ok((known, true)),
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
