//! A1111's inpainting, as its `modules/processing.py` and `masking.py` do it around the model: soft edges, the masked area
//! alone at full resolution, and what that area starts from. The image that is stored is the model's; the one that is sent is
//! put together here.

use adire_studio::{Pixels, cover, encode_png};
use image::{
    DynamicImage, GrayImage, Luma, Rgba, RgbaImage,
    imageops::{self, FilterType},
};

use crate::compat::images;

/// Radii and repetitions of the blurs that fill a masked area from what surrounds it.
const FILLS: [(f32, u32); 6] = [(256.0, 1), (64.0, 1), (16.0, 2), (4.0, 4), (2.0, 2), (0.0, 1)];

/// Most pixels of an image that is blurred, filled and kept until the model's has come; larger ones are scaled down.
const MAX_PIXELS: f64 = 4096.0 * 4096.0;

/// What a request says about inpainting.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Wanted {
    /// Standard deviation of the mask's edge, in pixels across and down.
    pub(super) blur: (f32, f32),
    /// “Only masked”, with so much around it.
    pub(super) only_masked: Option<u32>,
    /// Fill the masked area from its surroundings.
    pub(super) fill: bool,
    /// The size of the request, if it has one.
    pub(super) size: Option<(u32, u32)>,
}

impl Wanted {
    fn is_blurred(&self) -> bool {
        self.blur.0 > 0.0 || self.blur.1 > 0.0
    }
}

/// A part of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Region {
    x: u32,
    y: u32,
    width: u32,
    height: u32,
}

/// The files that the model gets, and how its image becomes the answer.
pub(super) struct Prepared {
    pub(super) init_image: Vec<u8>,
    pub(super) mask: Vec<u8>,
    /// `None`: the model's image is the answer.
    pub(super) finish: Option<Finish>,
}

/// How an image of the model's becomes the one that is sent.
#[derive(Clone, Debug)]
pub(crate) struct Finish {
    original: DynamicImage,
    /// How much of the new image is seen.
    seen: GrayImage,
    region: Option<Region>,
    /// Pairs of A1111's infotext.
    pairs: String,
}

/// Prepares both files; `None` where there is nothing to do, or where the studio should say what is wrong with them. What
/// the answer should mention is added to `warnings`.
pub(super) fn prepare(
    init_image: &[u8],
    mask: &[u8],
    wanted: Wanted,
    warnings: &mut Vec<String>,
) -> Option<Prepared> {
    if !wanted.is_blurred() && wanted.only_masked.is_none() && !wanted.fill {
        return None;
    }
    let mut original = DynamicImage::ImageRgb8(images::colours(init_image, warnings)?);
    let pixels = f64::from(original.width()) * f64::from(original.height());
    if pixels > MAX_PIXELS {
        let side = |side: u32| (f64::from(side) * (MAX_PIXELS / pixels).sqrt()) as u32;
        original = original.resize(side(original.width()), side(original.height()), FilterType::Triangle);
        let (width, height) = (original.width(), original.height());
        warnings.push(format!("The init image was scaled to {width} × {height} before inpainting."));
    }
    let size = (original.width(), original.height());
    let mask = images::read(mask)?.into_luma8();
    let mut mask = match (mask.width(), mask.height()) == size {
        true => mask,
        false => imageops::resize(&mask, size.0, size.1, FilterType::Triangle),
    };
    for pixel in mask.pixels_mut() {
        pixel.0[0] = if pixel.0[0] >= 128 { 255 } else { 0 };
    }
    let soft = if wanted.is_blurred() { blurred(&mask, wanted.blur) } else { mask.clone() };
    let region = wanted.only_masked.and_then(|padding| region(&soft, padding, wanted.size));
    let start =
        if wanted.fill { DynamicImage::ImageRgb8(filled(&original, &soft)) } else { original.clone() };
    let hard = DynamicImage::ImageLuma8(threshold(&soft));
    let cut = |image: &DynamicImage| match (region, wanted.size) {
        (Some(Region { x, y, width, height }), Some((to_width, to_height))) => {
            image.crop_imm(x, y, width, height).resize_exact(to_width, to_height, FilterType::Lanczos3)
        }
        (Some(Region { x, y, width, height }), None) => image.crop_imm(x, y, width, height),
        (None, _) => image.clone(),
    };
    let (init_image, mask) = (images::write(&cut(&start))?, images::write(&cut(&hard))?);
    // Where only the start differs, the model's image has what the mask keeps.
    let is_finished = region.is_some() || wanted.is_blurred();
    let finish = is_finished.then(|| Finish {
        seen: if region.is_some() || !wanted.is_blurred() { soft } else { doubled(soft) },
        original,
        region,
        pairs: pairs(wanted, region.is_some()),
    });
    Some(Prepared { init_image, mask, finish })
}

