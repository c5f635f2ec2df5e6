//! Every sampler's whole trajectory against diffusers' (`tools/goldens/trajectories.py`).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::ControlFlow,
    path::PathBuf,
};

use adire_engine::{
    EngineError, NoiseSource, Result,
    sampler::{NoiseSchedule, SampleStep, SchedulerConfig, sample},
};
use adire_protocol::{Rng, Sampler, Sampling};
use candle_core::{Device, Tensor};
use proptest::prelude::*;

const SEED: u64 = 20;
const SHAPE: [usize; 4] = [1, 4, 3, 3];

fn golden_path() -> PathBuf {
    PathBuf::from("tests/goldens/trajectories.safetensors")
}

fn configs() -> HashMap<String, SchedulerConfig> {
    let bytes = std::fs::read(golden_path()).unwrap();
    let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    serde_json::from_str(&metadata.metadata().as_ref().unwrap()["configs"]).unwrap()
}

/// The same function as `model` in the golden script.
fn model(x: &Tensor, timestep: f64) -> Result<Tensor> {
    let slow = x.affine(0.7, timestep * 0.001)?.tanh()?;
    let fast = x.affine(1.3, -timestep * 0.004)?.sin()?;
    Ok(((slow * 0.9)? + (fast * 0.3)?)?)
}

