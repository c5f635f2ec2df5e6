//! JPEG files, decoded strictly: a lenient decoder fills what is missing with grey and says nothing.

use image::{DynamicImage, GrayImage, RgbImage, metadata::Orientation};
use zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions};
use zune_jpeg::JpegDecoder;

use super::{MAX_SIDE, Raw, broken_off, check_size, damaged};
use crate::StudioError;

pub(super) fn decode(bytes: &[u8], warnings: &mut Vec<String>) -> Result<Raw, StudioError> {
    let side = MAX_SIDE as usize;
    // Heads are read leniently: what is odd there changes no pixel.
    let lenient =
        DecoderOptions::default().set_strict_mode(false).set_max_width(usize::MAX).set_max_height(usize::MAX);
    let mut head = JpegDecoder::new_with_options(ZCursor::new(bytes), lenient);
    head.decode_headers().map_err(damaged)?;
    let (width, height) = head.dimensions().ok_or_else(|| damaged("it has no size"))?;
    let (width, height) = (width as u32, height as u32);
    let space = head.input_colorspace().ok_or_else(|| damaged("its colour type is missing"))?;
    let grey = space == ColorSpace::Luma;
    check_size(width, height, u64::from(width) * u64::from(height) * if grey { 1 } else { 3 })?;
    let orientation = head.exif().and_then(|exif| Orientation::from_exif_chunk(exif));
    let mut icc = head.icc_profile();
    drop(head);

    let out = if grey { ColorSpace::Luma } else { ColorSpace::RGB };
    let options = |strict| {
        lenient.set_strict_mode(strict).set_max_width(side).set_max_height(side).jpeg_set_out_colorspace(out)
    };
    let read = |strict| JpegDecoder::new_with_options(ZCursor::new(bytes), options(strict)).decode();
    let pixels = match read(true) {
        Ok(pixels) => pixels,
        Err(error) => {
            let error = error.to_string();
            // Odd heads, which a strict decoder refuses too.
            if !["Extra bytes between headers", "number of components"]
                .iter()
                .any(|text| error.contains(text))
            {
                return Err(broken_off("its data ends before its pixels do, or is damaged there"));
            }
            let pixels = read(false).map_err(damaged)?;
            warnings.push("The image's headers are damaged; its pixels may be, too.".to_owned());
            pixels
        }
    };
    match end(bytes) {
        Some(end)
            if needs_more(bytes, end, &pixels, |longer| {
                JpegDecoder::new_with_options(ZCursor::new(longer), options(false)).decode().ok()
            }) =>
        {
            return Err(broken_off("its end marker comes before its pixels do"));
        }
        Some(_) => {}
        None => {
            warnings.push("The file has no end marker; the last rows of the image may be missing.".to_owned())
        }
    }
    if matches!(space, ColorSpace::CMYK | ColorSpace::YCCK) {
        warnings.push(
            "The image is CMYK; its colours were converted approximately and will look different.".to_owned(),
        );
        // It is for the four inks.
        icc = None;
    }
    let wrong = || damaged("it has fewer pixels than it says");
    let image = if grey {
        DynamicImage::ImageLuma8(GrayImage::from_raw(width, height, pixels).ok_or_else(wrong)?)
    } else {
        DynamicImage::ImageRgb8(RgbImage::from_raw(width, height, pixels).ok_or_else(wrong)?)
    };
    Ok(Raw { image, orientation: orientation.unwrap_or(Orientation::NoTransforms), icc })
}

/// Where the end marker behind the pixels stands. Inside their data no byte 0xff is followed by 0xd9.
fn end(jpeg: &[u8]) -> Option<usize> {
    let head: usize = crate::metadata::jpeg::segments(jpeg).map(|(_, content)| content.len() + 4).sum();
    let at = jpeg.get(head..)?.windows(2).position(|pair| pair == [0xff, 0xd9])?;
    Some(head + at)
}

/// Whether the decoder ran out of data at the end marker and made up what it lacked, which it tells nobody: then more
/// data in front of the marker changes the pixels. A complete image has taken all its bits by then.
fn needs_more(jpeg: &[u8], end: usize, pixels: &[u8], decode: impl Fn(&[u8]) -> Option<Vec<u8>>) -> bool {
    // Neither what decoders fill up with (zeros) nor what encoders end the last byte with (ones).
    let longer = [&jpeg[..end], [0x5a; 64].as_slice(), &jpeg[end..]].concat();
    decode(&longer).is_some_and(|longer| longer != pixels)
}
