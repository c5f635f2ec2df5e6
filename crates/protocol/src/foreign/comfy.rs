//! ComfyUI's graphs: the `prompt` that was executed, or the `workflow` of its editor. Values are found by following links
//! from a sampler backwards. Links may go in circles or lead nowhere.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{given, scalar, stem};
use crate::{AdapterUse, GenerationRequest, Rng, draft::Draft, infotext::take_lora_tags};

/// Longest chain of links that is followed.
const MAX_DEPTH: usize = 64;

/// Nodes whose effect is read, or that have none on the image.
const UNDERSTOOD: [&str; 24] = [
    "CLIPSetLastLayer",
    "CLIPTextEncode",
    "CLIPTextEncodeSDXL",
    "CheckpointLoader",
    "CheckpointLoaderSimple",
    "EmptyLatentImage",
    "KSampler",
    "KSamplerAdvanced",
    "KSamplerSelect",
    "BasicScheduler",
    "KarrasScheduler",
    "BasicGuider",
    "CFGGuider",
    "RandomNoise",
    "SamplerCustom",
    "SamplerCustomAdvanced",
    "LoraLoader",
    "LoraLoaderModelOnly",
    "MarkdownNote",
    "Note",
    "PreviewImage",
    "Reroute",
    "SaveImage",
    "VAEDecode",
];

struct Node {
    class: String,
    inputs: Map<String, Value>,
}

/// A graph: nodes by their id.
struct Graph(BTreeMap<String, Node>);

/// Whether an object is a graph in the form that is executed.
pub(super) fn is_prompt(object: &Map<String, Value>) -> bool {
    object.values().any(|node| node.get("class_type").is_some_and(Value::is_string))
}

/// Reads the form that is executed: `{"3": {"class_type": "KSampler", "inputs": {…}}, …}`.
pub(super) fn read_prompt(object: &Map<String, Value>) -> Option<GenerationRequest> {
    let node = |(id, node): (&String, &Value)| {
        let class = node.get("class_type")?.as_str()?.to_owned();
        let inputs = node.get("inputs").and_then(Value::as_object).cloned().unwrap_or_default();
        Some((id.clone(), Node { class, inputs }))
    };
    Graph(object.iter().filter_map(node).collect()).read()
}

/// Reads the editor's form: nodes with the values of their widgets in order, and links apart.
pub(super) fn read_workflow(nodes: &[Value], links: Option<&Value>) -> Option<GenerationRequest> {
    let mut from = BTreeMap::new();
    for link in links.and_then(Value::as_array).into_iter().flatten() {
        // [link, from, slot, to, slot, type]
        if let Some([link, node, slot, ..]) = link.as_array().map(Vec::as_slice)
            && let (Some(link), Some(node)) = (link.as_i64(), scalar(node))
        {
            from.insert(link, Value::from(vec![Value::from(node), slot.clone()]));
        }
    }
    let mut graph = BTreeMap::new();
    for node in nodes {
        let (Some(id), Some(class)) =
            (node.get("id").and_then(scalar), node.get("type").and_then(Value::as_str))
        else {
            continue;
        };
        let mut inputs = Map::new();
        // 2: switched off; 4: passed through.
        let mode = node.get("mode").and_then(Value::as_i64).unwrap_or_default();
        if mode == 2 {
            continue;
        }
        match node.get("widgets_values") {
            Some(Value::Array(values)) if mode != 4 => {
                for (name, value) in widgets(class).iter().zip(values) {
                    inputs.insert((*name).to_owned(), value.clone());
                }
            }
            Some(Value::Object(values)) if mode != 4 => inputs = values.clone(),
            _ => {}
        }
        for input in node.get("inputs").and_then(Value::as_array).into_iter().flatten() {
            if let Some(name) = input.get("name").and_then(Value::as_str)
                && let Some(link) = input.get("link").and_then(Value::as_i64).and_then(|link| from.get(&link))
            {
                inputs.insert(name.to_owned(), link.clone());
            }
        }
        let class = if mode == 4 { "Reroute" } else { class }.to_owned();
        graph.insert(id, Node { class, inputs });
    }
    Graph(graph).read()
}

