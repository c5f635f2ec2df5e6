//! A whole model in one file, as found on model sites: UNet, autoencoder and text encoder under the names of the
//! original code. EMA copies, position ids and training state in it are never read.

use std::{path::Path, sync::Arc};

use super::{Checkpoint, Naming, header::WeightFile};
use crate::{
    EngineError, Result,
    sampler::{PredictionType, SchedulerConfig},
};

const UNET: &str = "model.diffusion_model.";
const VAE: &str = "first_stage_model.";
const TEXT: &str = "cond_stage_model.transformer.";

/// How a VAE's tensors are named; `None` where there is none among `names`.
pub(crate) fn vae_naming(names: &[String], levels: usize) -> Option<Naming> {
    let any = |prefix: &str, parts: &[&str]| {
        let rest = |name: &String| {
            name.strip_prefix(prefix).is_some_and(|rest| parts.iter().any(|p| rest.starts_with(p)))
        };
        names.iter().any(rest)
    };
    let original = ["encoder.down.", "encoder.mid.", "decoder.up.", "decoder.mid."];
    let diffusers =
        ["encoder.down_blocks.", "encoder.mid_block.", "decoder.up_blocks.", "decoder.mid_block."];
    if any(VAE, &original) {
        Some(Naming::LdmVae { levels, prefix: VAE })
    } else if any("", &original) {
        Some(Naming::LdmVae { levels, prefix: "" })
    } else {
        any("", &diffusers).then_some(Naming::Diffusers)
    }
}

impl Checkpoint {
    /// The VAE in the file `path`, under whichever names.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn of_vae(path: &Path, levels: usize) -> Result<Self> {
        let file = WeightFile::open(path)?;
        let names = file.names();
        let Some(naming) = vae_naming(&names, levels) else {
            let example = names.first().map(|name| name.chars().take(100).collect::<String>());
            let example = example.map(|name| format!(" (it holds, for example, {name})")).unwrap_or_default();
            let message = format!(
                "is not a VAE{example}: no tensor is named first_stage_model.decoder…, decoder.up… or \
                 decoder.up_blocks…"
            );
            return Err(EngineError::model(path, message));
        };
        Ok(Self::part(Arc::new(file), naming))
    }
}

/// An open single-file checkpoint that has the parts of Stable Diffusion 1.x.
#[derive(Debug)]
pub(crate) struct SingleFile {
    file: Arc<WeightFile>,
}

impl SingleFile {
    /// Opens `path` and looks at its names.
    ///
    /// # Errors
    /// It is damaged, a pickle, of another family of models, or lacks a part; the message says which.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let this = Self { file: Arc::new(WeightFile::open(path)?) };
        match this.refusal() {
            Some(what) => Err(EngineError::model(path, what)),
            None => Ok(this),
        }
    }

    /// Why this is not a Stable Diffusion 1.x checkpoint, if it is not.
    fn refusal(&self) -> Option<String> {
        let names = self.file.names();
        let any = |prefixes: &[&str]| names.iter().any(|name| prefixes.iter().any(|p| name.starts_with(p)));
        let family = if any(&["conditioner.embedders."]) {
            "an SDXL model"
        } else if any(&["cond_stage_model.model."]) || self.text_width() == Some(1024) {
            "a Stable Diffusion 2.x model"
        } else if any(&["model.diffusion_model.joint_blocks."]) {
            "a Stable Diffusion 3 model"
        } else if any(&["model.diffusion_model.double_blocks.", "double_blocks."]) {
            "a Flux model"
        } else if any(&["control_model."]) {
            "a ControlNet"
        } else if any(&["lora_unet_", "lora_te", "unet.", "base_model.model."]) {
            return Some(
                "is an adapter, not a model. Load a model, and this file as an adapter (--lora).".to_owned(),
            );
        } else if !any(&[UNET]) && vae_naming(&names, 0).is_some() {
            let message = "is a VAE, not a whole model. Load a model, and this file beside it (--vae).";
            return Some(message.to_owned());
        } else if any(&["down_blocks.", "decoder.", "text_model."]) {
            let message = "is one part of a model in Hugging Face layout. Name the folder that holds \
                model_index.json, not a file in it.";
            return Some(message.to_owned());
        } else if any(&[UNET]) {
            let missing = [(VAE, "autoencoder"), (TEXT, "text encoder")];
            let (prefix, part) = missing.into_iter().find(|(prefix, _)| !any(&[prefix]))?;
            return Some(format!(
                "has no {part} (no tensor is named {prefix}…): only a part of a model was saved. Get the full \
                 checkpoint."
            ));
        } else if any(&["model_ema."]) {
            return Some("holds only EMA weights. Get the full checkpoint.".to_owned());
        } else {
            let example = names.first().map(|name| name.chars().take(100).collect::<String>());
            let example = example.map(|name| format!(" (it holds, for example, {name})")).unwrap_or_default();
            return Some(format!(
                "is not a Stable Diffusion 1.x checkpoint: no tensor is named {UNET}…{example}."
            ));
        };
        Some(format!("is {family}, not Stable Diffusion 1.x."))
    }

    /// Width of the text that the UNet attends to.
    fn text_width(&self) -> Option<usize> {
        let key = "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight";
        self.file.info(&format!("{UNET}{key}"))?.shape.get(1).copied()
    }

    /// Whether the transformers' projections are linear layers, not 1×1 convolutions.
    pub(crate) fn linear_projection(&self) -> bool {
        let proj_in = |name: &String| name.starts_with(UNET) && name.ends_with(".1.proj_in.weight");
        let found = self.file.names().into_iter().find(proj_in);
        found.and_then(|name| self.file.info(&name)).is_some_and(|info| info.shape.len() == 2)
    }

    /// Channels that the UNet takes: more than the latent has in inpainting models.
    pub(crate) fn in_channels(&self) -> Option<usize> {
        self.file.info(&format!("{UNET}input_blocks.0.0.weight"))?.shape.get(1).copied()
    }

    /// The schedule that the file's own notes call for, on top of `config`: `modelspec.prediction_type`
    /// (Stability AI's model metadata), and the marks `v_pred` and `ztsnr` (empty tensors) that trainers leave.
    pub(crate) fn schedule(&self, config: SchedulerConfig) -> SchedulerConfig {
        let note = self.file.notes().and_then(|notes| notes.get("modelspec.prediction_type"));
        let is_v = note.is_some_and(|kind| kind.starts_with('v')) || self.file.info("v_pred").is_some();
        SchedulerConfig {
            prediction_type: if is_v { PredictionType::VPrediction } else { config.prediction_type },
            rescale_betas_zero_snr: config.rescale_betas_zero_snr || self.file.info("ztsnr").is_some(),
            ..config
        }
    }

    /// The UNet; see [`Naming::LdmUnet`].
    pub(crate) fn unet(&self, layers: Vec<usize>, up_attention: Vec<bool>) -> Checkpoint {
        Checkpoint::part(Arc::clone(&self.file), Naming::LdmUnet { layers, up_attention })
    }

    /// The autoencoder.
    pub(crate) fn vae(&self, levels: usize) -> Checkpoint {
        Checkpoint::part(Arc::clone(&self.file), Naming::LdmVae { levels, prefix: VAE })
    }

    /// The text encoder.
    pub(crate) fn text(&self) -> Checkpoint {
        Checkpoint::part(Arc::clone(&self.file), Naming::LdmText)
    }
}
