//! Plans on a GPU that is not there: in f32 equal to the modules to 1e-5, in f16 within the bars of `tools/device`.

use std::{path::Path, sync::Arc};

use adire_cuda::{Element, Error, Fake, Runtime as _};
use candle_core::{DType, Device, Tensor};

use super::{
    super::{
        op::{Op, View},
        tests::{CASES, error, golden, random},
        vae,
    },
    DeviceText, DeviceUNet, DeviceVae, Target,
    codec::exponents,
    unet::MAX_SHAPES,
};
use crate::{
    EngineError, Parameter, TextEncoder, UNet,
    checkpoint::Checkpoint,
    plan::Half,
    vae::{VaeConfig, VaeModules, sizes},
    weight::LowRank,
};

fn target(fake: &Fake, element: Element) -> Target {
    Target { runtime: Arc::new(fake.clone()), element }
}

fn width(unet: &UNet) -> usize {
    unet.config().block(0).unwrap().attention.context
}

fn compare(element: Element, bar: f32) {
    for name in ["unet-sd15", "unet-variant", "pipeline/unet"] {
        let (unet, fake) = (golden(name), Fake::default());
        let mut device = DeviceUNet::new(&target(&fake, element), &mut unet.clone()).unwrap().unwrap();
        for (i, (batch, height, width_of, tokens)) in CASES.into_iter().enumerate() {
            let x = random(&[batch, 4, height, width_of], i as u64);
            for guided in [false, true] {
                let images = if guided { 2 * batch } else { batch };
                let context = random(&[images, tokens, width(&unet)], 50 + i as u64);
                let both = if guided { Tensor::cat(&[&x, &x], 0).unwrap() } else { x.clone() };
                for time in [481.0, 7.0, 481.0] {
                    let expected = unet.forward(&both, time, &context).unwrap();
                    let found = device.forward(&unet, &x, time, &context, guided).unwrap().unwrap();
                    let error = error(&found, &expected);
                    let what = format!("{name} {batch} {height}×{width_of}, guided {guided}, {time}");
                    assert!(error < bar, "{what}: {error:.1e}");
                }
            }
        }
        // The first step of a shape runs kernel by kernel, the others as a graph.
        let counts = fake.counts();
        assert_eq!((counts.graphs, counts.replays), (6, 12));
    }
}

#[test]
fn in_f32_a_unet_equals_its_modules() {
    compare(Element::F32, 1e-5);
}

#[test]
fn in_f16_a_unet_is_close_to_its_modules() {
    compare(Element::F16, 1e-2);
}

