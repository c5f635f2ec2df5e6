//! `adire verify`: makes an image again from the recipe that it carries, and compares.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use adire_engine::{
    Embedding, Manifest, Pipeline, Rgb8,
    adapter::{Adapter, Strength},
    file_hash,
};
use adire_protocol::{EmbeddingUse, GenerationSpec, Recipe};
use adire_runtime::PreparedInit;
use adire_studio::{
    Bucket, Decoded, ImageUse, Pixels, blob_path, decode_image, download_blob, image_hash, read_image,
    read_pixels,
};
use anyhow::{Context, bail};
use clap::Args;
use tempfile::TempDir;

use crate::{
    commands::{
        generate::draw,
        init_image::warn,
        model_args::{BucketArgs, FoundModel, ModelAndDataArgs},
        print,
    },
    scratch,
};

/// Maximum size of the PNG file in bytes, well above any image that Adire writes.
const MAX_FILE_BYTES: u64 = 256 << 20;
/// Largest and mean difference (of 255) of images that look the same: another device or precision.
const CLOSE: (u8, f64) = (16, 1.0);

/// Image to verify, and where its model and adapters are
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// PNG file as saved by Adire
    #[arg(value_name = "FILE.png")]
    file: PathBuf,
    #[command(flatten)]
    model_and_data: ModelAndDataArgs,
    #[command(flatten)]
    blobs: BucketArgs,
    /// Adapter file that is neither in the data folder nor bundled with the model; repeatable
    #[arg(long, value_name = "FILE")]
    lora: Vec<PathBuf>,
    /// Embedding file that is not in the data folder; repeatable
    #[arg(long, value_name = "FILE")]
    embedding: Vec<PathBuf>,
    /// Init image or mask that is not in the data folder; repeatable
    #[arg(long, alias = "picture", value_name = "FILE")]
    image: Vec<PathBuf>,
}

impl VerifyArgs {
    /// Reports exact, close or different; different is an error.
    ///
    /// # Errors
    /// The images differ, or the image cannot be re-rendered: one sentence.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let shown = self.file.display();
        let bytes = read(&self.file)?;
        let recipe =
            adire_studio::read_recipe(&bytes).with_context(|| format!("{shown} cannot be verified"))?;
        let Decoded { pixels, warnings } = decode_image(&bytes, ImageUse::Colours)
            .with_context(|| format!("{shown} cannot be read as an image"))?;
        warn(&self.file, &warnings);
        let before = Rgb8 { width: pixels.width, height: pixels.height, data: pixels.rgb };
        let FoundModel { path: model, mut options, .. } = self.model_and_data.model_for(&recipe)?.warn();
        // The safety checker is on only where it blocked the original.
        options.safety_checker = recipe.withheld;
        if recipe.vae.is_none() {
            options.vae = None;
        }
        let stored = Stored::of(&self.model_and_data.data, &self.blobs)?;
        let adapters = self.adapters(&recipe, &model, &stored)?;
        let embeddings = self.embeddings(&recipe, &stored)?;
        let init = self.init(&recipe.spec, &stored)?;

        let mut pipeline = Pipeline::load(&model, &options)?;
        let info = pipeline.info();
        if info.hash != recipe.model_hash {
            bail!(
                "{shown} was generated with the model {} (hash {}), but {} is {} (hash {}); pass the right folder with --model",
                recipe.model,
                short(&recipe.model_hash),
                model.display(),
                info.name,
                short(&info.hash)
            );
        }
        if let Some(vae) =
            recipe.vae.as_ref().filter(|vae| info.vae.as_ref().is_none_or(|ours| ours.hash != vae.hash))
        {
            bail!(
                "{shown} was generated with the VAE {} (sha256 {}); pass its file or folder with --vae",
                vae.name,
                short(&vae.hash)
            );
        }
        let place = format!("{} in {}", info.device, info.dtype);
        pipeline.set_embeddings(embeddings)?;
        pipeline.set_adapters(&adapters)?;
        let drawn = draw(&mut pipeline, &recipe.spec, init.as_ref())?;
        if recipe.withheld && !drawn.withheld {
            bail!("{shown}: the safety checker blocked this image originally, but passes it now");
        }

