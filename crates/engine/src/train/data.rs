//! Training data: the posterior of each image's latent and its tokenized caption, computed once. Takes decoded pixels;
//! knows no files.

use adire_protocol::{Crop, TrainingConfig};
use candle_core::{DType, Device, Tensor};
use image::{RgbImage, imageops};

use super::rng::{RngStream, RunRng};
use crate::{EngineError, Result, Tokenizer, Vae};

/// Random crops per image.
const RANDOM_CROPS: u64 = 4;
/// Bucket sides are multiples of this many pixels.
const BUCKET_STEP: u32 = 64;

/// An image with its caption.
#[derive(Clone, Debug)]
pub struct Source {
    /// Upright, in RGB.
    pub image: RgbImage,
    /// Text for the text encoder.
    pub caption: String,
}

/// An encoded training image.
#[derive(Clone, Debug)]
pub struct Example {
    /// Mean of the latent's posterior, [1, channels, height, width], f32, unscaled.
    pub mean: Tensor,
    /// Log variance, of the same shape.
    pub log_variance: Tensor,
    /// Token ids of the caption, padded to the text encoder's length.
    pub tokens: Vec<u32>,
    /// Whether the caption exceeded the text encoder's limit and was cut.
    pub truncated: bool,
}

impl Example {
    /// Height and width of the latent.
    pub fn size(&self) -> (usize, usize) {
        let dims = self.mean.dims();
        (dims.get(2).copied().unwrap_or(0), dims.get(3).copied().unwrap_or(0))
    }
}

/// All training data of a run.
#[derive(Clone, Debug, Default)]
pub struct Prepared {
    /// Images of the style or subject.
    pub instances: Vec<Example>,
    /// Class images, for prior preservation; may be empty.
    pub classes: Vec<Example>,
    /// Held-out images; may be empty.
    pub held_out: Vec<Example>,
    /// Token ids of the empty caption.
    pub empty: Vec<u32>,
}

impl Prepared {
    /// Encodes every image. `config.held_out` is the share of `sources` that is held out (chosen by the seed; at least
    /// one image is always trained on). `progress` receives the images done and in total, and may cancel.
    ///
    /// # Errors
    /// No images, a too small one, out of memory, or [`EngineError::Cancelled`].
    pub fn new(
        sources: &[Source],
        classes: &[Source],
        config: &TrainingConfig,
        vae: &Vae,
        tokenizer: &Tokenizer,
        device: &Device,
        progress: &mut dyn FnMut(usize, usize) -> std::ops::ControlFlow<()>,
    ) -> Result<Self> {
        let mut preparation = Preparation::new(sources.len(), classes.len(), config, tokenizer)?;
        for source in sources.iter().chain(classes) {
            if progress(preparation.done(), preparation.total()).is_break() {
                return Err(EngineError::Cancelled);
            }
            preparation.add(source, vae, tokenizer, device)?;
        }
        preparation.finish()
    }
}

/// Builds [`Prepared`] one image at a time.
#[derive(Debug)]
pub struct Preparation {
    config: TrainingConfig,
    rng: RunRng,
    sources: usize,
    total: usize,
    done: usize,
    /// Indices of the held-out images.
    apart: std::collections::BTreeSet<usize>,
    prepared: Prepared,
    /// The last image, if its crop is not random.
    last: Option<Example>,
}

impl Preparation {
    /// Prepares `sources` images and `classes` class images; see [`Prepared::new`].
    ///
    /// # Errors
    /// `sources` is 0.
    pub fn new(
        sources: usize,
        classes: usize,
        config: &TrainingConfig,
        tokenizer: &Tokenizer,
    ) -> Result<Self> {
        if sources == 0 {
            let message = "the dataset has no images; add at least one".to_owned();
            return Err(EngineError::Request(message));
        }
        let rng = RunRng::new(config.seed);
        Ok(Self {
            config: config.clone(),
            rng,
            sources,
            total: sources + classes,
            done: 0,
            apart: held_out_positions(sources, config).into_iter().collect(),
            prepared: Prepared { empty: tokenizer.encode("")?.ids, ..Prepared::default() },
            last: None,
        })
    }

    /// Images added.
    pub fn done(&self) -> usize {
        self.done
    }

