//! Selected images as a zip file: each PNG with its recipe as JSON beside it. It is written while it is sent, one image in
//! memory at a time; while a reader is slow, nothing is held but that image.

use std::{
    io::{self, Write},
    mem,
    sync::{Arc, Mutex, PoisonError},
    vec,
};

use adire_protocol::{HistoryImage, ImageRef};
use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::Semaphore;
use zip::{
    CompressionMethod, ZipWriter,
    write::{SimpleFileOptions, StreamWriter},
};

use super::{check_selection, image};
use crate::{BlobStream, StudioError, client::Asker, shared::Shared, tasks::blocking};

/// Most images that are read and packed at a time, of all zip files together. Between two images a file holds no turn, so
/// that slow readers do not keep others out.
static PACKERS: Semaphore = Semaphore::const_new(8);

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
    let packed = Packed::default();
    let archive = ZipWriter::new_stream(packed.clone());
    let zip = Zip { shared, images: found.into_iter(), number: 0, archive, packed };
    let pieces = futures::stream::try_unfold(Some(zip), |zip| async {
        let Some(zip) = zip else { return Ok(None) };
        zip.next().await.map(Some).map_err(io::Error::other)
    });
    Ok(pieces.boxed())
}

/// A file that is being written.
struct Zip {
    shared: Arc<Shared>,
    /// Those that are left.
    images: vec::IntoIter<HistoryImage>,
    /// How many are in it.
    number: usize,
    archive: ZipWriter<StreamWriter<Packed>>,
    packed: Packed,
}

impl Zip {
    /// The bytes of the next image, or after the last one the directory, which ends the file.
    async fn next(mut self) -> Result<(Bytes, Option<Self>), StudioError> {
        let Some(image) = self.images.next() else {
            self.archive.finish().map_err(|error| broken(&error.into()))?;
            return Ok((self.packed.take(), None));
        };
        // Never closed.
        let _turn = PACKERS.acquire().await.map_err(|_| StudioError::ShuttingDown)?;
        let hash = &image.image.hash;
        let blob = self.shared.blobs.get(hash).await?;
        let content = blob.ok_or_else(|| StudioError::not_found("image", hash))?.bytes().await?;
        self.number += 1;
        blocking(move || {
            add(&mut self.archive, self.number, &image, &content).map_err(|error| broken(&error))?;
            Ok((self.packed.take(), Some(self)))
        })
        .await
    }
}

fn broken(error: &io::Error) -> StudioError {
    StudioError::Backend(format!("The zip file could not be written: {error}."))
}

/// Packs an image. `number`: its place, which keeps equal images apart.
fn add(
    archive: &mut ZipWriter<StreamWriter<Packed>>,
    number: usize,
    image: &HistoryImage,
    content: &[u8],
) -> io::Result<()> {
    let hash = &image.image.hash;
    let name = format!("{number:03}-{}-{}", image.image.recipe.spec.seed, &hash[..hash.len().min(12)]);
    let packed = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(1));
    archive.start_file(format!("{name}.png"), packed)?;
    archive.write_all(content)?;
    archive.start_file(format!("{name}.json"), packed)?;
    archive.write_all(&serde_json::to_vec_pretty(image)?)
}

/// What was written and not sent yet.
#[derive(Clone, Default)]
struct Packed(Arc<Mutex<Vec<u8>>>);

impl Packed {
    fn take(&self) -> Bytes {
        mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).into()
    }
}

impl Write for Packed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
