//! Sharing: an image under an address that anyone may open, by its maker's explicit wish, with or without its recipe.
//!
//! The file of an image has its recipe inside, and knowing its hash is enough to read it. So a share has another name and
//! another content: the same pixels without texts.

use adire_protocol::{
    AdapterVersion, GenerationSpec, ImageRef, Share, ShareRequest, SharedImage, Stage, lora_tag,
};
use sha2::{Digest, Sha256};

use crate::{
    StudioError, client::Asker, history, png::without_texts, shared::Shared, store::ImageRow,
    tasks::blocking, time::now,
};

/// Shares an image, or changes what is shared with it.
pub(crate) async fn share(
    shared: &Shared,
    of: &ImageRef,
    request: ShareRequest,
    asker: &Asker,
) -> Result<Share, StudioError> {
    let image = history::image(shared, of, asker).await?.image;
    let file = public_file(shared, &image.hash).await?;
    let hash = hex::encode(Sha256::digest(&file));
    shared.store.share_image((&of.generation, of.index), &hash, request.recipe, now()).await?;
    find(shared, of).await?.ok_or_else(|| StudioError::not_found("image", &image.hash))
}

/// Ends the share of an image; ending none is fine.
pub(crate) async fn unshare(shared: &Shared, of: &ImageRef, asker: &Asker) -> Result<(), StudioError> {
    history::image(shared, of, asker).await?;
    shared.store.unshare_image(&of.generation, of.index).await.map(drop)
}

/// The share of an image, for its owner and the admin.
pub(crate) async fn of_image(
    shared: &Shared,
    of: &ImageRef,
    asker: &Asker,
) -> Result<Option<Share>, StudioError> {
    history::image(shared, of, asker).await?;
    find(shared, of).await
}

async fn find(shared: &Shared, of: &ImageRef) -> Result<Option<Share>, StudioError> {
    let row = shared.store.share_of(&of.generation, of.index).await?;
    Ok(row.map(|row| Share {
        page: page(&row.hash),
        recipe: row.with_recipe == 1,
        shared_at: row.shared_at,
        hash: row.hash,
    }))
}

/// Path of the public page.
fn page(hash: &str) -> String {
    format!("/p/{hash}")
}

/// A shared image as anyone may see it.
pub(crate) async fn read(shared: &Shared, hash: &str) -> Result<SharedImage, StudioError> {
    let (row, with_recipe) = row(shared, hash).await?;
    let recipe = row.record()?.recipe;
    let usable = usable(shared).await?;
    let may_use = |name: &str| usable.iter().any(|version| version.id() == name);
    let adapters = recipe.spec.adapters.iter().map(|used| used.name.clone()).filter(|name| may_use(name));
    let adapters = adapters.collect();
    let (width, height) = recipe.spec.final_size();
    Ok(SharedImage {
        url: format!("{}/image.png", page(hash)),
        hash: hash.to_owned(),
        width,
        height,
        model: recipe.model,
        adapters,
        recipe: with_recipe.then(|| public_spec(recipe.spec, may_use)),
    })
}

/// A recipe without what its maker has not agreed to share, and what visitors may not use.
fn public_spec(spec: GenerationSpec, may_use: impl Fn(&str) -> bool) -> GenerationSpec {
    let prompt = lora_tag::without(&spec.prompt).split_whitespace().collect::<Vec<_>>().join(" ");
    let mut adapters = spec.adapters;
    adapters.retain(|used| may_use(&used.name));
    // Their tags are gone with the others.
    adapters.iter_mut().for_each(|used| used.in_prompt = false);
    GenerationSpec {
        prompt,
        adapters,
        init_image: None,
        mask: None,
        denoising_strength: None,
        keep_unmasked: None,
        count: 1,
        template: None,
        ..spec
    }
}

/// The file of a shared image.
pub(crate) async fn file(shared: &Shared, hash: &str) -> Result<Vec<u8>, StudioError> {
    let (row, _) = row(shared, hash).await?;
    public_file(shared, &row.record()?.hash).await
}

/// The generation and index of a shared image, for reports.
pub(crate) async fn image(shared: &Shared, hash: &str) -> Result<ImageRef, StudioError> {
    let (row, _) = row(shared, hash).await?;
    let record = row.record()?;
    Ok(ImageRef { generation: record.generation, index: record.index })
}

async fn row(shared: &Shared, hash: &str) -> Result<(ImageRow, bool), StudioError> {
    let row = shared.store.shared_image(hash).await?;
    Ok(row.ok_or_else(|| StudioError::not_found("shared image", hash))?.image())
}

async fn public_file(shared: &Shared, hash: &str) -> Result<Vec<u8>, StudioError> {
    let blob = shared.blobs.get(hash).await?.ok_or_else(|| StudioError::not_found("image", hash))?;
    let file = blob.bytes().await?;
    blocking(move || without_texts(&file)).await
}

/// Versions that a link may lead to: offered, and neither archived nor rejected.
pub(crate) async fn usable(shared: &Shared) -> Result<Vec<AdapterVersion>, StudioError> {
    let mut known = shared.store.adapters().await?;
    known.retain(|version| matches!(version.stage, Stage::Candidate | Stage::Production));
    Ok(known)
}

/// The version that `name`, `name@vN` or `name@alias` stands for, if a link may lead to it. The error names no other
/// version.
pub(crate) async fn version(shared: &Shared, name: &str) -> Result<AdapterVersion, StudioError> {
    let known = usable(shared).await?;
    let found = crate::adapters::resolve(&known, name).ok().cloned();
    found.ok_or_else(|| StudioError::not_found("adapter version", name))
}
