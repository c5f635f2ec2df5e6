//! Parsing of tensor names into module and role.
//!
//! A name is `PREFIXES module ROLE`: any known prefixes, once or nested, with `.` or `_` after them (`prefix.rs`), and the
//! word that says what the tensor is, perhaps with the adapter's own name behind it (`role.rs`). What is between is
//! flattened with `_` and looked up among the model's real modules (`table.rs`): names are never taken apart by guessing
//! where a level ends.

use super::{
    format::{Component, Format},
    prefix,
    role::{self, TensorRole},
};

/// A tensor's name, understood.
#[derive(Debug, PartialEq)]
pub(super) struct Key {
    /// Everything but the role: the module as the file names it.
    pub(super) module: String,
    /// The module without prefixes, as the file separates it.
    pub(super) path: String,
    /// `path` with `_` for `.`.
    pub(super) flat: String,
    /// Absent when the name does not say.
    pub(super) component: Option<Component>,
    pub(super) role: TensorRole,
    pub(super) format: Format,
}

/// Understands a tensor's name; `None` for one that no adapter format has.
pub(super) fn parse(name: &str) -> Option<Key> {
    if let Some(key) = numbered(name) {
        return Some(key);
    }
    let role::Named { module, role, is_processor } = role::of(name)?;
    let prefix = prefix::of(&module);
    let path = module.get(prefix.length..)?.to_owned();
    let is_lora = matches!(
        role,
        TensorRole::Down | TensorRole::Up | TensorRole::Mid | TensorRole::Alpha | TensorRole::DoraScale
    );
    let (component, format) = if is_processor {
        (Some(Component::Unet), Format::AttentionProcessors)
    } else {
        let kohya = prefix.format == Format::Kohya && !is_lora;
        (prefix.component, if kohya { Format::Lycoris } else { prefix.format })
    };
    Some(Key { flat: flatten(&path), path, component, role, format, module })
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
    let role = match (parts.next()?, parts.next()) {
        ("up", None) => TensorRole::Up,
        ("down", None) => TensorRole::Down,
        _ => return None,
    };
    let module = name.rsplit_once(':')?.0.to_owned();
    // `unet:007` would be another name for the same number.
    if !module.ends_with(&format!(":{number}")) {
        return None;
    }
    let (path, flat, format) = (module.clone(), module.clone(), Format::Cloneofsimo);
    Some(Key { module, path, flat, component: Some(component), role, format })
}

