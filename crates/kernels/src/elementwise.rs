//! What is done number by number, where no product or norm does it in passing.

use crate::epilogue::Activation;
use crate::image::{Image, ImageMut};
use crate::naive::activate;
use crate::norm::clear_border;

/// Applies an activation; with `Identity` it copies. Writes zeros into the border of `out` if it has one.
///
/// # Panics
/// If shapes differ.
pub fn activation(x: Image<'_>, activation: Activation, mut out: ImageMut<'_>) {
    same(&x, &out);
    clear_border(&mut out);
    for pixel in 0..x.layout().pixels() {
        for (to, x) in out.pixel(pixel).iter_mut().zip(x.pixel(pixel)) {
            *to = activate(activation, *x);
        }
    }
}

/// a + b. Writes zeros into the border of `out` if it has one.
///
/// # Panics
/// If shapes differ.
pub fn add(a: Image<'_>, b: Image<'_>, mut out: ImageMut<'_>) {
    same(&a, &out);
    same(&b, &out);
    clear_border(&mut out);
    for pixel in 0..a.layout().pixels() {
        for ((to, a), b) in out.pixel(pixel).iter_mut().zip(a.pixel(pixel)).zip(b.pixel(pixel)) {
            *to = a + b;
        }
    }
}

/// value · gelu(gate), where `x` has the values and then the gates.
///
/// # Panics
/// If `x` does not have twice the output's channels.
pub fn geglu(x: Image<'_>, mut out: ImageMut<'_>) {
    let channels = out.layout().channels;
    assert_eq!(x.layout().channels, 2 * channels, "the input has values and gates");
    assert_eq!(x.layout().pixels(), out.layout().pixels(), "input and output have the same pixels");
    clear_border(&mut out);
    for pixel in 0..x.layout().pixels() {
        let (values, gates) = x.pixel(pixel).split_at(channels);
        for ((to, value), gate) in out.pixel(pixel).iter_mut().zip(values).zip(gates) {
            *to = value * activate(Activation::Gelu, *gate);
        }
    }
}

/// From planes, `[batch, channels, height, width]`. Writes zeros into the border of `out` if it has one.
///
/// # Panics
/// If the sizes differ.
pub fn from_planes(planes: &[f32], mut out: ImageMut<'_>) {
    let layout = out.layout();
    let area = layout.height * layout.width;
    assert_eq!(planes.len(), layout.pixels() * layout.channels, "planes have the output's numbers");
    clear_border(&mut out);
    for pixel in 0..layout.pixels() {
        for (channel, to) in out.pixel(pixel).iter_mut().enumerate() {
            *to = planes[(pixel / area * layout.channels + channel) * area + pixel % area];
        }
    }
}

/// To planes, `[batch, channels, height, width]`.
///
/// # Panics
/// If the sizes differ.
pub fn to_planes(x: Image<'_>, planes: &mut [f32]) {
    let layout = x.layout();
    let area = layout.height * layout.width;
    assert_eq!(planes.len(), layout.pixels() * layout.channels, "planes have the input's numbers");
    for pixel in 0..layout.pixels() {
        for (channel, from) in x.pixel(pixel).iter().enumerate() {
            planes[(pixel / area * layout.channels + channel) * area + pixel % area] = *from;
        }
    }
}

fn same(x: &Image<'_>, out: &ImageMut<'_>) {
    assert_eq!(x.layout().channels, out.layout().channels, "input and output have the same channels");
    assert_eq!(x.layout().pixels(), out.layout().pixels(), "input and output have the same pixels");
}
