//! `preprocessor_config.json`, and what it does to an image: transformers' CLIPImageProcessor and, with the same steps,
//! BitImageProcessor.

use std::path::Path;

use candle_core::{Device, Tensor};
use serde::Deserialize;

use super::resample::bicubic;
use crate::{EngineError, Result, Rgb8, json};

/// Largest square that an image is cut to.
const MAX_SIDE: usize = 4096;
/// Pillow's number for bicubic interpolation.
const BICUBIC: usize = 3;

/// Resizes the shorter side, cuts the middle out, normalises.
#[derive(Clone, Debug)]
pub(crate) struct Preprocessor {
    /// Of the shorter side after resizing.
    edge: usize,
    /// Of the square that is cut out.
    side: usize,
    factor: f64,
    mean: [f64; 3],
    deviation: [f64; 3],
}

#[derive(Deserialize)]
#[serde(default)]
struct Config {
    do_resize: bool,
    do_center_crop: bool,
    do_rescale: bool,
    do_normalize: bool,
    size: Size,
    crop_size: Size,
    resample: usize,
    rescale_factor: f64,
    image_mean: [f64; 3],
    image_std: [f64; 3],
}

/// A number in old files, an object in new ones.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Size {
    Side(usize),
    Shortest { shortest_edge: usize },
    Both { height: usize, width: usize },
}

impl Default for Config {
    /// CLIPImageProcessor's own.
    fn default() -> Self {
        Self {
            do_resize: true,
            do_center_crop: true,
            do_rescale: true,
            do_normalize: true,
            size: Size::Shortest { shortest_edge: 224 },
            crop_size: Size::Side(224),
            resample: BICUBIC,
            rescale_factor: 1.0 / 255.0,
            image_mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
            image_std: [0.268_629_54, 0.261_302_58, 0.275_777_11],
        }
    }
}

impl Size {
    /// The one length that it names.
    fn one(self) -> Option<usize> {
        match self {
            Self::Side(side) | Self::Shortest { shortest_edge: side } => Some(side),
            Self::Both { height, width } => (height == width).then_some(height),
        }
    }
}

impl Preprocessor {
    /// Reads `folder`'s preprocessor_config.json; `wanted` is the side of the images that the tower takes.
    pub(crate) fn read(folder: &Path, wanted: usize) -> Result<Self> {
        Self::read_for(folder, Some(wanted))
    }

    /// As [`Self::read`], for towers that take images of any size.
    pub(crate) fn read_any(folder: &Path) -> Result<Self> {
        Self::read_for(folder, None)
    }

    /// CLIP's own, for images of `side`.
    pub(crate) fn of_clip(side: usize) -> Self {
        let Config { rescale_factor: factor, image_mean: mean, image_std: deviation, .. } = Config::default();
        Self { edge: side, side, factor, mean, deviation }
    }

    /// Of the square that an image becomes.
    pub(crate) fn side(&self) -> usize {
        self.side
    }

    fn read_for(folder: &Path, wanted: Option<usize>) -> Result<Self> {
        let path = folder.join("preprocessor_config.json");
        let config: Config = json::read(&path)?;
        let fail = |message: String| Err(EngineError::model(&path, message));
        let steps = [config.do_resize, config.do_center_crop, config.do_rescale, config.do_normalize];
        if steps.contains(&false) || config.resample != BICUBIC {
            return fail(
                "leaves out a step, or does not resize bicubically (resample 3); an image tower's preprocessing \
                 resizes, crops, rescales and normalises."
                    .to_owned(),
            );
        }
        let square = matches!(config.size, Size::Both { .. });
        let (Some(edge), Some(side), false) = (config.size.one(), config.crop_size.one(), square) else {
            return fail("names sizes that are not one edge and one square.".to_owned());
        };
        if side == 0 || side > MAX_SIDE || edge < side || edge > 16 * side {
            return fail(format!("resizes to {edge} pixels and crops to {side}; that cannot be done."));
        }
        if let Some(wanted) = wanted.filter(|wanted| *wanted != side) {
            return fail(format!(
                "resizes to {edge} pixels and crops to {side}; the image tower takes images of {wanted}."
            ));
        }
        if config.image_std.iter().any(|deviation| !deviation.is_normal()) {
            return fail("has an image_std that cannot be divided by.".to_owned());
        }
        let (factor, mean, deviation) = (config.rescale_factor, config.image_mean, config.image_std);
        Ok(Self { edge, side, factor, mean, deviation })
    }

    /// [1, 3, side, side], f32.
    pub(crate) fn apply(&self, image: &Rgb8, device: &Device) -> Result<Tensor> {
        let (width, height) = (image.width as usize, image.height as usize);
        if image.data.len() != 3 * width * height || image.data.is_empty() {
            let bytes = image.data.len();
            return Err(EngineError::Request(format!(
                "an image of {width} × {height} pixels has {bytes} bytes"
            )));
        }
        let longer = |side: usize, shorter: usize| (self.edge as f64 * side as f64 / shorter as f64) as usize;
        let (to_width, to_height) = if width <= height {
            (self.edge, longer(height, width))
        } else {
            (longer(width, height), self.edge)
        };
        let resized = bicubic(&image.data, (width, height), (to_width, to_height));
        let (left, top) = ((to_width - self.side) / 2, (to_height - self.side) / 2);
        let mut values = Vec::with_capacity(3 * self.side * self.side);
        for channel in 0..3 {
            let (mean, deviation) = (self.mean[channel] as f32, self.deviation[channel] as f32);
            for row in top..top + self.side {
                let row = &resized[3 * (row * to_width + left)..][..3 * self.side];
                values.extend(row.iter().skip(channel).step_by(3).map(|byte| {
                    let value = (f64::from(*byte) * self.factor) as f32;
                    (value - mean) / deviation
                }));
            }
        }
        Ok(Tensor::from_vec(values, (1, 3, self.side, self.side), device)?)
    }
}
