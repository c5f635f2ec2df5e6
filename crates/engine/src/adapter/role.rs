//! What a tensor is to its module, from the end of its name.

/// Role of a tensor in the change of its module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum TensorRole {
    Down,
    Up,
    Mid,
    /// What the up factor's layer adds (PEFT's `lora_bias`).
    UpBias,
    Alpha,
    /// Multiplies the whole change.
    Scalar,
    /// DoRA's m, one for each output.
    Magnitude,
    /// DoRA's m as LyCORIS and kohya store it: its shape tells for what.
    DoraScale,
    Hada1A,
    Hada1B,
    Hada2A,
    Hada2B,
    HadaT1,
    HadaT2,
    Kron1,
    Kron1A,
    Kron1B,
    Kron2,
    Kron2A,
    Kron2B,
    KronT2,
    /// The change itself.
    Diff,
    /// The change of the bias.
    DiffBias,
    /// The change of a normalisation's weight.
    NormWeight,
    /// The change of a normalisation's bias.
    NormBias,
    /// (IA)³ of LyCORIS: what inputs or outputs are multiplied with, less 1. Only beside [`TensorRole::OnInput`].
    Ia3,
    OnInput,
    /// (IA)³ of PEFT: what inputs or outputs are multiplied with.
    Ia3Factor,
    GloraA1,
    GloraA2,
    GloraB1,
    GloraB2,
    GloraMid,
    /// Generators of rotations of the outputs, in blocks: [blocks, size, size]; BOFT has [stages, blocks, size, size].
    OftBlocks,
    /// The rotations themselves.
    OftDiag,
    /// What every output is multiplied with after a rotation.
    Rescale,
    /// PEFT's OFT: upper triangles of generators, which rotate inputs.
    OftInput,
    /// PEFT's BOFT, which rotates inputs.
    BoftInput,
    BoftScale,
}

/// Words that stand as one level of a name. The adapter's own name and `weight` may follow.
const WORDS: [(&str, TensorRole); 34] = [
    ("lora_down", TensorRole::Down),
    ("lora_up", TensorRole::Up),
    ("lora_mid", TensorRole::Mid),
    ("lora_A", TensorRole::Down),
    ("lora_B", TensorRole::Up),
    ("lora_magnitude_vector", TensorRole::Magnitude),
    ("alpha", TensorRole::Alpha),
    ("scalar", TensorRole::Scalar),
    ("dora_scale", TensorRole::DoraScale),
    ("hada_w1_a", TensorRole::Hada1A),
    ("hada_w1_b", TensorRole::Hada1B),
    ("hada_w2_a", TensorRole::Hada2A),
    ("hada_w2_b", TensorRole::Hada2B),
    ("hada_t1", TensorRole::HadaT1),
    ("hada_t2", TensorRole::HadaT2),
    ("lokr_w1_a", TensorRole::Kron1A),
    ("lokr_w1_b", TensorRole::Kron1B),
    ("lokr_w2_a", TensorRole::Kron2A),
    ("lokr_w2_b", TensorRole::Kron2B),
    ("lokr_w1", TensorRole::Kron1),
    ("lokr_w2", TensorRole::Kron2),
    ("lokr_t2", TensorRole::KronT2),
    ("diff", TensorRole::Diff),
    ("diff_b", TensorRole::DiffBias),
    ("w_norm", TensorRole::NormWeight),
    ("b_norm", TensorRole::NormBias),
    ("on_input", TensorRole::OnInput),
    ("ia3_l", TensorRole::Ia3Factor),
    ("oft_blocks", TensorRole::OftBlocks),
    ("oft_diag", TensorRole::OftDiag),
    ("rescale", TensorRole::Rescale),
    ("oft_R", TensorRole::OftInput),
    ("boft_R", TensorRole::BoftInput),
    ("boft_s", TensorRole::BoftScale),
];

