//! The plan against the modules: with plain arithmetic to 1e-5, with the kernels within the parity bars.

use std::path::Path;

use candle_core::{DType, Device, Tensor};

use super::{
    model::Planned,
    op::{Op, Plan, Stage},
    packed::Packed,
    reference::Reference,
    run::Arithmetic,
    unet::{self, Shape},
};
use crate::{NoiseSource, UNet, unet::UNetConfig};

fn random(shape: &[usize], seed: u64) -> Tensor {
    NoiseSource::new(adire_protocol::Rng::Cpu, seed).randn(shape, &Device::Cpu).unwrap()
}

fn error(found: &Tensor, expected: &Tensor) -> f32 {
    assert_eq!(found.dims(), expected.dims());
    let largest = |x: &Tensor| x.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
    largest(&(found - expected).unwrap()) / largest(expected)
}

fn golden(name: &str) -> UNet {
    UNet::load(&Path::new("tests/goldens").join(name), DType::F32, &Device::Cpu).unwrap()
}

/// Sizes that halve evenly and sizes that do not, prompts of one chunk and of several.
const CASES: [(usize, usize, usize, usize); 3] = [(1, 8, 8, 77), (2, 8, 4, 7), (1, 9, 13, 154)];

fn compare<A: Arithmetic + Sync + Copy>(arithmetic: A, bar: f32)
where
    A::Matrix: Send,
{
    for name in ["unet-sd15", "unet-variant", "pipeline/unet"] {
        let mut unet = golden(name);
        let width = unet.config().block(0).unwrap().attention.context;
        let mut planned = Planned::with(&mut unet, arithmetic).unwrap().unwrap();
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
                    assert!(error < bar, "{name} {batch} {height}×{width_of}, guided {guided}, {time}: {error:.1e}");
                }
            }
        }
    }
}

#[test]
fn the_reference_equals_the_modules() {
    compare(Reference, 1e-5);
}

#[test]
fn the_kernels_equal_the_modules() {
    compare(Packed, 2e-5);
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
                assert!(owners[range(view.buffer)].iter().all(|owner| *owner == view.buffer), "{:?}", step.op);
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
        let shape = Shape { images, guided, size: (height, width), tokens: 77 };
        let plan = unet::plan(&UNetConfig::sd15(), shape).unwrap();
        check(&plan.plan);
        let all: usize = plan.plan.buffers.iter().map(|buffer| buffer.len()).sum();
        assert!(plan.plan.arena < all / 3, "{} of {all}", plan.plan.arena);
    }
}

#[test]
fn guidance_computes_the_trunk_once() {
    let shape = Shape { images: 2, guided: true, size: (64, 64), tokens: 77 };
    let plan = unet::plan(&UNetConfig::sd15(), shape).unwrap().plan;
    let single = plan.step.iter().filter(|step| step.images == 1).count();
    assert!(single >= 10, "{single}");
    let repeats = plan.step.iter().filter(|step| matches!(step.op, Op::Repeat { .. })).count();
    // The residual stream, the queries, the transformer's input and the first skip.
    assert_eq!(repeats, 4);
    // One product for keys and values of each of the 16 cross-attentions, none of them in a step.
    assert_eq!(plan.prompt.len(), 16);
}
