//! One object with a key for each parameter.

use serde_json::{Map, Value};

use super::{given, non_empty, scalar, set_prompt, stem};
use crate::{
    AdapterUse, GenerationRequest, Rng,
    draft::{Draft, size, strength},
};

/// Who wrote it, where that changes how it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Swarm,
    Fooocus,
    Invoke,
    NovelAi,
    Other,
}

/// Keys that say something about an image without a setting of their own here; as [`plain`] writes them.
const INFORMATION: [&str; 38] = [
    "model",
    "basemodel",
    "basemodelhash",
    "modelhash",
    "modelname",
    "version",
    "swarmversion",
    "appversion",
    "metadatascheme",
    "fooocusscheme",
    "createdby",
    "date",
    "generationtime",
    "images",
    "batchsize",
    "batchcount",
    "numberofimages",
    "nsamples",
    "aspectratio",
    "fullprompt",
    "fullnegativeprompt",
    "usestablediffusionmodel",
    "usevaemodel",
    "modelweights",
    "sessionid",
    "outputformat",
    "outputquality",
    "streamprogressupdates",
    "streamimageprogress",
    "showonlyfilteredimage",
    "blocknsfw",
    "requestid",
    "generationmode",
    "requesttype",
    "signedhash",
    "v",
    "sigmas",
    "automaticvae",
];

/// Lower case, letters and digits only: `Guidance Scale`, `guidance_scale` and `guidanceScale` are one key.
fn plain(key: &str) -> String {
    key.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Reads an object; `None`: it has no key that says what was generated.
pub(crate) fn read(object: &Map<String, Value>, program: Program) -> Option<GenerationRequest> {
    let mut rest: Vec<(String, &String, &Value)> =
        object.iter().map(|(key, value)| (plain(key), key, value)).collect();
    let mut take = |names: &[&str]| -> Option<(String, &Value)> {
        names.iter().find_map(|name| {
            let at = rest.iter().position(|(plain, _, value)| plain == name && !value.is_null())?;
            let (_, key, value) = rest.remove(at);
            Some((key.clone(), value))
        })
    };
    let mut draft = Draft::default();
    if let Some((_, text)) = take(&["prompt", "positiveprompt", "positive", "c"]).and_then(of_text) {
        set_prompt(&mut draft, &text);
    }
    if let Some((_, text)) = take(&["negativeprompt", "negative", "uc", "undesiredcontent"]).and_then(of_text)
    {
        draft.found |= !text.trim().is_empty();
        draft.request.negative_prompt = text.trim().to_owned();
    }
    let mut parameters = 0;
    let mut number = |names: &[&str]| {
        let found = take(names).and_then(|(key, value)| Some((key, scalar(value)?)));
        parameters += usize::from(found.is_some());
        found
    };
    if let Some((key, text)) = number(&["seed", "noiseseed"]) {
        draft.seed(&key, &text);
    }
    if let Some((key, text)) = number(&["steps", "numinferencesteps", "samplingsteps"]) {
        draft.request.steps = draft.number(&key, &text, |steps| *steps > 0);
    }
    if let Some((key, text)) = number(&["cfgscale", "guidancescale", "cfg", "scale", "guidance"]) {
        draft.request.guidance = draft.number(&key, &text, |scale: &f64| scale.is_finite());
    }
    let sampler = number(&["sampler", "samplername"]);
    let schedule = number(&["scheduler", "schedulername", "schedule", "scheduletype", "noiseschedule"]);
    // InvokeAI calls the sampler a scheduler.
    let (sampler, schedule) = match (sampler, schedule) {
        (None, Some(schedule)) => (Some(schedule), None),
        both => both,
    };
    let none = (String::new(), String::new());
    let (sampler_key, sampler) = sampler.unwrap_or_else(|| none.clone());
    let (schedule_key, schedule) = schedule.unwrap_or(none);
    let given = |text: &'_ String| !text.is_empty();
    draft.sampler(
        (&sampler_key, &schedule_key),
        Some(&sampler).filter(|text| given(text)).map(String::as_str),
        Some(&schedule).filter(|text| given(text)).map(String::as_str),
    );
    match (number(&["width", "w"]), number(&["height", "h"])) {
        (Some((wide, width)), Some((high, height))) => {
            let width = draft.number(&wide, &width, |side| *side > 0);
            let height = draft.number(&high, &height, |side| *side > 0);
            (draft.request.width, draft.request.height) = (width, height);
        }
        (width, height) => {
            for (key, text) in [width, height].into_iter().flatten() {
                draft.unknown(&key, &text);
            }
        }
    }
    if let Some((key, value)) = take(&["size", "resolution"]) {
        parameters += 1;
        let text = scalar(value).unwrap_or_else(|| value.to_string());
        match size(&text) {
            Some((width, height)) => draft.size(width, height),
            None => draft.unknown(&key, &text),
        }
    }
    // SwarmUI counts from the end: −2 is A1111's 2.
    if let Some((key, value)) = take(&["clipskip", "clipstopatlayer"])
        && let Some(text) = scalar(value)
    {
        let text = text.trim_start_matches('-');
        draft.request.clip_skip =
            if text == "0" { Some(1) } else { draft.number(&key, text, |skip| *skip > 0) };
    }
    let device = take(&["randdevice"]).and_then(|(_, value)| scalar(value));
    draft.request.rng = match (program, device.as_deref()) {
        (_, Some("cuda")) => Some(Rng::Cuda),
        (Program::Swarm | Program::Fooocus | Program::Invoke, _) | (_, Some("cpu")) => Some(Rng::Cpu),
        _ => None,
    };
    // A prompt alone, or numbers alone, may be anything.
    let is_request = parameters > 0 && (draft.found || !draft.request.warnings.is_empty());
    if !is_request || (parameters < 2 && draft.request.prompt.is_empty()) {
        return None;
    }
    let weights = take(&["loraweights"]).map(|(_, value)| strengths(value)).unwrap_or_default();
    for (plain, key, value) in &rest {
        if plain.starts_with("lora") && adapters(value, &weights, &mut draft) {
            continue;
        }
        let off = matches!(non_empty(value).as_deref(), None | Some("1"));
        if ["strength", "denoisingstrength", "promptstrength", "initimagecreativity"]
            .contains(&plain.as_str())
        {
            if !off && let Some(text) = scalar(value) {
                draft.request.denoising_strength =
                    draft.number(key, &text, |strength: &f64| (0.0..=1.0).contains(strength));
            }
        } else if !INFORMATION.contains(&plain.as_str())
            && let Some(text) = non_empty(value)
        {
            draft.unknown(key, &text);
        }
    }
    Some(draft.request)
}

/// A text; of InvokeAI's older lists of weighted prompts the first.
fn of_text((key, value): (String, &Value)) -> Option<(String, String)> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => match list.first()? {
            Value::String(text) => text.clone(),
            first => first.get("prompt")?.as_str()?.to_owned(),
        },
        _ => return None,
    };
    // No JSON becomes a prompt.
    (!super::is_json(&text)).then_some((key, text))
}

