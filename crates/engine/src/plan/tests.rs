//! The plan against the modules: with plain arithmetic to 1e-5, with the kernels within the parity bars.

use std::path::Path;

use adire_kernels::Dtype;
use candle_core::{DType, Device, Tensor, Var};

use super::{
    Half,
    arithmetic::Arithmetic,
    codec::Codec,
    gradient::{TrainedLayer, TrainingUNet},
    model::Planned,
    op::{Op, Plan, Stage},
    packed::Packed,
    reference::Reference,
    unet::{self, Shape},
    words::Words,
};
use crate::{
    NoiseSource, TextEncoder, UNet,
    checkpoint::{Checkpoint, Reading},
    unet::UNetConfig,
    vae::{VaeConfig, VaeModules, sizes},
    weight::LowRank,
};

pub(super) fn random(shape: &[usize], seed: u64) -> Tensor {
    NoiseSource::new(adire_protocol::Rng::Cpu, seed).randn(shape, &Device::Cpu).unwrap()
}

pub(super) fn error(found: &Tensor, expected: &Tensor) -> f32 {
    assert_eq!(found.dims(), expected.dims());
    let largest = |x: &Tensor| x.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
    largest(&(found - expected).unwrap()) / largest(expected)
}

pub(super) fn golden(name: &str) -> UNet {
    UNet::load(&Path::new("tests/goldens").join(name), DType::F32, &Device::Cpu).unwrap()
}

/// Sizes that halve evenly and sizes that do not, prompts of one chunk and of several.
pub(super) const CASES: [(usize, usize, usize, usize); 3] = [(1, 8, 8, 77), (2, 8, 4, 7), (1, 9, 13, 154)];

fn compare<A: Arithmetic>(arithmetic: A, operands: Dtype, bar: f32) {
    for name in ["unet-sd15", "unet-variant", "pipeline/unet"] {
        let unet = golden(name);
        let width = unet.config().block(0).unwrap().attention.context;
        let mut planned = Planned::with(&mut unet.clone(), operands, arithmetic).unwrap().unwrap();
        for (i, (batch, height, width_of, tokens)) in CASES.into_iter().enumerate() {
            let x = random(&[batch, 4, height, width_of], i as u64);
            for guided in [false, true] {
                let images = if guided { 2 * batch } else { batch };
                let context = random(&[images, tokens, width], 50 + i as u64);
                let both = if guided { Tensor::cat(&[&x, &x], 0).unwrap() } else { x.clone() };
                for time in [481.0, 7.0, 481.0] {
                    let expected = unet.forward(&both, time, &context).unwrap();
                    let found = planned.forward(&unet, &x, time, &context, guided).unwrap().unwrap();
                    let error = error(&found, &expected);
                    assert!(
                        error < bar,
                        "{name} {batch} {height}×{width_of}, guided {guided}, {time}: {error:.1e}"
                    );
                }
            }
        }
    }
}

#[test]
fn the_reference_equals_the_modules() {
    compare(Reference, Dtype::F32, 1e-5);
}

#[test]
fn the_kernels_equal_the_modules() {
    compare(Packed, Dtype::F32, 2e-5);
}

/// Rounding of operands, through all layers of networks with random weights.
#[test]
fn the_kernels_in_bf16_are_close_to_the_modules() {
    compare(Packed, Dtype::Bf16, 4e-2);
}

