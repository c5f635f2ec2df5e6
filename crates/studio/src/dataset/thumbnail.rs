//! Thumbnails of dataset images, rendered on first request and cached.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use image::{ExtendedColorType, ImageEncoder, RgbImage, codecs::jpeg::JpegEncoder, imageops};
use tokio::sync::Semaphore;

use super::dataset_store::DatasetStore;
use crate::{
    StudioError,
    blobs::{self, Blobs},
    decode::decode_pixels,
    folder::{self, reason},
    tasks::blocking,
};

/// Longest side in pixels.
const SIDE: u32 = 320;
const QUALITY: u8 = 82;
/// Their place in the data folder.
pub(super) const FOLDER: &str = "thumbnails";

/// Most thumbnails that are made at a time; each may take a few hundred megabytes for a moment.
static SHRINKERS: Semaphore = Semaphore::const_new(2);

impl DatasetStore {
    /// A JPEG of an image of a dataset, at most 320 pixels a side.
    pub(crate) async fn thumbnail(&self, id: &str, hash: &str) -> Result<Vec<u8>, StudioError> {
        let missing = || StudioError::not_found("dataset image", hash);
        if !self.store.dataset_has_image(id, hash).await? {
            return Err(missing());
        }
        // Never closed.
        let _turn = SHRINKERS.acquire().await.map_err(|_| StudioError::ShuttingDown)?;
        thumbnail(&self.data, &self.blobs, hash).await?.ok_or_else(missing)
    }
}

/// The JPEG thumbnail of the image file with that name; `None` if the file does not exist.
///
/// # Errors
/// The file cannot be read or decoded.
async fn thumbnail(data: &Path, blobs: &Blobs, hash: &str) -> Result<Option<Vec<u8>>, StudioError> {
    let Some(path) = place(data, hash) else { return Ok(None) };
    match tokio::fs::read(&path).await {
        Ok(bytes) => return Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            return Err(StudioError::Storage(format!(
                "{} cannot be read: {}.",
                path.display(),
                reason(&error)
            )));
        }
    }
    let Some(bytes) = blobs.read(hash).await? else { return Ok(None) };
    let made = blocking(move || {
        let jpeg = shrink(&bytes)?;
        // Kept for the next time; if that does not work, it is made once more.
        if let Err(error) = keep(&path, &jpeg) {
            tracing::warn!(%error, path = %path.display(), "a thumbnail was not kept");
        }
        Ok(jpeg)
    });
    made.await.map(Some)
}

pub(super) fn forget(data: &Path, hash: &str) {
    if let Some(path) = place(data, hash) {
        // It may never have been made.
        folder::remove(&path);
    }
}

fn place(data: &Path, hash: &str) -> Option<PathBuf> {
    blobs::path_below(&data.join(FOLDER), hash)
}

fn keep(path: &Path, jpeg: &[u8]) -> io::Result<()> {
    let part = path.with_extension(format!("{}.part", uuid::Uuid::new_v4().simple()));
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(&part, jpeg).and_then(|()| fs::rename(&part, path)).inspect_err(|_| {
        let _ = fs::remove_file(&part);
    })
}

fn shrink(bytes: &[u8]) -> Result<Vec<u8>, StudioError> {
    let pixels = decode_pixels(bytes)?;
    let (width, height) = (pixels.width, pixels.height);
    let image = RgbImage::from_raw(width, height, pixels.rgb)
        .ok_or_else(|| StudioError::Image("The image has fewer bytes than pixels.".to_owned()))?;
    let scale = (f64::from(SIDE) / f64::from(width.max(height).max(1))).min(1.0);
    let side = |length: u32| ((f64::from(length) * scale).round() as u32).max(1);
    let small = if scale < 1.0 { imageops::thumbnail(&image, side(width), side(height)) } else { image };
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY)
        .write_image(small.as_raw(), small.width(), small.height(), ExtendedColorType::Rgb8)
        .map_err(|error| StudioError::Image(format!("The thumbnail could not be encoded: {error}.")))?;
    Ok(jpeg)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BlobPlace, Pixels, encode_png};

    #[tokio::test]
    async fn a_thumbnail_keeps_the_shape_and_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(folder.path(), &BlobPlace::default()).await.unwrap();
        let rgb = vec![120; 3 * 800 * 200];
        let png = encode_png(&Pixels { width: 800, height: 200, rgb }, "").unwrap();
        let hash = blobs.put(png).await.unwrap();
        let jpeg = thumbnail(folder.path(), &blobs, &hash).await.unwrap().unwrap();
        let small = image::load_from_memory(&jpeg).unwrap();
        assert_eq!((small.width(), small.height()), (320, 80));
        blobs.remove(&hash).await.unwrap();
        assert_eq!(thumbnail(folder.path(), &blobs, &hash).await.unwrap(), Some(jpeg));
        forget(folder.path(), &hash);
        assert_eq!(thumbnail(folder.path(), &blobs, &hash).await.unwrap(), None);
        assert_eq!(thumbnail(folder.path(), &blobs, "../../etc").await.unwrap(), None);
    }
}
