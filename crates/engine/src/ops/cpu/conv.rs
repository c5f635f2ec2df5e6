//! Direct convolution.
//!
//! The image is copied band by band into planes with their zero border. In such a plane, what one weight is multiplied
//! with for all outputs of a row of pixels is a contiguous run, so that a convolution is a matrix product whose
//! right side is read in place at an offset for each weight: no im2col, no packing. Outputs are computed on the
//! padded width, and the few that fall on the border are dropped. A stride is handled by splitting each plane
//! into its phases (even and odd rows and columns).

use rayon::prelude::*;

use super::multiply_add;

/// Output channels of one block.
const CHANNELS: usize = 4;
/// Pixels of one block: with four channels eight vector registers of sums; with more, the compiler spills some.
const PIXELS: usize = 16;
/// Fewest pixels of one band of rows, about: every band reads all weights.
const BAND: usize = 512;
/// Values of one band over all input channels, about, if that is more: what the second cache holds easily.
const CACHED: usize = 48 * 1024;
/// Values of the bands that are padded at a time, about: 16 MiB, however large the image.
const PADDED: usize = 4 << 20;
/// Fewest tasks of the bands that are padded at a time, so that no processor waits for the last one.
const TASKS: usize = 256;

/// Sizes of a convolution.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) struct Geometry {
    pub(in crate::ops) batch: usize,
    pub(in crate::ops) input: usize,
    pub(in crate::ops) height: usize,
    pub(in crate::ops) width: usize,
    pub(in crate::ops) output: usize,
    pub(in crate::ops) kernel_height: usize,
    pub(in crate::ops) kernel_width: usize,
    pub(in crate::ops) stride: usize,
    pub(in crate::ops) padding: usize,
}

impl Geometry {
    /// Height and width of the result.
    pub(in crate::ops) fn output_size(&self) -> (usize, usize) {
        let size = |length: usize, kernel: usize| (length + 2 * self.padding - kernel) / self.stride + 1;
        (size(self.height, self.kernel_height), size(self.width, self.kernel_width))
    }

    /// Height and width of one phase of a padded plane that gives `rows` rows of output.
    fn phase_size(&self, rows: usize) -> (usize, usize) {
        let (_, width) = self.output_size();
        (rows + (self.kernel_height - 1) / self.stride, width + (self.kernel_width - 1) / self.stride)
    }
}

/// Convolves `x` with `weight` [output, input, kernel height, kernel width], adds `bias` ([output] or [batch,
/// output]) and `add` (of the result's shape).
pub(in crate::ops) fn conv2d(
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    add: Option<&[f32]>,
    g: &Geometry,
) -> Vec<f32> {
    let (height, width) = g.output_size();
    let (_, stride_y) = g.phase_size(1);
    let rows = (BAND / stride_y).max(CACHED / (g.input * stride_y)).clamp(1, height);
    let bands = height.div_ceil(rows);
    let image = g.input * g.height * g.width;
    let offsets = offsets(rows, g);

    let mut y = vec![0f32; g.batch * g.output * height * width];
    // One task for each image, band and block of channels: the band's rows of those channels in `y`. Tasks of one
    // band are neighbours, so that the band stays in cache.
    let channel_blocks = g.output.div_ceil(CHANNELS);
    let mut tasks: Vec<Vec<&mut [f32]>> = Vec::new();
    tasks.resize_with(g.batch * bands * channel_blocks, || Vec::with_capacity(CHANNELS));
    for (plane, values) in y.chunks_mut(height * width).enumerate() {
        let (image, block) = (plane / g.output, plane % g.output / CHANNELS);
        for (band, values) in values.chunks_mut(rows * width).enumerate() {
            tasks[(image * bands + band) * channel_blocks + block].push(values);
        }
    }
    let (phase_height, phase_width) = g.phase_size(rows);
    let band_values = g.input * g.stride * g.stride * phase_height * phase_width;
    let together = (PADDED / band_values).max(TASKS.div_ceil(channel_blocks));
    for (group, tasks) in tasks.chunks_mut(together * channel_blocks).enumerate() {
        let first = group * together;
        let padded: Vec<Vec<f32>> = (first..first + tasks.len() / channel_blocks)
            .into_par_iter()
            .map(|i| pad(&x[i / bands * image..][..image], i % bands * rows, rows, g))
            .collect();
        tasks.par_iter_mut().enumerate().for_each_init(Vec::new, |sums, (task, outputs)| {
            let (place, channel) = (task / channel_blocks, task % channel_blocks * CHANNELS);
            let band = first + place;
            let (image, row) = (band / bands, band % bands * rows);
            let wanted = outputs[0].len() / width * stride_y;
            let length = wanted.next_multiple_of(PIXELS);
            sums.resize(CHANNELS * length, 0f32);
            // The last block of channels may be short; its missing rows repeat the last one and are dropped.
            let weights: [&[f32]; CHANNELS] = std::array::from_fn(|i| {
                let channel = (channel + i).min(g.output - 1);
                &weight[channel * offsets.len()..][..offsets.len()]
            });
            let input = &padded[place];
            for start in (0..length).step_by(PIXELS) {
                let tile = tile(weights, &input[start..], &offsets);
                for (i, values) in tile.iter().enumerate() {
                    sums[i * length + start..][..PIXELS].copy_from_slice(values);
                }
            }
            for (i, output) in outputs.iter_mut().enumerate() {
                let plane = image * g.output + channel + i;
                let bias =
                    bias.map_or(0.0, |bias| bias[if bias.len() > g.output { plane } else { channel + i }]);
                let sums = sums[i * length..][..length].chunks(stride_y);
                let add = add.map(|add| &add[plane * height * width + row * width..][..output.len()]);
                for (y, (output, sums)) in output.chunks_mut(width).zip(sums).enumerate() {
                    match add {
                        Some(add) => {
                            for ((output, sum), add) in output.iter_mut().zip(sums).zip(&add[y * width..]) {
                                *output = sum + bias + add;
                            }
                        }
                        None => output.iter_mut().zip(sums).for_each(|(output, sum)| *output = sum + bias),
                    }
                }
            }
        });
    }
    y
}

