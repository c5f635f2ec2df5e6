//! The table of a generation's single-valued parameters: everything that more than one place states about one.
//!
//! Validation (`validate.rs`), infotexts (`infotext`), the page's form, its controls and the chips of an image (`app`),
//! the options of `adire generate` (`server/src/commands/parameters.rs`) and the OpenAPI document
//! (`server/src/api/openapi.rs`) read it. Prompts, images and adapters are not single values and stand on their own.
//!
//! # A new parameter
//!
//! touches five files, and tests fail or the compiler complains where one is forgotten:
//!
//! 1. this folder's `table.rs`: its row, and its name in [`each_form_field!`](crate::each_form_field);
//! 2. `generation.rs`: its field in the request and in the spec;
//! 3. `app/src/thin/wire/records.rs`: its key in the two records that the page reads;
//! 4. the engine's use of it;
//! 5. the test of that use.

mod slot;
mod table;

use std::fmt;

pub use slot::{Slot, Unreadable};
pub use table::FIELDS;

use crate::{Defaults, GenerationRequest, Limits, decimal::Decimal};

/// One parameter of a generation.
#[derive(Debug)]
pub struct Field {
    /// Its key in a request; `hires.steps` is `steps` in `hires`.
    pub name: &'static str,
    /// Older keys, which requests and the page's addresses may still have.
    pub aliases: &'static [&'static str],
    /// Its label on the page, and the subject of sentences about it.
    pub label: &'static str,
    /// Its key in infotexts, as A1111 calls it; `None`: it is not written, or a part of another pair.
    pub infotext: Option<&'static str>,
    /// What it is, in one sentence.
    pub help: Help,
    /// The values that it can have.
    pub range: fn(&Limits) -> Range,
    /// The value of requests without it.
    pub default: fn(&Defaults) -> Value,
    /// What the page has for it.
    pub control: Control,
    slot: fn(&mut GenerationRequest) -> Option<Slot<'_>>,
}

/// A sentence for the command line and the OpenAPI document. The page has no use for it and carries none.
#[derive(Clone, Copy, Debug)]
pub struct Help {
    #[cfg(not(target_family = "wasm"))]
    sentence: &'static str,
}

impl Help {
    const fn new(sentence: &'static str) -> Self {
        let _ = sentence;
        Self {
            #[cfg(not(target_family = "wasm"))]
            sentence,
        }
    }

    /// The sentence.
    #[cfg(not(target_family = "wasm"))]
    pub fn sentence(self) -> &'static str {
        self.sentence
    }
}

/// What the page has for a parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Control {
    /// A number with a slider for its usual values; the number may lie outside.
    Slider {
        /// The slider's ends, as far as the limits allow.
        ends: (f64, f64),
        /// The slider's step.
        step: f64,
    },
    /// A menu.
    Menu,
    /// A component of its own.
    Own,
}

/// Bounds of a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
    /// Values are multiples of this; 0: all are possible.
    pub step: f64,
    /// Whether values must be above `min`.
    pub above: bool,
}

impl Range {
    /// Not a number, or any number.
    const ANY: Self = Self { min: f64::NEG_INFINITY, max: f64::INFINITY, step: 0.0, above: false };

    const fn new(min: f64, max: f64) -> Self {
        Self { min, max, step: 0.0, above: false }
    }

    /// Whether it has bounds.
    pub fn is_bounded(self) -> bool {
        self.max.is_finite()
    }

    /// Whether a value is possible; NaN is not.
    pub fn contains(self, value: f64) -> bool {
        (self.min..=self.max).contains(&value)
            && !(self.above && value == self.min)
            // Not `%`, which is a kilobyte of the page.
            && (self.step == 0.0 || (value / self.step).fract() == 0.0)
    }
}

impl fmt::Display for Range {
    /// `1 to 150`, `64 to 1024 in steps of 8`, `above 0, up to 1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (min, max) = (Decimal(self.min), Decimal(self.max));
        match self.above {
            true => write!(f, "above {min}, up to {max}")?,
            false => write!(f, "{min} to {max}")?,
        }
        if self.step != 0.0 { write!(f, " in steps of {}", Decimal(self.step)) } else { Ok(()) }
    }
}

/// The value of a parameter on its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// None: it is optional, or its default follows from others.
    None,
    /// A whole number.
    Whole(u32),
    /// A number.
    Number(f64),
    /// A switch.
    Flag(bool),
    /// One of a few names.
    Name(&'static str),
}

