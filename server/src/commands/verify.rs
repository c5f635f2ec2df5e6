//! `adire verify`: makes an image again from the recipe that it carries, and compares.

use std::{
    fmt,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use adire_engine::{
    Embedding, Manifest, Pipeline, Rgb8,
    adapter::{Adapter, Strength},
    file_hash,
};
use adire_protocol::{EmbeddingUse, GenerationSpec, Recipe};
use adire_studio::{Decoded, ImageUse, Pixels, blob_path, decode_image, image_hash, read_image, read_pixels};
use anyhow::{Context, bail};
use clap::Args;

use crate::{
    backend::PreparedInit,
    commands::{
        generate::draw,
        init::tell,
        places::{FoundModel, Places},
    },
};

/// Largest file that is read; far above any image that Adire makes.
const MAX_FILE_BYTES: u64 = 256 << 20;
/// Largest and mean difference (of 255) between images that nobody can tell apart: another device or precision.
const CLOSE: (u8, f64) = (16, 1.0);

/// Which image, and where its model and adapters are
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The PNG file, as Adire saved it
    #[arg(value_name = "FILE.png")]
    file: PathBuf,
    #[command(flatten)]
    places: Places,
    /// An adapter file that is neither in the data folder nor with the model; may be given several times
    #[arg(long, value_name = "FILE")]
    lora: Vec<PathBuf>,
    /// An embedding file that is not in the data folder; may be given several times
    #[arg(long, value_name = "FILE")]
    embedding: Vec<PathBuf>,
    /// The image that it was begun with, or its mask, where the data folder does not have it; may be given twice
    #[arg(long, value_name = "FILE")]
    picture: Vec<PathBuf>,
}

impl VerifyArgs {
    /// Says exact, close or different; different is an error.
    ///
    /// # Errors
    /// The images differ, or the image cannot be made again: one sentence.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let shown = self.file.display();
        let bytes = read(&self.file)?;
        let recipe =
            adire_studio::read_recipe(&bytes).with_context(|| format!("{shown} cannot be verified"))?;
        let Decoded { pixels, warnings } = decode_image(&bytes, ImageUse::Colours)
            .with_context(|| format!("{shown} cannot be read as a picture"))?;
        tell(&self.file, &warnings);
        let before = Rgb8 { width: pixels.width, height: pixels.height, data: pixels.rgb };
        let FoundModel { path: model, mut options, .. } = self.places.model_for(&recipe)?.tell();
        // An image is made again the way it was made: with the checker where that withheld it, without otherwise.
        options.safety_checker = recipe.withheld;
        if recipe.vae.is_none() {
            options.vae = None;
        }
        let adapters = self.adapters(&recipe, &model)?;
        let embeddings = self.embeddings(&recipe)?;
        let init = self.init(&recipe.spec)?;

        let mut pipeline = Pipeline::load(&model, &options)?;
        let info = pipeline.info();
        if info.hash != recipe.model_hash {
            bail!(
                "{shown} was made with the model {} (hash {}), but {} is {} (hash {}); name the right folder with --model",
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
                "{shown} was made with the VAE {} (sha256 {}); name its file or folder with --vae",
                vae.name,
                short(&vae.hash)
            );
        }
        let place = format!("{} in {}", info.device, info.dtype);
        pipeline.set_embeddings(embeddings)?;
        pipeline.set_adapters(&adapters)?;
        let drawn = draw(&mut pipeline, &recipe.spec, init.as_ref())?;
        if recipe.withheld && !drawn.withheld {
            bail!("{shown}: the safety checker withheld this picture when it was made, but lets it pass now");
        }

