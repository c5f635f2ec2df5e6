//! What is trained: two factors beside every targeted layer.

use adire_protocol::{Targets, TrainingConfig};
use candle_core::{DType, Device, Tensor, Var};
use safetensors::tensor::TensorView;

use super::rng::{RngStream, RunRng};
use crate::{
    EngineError, Result, TextEncoder, UNet, Weight,
    adapter::{self, Adapter, Component, ModuleTable},
    plan::TrainedLayer,
    save,
    weight::LowRank,
};

/// The factors of one layer.
#[derive(Clone, Debug)]
pub struct Trained {
    /// Which model the layer belongs to.
    pub component: Component,
    /// The model's own path of it.
    pub module: String,
    /// A, f32: [rank, in] or [rank, in, height, width].
    pub down: Var,
    /// B, f32: [out, rank] or [out, rank, 1, 1].
    pub up: Var,
}

/// All factors, in the order of the models' layers.
#[derive(Clone, Debug)]
pub struct Parameters {
    layers: Vec<Trained>,
    scale: f64,
    rank: u32,
    alpha: f64,
}

impl Parameters {
    /// New factors for the layers that `config` names: A ~ N(0, 1/rank²), B = 0, so that the adapter begins as no
    /// change.
    ///
    /// # Errors
    /// The models have no such layer, or memory runs out.
    pub fn new(
        config: &TrainingConfig,
        unet: &mut UNet,
        text: &mut TextEncoder,
        device: &Device,
    ) -> Result<Self> {
        let rng = RunRng::new(config.seed);
        let mut layers = Vec::new();
        let rank = config.rank as usize;
        adapter::visit_weights(unet, text, &mut |component, module, weight| {
            if wanted(component, module, config) {
                let base = weight.dims();
                let down: Vec<usize> = [&[rank], &base[1..]].concat();
                let up: Vec<usize> = [&[base[0], rank][..], &vec![1; base.len() - 2]].concat();
                let normal = rng.normal(&down, RngStream::Factors, layers.len() as u64, device)?;
                layers.push(Trained {
                    component,
                    module: module.to_owned(),
                    down: Var::from_tensor(&(normal / rank as f64)?)?,
                    up: Var::zeros(up, DType::F32, device)?,
                });
            }
            Ok(())
        })?;
        if layers.is_empty() {
            let message = "this model has none of the layers that are to be trained".to_owned();
            return Err(EngineError::Request(message));
        }
        Ok(Self {
            layers,
            scale: config.alpha / f64::from(config.rank),
            rank: config.rank,
            alpha: config.alpha,
        })
    }

    /// Gives every factor the value that it has in `adapter`, which must have been trained with the same rank, alpha
    /// and layers.
    ///
    /// # Errors
    /// It was not: the message says where it differs.
    pub fn take(&self, adapter: &Adapter) -> Result<()> {
        let refuse = |what: String| {
            EngineError::Request(format!(
                "the run cannot begin with this adapter: {what}; use the settings it was made with"
            ))
        };
        let table = self.table();
        let pairs = adapter.pairs_of(&table).map_err(|error| refuse(error.to_string()))?;
        if pairs.len() != self.layers.len() {
            return Err(refuse(format!("it changes {} layers, not {}", pairs.len(), self.layers.len())));
        }
        let mut chosen = Vec::with_capacity(pairs.len());
        for layer in &self.layers {
            let found = pairs.iter().find(|p| p.component == layer.component && p.path == layer.module);
            let pair = found.ok_or_else(|| refuse(format!("it does not change {}", layer.module)))?;
            let same = pair.down.elem_count() == layer.down.elem_count()
                && pair.up.elem_count() == layer.up.elem_count()
                && (pair.scale - self.scale).abs() <= 1e-6 * self.scale;
            if !same {
                return Err(refuse(format!("the rank or alpha of {} is another", layer.module)));
            }
            chosen.push((layer, pair));
        }
        // Nothing is changed unless all fits.
        for (layer, pair) in chosen {
            for (factor, value) in [(&layer.down, &pair.down), (&layer.up, &pair.up)] {
                factor.set(&value.reshape(factor.dims())?.to_device(factor.device())?)?;
            }
        }
        Ok(())
    }

    /// The layers.
    pub fn layers(&self) -> &[Trained] {
        &self.layers
    }

