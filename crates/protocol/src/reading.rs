//! Reads a request from the text chunks of an image file, in the formats of many programs.

use crate::{
    GenerationRequest,
    foreign::{self, is_json},
    infotext,
};

/// A text chunk of an image file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextEntry {
    /// Its keyword in the file: `parameters`, `prompt`, `UserComment`.
    pub key: String,
    /// The text.
    pub text: String,
}

/// The file has no readable generation parameters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No text chunk could hold any.
    #[error("This image has no generation parameters.")]
    Nothing,
    /// JSON of an unknown program, under these keys.
    #[error("This image has JSON under {} in an unknown format; nothing was loaded.", .0.join(", "))]
    NotUnderstood(Vec<String>),
}

/// Keys of A1111's text, or of what others write in its place, the likeliest first; and of comments, which may be
/// anything: there a text counts only if it has parameters.
const TEXTS: [(&str, bool); 10] = [
    ("parameters", false),
    ("Parameters", false),
    ("UserComment", false),
    ("fooocus", false),
    ("Comment", true),
    ("comment", true),
    ("Description", true),
    ("ImageDescription", true),
    ("XPComment", true),
    ("XMP", true),
];

/// Keys under which programs write JSON.
const JSON: [&str; 9] = [
    "invokeai_metadata",
    "sd-metadata",
    "prompt",
    "workflow",
    "invokeai_graph",
    "sui_image_params",
    "generation_data",
    "metadata",
    "Make",
];

/// Reconstructs the request of an image from its text chunks. Parameters that are not understood are listed in it.
///
/// # Errors
/// No generation parameters were found.
pub fn read(entries: &[TextEntry]) -> Result<GenerationRequest, ReadError> {
    let get = |key: &str| entries.iter().find(|entry| entry.key == key).map(|entry| entry.text.trim());
    let mut strange = Vec::new();
    let done = |mut request: GenerationRequest, strange: &[String]| {
        for key in strange {
            request.warnings.push(format!("The JSON under {key} was not understood."));
        }
        Ok(request)
    };
    if let Some(request) = novel_ai(&get) {
        return Ok(request);
    }
    for (key, needs_parameters) in TEXTS {
        let Some(text) = get(key).filter(|text| !text.is_empty()) else { continue };
        if is_json(text) {
            match foreign::read(text) {
                Some(request) => return done(request, &strange),
                None => strange.push(key.to_owned()),
            }
        } else if let Some(request) = infotext::parse(text)
            && (!needs_parameters || request.steps.is_some() || request.seed.is_some())
        {
            return done(request, &strange);
        }
    }
    for key in JSON {
        let Some(text) = get(key).filter(|text| is_json(text)) else { continue };
        match foreign::read(text) {
            Some(request) => return done(request, &strange),
            None => strange.push(key.to_owned()),
        }
    }
    if let Some(request) = by_key(entries) {
        return done(request, &strange);
    }
    match strange.is_empty() {
        true => Err(ReadError::Nothing),
        false => Err(ReadError::NotUnderstood(strange)),
    }
}

/// NovelAI: the prompt under `Description`, the rest as JSON under `Comment`.
fn novel_ai<'a>(get: &impl Fn(&str) -> Option<&'a str>) -> Option<GenerationRequest> {
    let mut object = foreign::object_of(get("Comment")?)?;
    if !(object.contains_key("uc") && object.contains_key("steps")) {
        return None;
    }
    if let Some(description) = get("Description").filter(|_| !object.contains_key("prompt")) {
        object.insert("prompt".to_owned(), description.into());
    }
    foreign::read_flat(&object, foreign::Program::NovelAi)
}

/// Easy Diffusion: a text for each parameter.
fn by_key(entries: &[TextEntry]) -> Option<GenerationRequest> {
    let pair = |entry: &TextEntry| (entry.key.clone(), entry.text.clone().into());
    let object = entries.iter().filter(|entry| !is_json(&entry.text)).map(pair).collect();
    foreign::read_flat(&object, foreign::Program::Other)
}