/// A → B → A and A → nothing leave the same bits, and weights that nothing changes are not touched.
#[test]
fn changes_come_and_go() {
    let layers = ["attn1.to_k", "attn2.to_v", "ff.net.0.proj", "conv1", "time_emb_proj"];
    for (element, bar) in [(Element::F32, 2e-5), (Element::F16, 2e-2)] {
        let (mut unet, fake) = (golden("unet-sd15"), Fake::default());
        let mut device = DeviceUNet::new(&target(&fake, element), &mut unet).unwrap().unwrap();
        let (x, context) = (random(&[1, 4, 8, 8], 1), random(&[1, 7, width(&unet)], 2));
        let mut with = |scale: f64| {
            unet.visit_parameters(&mut |path, parameter, weight| {
                let chosen = layers.iter().any(|layer| path.ends_with(layer)) && scale != 0.0;
                let delta = (random(weight.dims(), parameter as u64 + 5) * scale)?;
                weight.set_delta(chosen.then_some(&delta))?;
                // Factors are merged on the device, beside other changes of a matrix on the host.
                let dims = weight.dims().to_vec();
                let low_rank = parameter == Parameter::Weight
                    && ["attn1.to_k", "conv2", "attn2.to_q"].iter().any(|layer| path.ends_with(layer));
                if low_rank && dims.len() > 1 && scale != 0.0 {
                    let down = random(&[&[3], &dims[1..]].concat(), 1);
                    let up = random(&[&[dims[0], 3], &vec![1; dims.len() - 2][..]].concat(), 2);
                    let first = LowRank { down, up, scale };
                    weight
                        .set_changes(vec![LowRank { scale: 0.01, ..first.clone() }, first], scale.to_bits());
                }
                Ok(())
            })
            .unwrap();
            let modules = unet.clone();
            device.update(&mut unet).unwrap();
            let found = device.forward(&unet, &x, 500.0, &context, false).unwrap().unwrap();
            let expected = modules.forward(&x, 500.0, &context).unwrap();
            let error = error(&found, &expected);
            assert!(error < bar, "{element:?} {scale}: {error:.1e}");
            found.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        let [none, a, b, again, nothing] = [0.0, 0.02, -0.03, 0.02, 0.0].map(&mut with);
        assert!(a == again && none == nothing);
        assert!(a != b && a != none);
        let before = fake.counts();
        device.update(&mut unet).unwrap();
        assert_eq!(fake.counts(), before, "nothing has changed");
        // One graph for all of it.
        assert_eq!((before.graphs, before.replays), (1, 4));
    }
}

/// The base that adapters and fingerprints see is that of the file, whatever the device rounds.
#[test]
fn a_model_on_a_device_shows_the_base_of_its_file() {
    let (mut held, mut given) = (golden("unet-sd15"), golden("unet-sd15"));
    DeviceUNet::new(&target(&Fake::default(), Element::F16), &mut given).unwrap().unwrap();
    let values = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let mut bases = Vec::new();
    held.visit_parameters(&mut |path, parameter, weight| {
        bases.push((path.to_owned(), parameter, values(&weight.base()?), weight.norm()?));
        Ok(())
    })
    .unwrap();
    let mut bases = bases.into_iter();
    given
        .visit_parameters(&mut |path, parameter, weight| {
            let (name, kind, base, norm) = bases.next().unwrap();
            assert_eq!((path, parameter), (&*name, kind));
            assert!(values(&weight.base()?) == base, "{path}");
            assert_eq!(weight.norm()?, norm, "{path}");
            assert!(parameter != Parameter::Weight || weight.is_stored(), "{path}");
            Ok(())
        })
        .unwrap();
}

#[test]
fn only_the_last_shapes_are_held() {
    let (unet, fake) = (golden("pipeline/unet"), Fake::default());
    let mut device = DeviceUNet::new(&target(&fake, Element::F16), &mut unet.clone()).unwrap().unwrap();
    let context = random(&[1, 7, width(&unet)], 2);
    let mut run = |height: usize| {
        let x = random(&[1, 4, height, 8], 1);
        device.forward(&unet, &x, 3.0, &context, false).unwrap().unwrap();
        fake.counts().graphs
    };
    for i in 0..=MAX_SHAPES {
        run(8 + 2 * i);
    }
    assert_eq!(run(10), MAX_SHAPES + 1, "it is held");
    assert_eq!(run(8), MAX_SHAPES + 2, "it left when another came");
    assert_eq!(run(10), MAX_SHAPES + 2, "what was used last stays");
}

#[test]
fn a_shape_that_does_not_fit_is_refused_and_others_go_on() {
    let (unet, fake) = (golden("pipeline/unet"), Fake::default());
    let context = random(&[1, 7, width(&unet)], 2);
    let run = |device: &mut DeviceUNet, side: usize| {
        let x = random(&[1, 4, side, side], 1);
        device.forward(&unet, &x, 3.0, &context, false)
    };
    let values = |x: Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let mut device = DeviceUNet::new(&target(&fake, Element::F16), &mut unet.clone()).unwrap().unwrap();
    let expected = values(run(&mut device, 8).unwrap().unwrap());
    let fake = Fake::with_memory(2 * fake.used());
    let mut device = DeviceUNet::new(&target(&fake, Element::F16), &mut unet.clone()).unwrap().unwrap();
    for _ in 0..2 {
        assert!(values(run(&mut device, 8).unwrap().unwrap()) == expected);
        let error = run(&mut device, 256).unwrap_err();
        assert!(matches!(error, EngineError::Gpu(Error::OutOfMemory { .. })), "{error}");
        assert!(error.to_string().starts_with("not enough GPU memory"), "{error}");
    }
    // Room for no weights: the model is as it was.
    let fake = Fake::with_memory(1000);
    let mut other = golden("pipeline/unet");
    assert!(DeviceUNet::new(&target(&fake, Element::F16), &mut other).is_err());
    assert_eq!(fake.memory().unwrap().free, 1000);
    let mut stored = false;
    other
        .visit_parameters(&mut |_, _, weight| {
            stored |= weight.is_stored();
            Ok(())
        })
        .unwrap();
    assert!(!stored);
}

/// An autoencoder, and a device's with weights that `change` has changed in both.
fn autoencoders(
    name: &str,
    element: Element,
    change: &dyn Fn(&str, &Tensor) -> Option<Tensor>,
) -> (VaeModules, DeviceVae, usize) {
    let folder = Path::new("tests/goldens").join(name);
    let config = VaeConfig::read(&folder).unwrap();
    let checkpoint = Checkpoint::open(&folder, "diffusion_pytorch_model").unwrap();
    let load = || {
        let mut modules = VaeModules::load(&config, &checkpoint.root(DType::F32, &Device::Cpu)).unwrap();
        modules
            .visit(&mut |path, parameter, weight| {
                let changed = change(&format!("{path} {parameter:?}"), &weight.base()?);
                if let Some(changed) = changed {
                    *weight = crate::Weight::new(changed);
                }
                Ok(())
            })
            .unwrap();
        modules
    };
    let (modules, mut given) = (load(), load());
    let target = target(&Fake::default(), element);
    let device = DeviceVae::new(&target, &sizes(&config), &mut |f| given.visit(f)).unwrap();
    (modules, device, config.latent_channels)
}

#[test]
fn an_autoencoder_equals_its_modules() {
    for (element, bar) in [(Element::F32, 1e-5), (Element::F16, 1e-2)] {
        for name in ["vae-sd15", "vae-bare"] {
            let (modules, device, channels) = autoencoders(name, element, &|_, _| None);
            for (batch, height, width) in [(1, 8, 8), (2, 5, 3)] {
                let z = random(&[batch, channels, height, width], 7);
                let found = device.forward(Half::Decoder, &z).unwrap();
                let images = modules.decode(&z).unwrap();
                let decoded = error(&found, &images);
                let encoded = error(
                    &device.forward(Half::Encoder, &images).unwrap(),
                    &modules.encode(&images).unwrap(),
                );
                assert!(decoded.max(encoded) < bar, "{name} {element:?}: {decoded:.1e}, {encoded:.1e}");
            }
        }
    }
}

/// Powers of two agree wherever values are added, and neither attention nor the result sees one.
#[test]
fn powers_of_two_agree() {
    let sizes = sizes(&VaeConfig::sd15());
    for half in [Half::Encoder, Half::Decoder] {
        let plan = vae::plan(&sizes, half, 1, (16, 16));
        let found = exponents(&plan, 4);
        let of = |view: View| found.buffers[view.buffer];
        assert_eq!((of(plan.input), of(plan.output)), (0, 0));
        for step in &plan.step {
            match step.op {
                Op::GroupNorm { x, y, .. } => assert_eq!((of(x), of(y)), (-4, 0)),
                Op::Attention { q, k, v, y, .. } => assert_eq!([q, k, v, y].map(of), [0; 4]),
                Op::Resize { x, y } => assert_eq!(of(x), of(y)),
                Op::Linear { x, matrix, residual, y, .. } | Op::Conv { x, matrix, residual, y, .. } => {
                    assert_eq!(found.matrices[matrix], of(y) - of(x));
                    assert!(residual.is_none_or(|residual| of(residual) == of(y)), "{:?}", step.op);
                }
                Op::LayerNorm { .. } | Op::Repeat { .. } => unreachable!("an autoencoder has none"),
            }
        }
    }
}

/// Sums far beyond f16's range: a first convolution that is so many times as strong.
#[test]
fn an_autoencoder_of_large_activations_computes_within_the_range_of_f16() {
    for factor in [1e4, 3e5, 1e8] {
        let stronger =
            |path: &str, base: &Tensor| path.starts_with("decoder.conv_in").then(|| (base * factor).unwrap());
        let (modules, device, channels) = autoencoders("vae-sd15", Element::F16, &stronger);
        let z = random(&[1, channels, 8, 8], 7);
        let expected = modules.decode(&z).unwrap();
        for _ in 0..2 {
            let error = error(&device.forward(Half::Decoder, &z).unwrap(), &expected);
            assert!(error < 2e-2, "{factor:e}: {error:.1e}");
        }
    }
}

/// What is not finite to begin with is not computed again.
#[test]
fn an_autoencoder_gives_back_what_is_not_a_number() {
    let (_, device, channels) = autoencoders("vae-sd15", Element::F16, &|_, _| None);
    let z = (random(&[1, channels, 8, 8], 7) * f64::NAN).unwrap();
    let found = device.forward(Half::Decoder, &z).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert!(found.iter().all(|value| value.is_nan()));
}

#[test]
fn a_text_encoder_equals_its_modules() {
    for (element, bar) in [(Element::F32, 1e-5), (Element::F16, 1e-2)] {
        for name in ["text-quick-gelu", "text-gelu"] {
            let folder = Path::new("tests/goldens").join(name);
            let text = TextEncoder::load(&folder, DType::F32, &Device::Cpu).unwrap();
            let device = DeviceText::new(&target(&Fake::default(), element), &mut text.clone()).unwrap();
            for (prompts, tokens, skip) in [(1, text.positions(), 1), (3, 5, 2)] {
                let x = random(&[prompts, tokens, text.width()], 3);
                let found = device.forward(&x, text.layers() + 1 - skip).unwrap();
                let error = error(&found, &text.encode(&x, skip).unwrap());
                assert!(error < bar, "{name} {element:?}: {error:.1e}");
            }
        }
    }
}
