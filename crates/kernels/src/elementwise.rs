//! What is done number by number, where no product or norm does it in passing.

use crate::buffer::Number;
use crate::epilogue::Activation;
use crate::image::{AnyImage, AnyImageMut, Image, ImageMut, Layout};
use crate::isa::Isa;
use crate::lines::{clear_around, each_line};
use crate::math::{activate, by_activation, cost, gelu};
use crate::parallel::Shared;
use crate::simd::{Element, Simd, kernel};

/// Applies an activation; with `Identity` it copies, from one type to another if they differ. Writes zeros into the border of
/// `out` if it has one.
///
/// # Panics
/// If shapes differ.
pub fn activation<'a>(x: impl Into<AnyImage<'a>>, activation: Activation, out: impl Into<AnyImageMut<'a>>) {
    match (x.into(), out.into()) {
        (AnyImage::F32(x), AnyImageMut::F32(out)) => apply(x, activation, out),
        (AnyImage::F32(x), AnyImageMut::Bf16(out)) => apply(x, activation, out),
        (AnyImage::Bf16(x), AnyImageMut::F32(out)) => apply(x, activation, out),
        (AnyImage::Bf16(x), AnyImageMut::Bf16(out)) => apply(x, activation, out),
    }
}

fn apply<E: Element, O: Element>(x: Image<'_, E>, activation: Activation, out: ImageMut<'_, O>) {
    same(&x.layout(), &out.layout());
    let isa = Isa::current();
    let channels = x.layout().channels;
    line_by_line(&[x], cost(activation), out, |from, to, count| {
        by_activation!(activation, ACT => {
            // SAFETY: `count` pixels of the views at their strides.
            unsafe { activate_line::<E, O, ACT>(isa, from[0].0, from[0].1, count, channels, to.0, to.1) }
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
/// If `x` does not have twice the output's channels, or is of another type.
pub fn geglu<'a>(x: impl Into<AnyImage<'a>>, out: impl Into<AnyImageMut<'a>>) {
    match (x.into(), out.into()) {
        (AnyImage::F32(x), AnyImageMut::F32(out)) => gate(x, out),
        (AnyImage::Bf16(x), AnyImageMut::Bf16(out)) => gate(x, out),
        _ => panic!("the input and the output of a GEGLU are of one type"),
    }
}

fn gate<E: Element>(x: Image<'_, E>, out: ImageMut<'_, E>) {
    let channels = out.layout().channels;
    assert_eq!(x.layout().channels, 2 * channels, "the input has values and gates");
    assert_eq!(x.layout().pixels(), out.layout().pixels(), "input and output have the same pixels");
    let isa = Isa::current();
    line_by_line(&[x], cost(Activation::Gelu), out, |from, to, count| {
        // SAFETY: `count` pixels of the views at their strides.
        unsafe { geglu_line::<E>(isa, from[0].0, from[0].1, count, channels, to.0, to.1) }
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
pub(crate) fn line_by_line<E: Number, O: Number>(
    x: &[Image<'_, E>],
    cost: usize,
    mut out: ImageMut<'_, O>,
    work: impl Fn(&[(*const E, usize)], (*mut O, usize), usize) + Sync + Send,
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
unsafe fn activate_body<S: Simd, E: Element, O: Element, const ACT: u8>(
    x: *const E,
    x_stride: usize,
    count: usize,
    channels: usize,
    out: *mut O,
    out_stride: usize,
) {
    // SAFETY: `count` pixels of `channels`.
    unsafe {
        for pixel in 0..count {
            let (x, out) = (x.add(pixel * x_stride), out.add(pixel * out_stride));
            let mut c = 0;
            while c + S::LANES <= channels {
                O::store::<S>(out.add(c), activate::<S, ACT>(E::load::<S>(x.add(c))));
                c += S::LANES;
            }
            if c < channels {
                let v = E::load_part::<S>(x.add(c), channels - c);
                O::store_part::<S>(out.add(c), activate::<S, ACT>(v), channels - c);
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
unsafe fn geglu_body<S: Simd, E: Element>(
    x: *const E,
    x_stride: usize,
    count: usize,
    channels: usize,
    out: *mut E,
    out_stride: usize,
) {
    // SAFETY: `count` pixels of twice `channels`, and of `channels`.
    unsafe {
        for pixel in 0..count {
            let (x, out) = (x.add(pixel * x_stride), out.add(pixel * out_stride));
            let mut c = 0;
            while c + S::LANES <= channels {
                let gate = gelu::<S>(E::load::<S>(x.add(channels + c)));
                E::store::<S>(out.add(c), S::mul(E::load::<S>(x.add(c)), gate));
                c += S::LANES;
            }
            if c < channels {
                let lanes = channels - c;
                let gate = gelu::<S>(E::load_part::<S>(x.add(channels + c), lanes));
                E::store_part::<S>(out.add(c), S::mul(E::load_part::<S>(x.add(c), lanes), gate), lanes);
            }
        }
    }
}

kernel! { pub(crate) unsafe fn activate_line{E, O}[const ACT: u8](x: *const E, x_stride: usize, count: usize, channels: usize, out: *mut O, out_stride: usize) => activate_body }
kernel! { unsafe fn add_line(a: *const f32, a_stride: usize, b: *const f32, b_stride: usize, count: usize, channels: usize, out: *mut f32, out_stride: usize) => add_body }
kernel! { unsafe fn geglu_line{E}(x: *const E, x_stride: usize, count: usize, channels: usize, out: *mut E, out_stride: usize) => geglu_body }
