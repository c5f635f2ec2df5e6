//! Whole images, and switches of adapters between them.

use std::{ops::ControlFlow, sync::Arc};

use adire_protocol::{GenerationSpec, Rng, Sampler, Sampling};
use candle_core::DType;
use serde::Deserialize;

use super::{Row, Setup, Unit, relative_error};
use crate::{
    Pipeline, Result,
    adapter::{Adapter, Strength},
};

const FILE: &str = "images.safetensors";
/// Adapters that are switched between, and how often.
const SWITCHED: [&str; 4] = ["kohya", "locon", "loha", "dora"];
const SWITCHES: usize = 40;

#[derive(Deserialize)]
struct Request {
    prompt: String,
    negative: String,
    steps: u32,
    guidance: f64,
    seed: u64,
    width: u32,
    height: u32,
}

fn pipeline(setup: &Setup<'_>) -> Result<Pipeline> {
    Pipeline::load(&setup.goldens.join("pipeline"), &setup.options())
}

/// An image by every sampler against diffusers' pipeline.
pub(super) fn compare(setup: &Setup<'_>, add: &mut dyn FnMut(Row)) -> Result<()> {
    let goldens = setup.tensors(FILE)?;
    let request: Request = setup.note(FILE, "request")?;
    let mut pipeline = pipeline(setup)?;
    for sampling in Sampling::ALL {
        let output = pipeline.generate(&request.spec(sampling), &mut |_| ControlFlow::Continue(()))?;
        let error = relative_error(&output.latents, goldens.get(&format!("{sampling}.latents"))?)?;
        add(Row { bound: setup.bounds.latents, ..setup.row(format!("latents {sampling}"), error) });

        let expected = goldens.get(&format!("{sampling}.pixels"))?.flatten_all()?.to_dtype(DType::U8)?;
        let (found, expected) = (output.image.data, expected.to_vec1::<u8>()?);
        let most = found.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max();
        let most = most.filter(|_| found.len() == expected.len()).map_or(f64::INFINITY, f64::from);
        let bound = setup.bounds.levels;
        add(Row { name: format!("image {sampling}"), error: most, bound, unit: Unit::Levels });
    }
    Ok(())
}

/// The fingerprint of the weights and the image after each switch against those of the first time.
pub(super) fn switches(setup: &Setup<'_>, add: &mut dyn FnMut(Row)) -> Result<()> {
    let mut adapters = Vec::new();
    for name in SWITCHED {
        let file = setup.goldens.join(format!("adapters/{name}.safetensors"));
        adapters.push((Arc::new(Adapter::read(&file)?), Strength::from(0.8)));
    }
    let request: Request = setup.note(FILE, "request")?;
    let spec = GenerationSpec { steps: 2, ..request.spec(Sampler::Ddim.into()) };
    let mut pipeline = pipeline(setup)?;
    let mut seen: Vec<Option<(String, Vec<u8>)>> = vec![None; SWITCHED.len() + 1];
    let mut different = 0;
    // Multiples of a number without a common divisor come by everything, in another order than it was made.
    for i in 0..SWITCHES {
        let which = i * 3 % seen.len();
        let wanted = which.checked_sub(1).map_or(&[][..], |one| &adapters[one..=one]);
        pipeline.set_adapters(wanted)?;
        let image = pipeline.generate(&spec, &mut |_| ControlFlow::Continue(()))?.image.data;
        let now = (pipeline.hash_weights()?, image);
        match &seen[which] {
            Some(before) => different += usize::from(*before != now),
            None => seen[which] = Some(now),
        }
    }
    let known = seen.iter().flatten().enumerate();
    let alike =
        known.filter(|(i, (print, _))| seen[..*i].iter().flatten().any(|(other, _)| other == print)).count();
    let name = format!("{SWITCHES} switches, unlike the first time");
    add(Row { name, error: (different + alike) as f64, bound: 0.0, unit: Unit::Count });
    Ok(())
}

/// The images of a batch against the same ones made alone.
pub(super) fn batch(setup: &Setup<'_>, add: &mut dyn FnMut(Row)) -> Result<()> {
    let request: Request = setup.note(FILE, "request")?;
    let mut pipeline = pipeline(setup)?;
    pipeline.set_adapters(&[])?;
    let one = GenerationSpec { steps: 3, ..request.spec(Sampler::EulerA.into()) };
    let of_seed = |seed| GenerationSpec { seed, guidance: 3.0 + seed as f64, ..one.clone() };
    let specs: Vec<_> = (1..=5).map(of_seed).collect();
    let mut alone = Vec::with_capacity(specs.len());
    for spec in &specs {
        alone.push(pipeline.generate(spec, &mut |_| ControlFlow::Continue(()))?.image.data);
    }
    let all: Vec<_> = specs.iter().collect();
    let together = pipeline.generate_all(&all)?;
    let mut most = 0;
    for (together, alone) in together.into_iter().zip(&alone) {
        let pairs = together.image.data.into_iter().zip(alone);
        most = most.max(pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(u8::MAX));
    }
    // candle's products on a GPU depend on the number of rows.
    let bound = if setup.place.device.is_cpu() { 0.0 } else { setup.bounds.levels };
    add(Row { name: "images of a batch of 5".to_owned(), error: f64::from(most), bound, unit: Unit::Levels });
    Ok(())
}

impl Request {
    fn spec(&self, sampling: Sampling) -> GenerationSpec {
        GenerationSpec {
            prompt: self.prompt.clone(),
            negative_prompt: self.negative.clone(),
            seed: self.seed,
            rng: Rng::Cpu,
            steps: self.steps,
            guidance: self.guidance,
            sampling,
            width: self.width,
            height: self.height,
            count: 1,
            clip_skip: 1,
            ..GenerationSpec::default()
        }
    }
}
