//! From a tensor's name to the module it changes and the part it plays there.
//!
//! Only fixed prefixes and suffixes are taken off. What remains is flattened with `_` and looked up among the
//! model's real modules (`table.rs`): names are never taken apart by guessing where a level ends.

use serde::Serialize;

/// Which model of the pipeline a weight belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Component {
    /// The denoiser.
    Unet,
    /// CLIP's text tower.
    TextEncoder,
}

impl Component {
    /// The name of its folder in diffusers' layout.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unet => "unet",
            Self::TextEncoder => "text_encoder",
        }
    }
}

/// Who writes names like these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// kohya's sd-scripts: `lora_unet_….lora_down.weight`.
    Kohya,
    /// LyCORIS: kohya's names with `hada_…` or `lokr_…`.
    Lycoris,
    /// diffusers: `unet.….lora_A.weight` or `….lora.down.weight`.
    Diffusers,
    /// diffusers until 2023: `….processor.to_q_lora.down.weight`.
    AttentionProcessors,
    /// PEFT: `base_model.model.….lora_A.weight`.
    Peft,
    /// cloneofsimo/lora: `unet:0:up`, modules by number.
    Cloneofsimo,
}

impl Format {
    /// Its name for people.
    pub fn label(self) -> &'static str {
        match self {
            Self::Kohya => "kohya",
            Self::Lycoris => "LyCORIS",
            Self::Diffusers => "diffusers",
            Self::AttentionProcessors => "diffusers, old attention processors",
            Self::Peft => "PEFT",
            Self::Cloneofsimo => "cloneofsimo",
        }
    }
}

/// What a tensor is to its module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Part {
    Down,
    Up,
    Mid,
    Alpha,
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
}

const SUFFIXES: [(&str, Part); 30] = [
    (".lora_down.weight", Part::Down),
    (".lora_up.weight", Part::Up),
    (".lora_mid.weight", Part::Mid),
    (".alpha", Part::Alpha),
    (".dora_scale", Part::DoraScale),
    (".lora.down.weight", Part::Down),
    (".lora.up.weight", Part::Up),
    (".lora_linear_layer.down.weight", Part::Down),
    (".lora_linear_layer.up.weight", Part::Up),
    (".lora_A.weight", Part::Down),
    (".lora_B.weight", Part::Up),
    (".lora_A.default.weight", Part::Down),
    (".lora_B.default.weight", Part::Up),
    (".lora_magnitude_vector", Part::Magnitude),
    (".lora_magnitude_vector.weight", Part::Magnitude),
    (".lora_magnitude_vector.default.weight", Part::Magnitude),
    (".hada_w1_a", Part::Hada1A),
    (".hada_w1_b", Part::Hada1B),
    (".hada_w2_a", Part::Hada2A),
    (".hada_w2_b", Part::Hada2B),
    (".hada_t1", Part::HadaT1),
    (".hada_t2", Part::HadaT2),
    (".lokr_w1", Part::Kron1),
    (".lokr_w1_a", Part::Kron1A),
    (".lokr_w1_b", Part::Kron1B),
    (".lokr_w2", Part::Kron2),
    (".lokr_w2_a", Part::Kron2A),
    (".lokr_w2_b", Part::Kron2B),
    (".lokr_t2", Part::KronT2),
    (".lora.alpha", Part::Alpha),
];

/// The old attention processors: `attn1.processor.to_q_lora.down.weight` belongs to `attn1.to_q`.
const PROCESSOR_SUFFIXES: [(&str, &str, Part); 8] = [
    (".processor.to_q_lora.down.weight", ".to_q", Part::Down),
    (".processor.to_q_lora.up.weight", ".to_q", Part::Up),
    (".processor.to_k_lora.down.weight", ".to_k", Part::Down),
    (".processor.to_k_lora.up.weight", ".to_k", Part::Up),
    (".processor.to_v_lora.down.weight", ".to_v", Part::Down),
    (".processor.to_v_lora.up.weight", ".to_v", Part::Up),
    (".processor.to_out_lora.down.weight", ".to_out.0", Part::Down),
    (".processor.to_out_lora.up.weight", ".to_out.0", Part::Up),
];

const PREFIXES: [(&str, Component, Format); 5] = [
    ("lora_unet_", Component::Unet, Format::Kohya),
    ("lora_te_", Component::TextEncoder, Format::Kohya),
    ("lora_te1_", Component::TextEncoder, Format::Kohya),
    ("unet.", Component::Unet, Format::Diffusers),
    ("text_encoder.", Component::TextEncoder, Format::Diffusers),
];

/// A tensor's name, understood.
#[derive(Debug, PartialEq)]
pub(super) struct Key {
    /// Everything but the part: the module as the file names it.
    pub(super) module: String,
    /// The module's path with `_` for `.`, without prefix.
    pub(super) flat: String,
    /// Absent when the name does not say.
    pub(super) component: Option<Component>,
    pub(super) part: Part,
    pub(super) format: Format,
}

