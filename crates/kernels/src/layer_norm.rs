//! Layer norm.

use crate::elementwise::line_by_line;
use crate::image::{AnyImageMut, Image, ImageMut};
use crate::isa::Isa;
use crate::norm::Affine;
use crate::simd::{Element, Simd, kernel};

/// Layer norm of every pixel. Writes zeros into the border of `out` if it has one.
///
/// # Panics
/// If shapes do not fit each other.
pub fn layer_norm<'a>(x: Image<'_>, affine: Affine<'_>, out: impl Into<AnyImageMut<'a>>) {
    match out.into() {
        AnyImageMut::F32(out) => layer(x, affine, out),
        AnyImageMut::Bf16(out) => layer(x, affine, out),
    }
}

fn layer<O: Element>(x: Image<'_>, affine: Affine<'_>, out: ImageMut<'_, O>) {
    let channels = out.layout().channels;
    assert_eq!(channels, x.layout().channels, "input and output have the same channels");
    assert_eq!(out.layout().pixels(), x.layout().pixels(), "input and output have the same pixels");
    affine.check(channels);
    let isa = Isa::current();
    line_by_line(&[x], 8, out, |from, to, count| {
        let (weight, bias) = (affine.weight.as_ptr(), affine.bias.as_ptr());
        // SAFETY: `count` pixels of the views at their strides.
        unsafe {
            layers(isa, from[0].0, from[0].1, count, channels, weight, bias, affine.epsilon, to.0, to.1)
        }
    });
}

/// Mean, then squares around it, then the result: a row stays in the first cache.
#[inline(always)]
unsafe fn layers_body<S: Simd, O: Element>(
    x: *const f32,
    stride: usize,
    count: usize,
    channels: usize,
    weight: *const f32,
    bias: *const f32,
    epsilon: f32,
    out: *mut O,
    out_stride: usize,
) {
    // SAFETY: `count` pixels of `channels`, and one row of each other.
    unsafe {
        let whole = channels - channels % S::LANES;
        let lanes = channels - whole;
        for pixel in 0..count {
            let (x, out) = (x.add(pixel * stride), out.add(pixel * out_stride));
            let mut s = [S::zero(); 2];
            for (i, c) in (0..whole).step_by(S::LANES).enumerate() {
                s[i % 2] = S::add(s[i % 2], S::load(x.add(c)));
            }
            if lanes > 0 {
                s[0] = S::add(s[0], S::load_part(x.add(whole), lanes));
            }
            let mean = S::sum(S::add(s[0], s[1])) / channels as f32;
            let m = S::splat(mean);
            let mut q = [S::zero(); 2];
            for (i, c) in (0..whole).step_by(S::LANES).enumerate() {
                let v = S::sub(S::load(x.add(c)), m);
                q[i % 2] = S::fma(v, v, q[i % 2]);
            }
            if lanes > 0 {
                // Lanes that are not there stay zero.
                let mut tail = [0.0; 16];
                S::store(tail.as_mut_ptr(), S::sub(S::load_part(x.add(whole), lanes), m));
                let v = S::load_part(tail.as_ptr(), lanes);
                q[0] = S::fma(v, v, q[0]);
            }
            let variance = S::sum(S::add(q[0], q[1])) / channels as f32;
            let scale = S::splat(1.0 / (variance + epsilon).sqrt());
            for c in (0..whole).step_by(S::LANES) {
                let v = S::mul(S::sub(S::load(x.add(c)), m), scale);
                O::store::<S>(out.add(c), S::fma(v, S::load(weight.add(c)), S::load(bias.add(c))));
            }
            if lanes > 0 {
                let v = S::mul(S::sub(S::load_part(x.add(whole), lanes), m), scale);
                let (w, b) = (S::load_part(weight.add(whole), lanes), S::load_part(bias.add(whole), lanes));
                O::store_part::<S>(out.add(whole), S::fma(v, w, b), lanes);
            }
        }
    }
}

kernel! { unsafe fn layers{O}(x: *const f32, stride: usize, count: usize, channels: usize, weight: *const f32, bias: *const f32, epsilon: f32, out: *mut O, out_stride: usize) => layers_body }
