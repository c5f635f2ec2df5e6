//! Against diffusers and PEFT (`tools/goldens/training.py`), and what a run promises about itself.

use std::{collections::HashMap, path::Path};

use adire_kernels::Dtype;
use adire_protocol::Targets;
use candle_core::Var;

use super::{gradients::Draws, *};
use crate::train::data::Example;
use crate::{
    sampler::{NoiseSchedule, PredictionType},
    train::Trained,
};

type Tensors = HashMap<String, Tensor>;

fn goldens() -> &'static Path {
    Path::new("tests/goldens")
}

fn golden() -> Tensors {
    candle_core::safetensors::load(goldens().join("training.safetensors"), &Device::Cpu).unwrap()
}

fn example(seed: u64) -> Example {
    let mut source = crate::NoiseSource::new(adire_protocol::Rng::Cpu, seed);
    let mean = source.randn(&[1, 4, 8, 8], &Device::Cpu).unwrap();
    let log_variance = (mean.zeros_like().unwrap() - 4.0).unwrap();
    let mut tokens = vec![672u32; 77];
    tokens[1] = 5 + seed as u32;
    Example { mean, log_variance, tokens, truncated: false }
}

fn data() -> Prepared {
    Prepared {
        instances: (0..3).map(example).collect(),
        classes: Vec::new(),
        held_out: vec![example(9)],
        empty: vec![673; 77],
    }
}

/// How the UNet computes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum By {
    Modules(DType),
    /// With operands of a type.
    Plan(Dtype),
}

fn trainer(config: TrainingConfig, prediction: PredictionType, data: Prepared) -> Trainer {
    trainer_by(By::Plan(Dtype::F32), config, prediction, data)
}

fn trainer_by(by: By, config: TrainingConfig, prediction: PredictionType, data: Prepared) -> Trainer {
    let folder = goldens().join("pipeline");
    let dtype = if let By::Modules(dtype) = by { dtype } else { DType::F32 };
    let mut unet = UNet::load(&folder.join("unet"), dtype, &Device::Cpu).unwrap();
    let planned = match by {
        By::Plan(operands) => Some(PlannedUNet::new(&mut unet, operands).unwrap().unwrap()),
        By::Modules(_) => None,
    };
    let text = TextEncoder::load(&folder.join("text_encoder"), dtype, &Device::Cpu).unwrap();
    let schedule = NoiseSchedule::read(&folder.join("scheduler/scheduler_config.json")).unwrap();
    let objective = Objective::new(&schedule).with_prediction(prediction);
    let (scale, device) = ((0.18215, 0.0), &Device::Cpu);
    Trainer::new(config, &unet, planned.as_ref(), &text, objective, data, scale, device, dtype).unwrap()
}

fn config() -> TrainingConfig {
    TrainingConfig { rank: 3, alpha: 6.0, ..TrainingConfig::default() }
}

/// Largest difference, relative to the largest expected value.
fn error(found: &Tensor, expected: &Tensor) -> f64 {
    let largest = |x: &Tensor| {
        f64::from(x.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap())
    };
    largest(&(found - expected).unwrap()) / largest(expected)
}

fn name(case: &str, layer: &Trained, part: &str) -> String {
    format!("{case}.{}.{}.{part}", layer.component.name(), layer.module)
}

/// The factors of a case, in the trainer's order.
fn named<'a>(case: &'a str, trainer: &'a Trainer) -> impl Iterator<Item = (String, &'a Var)> {
    trainer.parameters.layers().iter().flat_map(move |layer| {
        [(name(case, layer, "down"), &layer.down), (name(case, layer, "up"), &layer.up)]
    })
}

fn load_factors(case: &str, trainer: &Trainer, golden: &Tensors) {
    let parts = golden.keys().filter(|key| {
        key.starts_with(&format!("{case}.")) && (key.ends_with(".down") || key.ends_with(".up"))
    });
    assert_eq!(parts.count(), 2 * trainer.parameters.layers().len(), "{case}: other layers than PEFT's");
    for (name, factor) in named(case, trainer) {
        factor.set(&golden[&name]).unwrap();
    }
}