/// Words of which `weight` must follow at once; so short that they mean nothing elsewhere.
const WITH_WEIGHT: [(&str, TensorRole); 5] = [
    ("a1", TensorRole::GloraA1),
    ("a2", TensorRole::GloraA2),
    ("b1", TensorRole::GloraB1),
    ("b2", TensorRole::GloraB2),
    ("bm", TensorRole::GloraMid),
];

/// diffusers writes two levels: `lora.down.weight`; old attention processors join the first one to the projection:
/// `to_q_lora.down.weight`.
const SECOND: [(&str, TensorRole); 3] =
    [("down", TensorRole::Down), ("up", TensorRole::Up), ("mid", TensorRole::Mid)];

/// A name without its role.
#[derive(Debug, PartialEq)]
pub(super) struct Named {
    pub(super) module: String,
    pub(super) role: TensorRole,
    /// It is the name of an old attention processor.
    pub(super) is_processor: bool,
}

/// The role of the tensor `name`, and the module that it belongs to.
pub(super) fn of(name: &str) -> Option<Named> {
    let levels: Vec<&str> = name.split('.').collect();
    for at in 0..levels.len() {
        let (before, here) = levels.split_at(at);
        if let Some(role) = dotted(here) {
            return named(before.join("."), role);
        }
        let joined = here.first().and_then(|level| level.strip_suffix("_lora"));
        if let (Some(stem), Some(role)) = (joined, here.get(1..).and_then(second)) {
            return processor(before, stem, role);
        }
    }
    flat(&levels).or_else(|| named(name.strip_suffix(".weight")?.to_owned(), TensorRole::Ia3))
}

fn named(module: String, role: TensorRole) -> Option<Named> {
    (!module.is_empty()).then_some(Named { module, role, is_processor: false })
}

/// `here` is the role and what follows.
fn dotted(here: &[&str]) -> Option<TensorRole> {
    let (first, rest) = here.split_first()?;
    if let (Some((_, role)), ["weight"]) = (WITH_WEIGHT.iter().find(|(word, _)| word == first), rest) {
        return Some(*role);
    }
    if matches!(*first, "lora" | "lora_linear_layer") {
        return match rest {
            ["alpha"] => Some(TensorRole::Alpha),
            _ => second(rest),
        };
    }
    if let Some((_, role)) = WORDS.iter().find(|(word, _)| word == first) {
        return match rest.last() {
            Some(&"bias") if *role == TensorRole::Up && rest.len() <= 2 => Some(TensorRole::UpBias),
            Some(&"bias") => None,
            _ => ends(rest).then_some(*role),
        };
    }
    None
}

fn second(here: &[&str]) -> Option<TensorRole> {
    let (first, rest) = here.split_first()?;
    let (_, role) = SECOND.iter().find(|(word, _)| word == first)?;
    ends(rest).then_some(*role)
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
fn processor(before: &[&str], stem: &str, role: TensorRole) -> Option<Named> {
    let mut levels: Vec<&str> = before.iter().copied().filter(|level| *level != "processor").collect();
    levels.push(stem);
    if stem == "to_out" {
        levels.push("0");
    }
    Some(Named { module: levels.join("."), role, is_processor: stem.starts_with("to_") })
}

/// The role joined by `_` to the module: `…_to_q_lora_down.weight`, `…_to_q_lora_A_own_name_weight`.
fn flat(levels: &[&str]) -> Option<Named> {
    let (levels, last) = match levels {
        [levels @ .., last, "weight"] => (levels, *last),
        [levels @ .., last] => (levels, last.strip_suffix("_weight").unwrap_or(last)),
        [] => return None,
    };
    let module = |stem: &str| levels.iter().copied().chain([stem]).collect::<Vec<_>>().join(".");
    for (word, role) in WORDS {
        if let Some(stem) = last.strip_suffix(word).and_then(|stem| stem.strip_suffix('_')) {
            return named(module(stem), role);
        }
    }
    for (word, role) in [("_lora_A_", TensorRole::Down), ("_lora_B_", TensorRole::Up)] {
        if let Some((stem, _)) = last.split_once(word) {
            return named(module(stem), role);
        }
    }
    None
}
