//! Single calls of the models, with and without adapters.

use std::path::PathBuf;

use candle_core::{DType, Tensor};
use serde::Deserialize;

use super::{Place, Row, SINGLE, relative_error};
use crate::{
    Result, TextEncoder, UNet, Vae,
    adapter::{self, Adapter, Strength},
};

/// CLIP text encoders against transformers.
pub(super) fn text(place: &Place<'_>, add: &mut dyn FnMut(Row)) -> Result<()> {
    let goldens = place.tensors("modules.safetensors")?;
    let ids = ids(goldens.get("text.ids")?)?;
    for name in ["text-quick-gelu", "text-gelu"] {
        let encoder = TextEncoder::load(&place.goldens.join(name), place.dtype, place.device)?;
        let error = relative_error(&encoder.forward(&ids)?, goldens.get(&format!("{name}.out"))?)?;
        add(place.row(name, error));
    }
    Ok(())
}

fn ids(tensor: &Tensor) -> Result<Vec<Vec<u32>>> {
    Ok(tensor.to_dtype(DType::U32)?.to_vec2::<u32>()?)
}

/// UNets against diffusers, at several timesteps.
pub(super) fn unets(place: &Place<'_>, add: &mut dyn FnMut(Row)) -> Result<()> {
    let goldens = place.tensors("modules.safetensors")?;
    for name in ["unet-sd15", "unet-variant"] {
        let unet = UNet::load(&place.goldens.join(name), place.dtype, place.device)?;
        let input =
            |key: &str| Ok(goldens.get(&format!("{name}.{key}"))?.to_dtype(place.dtype)?) as Result<Tensor>;
        let (x, context) = (input("x")?, input("context")?);
        let mut worst = 0f64;
        for timestep in [0, 7, 481, 999] {
            let found = unet.forward(&x, f64::from(timestep), &context)?;
            worst = worst.max(relative_error(&found, goldens.get(&format!("{name}.out.{timestep}"))?)?);
        }
        let mixed = unet.forward_each(&x, &[3.0, 700.0], &context)?;
        worst = worst.max(relative_error(&mixed, goldens.get(&format!("{name}.out.mixed"))?)?);
        add(place.row(name, worst));
    }
    Ok(())
}

/// Autoencoders against diffusers, whole and in tiles; in f32, as pipelines load them.
pub(super) fn autoencoders(place: &Place<'_>, add: &mut dyn FnMut(Row)) -> Result<()> {
    let (whole, tiles) = (place.tensors("modules.safetensors")?, place.tensors("tiles.safetensors")?);
    for name in ["vae-sd15", "vae-bare"] {
        let vae = Vae::load(&place.goldens.join(name), DType::F32, place.device)?;
        let side = 32 / vae.factor();
        for (goldens, tiled) in [(&whole, false), (&tiles, true)] {
            let get = |key: &str| goldens.get(&format!("{name}.{key}"));
            let (z, pictures) = (get("z")?, get("pictures")?);
            let (decoded, posterior) = match tiled {
                false => (vae.decode(z)?, vae.encode(pictures)?),
                true => (vae.decode_tiled(z, side)?, vae.encode_tiled(pictures, side)?),
            };
            let found =
                [(&decoded, "decoded"), (&posterior.mean, "mean"), (&posterior.log_variance, "logvar")];
            let mut worst = 0f64;
            for (found, key) in found {
                worst = worst.max(relative_error(found, get(key)?)?);
            }
            let name = if tiled { format!("{name} in tiles") } else { name.to_owned() };
            add(Row { bound: SINGLE, ..place.row(name, worst) });
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
pub(super) fn adapters(place: &Place<'_>, add: &mut dyn FnMut(Row)) -> Result<()> {
    let folder = place.goldens.join("pipeline");
    let mut unet = UNet::load(&folder.join("unet"), place.dtype, place.device)?;
    let mut text = TextEncoder::load(&folder.join("text_encoder"), place.dtype, place.device)?;
    let expected = place.tensors("adapters/expected.safetensors")?;
    let (x, context) =
        (expected.get("x")?.to_dtype(place.dtype)?, expected.get("context")?.to_dtype(place.dtype)?);
    let ids = ids(expected.get("ids")?)?;
    let mut cases: Vec<Case> = place.list("adapters/cases.json")?;
    cases.push(Case { name: "base".to_owned(), adapters: Vec::new() });
    for Case { name, adapters } in cases {
        let mut read = Vec::with_capacity(adapters.len());
        for (file, strength) in adapters {
            read.push((Adapter::read(&place.goldens.join("adapters").join(file))?, Strength::from(strength)));
        }
        let borrowed: Vec<_> = read.iter().map(|(adapter, strength)| (adapter, *strength)).collect();
        adapter::apply(&borrowed, &mut unet, &mut text)?;
        let error =
            relative_error(&unet.forward(&x, 321.0, &context)?, expected.get(&format!("{name}.unet"))?)?;
        let in_text = relative_error(&text.forward(&ids)?, expected.get(&format!("{name}.text"))?)?;
        add(place.row(format!("adapter {name}"), error.max(in_text)));
    }
    Ok(())
}
