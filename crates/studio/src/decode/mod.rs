//! From image files to pixels. Whatever is not as in the file (transparent areas, other colours, more than one frame) is
//! reported as a warning; incomplete files are refused. Pixels are counted before any is decoded.

mod alpha;
mod format;
mod jpeg;
mod luma;
mod profile;

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, metadata::Orientation};

pub(crate) use format::refusal;
pub(crate) use luma::{WHITE, luma};

use crate::{
    Pixels, StudioError,
    metadata::{Container, png::chunks},
};

/// Longest side of an image that is decoded, in pixels.
const MAX_SIDE: u32 = 16_384;
/// Most pixels of an image that is decoded, whatever its channels: 192 MB as RGB.
pub(crate) const MAX_PIXELS: u64 = 64_000_000;
/// Most bytes that the decoded channels of one file may take: 16 bits a channel halve the number of pixels.
const MAX_BYTES: u64 = 256 << 20;

/// What an image is used for, where that changes how it is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImageUse {
    /// Its colours count; what is transparent lies over white.
    #[default]
    Colours,
    /// It says what is regenerated: white is, black stays. Transparency may say so instead.
    Mask,
}

/// A decoded image.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// Turned as EXIF says, in sRGB, 8 bits a channel.
    pub pixels: Pixels,
    /// What is not as in the file: sentences.
    pub warnings: Vec<String>,
}

/// A decoder's result, before conversion to RGB.
struct Raw {
    image: DynamicImage,
    orientation: Orientation,
    icc: Option<Vec<u8>>,
}

/// Reads a PNG, JPEG or WebP file: turned as its EXIF data says, in sRGB, 8 bits a channel, without transparency.
///
/// # Errors
/// The file is none of these, damaged, broken off, or has more than 64 million pixels: a sentence.
pub fn decode_image(bytes: &[u8], used_as: ImageUse) -> Result<Decoded, StudioError> {
    let (image, mut warnings) = decode_with_alpha(bytes)?;
    let rgb = alpha::flatten(image, used_as, &mut warnings);
    let pixels = Pixels { width: rgb.width(), height: rgb.height(), rgb: rgb.into_raw() };
    Ok(Decoded { pixels, warnings })
}

/// [`decode_image`] with the file's own channels, transparency among them; and what is not as in the file.
///
/// # Errors
/// As [`decode_image`].
pub fn decode_with_alpha(bytes: &[u8]) -> Result<(DynamicImage, Vec<String>), StudioError> {
    let container = Container::of(bytes).ok_or_else(|| StudioError::Image(refusal(bytes)))?;
    let mut warnings = Vec::new();
    let raw = match container {
        Container::Jpeg => jpeg::decode(bytes, &mut warnings)?,
        Container::Png | Container::WebP => other(bytes, container, &mut warnings)?,
    };
    let Raw { mut image, orientation, icc } = raw;
    if matches!(
        image,
        DynamicImage::ImageLuma16(_)
            | DynamicImage::ImageLumaA16(_)
            | DynamicImage::ImageRgb16(_)
            | DynamicImage::ImageRgba16(_)
    ) {
        warnings.push("The image has 16 bits per channel; they were reduced to 8.".to_owned());
        image = if image.color().has_alpha() { image.into_rgba8().into() } else { image.into_rgb8().into() };
    }
    if let Some(icc) = icc {
        image = profile::to_srgb(&icc, image, &mut warnings);
    }
    image.apply_orientation(orientation);
    Ok((image, warnings))
}

/// [`decode_image`] without warnings, for files that were decoded before.
///
/// # Errors
/// As [`decode_image`].
pub fn decode_pixels(bytes: &[u8]) -> Result<Pixels, StudioError> {
    decode_image(bytes, ImageUse::Colours).map(|decoded| decoded.pixels)
}

fn damaged(error: impl std::fmt::Display) -> StudioError {
    let error: String = error.to_string().chars().take(200).collect();
    StudioError::Image(format!("The image could not be decoded: {error}. Save it again and retry."))
}