        let verdict = Verdict::of(&before, &drawn.image)?;
        let mut report = format!("{shown}: {verdict}");
        if recipe.withheld {
            report.push_str(
                "\nBlocked by the safety checker both times: two black images say little about the rest.",
            );
        }
        let weights = pipeline.fingerprint()?.unwrap_or_default();
        if !recipe.fingerprint.is_empty() && weights != recipe.fingerprint {
            report.push_str(&format!(
                "\nThe weights differ too: fingerprint {} in the recipe, {} now.",
                short(&recipe.fingerprint),
                short(weights)
            ));
        }
        if !matches!(verdict, Verdict::Exact) {
            report.push_str(&format!(
                "\nIt was generated by Adire {} on {} in {}; this is Adire {} on {place}.",
                recipe.version,
                recipe.device,
                recipe.dtype,
                env!("CARGO_PKG_VERSION"),
            ));
        }
        if let Verdict::Different { .. } = verdict {
            bail!("{report}");
        }
        print(report)?;
        Ok(())
    }

    /// The init image and mask of the recipe, found by hash.
    fn init(&self, spec: &GenerationSpec, stored: &Stored) -> anyhow::Result<Option<PreparedInit>> {
        let find = |hash: &String, used_as: ImageUse| -> anyhow::Result<Pixels> {
            if let Some(path) = stored.file(hash)? {
                return Ok(read_pixels(&path)?);
            }
            for path in &self.image {
                let Decoded { pixels: found, warnings } = read_image(path, used_as)?;
                // A generated image is named by the hash of its file, an upload by that of its pixels.
                if image_hash(&found)? == *hash || file_hash(path).is_ok_and(|file| file == *hash) {
                    warn(path, &warnings);
                    return Ok(found);
                }
            }
            bail!(
                "its init image or mask {} is not stored in {stored}; pass the file with --image",
                short(hash)
            )
        };
        let Some(image) = spec.init_image.as_ref().map(|hash| find(hash, ImageUse::Colours)).transpose()?
        else {
            return Ok(None);
        };
        let mask = spec.mask.as_ref().map(|hash| find(hash, ImageUse::Mask)).transpose()?;
        Ok(Some(PreparedInit::new(image, mask.as_ref(), spec.width, spec.height)?))
    }

    /// The embeddings of the recipe with their words, except those bundled in its adapters.
    fn embeddings(&self, recipe: &Recipe, stored: &Stored) -> anyhow::Result<Vec<(String, Arc<Embedding>)>> {
        let own = recipe.embeddings.iter().filter(|one| !recipe.adapter_hashes.contains(&one.hash));
        own.map(|EmbeddingUse { word, hash }| {
            let kept = stored.file(hash)?;
            let same = |path: &&PathBuf| file_hash(path).is_ok_and(|found| found == *hash);
            let path = kept.as_ref().or_else(|| self.embedding.iter().find(same)).with_context(|| {
                format!(
                    "the embedding {word} (sha256 {}) is not stored in {stored}; pass its file with --embedding",
                    short(hash)
                )
            })?;
            Ok((word.clone(), Arc::new(Embedding::read(path)?)))
        })
        .collect()
    }

    /// The adapters of the recipe with their strengths, found by file hash.
    fn adapters(
        &self,
        recipe: &Recipe,
        model: &Path,
        stored: &Stored,
    ) -> anyhow::Result<Vec<(Arc<Adapter>, Strength)>> {
        let uses = &recipe.spec.adapters;
        if uses.len() != recipe.adapter_hashes.len() {
            bail!("the recipe names {} adapters but {} hashes", uses.len(), recipe.adapter_hashes.len());
        }
        let mut candidates = self.lora.clone();
        // A single-file checkpoint bundles none.
        if let Ok(manifest) = Manifest::read(model) {
            candidates.extend(manifest.adapters().iter().map(|bundled| bundled.file.clone()));
        }
        let mut found = Vec::with_capacity(uses.len());
        for (adapter, hash) in uses.iter().zip(&recipe.adapter_hashes) {
            let kept = stored.file(hash)?;
            let same = |path: &&PathBuf| file_hash(path).is_ok_and(|found| found == *hash);
            let path = kept.as_ref().or_else(|| candidates.iter().find(same)).with_context(|| {
                format!(
                    "the adapter {} (sha256 {}) is not stored in {stored}, nor is it bundled with the model; pass its file with --lora",
                    adapter.name,
                    short(hash)
                )
            })?;
            let strength = Strength { unet: adapter.strength, text_encoder: adapter.text_encoder_strength() };
            found.push((Arc::new(Adapter::read(path)?), strength));
        }
        Ok(found)
    }
}