#[derive(Default)]
struct Trace {
    timesteps: Vec<f64>,
    latents: Vec<Vec<f32>>,
    denoised: Vec<Vec<f32>>,
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn run(
    sampling: Sampling,
    schedule: &NoiseSchedule,
    steps: usize,
    noise: &mut NoiseSource,
    batch: usize,
) -> Trace {
    let start = noise.randn(&[batch, SHAPE[1], SHAPE[2], SHAPE[3]], &Device::Cpu).unwrap();
    let timesteps = RefCell::new(Vec::new());
    let mut trace = Trace::default();
    let last = sample(
        sampling,
        schedule,
        steps,
        noise,
        &start,
        &mut |x, timestep| {
            timesteps.borrow_mut().push(timestep);
            model(x, timestep)
        },
        &mut |SampleStep { step, steps: all, latent, denoised }| {
            assert!(step == trace.latents.len() + 1 && all == steps, "step {step} of {all}");
            trace.latents.push(numbers(latent));
            trace.denoised.push(numbers(denoised));
            ControlFlow::Continue(())
        },
    )
    .unwrap();
    assert_eq!(trace.latents.last(), Some(&numbers(&last)));
    trace.timesteps = timesteps.into_inner();
    trace
}

/// Largest difference, relative to the largest value expected.
fn relative_error(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(f32::MIN_POSITIVE, |m, v| m.max(v.abs()));
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / scale
}

#[test]
fn alphas_equal_diffusers() {
    let goldens = candle_core::safetensors::load(golden_path(), &Device::Cpu).unwrap();
    for (name, config) in configs() {
        let schedule = NoiseSchedule::new(config).unwrap();
        let expected = numbers(&goldens[&format!("alphas_cumprod/{name}")]);
        assert_eq!(schedule.alphas_cumprod.len(), expected.len());
        let worst = schedule
            .alphas_cumprod
            .iter()
            .zip(&expected)
            .map(|(a, b)| (a - b).abs() / b.max(1e-6))
            .fold(0.0, f32::max);
        assert!(worst <= 1e-5, "{name}: {worst}");
    }
}

#[test]
fn trajectories_equal_diffusers() {
    let goldens = candle_core::safetensors::load(golden_path(), &Device::Cpu).unwrap();
    let configs = configs();
    let runs: BTreeSet<(String, Sampling, usize)> = goldens
        .keys()
        .filter_map(|key| {
            let [config, sampling, steps, "latents"] = key.split('/').collect::<Vec<_>>()[..] else {
                return None;
            };
            Some((config.to_owned(), sampling.parse().unwrap(), steps.parse().unwrap()))
        })
        .collect();
    assert!(runs.len() > 100, "{} runs", runs.len());
    for sampling in Sampling::ALL {
        assert!(
            runs.iter().filter(|(config, s, _)| config == "sd15" && *s == sampling).count()
                == if sampling == Sampler::Lcm.into() { 6 } else { 7 },
            "{sampling}"
        );
        for config in ["v", "sample", "leading", "trailing", "linspace", "linear"] {
            assert!(runs.contains(&(config.to_owned(), sampling, 6)), "{sampling} {config}");
        }
    }
    let mut worst_of: BTreeMap<Sampling, f32> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (config, sampling, steps) in runs {
        let schedule = NoiseSchedule::new(configs[&config].clone()).unwrap();
        let mut noise = NoiseSource::new(Rng::Cpu, SEED);
        let trace = run(sampling, &schedule, steps, &mut noise, 1);
        let golden = |what: &str| goldens.get(&format!("{config}/{sampling}/{steps}/{what}"));

        let timesteps: Vec<f32> = trace.timesteps.iter().map(|t| *t as f32).collect();
        let expected = numbers(golden("timesteps").unwrap());
        assert_eq!(timesteps.len() as u32, sampling.sampler.model_calls(steps as u32), "{sampling} {steps}");
        if sampling.sampler == Sampler::DpmppSde {
            // Found by interpolating log σ, where numpy's f32 logarithms leave 4 or 5 digits of a fraction.
            assert_eq!(timesteps.len(), expected.len());
            let worst = timesteps.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst <= 1e-3, "{config} {sampling} {steps}: a timestep is off by {worst}");
        } else {
            assert_eq!(timesteps, expected, "{config} {sampling} {steps}");
        }
        // Of long runs the golden has the last latent only.
        let expected = golden("latents").unwrap();
        assert_eq!(trace.latents.len(), steps);
        let rows = expected.dim(0).unwrap();
        assert!(rows == steps || (rows == 1 && steps > 50));
        for (row, latent) in trace.latents[steps - rows..].iter().enumerate() {
            let error = relative_error(latent, &numbers(&expected.get(row).unwrap()));
            if error > 1e-4 {
                wrong.push(format!("{config} {sampling} {steps}: step {row} of {rows} is off by {error}"));
            }
            let worst = worst_of.entry(sampling).or_insert(0f32);
            *worst = worst.max(error);
        }
        if let Some(expected) = golden("denoised") {
            for (index, denoised) in trace.denoised.iter().enumerate() {
                let error = relative_error(denoised, &numbers(&expected.get(index).unwrap()));
                if error > 1e-4 {
                    wrong.push(format!("{config} {sampling} {steps}: estimate {index} is off by {error}"));
                }
            }
        }
    }
    for (sampling, worst) in worst_of {
        println!("{sampling}: {worst:.1e}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_cancel_takes_effect_within_one_step() {
    let schedule = NoiseSchedule::new(configs()["sd15"].clone()).unwrap();
    for sampling in Sampling::ALL {
        let mut noise = NoiseSource::new(Rng::Cpu, SEED);
        let start = noise.randn(&SHAPE, &Device::Cpu).unwrap();
        let mut calls = 0;
        let result = sample(
            sampling,
            &schedule,
            20,
            &mut noise,
            &start,
            &mut |x, t| {
                calls += 1;
                model(x, t)
            },
            &mut |step| if step.step == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) },
        );
        assert!(matches!(result, Err(EngineError::Cancelled)), "{sampling}");
        // Three steps of twenty, of which some take two calls and PNDM's first does.
        let expected = match sampling.sampler {
            Sampler::Heun | Sampler::DpmppSde => 6,
            Sampler::Pndm => 4,
            _ => 3,
        };
        assert_eq!(calls, expected, "{sampling}");
    }
}

