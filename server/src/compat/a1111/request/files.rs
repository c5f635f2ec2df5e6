//! The images of a request: from base64 to the files that the studio takes.

use image::{DynamicImage, GrayImage, Luma, imageops::FilterType};

use super::Request;
use crate::{
    compat::{
        a1111::inpaint::{self, Finish, Prepared, Wanted},
        images,
    },
    error::Problem,
};

/// From this alpha value on a pixel of an RGBA mask is regenerated, as in A1111's `create_binary_mask`.
const OPAQUE: u8 = 129;

/// The files of a request, not yet decoded.
#[derive(Debug)]
pub(crate) struct Unread {
    init_image: Vec<u8>,
    mask: Option<Vec<u8>>,
    /// The size that the image is stretched to.
    stretch: Option<(u32, u32)>,
    invert: bool,
    wanted: Wanted,
}

/// Files for the studio, and what is to be done with the images that are made of them.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) init_image: Vec<u8>,
    pub(crate) mask: Option<Vec<u8>>,
    /// How the images of an inpainting become those that are sent.
    pub(crate) finish: Option<Finish>,
    /// What is not as in the files: sentences.
    pub(crate) warnings: Vec<String>,
}

impl Request {
    /// The files of init image and mask.
    pub(super) fn take_files(&mut self, notes: &mut Vec<String>) -> Result<Option<Unread>, Problem> {
        let Some(first) = self.init_images.first_mut().map(std::mem::take) else { return Ok(None) };
        let wanted = self.inpainting();
        let init_image = images::decode("init_image", &first)?;
        let mask = self.mask.take().filter(|mask| !mask.trim().is_empty());
        let mask = mask.map(|mask| images::decode("mask", &mask)).transpose()?;
        // A1111's “Just resize” stretches, and its latent counterpart does; everything else here covers and crops.
        let mode = self.resize_mode.unwrap_or_default();
        let stretch = self.width.zip(self.height).filter(|_| mode == 0.0 || mode == 3.0);
        // The masked part alone is scaled, not the image.
        let stretch = stretch.filter(|_| mask.is_none() || wanted.only_masked.is_none());
        if mode == 2.0 {
            notes.push("resize_mode 2 was taken as 1: the image is cropped to the size.".to_owned());
        }
        if mode == 3.0 {
            notes.push("resize_mode 3 was taken as 0: the image is stretched, not its latents.".to_owned());
        }
        let invert = self.inpainting_mask_invert == Some(true);
        Ok(Some(Unread { init_image, mask, stretch, invert, wanted }))
    }

    /// What it says about the mask.
    fn inpainting(&self) -> Wanted {
        // More than a few dozen pixels make no edge, but cost much.
        let blur = |own: Option<f64>| own.or(self.mask_blur).unwrap_or_default().clamp(0.0, 64.0) as f32;
        Wanted {
            blur: match self.mask_blur {
                Some(_) => (blur(None), blur(None)),
                None => (blur(self.mask_blur_x), blur(self.mask_blur_y)),
            },
            only_masked: (self.inpaint_full_res == Some(true))
                .then(|| self.inpaint_full_res_padding.unwrap_or_default()),
            fill: self.inpainting_fill == Some(0.0),
            size: self.width.zip(self.height).filter(is_size),
        }
    }
}

impl Unread {
    /// Decodes them, in the client's turn (`Studio::in_turn`), as far as they are to be changed. A file that is not an
    /// image stays as it is: the studio says what is wrong with it.
    pub(crate) fn decode(self) -> Files {
        let Self { mut init_image, mask, stretch, invert, wanted } = self;
        let mut warnings = Vec::new();
        if let Some((width, height)) = stretch
            && let Some(stretched) = stretched(&init_image, width, height)
        {
            init_image = stretched;
        }
        let mask = mask.map(|mask| binary(&mask, invert, &mut warnings).unwrap_or(mask));
        let prepared =
            mask.as_ref().and_then(|mask| inpaint::prepare(&init_image, mask, wanted, &mut warnings));
        match prepared {
            Some(Prepared { init_image, mask, finish }) => {
                Files { init_image, mask: Some(mask), finish, warnings }
            }
            None => Files { init_image, mask, finish: None, warnings },
        }
    }
}

fn is_size(size: &(u32, u32)) -> bool {
    (1..=4096).contains(&size.0) && (1..=4096).contains(&size.1)
}

/// An image stretched to a size; `None` where that changes nothing, or where the studio should say what is wrong with it.
fn stretched(file: &[u8], width: u32, height: u32) -> Option<Vec<u8>> {
    if !is_size(&(width, height)) {
        return None;
    }
    let image = images::read(file)?;
    let same = u64::from(image.width()) * u64::from(height) == u64::from(image.height()) * u64::from(width);
    if same {
        return None;
    }
    images::write(&image.resize_exact(width, height, FilterType::Lanczos3))
}

/// A mask without transparency, inverted if need be, as A1111 reads it: of an RGBA mask that is not opaque everywhere, alpha
/// alone counts. `None` where that changes nothing, or where the studio should say what is wrong with it.
fn binary(file: &[u8], invert: bool, warnings: &mut Vec<String>) -> Option<Vec<u8>> {
    let image = images::read(file)?;
    let alpha = match &image {
        DynamicImage::ImageRgba8(rgba) if rgba.pixels().any(|pixel| pixel.0[3] < 255) => Some(rgba),
        _ => None,
    };
    let mut mask = match alpha {
        Some(rgba) => {
            warnings.push("The mask's alpha channel was used: opaque areas are regenerated.".to_owned());
            GrayImage::from_fn(rgba.width(), rgba.height(), |x, y| {
                Luma([if rgba.get_pixel(x, y).0[3] >= OPAQUE { 255 } else { 0 }])
            })
        }
        None if invert || matches!(image, DynamicImage::ImageLumaA8(_)) => image.into_luma8(),
        None => return None,
    };
    if invert {
        image::imageops::invert(&mut mask);
    }
    images::write(&DynamicImage::ImageLuma8(mask))
}

#[cfg(test)]
mod tests {
    use image::{Rgba, RgbaImage};

    use super::*;

    #[test]
    fn alpha_alone_counts_in_a_mask_that_has_holes() {
        let mut mask = RgbaImage::from_pixel(4, 1, Rgba([255, 255, 255, 255]));
        let read = |mask: &RgbaImage, invert| {
            let file = images::write(&DynamicImage::ImageRgba8(mask.clone())).unwrap();
            binary(&file, invert, &mut Vec::new())
                .map(|file| images::read(&file).unwrap().into_luma8().into_raw())
        };
        assert_eq!(read(&mask, false), None, "the studio reads it");
        for (x, alpha) in (0..).zip([0, 128, 129]) {
            mask.put_pixel(x, 0, Rgba([if x == 2 { 0 } else { 255 }, 0, 0, alpha]));
        }
        assert_eq!(read(&mask, false), Some(vec![0, 0, 255, 255]));
        assert_eq!(read(&mask, true), Some(vec![255, 255, 0, 0]));
    }
}
