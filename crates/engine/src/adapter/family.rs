//! Model family that a file was made for, and recognition of files that are not adapters.

use std::fmt;

use serde::Serialize;

use super::{Module, format::Component};
use crate::checkpoint::vae_naming;

/// A family of base models, recognised by tensor names and shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Stable Diffusion 1.x: text of width 768.
    Sd1,
    /// Stable Diffusion 2.x: text of width 1024.
    Sd2,
    /// SDXL: text of width 2048, two text encoders.
    Sdxl,
    /// Stable Diffusion 3, Flux and other transformers without a UNet.
    Transformer,
    /// A UNet that reads text of another width.
    Width(usize),
    /// Nothing in it tells.
    Unknown,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sd1 => f.write_str("Stable Diffusion 1.x"),
            Self::Sd2 => f.write_str("Stable Diffusion 2.x"),
            Self::Sdxl => f.write_str("SDXL"),
            Self::Transformer => {
                f.write_str("a diffusion transformer (Stable Diffusion 3, Flux or the like)")
            }
            Self::Width(width) => write!(f, "a model whose text has width {width}"),
            Self::Unknown => f.write_str("an unknown model"),
        }
    }
}

impl Family {
    /// From names alone, where these are telling.
    pub(super) fn of_names<'a>(mut names: impl Iterator<Item = &'a str>) -> Option<Self> {
        names.find_map(|name| {
            // SDXL has a second text encoder.
            let sdxl = ["lora_te2_", "text_encoder_2.", "text_encoders.clip_g."];
            let transformer =
                ["transformer.", "lora_transformer_", "lora_unet_double_blocks_", "lora_unet_joint_blocks_"];
            if sdxl.iter().any(|prefix| name.starts_with(prefix)) {
                Some(Self::Sdxl)
            } else if transformer.iter().any(|prefix| name.starts_with(prefix))
                || name.contains("double_blocks.")
            {
                Some(Self::Transformer)
            } else {
                None
            }
        })
    }

    /// From the width of the text that cross-attention reads, or else of the text encoder itself.
    pub(super) fn of_widths(modules: &[Module]) -> Option<Self> {
        let columns = |ends: [&str; 2], component| {
            modules
                .iter()
                .filter(|module| module.component != Some(component))
                .filter(|module| ends.iter().any(|end| module.flat.ends_with(end)))
                .filter_map(|module| module.layer.shape().ok())
                .map(|(_, columns)| columns)
                .find(|columns| *columns > 0)
        };
        let width = columns(["_attn2_to_k", "_attn2_to_v"], Component::TextEncoder)
            .or_else(|| columns(["_self_attn_q_proj", "_self_attn_v_proj"], Component::Unet))?;
        Some(Self::of_width(width))
    }

    /// The width of its text, where that is one number.
    pub(super) fn width(self) -> Option<usize> {
        match self {
            Self::Sd1 => Some(768),
            Self::Sd2 => Some(1024),
            Self::Sdxl => Some(2048),
            Self::Width(width) => Some(width),
            Self::Transformer | Self::Unknown => None,
        }
    }

    /// From the width of the text.
    pub(super) fn of_width(width: usize) -> Self {
        match width {
            768 => Self::Sd1,
            1024 => Self::Sd2,
            2048 => Self::Sdxl,
            other => Self::Width(other),
        }
    }
}

/// Why a file without a single adapter layer is refused.
pub(super) fn no_adapter(names: &[String]) -> String {
    let any = |wanted: &[&str]| names.iter().any(|name| wanted.iter().any(|w| name.starts_with(w)));
    let what = if names.is_empty() {
        "it holds no tensors at all"
    } else if any(&["model.diffusion_model.", "cond_stage_model."]) {
        "it is a whole model (a checkpoint)"
    } else if vae_naming(names, 0).is_some() {
        "it is a VAE; use it with --vae"
    } else if any(&["control_model.", "controlnet_", "lllite_"]) {
        "it is a ControlNet"
    } else if any(&["emb_params", "string_to_param", "clip_l", "clip_g"]) {
        "it is a textual inversion"
    } else {
        "none of its tensors has a name that adapters use"
    };
    let example = names
        .first()
        .map(|name| format!(" (it holds, for example, {})", name.chars().take(100).collect::<String>()));
    format!(
        "holds no adapter: {what}{}. Adapter files of kohya, diffusers, PEFT, LyCORIS, ComfyUI and cloneofsimo are read.",
        example.unwrap_or_default()
    )
}
