//! The noise sources against torch's own numbers (`tools/goldens/trajectories.py`), torchsde's Brownian motion
//! (the same), and a model of a CUDA device (`tools/goldens/philox.py`).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

use adire_engine::NoiseSource;
use adire_protocol::Rng;
use candle_core::{Device, Tensor};

/// torch's AVX2 logarithm, sine and cosine are polynomials of their own, good to about an ulp; with a radius of at
/// most 5.8 that is worth a few 1e-7.
const TOLERANCE: f32 = 1e-6;

fn path(name: &str) -> PathBuf {
    Path::new("tests/goldens").join(name)
}

fn goldens(name: &str) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(path(name), &Device::Cpu).unwrap()
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn worst(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn consecutive_calls_equal_torch() {
    let goldens = goldens("noise.safetensors");
    let mut by_seed: BTreeMap<u64, BTreeMap<usize, Tensor>> = BTreeMap::new();
    for (name, tensor) in goldens {
        let (seed, call) = name.split_once('/').unwrap();
        by_seed.entry(seed.parse().unwrap()).or_default().insert(call.parse().unwrap(), tensor);
    }
    assert_eq!(by_seed.len(), 7);
    for (seed, calls) in by_seed {
        let mut source = NoiseSource::new(Rng::Cpu, seed);
        for (call, expected) in calls {
            let expected = numbers(&expected);
            let found = source.randn(&[expected.len()], &Device::Cpu).unwrap();
            let worst = worst(&numbers(&found), &expected);
            assert!(
                worst <= TOLERANCE,
                "seed {seed}, call {call}, {} numbers: off by {worst}",
                expected.len()
            );
        }
    }
}

#[test]
fn consecutive_calls_equal_a_cuda_device() {
    let mut cases: BTreeMap<(u64, usize, usize), BTreeMap<usize, Tensor>> = BTreeMap::new();
    for (name, tensor) in goldens("philox.safetensors") {
        let [seed, threads, calls, call]: [u64; 4] =
            name.split('/').map(|n| n.parse().unwrap()).collect::<Vec<_>>().try_into().unwrap();
        let case = cases.entry((seed, threads as usize, calls as usize)).or_default();
        case.insert(call as usize, tensor);
    }
    assert_eq!(cases.len(), 9);
    for ((seed, threads, count), calls) in cases {
        assert_eq!(calls.len(), count);
        let mut source = match threads {
            0 => NoiseSource::new(Rng::Cuda, seed),
            _ => NoiseSource::on_cuda_device(&[seed], threads),
        };
        for (call, expected) in calls {
            let expected = numbers(&expected);
            let found = numbers(&source.randn(&[expected.len()], &Device::Cpu).unwrap());
            // The model computes in f64. A device rounds the angle, up to 2π, to f32 (twice: 5e-7) before it takes
            // its sine, and multiplies with a radius of up to 6.7.
            let worst = worst(&found, &expected);
            assert!(worst <= 4e-6, "seed {seed}, {threads} threads, call {call}: off by {worst}");
        }
    }
}

#[test]
fn brownian_motion_equals_torchsde() {
    let bytes = std::fs::read(path("brownian.safetensors")).unwrap();
    let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let text = |key: &str| metadata.metadata().as_ref().unwrap()[key].clone();
    let cases: Vec<(u64, f64, f64)> = serde_json::from_str(&text("cases")).unwrap();
    let [low, high]: [f64; 2] = serde_json::from_str(&text("range")).unwrap();
    let goldens = goldens("brownian.safetensors");
    assert_eq!(cases.len(), goldens.len());
    for (index, (seed, sigma, next)) in cases.into_iter().enumerate() {
        let expected = &goldens[&index.to_string()];
        let source = NoiseSource::new(Rng::Cpu, seed);
        let noise = source.brownian(low as f32, high as f32, expected.dims()).unwrap();
        let found = noise.between(sigma as f32, next as f32, &Device::Cpu).unwrap();
        let worst = worst(&numbers(&found), &numbers(expected));
        // Increments are differences of sums over two dozen halvings, divided by the root of a short step.
        assert!(worst <= 1e-5, "seed {seed}, {sigma} to {next}: off by {worst}");
    }
}
