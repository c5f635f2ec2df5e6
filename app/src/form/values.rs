//! The values of the fields, as text.

use adire_protocol::{
    AdapterUse, GenerationRequest, GenerationSpec, HiresRequest, ModelInfo, Sampling,
    decimal::Decimal,
    each_form_field,
    fields::{FIELDS, Field},
    lora_tag,
};
use serde::{Deserialize, Serialize};

macro_rules! define {
    ($($field:ident),*) => {
        /// The names of the fields, in the order of [`FormValues::texts`].
        pub(crate) const NAMES: [&str; COUNT] = [$(stringify!($field)),*];
        /// How many there are.
        pub(crate) const COUNT: usize = [$(stringify!($field)),*].len();

        /// Every field of the form under its `name`, as it was typed; empty for the default.
        ///
        /// `schedule` is [`AUTOMATIC`], or a name. `size` is `256x256`, or `custom`: then `width` and `height` count. `keep_unmasked` is `false` or nothing, `per_line` is `true` or
        /// nothing.
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
each_form_field!(define);

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
        let mut values = Self::default();
        for field in &FIELDS {
            if let Some(text) = values.of_field(field) {
                *text = (field.default)(defaults).to_string();
            }
        }
        (values.sampler, values.schedule) = sampling_texts(defaults.sampling);
        values.size = format!("{}x{}", defaults.width, defaults.height);
        values.keep_unmasked.clear();
        values.per_line.clear();
        values
    }

    /// The text of a parameter; `None` for those that the form has in another shape.
    pub(crate) fn of_field(&mut self, field: &Field) -> Option<&mut String> {
        let at = NAMES.iter().position(|name| is_key_of(field, name))?;
        self.texts_mut().into_iter().nth(at)
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
    pub(crate) fn of_request(mut request: GenerationRequest) -> Self {
        // A row has one strength; an adapter with two is a tag in the prompt.
        let mut prompt = std::mem::take(&mut request.prompt);
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
        let mut values = Self { adapters, ..Self::default() };
        for field in &FIELDS {
            if let Some(text) = values.of_field(field) {
                *text = field.text(&mut request);
            }
        }
        (values.sampler, values.schedule) = request.sampling().map(sampling_texts).unwrap_or_default();
        if let (Some(width), Some(height)) = (request.width, request.height) {
            values.size = format!("{width}x{height}");
        }
        // The form says no more than that blending is allowed.
        if request.keep_unmasked == Some(true) {
            values.keep_unmasked.clear();
        }
        if request.per_line == Some(false) {
            values.per_line.clear();
        }
        if let Some(hires) = &request.hires {
            values.hires = hires.upscaler.unwrap_or_default().name().to_owned();
            values.hires_scale = scale(hires);
        }
        values.prompt = prompt;
        values.negative_prompt = request.negative_prompt;
        values.init_image = request.init_image.unwrap_or_default();
        values.mask = request.mask.unwrap_or_default();
        values
    }

    /// Every parameter of an image.
    pub(crate) fn of_spec(spec: &GenerationSpec) -> Self {
        Self::of_request(spec.clone().into())
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

/// Whether a name in the form is that of a parameter: `hires_steps` of `hires.steps`. The form keeps older names.
pub(crate) fn is_key_of(field: &Field, name: &str) -> bool {
    let is = |key: &str| {
        key.len() == name.len() && key.bytes().map(|b| if b == b'.' { b'_' } else { b }).eq(name.bytes())
    };
    is(field.name) || field.aliases.iter().any(|alias| is(alias))
}

/// The scale of hires fix, or its size where the request sets one.
fn scale(hires: &HiresRequest) -> String {
    match hires.width.zip(hires.height) {
        Some((width, height)) => format!("{width}x{height}"),
        None => hires.scale.map(|scale| Decimal(scale).to_string()).unwrap_or_default(),
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
        Self { name: adapter.name.clone(), strength: Decimal(adapter.strength).to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_the_table_is_in_the_form() {
        // Upscaler and size of the hires pass are `hires` and `hires_scale` there.
        const ELSEWHERE: [&str; 3] = ["hires.upscaler", "hires.width", "hires.height"];
        for field in FIELDS.iter().filter(|field| !ELSEWHERE.contains(&field.name)) {
            assert!(
                FormValues::default().of_field(field).is_some(),
                "{} is not in each_form_field!",
                field.name
            );
        }
    }
}
