//! Blobs are verified as they are read: their name says what they must be.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    pin::pin,
};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use sha2::{Digest, Sha256};

/// The same pieces; the last one is held back until the hash is right. A damaged blob ends in an error, so whoever
/// counts bytes notices.
pub(super) fn verified(
    from: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    hash: String,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    struct State<S> {
        from: S,
        hasher: Sha256,
        last: Option<Bytes>,
    }
    let state = State { from: Box::pin(from), hasher: Sha256::new(), last: None };
    futures::stream::try_unfold(Some(state), move |state| {
        let hash = hash.clone();
        async move {
            let Some(mut state) = state else { return Ok(None) };
            while let Some(piece) = state.from.next().await {
                let piece = piece?;
                state.hasher.update(&piece);
                if let Some(before) = state.last.replace(piece) {
                    return Ok(Some((before, Some(state))));
                }
            }
            check(state.hasher, &hash)?;
            Ok(state.last.map(|last| (last, None)))
        }
    })
}

/// Reads a whole file to see whether it has that hash. Blocks.
pub(super) fn verify_file(path: &Path, hash: &str) -> io::Result<()> {
    let (mut file, mut hasher, mut buffer) = (File::open(path)?, Sha256::new(), vec![0; 1 << 18]);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return check(hasher, hash);
        }
        hasher.update(&buffer[..read]);
    }
}

/// Reads a file of `size` bytes to its end. Blocks.
pub(super) fn read_verified(mut file: File, size: u64, hash: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    file.read_to_end(&mut bytes)?;
    check(Sha256::new_with_prefix(&bytes), hash)?;
    Ok(bytes)
}

fn check(hasher: Sha256, hash: &str) -> io::Result<()> {
    if hex::encode(hasher.finalize()) == hash {
        return Ok(());
    }
    tracing::error!(blob = hash, "a blob is damaged; restore it from a backup");
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("the file {hash} is damaged")))
}

/// Reads a stream to its end.
pub(super) async fn collect(from: impl Stream<Item = io::Result<Bytes>>, size: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    let mut from = pin!(from);
    while let Some(piece) = from.next().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(bytes)
}