fn broken_off(what: &str) -> StudioError {
    StudioError::Image(format!("The image is incomplete: {what}. Get the whole file and try again."))
}

/// Refuses what is too large, before a pixel is decoded.
fn check_size(width: u32, height: u32, bytes: u64) -> Result<(), StudioError> {
    let pixels = u64::from(width) * u64::from(height);
    if width == 0
        || height == 0
        || width > MAX_SIDE
        || height > MAX_SIDE
        || pixels > MAX_PIXELS
        || bytes > MAX_BYTES
    {
        return Err(StudioError::Image(format!(
            "An image can have at most 64 million pixels, {MAX_SIDE} per side, and {} MiB decoded; this one has {width} × {height} pixels and {} MiB. Resize it and try again.",
            MAX_BYTES >> 20,
            bytes >> 20,
        )));
    }
    Ok(())
}

/// PNG and WebP.
fn other(bytes: &[u8], container: Container, warnings: &mut Vec<String>) -> Result<Raw, StudioError> {
    let format = match container {
        Container::Png => {
            png_warnings(bytes, warnings);
            ImageFormat::Png
        }
        _ => {
            let [_, _, _, _, length @ .., _, _, _, _] = bytes.first_chunk::<12>().unwrap_or(&[0; 12]);
            let length = u64::from(u32::from_le_bytes([length[0], length[1], length[2], length[3]]));
            if length + 8 > bytes.len() as u64 {
                let has = bytes.len();
                return Err(broken_off(&format!(
                    "the file has {has} bytes, but says that it has {}",
                    length + 8
                )));
            }
            // VP8X's flags: animation is the second bit.
            if bytes.get(12..16) == Some(b"VP8X") && bytes.get(20).is_some_and(|flags| flags & 2 != 0) {
                warnings.push("The image is animated; only its first frame was used.".to_owned());
            }
            ImageFormat::WebP
        }
    };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = image::Limits::default();
    // Sizes are refused below, with a sentence of ours.
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    check_size(width, height, decoder.total_bytes())?;
    let orientation = decoder.orientation().map_err(damaged)?;
    let icc = decoder.icc_profile().ok().flatten();
    let image = DynamicImage::from_decoder(decoder).map_err(|error| {
        // What a reader says that had more to read.
        match error.to_string() {
            text if text.contains("end of file")
                || text.contains("unexpected end")
                || text.contains("UnexpectedEof") =>
            {
                broken_off("its data ends before its pixels do")
            }
            text => damaged(text),
        }
    })?;
    Ok(Raw { image, orientation, icc })
}

/// What a PNG's chunks say that its pixels do not.
fn png_warnings(png: &[u8], warnings: &mut Vec<String>) {
    let (mut srgb, mut gamma) = (false, None);
    for chunk in chunks(png).take_while(|chunk| &chunk.kind != b"IDAT") {
        match (&chunk.kind, chunk.data) {
            (b"acTL", [a, b, c, d, ..]) if u32::from_be_bytes([*a, *b, *c, *d]) > 1 => {
                warnings.push("The image is animated; only its first frame was used.".to_owned());
            }
            (b"sRGB" | b"iCCP", _) => srgb = true,
            // Primaries of BT.709 with sRGB's curve are sRGB.
            (b"cICP", [1, 13, 0, _]) => srgb = true,
            (b"cICP", _) => warnings.push(
                "The image's colours are not sRGB (cICP); they were not converted and will look different."
                    .to_owned(),
            ),
            (b"gAMA", [a, b, c, d]) => gamma = Some(u32::from_be_bytes([*a, *b, *c, *d])),
            _ => {}
        }
    }
    // 1/2.2, which stands for sRGB.
    if let Some(gamma) = gamma.filter(|gamma| !srgb && gamma.abs_diff(45_455) > 1000) {
        warnings.push(format!(
            "The image has its own gamma ({:.2}); it was not converted and will look different.",
            f64::from(gamma) / 100_000.0
        ));
    }
}