/// `["0.8", 1]`, or `0.8,1`, as texts.
fn strengths(value: &Value) -> Vec<Option<String>> {
    match value {
        Value::Array(list) => list.iter().map(given).collect(),
        Value::String(text) => text.split(',').map(|part| Some(part.trim().to_owned())).collect(),
        _ => Vec::new(),
    }
}

/// Takes adapters in any of the forms they have; false: it is none of them.
fn adapters(value: &Value, weights: &[Option<String>], draft: &mut Draft) -> bool {
    let mut add = |name: &str, given: Option<String>| {
        let name = stem(name.trim());
        if name.is_empty() || name == "None" {
            return;
        }
        let strength = given.and_then(|text| draft.strength(name, &text)).unwrap_or(1.0);
        draft.request.adapters.push(AdapterUse::new(name, strength));
    };
    match value {
        // Fooocus: `name.safetensors : 0.5`
        Value::String(text) => match text.rsplit_once(':') {
            Some((name, text)) if strength(text).is_some() => add(name, Some(text.to_owned())),
            _ => return false,
        },
        Value::Array(list) => {
            for (at, item) in list.iter().enumerate() {
                match item {
                    // SwarmUI: names here, strengths in a list of their own.
                    Value::String(name) => add(name, weights.get(at).cloned().flatten()),
                    // Fooocus: `["name.safetensors", 0.5]`
                    Value::Array(pair) => match pair.as_slice() {
                        [Value::String(name), strength, ..] => add(name, given(strength)),
                        _ => return false,
                    },
                    // InvokeAI: `{"model": {"name": …}, "weight": 0.5}`; Draw Things: `{"model": "…", "weight": 0.5}`
                    Value::Object(item) => {
                        let model =
                            item.get("model").or_else(|| item.get("lora")).or_else(|| item.get("name"));
                        let name = model.and_then(|model| {
                            let nested = ["name", "model_name"].iter().find_map(|key| model.get(key));
                            nested.unwrap_or(model).as_str()
                        });
                        match name {
                            Some(name) => add(name, item.get("weight").and_then(given)),
                            None => return false,
                        }
                    }
                    _ => return false,
                }
            }
        }
        Value::Null => {}
        _ => return false,
    }
    true
}
