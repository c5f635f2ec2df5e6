//! Which model a weight belongs to, and which program's names a file uses.

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

/// Naming scheme of an adapter file, by the program that writes it.
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
    /// ComfyUI's own saving: `diffusion_model.input_blocks.….lora_down.weight`.
    ComfyUi,
}

impl Format {
    /// Display name.
    pub fn label(self) -> &'static str {
        match self {
            Self::Kohya => "kohya",
            Self::Lycoris => "LyCORIS",
            Self::Diffusers => "diffusers",
            Self::AttentionProcessors => "diffusers, old attention processors",
            Self::Peft => "PEFT",
            Self::Cloneofsimo => "cloneofsimo",
            Self::ComfyUi => "ComfyUI",
        }
    }
}
