//! Selected images as a zip file: each PNG with its recipe as JSON beside it. It is written while it is sent, one image in
//! memory at a time.

use std::{
    io::{self, Write},
    sync::Arc,
};

use adire_protocol::{HistoryImage, ImageRef};
use bytes::Bytes;
use futures::StreamExt;
use tokio::{runtime::Handle, sync::mpsc};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::{check_selection, image};
use crate::{BlobStream, StudioError, client::Asker, shared::Shared, tasks::blocking};

/// Pieces that wait for a slow reader.
const AHEAD: usize = 4;
/// Bytes of a piece.
const PIECE: usize = 256 << 10;

/// The file of these images.
///
/// # Errors
/// None or too many of them; one that is not there or another visitor's.
pub(crate) async fn zip(
    shared: Arc<Shared>,
    images: Vec<ImageRef>,
    asker: Asker,
) -> Result<BlobStream, StudioError> {
    check_selection(&images)?;
    let mut found = Vec::with_capacity(images.len());
    for of in &images {
        found.push(image(&shared, of, &asker).await?);
    }
    let (sender, pieces) = mpsc::channel(AHEAD);
    let runtime = Handle::current();
    // Ends early when the reader is gone.
    tokio::spawn(blocking(move || {
        write(&shared, &runtime, found, &sender);
        Ok(())
    }));
    let pieces = futures::stream::unfold(pieces, |mut pieces| async move {
        pieces.recv().await.map(|piece| (piece, pieces))
    });
    Ok(pieces.boxed())
}

fn write(
    shared: &Shared,
    runtime: &Handle,
    images: Vec<HistoryImage>,
    sender: &mpsc::Sender<io::Result<Bytes>>,
) {
    let mut archive = ZipWriter::new_stream(Pieces { sender: sender.clone(), held: Vec::new() });
    let written = images.into_iter().enumerate().try_for_each(|(at, image)| {
        if sender.is_closed() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        add(shared, runtime, &mut archive, at, image)
    });
    let ended = written.and_then(|()| {
        let mut pieces = archive.finish().map_err(io::Error::from)?.into_inner();
        pieces.hand_over();
        Ok(())
    });
    if let Err(error) = ended {
        let _ = sender.blocking_send(Err(error));
    }
}

fn add<W: Write + io::Seek>(
    shared: &Shared,
    runtime: &Handle,
    archive: &mut ZipWriter<W>,
    at: usize,
    image: HistoryImage,
) -> io::Result<()> {
    let hash = &image.image.hash;
    let content = runtime.block_on(async {
        match shared.blobs.get(hash).await? {
            Some(blob) => blob.bytes().await,
            None => Err(StudioError::not_found("image", hash)),
        }
    });
    let content = content.map_err(io::Error::other)?;
    // Its place keeps equal images apart.
    let name = format!("{:03}-{}-{}", at + 1, image.image.recipe.spec.seed, &hash[..hash.len().min(12)]);
    let packed = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(1));
    archive.start_file(format!("{name}.png"), packed)?;
    archive.write_all(&content)?;
    archive.start_file(format!("{name}.json"), packed)?;
    archive.write_all(&serde_json::to_vec_pretty(&image)?)
}

/// Hands what is written to the reader, piece by piece; nobody reads what comes after the reader is gone.
struct Pieces {
    sender: mpsc::Sender<io::Result<Bytes>>,
    held: Vec<u8>,
}

impl Pieces {
    fn hand_over(&mut self) {
        if !self.held.is_empty() {
            let _ = self.sender.blocking_send(Ok(std::mem::take(&mut self.held).into()));
        }
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.held.extend_from_slice(bytes);
        if self.held.len() >= PIECE {
            self.hand_over();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
