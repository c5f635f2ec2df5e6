//! A request under construction while an image's parameters are read, with notes on what was left out.

use crate::{GenerationRequest, Sampler, validate::MAX_SEED};

/// Most notes of each kind that one image gives.
const MAX_NOTES: usize = 64;
/// Longest note, in characters.
const MAX_NOTE_CHARS: usize = 160;

/// A request that is being read. What it cannot hold becomes a note in it.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) request: GenerationRequest,
    /// Whether anything but notes was found.
    pub(crate) found: bool,
}

impl Draft {
    /// Notes a parameter that is not used, by its name and value.
    pub(crate) fn unknown(&mut self, name: &str, value: &str) {
        let (name, value) = (one_line(name), one_line(value));
        let note = if value.is_empty() { name } else { cut(&format!("{name}: {value}")) };
        push(&mut self.request.unknown, note);
    }

    /// Notes something that was read in part or otherwise than written: a sentence.
    pub(crate) fn warn(&mut self, sentence: impl Into<String>) {
        push(&mut self.request.warnings, sentence.into());
    }

    /// Takes a number that `field` holds; what is not one becomes a note.
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

    /// Takes a seed. −1 stands for a random one; one beyond [`MAX_SEED`] is left out and said.
    pub(crate) fn seed(&mut self, name: &str, text: &str) {
        let text = text.trim();
        if text == "-1" {
            return;
        }
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return self.unknown(name, text);
        }
        self.found = true;
        let seed: Option<u64> = text.parse().ok();
        match seed.filter(|seed| *seed <= MAX_SEED) {
            Some(seed) => self.request.seed = Some(seed),
            None => {
                let shown: String = text.chars().take(40).collect();
                let same = seed.map(|seed| {
                    let low = seed & 0xffff_ffff;
                    format!(" Noise from the CPU depends on its low 32 bits alone: {low} gives the same.")
                });
                self.warn(format!(
                    "Seed must be 0 to {MAX_SEED}; got {shown}, so it was left out.{}",
                    same.unwrap_or_default()
                ));
            }
        }
    }

    /// Takes a sampler and its schedule by the names of any program; what has no counterpart becomes a note.
    pub(crate) fn sampler(&mut self, names: (&str, &str), name: Option<&str>, schedule: Option<&str>) {
        let (sampler, exact) = name.map_or((None, false), |name| super::foreign::sampler(name, schedule));
        if let Some(sampler) = sampler {
            self.found = true;
            self.request.sampler = Some(sampler);
        } else if let Some(name) = name {
            self.unknown(names.0, name);
        }
        if let Some(schedule) = schedule.filter(|_| !exact) {
            self.unknown(names.1, schedule);
        }
    }

    /// Takes a width and a height.
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

/// Which of our samplers an A1111 label and schedule type stand for, and whether nothing of them is lost.
pub(crate) fn a1111_sampler(name: &str, schedule: Option<&str>) -> (Option<Sampler>, bool) {
    let plain: Option<Sampler> = name.parse().ok();
    let read = Sampler::from_schedule_type(name, schedule);
    let schedule = schedule.unwrap_or_default().trim();
    let usual =
        ["", "Automatic", "Uniform", "Normal"].iter().any(|usual| usual.eq_ignore_ascii_case(schedule));
    // A label may hold its schedule already.
    let said = read.is_some_and(|sampler| sampler.label().ends_with(schedule));
    (read, read.is_some() && (usual || read != plain || said))
}

fn push(notes: &mut Vec<String>, note: String) {
    if notes.len() < MAX_NOTES && !notes.contains(&note) {
        notes.push(note);
    }
}

fn one_line(text: &str) -> String {
    cut(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// At most [`MAX_NOTE_CHARS`] characters.
pub(crate) fn cut(text: &str) -> String {
    let mut cut: String = text.chars().take(MAX_NOTE_CHARS).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    cut
}