/// The modules compute as before when their weights lie in the packed form, forwards and back, and adapters find the same
/// base there.
#[test]
fn a_model_without_tensors_is_the_same() {
    for (name, operands, bar) in [
        ("unet-sd15", Dtype::F32, 2e-5),
        ("unet-variant", Dtype::F32, 2e-5),
        // As the plan: rounding of operands.
        ("unet-sd15", Dtype::Bf16, 4e-2),
    ] {
        let (mut held, mut packed) = (golden(name), golden(name));
        Planned::with(&mut packed, operands, Packed).unwrap().unwrap();
        let mut bases = Vec::new();
        held.visit_parameters(&mut |path, parameter, weight| {
            bases.push((path.to_owned(), parameter, weight.base()?));
            Ok(())
        })
        .unwrap();
        let mut bases = bases.into_iter();
        let values = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        packed
            .visit_parameters(&mut |path, parameter, weight| {
                let (held_path, kind, base) = bases.next().unwrap();
                assert_eq!((path, parameter), (&*held_path, kind));
                assert_eq!((weight.dims(), values(&weight.base()?)), (base.dims(), values(&base)), "{path}");
                Ok(())
            })
            .unwrap();
        let width = held.config().block(0).unwrap().attention.context;
        let [x, context] = [(vec![2, 4, 9, 13], 1), (vec![2, 7, width], 2)]
            .map(|(shape, seed)| candle_core::Var::from_tensor(&random(&shape, seed)).unwrap());
        let probe = random(&[2, 4, 9, 13], 3);
        let results = |unet: &UNet| {
            let y = unet.forward(&x, 321.0, &context).unwrap();
            let gradients = (&y * &probe).unwrap().sum_all().unwrap().backward().unwrap();
            let of = |var: &candle_core::Var| gradients.get(var).unwrap().clone();
            [y.detach(), of(&x), of(&context)]
        };
        let (expected, found) = (results(&held), results(&packed));
        for (what, (expected, found)) in
            ["result", "gradient of x", "gradient of the context"].iter().zip(expected.iter().zip(&found))
        {
            let error = error(found, expected);
            assert!(error < bar, "{name} {operands:?}, {what}: {error:.1e}");
        }
    }
}

/// The gradients of trained layers and of the prompt, against those of the modules; with one time for each image, in sizes that halve
/// evenly and in others, of skips and states alike.
fn compare_gradients(operands: Dtype, error: fn(&Tensor, &Tensor) -> f32) -> Vec<(String, f32)> {
    let mut errors = Vec::new();
    for name in ["unet-sd15", "unet-variant", "pipeline/unet"] {
        let mut unet = golden(name);
        let planned = Planned::with(&mut unet, operands, Packed).unwrap().unwrap();
        let width = unet.config().block(0).unwrap().attention.context;
        // Every second layer, so that parts of one product are trained and others are not.
        let trained = |path: &str| {
            [".to_q", ".to_v", ".to_out.0", ".ff.net.0.proj", ".ff.net.2", ".proj_in", ".proj_out"]
                .iter()
                .any(|end| path.ends_with(end))
        };
        let mut layers: Vec<(String, Var, Var)> = Vec::new();
        unet.visit_weights(&mut |path, weight| {
            if trained(path) {
                let (outputs, inputs) = (weight.dims()[0], weight.dims()[1]);
                let ones = vec![1; weight.dims().len() - 2];
                let factor = |shape: [usize; 2], seed| {
                    let shape: Vec<usize> = shape.into_iter().chain(ones.iter().copied()).collect();
                    Var::from_tensor(&(random(&shape, seed) * 0.1).unwrap()).unwrap()
                };
                let seed = 2 * layers.len() as u64;
                layers.push((path.to_owned(), factor([3, inputs], seed), factor([outputs, 3], seed + 1)));
            }
            Ok(())
        })
        .unwrap();
        let paths = layers.iter().map(|(path, ..)| path.as_str());
        let mut plan = TrainingUNet::new(&planned, &mut unet.clone(), paths).unwrap().unwrap();
        let mut next = layers.iter();
        unet.visit_weights(&mut |path, weight| {
            if trained(path) {
                let (_, down, up) = next.next().unwrap();
                let (down, up) = (down.as_tensor().clone(), up.as_tensor().clone());
                weight.set_low_rank(Some(LowRank { down, up, scale: 0.7 }));
            }
            weight.hold_for_layers()
        })
        .unwrap();
        for (i, (batch, height, width_of, tokens)) in CASES.into_iter().enumerate() {
            let x = random(&[batch, 4, height, width_of], 20 + i as u64);
            let context = Var::from_tensor(&random(&[batch, tokens, width], 30 + i as u64)).unwrap();
            let times: Vec<f64> = (0..batch).map(|image| 481.0 - 300.0 * image as f64).collect();
            let predicted = unet.forward_each(&x, &times, &context).unwrap();
            let probe = random(predicted.dims(), 40);
            let expected = (&predicted * &probe).unwrap().sum_all().unwrap().backward().unwrap();
            let trained: Vec<TrainedLayer<'_>> =
                layers.iter().map(|(path, down, up)| TrainedLayer { path, down, up, scale: 0.7 }).collect();
            // Twice: memory that was used before changes nothing.
            for _ in 0..2 {
                let found = plan.forward(&x, &times, &context.as_detached_tensor(), &trained, true);
                let found = found.unwrap().unwrap();
                errors.push((format!("{name} {i}, prediction"), error(&found, &predicted.detach())));
                let found = plan.backward(&probe, true).unwrap();
                let of_context = error(&found.context.unwrap(), expected.get(&context).unwrap());
                errors.push((format!("{name} {i}, context"), of_context));
                for ((path, down, up), found) in layers.iter().zip(found.factors) {
                    let found = found.unwrap_or_else(|| panic!("{name} {i}: {path} has no gradient"));
                    for (factor, values) in [(down, found.down), (up, found.up)] {
                        let found = Tensor::from_vec(values, factor.dims(), &Device::Cpu).unwrap();
                        let error = error(&found, expected.get(factor).unwrap());
                        errors.push((format!("{name} {i}, {path} {:?}", factor.dims()), error));
                    }
                }
            }
        }
    }
    errors
}

