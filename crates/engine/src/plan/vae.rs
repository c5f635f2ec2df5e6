//! The plans of an autoencoder's two halves.

use adire_kernels::Dtype;

use super::{
    blocks::{self, Norms},
    build::Builder,
    op::{Op, Plan, View},
};
use crate::ops::Activation;

/// Sizes of an autoencoder.
#[derive(Clone, Debug)]
pub(crate) struct Autoencoder {
    /// Channels of an image, in and out.
    pub(crate) image: (usize, usize),
    /// Channels of a latent.
    pub(crate) latent: usize,
    /// Channels of each level, the image's first.
    pub(crate) widths: Vec<usize>,
    /// Residual blocks of a level of the encoder; the decoder's have one more.
    pub(crate) layers: usize,
    pub(crate) groups: usize,
    pub(crate) eps: f64,
    pub(crate) activation: Activation,
    /// Whether the middle has attention.
    pub(crate) attention: bool,
    /// Whether a 1×1 convolution follows the encoder, and whether one precedes the decoder.
    pub(crate) mixes: (bool, bool),
}

/// Which half of an autoencoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    /// Images to moments.
    Encoder,
    /// Latents to images.
    Decoder,
}

/// The plan of one half for `images` of `size` (height and width of what goes in).
pub(super) fn plan(config: &Autoencoder, half: Half, images: usize, size: (usize, usize)) -> Plan {
    let norms = Norms { groups: config.groups, eps: config.eps, activation: config.activation };
    let mut builder = Builder::new(Dtype::F32, images, images);
    let (input, output) = match half {
        Half::Encoder => encoder(&mut builder, config, &norms, images, size),
        Half::Decoder => decoder(&mut builder, config, &norms, images, size),
    };
    builder.finish(input, output)
}

fn decoder(
    b: &mut Builder,
    config: &Autoencoder,
    norms: &Norms,
    images: usize,
    size: (usize, usize),
) -> (View, View) {
    let (latent, widths) = (config.latent, &config.widths);
    let deepest = widths.last().copied().unwrap_or(1);
    let input = b.kept(images, size, latent, 1);
    let mut z = input;
    if config.mixes.1 {
        let mixed = b.buffer(size, latent, 0);
        b.layer("post_quant_conv", input, None, mixed);
        z = b.buffer(size, latent, 1);
        b.push(Op::Resize { x: mixed, y: z });
    }
    let mut x = b.buffer(size, deepest, 0);
    blocks::conv(b, "decoder.conv_in", z, None, x);
    x = mid_block(b, "decoder.mid_block", config, norms, x);
    for (i, width) in widths.iter().rev().enumerate() {
        let path = format!("decoder.up_blocks.{i}");
        x = resnets(b, &path, config.layers + 1, norms, x, *width);
        if i + 1 < widths.len() {
            let (height, width) = b.size(x);
            let y = b.buffer((2 * height, 2 * width), x.channels, 0);
            blocks::upsample(b, &format!("{path}.upsamplers.0"), x, y);
            x = y;
        }
    }
    (input, last(b, "decoder", config.image.1, norms, images, x))
}

fn encoder(
    b: &mut Builder,
    config: &Autoencoder,
    norms: &Norms,
    images: usize,
    size: (usize, usize),
) -> (View, View) {
    let widths = &config.widths;
    let input = b.kept(images, size, config.image.0, 1);
    let mut x = b.buffer(size, widths.first().copied().unwrap_or(1), 0);
    blocks::conv(b, "encoder.conv_in", input, None, x);
    for (i, width) in widths.iter().enumerate() {
        let path = format!("encoder.down_blocks.{i}");
        x = resnets(b, &path, config.layers, norms, x, *width);
        if i + 1 < widths.len() {
            let y = b.buffer(blocks::halved(b.size(x), 0), x.channels, 0);
            blocks::downsample(b, &format!("{path}.downsamplers.0"), 0, x, y);
            x = y;
        }
    }
    x = mid_block(b, "encoder.mid_block", config, norms, x);
    let moments = last(b, "encoder", 2 * config.latent, norms, images, x);
    if !config.mixes.0 {
        return (input, moments);
    }
    let output = b.kept(images, b.size(moments), moments.channels, 0);
    b.layer("quant_conv", moments, None, output);
    (input, output)
}

fn resnets(b: &mut Builder, path: &str, count: usize, norms: &Norms, x: View, width: usize) -> View {
    let mut x = x;
    for j in 0..count {
        let y = b.buffer(b.size(x), width, 0);
        blocks::resnet(b, &format!("{path}.resnets.{j}"), norms, None, x, y);
        x = y;
    }
    x
}

/// Normalisation and the last convolution.
fn last(b: &mut Builder, path: &str, channels: usize, norms: &Norms, images: usize, x: View) -> View {
    let size = b.size(x);
    let normed = b.buffer(size, x.channels, 1);
    let name = format!("{path}.conv_norm_out");
    b.group_norm(&name, x, norms.groups, norms.eps, Some(norms.activation), normed);
    let output = b.kept(images, size, channels, 0);
    blocks::conv(b, &format!("{path}.conv_out"), normed, None, output);
    output
}

/// Residual block, attention if the config has it, residual block.
fn mid_block(b: &mut Builder, path: &str, config: &Autoencoder, norms: &Norms, x: View) -> View {
    let (size, width) = (b.size(x), x.channels);
    let mut x = x;
    for i in 0..2 {
        let y = b.buffer(size, width, 0);
        blocks::resnet(b, &format!("{path}.resnets.{i}"), norms, None, x, y);
        x = y;
        if i == 0 && config.attention {
            let path = format!("{path}.attentions.0");
            let normed = b.buffer(size, width, 0);
            b.group_norm(&format!("{path}.group_norm"), x, norms.groups, norms.eps, None, normed);
            let names = ["to_q", "to_k", "to_v"].map(|name| format!("{path}.{name}"));
            let qkv = b.buffer(size, 3 * width, 0);
            let (matrix, bias) = (b.linear(&names, width, 3 * width), Some(b.biases(&names)));
            b.push(Op::Linear { x: normed, matrix, bias, activation: None, residual: None, y: qkv });
            let [q, k, v] = [0, 1, 2].map(|i| qkv.part(i * width, width));
            let attended = b.buffer(size, width, 0);
            b.push(Op::Attention { q, k, v, heads: 1, causal: false, y: attended });
            b.layer(&format!("{path}.to_out.0"), attended, Some(x), x);
        }
    }
    x
}
