//! From a text back to the request.

use super::pairs::{Piece, pieces};
use crate::{
    AdapterUse, GenerationRequest, HiresRequest, HiresUpscaler, Rng,
    draft::{Draft, size},
    fields::FIELDS,
    foreign_names::a1111_sampling,
    lora_tag,
};

/// Keys by which a line of parameters is known, beside those of the table of fields.
const TYPICAL: [&str; 4] = ["Size", "Model hash", "Model", "Version"];

/// Parameters that are not read each on its own.
const APART: [&str; 5] = ["denoising_strength", "sampler", "schedule", "clip_skip", "rng"];

/// Keys that say something about an image without a setting of their own here, in lower case.
const INFORMATION: [&str; 27] = [
    "model hash",
    "model",
    "version",
    "lora hashes",
    "ti hashes",
    "ti",
    "hashes",
    "pad conds",
    "app",
    "backend",
    "pipeline",
    "created date",
    "civitai metadata",
    "batch size",
    "batch pos",
    "batch index",
    "user",
    "parser",
    "operations",
    "hires size",
    "hires force",
    "second pass",
    "first pass size",
    "downcast alphas_cumprod",
    "template",
    "negative template",
    "wildcard prompt",
];

/// Reads a text back into a request. Every parameter that can be read is taken; those that cannot, or have no
/// counterpart here, are listed in the request's `unknown` and `warnings`. `None`: neither a prompt nor a parameter.
pub fn parse(text: &str) -> Option<GenerationRequest> {
    let text = text.trim().replace("\r\n", "\n").replace('\r', "\n");
    let (before, parameters, one_line) = split(&text);
    let (prompt, negative) = prompts(before, one_line);
    let mut draft = Draft::default();
    let (prompt, adapters) = take_lora_tags(prompt, &mut draft);
    draft.found = !prompt.is_empty() || !negative.is_empty() || !adapters.is_empty();
    draft.request.adapters = adapters;
    draft.request.prompt = prompt;
    draft.request.negative_prompt = negative.to_owned();
    if !parameters.is_empty() {
        take(pieces(parameters), &mut draft);
    }
    draft.found.then_some(draft.request)
}

/// Whether a text has A1111's parameters.
pub(crate) fn has_parameters(text: &str) -> bool {
    !split(text).1.is_empty()
}

/// What stands before the parameters, the parameters, and whether both are on one line.
fn split(text: &str) -> (&str, &str, bool) {
    // A1111 begins with the steps. The last such line counts: a prompt may quote another image's parameters.
    let lines: Vec<usize> = line_starts(text).filter(|at| is_steps(&text[*at..])).collect();
    for at in lines.into_iter().rev().take(8) {
        let found = pieces(&text[at..]);
        let alone = text[at..].trim().bytes().skip("Steps:".len()).all(|b| b.is_ascii_digit() || b == b' ');
        if alone || typical(&found) >= 2 || found.iter().filter(|piece| is_pair(piece)).count() >= 3 {
            return (&text[..at], &text[at..], false);
        }
    }
    // Other programs begin with something else.
    for at in line_starts(text) {
        let line = text[at..].split('\n').next().unwrap_or_default();
        let known = line.split_once(':').is_some_and(|(key, _)| is_typical(key));
        if known && typical(&pieces(line)) >= 3 {
            return (&text[..at], &text[at..], false);
        }
    }
    // All on one line.
    let words = text
        .match_indices("Steps:")
        .filter(|(at, _)| is_steps(&text[*at..]) && text[..*at].ends_with([' ', '\t', ',', '.']));
    for (at, _) in words.collect::<Vec<_>>().into_iter().rev().take(8) {
        if typical(&pieces(&text[at..])) >= 3 {
            return (text[..at].trim_end(), &text[at..], true);
        }
    }
    (text, "", false)
}

fn line_starts(text: &str) -> impl Iterator<Item = usize> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1))
}

fn is_steps(text: &str) -> bool {
    text.strip_prefix("Steps:")
        .is_some_and(|rest| rest.trim_start_matches(' ').starts_with(|c: char| c.is_ascii_digit()))
}

fn is_typical(key: &str) -> bool {
    let of_table = FIELDS.iter().filter_map(|field| field.infotext);
    of_table.chain(TYPICAL).any(|known| known.eq_ignore_ascii_case(key.trim()))
}

fn is_pair(piece: &Piece) -> bool {
    matches!(piece, Piece::Pair(..))
}

/// How many of the parts have a key that lines of parameters have.
fn typical(pieces: &[Piece]) -> usize {
    pieces.iter().filter(|piece| matches!(piece, Piece::Pair(key, _) if is_typical(key))).count()
}

