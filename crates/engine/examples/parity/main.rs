//! The engine's half of `cargo xtask parity`: `parity FOLDER`, where FOLDER is what `tools/parity/pipelines.py` wrote.
//!
//! Computes every case of `cases.json` and prints one line of JSON for each: its row, the error, the bar. The parts of the
//! model are loaded one after the other, so that never more than one pipeline is in memory.

mod cases;
mod compare;

use std::{cell::RefCell, collections::HashMap, error::Error, ops::ControlFlow, path::Path};

use adire_engine::{
    InitImage, InpaintMask, LoadOptions, NoiseSource, Pipeline, Rgb8, TextEncoder, Tokenizer, UNet, Vae,
    adapter::{self, Adapter},
    sampler::{NoiseSchedule, Start, sample},
};
use adire_protocol::{GenerationRequest, Limits, Rng};
use candle_core::{DType, Device, Tensor};

use crate::{
    cases::{Case, Kind, Part},
    compare::{pixel_error, relative_error},
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let folder = std::env::args().nth(1).ok_or("usage: parity FOLDER")?;
    let folder = Path::new(&folder);
    let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(folder.join("cases.json"))?)?;
    let tensors = candle_core::safetensors::load(folder.join("reference.safetensors"), &Device::Cpu)?;
    let bench = Bench { model: folder.join("model"), tensors };
    for part in [Part::Text, Part::Unet, Part::Vae, Part::Pipeline] {
        let mut cases = cases.iter().filter(|case| case.kind.part() == part).peekable();
        if cases.peek().is_none() {
            continue;
        }
        match part {
            Part::Text => bench.text(cases)?,
            Part::Unet => bench.unet(folder, cases)?,
            Part::Vae => bench.vae(cases)?,
            Part::Pipeline => bench.pipeline(cases)?,
        }
    }
    Ok(())
}

/// Where the model is, and every reference tensor.
struct Bench {
    model: std::path::PathBuf,
    tensors: HashMap<String, Tensor>,
}

fn report(case: &Case, error: f64) {
    println!("{}", serde_json::json!({ "row": case.row, "error": error, "bar": case.bar }));
}

impl Bench {
    fn get(&self, name: &str) -> Result<&Tensor> {
        self.tensors.get(name).ok_or_else(|| format!("the reference lacks {name}").into())
    }

    fn ids(&self, name: &str) -> Result<Vec<Vec<u32>>> {
        Ok(self.get(name)?.to_dtype(DType::U32)?.to_vec2()?)
    }

    fn load_text(&self) -> Result<TextEncoder> {
        Ok(TextEncoder::load(&self.model.join("text_encoder"), DType::F32, &Device::Cpu)?)
    }