/// The studio's files, which are stored by hash: in the data folder, or in a bucket. They are only read, so a server
/// may be running on them.
struct Stored {
    data: PathBuf,
    bucket: Option<(Bucket, TempDir, tokio::runtime::Runtime)>,
}

impl Stored {
    fn of(data: &Path, args: &BucketArgs) -> anyhow::Result<Self> {
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build();
        let bucket = match args.bucket()? {
            Some(bucket) => Some((bucket, scratch::directory(data)?, runtime()?)),
            None => None,
        };
        Ok(Self { data: data.to_owned(), bucket })
    }

    /// The file with this hash, if it is stored; one of a bucket is downloaded first.
    fn file(&self, hash: &str) -> anyhow::Result<Option<PathBuf>> {
        if let Some(path) = blob_path(&self.data, hash).filter(|path| path.is_file()) {
            return Ok(Some(path));
        }
        let Some((bucket, folder, runtime)) = &self.bucket else { return Ok(None) };
        let path = folder.path().join(hash);
        let found = path.is_file() || runtime.block_on(download_blob(bucket, hash, &path))?;
        Ok(found.then_some(path))
    }
}

impl fmt::Display for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.data.display().fmt(f)?;
        match &self.bucket {
            Some((bucket, ..)) => write!(f, " nor in {bucket}"),
            None => Ok(()),
        }
    }
}

/// How two images compare.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    Exact,
    Close { largest: u8, mean: f64 },
    Different { largest: u8, mean: f64 },
}

impl Verdict {
    fn of(before: &Rgb8, after: &Rgb8) -> anyhow::Result<Self> {
        let (size, new) = ((before.width, before.height), (after.width, after.height));
        if size != new {
            bail!("the file has {} × {} pixels, but its recipe gives {} × {}", size.0, size.1, new.0, new.1);
        }
        let differences = || before.data.iter().zip(&after.data).map(|(a, b)| a.abs_diff(*b));
        let largest = differences().max().unwrap_or(0);
        let mean = differences().map(f64::from).sum::<f64>() / before.data.len().max(1) as f64;
        Ok(match largest {
            0 => Self::Exact,
            _ if largest <= CLOSE.0 && mean <= CLOSE.1 => Self::Close { largest, mean },
            _ => Self::Different { largest, mean },
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, largest, mean) = match self {
            Self::Exact => return f.write_str("exact: every pixel is the same"),
            Self::Close { largest, mean } => ("close", largest, mean),
            Self::Different { largest, mean } => ("different", largest, mean),
        };
        write!(f, "{word}: pixels differ by at most {largest} of 255, {mean:.3} on average")
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let problem = || format!("{} cannot be read", path.display());
    let length = std::fs::metadata(path).with_context(problem)?.len();
    if length > MAX_FILE_BYTES {
        bail!("{} has {length} bytes, more than any image written by Adire", path.display());
    }
    std::fs::read(path).with_context(problem)
}

fn short(hash: &str) -> String {
    hash.chars().take(12).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_exact_close_or_different() {
        let image = |data: &[u8]| Rgb8 { width: 1, height: 2, data: data.to_vec() };
        let verdict = |a: &[u8], b: &[u8]| Verdict::of(&image(a), &image(b)).unwrap();
        let base = [10, 20, 30, 40, 50, 60];
        assert_eq!(verdict(&base, &base), Verdict::Exact);
        assert_eq!(verdict(&base, &[10, 20, 30, 43, 50, 60]), Verdict::Close { largest: 3, mean: 0.5 });
        assert!(matches!(
            verdict(&base, &[10, 20, 30, 40, 50, 160]),
            Verdict::Different { largest: 100, .. }
        ));
        assert!(matches!(verdict(&base, &[12, 22, 32, 42, 52, 62]), Verdict::Different { largest: 2, .. }));
        let wide = Rgb8 { width: 2, height: 1, data: base.to_vec() };
        assert!(Verdict::of(&image(&base), &wide).is_err());
    }
}