/// Understands a tensor's name; `None` for one that no adapter format has.
pub(super) fn parse(name: &str) -> Option<Key> {
    for (suffix, projection, part) in PROCESSOR_SUFFIXES {
        if let Some(attention) = name.strip_suffix(suffix) {
            let module = format!("{attention}{projection}");
            let path = module.strip_prefix("unet.").unwrap_or(&module);
            return Some(Key {
                flat: flatten(path),
                component: Some(Component::Unet),
                part,
                format: Format::AttentionProcessors,
                module,
            });
        }
    }
    if let Some(key) = numbered(name) {
        return Some(key);
    }
    let (module, part) =
        SUFFIXES.iter().find_map(|(suffix, part)| Some((name.strip_suffix(suffix)?, *part)))?;
    let key = |path: &str, component, format| Key {
        module: module.to_owned(),
        flat: flatten(path),
        component,
        part,
        format,
    };
    for (prefix, component, format) in PREFIXES {
        if let Some(path) = module.strip_prefix(prefix) {
            let lycoris = !matches!(part, Part::Down | Part::Up | Part::Mid | Part::Alpha | Part::DoraScale);
            return Some(key(path, Some(component), if lycoris { Format::Lycoris } else { format }));
        }
    }
    match module.strip_prefix("base_model.model.") {
        Some(path) => Some(key(path, None, Format::Peft)),
        None => Some(key(module, None, Format::Diffusers)),
    }
}

/// The word of a textual inversion that an adapter file carries along: `bundle_emb.WORD.string_to_param.*`,
/// `bundle_emb.WORD.emb_params` or `bundle_emb.WORD.clip_l`.
pub(super) fn embedding(name: &str) -> Option<&str> {
    let rest = name.strip_prefix("bundle_emb.")?;
    let ends = [".emb_params", ".clip_l"];
    let word = match rest.rfind(".string_to_param.") {
        Some(end) => rest.get(..end)?,
        None => ends.iter().find_map(|end| rest.strip_suffix(end))?,
    };
    (!word.is_empty()).then_some(word)
}

/// cloneofsimo's `unet:0:up`. What the numbers mean is found out once the whole file is read (`ordered.rs`).
fn numbered(name: &str) -> Option<Key> {
    let mut parts = name.split(':');
    let component = match parts.next()? {
        "unet" => Component::Unet,
        "text_encoder" => Component::TextEncoder,
        _ => return None,
    };
    let number: usize = parts.next()?.parse().ok()?;
    let part = match (parts.next()?, parts.next()) {
        ("up", None) => Part::Up,
        ("down", None) => Part::Down,
        _ => return None,
    };
    let module = name.rsplit_once(':')?.0.to_owned();
    // `unet:007` would be another name for the same number.
    if !module.ends_with(&format!(":{number}")) {
        return None;
    }
    let (flat, component, format) = (module.clone(), Some(component), Format::Cloneofsimo);
    Some(Key { module, flat, component, part, format })
}

/// `down_blocks.0.attentions` → `down_blocks_0_attentions`.
pub(super) fn flatten(path: &str) -> String {
    path.replace('.', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundled_embeddings_are_known_by_their_word() {
        for (name, word) in [
            ("bundle_emb.mystyle.string_to_param.*", Some("mystyle")),
            ("bundle_emb.my.style.string_to_param.265", Some("my.style")),
            ("bundle_emb.a.emb_params", Some("a")),
            ("bundle_emb.a.clip_l", Some("a")),
            ("bundle_emb..string_to_param.*", None),
            ("bundle_emb.a.clip_g", None),
            ("bundle_emb.a", None),
            ("emb_params", None),
        ] {
            assert_eq!(embedding(name), word, "{name}");
        }
    }

    #[test]
    fn every_writers_names_are_understood() {
        use Component::{TextEncoder, Unet};
        let q = "down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q";
        let mlp = "text_model_encoder_layers_0_mlp_fc1";
        let dotted = "down_blocks.0.attentions.0.transformer_blocks.0.attn1";
        for (name, flat, component, part, format) in [
            (format!("lora_unet_{q}.lora_down.weight"), q, Some(Unet), Part::Down, Format::Kohya),
            (format!("lora_te_{mlp}.alpha"), mlp, Some(TextEncoder), Part::Alpha, Format::Kohya),
            (format!("lora_te1_{mlp}.lora_up.weight"), mlp, Some(TextEncoder), Part::Up, Format::Kohya),
            (format!("lora_unet_{q}.hada_w1_a"), q, Some(Unet), Part::Hada1A, Format::Lycoris),
            (format!("unet.{dotted}.to_q.lora_A.weight"), q, Some(Unet), Part::Down, Format::Diffusers),
            (format!("unet.{dotted}.to_q.lora.up.weight"), q, Some(Unet), Part::Up, Format::Diffusers),
            (
                "text_encoder.text_model.encoder.layers.0.mlp.fc1.lora_linear_layer.up.weight".to_owned(),
                mlp,
                Some(TextEncoder),
                Part::Up,
                Format::Diffusers,
            ),
            (format!("base_model.model.{dotted}.to_q.lora_B.weight"), q, None, Part::Up, Format::Peft),
            (
                format!("{dotted}.processor.to_q_lora.down.weight"),
                q,
                Some(Unet),
                Part::Down,
                Format::AttentionProcessors,
            ),
            (
                format!("unet.{dotted}.processor.to_out_lora.up.weight"),
                "down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_out_0",
                Some(Unet),
                Part::Up,
                Format::AttentionProcessors,
            ),
        ] {
            let key = parse(&name).unwrap();
            assert_eq!((key.flat.as_str(), key.component), (flat, component), "{name}");
            assert_eq!((key.part, key.format), (part, format), "{name}");
        }
        assert_eq!(parse("model.diffusion_model.input_blocks.0.0.weight"), None);
        assert_eq!(parse(""), None);
        let key = parse("text_encoder:11:down").unwrap();
        assert_eq!((key.module.as_str(), key.component), ("text_encoder:11", Some(TextEncoder)));
        for name in ["unet:0", "unet:x:up", "unet:0:mid", "unet:0:up:1", "unet:00:up", "vae:0:up", "<s1>"] {
            assert_eq!(parse(name), None, "{name}");
        }
    }
}