struct Batch {
    latents: Tensor,
    noise: Tensor,
    timesteps: Vec<usize>,
    ids: Vec<Vec<u32>>,
    context: Option<Tensor>,
}

fn batch(case: &str, golden: &Tensors, index: usize) -> Batch {
    let get = |key: &str| golden.get(&format!("{case}.{key}")).map(|all| all.get(index).unwrap());
    let whole = |x: Tensor| x.to_dtype(DType::U32).unwrap();
    let timesteps = whole(get("timesteps").unwrap()).to_vec1::<u32>().unwrap();
    Batch {
        latents: get("latents").unwrap(),
        noise: get("noise").unwrap(),
        timesteps: timesteps.into_iter().map(|t| t as usize).collect(),
        ids: whole(get("ids").unwrap()).to_vec2::<u32>().unwrap(),
        context: get("context"),
    }
}

/// Loss and gradients for given draws; `prior` is the weight of the batch's second half.
fn gradients(
    trainer: &mut Trainer,
    batch: &Batch,
    prior: Option<f64>,
    gamma: Option<f64>,
) -> (f64, Vec<Option<Tensor>>) {
    trainer.parameters.attach(&mut trainer.unet, &mut trainer.text, true).unwrap();
    let context = match &batch.context {
        Some(context) => context.clone(),
        None => trainer.text.forward(&batch.ids).unwrap(),
    };
    let mut sums = vec![None; 2 * trainer.parameters.layers().len()];
    let mut part = |start: usize, count: usize, gamma, weight| {
        let take = |x: &Tensor| x.narrow(0, start, count).unwrap();
        let draws = Draws {
            latents: take(&batch.latents),
            noise: take(&batch.noise),
            timesteps: batch.timesteps[start..start + count].to_vec(),
            tokens: Vec::new(),
        };
        trainer.add_gradients(&draws, &take(&context), gamma, weight, &mut sums).unwrap()
    };
    let count = batch.timesteps.len();
    let loss = match prior {
        None => part(0, count, gamma, 1.0),
        Some(weight) => {
            let half = count / 2;
            part(0, half, gamma, 1.0) + part(half, half, None, weight)
        }
    };
    (loss, sums)
}

fn check_gradients(
    case: &str,
    config: TrainingConfig,
    prediction: PredictionType,
    prior: Option<f64>,
    gamma: Option<f64>,
) {
    let golden = golden();
    let modules = By::Modules(DType::F32);
    for (by, gradient_checkpointing) in [(By::Plan(Dtype::F32), false), (modules, false), (modules, true)] {
        let config = TrainingConfig { gradient_checkpointing, ..config.clone() };
        let convolutions = config.targets >= Targets::Convolutions;
        let mut trainer = trainer_by(by, config, prediction, data());
        assert_eq!(trainer.plan.is_some(), by != modules && !convolutions, "{case}");
        load_factors(case, &trainer, &golden);
        let (loss, found) = gradients(&mut trainer, &batch(case, &golden, 0), prior, gamma);
        let expected = f64::from(golden[&format!("{case}.loss")].to_scalar::<f32>().unwrap());
        assert!((loss - expected).abs() <= 1e-5 * expected, "{case}: loss {loss}, expected {expected}");
        for ((name, _), gradient) in named(case, &trainer).zip(&found) {
            let gradient = gradient.as_ref().unwrap_or_else(|| panic!("{name} got no gradient"));
            let error = error(gradient, &golden[&format!("{name}.gradient")]);
            assert!(error <= 1e-4, "{name}: relative error {error:.1e}");
        }
    }
}

#[test]
fn gradients_equal_pytorchs_through_attention_and_the_text_encoder() {
    let config = TrainingConfig { text_encoder: true, ..config() };
    check_gradients("attention", config, PredictionType::Epsilon, None, None);
}

#[test]
fn gradients_equal_pytorchs_through_every_layer_with_prior_and_min_snr() {
    let config = TrainingConfig { targets: Targets::Convolutions, ..config() };
    check_gradients("convolutions", config, PredictionType::Epsilon, Some(0.7), Some(5.0));
}

