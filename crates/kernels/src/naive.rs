//! The plain form of what has a fast one.

use crate::epilogue::{Activation, Epilogue};
use crate::image::ImageMut;
use crate::panels::Panels;

pub(crate) fn activate(activation: Activation, x: f32) -> f32 {
    match activation {
        Activation::Identity => x,
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Gelu => {
            (0.5 * f64::from(x) * (1.0 + erf(f64::from(x) * std::f64::consts::FRAC_1_SQRT_2))) as f32
        }
        Activation::QuickGelu => x / (1.0 + (-1.702 * x).exp()),
    }
}

/// The error function by its series, or 1 where nothing is missing from that.
fn erf(x: f64) -> f64 {
    if x.abs() > 5.5 {
        return x.signum();
    }
    let (mut sum, mut term) = (x, x);
    for n in 1..200 {
        term *= -x * x / n as f64;
        sum += term / (2 * n + 1) as f64;
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

/// Every output pixel: the sum over taps and inputs, then the epilogue. `place(pixel, tap)` is where the input begins.
pub(crate) fn product(
    weights: &Panels,
    epilogue: &Epilogue<'_>,
    mut out: ImageMut<'_>,
    place: impl Fn(usize, usize) -> usize,
    x: &[f32],
) {
    let w = weights.unpack();
    let (inputs, taps) = (weights.inputs, weights.taps);
    let layout = out.layout();
    for pixel in 0..layout.pixels() {
        let image = pixel / (layout.height * layout.width);
        let sum = |output: usize| -> f32 {
            let mut sum = 0.0;
            for tap in 0..taps {
                let from = &x[place(pixel, tap)..][..inputs];
                for (input, x) in from.iter().enumerate() {
                    sum += x * w[(output * inputs + input) * taps + tap];
                }
            }
            sum + epilogue.bias.map_or(0.0, |b| b[output])
                + epilogue.per_image.map_or(0.0, |r| r.pixel(image)[output])
        };
        for channel in 0..layout.channels {
            let mut y = if weights.gated {
                sum(channel) * activate(Activation::Gelu, sum(channel + layout.channels))
            } else {
                activate(epilogue.activation, sum(channel))
            };
            y += epilogue.residual.map_or(0.0, |r| r.pixel(pixel)[channel]);
            let to = &mut out.pixel(pixel)[channel];
            *to = if epilogue.accumulate { *to + y } else { y };
        }
    }
}