    fn text<'a>(&self, cases: impl Iterator<Item = &'a Case>) -> Result<()> {
        let text = self.load_text()?;
        for case in cases {
            match &case.kind {
                Kind::Tokens { texts, ids } => {
                    let tokenizer = Tokenizer::load(&self.model.join("tokenizer"), text.positions())?;
                    let mut wrong = 0;
                    for (text, expected) in texts.iter().zip(ids) {
                        let found = tokenizer.encode(text)?.ids;
                        wrong += found.iter().zip(expected).filter(|(a, b)| a != b).count();
                        wrong += found.len().abs_diff(expected.len());
                    }
                    report(case, wrong as f64);
                }
                Kind::Text { ids, out } => {
                    report(case, relative_error(&text.forward(&self.ids(ids)?)?, self.get(out)?)?);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn unet<'a>(&self, folder: &Path, cases: impl Iterator<Item = &'a Case>) -> Result<()> {
        let mut unet = UNet::load(&self.model.join("unet"), DType::F32, &Device::Cpu)?;
        let mut text = self.load_text()?;
        for case in cases {
            match &case.kind {
                Kind::Unet { x, timestep, context, out } => {
                    let x = self.get(x)?;
                    let context = self.get(context)?.narrow(0, 0, x.dim(0)?)?;
                    report(case, relative_error(&unet.forward(x, *timestep, &context)?, self.get(out)?)?);
                }
                Kind::Trajectory { .. } => report(case, self.trajectory(&unet, &case.kind)?),
                Kind::Adapter { file, x, timestep, context, ids, unet: unet_out, text: text_out } => {
                    let adapter = Adapter::read(&folder.join(file))?;
                    let receipts = adapter::apply(&[(&adapter, 1.0.into())], &mut unet, &mut text)?;
                    let left_out = receipts.iter().map(|r| r.skipped.len() + r.unknown.len()).sum::<usize>();
                    let context = self.get(context)?.narrow(0, 0, 1)?;
                    let found = unet.forward(self.get(x)?, *timestep, &context)?;
                    let ids = self.ids(ids)?;
                    let output = text.forward(&ids[ids.len() - 1..])?;
                    let error = relative_error(&found, self.get(unet_out)?)?
                        .max(relative_error(&output, self.get(text_out)?)?);
                    // A layer that has no place here is as bad as a wrong one.
                    report(case, if left_out == 0 { error } else { f64::INFINITY });
                    adapter::apply(&[], &mut unet, &mut text)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Largest error of any latent on the way.
    fn trajectory(&self, unet: &UNet, kind: &Kind) -> Result<f64> {
        let Kind::Trajectory { sampler, seed, guidance, context, latents } = kind else { return Ok(0.0) };
        let (context, expected) = (self.get(context)?, self.get(latents)?);
        let (steps, shape) = (expected.dim(0)?, &expected.dims()[1..]);
        let scheduler = self.model.join("scheduler").join("scheduler_config.json");
        let schedule = NoiseSchedule::new(serde_json::from_slice(&std::fs::read(scheduler)?)?)?;
        let mut noise = NoiseSource::new(Rng::Cpu, *seed);
        let start = noise.randn(shape, &Device::Cpu)?;
        let found = RefCell::new(Vec::new());
        sample(
            sampler.sampling(),
            &schedule,
            steps,
            &mut noise,
            Start::from(&start),
            &mut |x, timestep| {
                let both = unet.forward(&Tensor::cat(&[x, x], 0)?, timestep, context)?;
                let (without, given) = (both.narrow(0, 0, 1)?, both.narrow(0, 1, 1)?);
                Ok((&without + ((given - &without)? * *guidance)?)?)
            },
            &mut |step| {
                found.borrow_mut().push(step.latent.clone());
                ControlFlow::Continue(())
            },
        )?;
        let mut worst = 0f64;
        for (step, latent) in found.into_inner().iter().enumerate() {
            worst = worst.max(relative_error(latent, &expected.get(step)?)?);
        }
        Ok(worst)
    }

    fn vae<'a>(&self, cases: impl Iterator<Item = &'a Case>) -> Result<()> {
        let vae = Vae::load(&self.model.join("vae"), DType::F32, &Device::Cpu)?;
        for case in cases {
            match &case.kind {
                Kind::Decode { z, out } => {
                    report(case, relative_error(&vae.decode(self.get(z)?)?, self.get(out)?)?);
                }
                Kind::Encode { image, mean, log_variance } => {
                    let found = vae.encode(self.get(image)?)?;
                    let mean = relative_error(&found.mean, self.get(mean)?)?;
                    report(case, mean.max(relative_error(&found.log_variance, self.get(log_variance)?)?));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn pipeline<'a>(&self, cases: impl Iterator<Item = &'a Case>) -> Result<()> {
        let mut pipeline = Pipeline::load(&self.model, &LoadOptions::default())?;
        for case in cases {
            let Kind::Image { request, pixels, init, mask } = &case.kind else { continue };
            let init = init.as_ref().map(|name| self.rgb8(name)).transpose()?;
            let mask = mask.as_ref().map(|name| self.mask(name)).transpose()?;
            let info = pipeline.info();
            // The small images are smaller and of odder sizes than people may ask for.
            let limits = Limits { min_size: 8, size_step: 4, ..info.limits.clone() };
            let mut request = GenerationRequest::clone(request);
            // Images are named by hashes, which only the studio computes.
            request.init_image = init.as_ref().map(|_| "0".repeat(64));
            request.mask = mask.as_ref().map(|_| "1".repeat(64));
            request.keep_unmasked = mask.as_ref().map(|_| false);
            let spec = request.validate(&limits, &info.defaults, 0)?;
            let init_image = init.as_ref().map(|image| InitImage { image, mask: mask.as_ref() });
            let found = pipeline.generate_from(&spec, init_image, &mut |_| ControlFlow::Continue(()))?;
            let expected = self.get(pixels)?.flatten_all()?.to_vec1::<u8>()?;
            report(case, pixel_error(&found.image.data, &expected)?);
        }
        Ok(())
    }

    fn rgb8(&self, name: &str) -> Result<Rgb8> {
        let tensor = self.get(name)?;
        let (height, width, _) = tensor.dims3()?;
        let data = tensor.flatten_all()?.to_vec1::<u8>()?;
        Ok(Rgb8 { width: width as u32, height: height as u32, data })
    }

    fn mask(&self, name: &str) -> Result<InpaintMask> {
        let tensor = self.get(name)?;
        let (height, width) = tensor.dims2()?;
        // diffusers' own threshold.
        let inpaint = tensor.flatten_all()?.to_vec1::<u8>()?.into_iter().map(|v| v >= 128).collect();
        Ok(InpaintMask { width: width as u32, height: height as u32, inpaint })
    }
}
