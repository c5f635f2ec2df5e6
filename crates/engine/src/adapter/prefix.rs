//! What stands before a module's path: programs that wrap models, and which model it is of.

use super::format::{Component, Format};

/// Words that stand before a path; none of them begins the path of a module. A word that is the beginning of another
/// comes after it.
const WORDS: [(&str, Option<Component>, Option<Format>); 23] = {
    use Component::{TextEncoder, Unet};
    [
        ("lora_unet", Some(Unet), Some(Format::Kohya)),
        ("lora_te1", Some(TextEncoder), Some(Format::Kohya)),
        ("lora_te", Some(TextEncoder), Some(Format::Kohya)),
        ("oft_unet", Some(Unet), Some(Format::Kohya)),
        ("base_model", None, Some(Format::Peft)),
        ("diffusion_model", Some(Unet), Some(Format::ComfyUi)),
        ("text_encoders", Some(TextEncoder), Some(Format::ComfyUi)),
        ("cond_stage_model", Some(TextEncoder), None),
        ("conditioner_embedders_0", Some(TextEncoder), None),
        ("text_encoder", Some(TextEncoder), None),
        ("clip_l", Some(TextEncoder), None),
        ("te1", Some(TextEncoder), None),
        ("te", Some(TextEncoder), None),
        ("unet", Some(Unet), None),
        ("lycoris", None, Some(Format::Lycoris)),
        ("lora", None, None),
        ("boft", None, None),
        ("oft", None, None),
        ("model", None, None),
        ("module", None, None),
        ("_orig_mod", None, None),
        ("orig_mod", None, None),
        ("transformer", None, None),
    ]
};

/// What the beginning of a name says.
#[derive(Debug, PartialEq)]
pub(super) struct Prefix {
    /// Bytes of it, with the separator behind it.
    pub(super) length: usize,
    pub(super) component: Option<Component>,
    /// Who writes such names.
    pub(super) format: Format,
}

/// All the prefixes of `module`, one inside the other; the innermost says which model it is.
pub(super) fn of(module: &str) -> Prefix {
    let mut prefix = Prefix { length: 0, component: None, format: Format::Diffusers };
    let mut named = None;
    while let Some((length, component, format)) =
        module.get(prefix.length..).and_then(|rest| next(rest, &prefix))
    {
        prefix.length += length;
        prefix.component = component.or(prefix.component);
        named = named.or(format);
    }
    prefix.format = named.unwrap_or(Format::Diffusers);
    prefix
}

fn next(rest: &str, before: &Prefix) -> Option<(usize, Option<Component>, Option<Format>)> {
    WORDS.iter().find_map(|(word, component, format)| {
        let after = skip(rest, word)?;
        // Inside a text encoder's name it is CLIP's; elsewhere it is a model that is no UNet.
        if *word == "transformer" && before.component != Some(Component::TextEncoder) {
            return None;
        }
        // `text_encoder_2` and `text_encoder_3` are other models.
        if after.starts_with(|c: char| c.is_ascii_digit()) && component.is_some() {
            return None;
        }
        Some((rest.len() - after.len(), *component, *format))
    })
}

/// `rest` without `word` and the separator behind it; both separators stand for either.
fn skip<'a>(rest: &'a str, word: &str) -> Option<&'a str> {
    let (found, after) = rest.split_at_checked(word.len())?;
    let same = found
        .bytes()
        .zip(word.bytes())
        .all(|(found, wanted)| found == wanted || (found == b'.' && wanted == b'_'));
    if same { after.strip_prefix(['.', '_']) } else { None }
}
