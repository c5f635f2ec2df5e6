//! Partly decoded images are reported as such.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../engine/tests/common/counting.rs"]
mod counting;

use std::io::Cursor;

use adire_studio::{Decoded, ImageUse, decode_image};
use counting::largest;
use image::{
    DynamicImage, GrayAlphaImage, GrayImage, ImageFormat, Luma, LumaA, Rgb, RgbImage, Rgba, RgbaImage,
};
use png::{BitDepth, ColorType, Encoder};

fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn decoded(bytes: &[u8]) -> Decoded {
    decode_image(bytes, ImageUse::Colours).unwrap()
}

fn refused(bytes: &[u8]) -> String {
    decode_image(bytes, ImageUse::Colours).map(|decoded| decoded.warnings).unwrap_err().to_string()
}

/// Grain, so that every row takes bytes.
fn grainy(width: u32, height: u32) -> RgbImage {
    let mut state = 7_u32;
    RgbImage::from_fn(width, height, |_, _| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Rgb([(state >> 24) as u8, (state >> 16) as u8, (state >> 8) as u8])
    })
}

#[test]
fn whole_images_say_nothing() {
    for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP] {
        let found = decoded(&encoded(grainy(40, 24), format));
        assert_eq!((found.pixels.width, found.pixels.height), (40, 24));
        assert_eq!(found.warnings, [""; 0], "{format:?}");
    }
    let found = decoded(&encoded(GrayImage::from_pixel(9, 9, Luma([100])), ImageFormat::Jpeg));
    assert_eq!((found.warnings, found.pixels.rgb[0]), (Vec::new(), 100));
    // An alpha channel in which everything is opaque.
    let opaque = RgbaImage::from_pixel(8, 8, Rgba([10, 20, 30, 255]));
    assert_eq!(decoded(&encoded(opaque, ImageFormat::Png)).warnings, [""; 0]);
}

#[test]
fn what_is_broken_off_is_refused() {
    for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP] {
        let whole = encoded(grainy(120, 90), format);
        for tenth in 3..10 {
            let sentence = refused(&whole[..whole.len() * tenth / 10]);
            assert!(sentence.contains("incomplete"), "{format:?} at {tenth}: {sentence}");
        }
    }
    // An end marker behind what is left does not make it whole, and what follows the image takes nothing from it.
    for whole in [
        encoded(grainy(120, 90), ImageFormat::Jpeg),
        encoded(image::DynamicImage::from(grainy(120, 90)).to_luma8(), ImageFormat::Jpeg),
    ] {
        for tenth in 5..10 {
            let cut = [&whole[..whole.len() * tenth / 10], &[0xff, 0xd9]].concat();
            let sentence = refused(&cut);
            assert!(sentence.contains("incomplete"), "at {tenth}: {sentence}");
        }
        assert_eq!(decoded(&[whole.as_slice(), &whole].concat()).warnings, [""; 0]);
    }
    // All pixels are there, only the marker is not.
    let mut jpeg = encoded(grainy(16, 16), ImageFormat::Jpeg);
    jpeg.truncate(jpeg.len() - 2);
    match decode_image(&jpeg, ImageUse::Colours) {
        Ok(found) => assert!(found.warnings[0].contains("no end marker"), "{:?}", found.warnings),
        Err(error) => assert!(error.to_string().contains("incomplete"), "{error}"),
    }
}

/// A PNG of a few kilobytes with that many pixels of one bit each.
fn bomb(width: u32, height: u32, colour: ColorType) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, width, height);
    encoder.set_color(colour);
    let depth = if colour == ColorType::Grayscale { BitDepth::One } else { BitDepth::Eight };
    encoder.set_depth(depth);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header().unwrap();
    let mut stream = writer.stream_writer().unwrap();
    let row = vec![0; width.div_ceil(if depth == BitDepth::One { 8 } else { 1 }) as usize];
    for _ in 0..height {
        std::io::Write::write_all(&mut stream, &row).unwrap();
    }
    stream.finish().unwrap();
    drop(writer);
    bytes
}

#[test]
fn pixels_are_counted_before_they_are_decoded() {
    for bytes in [bomb(16_384, 16_384, ColorType::Grayscale), bomb(8_001, 8_000, ColorType::Grayscale)] {
        assert!(bytes.len() < 1 << 20);
        let (result, most) = largest(|| decode_image(&bytes, ImageUse::Colours));
        let sentence = result.map(|found| found.warnings).unwrap_err().to_string();
        assert!(sentence.contains("64 million pixels"), "{sentence}");
        assert!(most < 4 << 20, "allocated {most} bytes");
    }
    // Grey JPEGs and WebP files promise as much.
    let mut jpeg = encoded(GrayImage::new(16, 16), ImageFormat::Jpeg);
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0x3f, 0xff, 0x3f, 0xff]);
    let (result, most) = largest(|| decode_image(&jpeg, ImageUse::Colours));
    assert!(result.is_err() && most < 4 << 20, "allocated {most} bytes");
}