#[test]
fn gradients_equal_pytorchs_for_velocity() {
    check_gradients("velocity", config(), PredictionType::VPrediction, None, Some(5.0));
}

/// Half precision rounds, but what is trained goes the same way; recomputed blocks give the same.
#[test]
fn every_precision_trains_every_target_with_and_without_checkpointing() {
    let mut source = crate::NoiseSource::new(adire_protocol::Rng::Cpu, 5);
    let noise = source.randn(&[1, 4, 8, 8], &Device::Cpu).unwrap();
    let Example { mean: latents, tokens, .. } = example(1);
    let batch = Batch { latents, noise, timesteps: vec![500], ids: vec![tokens], context: None };
    for targets in [Targets::Attention, Targets::Linear, Targets::Convolutions] {
        for text_encoder in [false, true] {
            let mut expected: Option<(f64, Vec<Tensor>)> = None;
            let modules = [DType::F32, DType::F16, DType::BF16].map(By::Modules);
            let plans = [Dtype::F32, Dtype::Bf16].map(By::Plan);
            for by in modules.into_iter().chain(plans) {
                for gradient_checkpointing in [false, true] {
                    let case = format!("{targets:?} {text_encoder} {by:?} {gradient_checkpointing}");
                    let config = TrainingConfig { targets, text_encoder, gradient_checkpointing, ..quick() };
                    let mut trainer = trainer_by(by, config, PredictionType::Epsilon, data());
                    // Both factors other than zero, so that both have a gradient.
                    let mut source = crate::NoiseSource::new(adire_protocol::Rng::Cpu, 6);
                    for factor in trainer.parameters.factors() {
                        let values = source.randn(factor.dims(), &Device::Cpu).unwrap();
                        factor.set(&(values * 0.05).unwrap()).unwrap();
                    }
                    let (loss, found) = gradients(&mut trainer, &batch, None, None);
                    let found: Vec<Tensor> = found
                        .into_iter()
                        .map(|one| {
                            one.unwrap_or_else(|| panic!("{case}: no gradient")).flatten_all().unwrap()
                        })
                        .collect();
                    let Some((wanted, directions)) = &expected else {
                        expected = Some((loss, found));
                        continue;
                    };
                    assert!((loss - wanted).abs() <= 0.05 * wanted, "{case}: loss {loss}, in f32 {wanted}");
                    let dot = |a: &[Tensor], b: &[Tensor]| -> f64 {
                        let one = |(a, b): (&Tensor, &Tensor)| {
                            let product =
                                (a.to_dtype(DType::F64).unwrap() * b.to_dtype(DType::F64).unwrap()).unwrap();
                            product.sum_all().unwrap().to_scalar::<f64>().unwrap()
                        };
                        a.iter().zip(b).map(one).sum()
                    };
                    let cosine =
                        dot(&found, directions) / (dot(&found, &found) * dot(directions, directions)).sqrt();
                    let rounds = by == By::Modules(DType::BF16) || by == By::Plan(Dtype::Bf16);
                    let least = if rounds { 0.95 } else { 0.99 };
                    assert!(cosine > least, "{case}: the gradient has a cosine of {cosine} with that in f32");
                    let micro = trainer.micro_step().unwrap();
                    assert!(micro.loss.is_finite(), "{case}");
                }
            }
        }
    }
}

#[test]
fn ten_updates_end_where_torchs_adamw_ends() {
    let golden = golden();
    let config = TrainingConfig { text_encoder: true, ..config() };
    let mut trainer = trainer(config, PredictionType::Epsilon, data());
    load_factors("attention", &trainer, &golden);
    for index in 0..10 {
        let (_, mut found) = gradients(&mut trainer, &batch("attention", &golden, index), None, None);
        let norm = adamw::norm(&found).unwrap();
        adamw::clip(&mut found, norm, 1.0).unwrap();
        trainer.adamw.step(trainer.parameters.factors(), &found, 1e-3, 0.01).unwrap();
    }
    for (name, factor) in named("attention", &trainer) {
        let error = error(factor, &golden[&format!("{name}.after")]);
        assert!(error <= 1e-3, "{name}: relative error {error:.1e}");
    }
}

