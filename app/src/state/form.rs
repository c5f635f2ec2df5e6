//! The form's fields as signals of text.

use adire_protocol::{FieldError, each_form_field, fields::Field};
use leptos::{
    prelude::*,
    reactive::owner::{Owner, WeakOwner},
};

use crate::form::{self, AdapterRow, COUNT, FormValues, NAMES, is_key_of};

macro_rules! define {
    ($($field:ident),*) => {
        /// Every field. Copies share the signals.
        #[derive(Clone, Copy)]
        pub(crate) struct FormState {
            $(pub(crate) $field: RwSignal<String>,)*
            pub(crate) adapters: RwSignal<Vec<RowState>>,
            /// Errors of the form as it was last sent.
            pub(crate) errors: RwSignal<Vec<FieldError>>,
            next_key: StoredValue<u32>,
            /// The page's. Weak: what it owns must not own it.
            owner: StoredValue<Option<WeakOwner>>,
        }

        impl FormState {
            fn of(texts: [RwSignal<String>; COUNT]) -> Self {
                let [$($field),*] = texts;
                Self {
                    $($field,)*
                    adapters: RwSignal::new(Vec::new()),
                    errors: RwSignal::new(Vec::new()),
                    next_key: StoredValue::new(0),
                    owner: StoredValue::new(Owner::current().map(|owner| owner.downgrade())),
                }
            }

            /// Every field but the adapters, in the order of [`FormValues::texts`].
            fn texts(&self) -> [RwSignal<String>; COUNT] {
                [$(self.$field),*]
            }
        }
    };
}
each_form_field!(define);

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
        let form = Self::of(values.texts().map(|text| RwSignal::new(text.clone())));
        form.errors.set(errors);
        form.set_rows(&values.adapters, offered);
        form
    }

    /// A parameter's name in the form and its text. Those that the form has in another shape have none.
    pub(crate) fn of_field(&self, field: &Field) -> Option<(&'static str, RwSignal<String>)> {
        NAMES.into_iter().zip(self.texts()).find(|(name, _)| is_key_of(field, name))
    }

    /// What the fields hold now. Tracks all of them.
    pub(crate) fn values(&self) -> FormValues {
        let row = |row: &RowState| AdapterRow { name: row.name.get(), strength: row.strength.get() };
        let mut adapters: Vec<AdapterRow> = self.adapters.get().iter().map(row).collect();
        if adapters.is_empty() {
            // An empty list is as deliberate as a row that is off.
            adapters.push(AdapterRow::default());
        }
        let mut values = FormValues { adapters, ..FormValues::default() };
        for (text, field) in values.texts_mut().into_iter().zip(self.texts()) {
            *text = field.get();
        }
        values
    }

    /// Restores `kept`, row for row. Fields that no longer equal `begun`, because they were edited meanwhile, stay.
    pub(crate) fn restore(&self, kept: &FormValues, begun: &FormValues, offered: &[String]) {
        let now = untrack(|| self.values());
        let texts = self.texts().into_iter().zip(kept.texts());
        for ((field, kept), (now, begun)) in texts.zip(now.texts().into_iter().zip(begun.texts())) {
            if now == begun && now != kept {
                field.set(kept.clone());
            }
        }
        let on = |values: &FormValues| -> Vec<AdapterRow> {
            values.adapters.iter().filter(|row| row.is_on()).cloned().collect()
        };
        if on(&now) == on(begun) && on(&now) != on(kept) {
            self.set_rows(&kept.adapters, offered);
        }
    }

    /// All values of the fields as text, including the strengths of adapters that are off.
    pub(crate) fn kept(&self) -> String {
        let mut text = form::encode_fields(&self.values());
        self.adapters.with(|rows| {
            for row in rows.iter().filter(|row| row.name.with(String::is_empty)) {
                let name = row.adapter.get_value();
                form::add(&mut text, "off", &format!("{name}:{}", row.strength.get()));
            }
        });
        text
    }

    /// Restores the strengths of rows that are off, as [`Self::kept`] wrote them.
    pub(crate) fn restore_off(&self, pairs: &[(String, String)]) {
        for (_, value) in pairs.iter().filter(|(key, _)| key == "off") {
            let Some((name, strength)) = value.rsplit_once(':') else { continue };
            let is_it = |row: &&RowState| {
                row.adapter.with_value(|adapter| adapter == name) && row.name.with_untracked(String::is_empty)
            };
            self.adapters.with_untracked(|rows| {
                if let Some(row) = rows.iter().find(is_it) {
                    row.strength.set(strength.to_owned());
                }
            });
        }
    }

    /// Replaces text and rows with `values`; numbers that it lacks stay.
    pub(crate) fn fill(&self, values: &FormValues, offered: &[String]) {
        self.take_over(values, offered);
        // An image without one of these was generated without it.
        for (field, value) in [
            (self.prompt, &values.prompt),
            (self.negative_prompt, &values.negative_prompt),
            (self.init_image, &values.init_image),
            (self.mask, &values.mask),
            (self.keep_unmasked, &values.keep_unmasked),
            (self.hires, &values.hires),
            (self.per_line, &values.per_line),
            (self.subseed, &values.subseed),
            (self.subseed_strength, &values.subseed_strength),
        ] {
            field.set(value.clone());
        }
        self.set_rows(&values.adapters, offered);
    }

    /// Sets the fields of `values` that are not empty.
    pub(crate) fn take_over(&self, values: &FormValues, offered: &[String]) {
        for (field, value) in self.texts().into_iter().zip(values.texts()) {
            if !value.is_empty() {
                field.set(value.clone());
            }
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
        let make = || RowState {
            key,
            adapter: StoredValue::new(adapter),
            name: RwSignal::new(name),
            strength: RwSignal::new(strength),
        };
        // Signals created in an event handler would be disposed with its button, and the row with them.
        match self.owner.with_value(|owner| owner.as_ref().and_then(WeakOwner::upgrade)) {
            Some(owner) => owner.with(make),
            None => make(),
        }
    }

    /// Turns a version on: in the row of its adapter where there is one.
    pub(crate) fn switch_on(&self, id: String) {
        let adapter = id.split('@').next().unwrap_or_default();
        let rows = self.adapters.get_untracked();
        match rows.iter().find(|row| row.adapter.with_value(|name| name == adapter)) {
            Some(row) => row.name.set(id),
            None => self.add_row(id),
        }
    }

    /// The adapters that are on, as JSON strings with commas in between; their names need no escapes.
    pub(crate) fn adapter_names(&self) -> String {
        let mut names = String::new();
        for row in self.adapters.get() {
            row.name.with(|name| {
                if !name.is_empty() {
                    names.push_str(if names.is_empty() { "\"" } else { ",\"" });
                    names.push_str(name);
                    names.push('"');
                }
            });
        }
        names
    }

    /// Adds a row for a version.
    fn add_row(&self, id: String) {
        let adapter = id.split('@').next().unwrap_or_default().to_owned();
        let row = self.row(adapter, id, String::new());
        self.adapters.update(|rows| rows.push(row));
    }

    /// Removes a row.
    pub(crate) fn remove_row(&self, key: u32) {
        self.adapters.update(|rows| rows.retain(|row| row.key != key));
    }

    /// `with adire v2 × 0.8`: the adapters of the next generation. Empty without adapters.
    pub(crate) fn with_adapters(&self) -> String {
        let on = self.adapters.with(|rows| {
            let is_on = |row: &&RowState| row.name.with(|name| !name.is_empty());
            rows.iter().filter(is_on).copied().collect::<Vec<_>>()
        });
        match on.as_slice() {
            [] => String::new(),
            [row] => {
                let name = row.name.with(|id| id.replacen('@', " ", 1));
                format!("with {name} × {}", row.strength.with(|strength| strength.trim().replace('-', "−")))
            }
            rows => format!("with {} adapters", rows.len()),
        }
    }

    /// Whether a field has an error.
    pub(crate) fn is_wrong(&self, field: &str) -> bool {
        self.errors.with(|errors| errors.iter().any(|error| error.field == field))
    }

    /// The error of a field.
    pub(crate) fn error(&self, field: &str) -> Option<String> {
        self.errors.with(|errors| errors.iter().find(|e| e.field == field).map(|e| e.message.clone()))
    }
}
