//! The modules that a model has, by every name that adapter files use for them.

use std::{collections::HashMap, path::Path, sync::OnceLock};

use super::{
    Module,
    format::{Component, Format},
    keys::flatten,
    ordered,
    visit::visit,
};
use crate::{EngineError, Result, TextEncoder, UNet, checkpoint::Naming, text::TextConfig, unet::UNetConfig};

/// Module paths, found by their flattened names.
#[derive(Debug)]
pub struct ModuleTable {
    by_name: HashMap<(Component, String), usize>,
    /// By number, for files that have no names; made when the first such file is looked up.
    by_number: OnceLock<HashMap<(Component, String), usize>>,
    paths: Vec<(Component, String)>,
}

impl ModuleTable {
    /// Stable Diffusion 1.5's modules, as kohya, diffusers and PEFT name them.
    ///
    /// # Errors
    /// None is known.
    pub fn sd15() -> Result<Self> {
        Self::of_configs(UNetConfig::sd15(), &TextConfig::sd15())
    }

    /// The modules of the model in `folder` (Hugging Face layout); only its configs are read.
    ///
    /// # Errors
    /// A config is missing, damaged or of another family of models.
    pub fn of_folder(folder: &Path) -> Result<Self> {
        if !folder.is_dir() {
            let message =
                "is not a folder. A model in Hugging Face layout is a folder with model_index.json.";
            return Err(EngineError::model(folder, message));
        }
        let unet = UNetConfig::read(&folder.join("unet"))?;
        Self::of_configs(unet, &TextConfig::read(&folder.join("text_encoder"))?)
    }

    /// What the models show that are built from these configs, so that table and models cannot disagree.
    fn of_configs(unet: UNetConfig, text: &TextConfig) -> Result<Self> {
        let (mut unet, mut text) = (UNet::of_shapes(unet)?, TextEncoder::of_shapes(text)?);
        let mut paths = Vec::new();
        visit(&mut unet, &mut text, &mut |component, path, parameter, _| {
            paths.extend((!parameter.is_bias()).then(|| (component, path.to_owned())));
            Ok(())
        })?;
        Ok(Self::new(paths))
    }

    /// `paths`: as the model visits them.
    pub(crate) fn new(paths: Vec<(Component, String)>) -> Self {
        let mut by_name = HashMap::with_capacity(3 * paths.len());
        let ldm = ldm_naming(&paths);
        for (index, (component, path)) in paths.iter().enumerate() {
            let flat = flatten(path);
            if *component == Component::TextEncoder {
                // Newer transformers name the text tower without `text_model`.
                let other = match flat.strip_prefix("text_model_") {
                    Some(short) => short.to_owned(),
                    None => format!("text_model_{flat}"),
                };
                by_name.insert((*component, other), index);
            }
            if *component == Component::Unet {
                // The names of the original code, and `to_out` without its place in a list.
                let stored = ldm.stored(&format!("{path}.weight"));
                let stored = stored.as_deref().and_then(|name| name.strip_prefix("model.diffusion_model."));
                if let Some(name) = stored.and_then(|name| name.strip_suffix(".weight")) {
                    let name = flatten(name);
                    if let Some(short) = name.strip_suffix("_to_out_0") {
                        by_name.insert((*component, format!("{short}_to_out")), index);
                    }
                    by_name.insert((*component, name), index);
                }
                if let Some(short) = flat.strip_suffix("_to_out_0") {
                    by_name.insert((*component, format!("{short}_to_out")), index);
                }
            }
            by_name.insert((*component, flat), index);
        }
        Self { by_name, by_number: OnceLock::new(), paths }
    }

    /// Where `module` belongs, as an index into the model's modules.
    pub(super) fn find(&self, module: &Module) -> Option<usize> {
        let names = match module.format {
            Format::Cloneofsimo => self.by_number.get_or_init(|| ordered::names(&self.paths)),
            _ => &self.by_name,
        };
        let at = |component| names.get(&(component, module.flat.clone())).copied();
        match module.component {
            Some(component) => at(component),
            None => at(Component::Unet).or_else(|| at(Component::TextEncoder)),
        }
    }

    /// The module at an index that [`Self::find`] gave.
    pub(super) fn path(&self, index: usize) -> Option<(Component, &str)> {
        self.paths.get(index).map(|(component, path)| (*component, path.as_str()))
    }
}

/// How the original code names the modules of a UNet that has these.
fn ldm_naming(paths: &[(Component, String)]) -> Naming {
    let (mut layers, mut up_attention) = (Vec::new(), Vec::new());
    for (component, path) in paths {
        let mut levels = path.split('.');
        let (side, block, what, index) = (levels.next(), levels.next(), levels.next(), levels.next());
        let number = |text: Option<&str>| {
            text.and_then(|text| text.parse::<usize>().ok()).filter(|n| *n < paths.len())
        };
        let (Component::Unet, Some(block)) = (component, number(block)) else { continue };
        match (side, what) {
            (Some("down_blocks"), Some("resnets")) => {
                layers.resize(layers.len().max(block + 1), 0);
                layers[block] = layers[block].max(number(index).unwrap_or(0) + 1);
            }
            (Some("up_blocks"), Some(what)) => {
                up_attention.resize(up_attention.len().max(block + 1), false);
                up_attention[block] |= what == "attentions";
            }
            _ => {}
        }
    }
    Naming::LdmUnet { layers, up_attention }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_original_codes_names_are_known() {
        let table = ModuleTable::sd15().unwrap();
        for (name, path) in [
            ("input_blocks_3_0_op", "down_blocks.0.downsamplers.0.conv"),
            ("input_blocks_1_1_norm", "down_blocks.0.attentions.0.norm"),
            ("input_blocks_4_0_in_layers_0", "down_blocks.1.resnets.0.norm1"),
            ("middle_block_1_proj_in", "mid_block.attentions.0.proj_in"),
            (
                "middle_block_1_transformer_blocks_0_attn1_to_out",
                "mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0",
            ),
            ("output_blocks_5_2_conv", "up_blocks.1.upsamplers.0.conv"),
            ("time_embed_0", "time_embedding.linear_1"),
            ("out_0", "conv_norm_out"),
            ("out_2", "conv_out"),
            (
                "down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_out",
                "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_out.0",
            ),
        ] {
            let index = table.by_name.get(&(Component::Unet, name.to_owned()));
            assert_eq!(index.and_then(|index| table.path(*index)), Some((Component::Unet, path)), "{name}");
        }
    }

    #[test]
    fn stable_diffusion_has_the_modules_that_kohya_counts() {
        let table = ModuleTable::sd15().unwrap();
        let of = |wanted: Component, part: &str| {
            let here = |(component, path): &&(Component, String)| {
                *component == wanted && path.contains(part) && !ordered::is_norm(path)
            };
            table.paths.iter().filter(here).count()
        };
        let (unet, text) = (of(Component::Unet, ".attentions."), of(Component::TextEncoder, ""));
        assert_eq!((unet, text), (192, 72));
    }
}
