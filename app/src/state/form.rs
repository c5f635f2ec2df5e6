//! The form's fields as signals of text.

use adire_protocol::FieldError;
use leptos::prelude::*;

use crate::form::{AdapterRow, FormValues};

/// Every field. Copies share the signals.
#[derive(Clone, Copy)]
pub(crate) struct FormState {
    pub(crate) prompt: RwSignal<String>,
    pub(crate) negative_prompt: RwSignal<String>,
    pub(crate) seed: RwSignal<String>,
    pub(crate) steps: RwSignal<String>,
    pub(crate) guidance: RwSignal<String>,
    pub(crate) size: RwSignal<String>,
    pub(crate) width: RwSignal<String>,
    pub(crate) height: RwSignal<String>,
    pub(crate) sampler: RwSignal<String>,
    pub(crate) rng: RwSignal<String>,
    pub(crate) count: RwSignal<String>,
    pub(crate) clip_skip: RwSignal<String>,
    pub(crate) adapters: RwSignal<Vec<RowState>>,
    /// What is wrong with the form as it was last sent.
    pub(crate) errors: RwSignal<Vec<FieldError>>,
    next_key: StoredValue<u32>,
}

/// One adapter row; `key` stays while the row lives.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct RowState {
    pub(crate) key: u32,
    /// The adapter's name without version; the row offers its versions.
    pub(crate) adapter: StoredValue<String>,
    /// `name@vN`, or empty: off.
    pub(crate) name: RwSignal<String>,
    pub(crate) strength: RwSignal<String>,
}

impl FormState {
    /// A form with these values. `offered`: adapters that have a row even while they are off.
    pub(crate) fn new(values: &FormValues, errors: Vec<FieldError>, offered: &[String]) -> Self {
        let text = |value: &String| RwSignal::new(value.clone());
        let form = Self {
            prompt: text(&values.prompt),
            negative_prompt: text(&values.negative_prompt),
            seed: text(&values.seed),
            steps: text(&values.steps),
            guidance: text(&values.guidance),
            size: text(&values.size),
            width: text(&values.width),
            height: text(&values.height),
            sampler: text(&values.sampler),
            rng: text(&values.rng),
            count: text(&values.count),
            clip_skip: text(&values.clip_skip),
            adapters: RwSignal::new(Vec::new()),
            errors: RwSignal::new(errors),
            next_key: StoredValue::new(0),
        };
        form.set_rows(&values.adapters, offered);
        form
    }

    /// What the fields hold now. Tracks all of them.
    pub(crate) fn values(&self) -> FormValues {
        let row = |row: &RowState| AdapterRow { name: row.name.get(), strength: row.strength.get() };
        FormValues {
            prompt: self.prompt.get(),
            negative_prompt: self.negative_prompt.get(),
            seed: self.seed.get(),
            steps: self.steps.get(),
            guidance: self.guidance.get(),
            size: self.size.get(),
            width: self.width.get(),
            height: self.height.get(),
            sampler: self.sampler.get(),
            rng: self.rng.get(),
            count: self.count.get(),
            clip_skip: self.clip_skip.get(),
            adapters: self.adapters.get().iter().map(row).collect(),
        }
    }

    /// Becomes what `values` says: text and rows are replaced; a number it does not name stays.
    pub(crate) fn fill(&self, values: &FormValues, offered: &[String]) {
        self.take_over(values, offered);
        // A picture without a negative prompt was made without one.
        self.prompt.set(values.prompt.clone());
        self.negative_prompt.set(values.negative_prompt.clone());
        self.set_rows(&values.adapters, offered);
    }

    /// Takes over what `values` says; everything that it does not name stays.
    pub(crate) fn take_over(&self, values: &FormValues, offered: &[String]) {
        let fields = [
            (self.prompt, &values.prompt),
            (self.negative_prompt, &values.negative_prompt),
            (self.seed, &values.seed),
            (self.steps, &values.steps),
            (self.guidance, &values.guidance),
            (self.width, &values.width),
            (self.height, &values.height),
            (self.size, &values.size),
            (self.sampler, &values.sampler),
            (self.rng, &values.rng),
            (self.count, &values.count),
            (self.clip_skip, &values.clip_skip),
        ];
        for (field, value) in fields.into_iter().filter(|(_, value)| !value.is_empty()) {
            field.set(value.clone());
        }
        if !values.adapters.is_empty() {
            self.set_rows(&values.adapters, offered);
        }
        self.errors.set(Vec::new());
    }

    fn set_rows(&self, rows: &[AdapterRow], offered: &[String]) {
        let mut states: Vec<RowState> = Vec::new();
        for row in rows.iter().filter(|row| row.is_on()) {
            let adapter = row.name.split('@').next().unwrap_or_default().to_owned();
            states.push(self.row(adapter, row.name.clone(), row.strength.clone()));
        }
        for adapter in offered {
            if !states.iter().any(|row| row.adapter.with_value(|name| name == adapter)) {
                states.push(self.row(adapter.clone(), String::new(), String::new()));
            }
        }
        self.adapters.set(states);
    }

    fn row(&self, adapter: String, name: String, strength: String) -> RowState {
        let key = self.next_key.get_value();
        self.next_key.set_value(key + 1);
        let strength = if strength.is_empty() { "1".to_owned() } else { strength };
        RowState {
            key,
            adapter: StoredValue::new(adapter),
            name: RwSignal::new(name),
            strength: RwSignal::new(strength),
        }
    }

    /// Adds a row for a version.
    pub(crate) fn add_row(&self, id: String) {
        let adapter = id.split('@').next().unwrap_or_default().to_owned();
        let row = self.row(adapter, id, String::new());
        self.adapters.update(|rows| rows.push(row));
    }

    /// Takes a row out.
    pub(crate) fn remove_row(&self, key: u32) {
        self.adapters.update(|rows| rows.retain(|row| row.key != key));
    }

    /// Whether something is wrong with a field.
    pub(crate) fn is_wrong(&self, field: &str) -> bool {
        self.errors.with(|errors| errors.iter().any(|error| error.field == field))
    }

    /// What is wrong with a field.
    pub(crate) fn error(&self, field: &str) -> Option<String> {
        self.errors.with(|errors| errors.iter().find(|e| e.field == field).map(|e| e.message.clone()))
    }
}
