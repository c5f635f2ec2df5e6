//! Colour profiles: pixels in other colour spaces become sRGB.

use image::DynamicImage;
use moxcms::{ColorProfile, DataColorSpace, Layout, ProfileText, TransformOptions};

/// Largest profile that is read; printers' have one or two megabytes.
const MAX_PROFILE_BYTES: usize = 4 << 20;
/// Largest difference (of 255) to sRGB that nobody sees: profiles of sRGB itself differ by that.
const SAME: u8 = 2;
/// Where a conversion is compared with none.
const LEVELS: [u8; 6] = [0, 16, 64, 128, 200, 255];

/// The image in sRGB. One whose profile is sRGB, or cannot be used, stays as it is; only the latter is reported.
pub(super) fn to_srgb(icc: &[u8], image: DynamicImage, warnings: &mut Vec<String>) -> DynamicImage {
    if icc.len() > MAX_PROFILE_BYTES {
        warnings.push(unused("it is too large"));
        return image;
    }
    let Ok(profile) = ColorProfile::new_from_slice(icc) else {
        warnings.push(unused("it is damaged"));
        return image;
    };
    let (source, target) = match (profile.color_space, image.color().has_color(), image.color().has_alpha()) {
        (DataColorSpace::Rgb, _, false) => (Layout::Rgb, Layout::Rgb),
        (DataColorSpace::Rgb, _, true) => (Layout::Rgba, Layout::Rgba),
        (DataColorSpace::Gray, false, false) => (Layout::Gray, Layout::Rgb),
        (DataColorSpace::Gray, false, true) => (Layout::GrayAlpha, Layout::Rgba),
        _ => {
            warnings.push(unused("it is for other channels than the image has"));
            return image;
        }
    };
    let srgb = ColorProfile::new_srgb();
    let Ok(transform) = profile.create_transform_8bit(source, &srgb, target, TransformOptions::default())
    else {
        warnings.push(unused("it is of a kind that is not read"));
        return image;
    };
    let convert = |pixels: &[u8]| {
        let mut converted = vec![0; pixels.len() / source.channels() * target.channels()];
        transform.transform(pixels, &mut converted).ok().map(|()| converted)
    };
    if is_same(source, target, &convert) {
        return image;
    }
    let (width, height) = (image.width(), image.height());
    let pixels = match source {
        Layout::Rgb => image.to_rgb8().into_raw(),
        Layout::Rgba => image.to_rgba8().into_raw(),
        Layout::Gray => image.to_luma8().into_raw(),
        _ => image.to_luma_alpha8().into_raw(),
    };
    let converted = convert(&pixels).and_then(|pixels| match target {
        Layout::Rgba => image::RgbaImage::from_raw(width, height, pixels).map(DynamicImage::from),
        _ => image::RgbImage::from_raw(width, height, pixels).map(DynamicImage::from),
    });
    match converted {
        Some(converted) => {
            warnings.push(format!("The image's colours were converted from {} to sRGB.", name(&profile)));
            converted
        }
        None => {
            warnings.push(unused("its conversion failed"));
            image
        }
    }
}

fn unused(why: &str) -> String {
    format!("The image's colour profile was ignored because {why}; its colours may look different.")
}

/// Whether a conversion leaves colours as they are.
fn is_same(source: Layout, target: Layout, convert: &impl Fn(&[u8]) -> Option<Vec<u8>>) -> bool {
    let colours: Vec<[u8; 3]> = match source {
        Layout::Rgb | Layout::Rgba => LEVELS
            .iter()
            .flat_map(|r| LEVELS.iter().flat_map(move |g| LEVELS.iter().map(move |b| [*r, *g, *b])))
            .collect(),
        _ => LEVELS.map(|level| [level; 3]).to_vec(),
    };
    let wide = |colour: &[u8; 3]| match source {
        Layout::Rgb => colour.to_vec(),
        Layout::Rgba => vec![colour[0], colour[1], colour[2], 255],
        Layout::Gray => vec![colour[0]],
        _ => vec![colour[0], 255],
    };
    let pixels: Vec<u8> = colours.iter().flat_map(wide).collect();
    convert(&pixels).is_some_and(|converted| {
        converted
            .chunks_exact(target.channels())
            .zip(&colours)
            .all(|(found, colour)| found.iter().zip(colour).all(|(a, b)| a.abs_diff(*b) <= SAME))
    })
}

/// A profile's own name.
fn name(profile: &ColorProfile) -> String {
    let text = match &profile.description {
        Some(ProfileText::PlainString(text)) => text.clone(),
        Some(ProfileText::Localizable(texts)) => {
            texts.first().map(|text| text.value.clone()).unwrap_or_default()
        }
        Some(ProfileText::Description(text)) => text.ascii_string.clone(),
        None => String::new(),
    };
    let text: String = text.chars().filter(|c| !c.is_control()).take(60).collect();
    if text.trim().is_empty() { "another colour space".to_owned() } else { text.trim().to_owned() }
}
