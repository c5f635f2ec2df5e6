//! Group norm and layer norm.

use crate::epilogue::Activation;
use crate::image::{Image, ImageMut};
use crate::naive::activate;

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
    fn check(&self, channels: usize) {
        assert_eq!(self.weight.len(), channels, "the norm's weight has one number per channel");
        assert_eq!(self.bias.len(), channels, "the norm's bias has one number per channel");
    }
}

/// Group norm of `x`, one image or the parts of a concatenation in order of channels, then an activation. Writes zeros
/// into the border of `out` if it has one.
///
/// # Panics
/// If shapes do not fit each other.
pub fn group_norm(
    x: &[Image<'_>],
    groups: usize,
    affine: Affine<'_>,
    activation: Activation,
    mut out: ImageMut<'_>,
) {
    let layout = out.layout();
    let channels: usize = x.iter().map(|part| part.layout().channels).sum();
    assert_eq!(layout.channels, channels, "the output has the parts' channels");
    for part in x {
        assert_eq!(
            (part.layout().batch, part.layout().pixels()),
            (layout.batch, layout.pixels()),
            "parts have the output's pixels"
        );
    }
    assert!(groups > 0 && channels.is_multiple_of(groups), "groups share the channels evenly");
    affine.check(channels);
    clear_border(&mut out);
    let (size, pixels) = (channels / groups, layout.height * layout.width);
    let value = |pixel: usize, channel: usize| {
        let mut channel = channel;
        for part in x {
            if channel < part.layout().channels {
                return part.pixel(pixel)[channel];
            }
            channel -= part.layout().channels;
        }
        unreachable!("channels are counted above")
    };
    for image in 0..layout.batch {
        for group in 0..groups {
            let places = || {
                (image * pixels..(image + 1) * pixels)
                    .flat_map(|p| (group * size..(group + 1) * size).map(move |c| (p, c)))
            };
            let count = (pixels * size) as f64;
            let mean = places().map(|(p, c)| f64::from(value(p, c))).sum::<f64>() / count;
            let var = places().map(|(p, c)| (f64::from(value(p, c)) - mean).powi(2)).sum::<f64>() / count;
            let scale = 1.0 / (var + f64::from(affine.epsilon)).sqrt();
            for (p, c) in places() {
                let y = (f64::from(value(p, c)) - mean) * scale * f64::from(affine.weight[c])
                    + f64::from(affine.bias[c]);
                out.pixel(p)[c] = activate(activation, y as f32);
            }
        }
    }
}

/// Layer norm of every pixel.
///
/// # Panics
/// If shapes do not fit each other.
pub fn layer_norm(x: Image<'_>, affine: Affine<'_>, mut out: ImageMut<'_>) {
    let layout = out.layout();
    assert_eq!(layout.channels, x.layout().channels, "input and output have the same channels");
    assert_eq!(layout.pixels(), x.layout().pixels(), "input and output have the same pixels");
    affine.check(layout.channels);
    clear_border(&mut out);
    for p in 0..layout.pixels() {
        let row = x.pixel(p);
        let count = row.len() as f64;
        let mean = row.iter().map(|x| f64::from(*x)).sum::<f64>() / count;
        let var = row.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / count;
        let scale = 1.0 / (var + f64::from(affine.epsilon)).sqrt();
        for (c, to) in out.pixel(p).iter_mut().enumerate() {
            *to = ((f64::from(row[c]) - mean) * scale * f64::from(affine.weight[c])
                + f64::from(affine.bias[c])) as f32;
        }
    }
}

/// Writes zeros around each image.
pub fn clear_border(out: &mut ImageMut<'_>) {
    let layout = out.layout();
    if layout.border == 0 {
        return;
    }
    let (h, w) = (layout.height + 2, layout.width + 2);
    for image in 0..layout.batch {
        for y in 0..h {
            for x in 0..w {
                if y == 0 || y == h - 1 || x == 0 || x == w - 1 {
                    let at = ((image * h + y) * w + x) * layout.stride;
                    out.data_mut()[at..][..layout.channels].fill(0.0);
                }
            }
        }
    }
}
