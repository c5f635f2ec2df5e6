//! A request being built from an image's parameters, with notes on everything skipped.

use crate::{
    GenerationRequest, Sampling, decimal,
    fields::{Field, Slot},
    foreign_names,
    seed::MAX_SEED,
};

/// Maximum number of notes of each kind.
const MAX_NOTES: usize = 64;
/// Maximum length of a note in characters.
const MAX_NOTE_CHARS: usize = 160;

/// A request being built. Parameters that it cannot hold become notes.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) request: GenerationRequest,
    /// Whether anything but notes was found.
    pub(crate) found: bool,
}

impl Draft {
    /// Notes an unused parameter with its value.
    pub(crate) fn unknown(&mut self, name: &str, value: &str) {
        let (name, value) = (one_line(name), one_line(value));
        let note = if value.is_empty() { name } else { cut(&format!("{name}: {value}")) };
        push(&mut self.request.unknown, note);
    }

    /// Adds a sentence about a parameter that was read only in part or changed.
    pub(crate) fn warn(&mut self, sentence: impl Into<String>) {
        push(&mut self.request.warnings, sentence.into());
    }

    /// Reads a number; anything else becomes a note.
    pub(crate) fn number<T: std::str::FromStr>(
        &mut self,
        name: &str,
        text: &str,
        fits: impl Fn(&T) -> bool,
    ) -> Option<T> {
        let read = text.trim().parse().ok().filter(fits);
        match read.is_some() {
            true => self.found = true,
            false => self.unknown(name, text),
        }
        read
    }

    /// Reads the strength of an adapter. One that is not a number becomes a warning.
    pub(crate) fn strength(&mut self, adapter: &str, text: &str) -> Option<f64> {
        let read = strength(text);
        if read.is_none() {
            self.warn(format!(
                "The strength of {}, “{}”, is not a number, so it was skipped.",
                cut(adapter),
                cut(text)
            ));
        }
        read
    }

    /// Reads the seed. −1 means random; one above [`MAX_SEED`] becomes a note.
    pub(crate) fn seed(&mut self, name: &str, text: &str) {
        if let Some(seed) = self.read_seed("Seed", name, text) {
            self.request.seed = Some(seed);
        }
    }

    fn read_seed(&mut self, subject: &str, name: &str, text: &str) -> Option<u64> {
        let text = text.trim();
        if text == "-1" {
            return None;
        }
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            self.unknown(name, text);
            return None;
        }
        self.found = true;
        let seed: Option<u64> = text.parse().ok();
        let possible = seed.filter(|seed| *seed <= MAX_SEED);
        if possible.is_none() {
            let shown: String = text.chars().take(40).collect();
            let same = seed.map(|seed| {
                let low = seed & 0xffff_ffff;
                format!(" Noise from the CPU depends on its low 32 bits alone: {low} gives the same.")
            });
            self.warn(format!(
                "{subject} must be 0 to {MAX_SEED}; got {shown}, so it was skipped.{}",
                same.unwrap_or_default()
            ));
        }
        possible
    }

    /// Reads a parameter; anything but its value becomes a note.
    pub(crate) fn field(&mut self, field: &Field, key: &str, text: &str) {
        if let Some(Slot::Seed(_)) = field.slot(&mut self.request) {
            let seed = self.read_seed(field.label, key, text);
            if let (Some(Slot::Seed(slot)), Some(seed)) = (field.slot(&mut self.request), seed) {
                *slot = Some(seed);
            }
            return;
        }
        let is_read = match field.slot(&mut self.request) {
            Some(Slot::Whole(slot)) => {
                *slot = text.trim().parse().ok().filter(|number| *number > 0);
                slot.is_some()
            }
            Some(Slot::Number(slot)) => {
                *slot = text.trim().parse().ok().filter(|number: &f64| number.is_finite());
                slot.is_some()
            }
            Some(slot) => slot.set(text).is_ok(),
            None => false,
        };
        match is_read {
            true => self.found = true,
            false => self.unknown(key, text),
        }
    }

    /// Reads a sampler and its schedule under the names of any program; unknown ones become notes.
    pub(crate) fn sampler(&mut self, names: (&str, &str), name: Option<&str>, schedule: Option<&str>) {
        let (sampling, exact) = name.map_or((None, false), |name| foreign_names::sampling(name, schedule));
        match (sampling, name) {
            (Some(sampling), _) => self.sampling(sampling),
            (None, Some(name)) => self.unknown(names.0, name),
            (None, None) => {}
        }
        if let Some(schedule) = schedule.filter(|_| !exact) {
            self.unknown(names.1, schedule);
        }
    }

    /// Sets sampler and schedule.
    pub(crate) fn sampling(&mut self, sampling: Sampling) {
        self.found = true;
        self.request.sampler = Some(sampling.into());
        self.request.schedule = Some(sampling.schedule);
    }

    /// Reads width and height.
    pub(crate) fn size(&mut self, width: u32, height: u32) {
        self.found = true;
        (self.request.width, self.request.height) = (Some(width), Some(height));
    }
}

/// `512x768`, `512 × 768`, `(512, 768)`.
pub(crate) fn size(text: &str) -> Option<(u32, u32)> {
    let inner = text.trim().trim_start_matches(['(', '[']).trim_end_matches([')', ']']);
    let (width, height) = inner.split_once(['x', 'X', '×', ','])?;
    Some((width.trim().parse().ok()?, height.trim().parse().ok()?))
}

fn push(notes: &mut Vec<String>, note: String) {
    if notes.len() < MAX_NOTES && !notes.contains(&note) {
        notes.push(note);
    }
}

fn one_line(text: &str) -> String {
    cut(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// A strength of any finite size.
pub(crate) fn strength(text: &str) -> Option<f64> {
    decimal::read(text.trim()).filter(|strength| strength.is_finite())
}

/// At most [`MAX_NOTE_CHARS`] characters.
pub(crate) fn cut(text: &str) -> String {
    let mut cut: String = text.chars().take(MAX_NOTE_CHARS).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    cut
}