#[test]
fn an_error_of_the_model_comes_through() {
    let schedule = NoiseSchedule::new(configs()["sd15"].clone()).unwrap();
    let mut noise = NoiseSource::new(Rng::Cpu, SEED);
    let start = noise.randn(&SHAPE, &Device::Cpu).unwrap();
    for steps in [0, 1001, usize::MAX] {
        let result = sample(Sampler::Euler, &schedule, steps, &mut noise, &start, &mut model, &mut |_| {
            ControlFlow::Continue(())
        });
        assert!(matches!(result, Err(EngineError::Request(_))), "{steps} steps");
    }
    let result = sample(
        Sampler::Euler,
        &schedule,
        2,
        &mut noise,
        &start,
        &mut |_, _| Err(EngineError::Request("no".to_owned())),
        &mut |_| ControlFlow::Continue(()),
    );
    assert!(matches!(result, Err(EngineError::Request(_))));
}

#[test]
fn absurd_schedules_are_refused() {
    for json in [
        r#"{"num_train_timesteps": 0}"#,
        r#"{"num_train_timesteps": 1000000000}"#,
        r#"{"trained_betas": []}"#,
        r#"{"beta_start": 2.0}"#,
        r#"{"beta_end": -1.0}"#,
        r#"{"thresholding": true}"#,
    ] {
        let config: SchedulerConfig = serde_json::from_str(json).unwrap();
        assert!(NoiseSchedule::new(config).is_err(), "{json}");
    }
    let one: SchedulerConfig =
        serde_json::from_str(r#"{"num_train_timesteps": 1, "steps_offset": 900}"#).unwrap();
    let schedule = NoiseSchedule::new(one).unwrap();
    for sampling in Sampling::ALL {
        run(sampling, &schedule, 1, &mut NoiseSource::new(Rng::Cpu, SEED), 1);
    }
}

/// More steps than a schedule can tell apart must not divide by zero.
#[test]
fn as_many_steps_as_a_short_schedule_has_stay_finite() {
    for spacing in ["leading", "trailing", "linspace"] {
        let json = format!(r#"{{"num_train_timesteps": 12, "timestep_spacing": "{spacing}"}}"#);
        let schedule = NoiseSchedule::new(serde_json::from_str(&json).unwrap()).unwrap();
        for sampling in Sampling::ALL {
            for steps in 1..=12 {
                let trace = run(sampling, &schedule, steps, &mut NoiseSource::new(Rng::Cuda, SEED), 1);
                let finite = trace.latents.iter().flatten().all(|x| x.is_finite());
                assert!(finite, "{sampling} {spacing} {steps}");
            }
        }
    }
}

#[test]
fn lcm_has_a_limit_of_its_own() {
    let schedule = NoiseSchedule::new(configs()["sd15"].clone()).unwrap();
    let mut noise = NoiseSource::new(Rng::Cpu, SEED);
    let start = noise.randn(&SHAPE, &Device::Cpu).unwrap();
    let result = sample(Sampler::Lcm, &schedule, 51, &mut noise, &start, &mut model, &mut |_| {
        ControlFlow::Continue(())
    });
    let Err(EngineError::Request(message)) = result else { panic!("{result:?}") };
    assert_eq!(message, "steps must be 1 to 50 with LCM; got 51");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn an_image_does_not_depend_on_its_neighbours(
        seeds in proptest::collection::vec(0u64..1000, 3), steps in 1usize..12, which in 0usize..Sampling::ALL.len(),
        rng in proptest::sample::select(Rng::ALL.to_vec())
    ) {
        let sampling = Sampling::ALL[which];
        let schedule = NoiseSchedule::new(configs()["sd15"].clone()).unwrap();
        let together = run(sampling, &schedule, steps, &mut NoiseSource::per_image(rng, &seeds), seeds.len());
        for (row, seed) in seeds.iter().enumerate() {
            let alone = run(sampling, &schedule, steps, &mut NoiseSource::new(rng, *seed), 1);
            for (batch, one) in together.latents.iter().zip(&alone.latents) {
                prop_assert_eq!(&batch[row * 36..(row + 1) * 36], &one[..]);
            }
        }
    }
}
