//! Group norm.
//!
//! Sums of a group norm are taken relative to each channel's first pixel, over blocks of a fixed number of pixels, and joined
//! in f64: no cancellation where the mean is large, and the same result on any number of threads.

use crate::epilogue::Activation;
use crate::image::{AnyImageMut, Image, ImageMut};
use crate::isa::Isa;
use crate::lines::{clear_around, each_line};
use crate::math::{activate, by_activation, cost};
use crate::parallel::{Shared, Use, each, scratch};
use crate::simd::{Element, Simd, kernel};

/// Pixels of a block of sums.
const BLOCK: usize = 256;

/// What a norm multiplies by and adds, channel by channel.
#[derive(Clone, Copy, Debug)]
pub struct Affine<'a> {
    /// γ.
    pub weight: &'a [f32],
    /// β.
    pub bias: &'a [f32],
    /// ε under the root.
    pub epsilon: f32,
}

impl Affine<'_> {
    pub(crate) fn check(&self, channels: usize) {
        assert_eq!(self.weight.len(), channels, "the norm's weight has one number per channel");
        assert_eq!(self.bias.len(), channels, "the norm's bias has one number per channel");
    }
}

/// Group norm of `x`, one image or the parts of a concatenation in order of channels, then an activation. Writes zeros
/// into the border of `out` if it has one.
///
/// # Panics
/// If shapes do not fit each other.
pub fn group_norm<'a>(
    x: &[Image<'_>],
    groups: usize,
    affine: Affine<'_>,
    activation: Activation,
    out: impl Into<AnyImageMut<'a>>,
) {
    match out.into() {
        AnyImageMut::F32(out) => group(x, groups, affine, activation, out),
        AnyImageMut::Bf16(out) => group(x, groups, affine, activation, out),
    }
}