#[test]
fn transparency_is_reported() {
    let half = RgbaImage::from_fn(10, 10, |x, _| Rgba([200, 0, 0, if x < 5 { 0 } else { 255 }]));
    for format in [ImageFormat::Png, ImageFormat::WebP] {
        let found = decoded(&encoded(half.clone(), format));
        assert!(found.warnings[0].contains("50% of the image is transparent"), "{:?}", found.warnings);
        assert_eq!(found.pixels.rgb[..3], [255; 3]);
        assert_eq!(found.pixels.rgb[27..30], [200, 0, 0]);
    }
    let grey = GrayAlphaImage::from_fn(4, 1, |x, _| LumaA([90, if x == 0 { 100 } else { 255 }]));
    let found = decoded(&encoded(grey, ImageFormat::Png));
    assert!(found.warnings[0].contains("25%"), "{:?}", found.warnings);
    let nothing = RgbaImage::from_pixel(4, 4, Rgba([1, 2, 3, 0]));
    assert!(decoded(&encoded(nothing, ImageFormat::Png)).warnings[0].contains("fully transparent"));
}

#[test]
fn a_masks_transparency_says_what_is_regenerated() {
    // White strokes on nothing; black with holes; a photograph of which a part was erased.
    let strokes = RgbaImage::from_fn(10, 10, |x, _| Rgba([255, 255, 255, if x < 5 { 255 } else { 0 }]));
    let holes = RgbaImage::from_fn(10, 10, |x, _| Rgba([0, 0, 0, if x < 5 { 0 } else { 255 }]));
    let erased = RgbaImage::from_fn(10, 10, |x, y| {
        Rgba([(x * 20) as u8 + 40, (y * 20) as u8 + 40, 128, if x < 5 { 0 } else { 255 }])
    });
    for mask in [strokes, holes, erased] {
        let found = decode_image(&encoded(mask, ImageFormat::Png), ImageUse::Mask).unwrap();
        assert_eq!(found.warnings.len(), 1);
        assert_eq!((found.pixels.rgb[0], found.pixels.rgb[27]), (255, 0), "{:?}", found.warnings);
    }
    let plain = RgbImage::from_fn(10, 10, |x, _| Rgb([if x < 5 { 255 } else { 0 }; 3]));
    let found = decode_image(&encoded(plain, ImageFormat::Png), ImageUse::Mask).unwrap();
    assert_eq!((found.warnings, found.pixels.rgb[0]), (Vec::new(), 255));
}

#[test]
fn sixteen_bits_and_frames_are_reported() {
    let deep = image::ImageBuffer::<Rgb<u16>, _>::from_pixel(3, 3, Rgb([0xffff, 0x8000, 0]));
    let found = decoded(&encoded(deep, ImageFormat::Png));
    assert!(found.warnings[0].contains("16 bits"), "{:?}", found.warnings);
    assert_eq!(found.pixels.rgb[..3], [255, 128, 0]);
    let mut animated = Vec::new();
    let mut encoder = Encoder::new(&mut animated, 2, 2);
    encoder.set_color(ColorType::Rgb);
    encoder.set_animated(2, 0).unwrap();
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&[9; 12]).unwrap();
    writer.write_image_data(&[200; 12]).unwrap();
    writer.finish().unwrap();
    let found = decoded(&animated);
    assert!(found.warnings[0].contains("first frame"), "{:?}", found.warnings);
    assert_eq!(found.pixels.rgb[0], 9);
    // Palettes are colours like others.
    let mut palette = Vec::new();
    let mut encoder = Encoder::new(&mut palette, 2, 1);
    encoder.set_color(ColorType::Indexed);
    encoder.set_palette(vec![1, 2, 3, 250, 251, 252]);
    encoder.write_header().unwrap().write_image_data(&[1, 0]).unwrap();
    let found = decoded(&palette);
    assert_eq!((found.warnings, found.pixels.rgb), (Vec::new(), vec![250, 251, 252, 1, 2, 3]));
}