impl fmt::Display for Value {
    /// Nothing for `None`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Whole(number) => number.fmt(f),
            Self::Number(number) => Decimal(*number).fmt(f),
            Self::Flag(flag) => flag.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

impl Field {
    /// The row of a name.
    pub fn of(name: &str) -> Option<&'static Self> {
        FIELDS.iter().find(|field| field.name == name)
    }

    /// Its value in a request; `None` if that lacks what holds it, as a request without hires pass does.
    pub fn slot<'a>(&self, request: &'a mut GenerationRequest) -> Option<Slot<'a>> {
        (self.slot)(request)
    }

    /// Its value in a request as text; empty without one.
    pub fn text(&self, request: &mut GenerationRequest) -> String {
        self.slot(request).map(|slot| slot.to_string()).unwrap_or_default()
    }

    /// Its default, if that is the same for every model.
    pub fn fixed_default(&self) -> Value {
        match (self.default)(&Defaults::NONE) {
            Value::Whole(0) => Value::None,
            Value::Number(0.0) => Value::None,
            default => default,
        }
    }

    /// Its label in a sentence: `Hires steps`.
    pub fn subject(&self) -> String {
        match self.name.starts_with("hires.") {
            true => format!("Hires {}", self.label.to_ascii_lowercase()),
            false => self.label.to_owned(),
        }
    }

    /// What is wrong with its value in a request, in a sentence.
    pub(crate) fn problem(&self, request: &mut GenerationRequest, limits: &Limits) -> Option<String> {
        let slot = self.slot(request)?;
        let range = (self.range)(limits);
        let wrong = slot.number().is_some_and(|number| range.is_bounded() && !range.contains(number));
        wrong.then(|| format!("{} must be {range}; got {slot}.", self.subject()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HiresRequest;

    #[test]
    fn every_field_can_be_set_by_text_and_read_back() {
        let defaults =
            Defaults { steps: 20, guidance: 7.5, width: 512, height: 512, sampling: Default::default() };
        for field in &FIELDS {
            let mut request =
                GenerationRequest { hires: Some(HiresRequest::default()), ..GenerationRequest::default() };
            assert_eq!(field.text(&mut request), "", "{}", field.name);
            let text = match field.slot(&mut request).unwrap() {
                Slot::Seed(_) | Slot::Whole(_) => "8",
                Slot::Number(_) => "0.5",
                Slot::Flag(_) => "false",
                Slot::Sampler(_) => "euler_a",
                Slot::Schedule(_) => "karras",
                Slot::Rng(_) => "cuda",
                Slot::Upscaler(_) => "image",
            };
            field.slot(&mut request).unwrap().set(text).unwrap();
            assert_eq!(field.text(&mut request), text, "{}", field.name);
            assert!(field.slot(&mut request).unwrap().set("?").is_err(), "{}", field.name);
            // The default is of the same kind, and a key of the request.
            let default = (field.default)(&defaults);
            if default != Value::None {
                field.slot(&mut request).unwrap().set(&default.to_string()).unwrap();
            }
            assert_eq!(Field::of(field.name).map(|known| known.label), Some(field.label));
            let json = serde_json::to_value(&request).unwrap();
            let pointer = format!("/{}", field.name.replace('.', "/"));
            assert!(json.pointer(&pointer).is_some_and(|value| !value.is_null()), "{}", field.name);
            for alias in field.aliases {
                let mut old = json.clone();
                let (parent, last) = pointer.rsplit_once('/').unwrap();
                let object = old.pointer_mut(parent).unwrap().as_object_mut().unwrap();
                let value = object.remove(last).unwrap();
                object.insert(alias.rsplit('.').next().unwrap().to_owned(), value);
                assert_eq!(serde_json::from_value::<GenerationRequest>(old).unwrap(), request, "{alias}");
            }
            assert!(field.help.sentence().ends_with('.'), "{}", field.name);
        }
    }

    #[test]
    fn ranges_are_sentences() {
        let limits = Limits::default();
        let range = |name: &str| (Field::of(name).unwrap().range)(&limits).to_string();
        assert_eq!(range("steps"), "1 to 150");
        assert_eq!(range("width"), "64 to 1024 in steps of 8");
        assert_eq!(range("hires.scale"), "above 1, up to 16");
        assert!(!Range::new(0.0, 1.0).contains(f64::NAN));
    }
}
