//! Half precision on the CPU: the same models and images as in f32, within what 8 or 11 binary digits can hold.
//!
//! The models are random and tiny, so nothing averages out; a trained model's images differ less.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, unreachable_pub, reason = "each test file uses a part")]
mod common;

use std::ops::ControlFlow;

use adire_engine::{LoadOptions, Pipeline, Rgb8};
use adire_protocol::{GenerationRequest, Sampler, Sampling};
use candle_core::DType;
use common::golden;

fn rendered(dtype: DType, sampling: Sampling) -> (Pipeline, Rgb8) {
    let options = LoadOptions { dtype, ..LoadOptions::default() };
    let mut pipeline = Pipeline::load(&golden("pipeline"), &options).unwrap();
    let info = pipeline.info();
    let request = GenerationRequest {
        prompt: "red (flower:1.3) on blue".to_owned(),
        negative_prompt: "moon".to_owned(),
        steps: Some(8),
        width: Some(64),
        height: Some(96),
        sampler: Some(sampling.into()),
        ..GenerationRequest::default()
    };
    let spec = request.validate(&info.limits, &info.defaults, 7).unwrap();
    let image = pipeline.generate(&spec, &mut |_| ControlFlow::Continue(())).unwrap().image;
    (pipeline, image)
}

#[test]
fn images_in_half_precision_are_close_to_those_in_single() {
    for sampling in
        [Sampler::Ddim.into(), Sampler::EulerA.into(), Sampler::Dpmpp2m.automatic(), Sampler::UniPc.into()]
    {
        let (_, single) = rendered(DType::F32, sampling);
        for (dtype, most, most_mean) in [(DType::F16, 3, 0.3), (DType::BF16, 16, 2.0)] {
            let (pipeline, half) = rendered(dtype, sampling);
            assert_eq!(pipeline.info().dtype, dtype.as_str());
            let differences: Vec<f64> =
                single.data.iter().zip(&half.data).map(|(a, b)| f64::from(a.abs_diff(*b))).collect();
            let largest = differences.iter().copied().fold(0.0, f64::max);
            let mean = differences.iter().sum::<f64>() / differences.len() as f64;
            println!("{sampling} {}: at most {largest}, {mean:.3} on average", dtype.as_str());
            assert!(
                largest <= f64::from(most) && mean <= most_mean,
                "{sampling} {dtype:?}: {largest}, {mean}"
            );
            assert!(largest > 0.0, "{sampling} {dtype:?}: nothing was rounded");
        }
    }
}