    /// Those of the UNet, as a plan takes them.
    pub(super) fn of_unet(&self) -> Vec<TrainedLayer<'_>> {
        let layers = self.layers.iter().filter(|layer| layer.component == Component::Unet);
        layers
            .map(|layer| TrainedLayer {
                path: &layer.module,
                down: layer.down.as_tensor(),
                up: layer.up.as_tensor(),
                scale: self.scale,
            })
            .collect()
    }

    /// The modules that are trained.
    pub fn table(&self) -> ModuleTable {
        ModuleTable::new(self.layers.iter().map(|layer| (layer.component, layer.module.clone())).collect())
    }

    /// Every factor, A before B.
    pub fn factors(&self) -> impl Iterator<Item = &Var> {
        self.layers.iter().flat_map(|layer| [&layer.down, &layer.up])
    }

    /// Numbers that are trained.
    pub fn count(&self) -> usize {
        self.factors().map(|factor| factor.elem_count()).sum()
    }

    /// Attaches the factors to the models' weights. `tracked`: whether gradients are needed; without, no activations are
    /// kept.
    ///
    /// # Errors
    /// None that the models themselves do not give.
    pub fn attach(&self, unet: &mut UNet, text: &mut TextEncoder, tracked: bool) -> Result<()> {
        self.each(unet, text, &mut |weight, layer| {
            let tensor = |factor: &Var| {
                if tracked { factor.as_tensor().clone() } else { factor.as_detached_tensor() }
            };
            let change = |layer: &Trained| LowRank {
                down: tensor(&layer.down),
                up: tensor(&layer.up),
                scale: self.scale,
            };
            weight.set_low_rank(layer.map(change));
        })
    }

    /// Takes every change in training away.
    ///
    /// # Errors
    /// None that the models themselves do not give.
    pub fn detach(unet: &mut UNet, text: &mut TextEncoder) -> Result<()> {
        adapter::visit_weights(unet, text, &mut |_, _, weight| {
            weight.set_low_rank(None);
            Ok(())
        })
    }

    fn each(
        &self,
        unet: &mut UNet,
        text: &mut TextEncoder,
        f: &mut dyn FnMut(&mut Weight, Option<&Trained>),
    ) -> Result<()> {
        let mut layers = self.layers.iter().peekable();
        adapter::visit_weights(unet, text, &mut |component, module, weight| {
            let here = layers.next_if(|layer| layer.component == component && layer.module == module);
            f(weight, here);
            Ok(())
        })
    }

    /// The adapter as a file in kohya's format, with `metadata` beside the tensors.
    ///
    /// # Errors
    /// Memory runs out.
    pub fn to_kohya(&self, metadata: Vec<(String, String)>) -> Result<Vec<u8>> {
        let mut tensors: Vec<(String, Vec<usize>, Vec<f32>)> = Vec::with_capacity(3 * self.layers.len());
        for layer in &self.layers {
            let prefix = match layer.component {
                Component::Unet => "lora_unet_",
                Component::TextEncoder => "lora_te_",
            };
            let name = format!("{prefix}{}", layer.module.replace('.', "_"));
            for (part, factor) in [("lora_down.weight", &layer.down), ("lora_up.weight", &layer.up)] {
                tensors.push((format!("{name}.{part}"), factor.dims().to_vec(), values(factor)?));
            }
            tensors.push((format!("{name}.alpha"), Vec::new(), vec![self.alpha as f32]));
        }
        let common = [
            ("ss_network_module", "networks.lora".to_owned()),
            ("ss_network_dim", self.rank.to_string()),
            ("ss_network_alpha", self.alpha.to_string()),
        ];
        let metadata =
            common.map(|(key, value)| (key.to_owned(), value)).into_iter().chain(metadata).collect();
        let views = tensors
            .iter()
            .map(|(name, shape, values)| {
                let bytes = bytemuck::cast_slice(values);
                let view = TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes);
                Ok((name.as_str(), view.map_err(candle_core::Error::wrap)?))
            })
            .collect::<Result<Vec<_>>>()?;
        save::safetensors(views, metadata)
    }
}

/// The values of a factor.
pub(super) fn values(factor: &Tensor) -> Result<Vec<f32>> {
    Ok(factor.flatten_all()?.to_vec1::<f32>()?)
}

/// Whether `config` asks for this layer to be trained.
fn wanted(component: Component, module: &str, config: &TrainingConfig) -> bool {
    let ends = |names: &[&str]| names.iter().any(|name| module.ends_with(name));
    match component {
        Component::TextEncoder => {
            config.text_encoder && ends(&[".q_proj", ".k_proj", ".v_proj", ".out_proj"])
        }
        Component::Unet => {
            ends(&[".to_q", ".to_k", ".to_v", ".to_out.0"])
                || (config.targets >= Targets::FeedForward && ends(&[".ff.net.0.proj", ".ff.net.2"]))
                || (config.targets >= Targets::Linear && ends(&[".proj_in", ".proj_out"]))
                || (config.targets >= Targets::Convolutions
                    && ends(&[".conv1", ".conv2", ".conv_shortcut", ".time_emb_proj", "samplers.0.conv"]))
        }
    }
}