/// Names of a node's widgets in the editor's order.
fn widgets(class: &str) -> &'static [&'static str] {
    match class {
        "KSampler" => &["seed", "", "steps", "cfg", "sampler_name", "scheduler", "denoise"],
        "KSamplerAdvanced" => &[
            "add_noise",
            "noise_seed",
            "",
            "steps",
            "cfg",
            "sampler_name",
            "scheduler",
            "start_at_step",
            "end_at_step",
        ],
        "SamplerCustom" => &["add_noise", "noise_seed", "", "cfg"],
        "RandomNoise" => &["noise_seed"],
        "KSamplerSelect" => &["sampler_name"],
        "BasicScheduler" => &["scheduler", "steps", "denoise"],
        "CFGGuider" => &["cfg"],
        "CLIPTextEncode" => &["text"],
        "CLIPSetLastLayer" => &["stop_at_clip_layer"],
        "LoraLoader" => &["lora_name", "strength_model", "strength_clip"],
        "LoraLoaderModelOnly" => &["lora_name", "strength_model"],
        class if class.starts_with("Empty") && class.contains("Latent") => &["width", "height", "batch_size"],
        "CheckpointLoaderSimple" => &["ckpt_name"],
        // Texts and numbers of their own.
        _ => &["value"],
    }
}

impl Graph {
    fn read(&self) -> Option<GenerationRequest> {
        let mut samplers: Vec<&String> =
            self.0.iter().filter(|(_, n)| n.is_sampler()).map(|(id, _)| id).collect();
        let passes = samplers.len();
        samplers.truncate(64);
        // The pass that begins with empty latents is the first; then the lowest number.
        samplers.sort_by_key(|id| (self.size(id).is_none(), id.parse::<u64>().unwrap_or(u64::MAX)));
        let first = *samplers.first()?;
        let mut draft = Draft::default();
        if passes > 1 {
            draft.warn(format!(
                "The ComfyUI graph samples {} times; only the first pass (node {}) was read.",
                passes,
                crate::draft::cut(first)
            ));
        }
        self.numbers(first, &mut draft);
        let prompt = self.texts(first, "positive", &mut draft);
        let negative = self.texts(first, "negative", &mut draft);
        let (prompt, tags) = take_lora_tags(&prompt, &mut draft);
        draft.found |= !prompt.is_empty();
        draft.request.prompt = prompt;
        draft.request.negative_prompt = negative;
        let mut adapters = self.adapters(first, &mut draft);
        adapters.extend(tags);
        draft.request.adapters = adapters;
        draft.request.rng = Some(Rng::Cpu);
        let mut others: BTreeSet<&str> = self.0.values().map(|node| node.class.as_str()).collect();
        let is_latent = |class: &str| class.starts_with("Empty") && class.contains("Latent");
        others.retain(|class| !UNDERSTOOD.contains(class) && !is_latent(class));
        for class in others {
            draft.unknown("ComfyUI node", class);
        }
        draft.found.then_some(draft.request)
    }

    /// Seed, steps, guidance, sampler, size, clip skip, denoising strength.
    fn numbers(&self, id: &str, draft: &mut Draft) {
        let seed = self.value(id, "seed").or_else(|| self.value(id, "noise_seed"));
        if let Some(seed) = seed {
            draft.seed("seed", &seed);
        }
        let steps = self.value(id, "steps");
        if let Some(text) = &steps {
            draft.request.steps = draft.number("steps", text, |steps| *steps > 0);
        }
        if let Some(text) = self.value(id, "cfg") {
            draft.request.guidance = draft.number("cfg", &text, |scale: &f64| scale.is_finite());
        }
        let (sampler, schedule) = (self.value(id, "sampler_name"), self.value(id, "scheduler"));
        let karras = self.0.values().any(|node| node.class == "KarrasScheduler");
        let schedule = schedule.or_else(|| karras.then(|| "karras".to_owned()));
        draft.sampler(("sampler_name", "scheduler"), sampler.as_deref(), schedule.as_deref());
        if let Some((width, height)) = self.size(id) {
            draft.size(width, height);
        }
        draft.request.clip_skip = Some(1);
        if let Some(layer) = self.up(id, &["positive", "clip", "conditioning", "guider"], |node| {
            node.inputs.get("stop_at_clip_layer").and_then(Value::as_i64)
        }) {
            draft.request.clip_skip = u32::try_from(layer.unsigned_abs()).ok().filter(|skip| *skip > 0);
        }
        if let Some(text) = self.value(id, "denoise").filter(|text| !matches!(text.as_str(), "1" | "1.0")) {
            draft.request.denoising_strength =
                draft.number("denoise", &text, |strength: &f64| (0.0..=1.0).contains(strength));
        }
        if let Some(start) = self.value(id, "start_at_step").filter(|start| start != "0") {
            draft.unknown("start_at_step", &start);
        }
        let end = self.value(id, "end_at_step").and_then(|end| end.parse::<u64>().ok());
        if let (Some(end), Some(steps)) = (end, steps.and_then(|steps| steps.parse::<u64>().ok()))
            && end < steps
        {
            draft.unknown("end_at_step", &end.to_string());
        }
    }