fn quick() -> TrainingConfig {
    TrainingConfig {
        steps: 6,
        accumulation: 2,
        batch: 2,
        learning_rate: 1e-3,
        caption_dropout: 0.3,
        noise_offset: 0.1,
        checkpoint_every: 2,
        ..config()
    }
}

fn run(trainer: &mut Trainer) -> Vec<MicroStep> {
    let mut steps = Vec::new();
    while !trainer.finished() {
        steps.push(trainer.micro_step().unwrap());
    }
    steps
}

#[test]
fn a_run_that_is_taken_up_again_ends_with_the_same_bits() {
    let mut whole = trainer(quick(), PredictionType::Epsilon, data());
    run(&mut whole);
    let mut first = trainer(quick(), PredictionType::Epsilon, data());
    while first.steps_done() < 4 {
        first.micro_step().unwrap();
    }
    let saved = first.checkpoint().unwrap();
    // What comes after the checkpoint is lost, and done again.
    first.micro_step().unwrap();
    let mut second = trainer(quick(), PredictionType::Epsilon, data());
    second.restore(&saved).unwrap();
    run(&mut second);
    assert_eq!(second.checkpoint().unwrap(), whole.checkpoint().unwrap());
}

#[test]
fn updates_come_after_the_accumulation_and_at_the_end_of_an_epoch() {
    // Three images in batches of two are two batches; with an accumulation of four each epoch is one update.
    let config = TrainingConfig { accumulation: 4, steps: 2, ..quick() };
    let steps_done: Vec<bool> = run(&mut trainer(config, PredictionType::Epsilon, data()))
        .iter()
        .map(|micro| micro.optimizer_step.is_some())
        .collect();
    assert_eq!(steps_done, [false, true, false, true]);
}

#[test]
fn the_held_out_loss_is_the_same_each_time_and_changes_with_training() {
    let mut trainer = trainer(quick(), PredictionType::Epsilon, data());
    let before = trainer.held_out_loss().unwrap().unwrap();
    assert_eq!(trainer.held_out_loss().unwrap(), Some(before));
    run(&mut trainer);
    assert_ne!(trainer.held_out_loss().unwrap(), Some(before));
    trainer.data.held_out.clear();
    assert_eq!(trainer.held_out_loss().unwrap(), None);
}

#[test]
fn a_run_that_breaks_down_goes_back_halves_its_rate_and_then_says_why() {
    let config = TrainingConfig { learning_rate: 1e3, steps: 50, ..quick() };
    let mut trainer = trainer(config, PredictionType::Epsilon, data());
    let reason = loop {
        match trainer.micro_step() {
            Ok(_) => assert!(!trainer.finished(), "a learning rate of 1000 was borne"),
            Err(error) => break error.to_string(),
        }
    };
    assert!(trainer.halved());
    assert!(reason.contains("after the learning rate was halved to 5.0e2"), "{reason}");
}

