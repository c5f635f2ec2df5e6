//! Transparency: laid over white, or, in a mask, taken for what it says.

use image::{DynamicImage, Rgb, RgbImage, RgbaImage};

use super::{
    ImageUse,
    luma::{WHITE, luma},
};

/// Below this a pixel is transparent, above the rest of 255 it is not; between them lie soft edges.
const EDGE: u8 = 16;

/// The image without transparency.
pub(super) fn flatten(image: DynamicImage, used_as: ImageUse, warnings: &mut Vec<String>) -> RgbImage {
    if !image.color().has_alpha() {
        return image.into_rgb8();
    }
    let image = image.into_rgba8();
    let transparent = image.pixels().filter(|pixel| pixel.0[3] < 255).count();
    if transparent == 0 {
        return over_white(image);
    }
    if used_as == ImageUse::Mask {
        return mask(image, warnings);
    }
    let all = (image.width() as usize * image.height() as usize).max(1);
    // Rounded up, so that nothing is 0%.
    let share = (100 * transparent).div_ceil(all);
    warnings.push(match share {
        100 if image.pixels().all(|pixel| pixel.0[3] == 0) => {
            "The image is fully transparent, so it is all white.".to_owned()
        }
        _ => format!("{share}% of the image is transparent and was flattened onto white."),
    });
    over_white(image)
}

/// A mask's white and black. Programs write one of three things: black and white with holes, white strokes on nothing, or
/// an image in which what is to be regenerated was erased.
fn mask(image: RgbaImage, warnings: &mut Vec<String>) -> RgbImage {
    let (mut light, mut dark, mut colourful, mut opaque) = (0_u64, 0_u64, 0_u64, 0_u64);
    for pixel in image.pixels().filter(|pixel| pixel.0[3] > 255 - EDGE) {
        let brightness = luma(&pixel.0[..3]);
        opaque += 1;
        light += u64::from(brightness >= WHITE);
        dark += u64::from(brightness < WHITE);
        colourful += u64::from((40..216).contains(&brightness));
    }
    let of_alpha = |opaque_is_white: bool| {
        RgbImage::from_fn(image.width(), image.height(), |x, y| {
            let white = (image.get_pixel(x, y).0[3] >= 128) == opaque_is_white;
            Rgb([if white { 255 } else { 0 }; 3])
        })
    };
    if opaque > 0 && dark == 0 && light > 0 {
        warnings.push("The mask's alpha channel was used: opaque areas are regenerated.".to_owned());
        return of_alpha(true);
    }
    // An image is neither black nor white in most places.
    if colourful * 10 > opaque {
        warnings.push("The mask's alpha channel was used: transparent areas are regenerated.".to_owned());
        return of_alpha(false);
    }
    warnings.push("The mask's transparent areas count as white: they are regenerated.".to_owned());
    over_white(image)
}

fn over_white(image: RgbaImage) -> RgbImage {
    let (width, height) = (image.width(), image.height());
    RgbImage::from_fn(width, height, |x, y| {
        let [r, g, b, alpha] = image.get_pixel(x, y).0.map(u32::from);
        Rgb([r, g, b].map(|value| ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8))
    })
}