/// `down_blocks.0.attentions` → `down_blocks_0_attentions`.
pub(super) fn flatten(path: &str) -> String {
    path.replace('.', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_nest_and_separators_and_own_names_do_not_matter() {
        use Component::{TextEncoder, Unet};
        let q = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q";
        let flat = flatten(q);
        let te = "text_model.encoder.layers.3.self_attn.q_proj";
        for (name, expected, component) in [
            (format!("lycoris_{flat}.lokr_w1"), flat.clone(), None),
            (format!("lycoris_unet_{flat}.lokr_w1"), flat.clone(), Some(Unet)),
            (format!("oft_unet_{flat}.oft_blocks"), flat.clone(), Some(Unet)),
            (format!("unet.unet.{q}.lora.down.weight"), flat.clone(), Some(Unet)),
            (format!("base_model.model.unet.{q}.lora_A.weight"), flat.clone(), Some(Unet)),
            (format!("base_model.model.base_model.model.{q}.lora_A.my_style.weight"), flat.clone(), None),
            (format!("model.diffusion_model.{q}.lora_B.default_0.weight"), flat.clone(), Some(Unet)),
            (format!("diffusion_model_{flat}.alpha"), flat.clone(), Some(Unet)),
            (format!("diffusion_model.lora_unet_{flat}.lora_up.weight"), flat.clone(), Some(Unet)),
            (format!("lora_unet_{flat}_lora_down.weight"), flat.clone(), Some(Unet)),
            (format!("lora_unet_{flat}_lora_down_weight"), flat.clone(), Some(Unet)),
            (format!("unet_{flat}_lora_A_my_style_weight"), flat.clone(), Some(Unet)),
            (format!("unet.{q}.lora_magnitude_vector.default"), flat.clone(), Some(Unet)),
            (format!("unet.{q}.hada_w1_a.own.name"), flat.clone(), Some(Unet)),
            (format!("_orig_mod.{q}.diff_b"), flat.clone(), None),
            (format!("{q}_lora.up.weight"), flat.clone(), Some(Unet)),
            (format!("text_encoders.clip_l.transformer.{te}.lora_up.weight"), flatten(te), Some(TextEncoder)),
            (format!("cond_stage_model.transformer.{te}.diff"), flatten(te), Some(TextEncoder)),
            (format!("te_{}.w_norm", flatten(te)), flatten(te), Some(TextEncoder)),
            (format!("lora_te1_{}.a1.weight", flatten(te)), flatten(te), Some(TextEncoder)),
            (format!("base_model.model.text_encoder.{te}.ia3_l.default"), flatten(te), Some(TextEncoder)),
        ] {
            let key = parse(&name).unwrap_or_else(|| panic!("{name} was not understood"));
            assert_eq!((key.flat, key.component), (expected, component), "{name}");
        }
        // The other text encoders are not CLIP-L.
        for name in [
            "lora_te2_text_model_x.alpha",
            "text_encoder_2.text_model.x.alpha",
            "text_encoders.clip_g.x.alpha",
        ] {
            let key = parse(name).unwrap();
            assert!(!key.flat.starts_with("text_model"), "{name}: {key:?}");
        }
    }

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
    fn every_naming_scheme_is_parsed() {
        use Component::{TextEncoder, Unet};
        let q = "down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q";
        let mlp = "text_model_encoder_layers_0_mlp_fc1";
        let dotted = "down_blocks.0.attentions.0.transformer_blocks.0.attn1";
        for (name, flat, component, role, format) in [
            (format!("lora_unet_{q}.lora_down.weight"), q, Some(Unet), TensorRole::Down, Format::Kohya),
            (format!("lora_te_{mlp}.alpha"), mlp, Some(TextEncoder), TensorRole::Alpha, Format::Kohya),
            (format!("lora_te1_{mlp}.lora_up.weight"), mlp, Some(TextEncoder), TensorRole::Up, Format::Kohya),
            (format!("lora_unet_{q}.hada_w1_a"), q, Some(Unet), TensorRole::Hada1A, Format::Lycoris),
            (format!("unet.{dotted}.to_q.lora_A.weight"), q, Some(Unet), TensorRole::Down, Format::Diffusers),
            (format!("unet.{dotted}.to_q.lora.up.weight"), q, Some(Unet), TensorRole::Up, Format::Diffusers),
            (
                "text_encoder.text_model.encoder.layers.0.mlp.fc1.lora_linear_layer.up.weight".to_owned(),
                mlp,
                Some(TextEncoder),
                TensorRole::Up,
                Format::Diffusers,
            ),
            (format!("base_model.model.{dotted}.to_q.lora_B.weight"), q, None, TensorRole::Up, Format::Peft),
            (
                format!("{dotted}.processor.to_q_lora.down.weight"),
                q,
                Some(Unet),
                TensorRole::Down,
                Format::AttentionProcessors,
            ),
            (
                format!("unet.{dotted}.processor.to_out_lora.up.weight"),
                "down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_out_0",
                Some(Unet),
                TensorRole::Up,
                Format::AttentionProcessors,
            ),
        ] {
            let key = parse(&name).unwrap();
            assert_eq!((key.flat.as_str(), key.component), (flat, component), "{name}");
            assert_eq!((key.role, key.format), (role, format), "{name}");
        }
        assert_eq!(parse(""), None);
        let key = parse("text_encoder:11:down").unwrap();
        assert_eq!((key.module.as_str(), key.component), ("text_encoder:11", Some(TextEncoder)));
        for name in ["unet:0", "unet:x:up", "unet:0:mid", "unet:0:up:1", "unet:00:up", "vae:0:up", "<s1>"] {
            assert_eq!(parse(name), None, "{name}");
        }
    }
}
