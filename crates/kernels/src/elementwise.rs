//! What is done number by number, where no product or norm does it in passing.

use crate::epilogue::Activation;
use crate::image::{Image, ImageMut, Layout};
use crate::isa::Isa;
use crate::lines::{clear_around, each_line};
use crate::math::{activate, by_activation, cost, gelu};
use crate::parallel::Shared;
use crate::simd::{Simd, kernel};

/// Applies an activation; with `Identity` it copies. Writes zeros into the border of `out` if it has one.
///
/// # Panics
/// If shapes differ.
pub fn activation(x: Image<'_>, activation: Activation, out: ImageMut<'_>) {
    same(&x.layout(), &out.layout());
    let isa = Isa::current();
    let channels = x.layout().channels;
    line_by_line(&[x], cost(activation), out, |from, to, count| {
        by_activation!(activation, ACT => {
            // SAFETY: `count` pixels of the views at their strides.
            unsafe { activate_line::<ACT>(isa, from[0].0, from[0].1, count, channels, to.0, to.1) }
        });
    });
}

/// a + b. Writes zeros into the border of `out` if it has one.
///
/// # Panics
/// If shapes differ.
pub fn add(a: Image<'_>, b: Image<'_>, out: ImageMut<'_>) {
    same(&a.layout(), &out.layout());
    same(&b.layout(), &out.layout());
    let isa = Isa::current();
    let channels = a.layout().channels;
    line_by_line(&[a, b], 1, out, |from, to, count| {
        // SAFETY: `count` pixels of the views at their strides.
        unsafe { add_line(isa, from[0].0, from[0].1, from[1].0, from[1].1, count, channels, to.0, to.1) }
    });
}

/// value · gelu(gate), where `x` has the values and then the gates. Writes zeros into the border of `out` if it has one.
///
/// # Panics
/// If `x` does not have twice the output's channels.
pub fn geglu(x: Image<'_>, out: ImageMut<'_>) {
    let channels = out.layout().channels;
    assert_eq!(x.layout().channels, 2 * channels, "the input has values and gates");
    assert_eq!(x.layout().pixels(), out.layout().pixels(), "input and output have the same pixels");
    let isa = Isa::current();
    line_by_line(&[x], cost(Activation::Gelu), out, |from, to, count| {
        // SAFETY: `count` pixels of the views at their strides.
        unsafe { geglu_line(isa, from[0].0, from[0].1, count, channels, to.0, to.1) }
    });
}

/// From planes, `[batch, channels, height, width]`. Writes zeros into the border of `out` if it has one.
///
/// # Panics
/// If the sizes differ.
pub fn from_planes(planes: &[f32], mut out: ImageMut<'_>) {
    let layout = out.layout();
    let area = layout.height * layout.width;
    assert_eq!(planes.len(), layout.pixels() * layout.channels, "planes have the output's numbers");
    let to = Shared::new(out.data_mut());
    each_line(&[layout], 2, |line| {
        for pixel in line.clone() {
            // SAFETY: a pixel of this line, which this call alone writes.
            let row = unsafe {
                std::slice::from_raw_parts_mut(to.get().add(layout.offset(pixel)), layout.channels)
            };
            for (channel, to) in row.iter_mut().enumerate() {
                *to = planes[(pixel / area * layout.channels + channel) * area + pixel % area];
            }
        }
        // SAFETY: each line has its own part of the border.
        unsafe { clear_around(&layout, to, &line) };
    });
}

/// To planes, `[batch, channels, height, width]`.
///
/// # Panics
/// If the sizes differ.
pub fn to_planes(x: Image<'_>, planes: &mut [f32]) {
    let layout = x.layout();
    let area = layout.height * layout.width;
    assert_eq!(planes.len(), layout.pixels() * layout.channels, "planes have the input's numbers");
    let to = Shared::new(planes);
    each_line(&[layout], 2, |line| {
        for pixel in line {
            for (channel, from) in x.pixel(pixel).iter().enumerate() {
                let at = (pixel / area * layout.channels + channel) * area + pixel % area;
                // SAFETY: within the planes; each pixel is one line's.
                unsafe { *to.get().add(at) = *from };
            }
        }
    });
}

/// Writes zeros around each image.
pub fn clear_border(out: &mut ImageMut<'_>) {
    let layout = out.layout();
    if layout.border == 1 {
        let to = Shared::new(out.data_mut());
        for line in 0..layout.batch * layout.height {
            // SAFETY: `out` is borrowed exclusively.
            unsafe { clear_around(&layout, to, &(line * layout.width..(line + 1) * layout.width)) };
        }
    }
}

