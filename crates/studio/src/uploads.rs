//! Taking images in, and finding those that requests name.

use std::{fs, sync::Arc};

use adire_protocol::{Defaults, GenerationRequest, GenerationSpec, Upload};
use futures::Stream;

use crate::{
    Decoded, ImageUse, InitFiles, LocalFile, Pixels, StudioError,
    blobs::{Blobs, SizeLimit},
    client::Who,
    decode::decode_image,
    folder,
    image_input::size_of_request,
    png::encode_bare,
    shared::Shared,
    store::Uploaded,
    tasks::blocking,
    time::{DAY_MS, now},
};

/// Largest file that is taken, in bytes.
pub const MAX_UPLOAD_BYTES: u64 = 20 << 20;

const LIMIT: SizeLimit =
    SizeLimit { bytes: MAX_UPLOAD_BYTES, of: "an image", advice: "Resize it and try again." };

/// What a network may upload in terms of what a visitor may.
const VISITORS_IN_A_NETWORK: u32 = 4;

/// Reads an image and keeps it as a PNG file of its pixels alone. Its bytes go to the disk as they come.
pub(crate) async fn take<B: AsRef<[u8]>, E: std::fmt::Display>(
    shared: Arc<Shared>,
    chunks: impl Stream<Item = Result<B, E>>,
    used_as: ImageUse,
    who: Who,
) -> Result<Upload, StudioError> {
    shared.disk.check_reserve()?;
    check_quota(&shared, &who).await?;
    let place = shared.decoders.line_up(&who)?;
    let received = shared.blobs.receive(chunks, LIMIT, "The file").await?;
    let turn = place.turn().await?;
    let (blobs, source) = (shared.blobs.clone(), received.path().to_owned());
    let (staged, width, height, warnings) = blocking(move || {
        let bytes = fs::read(&source).map_err(|error| failed(&error))?;
        let Decoded { pixels, warnings } = decode_image(&bytes, used_as)?;
        drop(bytes);
        let png = encode_bare(&pixels)?;
        let staged = blobs.stage(png.as_slice())?;
        drop(turn);
        Ok((staged, pixels.width, pixels.height, warnings))
    })
    .await?;
    drop(received);
    // The same image again costs nothing.
    if !shared.store.has_upload(&staged.hash).await? {
        check_room(&shared, &who, staged.bytes).await?;
    }
    let _keeping = shared.blobs.keeping().await;
    let bytes = staged.bytes;
    let hash = shared.blobs.keep(staged).await?;
    shared.store.keep_upload(&hash, bytes, &who, now()).await?;
    Ok(Upload { hash, width, height, warnings })
}

/// Does work that decodes images when it is the turn of `who`, as uploads are decoded.
pub(crate) async fn in_turn<T: Send + 'static>(
    shared: &Shared,
    who: Who,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StudioError> {
    check_quota(shared, &who).await?;
    let place = shared.decoders.line_up(&who)?;
    let turn = place.turn().await?;
    blocking(move || {
        let done = work();
        drop(turn);
        Ok(done)
    })
    .await
}

fn failed(error: &std::io::Error) -> StudioError {
    folder::failed("An uploaded image could not be kept", error)
}

/// Whether `who` may upload another image today, before its bytes are taken.
async fn check_quota(shared: &Shared, who: &Who) -> Result<(), StudioError> {
    check_room(shared, who, 0).await
}

/// Whether there is room for `bytes` more of `who`, and in all.
async fn check_room(shared: &Shared, who: &Who, bytes: u64) -> Result<(), StudioError> {
    let (caps, since) = (&shared.caps, now() - DAY_MS);
    let refuse = |message: String| Err(StudioError::UploadQuota { message, retry_after: 60 * 60 });
    let over = |used: Uploaded, times: u32| {
        let most = u64::from(times) * caps.upload_bytes;
        used.images >= times * caps.uploads || used.bytes.saturating_add(bytes.max(1)) > most
    };
    let quota = |times: u32| {
        format!(
            "{} images or {} MB within a day",
            times * caps.uploads,
            u64::from(times) * caps.upload_bytes / 1_000_000
        )
    };
    if let Some(owner) = who.owner()
        && over(shared.store.uploaded_by(&owner, since).await?, 1)
    {
        return refuse(format!(
            "Upload limit reached: {}. Delete some of your images, or try again later.",
            quota(1)
        ));
    }
    if let Some(network) = who.network_digest()
        && over(shared.store.uploaded_from(&network, since).await?, VISITORS_IN_A_NETWORK)
    {
        return refuse(format!(
            "Your network's upload limit is reached: {}. Try again later.",
            quota(VISITORS_IN_A_NETWORK)
        ));
    }
    if shared.store.upload_bytes().await?.saturating_add(bytes.max(1)) > caps.all_upload_bytes {
        let message = "Upload storage is full. Unused uploads are deleted after 24 hours; try again later.";
        return refuse(message.to_owned());
    }
    Ok(())
}

/// The name that an upload of these pixels would get.
///
/// # Errors
/// `pixels.rgb` does not have `3 × width × height` bytes.
pub fn image_hash(pixels: &Pixels) -> Result<String, StudioError> {
    use sha2::{Digest, Sha256};
    Ok(hex::encode(Sha256::digest(encode_bare(pixels)?)))
}

/// Checks that the images a request names are here, and gives the defaults that such a request has. A request may name
/// uploads and generated images, which `images/{hash}.png` serves to anyone who knows the name; images of datasets, samples of
/// trainings and other files are not there for it.
pub(crate) async fn defaults_for(
    shared: &Shared,
    request: &GenerationRequest,
) -> Result<Defaults, StudioError> {
    let mut defaults = shared.model.defaults.clone();
    let named = [("init_image", &request.init_image), ("mask", &request.mask)];
    let mut sizes = Vec::new();
    for (field, hash) in named.into_iter().filter_map(|(field, hash)| Some((field, hash.clone()?))) {
        // An old one must not be swept between this look and the row that names it.
        shared.store.touch_upload(&hash, now()).await?;
        if !shared.store.has_upload(&hash).await? && !shared.store.has_image(&hash).await? {
            return Err(unknown(field, &hash));
        }
        sizes.push(shared.blobs.png_size(&hash).await?.ok_or_else(|| unknown(field, &hash))?);
    }
    if request.init_image.is_some()
        && let Some(size) = sizes.first().copied()
    {
        (defaults.width, defaults.height) =
            size_of_request(size, &shared.model.limits, request.width, request.height);
    }
    Ok(defaults)
}

fn unknown(field: &str, hash: &str) -> StudioError {
    let shown: String = hash.chars().take(80).collect();
    let message =
        format!("Image “{shown}” not found; upload it with POST /api/v1/uploads, which returns its name.");
    StudioError::invalid(field, message)
}

/// The files of the images that a checked request names.
pub(crate) async fn files(blobs: &Blobs, spec: &GenerationSpec) -> Result<Option<InitFiles>, StudioError> {
    let Some(image) = &spec.init_image else { return Ok(None) };
    let image = file(blobs, image).await?;
    let mask = match &spec.mask {
        Some(mask) => Some(file(blobs, mask).await?),
        None => None,
    };
    Ok(Some(InitFiles { image, mask }))
}

async fn file(blobs: &Blobs, hash: &str) -> Result<LocalFile, StudioError> {
    blobs.local(hash).await?.ok_or_else(|| {
        let message = "The init image or mask was deleted while this generation was queued. Choose another one and generate again.";
        StudioError::Image(message.to_owned())
    })
}