    /// A sampler's value, which may stand in the nodes that it delegates to.
    fn value(&self, id: &str, name: &str) -> Option<String> {
        self.up(id, &["sampler", "sigmas", "noise", "guider"], |node| {
            node.inputs.get(name).and_then(|value| self.literal(value, name, 0))
        })
    }

    /// A number or text, or the one that a link leads to.
    fn literal(&self, value: &Value, name: &str, depth: usize) -> Option<String> {
        if let Some(text) = scalar(value) {
            return Some(text);
        }
        let node = self.0.get(&linked(value)?.0)?;
        let names =
            [name, "value", "seed", "noise_seed", "int", "float", "number", "text", "string", "Number"];
        let found = names.iter().find_map(|name| node.inputs.get(*name)).or_else(|| {
            // Reroutes have one input of any name.
            (node.inputs.len() == 1).then(|| node.inputs.values().next()).flatten()
        })?;
        (depth < MAX_DEPTH).then(|| self.literal(found, name, depth + 1)).flatten()
    }

    /// The first node, from `id` on along inputs of these names, that `find` finds something in.
    fn up<T>(&self, id: &str, along: &[&str], find: impl Fn(&Node) -> Option<T>) -> Option<T> {
        let (mut seen, mut next) = (BTreeSet::new(), std::collections::VecDeque::from([id.to_owned()]));
        while let Some(id) = next.pop_front() {
            let Some(node) = self.0.get(&id).filter(|_| seen.len() < 4096) else { continue };
            if !seen.insert(id) {
                continue;
            }
            if let Some(found) = find(node) {
                return Some(found);
            }
            // Beyond another sampler is another pass.
            if seen.len() > 1 && node.is_sampler() {
                continue;
            }
            let passed = |name: &String| along.contains(&name.as_str()) || node.class == "Reroute";
            next.extend(
                node.inputs
                    .iter()
                    .filter(|(name, _)| passed(name))
                    .filter_map(|(_, v)| linked(v))
                    .map(|l| l.0),
            );
        }
        None
    }

    /// Width and height of the empty latents that a sampler begins with.
    fn size(&self, id: &str) -> Option<(u32, u32)> {
        self.up(id, &["latent_image", "latent", "samples"], |node| {
            let side = |name: &str| {
                let text = self.literal(node.inputs.get(name)?, name, 0)?;
                text.parse().ok().filter(|side: &u32| *side > 0)
            };
            (!node.is_sampler() && node.class.starts_with("Empty"))
                .then(|| Some((side("width")?, side("height")?)))?
        })
    }

    /// The texts that lead to a sampler's `positive` or `negative`.
    fn texts(&self, sampler: &str, side: &str, draft: &mut Draft) -> String {
        let (mut seen, mut texts) = (BTreeSet::new(), Vec::new());
        let mut next = vec![(sampler.to_owned(), side.to_owned())];
        while let Some((id, side)) = next.pop() {
            let Some(node) = self.0.get(&id).filter(|_| seen.len() < 4096) else { continue };
            if !seen.insert((id.clone(), side.clone())) {
                continue;
            }
            if id != sampler {
                let text =
                    ["text", "text_g", "text_l", "prompt"].iter().find_map(|name| node.inputs.get(*name));
                if let Some(text) = text.and_then(|text| self.text(text, 0)) {
                    texts.push(text);
                    continue;
                }
            }
            let mut inputs: Vec<_> = node.inputs.iter().collect();
            inputs.reverse();
            for (name, value) in inputs {
                let Some((to, slot)) = linked(value) else { continue };
                let passes = *name == side
                    || name == "guider"
                    || (id != sampler && (name.starts_with("conditioning") || node.class == "Reroute"));
                if passes {
                    // A node with two outputs gives the negative conditioning second.
                    let side = if slot == 1 { "negative" } else { &side };
                    next.push((to, side.to_owned()));
                }
            }
        }
        texts.dedup();
        if texts.len() > 1 {
            draft.warn(format!(
                "The ComfyUI graph combines {} texts as {side} prompt; they were joined.",
                texts.len()
            ));
        }
        texts.iter().map(|text| text.trim()).filter(|text| !text.is_empty()).collect::<Vec<_>>().join(", ")
    }

