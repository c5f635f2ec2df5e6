//! PNG files and the texts inside: A1111's `parameters`, which other programs read, and `adire`, the whole
//! recipe as JSON. A file with the same pixels and recipe has the same bytes, so nothing that differs from run
//! to run (seconds, times) is written.

use adire_protocol::{
    EmbeddingUse, GenerationRequest, GenerationSpec, Recipe, VaeUse, infotext,
    reading::{self, ReadError, TextEntry},
};
use png::{BitDepth, ColorType, Compression, Encoder};
use serde::{Deserialize, Serialize};

use crate::{
    Pixels, StudioError,
    metadata::{self, Texts},
};

/// Text entry that A1111 and sites read.
const PARAMETERS: &str = "parameters";
/// Our own text entry.
const ADIRE: &str = "adire";

/// What the `adire` entry holds: a [`Recipe`] without its times.
#[derive(Serialize)]
struct Entry<'a> {
    spec: &'a GenerationSpec,
    adapter_hashes: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    embeddings: &'a [EmbeddingUse],
    #[serde(skip_serializing_if = "Option::is_none")]
    vae: Option<&'a VaeUse>,
    model: &'a str,
    model_hash: &'a str,
    device: &'a str,
    dtype: &'a str,
    version: &'a str,
    fingerprint: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    withheld: bool,
}

/// Only for the request.
#[derive(Deserialize)]
struct ReadEntry {
    spec: GenerationSpec,
}

/// The texts of a PNG, JPEG or WebP file by keyword, with A1111's under `parameters`.
///
/// # Errors
/// The file is none of these.
pub fn read_texts(file: &[u8]) -> Result<Vec<TextEntry>, StudioError> {
    Ok(texts(file)?.entries)
}

/// A PNG file with `infotext` as its `parameters` entry.
///
/// # Errors
/// `pixels.rgb` does not have `3 × width × height` bytes.
pub fn encode_png(pixels: &Pixels, infotext: &str) -> Result<Vec<u8>, StudioError> {
    encode(pixels, &[(PARAMETERS, infotext)])
}

/// A PNG file with both texts of a recipe.
///
/// # Errors
/// `pixels.rgb` does not have `3 × width × height` bytes.
pub fn encode_with_recipe(pixels: &Pixels, recipe: &Recipe) -> Result<Vec<u8>, StudioError> {
    let entry = Entry {
        spec: &recipe.spec,
        adapter_hashes: &recipe.adapter_hashes,
        embeddings: &recipe.embeddings,
        vae: recipe.vae.as_ref(),
        model: &recipe.model,
        model_hash: &recipe.model_hash,
        device: &recipe.device,
        dtype: &recipe.dtype,
        version: &recipe.version,
        fingerprint: &recipe.fingerprint,
        withheld: recipe.withheld,
    };
    let json = serde_json::to_string(&entry).map_err(|error| StudioError::Png(error.to_string()))?;
    let texts = [(PARAMETERS, infotext::format(recipe)), (ADIRE, json)];
    encode(pixels, &texts.each_ref().map(|(key, text)| (*key, text.as_str())))
}

/// A PNG file of the pixels alone: the same ones are the same bytes.
pub(crate) fn encode_bare(pixels: &Pixels) -> Result<Vec<u8>, StudioError> {
    encode(pixels, &[])
}

/// The same PNG file without its texts, times and other extras: only what its pixels need. The pixels are not decoded.
pub(crate) fn without_texts(file: &[u8]) -> Result<Vec<u8>, StudioError> {
    const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
    const KEPT: [&[u8; 4]; 7] = [b"IHDR", b"PLTE", b"tRNS", b"gAMA", b"sRGB", b"IDAT", b"IEND"];
    let damaged = || StudioError::Png("The PNG file is damaged.".to_owned());
    let mut rest = file.strip_prefix(SIGNATURE).ok_or_else(damaged)?;
    let mut kept = SIGNATURE.to_vec();
    while let Some((head, _)) = rest.split_first_chunk::<8>() {
        let (length, kind) = head.split_at(4);
        let length = length.iter().fold(0_usize, |length, byte| (length << 8) | usize::from(*byte));
        let whole = length.checked_add(12).filter(|whole| *whole <= rest.len()).ok_or_else(damaged)?;
        let (chunk, after) = rest.split_at(whole);
        if KEPT.iter().any(|name| name.as_slice() == kind) {
            kept.extend_from_slice(chunk);
        }
        if kind == b"IEND" {
            return Ok(kept);
        }
        rest = after;
    }
    Err(damaged())
}