/// Prompt and negative prompt.
fn prompts(text: &str, one_line: bool) -> (&str, &str) {
    const NEGATIVE: &str = "Negative prompt:";
    let at_line = line_starts(text).find(|at| text[*at..].starts_with(NEGATIVE));
    let at = at_line.or_else(|| one_line.then(|| text.find(NEGATIVE)).flatten());
    match at {
        Some(at) => (text[..at].trim(), text[at + NEGATIVE.len()..].trim()),
        None => (text.trim(), ""),
    }
}

/// The pairs that are still to be read.
struct Pairs(Vec<(String, String)>);

impl Pairs {
    /// Takes a value out; of several with one key the last counts, as in A1111.
    fn take(&mut self, key: &str) -> Option<(String, String)> {
        let at = self.0.iter().rposition(|(known, _)| known.eq_ignore_ascii_case(key))?;
        let pair = self.0.remove(at);
        self.0.retain(|other| *other != pair);
        Some(pair)
    }

    fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(known, _)| known.eq_ignore_ascii_case(key))
    }
}

/// Takes every parameter over.
fn take(pieces: Vec<Piece>, draft: &mut Draft) {
    let mut pairs = Pairs(Vec::new());
    for piece in pieces {
        match piece {
            Piece::Pair(key, value) => pairs.0.push((key, value)),
            Piece::Flag(text) => draft.unknown(&text, ""),
        }
    }
    let positive = |number: &f64| number.is_finite() && *number > 0.0;
    let is_apart = |name: &str| APART.contains(&name) || name.starts_with("hires.");
    for field in FIELDS.iter().filter(|field| !is_apart(field.name)) {
        if let Some((key, text)) = field.infotext.and_then(|key| pairs.take(key)) {
            draft.field(field, &key, &text);
        }
    }
    let (name, schedule) = (pairs.take("Sampler"), pairs.take("Schedule type"));
    sampler(draft, name.as_ref(), schedule.as_ref());
    if let Some((key, text)) = pairs.take("Size") {
        match size(&text) {
            Some((width, height)) => draft.size(width, height),
            None => draft.unknown(&key, &text),
        }
    }
    // A1111 writes these only where they are not what it does by default.
    draft.request.clip_skip = match pairs.take("Clip skip") {
        Some((key, text)) => draft.number(&key, &text, |skip| *skip > 0),
        None => Some(1),
    };
    draft.request.rng = match pairs.take("RNG") {
        Some((key, text)) => text.parse().inspect_err(|_| draft.unknown(&key, &text)).ok(),
        None => {
            let version = pairs.0.iter().find(|(key, _)| key == "Version");
            version.is_none_or(|(_, version)| is_a1111(version)).then_some(Rng::Cuda)
        }
    };
    let strength = pairs
        .take("Denoising strength")
        .and_then(|(key, text)| draft.number(&key, &text, |strength: &f64| (0.0..=1.0).contains(strength)));
    let hires = hires(&mut pairs, draft, strength, positive);
    draft.request.denoising_strength = strength.filter(|_| hires.is_none());
    draft.request.hires = hires;
    for (key, value) in pairs.0 {
        if key.eq_ignore_ascii_case("Civitai resources") {
            resources(&value, draft);
        } else if !INFORMATION.contains(&key.to_lowercase().as_str()) {
            draft.unknown(&key, &value);
        }
    }
    draft.found = true;
}

fn sampler(draft: &mut Draft, name: Option<&(String, String)>, schedule: Option<&(String, String)>) {
    let schedule_type = schedule.map(|(_, text)| text.as_str());
    match name.map(|(_, name)| (name, a1111_sampling(name, schedule_type))) {
        Some((_, Some((sampling, exact)))) => {
            draft.sampling(sampling);
            if let Some((key, text)) = schedule.filter(|_| !exact) {
                draft.unknown(key, text);
            }
        }
        // A program that wrote its own names in A1111's form.
        name => {
            let name = name.map(|(name, _)| name.as_str());
            draft.sampler(("Sampler", "Schedule type"), name, schedule_type);
        }
    }
}

