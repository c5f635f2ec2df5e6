//! The values of the fields, as text.

use adire_protocol::{
    AdapterUse, GenerationRequest, GenerationSpec, HIRES_SCALE, HIRES_STRENGTH, HiresRequest, INIT_STRENGTH,
    ModelInfo, Rng, Sampling, lora_tag,
};
use serde::{Deserialize, Serialize};

/// Calls a macro with the name of every field that is one text: the `name` under which a form posts it, and its key
/// in an address.
macro_rules! each_field {
    ($then:ident) => {
        $then! {
            prompt, negative_prompt, seed, steps, guidance, size, width, height, sampler, schedule, rng, count, clip_skip,
            init_image, mask, denoising_strength, keep_unmasked, hires, hires_scale, hires_strength, hires_steps
        }
    };
}
pub(crate) use each_field;

macro_rules! define {
    ($($field:ident),*) => {
        /// The names of the fields, in the order of [`FormValues::texts`].
        pub(crate) const NAMES: [&str; COUNT] = [$(stringify!($field)),*];
        /// How many there are.
        pub(crate) const COUNT: usize = [$(stringify!($field)),*].len();

        /// Every field of the form under its `name`, as it was typed; empty for the default.
        ///
        /// `schedule` is [`AUTOMATIC`], or a name. `size` is `256x256`, or `custom`: then `width` and `height` count. `keep_unmasked` is `false` or nothing.
        /// `hires` is the upscaler of hires fix; empty: off. `hires_scale` is a factor, or a size like `512x640`;
        /// `hires_steps` may be empty: as many as in the base pass.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub(crate) struct FormValues {
            $(pub(crate) $field: String,)*
            pub(crate) adapters: Vec<AdapterRow>,
        }

        impl FormValues {
            /// Every field but the adapters. Loops over these are a fraction of the size of code for each.
            pub(crate) fn texts(&self) -> [&String; COUNT] {
                [$(&self.$field),*]
            }

            /// The same, mutable.
            pub(crate) fn texts_mut(&mut self) -> [&mut String; COUNT] {
                [$(&mut self.$field),*]
            }
        }
    };
}
each_field!(define);

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
    /// The initial values of the form.
    pub(crate) fn defaults(model: &ModelInfo) -> Self {
        let defaults = &model.defaults;
        let (sampler, schedule) = sampling_texts(defaults.sampling);
        Self {
            steps: defaults.steps.to_string(),
            guidance: defaults.guidance.to_string(),
            size: format!("{}x{}", defaults.width, defaults.height),
            width: defaults.width.to_string(),
            height: defaults.height.to_string(),
            sampler,
            schedule,
            rng: Rng::default().name().to_owned(),
            count: "1".to_owned(),
            clip_skip: "1".to_owned(),
            denoising_strength: INIT_STRENGTH.to_string(),
            hires_scale: HIRES_SCALE.to_string(),
            hires_strength: HIRES_STRENGTH.to_string(),
            ..Self::default()
        }
    }

    /// `over`, with empty fields from `self`. Adapters are replaced as a whole.
    pub(crate) fn overlaid(mut self, mut over: Self) -> Self {
        for (base, over) in self.texts_mut().into_iter().zip(over.texts_mut()) {
            if !over.is_empty() {
                std::mem::swap(base, over);
            }
        }
        if !over.adapters.is_empty() {
            self.adapters = over.adapters;
        }
        self
    }

    /// The fields that a request sets; the others stay empty.
    pub(crate) fn of_request(request: &GenerationRequest) -> Self {
        let size = request.width.zip(request.height).map(|(width, height)| format!("{width}x{height}"));
        // A row has one strength; an adapter with two is a tag in the prompt.
        let mut prompt = request.prompt.clone();
        let mut adapters = Vec::new();
        for adapter in &request.adapters {
            if adapter.text_encoder_strength() == adapter.strength {
                adapters.push(AdapterRow::of_use(adapter));
            } else {
                prompt.push(' ');
                prompt.push_str(&lora_tag::write(adapter));
            }
        }
        if adapters.is_empty() {
            // Off: a request without adapters means none, not the initial adapter of a form.
            adapters.push(AdapterRow::default());
        }
        let hires = request.hires.as_ref();
        let (sampler, schedule) = request.sampling().map(sampling_texts).unwrap_or_default();
        Self {
            prompt,
            negative_prompt: request.negative_prompt.clone(),
            seed: text(request.seed),
            steps: text(request.steps),
            guidance: text(request.guidance),
            size: size.unwrap_or_default(),
            width: text(request.width),
            height: text(request.height),
            sampler,
            schedule,
            rng: request.rng.map(|rng| rng.name().to_owned()).unwrap_or_default(),
            count: text(request.count),
            clip_skip: text(request.clip_skip),
            init_image: request.init_image.clone().unwrap_or_default(),
            mask: request.mask.clone().unwrap_or_default(),
            denoising_strength: text(request.denoising_strength),
            keep_unmasked: if request.keep_unmasked == Some(false) {
                "false".to_owned()
            } else {
                String::new()
            },
            hires: hires
                .map(|hires| hires.upscaler.unwrap_or_default().name().to_owned())
                .unwrap_or_default(),
            hires_scale: hires.map(scale).unwrap_or_default(),
            hires_strength: text(hires.and_then(|hires| hires.strength)),
            hires_steps: text(hires.and_then(|hires| hires.steps)),
            adapters,
        }
    }

    /// Every parameter of an image.
    pub(crate) fn of_spec(spec: &GenerationSpec) -> Self {
        Self::of_request(&spec.clone().into())
    }
}

/// The form's schedule that is the sampler's usual one.
pub(crate) const AUTOMATIC: &str = "auto";

/// A sampler and its schedule as the form has them, so that another sampler can be chosen without another schedule.
pub(super) fn sampling_texts(sampling: Sampling) -> (String, String) {
    let is_automatic = sampling == sampling.sampler.automatic();
    let schedule = if is_automatic { AUTOMATIC } else { sampling.schedule.name() };
    (sampling.sampler.name().to_owned(), schedule.to_owned())
}

fn text(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// The scale of hires fix, or its size where the request sets one.
fn scale(hires: &HiresRequest) -> String {
    match hires.width.zip(hires.height) {
        Some((width, height)) => format!("{width}x{height}"),
        None => text(hires.scale),
    }
}

impl AdapterRow {
    /// Whether the row is on.
    pub(crate) fn is_on(&self) -> bool {
        !self.name.trim().is_empty()
    }

    /// A row for a version at strength 1.
    pub(crate) fn of(id: String) -> Self {
        Self { name: id, strength: "1".to_owned() }
    }

    /// The row for this.
    pub(crate) fn of_use(adapter: &AdapterUse) -> Self {
        Self { name: adapter.name.clone(), strength: adapter.strength.to_string() }
    }
}
