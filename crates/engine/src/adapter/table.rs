//! The modules that a model has, by every name that adapter files use for them.

use std::{collections::HashMap, path::Path, sync::OnceLock};

use super::{
    Module,
    keys::{Component, Format, flatten},
    ordered,
};
use crate::{
    EngineError, Result,
    text::TextConfig,
    unet::{UNetConfig, module_paths},
};

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
    pub fn sd15() -> Self {
        Self::of_configs(&UNetConfig::sd15(), &TextConfig::sd15())
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
        Ok(Self::of_configs(&unet, &TextConfig::read(&folder.join("text_encoder"))?))
    }

    fn of_configs(unet: &UNetConfig, text: &TextConfig) -> Self {
        let unet = module_paths(unet).into_iter().map(|path| (Component::Unet, path));
        let text = text.module_paths().into_iter().map(|path| (Component::TextEncoder, path));
        Self::new(unet.chain(text).collect())
    }

    /// The layers that a run trains.
    pub fn of_layers(layers: &[crate::train::Trained]) -> Self {
        Self::new(layers.iter().map(|layer| (layer.component, layer.module.clone())).collect())
    }

    /// `paths`: as the model visits them.
    pub(super) fn new(paths: Vec<(Component, String)>) -> Self {
        let mut by_name = HashMap::with_capacity(3 * paths.len());
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

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;
    use crate::{TextEncoder, UNet};

    /// The lists made from configs cannot drift from what the models visit.
    #[test]
    fn paths_are_those_that_the_models_visit() {
        let goldens = Path::new("tests/goldens");
        for name in ["unet-sd15", "unet-variant", "pipeline/unet"] {
            let mut unet = UNet::load(&goldens.join(name), DType::F32, &Device::Cpu).unwrap();
            let mut visited = Vec::new();
            let mut visit = |path: &str, _: &mut crate::Weight| {
                visited.push(path.to_owned());
                Ok(())
            };
            unet.visit_weights(&mut visit).unwrap();
            assert_eq!(module_paths(unet.config()), visited, "{name}");
        }
        let folder = goldens.join("pipeline/text_encoder");
        let mut visited = Vec::new();
        let mut visit = |path: &str, _: &mut crate::Weight| {
            visited.push(path.to_owned());
            Ok(())
        };
        let mut text = TextEncoder::load(&folder, DType::F32, &Device::Cpu).unwrap();
        text.visit_weights(&mut visit).unwrap();
        assert_eq!(TextConfig::read(&folder).unwrap().module_paths(), visited);
    }

    #[test]
    fn stable_diffusion_has_the_modules_that_kohya_counts() {
        let table = ModuleTable::sd15();
        let unet = table.paths.iter().filter(|(_, path)| path.contains(".attentions.")).count();
        let text = table.paths.iter().filter(|(component, _)| *component == Component::TextEncoder).count();
        assert_eq!((unet, text), (192, 72));
    }
}
