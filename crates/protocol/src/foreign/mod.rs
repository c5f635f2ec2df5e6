//! Parameters that other programs write into images as JSON: SwarmUI, Fooocus, InvokeAI, ComfyUI, NovelAI, Draw Things,
//! Easy Diffusion. Key names as these programs' files have them.

mod comfy;
mod flat;

use serde_json::{Map, Value};

pub(crate) use flat::{Program, read as read_flat};

use crate::{GenerationRequest, draft::Draft};

/// Whether a text is JSON, or was before it was damaged: never a prompt.
pub(crate) fn is_json(text: &str) -> bool {
    let text = text.trim();
    if text.starts_with(['{', '[']) && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() {
        return true;
    }
    // `{red|blue} cloth` and `[cloth]` are prompts; what has a colon behind a quote is not, unless A1111's parameters
    // follow it.
    let keys = text.match_indices("\":").count() + text.match_indices("\" :").count();
    let enough = if text.starts_with(['{', '[', '"']) { 1 } else { 3 };
    let damaged = keys >= enough || text.starts_with("{\"") || text.starts_with("[{\"");
    damaged && !crate::infotext::has_parameters(text)
}

/// Reads a JSON text of any program that is known; `None`: it is none of these.
pub(crate) fn read(text: &str) -> Option<GenerationRequest> {
    let value: Value = serde_json::from_str(text.trim()).ok()?;
    read_value(&value, 0)
}

fn read_value(value: &Value, depth: usize) -> Option<GenerationRequest> {
    let object = value.as_object()?;
    let inner = |key: &str| object.get(key).and_then(Value::as_object);
    // SwarmUI
    if let Some(parameters) = inner("sui_image_params") {
        return flat::read(parameters, flat::Program::Swarm);
    }
    if comfy::is_prompt(object) {
        // Civitai's generator adds its own request.
        let asked = object.get("extraMetadata").and_then(Value::as_str).and_then(object_of);
        let graph = comfy::read_prompt(object);
        return graph.or_else(|| flat::read(&asked?, flat::Program::Other));
    }
    if let Some(nodes) = object.get("nodes").and_then(Value::as_array) {
        return comfy::read_workflow(nodes, object.get("links"));
    }
    // Some programs wrap the graph, or their record, once more.
    if depth < 2 {
        for key in ["prompt", "workflow", "parameters", "image", "meta", "metadata", "params"] {
            let nested = match object.get(key) {
                Some(Value::String(text)) if is_json(text) => serde_json::from_str(text).ok(),
                Some(nested @ Value::Object(_)) => Some(nested.clone()),
                _ => None,
            };
            if let Some(read) = nested.and_then(|nested| read_value(&nested, depth + 1)) {
                return Some(read);
            }
        }
    }
    let program = if object.contains_key("positive_prompt") || object.contains_key("rand_device") {
        flat::Program::Invoke
    } else if object.contains_key("adm_guidance") || object.contains_key("ADM Guidance") {
        flat::Program::Fooocus
    } else {
        flat::Program::Other
    };
    flat::read(object, program)
}

/// A JSON object in a text.
pub(crate) fn object_of(text: &str) -> Option<Map<String, Value>> {
    serde_json::from_str(text.trim()).ok()
}

/// A file's name without folders and ending: what an adapter of that file is called.
pub(crate) fn stem(file: &str) -> &str {
    let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
    [".safetensors", ".pt", ".ckpt", ".bin"]
        .iter()
        .find_map(|ending| name.strip_suffix(ending))
        .unwrap_or(name)
}

/// What a number, a text or a switch says; `None` for what says nothing (null, false, 0, empty).
pub(crate) fn non_empty(value: &Value) -> Option<String> {
    match value {
        Value::Null | Value::Bool(false) => None,
        Value::Bool(true) => Some("true".to_owned()),
        Value::Number(number) if number.as_f64() == Some(0.0) => None,
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) if text.trim().is_empty() || text == "None" => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(list) if list.is_empty() => None,
        Value::Object(fields) if fields.is_empty() => None,
        nested => Some(nested.to_string()),
    }
}

/// A number or a text as text.
pub(crate) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        // 20.0 is 20.
        Value::Number(number) => Some(match number.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 9e15) {
            Some(whole) if !number.is_u64() => format!("{whole}"),
            _ => number.to_string(),
        }),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// A value as given, whatever it is; null is none.
fn given(value: &Value) -> Option<String> {
    (!value.is_null()).then(|| scalar(value).unwrap_or_else(|| value.to_string()))
}

/// The prompt of a draft, with its tags taken out.
pub(crate) fn set_prompt(draft: &mut Draft, text: &str) {
    let (prompt, adapters) = crate::infotext::take_lora_tags(text, draft);
    draft.found |= !prompt.is_empty();
    draft.request.prompt = prompt;
    draft.request.adapters.extend(adapters);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_are_told_from_json() {
        let infotext = "{\"a\": b}\nSteps: 2, Sampler: Euler, Seed: 3";
        assert!(!is_json(infotext));
        for json in [
            "{}",
            "1\": {\"a\": [\"b\"], \"c\": 1}",
            "[1]",
            "{\"a\": 1}",
            "{\"a\": ",
            "{\n  \"a\": [",
            "[{\"a\"",
        ] {
            assert!(is_json(json), "{json}");
        }
        for prompt in ["{red|blue} cloth", "[cloth]", "{'red'|blue}", "a {", "", "((a))", "{", "[[x]"] {
            assert!(!is_json(prompt), "{prompt}");
        }
    }

    #[test]
    fn an_adapter_is_called_like_its_file() {
        assert_eq!(stem("styles/a.b\\adire-v2.safetensors"), "adire-v2");
    }
}