fn same(x: &Layout, out: &Layout) {
    assert_eq!(x.channels, out.channels, "input and output have the same channels");
    assert_eq!(x.pixels(), out.pixels(), "input and output have the same pixels");
}

/// Calls `work` with each line: where it begins in each input and in the output, with the strides, and how long it is.
pub(crate) fn line_by_line(
    x: &[Image<'_>],
    cost: usize,
    mut out: ImageMut<'_>,
    work: impl Fn(&[(*const f32, usize)], (*mut f32, usize), usize) + Sync + Send,
) {
    let layout = out.layout();
    let mut layouts = [layout; 3];
    for (to, image) in layouts[1..].iter_mut().zip(x) {
        *to = image.layout();
    }
    let to = Shared::new(out.data_mut());
    each_line(&layouts[..x.len() + 1], cost, |line| {
        let mut from = [(std::ptr::null(), 0); 2];
        for (from, image) in from.iter_mut().zip(x) {
            *from = (image.data()[image.layout().offset(line.start)..].as_ptr(), image.layout().stride);
        }
        // SAFETY: the view holds its layout.
        let start = unsafe { to.get().add(layout.offset(line.start)) };
        work(&from[..x.len()], (start, layout.stride), line.len());
        // SAFETY: each line has its own part of the border.
        unsafe { clear_around(&layout, to, &line) };
    });
}

#[inline(always)]
unsafe fn activate_body<S: Simd, const ACT: u8>(
    x: *const f32,
    x_stride: usize,
    count: usize,
    channels: usize,
    out: *mut f32,
    out_stride: usize,
) {
    // SAFETY: `count` pixels of `channels`.
    unsafe {
        for pixel in 0..count {
            let (x, out) = (x.add(pixel * x_stride), out.add(pixel * out_stride));
            let mut c = 0;
            while c + S::LANES <= channels {
                S::store(out.add(c), activate::<S, ACT>(S::load(x.add(c))));
                c += S::LANES;
            }
            if c < channels {
                S::store_part(
                    out.add(c),
                    activate::<S, ACT>(S::load_part(x.add(c), channels - c)),
                    channels - c,
                );
            }
        }
    }
}

#[inline(always)]
unsafe fn add_body<S: Simd>(
    a: *const f32,
    a_stride: usize,
    b: *const f32,
    b_stride: usize,
    count: usize,
    channels: usize,
    out: *mut f32,
    out_stride: usize,
) {
    // SAFETY: `count` pixels of `channels`.
    unsafe {
        for pixel in 0..count {
            let (a, b, out) = (a.add(pixel * a_stride), b.add(pixel * b_stride), out.add(pixel * out_stride));
            let mut c = 0;
            while c + S::LANES <= channels {
                S::store(out.add(c), S::add(S::load(a.add(c)), S::load(b.add(c))));
                c += S::LANES;
            }
            if c < channels {
                let lanes = channels - c;
                S::store_part(
                    out.add(c),
                    S::add(S::load_part(a.add(c), lanes), S::load_part(b.add(c), lanes)),
                    lanes,
                );
            }
        }
    }
}

#[inline(always)]
unsafe fn geglu_body<S: Simd>(
    x: *const f32,
    x_stride: usize,
    count: usize,
    channels: usize,
    out: *mut f32,
    out_stride: usize,
) {
    // SAFETY: `count` pixels of twice `channels`, and of `channels`.
    unsafe {
        for pixel in 0..count {
            let (x, out) = (x.add(pixel * x_stride), out.add(pixel * out_stride));
            let mut c = 0;
            while c + S::LANES <= channels {
                let gate = gelu::<S>(S::load(x.add(channels + c)));
                S::store(out.add(c), S::mul(S::load(x.add(c)), gate));
                c += S::LANES;
            }
            if c < channels {
                let lanes = channels - c;
                let gate = gelu::<S>(S::load_part(x.add(channels + c), lanes));
                S::store_part(out.add(c), S::mul(S::load_part(x.add(c), lanes), gate), lanes);
            }
        }
    }
}

kernel! { unsafe fn activate_line[const ACT: u8](x: *const f32, x_stride: usize, count: usize, channels: usize, out: *mut f32, out_stride: usize) => activate_body }
kernel! { unsafe fn add_line(a: *const f32, a_stride: usize, b: *const f32, b_stride: usize, count: usize, channels: usize, out: *mut f32, out_stride: usize) => add_body }
kernel! { unsafe fn geglu_line(x: *const f32, x_stride: usize, count: usize, channels: usize, out: *mut f32, out_stride: usize) => geglu_body }