#[test]
fn gradients_by_the_plan_equal_those_of_the_modules() {
    for (what, error) in compare_gradients(Dtype::F32, error) {
        assert!(error < 1e-4, "{what}: {error:.1e}");
    }
}

#[test]
fn gradients_by_the_plan_in_bf16_are_close_to_those_of_the_modules() {
    let errors = compare_gradients(Dtype::Bf16, distance);
    // Rounding through all layers of networks with random weights: most where a factor has few numbers.
    for (what, error) in &errors {
        assert!(*error < 0.15, "{what}: {error:.1e}");
    }
    let mean = errors.iter().map(|(_, error)| error).sum::<f32>() / errors.len() as f32;
    assert!(mean < 4e-2, "{mean:.1e}");
}

/// ‖a − b‖ / ‖b‖: single numbers of a rounded gradient may be off by more.
fn distance(found: &Tensor, expected: &Tensor) -> f32 {
    assert_eq!(found.dims(), expected.dims());
    let norm = |x: &Tensor| x.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap().sqrt();
    norm(&(found - expected).unwrap()) / norm(expected)
}

/// A → B → A and A → nothing leave the same bits, in one product of several layers and in single ones.
#[test]
fn changes_come_and_go() {
    come_and_go(Dtype::F32, 2e-5);
}

#[test]
fn changes_of_weights_of_bf16_come_and_go() {
    come_and_go(Dtype::Bf16, 2e-2);
}