        let verdict = Verdict::of(&before, &drawn.image)?;
        let mut report = format!("{shown}: {verdict}");
        if recipe.withheld {
            report.push_str(
                "\nThe safety checker withheld this picture, then and now: both are black, which says little of the rest.",
            );
        }
        let weights = pipeline.fingerprint().unwrap_or_default();
        if !recipe.fingerprint.is_empty() && weights != recipe.fingerprint {
            report.push_str(&format!(
                "\nThe weights differ too: fingerprint {} then, {} now.",
                short(&recipe.fingerprint),
                short(weights)
            ));
        }
        if !matches!(verdict, Verdict::Exact) {
            report.push_str(&format!(
                "\nIt was made by Adire {} on {} in {}; this is Adire {} on {place}.",
                recipe.version,
                recipe.device,
                recipe.dtype,
                env!("CARGO_PKG_VERSION"),
            ));
        }
        if let Verdict::Different { .. } = verdict {
            bail!("{report}");
        }
        // Not println!: a closed stdout is no reason to panic.
        let _ = writeln!(std::io::stdout(), "{report}");
        Ok(())
    }

    /// The images that the recipe names, found by their hashes.
    fn init(&self, spec: &GenerationSpec) -> anyhow::Result<Option<PreparedInit>> {
        let find = |hash: &String, used_as: ImageUse| -> anyhow::Result<Pixels> {
            if let Some(stored) = blob_path(&self.places.data, hash).filter(|path| path.is_file()) {
                return Ok(read_pixels(&stored)?);
            }
            for path in &self.picture {
                let Decoded { pixels: picture, warnings } = read_image(path, used_as)?;
                // An image made by Adire goes by its file, one that was brought along by its pixels.
                if image_hash(&picture)? == *hash || file_hash(path).is_ok_and(|found| found == *hash) {
                    tell(path, &warnings);
                    return Ok(picture);
                }
            }
            bail!(
                "it was begun with the picture {}, which is not in {}; name its file with --picture",
                short(hash),
                self.places.data.display()
            )
        };
        let Some(image) = spec.init_image.as_ref().map(|hash| find(hash, ImageUse::Colours)).transpose()?
        else {
            return Ok(None);
        };
        let mask = spec.mask.as_ref().map(|hash| find(hash, ImageUse::Mask)).transpose()?;
        Ok(Some(PreparedInit::new(image, mask.as_ref(), spec.width, spec.height)?))
    }

    /// The embeddings of the recipe under their words, but for those that its adapters bring along.
    fn embeddings(&self, recipe: &Recipe) -> anyhow::Result<Vec<(String, Arc<Embedding>)>> {
        let own = recipe.embeddings.iter().filter(|one| !recipe.adapter_hashes.contains(&one.hash));
        own.map(|EmbeddingUse { word, hash }| {
            let stored = blob_path(&self.places.data, hash).filter(|path| path.is_file());
            let same = |path: &&PathBuf| file_hash(path).is_ok_and(|found| found == *hash);
            let path = stored.as_ref().or_else(|| self.embedding.iter().find(same)).with_context(|| {
                format!(
                    "the embedding {word} (sha256 {}) is not in {}; name its file with --embedding",
                    short(hash),
                    self.places.data.display()
                )
            })?;
            Ok((word.clone(), Arc::new(Embedding::read(path)?)))
        })
        .collect()
    }

    /// The adapters of the recipe with their strengths, found by the hashes of their files.
    fn adapters(&self, recipe: &Recipe, model: &Path) -> anyhow::Result<Vec<(Arc<Adapter>, Strength)>> {
        let uses = &recipe.spec.adapters;
        if uses.len() != recipe.adapter_hashes.len() {
            bail!("the recipe names {} adapters but {} hashes", uses.len(), recipe.adapter_hashes.len());
        }
        let mut candidates = self.lora.clone();
        // A single-file checkpoint comes with none.
        if let Ok(manifest) = Manifest::read(model) {
            candidates.extend(manifest.adapters().iter().map(|shipped| shipped.file.clone()));
        }
        let mut found = Vec::with_capacity(uses.len());
        for (adapter, hash) in uses.iter().zip(&recipe.adapter_hashes) {
            // Adapter files lie in the data folder under their hash.
            let stored = blob_path(&self.places.data, hash).filter(|path| path.is_file());
            let same = |path: &&PathBuf| file_hash(path).is_ok_and(|found| found == *hash);
            let path = stored.as_ref().or_else(|| candidates.iter().find(same)).with_context(|| {
                format!(
                    "the adapter {} (sha256 {}) is neither in {} nor with the model; name its file with --lora",
                    adapter.name,
                    short(hash),
                    self.places.data.display()
                )
            })?;
            let strength = Strength { unet: adapter.strength, text_encoder: adapter.text_encoder_strength() };
            found.push((Arc::new(Adapter::read(path)?), strength));
        }
        Ok(found)
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
        bail!("{} has {length} bytes; a picture of Adire has at most a few million", path.display());
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
    fn pictures_are_exact_close_or_different() {
        let picture = |data: &[u8]| Rgb8 { width: 1, height: 2, data: data.to_vec() };
        let verdict = |a: &[u8], b: &[u8]| Verdict::of(&picture(a), &picture(b)).unwrap();
        let base = [10, 20, 30, 40, 50, 60];
        assert_eq!(verdict(&base, &base), Verdict::Exact);
        assert_eq!(verdict(&base, &[10, 20, 30, 43, 50, 60]), Verdict::Close { largest: 3, mean: 0.5 });
        assert!(matches!(
            verdict(&base, &[10, 20, 30, 40, 50, 160]),
            Verdict::Different { largest: 100, .. }
        ));
        assert!(matches!(verdict(&base, &[12, 22, 32, 42, 52, 62]), Verdict::Different { largest: 2, .. }));
        let wide = Rgb8 { width: 2, height: 1, data: base.to_vec() };
        assert!(Verdict::of(&picture(&base), &wide).is_err());
    }
}
