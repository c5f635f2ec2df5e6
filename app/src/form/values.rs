//! What the fields hold, as text.

use adire_protocol::{AdapterUse, GenerationRequest, GenerationSpec, ModelInfo, Rng, lora_tag};
use serde::{Deserialize, Serialize};

/// Every field of the form under its `name`, as it was typed. An empty text means: not said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct FormValues {
    pub(crate) prompt: String,
    pub(crate) negative_prompt: String,
    /// Empty: a new one for each request.
    pub(crate) seed: String,
    pub(crate) steps: String,
    pub(crate) guidance: String,
    /// `256x256`, or `custom`: then `width` and `height` count.
    pub(crate) size: String,
    pub(crate) width: String,
    pub(crate) height: String,
    pub(crate) sampler: String,
    pub(crate) rng: String,
    pub(crate) count: String,
    pub(crate) clip_skip: String,
    pub(crate) adapters: Vec<AdapterRow>,
}

/// One adapter row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct AdapterRow {
    /// `name@vN`; empty: the row is switched off.
    pub(crate) name: String,
    /// Empty: 1.
    pub(crate) strength: String,
}

impl FormValues {
    /// What the form starts with.
    pub(crate) fn defaults(model: &ModelInfo) -> Self {
        let defaults = &model.defaults;
        Self {
            steps: defaults.steps.to_string(),
            guidance: defaults.guidance.to_string(),
            size: format!("{}x{}", defaults.width, defaults.height),
            width: defaults.width.to_string(),
            height: defaults.height.to_string(),
            sampler: defaults.sampler.name().to_owned(),
            rng: Rng::default().name().to_owned(),
            count: "1".to_owned(),
            clip_skip: "1".to_owned(),
            ..Self::default()
        }
    }

    /// What `over` says, and for the rest what `self` says. Adapters are taken as a whole.
    pub(crate) fn overlaid(self, over: Self) -> Self {
        let pick = |base: String, over: String| if over.is_empty() { base } else { over };
        Self {
            prompt: pick(self.prompt, over.prompt),
            negative_prompt: pick(self.negative_prompt, over.negative_prompt),
            seed: pick(self.seed, over.seed),
            steps: pick(self.steps, over.steps),
            guidance: pick(self.guidance, over.guidance),
            size: pick(self.size, over.size),
            width: pick(self.width, over.width),
            height: pick(self.height, over.height),
            sampler: pick(self.sampler, over.sampler),
            rng: pick(self.rng, over.rng),
            count: pick(self.count, over.count),
            clip_skip: pick(self.clip_skip, over.clip_skip),
            adapters: if over.adapters.is_empty() { self.adapters } else { over.adapters },
        }
    }

    /// The fields that a request names; the others stay empty.
    pub(crate) fn of_request(request: &GenerationRequest) -> Self {
        let text = |value: Option<String>| value.unwrap_or_default();
        let size = request.width.zip(request.height).map(|(width, height)| format!("{width}x{height}"));
        // A row has one strength; an adapter with two is a tag in the prompt.
        let mut prompt = request.prompt.clone();
        let (apart, rows): (Vec<_>, Vec<_>) =
            request.adapters.iter().partition(|a| a.text_encoder_strength() != a.strength);
        for adapter in apart {
            prompt.push(' ');
            prompt.push_str(&lora_tag::write(adapter));
        }
        Self {
            prompt,
            negative_prompt: request.negative_prompt.clone(),
            seed: text(request.seed.map(|seed| seed.to_string())),
            steps: text(request.steps.map(|steps| steps.to_string())),
            guidance: text(request.guidance.map(|guidance| guidance.to_string())),
            size: text(size),
            width: text(request.width.map(|width| width.to_string())),
            height: text(request.height.map(|height| height.to_string())),
            sampler: text(request.sampler.map(|sampler| sampler.name().to_owned())),
            rng: text(request.rng.map(|rng| rng.name().to_owned())),
            count: text(request.count.map(|count| count.to_string())),
            clip_skip: text(request.clip_skip.map(|clip_skip| clip_skip.to_string())),
            adapters: rows.into_iter().map(AdapterRow::of_use).collect(),
        }
    }

    /// Everything that made a picture.
    pub(crate) fn of_spec(spec: &GenerationSpec) -> Self {
        Self::of_request(&spec.clone().into())
    }
}

impl AdapterRow {
    /// Whether it asks for anything.
    pub(crate) fn is_on(&self) -> bool {
        !self.name.trim().is_empty()
    }

    /// The row that asks for this.
    pub(crate) fn of_use(adapter: &AdapterUse) -> Self {
        Self { name: adapter.name.clone(), strength: adapter.strength.to_string() }
    }
}