    /// Images in total.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Adds the next image: first the training images, then the class images.
    ///
    /// # Errors
    /// It is too small, or memory runs out.
    pub fn add(&mut self, source: &Source, vae: &Vae, tokenizer: &Tokenizer, device: &Device) -> Result<()> {
        let (whole, fixed) = (self.is_apart(), self.config.crop != Crop::Random);
        for crop in crops(&source.image, &self.config, self.rng, self.done as u64, whole) {
            let tokens = tokenizer.encode(&source.caption)?;
            let posterior = vae.encode(&pixels(&crop, device)?)?;
            let example = Example {
                mean: posterior.mean.to_dtype(DType::F32)?,
                log_variance: posterior.log_variance.to_dtype(DType::F32)?,
                truncated: tokens.dropped > 0,
                tokens: tokens.ids,
            };
            self.last = fixed.then(|| example.clone());
            self.keep(example, whole);
        }
        self.done += 1;
        Ok(())
    }

    /// Adds the last image again, for repeats, without encoding it. Returns false if that is impossible because random
    /// crops differ each time; call [`Self::add`] instead.
    pub fn again(&mut self) -> bool {
        let Some(example) = self.last.clone() else { return false };
        let whole = self.is_apart();
        self.keep(example, whole);
        self.done += 1;
        true
    }

    fn is_apart(&self) -> bool {
        self.done < self.sources && self.apart.contains(&self.done)
    }

    fn keep(&mut self, example: Example, whole: bool) {
        match (whole, self.done >= self.sources) {
            (true, _) => self.prepared.held_out.push(example),
            (_, true) => self.prepared.classes.push(example),
            _ => self.prepared.instances.push(example),
        }
    }

    /// Returns the data once all images are added.
    ///
    /// # Errors
    /// Some are missing.
    pub fn finish(self) -> Result<Prepared> {
        if self.done == self.total {
            return Ok(self.prepared);
        }
        let message = format!("only {} of {} images were prepared", self.done, self.total);
        Err(EngineError::Request(message))
    }
}

/// Positions of the held-out ones of so many images, repeats counted, in no order.
pub fn held_out_positions(sources: usize, config: &TrainingConfig) -> Vec<usize> {
    let order = RunRng::new(config.seed).order(sources, RngStream::Split, 0);
    order.into_iter().take(held_out(sources, config.held_out)).collect()
}

/// Number of held-out images: the rounded share, but never all.
fn held_out(count: usize, share: f64) -> usize {
    ((count as f64 * share).round() as usize).min(count.saturating_sub(1))
}

/// Crops of an image at their final size. A held-out image always has one.
fn crops(image: &RgbImage, config: &TrainingConfig, rng: RunRng, index: u64, whole: bool) -> Vec<RgbImage> {
    let side = config.resolution;
    match config.crop {
        Crop::Bucket => {
            let (width, height) = bucket(image.width(), image.height(), side);
            vec![cover(image, width, height, 0.5, 0.5)]
        }
        Crop::Random if !whole => (0..RANDOM_CROPS)
            .map(|i| {
                let at = |axis| rng.unit(RngStream::Crop, index, 2 * i + axis);
                cover(image, side, side, at(0), at(1))
            })
            .collect(),
        Crop::Center | Crop::Random => vec![cover(image, side, side, 0.5, 0.5)],
    }
}

/// The size, of about `side`² pixels and sides that are multiples of 64, with the aspect ratio nearest to the image's.
pub(super) fn bucket(width: u32, height: u32, side: u32) -> (u32, u32) {
    let shape = f64::from(width) / f64::from(height);
    let area = f64::from(side) * f64::from(side);
    let (mut best, mut distance) = ((side, side), shape.ln().abs());
    let mut w = BUCKET_STEP;
    while w <= 2 * side {
        let h = ((area / f64::from(w)) as u32 / BUCKET_STEP * BUCKET_STEP).max(BUCKET_STEP);
        let off = (f64::from(w) / f64::from(h) / shape).ln().abs();
        if h <= 2 * side && off < distance - 1e-9 {
            (best, distance) = ((w, h), off);
        }
        w += BUCKET_STEP;
    }
    best
}