/// Pairs that A1111 writes behind the others.
fn pairs(wanted: Wanted, only_masked: bool) -> String {
    let mut pairs = String::new();
    let (across, down) = wanted.blur;
    if wanted.is_blurred() {
        pairs.push_str(&match across == down {
            true => format!(", Mask blur: {across}"),
            false => format!(", Mask blur: {across}x{down}"),
        });
    }
    if let Some(padding) = wanted.only_masked.filter(|_| only_masked) {
        pairs.push_str(&format!(", Inpaint area: Only masked, Masked area padding: {padding}"));
    }
    pairs
}

/// OpenCV's Gaussian blur with the kernels that A1111 gives it: 2·⌊2.5σ + ½⌋ + 1 pixels; beyond an edge the pixels before
/// it, mirrored.
fn blurred(mask: &GrayImage, (across, down): (f32, f32)) -> GrayImage {
    let (width, height) = mask.dimensions();
    let along = |line: &mut [f32], sigma: f32| {
        let reach = (2.5 * sigma + 0.5) as i64;
        let weights: Vec<f32> =
            (-reach..=reach).map(|at| (-((at * at) as f32) / (2.0 * sigma * sigma)).exp()).collect();
        let whole: f32 = weights.iter().sum();
        let last = line.len() as i64 - 1;
        let before: Vec<f32> = (-reach..=last + reach).map(|from| line[mirrored(from, last)]).collect();
        for (pixel, around) in line.iter_mut().zip(before.windows(weights.len())) {
            let sum: f32 = around.iter().zip(&weights).map(|(value, weight)| value * weight).sum();
            *pixel = (sum / whole).round();
        }
    };
    let (wide, high) = (width as usize, height as usize);
    let mut pixels: Vec<f32> = mask.as_raw().iter().map(|value| f32::from(*value)).collect();
    if across > 0.0 {
        pixels.chunks_exact_mut(wide).for_each(|row| along(row, across));
    }
    if down > 0.0 {
        let mut column = vec![0.0; high];
        for x in 0..wide {
            for y in 0..high {
                column[y] = pixels[y * wide + x];
            }
            along(&mut column, down);
            for y in 0..high {
                pixels[y * wide + x] = column[y];
            }
        }
    }
    GrayImage::from_fn(width, height, |x, y| {
        Luma([pixels[y as usize * wide + x as usize].clamp(0.0, 255.0) as u8])
    })
}

/// A place within `0..=last` for one that may lie outside, mirrored at the ends.
fn mirrored(at: i64, last: i64) -> usize {
    let (mut at, period) = (at.rem_euclid((2 * last).max(1)), 2 * last);
    if at > last {
        at = period - at;
    }
    usize::try_from(at).unwrap_or_default()
}

/// A1111's mask over the whole image: the soft edge lies outside the mask.
fn doubled(mut mask: GrayImage) -> GrayImage {
    mask.pixels_mut().for_each(|pixel| pixel.0[0] = pixel.0[0].saturating_mul(2));
    mask
}

