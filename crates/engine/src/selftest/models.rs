//! Single calls of the models, with and without adapters.

use std::path::PathBuf;

use candle_core::{DType, Tensor};
use serde::Deserialize;

use super::{Goldens, Row, SINGLE, Setup, relative_error};
use crate::{
    Placement, Result, TextEncoder, UNet, Vae,
    adapter::{self, Adapter, Strength},
    pipeline::Models,
};

/// A UNet and a text encoder as a pipeline has them.
struct Parts {
    unet: UNet,
    text: TextEncoder,
    models: Models,
}

impl Parts {
    fn load(setup: &Setup<'_>, unet: &str, text: &str) -> Result<Self> {
        let options = setup.options();
        let (dtype, device, reading) = (options.tensors(), &options.device, options.reading());
        let unet = UNet::load_reading(&setup.goldens.join(unet), dtype, device, reading)?;
        let text = TextEncoder::load_reading(&setup.goldens.join(text), dtype, device, reading)?;
        let mut parts = Self { unet, text, models: Models::new(&options) };
        parts.models.pack(&mut parts.unet, &mut parts.text)?;
        parts.prepare()?;
        Ok(parts)
    }

    /// Takes over the weights in effect.
    fn prepare(&mut self) -> Result<()> {
        self.models.prepare(&mut self.unet, &mut self.text)
    }

    fn text(&self, ids: &[Vec<u32>]) -> Result<Tensor> {
        let embedded = self.text.embedded(ids, 1)?;
        match self.models.text() {
            Some(planned) => planned(&embedded, self.text.layers()),
            None => self.text.encode(&embedded, 1),
        }
    }

    fn unet(&mut self, x: &Tensor, timestep: f64, context: &Tensor) -> Result<Tensor> {
        self.models.forward(&self.unet, x, timestep, context, false)
    }
}

/// CLIP text encoders against transformers, and UNets against diffusers, at several timesteps.
pub(super) fn calls(setup: &Setup<'_>, add: &mut dyn FnMut(Row)) -> Result<()> {
    let goldens = setup.tensors("modules.safetensors")?;
    let ids = ids(goldens.get("text.ids")?)?;
    for (text, unet) in [("text-quick-gelu", "unet-sd15"), ("text-gelu", "unet-variant")] {
        let mut parts = Parts::load(setup, unet, text)?;
        let error = relative_error(&parts.text(&ids)?, goldens.get(&format!("{text}.out"))?)?;
        add(setup.row(text, error));

        let dtype = setup.options().tensors();
        let input = |key: &str| Ok(goldens.get(&format!("{unet}.{key}"))?.to_dtype(dtype)?) as Result<Tensor>;
        let (x, context) = (input("x")?, input("context")?);
        let mut worst = 0f64;
        for timestep in [0, 7, 481, 999] {
            let found = parts.unet(&x, f64::from(timestep), &context)?;
            worst = worst.max(relative_error(&found, goldens.get(&format!("{unet}.out.{timestep}"))?)?);
        }
        add(setup.row(unet, worst));
        mixed(setup, unet, &goldens, add)?;
    }
    Ok(())
}

/// A UNet with a timestep for each image, as in training, which the modules compute.
fn mixed(setup: &Setup<'_>, name: &str, goldens: &Goldens, add: &mut dyn FnMut(Row)) -> Result<()> {
    let Placement { device, gpu, dtype, .. } = setup.place;
    if gpu.is_some() {
        return Ok(());
    }
    let unet = UNet::load(&setup.goldens.join(name), *dtype, device)?;
    let input = |key: &str| Ok(goldens.get(&format!("{name}.{key}"))?.to_dtype(*dtype)?) as Result<Tensor>;
    let found = unet.forward_each(&input("x")?, &[3.0, 700.0], &input("context")?)?;
    let error = relative_error(&found, goldens.get(&format!("{name}.out.mixed"))?)?;
    add(setup.row(format!("{name}, a timestep for each"), error));
    Ok(())
}

fn ids(tensor: &Tensor) -> Result<Vec<Vec<u32>>> {
    Ok(tensor.to_dtype(DType::U32)?.to_vec2::<u32>()?)
}

/// Autoencoders against diffusers, whole and in tiles; in f32 but on a GPU by own kernels, as pipelines load them.
pub(super) fn autoencoders(setup: &Setup<'_>, add: &mut dyn FnMut(Row)) -> Result<()> {
    let (whole, tiles) = (setup.tensors("modules.safetensors")?, setup.tensors("tiles.safetensors")?);
    for name in ["vae-sd15", "vae-bare"] {
        let options = setup.options();
        let target = options.target();
        let bound = if target.is_some() { setup.bounds.model.max(SINGLE) } else { SINGLE };
        let vae = Vae::load_on(target.as_ref(), &setup.goldens.join(name), DType::F32, &options.device)?;
        let side = 32 / vae.factor();
        for (goldens, tiled) in [(&whole, false), (&tiles, true)] {
            let get = |key: &str| goldens.get(&format!("{name}.{key}"));
            let (z, images) = (get("z")?, get("pictures")?);
            let (decoded, posterior) = match tiled {
                false => (vae.decode(z)?, vae.encode(images)?),
                true => (vae.decode_tiled(z, side)?, vae.encode_tiled(images, side)?),
            };
            let found =
                [(&decoded, "decoded"), (&posterior.mean, "mean"), (&posterior.log_variance, "logvar")];
            let mut worst = 0f64;
            for (found, key) in found {
                worst = worst.max(relative_error(found, get(key)?)?);
            }
            let name = if tiled { format!("{name} in tiles") } else { name.to_owned() };
            add(Row { bound, ..setup.row(name, worst) });
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct Case {
    name: String,
    adapters: Vec<(PathBuf, f64)>,
}

/// A model with every kind of adapter against diffusers and PEFT.
pub(super) fn adapters(setup: &Setup<'_>, add: &mut dyn FnMut(Row)) -> Result<()> {
    let mut parts = Parts::load(setup, "pipeline/unet", "pipeline/text_encoder")?;
    let expected = setup.tensors("adapters/expected.safetensors")?;
    let dtype = setup.options().tensors();
    let (x, context) = (expected.get("x")?.to_dtype(dtype)?, expected.get("context")?.to_dtype(dtype)?);
    let ids = ids(expected.get("ids")?)?;
    let mut cases: Vec<Case> = setup.list("adapters/cases.json")?;
    cases.push(Case { name: "base".to_owned(), adapters: Vec::new() });
    for Case { name, adapters } in cases {
        let mut read = Vec::with_capacity(adapters.len());
        for (file, strength) in adapters {
            read.push((Adapter::read(&setup.goldens.join("adapters").join(file))?, Strength::from(strength)));
        }
        let borrowed: Vec<_> = read.iter().map(|(adapter, strength)| (adapter, *strength)).collect();
        adapter::apply(&borrowed, &mut parts.unet, &mut parts.text)?;
        parts.prepare()?;
        let error =
            relative_error(&parts.unet(&x, 321.0, &context)?, expected.get(&format!("{name}.unet"))?)?;
        let in_text = relative_error(&parts.text(&ids)?, expected.get(&format!("{name}.text"))?)?;
        add(setup.row(format!("adapter {name}"), error.max(in_text)));
    }
    Ok(())
}