    /// A text, or those that a link leads to, joined.
    fn text(&self, value: &Value, depth: usize) -> Option<String> {
        if let Some(text) = value.as_str() {
            return Some(text.to_owned());
        }
        let node = self.0.get(&linked(value)?.0).filter(|_| depth < 16)?;
        // What wildcards became goes before what they were.
        if let Some(text) = node.inputs.get("populated_text").and_then(Value::as_str) {
            return Some(text.to_owned());
        }
        let is_text = |name: &str| {
            ["text", "string", "prompt", "value", "STRING", "wildcard"]
                .iter()
                .any(|start| name.starts_with(start))
        };
        let parts: Vec<String> = node
            .inputs
            .iter()
            .filter(|(name, value)| is_text(name) || (node.class == "Reroute" && !value.is_string()))
            .take(8)
            .filter_map(|(_, value)| self.text(value, depth + 4))
            .filter(|text| !text.trim().is_empty())
            .collect();
        Some(parts.join(" "))
    }

    /// The adapters between a sampler and its checkpoint, the first applied first.
    fn adapters(&self, id: &str, draft: &mut Draft) -> Vec<AdapterUse> {
        let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
        let mut next = linked_input(self.0.get(id), &["model", "guider"]);
        while let Some(id) = next.filter(|id| seen.insert(id.clone())) {
            let Some(node) = self.0.get(&id) else { break };
            let mut here = node.adapters(|value, name| self.literal(value, name, 0), draft);
            here.reverse();
            found.extend(here);
            next = linked_input(Some(node), &["model", "guider", ""]);
        }
        found.reverse();
        found
    }
}

impl Node {
    fn is_sampler(&self) -> bool {
        let has = |name: &str| self.inputs.get(name).is_some();
        has("latent_image") && (has("positive") || has("guider")) && self.class.contains("ampler")
    }

    /// The adapters that a node loads.
    fn adapters(
        &self,
        literal: impl Fn(&Value, &str) -> Option<String>,
        draft: &mut Draft,
    ) -> Vec<AdapterUse> {
        let mut one = |inputs: &Map<String, Value>, name: &str| {
            let file =
                inputs.get(name).and_then(|value| literal(value, name)).filter(|file| file != "None")?;
            let name = stem(&file);
            let mut number = |names: [&str; 2]| {
                names.into_iter().find_map(|key| {
                    let value = inputs.get(key)?;
                    let text = literal(value, key).or_else(|| given(value))?;
                    draft.strength(name, &text)
                })
            };
            let strength = number(["strength_model", "strength"]).unwrap_or(1.0);
            let te = number(["strength_clip", "strengthTwo"]).unwrap_or(strength);
            let te_strength = (te != strength).then_some(te);
            Some(AdapterUse { te_strength, ..AdapterUse::new(name, strength) })
        };
        if let Some(adapter) = one(&self.inputs, "lora_name") {
            return vec![adapter];
        }
        // Loaders of several: `"lora_1": {"on": true, "lora": "…", "strength": 0.5}`
        self.inputs
            .iter()
            .filter_map(|(_, value)| value.as_object())
            .filter(|row| row.get("on").and_then(Value::as_bool).unwrap_or(true))
            .filter_map(|row| one(row, "lora"))
            .collect()
    }
}

/// `["3", 0]`: a node and its output.
fn linked(value: &Value) -> Option<(String, u64)> {
    match value.as_array()?.as_slice() {
        [node, slot] => Some((scalar(node)?, slot.as_u64()?)),
        _ => None,
    }
}

/// Where the first of these inputs leads; `""`: the only input that leads anywhere.
fn linked_input(node: Option<&Node>, names: &[&str]) -> Option<String> {
    let node = node?;
    names
        .iter()
        .find_map(|name| match *name {
            "" if node.class == "Reroute" => node.inputs.values().find_map(linked),
            name => node.inputs.get(name).and_then(linked),
        })
        .map(|(id, _)| id)
}
