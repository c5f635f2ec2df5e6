//! Parameters that other programs write into images as JSON: SwarmUI, Fooocus, InvokeAI, ComfyUI, NovelAI, Draw Things,
//! Easy Diffusion. Key names as these programs' files have them.

mod comfy;
mod flat;

use serde_json::{Map, Value};

pub(crate) use flat::{Program, read as read_flat};

use crate::{GenerationRequest, Sampler, Sampling, Schedule, draft::Draft};

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

/// Which sampler and schedule of ours the names of another program stand for, and whether nothing of the two is lost.
pub(crate) fn sampling(name: &str, schedule: Option<&str>) -> (Option<Sampling>, bool) {
    let plain: String = name
        .to_lowercase()
        .replace("++", "pp")
        .chars()
        .map(|c| if c.is_alphanumeric() { c } else { '_' })
        .collect();
    let mut plain = plain.trim_matches('_').trim_start_matches("k_").trim_end_matches("_gpu");
    let mut schedule = schedule.map(|text| text.trim().to_lowercase()).unwrap_or_default();
    for suffix in ["_karras", "_ka", "_k"] {
        if let Some(rest) = plain.strip_suffix(suffix).filter(|_| schedule.is_empty() || schedule == "karras")
        {
            (plain, schedule) = (rest, "karras".to_owned());
            break;
        }
    }
    let karras = schedule == "karras";
    // What each program calls the sigmas of training.
    let usual = ["", "normal", "native", "default", "automatic", "uniform"].contains(&schedule.as_str());
    let sampler = match plain.replace("dpm_pp", "dpmpp").replace("dpm__", "dpmpp_").as_str() {
        "euler" => Sampler::Euler,
        "euler_ancestral" | "euler_a" => Sampler::EulerA,
        "heun" => Sampler::Heun,
        "dpmpp_2m" => Sampler::Dpmpp2m,
        "dpmpp_sde" => Sampler::DpmppSde,
        "dpmpp_2m_sde" => Sampler::Dpmpp2mSde,
        "ddim" => Sampler::Ddim,
        "pndm" | "plms" => Sampler::Pndm,
        "unipc" | "uni_pc" | "uni_pc_bh2" => Sampler::UniPc,
        "lcm" => Sampler::Lcm,
        _ => return (None, false),
    };
    let asked = Sampling { sampler, schedule: if karras { Schedule::Karras } else { Schedule::Normal } };
    // LCM has timesteps of its own, whatever schedule is named.
    let any = sampler == Sampler::Lcm || (sampler == Sampler::Ddim && schedule == "ddim_uniform");
    match asked.is_supported() {
        true => (Some(asked), karras || usual || any),
        false => (Some(sampler.bare()), any),
    }
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
    fn samplers_go_by_many_names() {
        let read = |name: &str, schedule: &str| sampling(name, Some(schedule).filter(|s| !s.is_empty()));
        assert_eq!(read("euler_ancestral", "normal"), (Some(Sampler::EulerA.bare()), true));
        assert_eq!(read("k_euler_ancestral", "native"), (Some(Sampler::EulerA.bare()), true));
        assert_eq!(read("euler_ancestral", "karras"), (Some(Sampler::EulerA.bare()), false));
        assert_eq!(read("dpmpp_2m_sde_gpu", "karras"), (Some(Sampler::Dpmpp2mSde.automatic()), true));
        assert_eq!(read("dpmpp_2m_k", ""), (Some(Sampler::Dpmpp2m.automatic()), true));
        assert_eq!(read("dpmpp_2m", "exponential"), (Some(Sampler::Dpmpp2m.bare()), false));
        assert_eq!(read("DPM++ 2M Karras", ""), (Some(Sampler::Dpmpp2m.automatic()), true));
        assert_eq!(read("uni_pc", "simple"), (Some(Sampler::UniPc.bare()), false));
        assert_eq!(read("res_multistep", "normal"), (None, false));
        assert_eq!(stem("styles/a.b\\adire-v2.safetensors"), "adire-v2");
    }
}
