//! A parameter's value in a request, whatever its type.

use std::fmt::{self, Display};

use super::Value;
use crate::{
    HiresUpscaler, Rng, SamplerName, Schedule,
    decimal::{self, Decimal},
};

/// Where a request keeps a parameter; `None` in it: the default.
#[derive(Debug)]
pub enum Slot<'a> {
    /// A seed, of 53 bits.
    Seed(&'a mut Option<u64>),
    /// A whole number.
    Whole(&'a mut Option<u32>),
    /// A number.
    Number(&'a mut Option<f64>),
    /// A switch.
    Flag(&'a mut Option<bool>),
    /// A sampler.
    Sampler(&'a mut Option<SamplerName>),
    /// A schedule.
    Schedule(&'a mut Option<Schedule>),
    /// A noise source.
    Rng(&'a mut Option<Rng>),
    /// An upscaler of hires fix.
    Upscaler(&'a mut Option<HiresUpscaler>),
}

/// Why a text is not a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It is not a number of this kind, or not a switch.
    Other,
    /// It is none of a few names: a sentence without its full stop.
    Name(String),
}

impl Slot<'_> {
    /// Sets the value that a text says. −1 is a random seed.
    ///
    /// # Errors
    /// The text is not a value of this type.
    pub fn set(self, text: &str) -> Result<(), Unreadable> {
        let text = text.trim();
        match self {
            Self::Seed(slot) if text == "-1" => *slot = None,
            Self::Seed(slot) => *slot = Some(text.parse().map_err(|_| Unreadable::Other)?),
            Self::Whole(slot) => *slot = Some(text.parse().map_err(|_| Unreadable::Other)?),
            Self::Number(slot) => *slot = Some(decimal::read(text).ok_or(Unreadable::Other)?),
            Self::Flag(slot) => *slot = Some(text.parse().map_err(|_| Unreadable::Other)?),
            Self::Sampler(slot) => *slot = Some(text.parse().map_err(named)?),
            Self::Schedule(slot) => *slot = Some(text.parse().map_err(named)?),
            Self::Rng(slot) => *slot = Some(text.parse().map_err(named)?),
            Self::Upscaler(slot) => *slot = Some(text.parse().map_err(named)?),
        }
        Ok(())
    }

    /// Sets the value, if there is none.
    pub(crate) fn fill(self, value: Value) {
        match (self, value) {
            (Self::Whole(slot), Value::Whole(number)) => {
                slot.get_or_insert(number);
            }
            (Self::Number(slot), Value::Number(number)) => {
                slot.get_or_insert(number);
            }
            // Names and switches have defaults of their types.
            _ => {}
        }
    }

    /// The value as a number; `None` if it is not one, or absent.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Seed(slot) => slot.map(|seed| seed as f64),
            Self::Whole(slot) => slot.map(f64::from),
            Self::Number(slot) => **slot,
            _ => None,
        }
    }

    /// The value in A1111's terms.
    pub(crate) fn a1111(&self) -> Option<String> {
        match self {
            Self::Sampler(slot) => slot.map(|name| name.sampler.label().to_owned()),
            Self::Schedule(slot) => slot.map(|schedule| schedule.a1111().to_owned()),
            Self::Rng(slot) => slot.map(|rng| rng.label().to_owned()),
            Self::Upscaler(slot) => slot.map(|upscaler| upscaler.label().to_owned()),
            other => Some(other.to_string()).filter(|text| !text.is_empty()),
        }
    }

    /// Whether texts for it are numbers.
    pub fn is_number(&self) -> bool {
        matches!(self, Self::Seed(_) | Self::Whole(_) | Self::Number(_))
    }
}

fn named(error: impl Display) -> Unreadable {
    Unreadable::Name(error.to_string())
}

impl Display for Slot<'_> {
    /// Nothing without a value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn some(value: &Option<impl Display>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            value.as_ref().map_or(Ok(()), |value| value.fmt(f))
        }
        match self {
            Self::Seed(slot) => some(slot, f),
            Self::Whole(slot) => some(slot, f),
            Self::Number(slot) => some(&slot.map(Decimal), f),
            Self::Flag(slot) => some(slot, f),
            Self::Sampler(slot) => some(slot, f),
            Self::Schedule(slot) => some(slot, f),
            Self::Rng(slot) => some(slot, f),
            Self::Upscaler(slot) => some(&slot.map(HiresUpscaler::name), f),
        }
    }
}
