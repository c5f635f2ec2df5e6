//! Reads init images and masks from files and resizes them to the requested size. Every function
//! computes or reads; call them off the async threads.

use std::path::Path;

use adire_protocol::Limits;
use image::{ImageBuffer, RgbImage, imageops};

use crate::{
    Decoded, ImageUse, Pixels, StudioError,
    decode::{WHITE, luma},
    decode_image, regular_file,
};

/// Largest file that is read: a PNG of as many pixels as are decoded, hardly packed.
const MAX_FILE_BYTES: u64 = 512 << 20;

/// What a request with `picture` and without width or height asks for: the image's own size, or with one side the
/// other one in proportion; a larger one is scaled down to what `limits` allow, and all is rounded to their steps.
pub fn size_of_request(
    image: (u32, u32),
    limits: &Limits,
    width: Option<u32>,
    height: Option<u32>,
) -> (u32, u32) {
    let (own_width, own_height) = (f64::from(image.0.max(1)), f64::from(image.1.max(1)));
    let most = f64::from(limits.max_size);
    let shrink = (most / own_width).min(most / own_height).min(1.0);
    let step = f64::from(limits.size_step.max(1));
    let rounded = |pixels: f64| {
        // A step above the largest size would be refused; the largest itself need not be a multiple.
        let (least, most) = ((f64::from(limits.min_size) / step).ceil(), (most / step).floor());
        ((pixels / step).round().min(most).max(least) * step) as u32
    };
    match (width, height) {
        (Some(width), Some(height)) => (width, height),
        (Some(width), None) => (width, rounded(f64::from(width) * own_height / own_width)),
        (None, Some(height)) => (rounded(f64::from(height) * own_width / own_height), height),
        (None, None) => (rounded(own_width * shrink), rounded(own_height * shrink)),
    }
}

/// The middle part of an image that has the shape of another size, as `(x, y, width, height)`.
fn middle(image: (u32, u32), wanted: (u32, u32)) -> (u32, u32, u32, u32) {
    let ((w, h), (to_w, to_h)) = (image, (wanted.0.max(1), wanted.1.max(1)));
    // The side that is cut off, in whole pixels.
    let part = |side: u32, of: u32, to: u32| {
        let part = (u64::from(side) * u64::from(of) + u64::from(to) / 2) / u64::from(to);
        u32::try_from(part).unwrap_or(u32::MAX).max(1)
    };
    let (cut_w, cut_h) = (part(h, to_w, to_h).min(w), part(w, to_h, to_w).min(h));
    ((w - cut_w) / 2, (h - cut_h) / 2, cut_w, cut_h)
}

/// Resizes `image` to the given size: scaled with a Lanczos filter until it covers that size, then cropped evenly on both
/// sides. One that has the size already stays to the bit.
///
/// # Errors
/// It lacks bytes.
pub fn cover(image: Pixels, width: u32, height: u32) -> Result<Pixels, StudioError> {
    let size = (image.width, image.height);
    if size == (width, height) {
        return Ok(image);
    }
    let whole: RgbImage = ImageBuffer::from_raw(size.0, size.1, image.rgb)
        .ok_or_else(|| StudioError::Image("The image has fewer bytes than pixels.".to_owned()))?;
    let (x, y, w, h) = middle(size, (width, height));
    let cut = imageops::crop_imm(&whole, x, y, w, h).to_image();
    let rgb = imageops::resize(&cut, width, height, imageops::FilterType::Lanczos3).into_raw();
    Ok(Pixels { width, height, rgb })
}

/// Which pixels `mask` regenerates (its white ones) once an image of size `image` has gone through
/// [`cover`]. A mask of another size lies over the whole image, each pixel taking the nearest of its own.
pub fn cover_mask(mask: &Pixels, image: (u32, u32), width: u32, height: u32) -> Vec<bool> {
    let (x, y, w, h) = middle(image, (width, height));
    // Centres of the target pixels, as indices into one side of the mask.
    let along = |wanted: u32, offset: u32, cut: u32, side: u32, mask_side: u32| -> Vec<usize> {
        let at = |i: u32| {
            let within = f64::from(offset) + (f64::from(i) + 0.5) * f64::from(cut) / f64::from(wanted);
            (within * f64::from(mask_side) / f64::from(side.max(1))) as usize
        };
        (0..wanted).map(|i| at(i).min(mask_side.saturating_sub(1) as usize)).collect()
    };
    let columns = along(width, x, w, image.0, mask.width);
    let rows = along(height, y, h, image.1, mask.height);
    let white = |row: usize, column: usize| {
        let at = 3 * (row * mask.width as usize + column);
        mask.rgb.get(at..at + 3).is_some_and(|pixel| luma(pixel) >= WHITE)
    };
    rows.iter().flat_map(|row| columns.iter().map(|column| white(*row, *column))).collect()
}

/// An image from a file that was decoded before, for a generation or a training run.
///
/// # Errors
/// It cannot be read, or is not an image that [`decode_image`] takes.
pub fn read_pixels(path: &Path) -> Result<Pixels, StudioError> {
    read_image(path, ImageUse::Colours).map(|decoded| decoded.pixels)
}