fn come_and_go(operands: Dtype, bar: f32) {
    let (name, layers) =
        ("unet-sd15", ["attn1.to_k", "attn2.to_v", "ff.net.0.proj", "conv1", "time_emb_proj"]);
    let mut unet = golden(name);
    let width = unet.config().block(0).unwrap().attention.context;
    let mut planned = Planned::with(&mut unet, operands, Packed).unwrap().unwrap();
    let (x, context) = (random(&[1, 4, 8, 8], 1), random(&[1, 7, width], 2));
    let mut with = |scale: f64| {
        unet.visit_parameters(&mut |path, parameter, weight| {
            let chosen = layers.iter().any(|layer| path.ends_with(layer)) && scale != 0.0;
            let delta = (random(weight.dims(), parameter as u64 + 5) * scale)?;
            weight.set_delta(chosen.then_some(&delta))?;
            // Factors go by a way of their own, beside other changes and alone.
            let dims = weight.dims().to_vec();
            let low_rank = path.ends_with("attn1.to_k") || path.ends_with("conv2");
            if low_rank && dims.len() > 1 && scale != 0.0 {
                let down = random(&[&[3], &dims[1..]].concat(), 1);
                let up = random(&[&[dims[0], 3], &vec![1; dims.len() - 2][..]].concat(), 2);
                let first = LowRank { down, up, scale };
                weight.set_changes(vec![LowRank { scale: 0.01, ..first.clone() }, first], scale.to_bits());
            }
            Ok(())
        })
        .unwrap();
        let modules = unet.clone();
        planned.update(&mut unet).unwrap();
        let found = planned.forward(&unet, &x, 500.0, &context, false).unwrap().unwrap();
        let expected = modules.forward(&x, 500.0, &context).unwrap();
        let error = error(&found, &expected);
        assert!(error < bar, "{scale}: {error:.1e}");
        found.flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    let [none, a, b, again, nothing] = [0.0, 0.02, -0.03, 0.02, 0.0].map(&mut with);
    assert!(a == again && none == nothing);
    assert!(a != b && a != none);
}

fn compare_autoencoders<A: Arithmetic>(arithmetic: A, bar: f32) {
    for name in ["vae-sd15", "vae-bare"] {
        let folder = Path::new("tests/goldens").join(name);
        let config = VaeConfig::read(&folder).unwrap();
        let checkpoint = Checkpoint::open(&folder, "diffusion_pytorch_model").unwrap();
        let load = || VaeModules::load(&config, &checkpoint.root(DType::F32, &Device::Cpu)).unwrap();
        let (modules, mut packed) = (load(), load());
        let codec = Codec::with(&sizes(&config), arithmetic, &mut |f| packed.visit(f)).unwrap();
        for (batch, height, width) in [(1, 8, 8), (2, 5, 3)] {
            let z = random(&[batch, config.latent_channels, height, width], 7);
            let found = codec.forward(Half::Decoder, &z).unwrap();
            let decoded = error(&found, &modules.decode(&z).unwrap());
            let found = codec.forward(Half::Encoder, &found).unwrap();
            let encoded = error(&found, &modules.encode(&modules.decode(&z).unwrap()).unwrap());
            assert!(decoded.max(encoded) < bar, "{name}: {decoded:.1e}, {encoded:.1e}");
        }
    }
}

fn compare_texts<A: Arithmetic>(arithmetic: A, operands: Dtype, bar: f32) {
    for name in ["text-quick-gelu", "text-gelu"] {
        let folder = Path::new("tests/goldens").join(name);
        let text = TextEncoder::load(&folder, DType::F32, &Device::Cpu).unwrap();
        let planned = Words::with(&mut text.clone(), operands, arithmetic).unwrap();
        for (prompts, tokens, skip) in [(1, text.positions(), 1), (3, 5, 2)] {
            let x = random(&[prompts, tokens, text.width()], 3);
            let found = planned.forward(&x, text.layers() + 1 - skip).unwrap();
            let error = error(&found, &text.encode(&x, skip).unwrap());
            assert!(error < bar, "{name}: {error:.1e}");
        }
    }
}

#[test]
fn the_reference_equals_the_text_encoder() {
    compare_texts(Reference, Dtype::F32, 1e-5);
}

#[test]
fn the_kernels_equal_the_text_encoder() {
    compare_texts(Packed, Dtype::F32, 2e-5);
}

#[test]
fn the_kernels_in_bf16_are_close_to_the_text_encoder() {
    compare_texts(Packed, Dtype::Bf16, 4e-2);
}

#[test]
fn the_reference_equals_the_autoencoder() {
    compare_autoencoders(Reference, 1e-5);
}

#[test]
fn the_kernels_equal_the_autoencoder() {
    compare_autoencoders(Packed, 2e-5);
}

/// What is read lies apart from what is written, and nothing that is still needed is overwritten.
fn check(plan: &Plan) {
    // Who wrote each number last; every reader must find the buffer that it asks for.
    let mut owners = vec![usize::MAX; plan.arena];
    let range = |buffer: usize| plan.places[buffer]..plan.places[buffer] + plan.buffers[buffer].len();
    let outside = [plan.input.buffer];
    let own = |owners: &mut Vec<usize>, buffer: usize| owners[range(buffer)].fill(buffer);
    for (buffer, _) in plan.buffers.iter().enumerate().filter(|(_, buffer)| buffer.kept) {
        own(&mut owners, buffer);
    }
    assert!(outside.iter().all(|buffer| plan.buffers[*buffer].kept));
    let mut begun = vec![false; plan.buffers.len()];
    for stage in [Stage::Prompt, Stage::Time, Stage::Step] {
        for step in plan.stage(stage) {
            let written = step.op.writes();
            for view in step.op.reads() {
                let buffer = &plan.buffers[view.buffer];
                assert!(view.channel + view.channels <= buffer.channels);
                assert!(buffer.kept || begun[view.buffer], "{:?} reads what nobody wrote", step.op);
                assert!(
                    owners[range(view.buffer)].iter().all(|owner| *owner == view.buffer),
                    "{:?}",
                    step.op
                );
            }
            if let Op::Conv { x, .. } = step.op {
                assert_eq!(plan.buffers[x.buffer].border, 1);
            }
            if !begun[written.buffer] {
                begun[written.buffer] = true;
                own(&mut owners, written.buffer);
            }
        }
    }
}

#[test]
fn buffers_live_apart() {
    for (height, width, images, guided) in [(64, 64, 2, true), (32, 40, 1, false), (9, 17, 2, true)] {
        let shape = Shape { images, guided, size: (height, width), tokens: 77, times: 1 };
        let plan = unet::plan(&UNetConfig::sd15(), shape, Dtype::F32).unwrap();
        check(&plan.plan);
        let all: usize = plan.plan.buffers.iter().map(|buffer| buffer.len()).sum();
        assert!(plan.plan.arena < all / 3, "{} of {all}", plan.plan.arena);
    }
}

#[test]
fn guidance_computes_the_trunk_once() {
    let shape = Shape { images: 2, guided: true, size: (64, 64), tokens: 77, times: 1 };
    let plan = unet::plan(&UNetConfig::sd15(), shape, Dtype::F32).unwrap().plan;
    let single = plan.step.iter().filter(|step| step.images == 1).count();
    assert!(single >= 10, "{single}");
    let repeats = plan.step.iter().filter(|step| matches!(step.op, Op::Repeat { .. })).count();
    // The residual stream, the queries, the transformer's input and the first skip.
    assert_eq!(repeats, 4);
    // One product for keys and values of each of the 16 cross-attentions, none of them in a step.
    assert_eq!(plan.prompt.len(), 16);
}

#[test]
fn a_file_that_cannot_be_read_at_first_can_be_packed_later() {
    let folder = tempfile::tempdir().unwrap();
    let golden = Path::new("tests/goldens/pipeline/unet");
    for entry in std::fs::read_dir(golden).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    let mut unet = UNet::load_reading(folder.path(), DType::F32, &Device::Cpu, Reading::Deferred).unwrap();
    let file = folder.path().join("diffusion_pytorch_model.safetensors");
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let message = Planned::with(&mut unet, Dtype::F32, Packed).unwrap_err().to_string();
    assert!(message.contains("cannot be read at"), "{message}");
    std::fs::write(&file, &whole).unwrap();
    let mut planned = Planned::with(&mut unet, Dtype::F32, Packed).unwrap().unwrap();
    let width = unet.config().block(0).unwrap().attention.context;
    let (x, context) = (random(&[1, 4, 8, 8], 1), random(&[1, 7, width], 2));
    let found = planned.forward(&unet, &x, 7.0, &context, false).unwrap().unwrap();
    let expected = self::golden("pipeline/unet").forward(&x, 7.0, &context).unwrap();
    assert!(error(&found, &expected) < 1e-4);
}
