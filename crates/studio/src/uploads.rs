//! Taking pictures in, and finding those that requests name.

use std::sync::Arc;

use adire_protocol::{Defaults, FieldError, GenerationRequest, GenerationSpec, Upload, ValidationError};
use tokio::sync::Semaphore;

use crate::{
    InitFiles, Pixels, StudioError,
    blobs::{Blobs, hex},
    canvas::{decode_picture, size_of_request},
    png::encode_bare,
    shared::{Shared, blocking, now},
};

/// Most uploads that are decoded at a time; each may take a few hundred megabytes for a moment.
static DECODERS: Semaphore = Semaphore::const_new(2);

/// Reads a picture and keeps it as a PNG file of its pixels alone.
pub(crate) async fn take(shared: Arc<Shared>, bytes: Vec<u8>) -> Result<Upload, StudioError> {
    // Never closed.
    let _turn = DECODERS.acquire().await.map_err(|_| StudioError::ShuttingDown)?;
    let blobs = shared.blobs.clone();
    let (png, width, height) = blocking(move || {
        let pixels = decode_picture(&bytes)?;
        drop(bytes);
        Ok((encode_bare(&pixels)?, pixels.width, pixels.height))
    })
    .await?;
    let _kept = shared.uploads.lock().await;
    let hash = blocking(move || blobs.put(&png)).await?;
    shared.store.keep_upload(&hash, now()).await?;
    Ok(Upload { hash, width, height })
}

/// The name that an upload of these pixels would get.
///
/// # Errors
/// `pixels.rgb` does not have `3 × width × height` bytes.
pub fn picture_hash(pixels: &Pixels) -> Result<String, StudioError> {
    use sha2::{Digest, Sha256};
    Ok(hex(&Sha256::digest(encode_bare(pixels)?)))
}

/// Checks that the pictures a request names are here, and gives the defaults that such a request has.
pub(crate) async fn defaults_for(
    shared: &Shared,
    request: &GenerationRequest,
) -> Result<Defaults, StudioError> {
    let mut defaults = shared.model.defaults.clone();
    let named = [("init_image", &request.init_image), ("mask", &request.mask)];
    let (blobs, mut sizes) = (shared.blobs.clone(), Vec::new());
    for (field, hash) in named.into_iter().filter_map(|(field, hash)| Some((field, hash.clone()?))) {
        let blobs = blobs.clone();
        // An old one must not be swept between this look and the row that names it.
        shared.store.touch_upload(&hash, now()).await?;
        sizes.push(blocking(move || size(&blobs, field, &hash)).await?);
    }
    if request.init_image.is_some()
        && let Some(size) = sizes.first().copied()
    {
        (defaults.width, defaults.height) =
            size_of_request(size, &shared.model.limits, request.width, request.height);
    }
    Ok(defaults)
}

/// Width and height of a picture that is here.
fn size(blobs: &Blobs, field: &str, hash: &str) -> Result<(u32, u32), StudioError> {
    blobs.png_size(hash)?.ok_or_else(|| {
        let shown: String = hash.chars().take(80).collect();
        let message = format!(
            "There is no picture “{shown}” here; send it to POST /api/v1/uploads, which answers with its name."
        );
        StudioError::Invalid(ValidationError(vec![FieldError { field: field.to_owned(), message }]))
    })
}

/// The files of the pictures that a checked request names.
pub(crate) fn files(blobs: &Blobs, spec: &GenerationSpec) -> Result<Option<InitFiles>, StudioError> {
    let path = |hash: &String| {
        let path = blobs.path(hash).filter(|path| path.is_file());
        path.ok_or_else(|| StudioError::Storage(format!("The file of the picture {hash} is lost.")))
    };
    let Some(image) = &spec.init_image else { return Ok(None) };
    Ok(Some(InitFiles { image: path(image)?, mask: spec.mask.as_ref().map(path).transpose()? }))
}