/// A PNG with a colour profile.
fn with_profile(icc: &[u8], colour: [u8; 3]) -> Vec<u8> {
    let mut info = png::Info::with_size(1, 1);
    info.color_type = ColorType::Rgb;
    info.bit_depth = BitDepth::Eight;
    info.icc_profile = Some(icc.to_vec().into());
    let mut bytes = Vec::new();
    Encoder::with_info(&mut bytes, info).unwrap().write_header().unwrap().write_image_data(&colour).unwrap();
    bytes
}

#[test]
fn colours_of_other_spaces_become_srgb() {
    let srgb = moxcms::ColorProfile::new_srgb().encode().unwrap();
    let found = decoded(&with_profile(&srgb, [200, 30, 30]));
    assert_eq!((found.warnings, found.pixels.rgb), (Vec::new(), vec![200, 30, 30]));
    for (profile, name) in
        [(moxcms::ColorProfile::new_display_p3(), "P3"), (moxcms::ColorProfile::new_adobe_rgb(), "RGB")]
    {
        let found = decoded(&with_profile(&profile.encode().unwrap(), [200, 100, 100]));
        assert!(
            found.warnings[0].contains("converted from") && found.warnings[0].contains(name),
            "{:?}",
            found.warnings
        );
        // The same numbers are a stronger red there.
        let [red, green, _] = found.pixels.rgb[..] else { panic!() };
        assert!(red > 204 && green <= 100, "{name}: {:?}", found.pixels.rgb);
    }
    let found = decoded(&with_profile(b"no profile at all", [200, 30, 30]));
    assert!(found.warnings[0].contains("was ignored"), "{:?}", found.warnings);
    assert_eq!(found.pixels.rgb, [200, 30, 30]);
}

#[test]
fn kinds_that_are_not_read_are_named() {
    for (bytes, name) in [
        (b"GIF89a\x01\0\x01\0".as_slice(), "GIF"),
        (b"\0\0\0\x18ftypheic", "HEIC"),
        (b"\0\0\0\x18ftypavif", "AVIF"),
        (b"BM\0\0\0\0", "BMP"),
        (b"MM\0*", "TIFF"),
        (b"<svg xmlns=\"x\"/>", "SVG"),
    ] {
        assert!(refused(bytes).contains(name), "{}", refused(bytes));
    }
}

/// Files that the image crate cannot write, made by Pillow: a gradient of 40 × 24 pixels with red = 6·x, green = 10·y
/// and blue = 90 (the animation's second frame is its negative).
fn pillows(name: &str) -> Vec<u8> {
    std::fs::read(format!("tests/images/{name}")).unwrap()
}

/// The largest difference from the gradient, in 255ths. Pillow's own decoder is 7 off for the JPEGs in RGB, 1 for CMYK
/// and 14 for WebP.
fn off(found: &Decoded) -> u8 {
    assert_eq!((found.pixels.width, found.pixels.height), (40, 24));
    let pixels = found.pixels.rgb.chunks_exact(3).enumerate();
    pixels
        .map(|(at, pixel)| {
            let (x, y) = (at % 40, at / 40);
            let expected = [6 * x as u8, 10 * y as u8, 90];
            pixel.iter().zip(expected).map(|(found, expected)| found.abs_diff(expected)).max().unwrap()
        })
        .max()
        .unwrap()
}

#[test]
fn progressive_and_restarted_jpegs_are_whole_or_broken_off() {
    for name in ["progressive.jpg", "restarts.jpg"] {
        let whole = pillows(name);
        let found = decoded(&whole);
        assert_eq!(found.warnings, [""; 0], "{name}");
        assert!(off(&found) <= 10, "{name}: {}", off(&found));
        // Up to the last scan's beginning a progressive file is a whole one of less detail.
        for left in [whole.len() - 12, whole.len() - 30] {
            let sentence = refused(&[&whole[..left], &[0xff, 0xd9]].concat());
            assert!(sentence.contains("incomplete"), "{name} to {left}: {sentence}");
        }
    }
}

#[test]
fn cmyk_colours_are_converted_and_reported() {
    let found = decoded(&pillows("cmyk.jpg"));
    assert!(found.warnings[0].contains("CMYK"), "{:?}", found.warnings);
    assert!(off(&found) <= 10, "{}", off(&found));
}

#[test]
fn the_first_frame_of_an_animated_webp_is_used_and_reported() {
    let found = decoded(&pillows("animated.webp"));
    assert!(found.warnings[0].contains("first frame"), "{:?}", found.warnings);
    assert!(off(&found) <= 18, "{}", off(&found));
}
