//! What a tensor is to its module, from the end of its name.

use super::keys::Part;

/// Words that stand as one level of a name. The adapter's own name and `weight` may follow.
const WORDS: [(&str, Part); 34] = [
    ("lora_down", Part::Down),
    ("lora_up", Part::Up),
    ("lora_mid", Part::Mid),
    ("lora_A", Part::Down),
    ("lora_B", Part::Up),
    ("lora_magnitude_vector", Part::Magnitude),
    ("alpha", Part::Alpha),
    ("scalar", Part::Scalar),
    ("dora_scale", Part::DoraScale),
    ("hada_w1_a", Part::Hada1A),
    ("hada_w1_b", Part::Hada1B),
    ("hada_w2_a", Part::Hada2A),
    ("hada_w2_b", Part::Hada2B),
    ("hada_t1", Part::HadaT1),
    ("hada_t2", Part::HadaT2),
    ("lokr_w1_a", Part::Kron1A),
    ("lokr_w1_b", Part::Kron1B),
    ("lokr_w2_a", Part::Kron2A),
    ("lokr_w2_b", Part::Kron2B),
    ("lokr_w1", Part::Kron1),
    ("lokr_w2", Part::Kron2),
    ("lokr_t2", Part::KronT2),
    ("diff", Part::Diff),
    ("diff_b", Part::DiffBias),
    ("w_norm", Part::NormWeight),
    ("b_norm", Part::NormBias),
    ("on_input", Part::OnInput),
    ("ia3_l", Part::Ia3Factor),
    ("oft_blocks", Part::OftBlocks),
    ("oft_diag", Part::OftDiag),
    ("rescale", Part::Rescale),
    ("oft_R", Part::OftInput),
    ("boft_R", Part::BoftInput),
    ("boft_s", Part::BoftScale),
];

/// Words of which `weight` must follow at once; so short that they mean nothing elsewhere.
const WITH_WEIGHT: [(&str, Part); 5] = [
    ("a1", Part::GloraA1),
    ("a2", Part::GloraA2),
    ("b1", Part::GloraB1),
    ("b2", Part::GloraB2),
    ("bm", Part::GloraMid),
];

/// diffusers writes two levels: `lora.down.weight`; old attention processors join the first one to the projection:
/// `to_q_lora.down.weight`.
const SECOND: [(&str, Part); 3] = [("down", Part::Down), ("up", Part::Up), ("mid", Part::Mid)];

/// A name without its role.
#[derive(Debug, PartialEq)]
pub(super) struct Named {
    pub(super) module: String,
    pub(super) part: Part,
    /// It is the name of an old attention processor.
    pub(super) is_processor: bool,
}

/// The role of the tensor `name`, and the module that it belongs to.
pub(super) fn of(name: &str) -> Option<Named> {
    let levels: Vec<&str> = name.split('.').collect();
    for at in 0..levels.len() {
        let (before, here) = levels.split_at(at);
        if let Some(part) = dotted(here) {
            return named(before.join("."), part);
        }
        let joined = here.first().and_then(|level| level.strip_suffix("_lora"));
        if let (Some(stem), Some(part)) = (joined, here.get(1..).and_then(second)) {
            return processor(before, stem, part);
        }
    }
    flat(&levels).or_else(|| named(name.strip_suffix(".weight")?.to_owned(), Part::Ia3))
}

fn named(module: String, part: Part) -> Option<Named> {
    (!module.is_empty()).then_some(Named { module, part, is_processor: false })
}

/// `here` is the role and what follows.
fn dotted(here: &[&str]) -> Option<Part> {
    let (first, rest) = here.split_first()?;
    if let (Some((_, part)), ["weight"]) = (WITH_WEIGHT.iter().find(|(word, _)| word == first), rest) {
        return Some(*part);
    }
    if matches!(*first, "lora" | "lora_linear_layer") {
        return match rest {
            ["alpha"] => Some(Part::Alpha),
            _ => second(rest),
        };
    }
    if let Some((_, part)) = WORDS.iter().find(|(word, _)| word == first) {
        return match rest.last() {
            Some(&"bias") if *part == Part::Up && rest.len() <= 2 => Some(Part::UpBias),
            Some(&"bias") => None,
            _ => ends(rest).then_some(*part),
        };
    }
    None
}

fn second(here: &[&str]) -> Option<Part> {
    let (first, rest) = here.split_first()?;
    let (_, part) = SECOND.iter().find(|(word, _)| word == first)?;
    ends(rest).then_some(*part)
}

/// Whether it is nothing, `weight`, an adapter's own name, or that and `weight`. Own names have no dots, but some
/// programs write versions into them.
fn ends(rest: &[&str]) -> bool {
    let own = match rest {
        [own @ .., "weight"] => own,
        own => own,
    };
    own.len() <= 3 && !own.iter().any(|level| level.is_empty() || WORDS.iter().any(|(word, _)| word == level))
}

/// `attn1.processor.to_q_lora` is the change of `attn1.to_q`, and that of `to_out_lora` is that of `to_out.0`.
fn processor(before: &[&str], stem: &str, part: Part) -> Option<Named> {
    let mut levels: Vec<&str> = before.iter().copied().filter(|level| *level != "processor").collect();
    levels.push(stem);
    if stem == "to_out" {
        levels.push("0");
    }
    Some(Named { module: levels.join("."), part, is_processor: stem.starts_with("to_") })
}

/// The role joined by `_` to the module: `…_to_q_lora_down.weight`, `…_to_q_lora_A_own_name_weight`.
fn flat(levels: &[&str]) -> Option<Named> {
    let (levels, last) = match levels {
        [levels @ .., last, "weight"] => (levels, *last),
        [levels @ .., last] => (levels, last.strip_suffix("_weight").unwrap_or(last)),
        [] => return None,
    };
    let module = |stem: &str| levels.iter().copied().chain([stem]).collect::<Vec<_>>().join(".");
    for (word, part) in WORDS {
        if let Some(stem) = last.strip_suffix(word).and_then(|stem| stem.strip_suffix('_')) {
            return named(module(stem), part);
        }
    }
    for (word, part) in [("_lora_A_", Part::Down), ("_lora_B_", Part::Up)] {
        if let Some((stem, _)) = last.split_once(word) {
            return named(module(stem), part);
        }
    }
    None
}