/// A small image as a `data:` URL.
pub(crate) fn data_url(pixels: &Pixels) -> Option<String> {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let png = encode(pixels, &[]).ok()?;
    Some(format!("data:image/png;base64,{}", BASE64_STANDARD.encode(png)))
}

fn encode(pixels: &Pixels, texts: &[(&str, &str)]) -> Result<Vec<u8>, StudioError> {
    let wrong =
        |error: png::EncodingError| StudioError::Png(format!("The image could not be encoded: {error}."));
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, pixels.width, pixels.height);
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    // On images with any grain the slower settings give the same size and take ten times as long and more.
    encoder.set_compression(Compression::Fast);
    for (key, text) in texts {
        // Neither kind of entry can hold a NUL.
        let text = text.replace('\0', "");
        let latin1: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
        // Programs take bytes that are UTF-8 for that, whatever the format says.
        let clear = text.is_ascii() || latin1.is_some_and(|bytes| std::str::from_utf8(&bytes).is_err());
        if clear {
            encoder.add_text_chunk((*key).to_owned(), text).map_err(wrong)?;
        } else {
            encoder.add_itxt_chunk((*key).to_owned(), text).map_err(wrong)?;
        }
    }
    let mut writer = encoder.write_header().map_err(wrong)?;
    writer.write_image_data(&pixels.rgb).map_err(wrong)?;
    writer.finish().map_err(wrong)?;
    Ok(bytes)
}

/// The request that generated an image, from the texts in its file (PNG, JPEG, WebP): ours, else A1111's, else those of
/// other programs. Pixels are not decoded.
///
/// # Errors
/// The file is none of these, or carries no generation parameters.
pub fn read_request(file: &[u8]) -> Result<GenerationRequest, StudioError> {
    let texts = texts(file)?;
    let own = texts.get(ADIRE).map(serde_json::from_str::<ReadEntry>);
    if let Some(Ok(entry)) = own {
        return Ok(entry.spec.into());
    }
    let mut request = reading::read(&texts.entries).map_err(|error| {
        let damaged = match texts.unreadable.as_slice() {
            [] => String::new(),
            keys => format!(" Its text chunks {} are damaged or too long.", keys.join(", ")),
        };
        let advice = match error {
            ReadError::Nothing if damaged.is_empty() => {
                " Use the original file; websites and chat apps often strip metadata."
            }
            _ => "",
        };
        let mut sentence: String = format!("{error}{damaged}").chars().take(600).collect();
        if !sentence.ends_with('.') {
            sentence.push_str("….");
        }
        StudioError::Png(format!("{sentence}{advice}"))
    })?;
    if own.is_some() {
        let message = "The image's Adire recipe could not be read; its A1111 parameters were used.";
        request.warnings.push(message.to_owned());
    }
    Ok(request)
}

/// The whole recipe that a PNG of ours carries; its times are 0. Pixels are not decoded.
///
/// # Errors
/// The file is not an image, or not one of ours.
pub fn read_recipe(png: &[u8]) -> Result<Recipe, StudioError> {
    let texts = texts(png)?;
    let own = texts.get(ADIRE).ok_or_else(|| {
        let message = "This image has no Adire recipe. Only original files generated by Adire can be re-rendered exactly.";
        StudioError::Png(message.to_owned())
    })?;
    let unreadable =
        |error| StudioError::Png(format!("The recipe in this image could not be read: {error}."));
    let mut value: serde_json::Value = serde_json::from_str(own).map_err(unreadable)?;
    if let Some(entry) = value.as_object_mut() {
        entry.entry("seconds").or_insert(0.0.into());
    }
    serde_json::from_value(value).map_err(unreadable)
}

fn texts(file: &[u8]) -> Result<Texts, StudioError> {
    metadata::texts(file).ok_or_else(|| StudioError::Png(crate::decode::refusal(file)))
}