fn threshold(mask: &GrayImage) -> GrayImage {
    GrayImage::from_fn(mask.width(), mask.height(), |x, y| {
        Luma([if mask.get_pixel(x, y).0[0] >= 128 { 255 } else { 0 }])
    })
}

/// The masked part with its padding, widened to the shape of the request; `None`: nothing is masked.
fn region(mask: &GrayImage, padding: u32, size: Option<(u32, u32)>) -> Option<Region> {
    let (width, height) = mask.dimensions();
    let masked = || mask.enumerate_pixels().filter(|(_, _, pixel)| pixel.0[0] > 0);
    let (left, right) = masked().fold((width, 0), |(least, most), (x, ..)| (least.min(x), most.max(x + 1)));
    let (top, bottom) =
        masked().fold((height, 0), |(least, most), (_, y, _)| (least.min(y), most.max(y + 1)));
    if right == 0 {
        return None;
    }
    let (left, top) = (left.saturating_sub(padding), top.saturating_sub(padding));
    let (right, bottom) =
        (right.saturating_add(padding).min(width), bottom.saturating_add(padding).min(height));
    let (mut across, mut down) = ((left, right), (top, bottom));
    if let Some((to_width, to_height)) = size {
        let shape = f64::from(to_width.max(1)) / f64::from(to_height.max(1));
        let (own_width, own_height) = (f64::from(right - left), f64::from(bottom - top));
        match own_width / own_height > shape {
            true => down = widened(down, (own_width / shape) as u32, height),
            false => across = widened(across, (own_height * shape) as u32, width),
        }
    }
    Some(Region { x: across.0, y: down.0, width: across.1 - across.0, height: down.1 - down.0 })
}

/// A stretch of at least so many pixels around another one, moved inside the image.
fn widened((start, end): (u32, u32), wanted: u32, most: u32) -> (u32, u32) {
    let more = wanted.saturating_sub(end - start);
    let length = (end - start + more).min(most);
    let start = start.saturating_sub(more / 2).min(most - length);
    (start, start + length)
}

/// The image with its masked area filled from what surrounds it (A1111's `masking.fill`).
fn filled(image: &DynamicImage, mask: &GrayImage) -> image::RgbImage {
    let (width, height) = mask.dimensions();
    let pixels = image.to_rgb8();
    // With its colours multiplied by what the mask keeps, as blurs need them.
    let kept = RgbaImage::from_fn(width, height, |x, y| {
        let keeps = u32::from(255 - mask.get_pixel(x, y).0[0]);
        let [r, g, b] = pixels.get_pixel(x, y).0.map(|value| (u32::from(value) * keeps / 255) as u8);
        Rgba([r, g, b, keeps as u8])
    });
    let mut whole = image::RgbImage::new(width, height);
    for (radius, repeats) in FILLS {
        let layer = if radius > 0.0 { imageops::fast_blur(&kept, radius) } else { kept.clone() };
        for _ in 0..repeats {
            for (under, over) in whole.pixels_mut().zip(layer.pixels()) {
                let hidden = 255 - u32::from(over.0[3]);
                for (under, over) in under.0.iter_mut().zip(&over.0[..3]) {
                    *under = (u32::from(*over) + u32::from(*under) * hidden / 255).min(255) as u8;
                }
            }
        }
    }
    whole
}

