//! Every sampler's trajectory, with a function in place of a model.

use std::{
    collections::{BTreeMap, HashMap},
    ops::ControlFlow,
};

use adire_protocol::{Rng, Sampling};
use candle_core::Tensor;

use super::{Row, SINGLE, Setup, relative_error};
use crate::{
    EngineError, NoiseSource, Result,
    sampler::{NoiseSchedule, SampleStep, SchedulerConfig, sample},
};

const FILE: &str = "trajectories.safetensors";
/// The golden script's.
const SEED: u64 = 20;

/// Latents after every step against diffusers' schedulers; one row for each sampler over all its schedules.
pub(super) fn compare(setup: &Setup<'_>, add: &mut dyn FnMut(Row)) -> Result<()> {
    let configs: HashMap<String, SchedulerConfig> = setup.note(FILE, "configs")?;
    let goldens = setup.tensors(FILE)?;
    let mut worst: BTreeMap<Sampling, f64> = BTreeMap::new();
    let mut keys: Vec<_> = goldens.tensors.keys().collect();
    keys.sort_unstable();
    for key in keys {
        let [config, sampling, steps, "latents"] = key.split('/').collect::<Vec<_>>()[..] else { continue };
        let (Some(config), Ok(sampling), Ok(steps)) = (configs.get(config), sampling.parse(), steps.parse())
        else {
            let message = format!("has a run that this version does not know: {key}.");
            return Err(EngineError::model(&setup.goldens.join(FILE), message));
        };
        let schedule = NoiseSchedule::new(config.clone())
            .map_err(|message| EngineError::model(&setup.goldens.join(FILE), message))?;
        let expected = goldens.get(key)?;
        let latents = run(setup, sampling, &schedule, steps)?;
        // Of long runs the golden has the last latent only.
        let rows = expected.dim(0)?.min(latents.len());
        let found = Tensor::stack(&latents[latents.len() - rows..], 0)?;
        let worst = worst.entry(sampling).or_insert(0.0);
        for row in 0..rows {
            let (found, expected) = (found.get(row)?.flatten_all()?, expected.get(row)?.flatten_all()?);
            *worst = worst.max(relative_error(&found, &expected)?);
        }
    }
    for (sampling, error) in worst {
        add(Row { bound: SINGLE, ..setup.row(format!("trajectory {sampling}"), error) });
    }
    Ok(())
}

fn run(setup: &Setup<'_>, sampling: Sampling, schedule: &NoiseSchedule, steps: usize) -> Result<Vec<Tensor>> {
    let mut noise = NoiseSource::new(Rng::Cpu, SEED);
    let start = noise.randn(&[1, 4, 3, 3], &setup.place.device)?;
    let mut latents = Vec::with_capacity(steps);
    let mut on_step = |SampleStep { latent, .. }: SampleStep<'_>| {
        latents.push(latent.clone());
        ControlFlow::Continue(())
    };
    sample(sampling, schedule, steps, &mut noise, &start, &mut model, &mut on_step)?;
    Ok(latents)
}

/// The same function as `model` in the golden script.
fn model(x: &Tensor, timestep: f64) -> Result<Tensor> {
    let slow = x.affine(0.7, timestep * 0.001)?.tanh()?;
    let fast = x.affine(1.3, -timestep * 0.004)?.sin()?;
    Ok(((slow * 0.9)? + (fast * 0.3)?)?)
}