/// Scales `image` (Lanczos) to cover `width` × `height` and crops at the relative offset (`x`, `y`), 0 to 1.
fn cover(image: &RgbImage, width: u32, height: u32, x: f64, y: f64) -> RgbImage {
    let scale =
        (f64::from(width) / f64::from(image.width())).max(f64::from(height) / f64::from(image.height()));
    let to = |length: u32, least: u32| ((f64::from(length) * scale).round() as u32).max(least);
    let (wide, high) = (to(image.width(), width), to(image.height(), height));
    let scaled = imageops::resize(image, wide, high, imageops::FilterType::Lanczos3);
    let place = |room: u32, at: f64| (f64::from(room) * at) as u32;
    let (left, top) = (place(wide - width, x), place(high - height, y));
    imageops::crop_imm(&scaled, left, top, width, height).to_image()
}

/// [1, 3, height, width] in −1 to 1.
fn pixels(image: &RgbImage, device: &Device) -> Result<Tensor> {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let values = Tensor::from_slice(image.as_raw(), (height, width, 3), device)?;
    Ok(values.permute((2, 0, 1))?.to_dtype(DType::F32)?.affine(1.0 / 127.5, -1.0)?.unsqueeze(0)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_least_one_image_is_trained_on() {
        assert_eq!([0, 1, 2, 24, 24].map(|n| held_out(n, 0.1)), [0, 0, 0, 2, 2]);
        assert_eq!(held_out(1, 0.5), 0);
        assert_eq!(held_out(3, 0.5), 2);
    }

    #[test]
    fn buckets_keep_area_and_aspect_ratio() {
        assert_eq!(bucket(512, 512, 512), (512, 512));
        assert_eq!(bucket(3000, 2000, 512), (640, 384));
        assert_eq!(bucket(2000, 3000, 512), (384, 640));
        for (w, h) in [(1, 100), (100, 1), (7, 5)] {
            let (width, height) = bucket(w, h, 256);
            assert!(width * height <= 256 * 256 && width.is_multiple_of(64) && height.is_multiple_of(64));
        }
    }

    #[test]
    fn an_image_covers_its_crop() {
        let image = RgbImage::from_fn(30, 60, |_, y| image::Rgb([if y < 30 { 0 } else { 255 }; 3]));
        let crop = cover(&image, 64, 64, 0.5, 0.5);
        assert_eq!(crop.dimensions(), (64, 64));
        assert_eq!((crop.get_pixel(5, 2).0, crop.get_pixel(5, 61).0), ([0; 3], [255; 3]));
        let top = cover(&image, 64, 64, 0.5, 0.0);
        assert_eq!(top.get_pixel(5, 61).0, [0; 3]);
        assert_eq!(cover(&image, 30, 60, 0.5, 0.5), image);
    }

    #[test]
    fn a_repeated_image_is_encoded_once() {
        let folder = std::path::Path::new("tests/goldens/pipeline");
        let pipeline = crate::Pipeline::load(folder, &crate::LoadOptions::default()).unwrap();
        let source = |shade: u8| Source {
            image: RgbImage::from_fn(70, 64, |x, y| image::Rgb([x as u8, y as u8, shade])),
            caption: "red flower".to_owned(),
        };
        let all = [source(0), source(0), source(0), source(200)];
        let values = |examples: &[Example]| {
            let flat = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            examples.iter().map(|e| (flat(&e.mean), flat(&e.log_variance))).collect::<Vec<_>>()
        };
        for crop in [Crop::Center, Crop::Random] {
            let config = TrainingConfig { resolution: 64, held_out: 0.25, crop, ..TrainingConfig::default() };
            let whole = pipeline
                .prepare(&all, &[], &config, &mut |_, _| std::ops::ControlFlow::Continue(()))
                .unwrap();
            let mut parts = pipeline.preparation(3, 1, &config).unwrap();
            assert!(!parts.again(), "there is nothing yet to repeat");
            let mut parts_again = pipeline.preparation(4, 0, &config).unwrap();
            pipeline.prepare_next(&mut parts_again, &all[0]).unwrap();
            for _ in 0..2 {
                if !parts_again.again() {
                    assert_eq!(crop, Crop::Random);
                    pipeline.prepare_next(&mut parts_again, &all[0]).unwrap();
                }
            }
            pipeline.prepare_next(&mut parts_again, &all[3]).unwrap();
            let again = parts_again.finish().unwrap();
            assert_eq!(values(&again.instances), values(&whole.instances));
            assert_eq!(values(&again.held_out), values(&whole.held_out));
            pipeline.prepare_next(&mut parts, &all[0]).unwrap();
            assert!(parts.finish().is_err(), "some are missing");
        }
    }
}