#[test]
fn a_checkpoint_that_does_not_fit_is_refused() {
    let mut good = trainer(quick(), PredictionType::Epsilon, data());
    let saved = good.checkpoint().unwrap();
    let refusal = |trainer: &mut Trainer, bytes: &[u8]| trainer.restore(bytes).unwrap_err().to_string();
    assert!(refusal(&mut good, &saved[..saved.len() / 2]).contains("damaged"));
    assert!(refusal(&mut good, b"nothing").contains("damaged"));
    let mut other = trainer(TrainingConfig { rank: 4, ..quick() }, PredictionType::Epsilon, data());
    assert!(refusal(&mut other, &saved).contains("other settings: rank 3 there, 4 here"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.safetensors");
    good.save(&path).unwrap();
    good.load(&path).unwrap();
    assert!(
        good.save(&folder.path().join("no/such/folder"))
            .unwrap_err()
            .to_string()
            .contains("cannot write the checkpoint")
    );
}

#[test]
fn the_trained_file_is_read_as_the_same_change() {
    let mut trainer =
        trainer(TrainingConfig { text_encoder: true, ..quick() }, PredictionType::Epsilon, data());
    run(&mut trainer);
    trainer.parameters.attach(&mut trainer.unet, &mut trainer.text, false).unwrap();
    let example = &trainer.data.held_out[0];
    let context = |text: &TextEncoder| text.forward(std::slice::from_ref(&example.tokens)).unwrap();
    let expected = trainer.unet.forward(&example.mean, 500.0, &context(&trainer.text)).unwrap();
    let (mut unet, mut text) = (trainer.unet.clone(), trainer.text.clone());
    Parameters::detach(&mut unet, &mut text).unwrap();
    let base = unet.forward(&example.mean, 500.0, &context(&text)).unwrap();
    let bytes = trainer.parameters.to_kohya(vec![("ss_output_name".to_owned(), "test".to_owned())]).unwrap();
    let adapter = crate::adapter::Adapter::from_bytes(Path::new("test.safetensors"), &bytes).unwrap();
    assert_eq!(adapter.metadata()["ss_network_dim"], "3");
    crate::adapter::apply(&[(&adapter, 1.0.into())], &mut unet, &mut text).unwrap();
    let found = unet.forward(&example.mean, 500.0, &context(&text)).unwrap();
    assert!(error(&found, &expected) < 1e-5, "{:.1e}", error(&found, &expected));
    assert!(error(&base, &expected) > 1e-4);
}

#[test]
fn a_run_can_begin_with_what_another_one_made() {
    let mut first = trainer(config(), PredictionType::Epsilon, data());
    while first.steps_done() < 2 {
        first.micro_step().unwrap();
    }
    let file = first.parameters().to_kohya(Vec::new()).unwrap();
    let adapter = Adapter::from_bytes(Path::new("made"), &file).unwrap();
    let mut second = trainer(config(), PredictionType::Epsilon, data());
    second.begin_with(&adapter).unwrap();
    for (a, b) in first.parameters().factors().zip(second.parameters().factors()) {
        let bits = |x: &Var| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(bits(a), bits(b));
    }
    assert_eq!(first.held_out_loss().unwrap(), second.held_out_loss().unwrap());

    let refusal = |trainer: &mut Trainer| trainer.begin_with(&adapter).unwrap_err().to_string();
    assert!(refusal(&mut first).contains("before its first step"));
    let other = TrainingConfig { alpha: 3.0, ..config() };
    assert!(refusal(&mut trainer(other, PredictionType::Epsilon, data())).contains("rank or alpha"));
    let more = TrainingConfig { targets: Targets::FeedForward, ..config() };
    assert!(refusal(&mut trainer(more, PredictionType::Epsilon, data())).contains("layers"));
}

#[test]
fn a_measurement_in_parts_is_the_whole_one_and_leaves_the_run_as_it_was() {
    let mut plain = trainer(config(), PredictionType::Epsilon, data());
    let mut measured = trainer(config(), PredictionType::Epsilon, data());
    let whole = measured.held_out_loss().unwrap();
    let mut parts = measured.begin_held_out_loss();
    assert_eq!((parts.total(), parts.loss()), (8, None));
    while parts.done() < parts.total() {
        measured.advance_held_out_loss(&mut parts).unwrap();
    }
    assert_eq!(parts.loss(), whole);
    assert!(whole.is_some());
    assert_eq!(plain.micro_step().unwrap().loss, measured.micro_step().unwrap().loss);
    let nothing = Prepared { held_out: Vec::new(), ..data() };
    assert_eq!(trainer(config(), PredictionType::Epsilon, nothing).held_out_loss().unwrap(), None);
}

#[cfg(target_os = "linux")]
#[test]
fn a_checkpoint_that_finds_no_room_leaves_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    let mut run = trainer(config(), PredictionType::Epsilon, data());
    run.save(&path).unwrap();
    let before = std::fs::read(&path).unwrap();
    run.micro_step().unwrap();
    // Whatever is written there finds no room.
    std::os::unix::fs::symlink("/dev/full", path.with_file_name(".checkpoint.safetensors.part")).unwrap();
    let error = run.save(&path).unwrap_err().to_string();
    assert!(error.contains("the previous one is kept"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
    run.save(&path).unwrap();
}