/// The gradient of the input of [`conv2d`] with sizes `g`, whose kernel is square and whose padding is less than the
/// kernel: the gradient, with `stride` − 1 zeros between its values, convolved with the kernel turned by 180 degrees.
pub(in crate::ops) fn conv2d_backward(gradient: &[f32], weight: &[f32], g: &Geometry) -> Vec<f32> {
    let (out_height, out_width) = g.output_size();
    // The last rows and columns may have been out of the stride's reach.
    let spread = |length: usize, kernel: usize| length + 2 * g.padding - kernel + 1;
    let (height, width) = (spread(g.height, g.kernel_height), spread(g.width, g.kernel_width));
    let turned = turn(weight, g);
    let sizes = Geometry {
        input: g.output,
        height,
        width,
        output: g.input,
        stride: 1,
        padding: g.kernel_height - 1 - g.padding,
        ..*g
    };
    if g.stride == 1 {
        return conv2d(gradient, &turned, None, None, &sizes);
    }
    let mut spread = vec![0f32; g.batch * g.output * height * width];
    let planes = spread.par_chunks_mut(height * width).zip(gradient.par_chunks(out_height * out_width));
    planes.for_each(|(spread, gradient)| {
        for (row, values) in gradient.chunks_exact(out_width).enumerate() {
            for (column, value) in values.iter().enumerate() {
                spread[row * g.stride * width + column * g.stride] = *value;
            }
        }
    });
    conv2d(&spread, &turned, None, None, &sizes)
}

/// [output, input, kernel] to [input, output, kernel turned by 180 degrees].
fn turn(weight: &[f32], g: &Geometry) -> Vec<f32> {
    let kernel = g.kernel_height * g.kernel_width;
    let mut turned = vec![0f32; weight.len()];
    turned.par_chunks_mut(g.output * kernel).enumerate().for_each(|(input, turned)| {
        for (output, turned) in turned.chunks_exact_mut(kernel).enumerate() {
            let weight = &weight[(output * g.input + input) * kernel..][..kernel];
            turned.iter_mut().zip(weight.iter().rev()).for_each(|(turned, value)| *turned = *value);
        }
    });
    turned
}

/// Sums over all weights for four channels and `PIXELS` neighbouring outputs.
#[inline]
fn tile(weights: [&[f32]; CHANNELS], input: &[f32], offsets: &[usize]) -> [[f32; PIXELS]; CHANNELS] {
    let mut sums = [[0f32; PIXELS]; CHANNELS];
    let [a, b, c, d] = weights;
    for ((((offset, a), b), c), d) in offsets.iter().zip(a).zip(b).zip(c).zip(d) {
        let Some(pixels) = input[*offset..].first_chunk::<PIXELS>() else { break };
        for (sums, weight) in sums.iter_mut().zip([a, b, c, d]) {
            for (sum, pixel) in sums.iter_mut().zip(pixels) {
                *sum = multiply_add(*weight, *pixel, *sum);
            }
        }
    }
    sums
}

/// Where in a padded band the run for each weight [input, kernel height, kernel width] begins.
fn offsets(rows: usize, g: &Geometry) -> Vec<usize> {
    let ((phase_height, phase_width), stride) = (g.phase_size(rows), g.stride);
    let mut offsets = Vec::with_capacity(g.input * g.kernel_height * g.kernel_width);
    for channel in 0..g.input {
        for ky in 0..g.kernel_height {
            for kx in 0..g.kernel_width {
                let phase = (channel * stride + ky % stride) * stride + kx % stride;
                let start = phase * phase_height * phase_width;
                offsets.push(start + ky / stride * phase_width + kx / stride);
            }
        }
    }
    offsets
}

/// What `rows` rows of output from row `first` see of one image: its channels with their border, each split
/// into `stride`² phases, and room for the last tile.
fn pad(x: &[f32], first: usize, rows: usize, g: &Geometry) -> Vec<f32> {
    let (height, width) = g.phase_size(rows);
    let stride = g.stride;
    let planes = g.input * stride * stride;
    let mut out = vec![0f32; planes * height * width + PIXELS + g.kernel_width * width];
    for (plane, out) in out.chunks_exact_mut(height * width).take(planes).enumerate() {
        let (channel, phase_y, phase_x) =
            (plane / (stride * stride), plane / stride % stride, plane % stride);
        let x = &x[channel * g.height * g.width..][..g.height * g.width];
        for (row, out) in out.chunks_exact_mut(width).enumerate() {
            let y = (first + row) * stride + phase_y;
            if y < g.padding || y >= g.height + g.padding {
                continue;
            }
            let x = &x[(y - g.padding) * g.width..][..g.width];
            if stride == 1 {
                let n = g.width.min(width - g.padding);
                out[g.padding..g.padding + n].copy_from_slice(&x[..n]);
                continue;
            }
            for (column, out) in out.iter_mut().enumerate() {
                let at = column * stride + phase_x;
                if at >= g.padding
                    && let Some(value) = x.get(at - g.padding)
                {
                    *out = *value;
                }
            }
        }
    }
    out
}
