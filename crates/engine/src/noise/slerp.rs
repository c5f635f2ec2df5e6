//! A1111's mixture of two noises, for variations of an image.

use candle_core::{DType, Tensor};

use crate::Result;

/// Above this mean cosine, A1111 takes two noises for one direction.
const PARALLEL: f64 = 0.9995;

/// The spherical interpolation of `low` and `high`, [1, channels, height, width], at `share`, as A1111's
/// `modules/rng.py` computes it: each column of each channel is a vector of its own. Its mixture of almost parallel
/// noises takes the shares the other way round; equal ones stay as they are.
///
/// # Errors
/// The shapes differ, or the device has no memory left.
pub(crate) fn slerp(low: &Tensor, high: &Tensor, share: f64) -> Result<Tensor> {
    let (low, high) = (low.to_dtype(DType::F32)?, high.to_dtype(DType::F32)?);
    let unit = |x: &Tensor| -> Result<Tensor> { Ok(x.broadcast_div(&x.sqr()?.sum_keepdim(2)?.sqrt()?)?) };
    let cosine = (unit(&low)? * unit(&high)?)?.sum_keepdim(2)?;
    if f64::from(cosine.mean_all()?.to_scalar::<f32>()?) > PARALLEL {
        return Ok(((&low * share)? + (&high * (1.0 - share))?)?);
    }
    // A few hundred numbers; candle has no arc cosine.
    let shape = cosine.dims().to_vec();
    let cosines = cosine.flatten_all()?.to_vec1::<f32>()?;
    let weights = |part: f64| -> Result<Tensor> {
        let weight = |cosine: &f32| {
            let angle = cosine.acos();
            ((part as f32) * angle).sin() / angle.sin()
        };
        let all: Vec<f32> = cosines.iter().map(weight).collect();
        Ok(Tensor::from_vec(all, shape.as_slice(), low.device())?)
    };
    Ok((low.broadcast_mul(&weights(1.0 - share)?)? + high.broadcast_mul(&weights(share)?)?)?)
}

#[cfg(test)]
mod tests {
    use adire_protocol::Rng;
    use candle_core::Device;

    use super::*;
    use crate::NoiseSource;

    #[derive(serde::Deserialize)]
    struct Golden {
        shape: Vec<usize>,
        low: Vec<f32>,
        cases: Vec<Case>,
    }

    #[derive(serde::Deserialize)]
    struct Case {
        share: f64,
        high: Vec<f32>,
        mixed: Vec<f64>,
    }

    #[test]
    fn it_is_a1111s() {
        let file = "tests/goldens/slerp.json";
        let Golden { shape, low, cases } = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let tensor = |numbers: Vec<f32>| Tensor::from_vec(numbers, shape.as_slice(), &Device::Cpu).unwrap();
        let low = tensor(low);
        assert_eq!(cases.len(), 4, "the last one is of almost parallel noises");
        for Case { share, high, mixed } in cases {
            let found = slerp(&low, &tensor(high), share).unwrap().flatten_all().unwrap();
            for (found, expected) in found.to_vec1::<f32>().unwrap().into_iter().zip(mixed) {
                assert!((f64::from(found) - expected).abs() < 3e-6, "{share}: {found} is not {expected}");
            }
        }
    }

    #[test]
    fn the_ends_are_the_two_noises() {
        let noise = |seed| NoiseSource::new(Rng::Cpu, seed).randn(&[1, 4, 8, 6], &Device::Cpu).unwrap();
        let (low, high) = (noise(1), noise(2));
        let far = |share, end: &Tensor| {
            let mixed = slerp(&low, &high, share).unwrap();
            (mixed - end)
                .unwrap()
                .abs()
                .unwrap()
                .flatten_all()
                .unwrap()
                .max(0)
                .unwrap()
                .to_scalar::<f32>()
                .unwrap()
        };
        assert!(far(0.0, &low) < 1e-6 && far(1.0, &high) < 1e-6);
        assert!(far(0.5, &low) > 0.1 && far(0.5, &high) > 0.1);
        let same = slerp(&low, &low, 0.3).unwrap();
        assert!((same - &low).unwrap().abs().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap() < 1e-4);
    }
}