impl Finish {
    /// The file that is sent for one of the model's, and its infotext.
    ///
    /// # Errors
    /// A sentence: an image cannot be read or written.
    pub(super) fn apply(&self, png: &[u8], infotext: &str) -> Result<(Vec<u8>, String), String> {
        let made = images::read(png).ok_or("The image could not be read again.")?.into_rgb8();
        let (new, original, seen) = match self.region {
            Some(Region { x, y, width, height }) => {
                let mut whole = self.original.to_rgb8();
                let part = imageops::resize(&made, width, height, FilterType::Lanczos3);
                imageops::replace(&mut whole, &part, x.into(), y.into());
                (whole, self.original.to_rgb8(), self.seen.clone())
            }
            None => {
                let (width, height) = made.dimensions();
                let fit = |image: DynamicImage| -> Result<image::RgbImage, String> {
                    let rgb = image.into_rgb8();
                    let pixels = Pixels { width: rgb.width(), height: rgb.height(), rgb: rgb.into_raw() };
                    let fitted = cover(pixels, width, height).map_err(|error| error.to_string())?;
                    image::RgbImage::from_raw(width, height, fitted.rgb)
                        .ok_or_else(|| "The image lacks bytes.".to_owned())
                };
                let seen = fit(DynamicImage::ImageLuma8(self.seen.clone()))?;
                let seen = DynamicImage::ImageRgb8(seen).into_luma8();
                (made, fit(self.original.clone())?, seen)
            }
        };
        let mut rgb = original.into_raw();
        for ((under, over), seen) in
            rgb.chunks_exact_mut(3).zip(new.as_raw().chunks_exact(3)).zip(seen.as_raw())
        {
            let seen = u32::from(*seen);
            for (under, over) in under.iter_mut().zip(over) {
                *under = ((u32::from(*over) * seen + u32::from(*under) * (255 - seen) + 127) / 255) as u8;
            }
        }
        let text = match infotext.rsplit_once(", Version: ") {
            Some((before, version)) => format!("{before}{}, Version: {version}", self.pairs),
            None => infotext.to_owned(),
        };
        let pixels = Pixels { width: seen.width(), height: seen.height(), rgb };
        Ok((encode_png(&pixels, &text).map_err(|error| error.to_string())?, text))
    }
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage};

    use super::*;

    fn file(image: DynamicImage) -> Vec<u8> {
        images::write(&image).unwrap()
    }

    fn squares() -> (Vec<u8>, Vec<u8>) {
        let image =
            RgbImage::from_fn(96, 64, |x, _| if x < 48 { Rgb([200, 20, 20]) } else { Rgb([20, 20, 200]) });
        let mask = GrayImage::from_fn(96, 64, |x, y| {
            Luma([if (60..76).contains(&x) && (24..40).contains(&y) { 255 } else { 0 }])
        });
        (file(DynamicImage::ImageRgb8(image)), file(DynamicImage::ImageLuma8(mask)))
    }

    fn size_of(file: &[u8]) -> (u32, u32) {
        let image = images::read(file).unwrap();
        (image.width(), image.height())
    }

    #[test]
    fn only_masked_takes_the_part_with_its_padding_in_the_shape_of_the_request() {
        let mask = images::read(&squares().1).unwrap().into_luma8();
        let found = |padding, size| region(&mask, padding, size).map(|it| (it.x, it.y, it.width, it.height));
        assert_eq!(found(0, None), Some((60, 24, 16, 16)));
        assert_eq!(found(8, Some((64, 64))), Some((52, 16, 32, 32)));
        assert_eq!(found(0, Some((128, 64))), Some((52, 24, 32, 16)));
        assert_eq!(found(200, Some((64, 64))), Some((0, 0, 96, 64)), "no more than there is");
        assert_eq!(found(30, Some((128, 64))), Some((0, 0, 96, 64)));
        assert_eq!(region(&GrayImage::new(8, 8), 4, None), None);
    }

    #[test]
    fn the_new_part_is_put_into_the_original() {
        let (image, mask) = squares();
        let wanted = Wanted { only_masked: Some(8), size: Some((64, 64)), ..Wanted::default() };
        let Prepared { init_image, mask, finish } = prepare(&image, &mask, wanted, &mut Vec::new()).unwrap();
        assert_eq!((size_of(&init_image), size_of(&mask)), ((64, 64), (64, 64)));
        let made = file(DynamicImage::ImageRgb8(RgbImage::from_pixel(64, 64, Rgb([0, 255, 0]))));
        let (png, text) = finish.unwrap().apply(&made, "a\nSteps: 1, Version: Adire 1").unwrap();
        assert_eq!(text, "a\nSteps: 1, Inpaint area: Only masked, Masked area padding: 8, Version: Adire 1");
        let (whole, before) =
            (images::read(&png).unwrap().into_rgb8(), images::read(&image).unwrap().into_rgb8());
        for (x, y, pixel) in whole.enumerate_pixels() {
            let masked = (60..76).contains(&x) && (24..40).contains(&y);
            assert_eq!(*pixel, if masked { Rgb([0, 255, 0]) } else { *before.get_pixel(x, y) }, "{x}, {y}");
        }
    }

    #[test]
    fn a_blurred_mask_blends_outwards_only() {
        let (image, mask) = squares();
        let wanted = Wanted { blur: (2.0, 2.0), ..Wanted::default() };
        let finish = prepare(&image, &mask, wanted, &mut Vec::new()).unwrap().finish.unwrap();
        let made = file(DynamicImage::ImageRgb8(RgbImage::from_pixel(96, 64, Rgb([0, 255, 0]))));
        let (png, text) = finish.apply(&made, "a\nSteps: 1, Version: Adire 1").unwrap();
        assert!(text.contains(", Mask blur: 2, Version"), "{text}");
        let whole = images::read(&png).unwrap().into_rgb8();
        assert_eq!(*whole.get_pixel(68, 32), Rgb([0, 255, 0]));
        assert_eq!(*whole.get_pixel(20, 32), Rgb([200, 20, 20]));
        let edge = whole.get_pixel(58, 32).0;
        assert!(edge[1] > 30 && edge[1] < 250, "{edge:?}");
    }

    /// By OpenCV 5.0.0 (`cv2.GaussianBlur`), with the kernels of A1111's `processing.py`.
    #[test]
    fn masks_are_blurred_as_opencv_does_it_across_and_down() {
        let mask = GrayImage::from_fn(16, 12, |x, y| {
            Luma([if (6..9).contains(&x) && (4..8).contains(&y) { 255 } else { 0 }])
        });
        let expected: [(_, [u8; 16], [u8; 12]); 3] = [
            (
                (2.0, 0.0),
                [0, 2, 9, 26, 55, 93, 128, 141, 128, 93, 55, 26, 9, 2, 0, 0],
                [0, 0, 0, 0, 141, 141, 141, 141, 0, 0, 0, 0],
            ),
            (
                (0.0, 1.0),
                [0, 0, 0, 0, 0, 0, 239, 239, 239, 0, 0, 0, 0, 0, 0, 0],
                [0, 1, 15, 77, 178, 239, 239, 178, 77, 15, 1, 0],
            ),
            (
                (1.5, 3.0),
                [0, 0, 1, 5, 19, 45, 74, 87, 74, 45, 19, 5, 1, 0, 0, 0],
                [40, 44, 55, 68, 80, 87, 87, 80, 68, 55, 44, 40],
            ),
        ];
        for (sigma, row, column) in expected {
            let found = blurred(&mask, sigma);
            let near = |ours: u8, theirs: u8| ours.abs_diff(theirs) <= 1;
            for (x, value) in (0..).zip(row) {
                assert!(near(found.get_pixel(x, 5).0[0], value), "{sigma:?}: {x}: {:?}", found.as_raw());
            }
            for (y, value) in (0..).zip(column) {
                assert!(near(found.get_pixel(7, y).0[0], value), "{sigma:?}: {y}: {:?}", found.as_raw());
            }
        }
        // Narrower than the kernel.
        assert_eq!(blurred(&GrayImage::from_pixel(1, 2, Luma([9])), (64.0, 64.0)).as_raw(), &[9, 9]);
    }

    #[test]
    fn a_filled_area_has_the_colours_around_it() {
        let (image, mask) = squares();
        let filled = filled(&images::read(&image).unwrap(), &images::read(&mask).unwrap().into_luma8());
        let inside = filled.get_pixel(68, 32).0;
        assert!(inside[2] > 100 && inside[2] > inside[0], "{inside:?}");
        assert_eq!(filled.get_pixel(4, 4).0, [200, 20, 20]);
    }
}
