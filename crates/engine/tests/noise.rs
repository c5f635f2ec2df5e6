//! The noise source against torch's own numbers (`tools/goldens/trajectories.py`).

use std::{collections::BTreeMap, path::Path};

use adire_engine::NoiseSource;
use adire_protocol::Rng;
use candle_core::{Device, Tensor};

/// torch's AVX2 logarithm, sine and cosine are polynomials of their own, good to about an ulp; with a radius of at
/// most 5.8 that is worth a few 1e-7.
const TOLERANCE: f32 = 1e-6;

#[test]
fn consecutive_calls_equal_torch() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/noise.safetensors");
    let goldens = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
    let mut by_seed: BTreeMap<u64, BTreeMap<usize, Tensor>> = BTreeMap::new();
    for (name, tensor) in goldens {
        let (seed, call) = name.split_once('/').unwrap();
        by_seed.entry(seed.parse().unwrap()).or_default().insert(call.parse().unwrap(), tensor);
    }
    assert_eq!(by_seed.len(), 7);
    for (seed, calls) in by_seed {
        let mut source = NoiseSource::new(Rng::Cpu, seed);
        for (call, expected) in calls {
            let expected = expected.to_vec1::<f32>().unwrap();
            let found = source.randn(&[expected.len()], &Device::Cpu).unwrap().to_vec1::<f32>().unwrap();
            let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(
                worst <= TOLERANCE,
                "seed {seed}, call {call}, {} numbers: off by {worst}",
                expected.len()
            );
        }
    }
}
