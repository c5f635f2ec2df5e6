//! PNG files and the texts inside: A1111's `parameters`, which other programs read, and `adire`, the whole
//! recipe as JSON. A file with the same pixels and recipe has the same bytes, so nothing that differs from run
//! to run (seconds, times) is written.

use adire_protocol::{EmbeddingUse, GenerationRequest, GenerationSpec, Recipe, VaeUse, infotext};
use png::{BitDepth, ColorType, Compression, Decoder, Encoder, Limits};
use serde::{Deserialize, Serialize};

use crate::{Pixels, StudioError};

/// Text entry that A1111 and sites read.
const PARAMETERS: &str = "parameters";
/// Our own text entry.
const ADIRE: &str = "adire";
/// Most memory that reading the texts of a foreign file may take.
const READ_LIMIT: usize = 8 << 20;
/// Longest text that is looked at: many times the longest prompts.
const TEXT_LIMIT: usize = 256 << 10;

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
pub fn encode_picture(pixels: &Pixels, recipe: &Recipe) -> Result<Vec<u8>, StudioError> {
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

/// A small picture as a `data:` URL.
pub(crate) fn data_url(pixels: &Pixels) -> Option<String> {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let png = encode(pixels, &[]).ok()?;
    Some(format!("data:image/png;base64,{}", BASE64_STANDARD.encode(png)))
}

fn encode(pixels: &Pixels, texts: &[(&str, &str)]) -> Result<Vec<u8>, StudioError> {
    let wrong =
        |error: png::EncodingError| StudioError::Png(format!("The picture cannot be written: {error}."));
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, pixels.width, pixels.height);
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    // On pictures with any grain the slower settings give the same size and take ten times as long and more.
    encoder.set_compression(Compression::Fast);
    for (key, text) in texts {
        // Neither kind of entry can hold a NUL.
        let text = text.replace('\0', "");
        let latin1 = text.chars().all(|c| u32::from(c) < 256);
        if latin1 {
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

/// The request that made a PNG, from its text entries: ours, else A1111's. Pixels are not decoded.
///
/// # Errors
/// The bytes are no PNG, or carry no generation parameters.
pub fn read_request(png: &[u8]) -> Result<GenerationRequest, StudioError> {
    let texts = texts(png)?;
    let own = texts.own.and_then(|json| serde_json::from_str::<ReadEntry>(&json).ok());
    if let Some(entry) = own {
        return Ok(entry.spec.into());
    }
    texts.parameters.and_then(|text| infotext::parse(&text)).ok_or_else(|| {
        StudioError::Png(
            "This picture carries no generation parameters. Drop one made by Adire or by A1111's web UI, as it \
             was saved; sites and chat programs often remove them."
                .to_owned(),
        )
    })
}

/// The whole recipe that a PNG of ours carries; its times are 0. Pixels are not decoded.
///
/// # Errors
/// The bytes are no PNG, or no picture of ours.
pub fn read_recipe(png: &[u8]) -> Result<Recipe, StudioError> {
    let own = texts(png)?.own.ok_or_else(|| {
        let message = "This picture does not carry a recipe of Adire. Only pictures made by Adire, as they were \
                       saved, can be made again exactly.";
        StudioError::Png(message.to_owned())
    })?;
    let unreadable = |error| StudioError::Png(format!("The recipe in this picture cannot be read: {error}."));
    let mut value: serde_json::Value = serde_json::from_str(&own).map_err(unreadable)?;
    if let Some(entry) = value.as_object_mut() {
        entry.entry("seconds").or_insert(0.0.into());
    }
    serde_json::from_value(value).map_err(unreadable)
}

/// The text entries that say how a picture was made.
struct Texts {
    own: Option<String>,
    parameters: Option<String>,
}

fn texts(png: &[u8]) -> Result<Texts, StudioError> {
    if !png.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Err(StudioError::Png("This file is no PNG picture.".to_owned()));
    }
    let mut decoder = Decoder::new_with_limits(std::io::Cursor::new(png), Limits { bytes: READ_LIMIT });
    decoder.set_ignore_iccp_chunk(true);
    // Stops at the first pixel data: programs write their texts before it.
    let reader = decoder.read_info().map_err(|error| {
        StudioError::Png(format!("This PNG file is damaged or too large to read: {error}."))
    })?;
    let info = reader.info();
    let text = |wanted: &str| -> Option<String> {
        let plain = info.uncompressed_latin1_text.iter().find(|chunk| chunk.keyword == wanted);
        // Packed texts stay packed until here; unpacked without a limit, a small file would fill the memory.
        let utf8 = || {
            let mut chunk = info.utf8_text.iter().find(|chunk| chunk.keyword == wanted)?.clone();
            chunk.decompress_text_with_limit(TEXT_LIMIT).ok()?;
            chunk.get_text().ok()
        };
        let packed = || {
            let mut chunk = info.compressed_latin1_text.iter().find(|chunk| chunk.keyword == wanted)?.clone();
            chunk.decompress_text_with_limit(TEXT_LIMIT).ok()?;
            chunk.get_text().ok()
        };
        plain
            .map(|chunk| chunk.text.clone())
            .or_else(utf8)
            .or_else(packed)
            .filter(|text| text.len() <= TEXT_LIMIT)
    };
    Ok(Texts { own: text(ADIRE), parameters: text(PARAMETERS) })
}