/// The second pass, where there was one.
fn hires(
    pairs: &mut Pairs,
    draft: &mut Draft,
    strength: Option<f64>,
    positive: impl Fn(&f64) -> bool,
) -> Option<HiresRequest> {
    let has = ["Hires upscale", "Hires resize", "Hires upscaler"].iter().any(|key| pairs.has(key));
    if !has {
        return None;
    }
    let off = pairs.0.iter().any(|(key, value)| key == "Second pass" && value == "False");
    // 0 in both means that the factor counts, 0 in one that it follows from the other.
    let resized = pairs.take("Hires resize").and_then(|(key, text)| match size(&text) {
        Some((0, 0)) => None,
        Some(size) => Some(in_proportion(size, &draft.request)),
        None => {
            draft.unknown(&key, &text);
            None
        }
    });
    let scale = pairs.take("Hires upscale").filter(|(_, text)| resized.is_none() && text.trim() != "0");
    let scale = scale.and_then(|(key, text)| draft.number(&key, &text, &positive));
    let steps = pairs.take("Hires steps").filter(|(_, text)| text.trim() != "0");
    // A1111's 0 stands for those of the first pass.
    let steps = steps.and_then(|(key, text)| draft.number(&key, &text, |steps| *steps > 0));
    let upscaler = pairs.take("Hires upscaler").map(|(_, label)| label);
    if let Some((key, name)) = pairs.take("Hires sampler") {
        let read = a1111_sampling(&name, None).map(|(sampling, _)| sampling);
        // Ours has the sampler of the first pass, which is what these say.
        let same = ["", "Use same sampler"].contains(&name.as_str());
        let first_passes = read.is_some() && read == draft.request.sampling();
        if !same && !first_passes {
            draft.unknown(&key, &name);
        }
    }
    let none = |text: &String| text.is_empty() || text == "None";
    if off || (resized.is_none() && scale.is_none() && upscaler.as_ref().is_none_or(none)) {
        return None;
    }
    if let Some(label) = &upscaler
        && !label.trim().eq_ignore_ascii_case(HiresUpscaler::from_label(label).label())
    {
        let used = match HiresUpscaler::from_label(label) {
            HiresUpscaler::Latent => "latents are enlarged bilinearly",
            HiresUpscaler::Image => "the image is enlarged by Lanczos's filter",
        };
        draft.warn(format!("The hires upscaler “{}” does not exist here; {used}.", crate::draft::cut(label)));
    }
    Some(HiresRequest {
        scale,
        width: resized.map(|(width, _)| width),
        height: resized.map(|(_, height)| height),
        denoising_strength: strength,
        steps,
        upscaler: upscaler.map(|label| HiresUpscaler::from_label(&label)),
    })
}

/// A size of which one side may be 0: in proportion to the first pass, in steps of 8 pixels.
fn in_proportion(size: (u32, u32), request: &GenerationRequest) -> (u32, u32) {
    let (Some(width), Some(height)) = (request.width, request.height) else { return size };
    let side = |given: u32, own: u32, other: u32| {
        let exact = f64::from(given) * f64::from(own) / f64::from(other.max(1));
        ((exact / 8.0).round() * 8.0) as u32
    };
    match size {
        (0, given) => (side(given, width, height), given),
        (given, 0) => (given, side(given, height, width)),
        both => both,
    }
}

/// Civitai's list of what an image was made with names adapters that its prompt does not.
fn resources(json: &str, draft: &mut Draft) {
    let Ok(serde_json::Value::Array(list)) = serde_json::from_str(json) else {
        return draft.unknown("Civitai resources", json);
    };
    for resource in &list {
        let text = |key: &str| resource.get(key).and_then(serde_json::Value::as_str).unwrap_or_default();
        if text("type") == "checkpoint" {
            continue;
        }
        let name = [text("modelName"), text("modelVersionName")].into_iter().filter(|name| !name.is_empty());
        let mut shown = name.collect::<Vec<_>>().join(" ");
        if let Some(id) = resource.get("modelVersionId") {
            shown.push_str(&format!(" (model version {id})"));
        }
        if let Some(weight) = resource.get("weight") {
            shown.push_str(&format!(" at strength {weight}"));
        }
        draft.unknown(&format!("Civitai {}", text("type")), &shown);
    }
}

/// Whether a text's `Version` is A1111's (`v1.10.1`) or that of Forge, its fork (`f2.0.1`).
fn is_a1111(version: &str) -> bool {
    version.strip_prefix(['v', 'f']).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// Takes `<lora:…>` tags out of a prompt. Of one that says more than its strengths, the strengths count and the rest is
/// noted.
pub(crate) fn take_lora_tags(prompt: &str, draft: &mut Draft) -> (String, Vec<AdapterUse>) {
    let (mut kept, mut adapters, mut at) = (String::new(), Vec::new(), 0);
    for tag in lora_tag::find(prompt) {
        kept.push_str(prompt[at..tag.range.start].trim_end());
        at = tag.range.end;
        let (adapter, rest) = match tag.adapter {
            Ok(adapter) => (adapter, Vec::new()),
            Err(_) => lora_tag::read_in_part(&prompt[tag.name.start..tag.range.end - 1]),
        };
        if !rest.is_empty() {
            draft.warn(format!(
                "Block weights are not used: {} has strength {}, without “{}”.",
                crate::draft::cut(&adapter.name),
                adapter.strength,
                crate::draft::cut(&rest.join(":"))
            ));
        }
        if !adapter.name.is_empty() {
            adapters.push(AdapterUse { in_prompt: false, ..adapter });
        }
    }
    kept.push_str(&prompt[at..]);
    for (at, _) in kept.match_indices("<hypernet:") {
        draft.warn(format!(
            "Hypernetworks are not used: “{}” stays in the prompt as text.",
            crate::draft::cut(kept[at..].split_inclusive('>').next().unwrap_or_default())
        ));
    }
    (kept.trim().to_owned(), adapters)
}
