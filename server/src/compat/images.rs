//! Images in and out of JSON.

use std::io::Cursor;

use adire_protocol::ImageRecord;
use adire_studio::{Decoded, ImageUse, Studio, decode_image, decode_with_alpha};
use axum::body::Bytes;
use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose},
};
use image::{DynamicImage, ImageFormat, RgbImage, codecs::jpeg::JpegEncoder};

use crate::error::Problem;

/// Some clients leave the padding out.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A file as it is sent out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// As it was stored, with its recipe.
    #[default]
    Png,
    /// Of this quality, 1 to 100.
    Jpeg(u8),
    WebP,
}

impl Format {
    /// Media type.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg(_) => "image/jpeg",
            Self::WebP => "image/webp",
        }
    }

    /// OpenAI's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg(_) => "jpeg",
            Self::WebP => "webp",
        }
    }
}

/// The bytes of base64 text, with or without `data:image/png;base64,` before it.
pub(crate) fn decode(field: &str, text: &str) -> Result<Vec<u8>, Problem> {
    let text = text.trim();
    if text.starts_with("http://") || text.starts_with("https://") {
        return Err(Problem::field(field, "Images are not fetched from addresses; send the file as base64."));
    }
    let data = match text.strip_prefix("data:") {
        Some(rest) => rest.split_once(',').map_or("", |(_, data)| data),
        None => text,
    };
    let plain: Vec<u8> = data.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    LENIENT.decode(plain).ok().filter(|bytes| !bytes.is_empty()).ok_or_else(|| {
        Problem::field(
            field,
            "An image must be a PNG, JPEG or WebP file as base64, with or without data:…;base64, before it.",
        )
    })
}

/// Base64 text.
pub(crate) fn encode(bytes: &[u8]) -> String {
    general_purpose::STANDARD.encode(bytes)
}

/// The PNG file of an image, from memory if it is among the newest.
pub(crate) async fn file_of(studio: &Studio, image: &ImageRecord) -> Result<Bytes, Problem> {
    Ok(studio.file_of(image).await?)
}

/// The PNG file of that name.
pub(crate) async fn file(studio: &Studio, hash: &str) -> Result<Vec<u8>, Problem> {
    Ok(studio.image_file(hash).await?.bytes().await?)
}

/// The file of an image in a format.
pub(crate) async fn file_as(studio: &Studio, image: &ImageRecord, format: Format) -> Result<Bytes, Problem> {
    let png = file_of(studio, image).await?;
    if format == Format::Png {
        return Ok(png);
    }
    let converted = tokio::task::spawn_blocking(move || convert(&png, format)).await;
    converted.map_err(Problem::internal)?.map(Bytes::from).map_err(Problem::internal)
}

/// A PNG file of ours in another format. Its recipe stays behind.
pub(crate) fn convert(png: &[u8], format: Format) -> Result<Vec<u8>, image::ImageError> {
    let image = image::load_from_memory_with_format(png, ImageFormat::Png)?;
    let mut bytes = Cursor::new(Vec::new());
    match format {
        Format::Png => image.write_to(&mut bytes, ImageFormat::Png)?,
        Format::Jpeg(quality) => {
            image.to_rgb8().write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, quality))?;
        }
        Format::WebP => image.to_rgb8().write_to(&mut bytes, ImageFormat::WebP)?,
    }
    Ok(bytes.into_inner())
}

/// An image that somebody sent, to be changed before the studio takes it, with its transparency; `None` where the studio
/// should say what is wrong with it. Call this in the client's turn (`Studio::in_turn`).
pub(crate) fn read(bytes: &[u8]) -> Option<DynamicImage> {
    decode_with_alpha(bytes).ok().map(|(image, _)| image)
}

/// The colours of such an image, as the studio reads them; what is not as in the file is added to `warnings`.
pub(crate) fn colours(bytes: &[u8], warnings: &mut Vec<String>) -> Option<RgbImage> {
    let Decoded { pixels, warnings: found } = decode_image(bytes, ImageUse::Colours).ok()?;
    warnings.extend(found);
    RgbImage::from_raw(pixels.width, pixels.height, pixels.rgb)
}

/// It as a PNG file.
pub(crate) fn write(image: &DynamicImage) -> Option<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).ok()?;
    Some(bytes.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_comes_with_and_without_what_belongs_to_it() {
        for text in ["AAEC", "data:image/png;base64,AAEC", " AA\nEC ", "data:;base64,AAEC"] {
            assert_eq!(decode("image", text).unwrap(), [0, 1, 2], "{text}");
        }
        assert_eq!(decode("image", "AAE").unwrap(), [0, 1]);
        for wrong in ["", "data:image/png;base64,", "data:", "é", "http://10.0.0.1/a.png", "===="] {
            assert_eq!(decode("image", wrong).unwrap_err().errors[0].field, "image", "{wrong}");
        }
    }
}