fn group<O: Element>(
    x: &[Image<'_>],
    groups: usize,
    affine: Affine<'_>,
    activation: Activation,
    mut out: ImageMut<'_, O>,
) {
    let layout = out.layout();
    let channels: usize = x.iter().map(|part| part.layout().channels).sum();
    assert_eq!(layout.channels, channels, "the output has the parts' channels");
    let size = (layout.batch, layout.height, layout.width);
    for part in x {
        let part = part.layout();
        assert_eq!((part.batch, part.height, part.width), size, "parts have the output's size");
    }
    assert!(groups > 0 && channels.is_multiple_of(groups), "groups share the channels evenly");
    affine.check(channels);
    if layout.is_empty() {
        return;
    }
    let isa = Isa::current();
    let pixels = layout.height * layout.width;
    let blocks = pixels.div_ceil(BLOCK);
    // Per image: sums and sums of squares of each block; then factors and terms.
    let sums = layout.batch * blocks * 2 * channels;
    scratch(Use::Kernel, sums + layout.batch * 2 * channels, |memory| {
        let (sums, factors) = memory.split_at_mut(sums);
        let shared = Shared::new(sums);
        each(layout.batch * blocks, 4 * layout.pixels() * channels, |task| {
            let (image, block) = (task / blocks, task % blocks);
            let range = image * pixels + block * BLOCK..image * pixels + ((block + 1) * BLOCK).min(pixels);
            // SAFETY: this task's sums.
            let sums = unsafe {
                std::slice::from_raw_parts_mut(shared.get().add(task * 2 * channels), 2 * channels)
            };
            sum_block(isa, x, image * pixels, range, sums);
        });
        let shared = Shared::new(factors);
        let sums: &[f32] = sums;
        each(layout.batch, sums.len() * 4, |image| {
            // SAFETY: this image's factors.
            let factors = unsafe {
                std::slice::from_raw_parts_mut(shared.get().add(image * 2 * channels), 2 * channels)
            };
            let sums = &sums[image * blocks * 2 * channels..][..blocks * 2 * channels];
            join(x, image * pixels, pixels, groups, &affine, sums, factors);
        });
        let factors: &[f32] = factors;
        let mut layouts = vec![layout];
        layouts.extend(x.iter().map(|part| part.layout()));
        let to = Shared::new(out.data_mut());
        each_line(&layouts, cost(activation) + 2, |line| {
            let mut at = line.start;
            // A line of images without borders may go on in the next image.
            while at < line.end {
                let image = at / pixels;
                let count = line.end.min((image + 1) * pixels) - at;
                let factors = &factors[image * 2 * channels..][..2 * channels];
                let mut first = 0;
                for part in x {
                    let from = part.layout();
                    by_activation!(activation, ACT => {
                        // SAFETY: `count` pixels of the views; factors and terms of the part's channels.
                        unsafe {
                            let x = part.data().as_ptr().add(from.offset(at));
                            let out = to.get().add(layout.offset(at) + first);
                            let (factor, term) = (factors.as_ptr().add(first), factors.as_ptr().add(channels + first));
                            apply::<O, ACT>(isa, x, from.stride, count, from.channels, factor, term, out, layout.stride);
                        }
                    });
                    first += from.channels;
                }
                at += count;
            }
            // SAFETY: each line has its own part of the border.
            unsafe { clear_around(&layout, to, &line) };
        });
    });
}

/// Sums and sums of squares of the pixels of `range`, relative to pixel `first`.
fn sum_block(isa: Isa, x: &[Image<'_>], first: usize, range: std::ops::Range<usize>, sums: &mut [f32]) {
    sums.fill(0.0);
    let channels = sums.len() / 2;
    let mut channel = 0;
    for part in x {
        let layout = part.layout();
        let mut at = range.start;
        while at < range.end {
            let line = if layout.border == 0 { range.end } else { (at / layout.width + 1) * layout.width };
            let count = line.min(range.end) - at;
            // SAFETY: `count` pixels of the view, and sums of its channels.
            unsafe {
                let data = part.data().as_ptr();
                let (x, origin) = (data.add(layout.offset(at)), data.add(layout.offset(first)));
                let to = sums.as_mut_ptr().add(channel);
                sum(isa, x, layout.stride, count, layout.channels, origin, to, to.add(channels));
            }
            at += count;
        }
        channel += layout.channels;
    }
}

/// From the sums of an image's blocks to what each channel is multiplied by, and what is added.
fn join(
    x: &[Image<'_>],
    first: usize,
    pixels: usize,
    groups: usize,
    affine: &Affine<'_>,
    sums: &[f32],
    factors: &mut [f32],
) {
    let channels = factors.len() / 2;
    let count = pixels as f64;
    let origins = x.iter().flat_map(|part| part.pixel(first));
    // Mean of each channel, and squares around it.
    let moments: Vec<(f64, f64)> = origins
        .enumerate()
        .map(|(channel, origin)| {
            let (mut sum, mut squares) = (0.0, 0.0);
            for block in sums.chunks_exact(2 * channels) {
                sum += f64::from(block[channel]);
                squares += f64::from(block[channels + channel]);
            }
            (f64::from(*origin) + sum / count, squares - sum * sum / count)
        })
        .collect();
    let size = channels / groups;
    for (group, moments) in moments.chunks_exact(size).enumerate() {
        let mean = moments.iter().map(|(mean, _)| mean).sum::<f64>() / size as f64;
        let squares: f64 = moments.iter().map(|(m, squares)| squares + count * (m - mean) * (m - mean)).sum();
        let scale = 1.0 / (squares.max(0.0) / (count * size as f64) + f64::from(affine.epsilon)).sqrt();
        for channel in group * size..(group + 1) * size {
            let factor = f64::from(affine.weight[channel]) * scale;
            factors[channel] = factor as f32;
            factors[channels + channel] = (f64::from(affine.bias[channel]) - mean * factor) as f32;
        }
    }
}

/// Adds to the sums of `count` pixels, relative to `origin`, four vectors of channels at a time.
#[inline(always)]
unsafe fn sum_body<S: Simd>(
    x: *const f32,
    stride: usize,
    count: usize,
    channels: usize,
    origin: *const f32,
    sums: *mut f32,
    squares: *mut f32,
) {
    // SAFETY: `count` pixels of `channels`, and one row of each other.
    unsafe {
        let mut c = 0;
        while c + 4 * S::LANES <= channels {
            let (mut s, mut q, mut o) = ([S::zero(); 4], [S::zero(); 4], [S::zero(); 4]);
            for j in 0..4 {
                let at = c + j * S::LANES;
                (s[j], q[j], o[j]) =
                    (S::load(sums.add(at)), S::load(squares.add(at)), S::load(origin.add(at)));
            }
            for pixel in 0..count {
                for j in 0..4 {
                    let v = S::sub(S::load(x.add(pixel * stride + c + j * S::LANES)), o[j]);
                    s[j] = S::add(s[j], v);
                    q[j] = S::fma(v, v, q[j]);
                }
            }
            for j in 0..4 {
                S::store(sums.add(c + j * S::LANES), s[j]);
                S::store(squares.add(c + j * S::LANES), q[j]);
            }
            c += 4 * S::LANES;
        }
        while c < channels {
            let lanes = (channels - c).min(S::LANES);
            let mut s = S::load_part(sums.add(c), lanes);
            let mut q = S::load_part(squares.add(c), lanes);
            let o = S::load_part(origin.add(c), lanes);
            for pixel in 0..count {
                let v = S::sub(S::load_part(x.add(pixel * stride + c), lanes), o);
                s = S::add(s, v);
                q = S::fma(v, v, q);
            }
            S::store_part(sums.add(c), s, lanes);
            S::store_part(squares.add(c), q, lanes);
            c += S::LANES;
        }
    }
}

#[inline(always)]
unsafe fn apply_body<S: Simd, O: Element, const ACT: u8>(
    x: *const f32,
    stride: usize,
    count: usize,
    channels: usize,
    factor: *const f32,
    term: *const f32,
    out: *mut O,
    out_stride: usize,
) {
    // SAFETY: `count` pixels of `channels`, and one row of each other.
    unsafe {
        for pixel in 0..count {
            let (x, out) = (x.add(pixel * stride), out.add(pixel * out_stride));
            let mut c = 0;
            while c + S::LANES <= channels {
                let v = S::fma(S::load(x.add(c)), S::load(factor.add(c)), S::load(term.add(c)));
                O::store::<S>(out.add(c), activate::<S, ACT>(v));
                c += S::LANES;
            }
            if c < channels {
                let lanes = channels - c;
                let (f, t) = (S::load_part(factor.add(c), lanes), S::load_part(term.add(c), lanes));
                let v = S::fma(S::load_part(x.add(c), lanes), f, t);
                O::store_part::<S>(out.add(c), activate::<S, ACT>(v), lanes);
            }
        }
    }
}

kernel! { unsafe fn sum(x: *const f32, stride: usize, count: usize, channels: usize, origin: *const f32, sums: *mut f32, squares: *mut f32) => sum_body }
kernel! { unsafe fn apply{O}[const ACT: u8](x: *const f32, stride: usize, count: usize, channels: usize, factor: *const f32, term: *const f32, out: *mut O, out_stride: usize) => apply_body }