/// An image from a file, with what is not as in the file.
///
/// # Errors
/// It cannot be read, or is not an image that [`decode_image`] takes.
pub fn read_image(path: &Path, used_as: ImageUse) -> Result<Decoded, StudioError> {
    let bytes = regular_file::read(path, MAX_FILE_BYTES)
        .map_err(|why| StudioError::Image(format!("{} cannot be read: {why}.", path.display())))?;
    decode_image(&bytes, used_as)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixels(width: u32, height: u32, colour: impl Fn(u32, u32) -> [u8; 3]) -> Pixels {
        let rgb = (0..height)
            .flat_map(|y| (0..width).map(move |x| (x, y)))
            .flat_map(|(x, y)| colour(x, y))
            .collect();
        Pixels { width, height, rgb }
    }

    #[test]
    fn the_middle_is_kept_and_the_same_size_stays_to_the_bit() {
        let image = pixels(8, 4, |x, y| [x as u8, y as u8, 7]);
        assert_eq!(cover(image.clone(), 8, 4).unwrap(), image);
        // Left and right quarters are red and go.
        let wide = pixels(80, 40, |x, _| if (20..60).contains(&x) { [0, 200, 0] } else { [200, 0, 0] });
        let square = cover(wide, 40, 40).unwrap();
        assert_eq!(square, pixels(40, 40, |_, _| [0, 200, 0]));
        let tall = pixels(40, 80, |_, y| if (20..60).contains(&y) { [0, 200, 0] } else { [200, 0, 0] });
        assert_eq!(cover(tall, 20, 20).unwrap(), pixels(20, 20, |_, _| [0, 200, 0]));
        assert!(cover(Pixels { width: 4, height: 4, rgb: vec![0; 3] }, 8, 8).is_err());
    }

    #[test]
    fn any_shape_becomes_any_shape() {
        for (width, height) in [(1, 1), (1, 300), (300, 1), (7, 5), (64, 64)] {
            for wanted in [(8, 8), (64, 8), (8, 64)] {
                let image = pixels(width, height, |_, _| [9, 9, 9]);
                let mask = cover_mask(&image, (width, height), wanted.0, wanted.1);
                assert_eq!(mask, vec![false; (wanted.0 * wanted.1) as usize]);
                let covered = cover(image, wanted.0, wanted.1).unwrap();
                assert_eq!(covered, pixels(wanted.0, wanted.1, |_, _| [9, 9, 9]), "{width} × {height}");
            }
        }
    }

    #[test]
    fn a_mask_goes_the_way_of_its_image() {
        let white = |is: bool| if is { [255; 3] } else { [0; 3] };
        let exact = pixels(8, 8, |x, y| white((x + y) % 3 == 0));
        let expected: Vec<bool> = (0..64).map(|i| (i % 8 + i / 8) % 3 == 0).collect();
        assert_eq!(cover_mask(&exact, (8, 8), 8, 8), expected);
        // A mask of 2 × 1 over an image of 16 × 8, cropped to its middle 8 × 8: still half and half.
        let halves = pixels(2, 1, |x, _| white(x == 1));
        let found = cover_mask(&halves, (16, 8), 8, 8);
        assert_eq!(found, (0..64).map(|i| i % 8 >= 4).collect::<Vec<_>>());
    }

    #[test]
    fn brightness_is_pillows() {
        assert_eq!((luma(&[255; 3]), luma(&[0; 3]), luma(&[128; 3])), (255, 0, 128));
        assert_eq!((luma(&[255, 0, 0]), luma(&[0, 255, 0]), luma(&[0, 0, 255])), (76, 150, 29));
    }

    #[test]
    fn a_request_takes_its_images_size() {
        let limits = Limits::default();
        let size = |image, width, height| size_of_request(image, &limits, width, height);
        assert_eq!(size((512, 768), None, None), (512, 768));
        assert_eq!(size((500, 260), None, None), (504, 264));
        assert_eq!(size((4000, 3000), None, None), (1024, 768));
        assert_eq!(size((3, 16_000), None, None), (64, 1024));
        assert_eq!(size((400, 200), Some(256), None), (256, 128));
        assert_eq!(size((400, 200), None, Some(256)), (512, 256));
        assert_eq!(size((400, 200), Some(64), Some(72)), (64, 72));
        assert_eq!(size((0, 0), None, Some(u32::MAX)).0, 1024);
    }

    #[test]
    fn every_prefix_and_every_flipped_byte_of_a_file_is_borne() {
        let bytes = crate::png::encode_bare(&pixels(9, 7, |x, y| [x as u8, y as u8, 3])).unwrap();
        assert!(crate::decode_pixels(&bytes).is_ok());
        for at in 0..bytes.len() {
            let _ = crate::decode_pixels(&bytes[..at]);
            let mut flipped = bytes.clone();
            flipped[at] ^= 0xff;
            let _ = crate::decode_pixels(&flipped);
        }
    }
}
