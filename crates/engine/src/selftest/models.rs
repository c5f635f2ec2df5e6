//! Single calls of the models, with and without adapters.

use std::path::PathBuf;

use candle_core::{DType, Tensor};
use serde::Deserialize;

use super::{Row, SINGLE, Setup, relative_error};
use crate::{
    Result, TextEncoder, UNet, Vae,
    adapter::{self, Adapter, Strength},
};

/// CLIP text encoders against transformers.
pub(super) fn text(setup: &Setup<'_>, add: &mut dyn FnMut(Row)) -> Result<()> {
    let goldens = setup.tensors("modules.safetensors")?;
    let ids = ids(goldens.get("text.ids")?)?;
    for name in ["text-quick-gelu", "text-gelu"] {
        let encoder = TextEncoder::load(&setup.goldens.join(name), setup.dtype, setup.device)?;
        let error = relative_error(&encoder.forward(&ids)?, goldens.get(&format!("{name}.out"))?)?;
        add(setup.row(name, error));
    }
    Ok(())
}

fn ids(tensor: &Tensor) -> Result<Vec<Vec<u32>>> {
    Ok(tensor.to_dtype(DType::U32)?.to_vec2::<u32>()?)
}

/// UNets against diffusers, at several timesteps.
pub(super) fn unets(setup: &Setup<'_>, add: &mut dyn FnMut(Row)) -> Result<()> {
    let goldens = setup.tensors("modules.safetensors")?;
    for name in ["unet-sd15", "unet-variant"] {
        let unet = UNet::load(&setup.goldens.join(name), setup.dtype, setup.device)?;
        let input =
            |key: &str| Ok(goldens.get(&format!("{name}.{key}"))?.to_dtype(setup.dtype)?) as Result<Tensor>;
        let (x, context) = (input("x")?, input("context")?);
        let mut worst = 0f64;
        for timestep in [0, 7, 481, 999] {
            let found = unet.forward(&x, f64::from(timestep), &context)?;
            worst = worst.max(relative_error(&found, goldens.get(&format!("{name}.out.{timestep}"))?)?);
        }
        let mixed = unet.forward_each(&x, &[3.0, 700.0], &context)?;
        worst = worst.max(relative_error(&mixed, goldens.get(&format!("{name}.out.mixed"))?)?);
        add(setup.row(name, worst));
    }
    Ok(())
}

/// Autoencoders against diffusers, whole and in tiles; in f32, as pipelines load them.
pub(super) fn autoencoders(setup: &Setup<'_>, add: &mut dyn FnMut(Row)) -> Result<()> {
    let (whole, tiles) = (setup.tensors("modules.safetensors")?, setup.tensors("tiles.safetensors")?);
    for name in ["vae-sd15", "vae-bare"] {
        let vae = Vae::load(&setup.goldens.join(name), DType::F32, setup.device)?;
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
            add(Row { bound: SINGLE, ..setup.row(name, worst) });
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
    let folder = setup.goldens.join("pipeline");
    let mut unet = UNet::load(&folder.join("unet"), setup.dtype, setup.device)?;
    let mut text = TextEncoder::load(&folder.join("text_encoder"), setup.dtype, setup.device)?;
    let expected = setup.tensors("adapters/expected.safetensors")?;
    let (x, context) =
        (expected.get("x")?.to_dtype(setup.dtype)?, expected.get("context")?.to_dtype(setup.dtype)?);
    let ids = ids(expected.get("ids")?)?;
    let mut cases: Vec<Case> = setup.list("adapters/cases.json")?;
    cases.push(Case { name: "base".to_owned(), adapters: Vec::new() });
    for Case { name, adapters } in cases {
        let mut read = Vec::with_capacity(adapters.len());
        for (file, strength) in adapters {
            read.push((Adapter::read(&setup.goldens.join("adapters").join(file))?, Strength::from(strength)));
        }
        let borrowed: Vec<_> = read.iter().map(|(adapter, strength)| (adapter, *strength)).collect();
        adapter::apply(&borrowed, &mut unet, &mut text)?;
        let error =
            relative_error(&unet.forward(&x, 321.0, &context)?, expected.get(&format!("{name}.unet"))?)?;
        let in_text = relative_error(&text.forward(&ids)?, expected.get(&format!("{name}.text"))?)?;
        add(setup.row(format!("adapter {name}"), error.max(in_text)));
    }
    Ok(())
}
