//! The plan of a UNet.

use adire_kernels::Dtype;

use super::{
    blocks::{self, Norms, TimeRows, TransformerSizes},
    build::Builder,
    op::{Op, Plan, Stage, View},
};
use crate::unet::{
    AttentionConfig, MidBlockType, UNetConfig,
    topology::{self, DOWNSAMPLER, Input, MID_BLOCK, Topology, UPSAMPLER},
};

/// What a plan depends on beside the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Images of a batch.
    pub(crate) images: usize,
    /// Whether the second half of the batch has the latents of the first, and only the prompt differs.
    pub(crate) guided: bool,
    /// Height and width of the latents.
    pub(crate) size: (usize, usize),
    /// Positions of the prompt.
    pub(crate) tokens: usize,
    /// One time for all images, or one for each.
    pub(crate) times: usize,
}

/// A UNet's plan, with what a call fills in beside the latents.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct UNetPlan {
    pub(super) plan: Plan,
    /// The prompt.
    pub(super) context: View,
    /// Sinusoids of the time.
    pub(super) sinusoids: View,
    /// The time rows that the step stage reads.
    pub(super) rows: View,
    pub(crate) shape: Shape,
}

/// The plan for one shape, with operands of a type; `None` for what only the modules compute.
pub(crate) fn plan(config: &UNetConfig, shape: Shape, operands: Dtype) -> Option<UNetPlan> {
    let levels: Vec<_> = (0..config.block_out_channels.len()).filter_map(|i| config.block(i)).collect();
    let topology = Topology::new(config);
    let deepest = shape.size.0.min(shape.size.1) >> levels.len().checked_sub(1)?;
    let halves = !shape.guided || shape.images.is_multiple_of(2);
    if config.conv_in_kernel != 3 || config.conv_out_kernel != 3 || deepest == 0 || !halves {
        return None;
    }
    // Text widths may differ between levels; no model of the family has that.
    let width = levels[0].attention.context;
    if levels.iter().any(|level| level.attention.context != width) {
        return None;
    }
    // Numbers of bf16 are multiplied in pairs.
    let heads = levels.iter().map(|level| level.channels / level.attention.heads.max(1));
    let in_pairs = heads.chain([width]).all(|channels| channels.is_multiple_of(2));
    let operands = if in_pairs { operands } else { Dtype::F32 };
    let norms = Norms { groups: config.norm_num_groups, eps: config.norm_eps, activation: config.act_fn };
    let different = if shape.guided { shape.images / 2 } else { shape.images };
    let mut builder = Builder::new(operands, shape.images, different);
    let b = &mut builder;
    let context = b.kept(shape.images, (1, shape.tokens), width, 0);
    let prompt = b.as_prompt_operand(context);
    let (sinusoids, embedding, time) = time_stage(b, config, topology.channels, shape.times);
    let input = b.kept(shape.images, shape.size, config.in_channels, 1);
    let attention = |config: &AttentionConfig| TransformerSizes {
        layers: config.layers,
        heads: config.heads,
        groups: config.groups,
        only_cross_attention: config.only_cross_attention,
    };

    let padding = config.downsample_padding;
    let mut skips = concatenations(b, &topology, shape.size, config.downsample_padding)?;
    let mut written = Vec::new();
    let mut x = take(&mut skips, &mut written)?;
    blocks::conv(b, "conv_in", input, None, x);
    for block in &topology.down {
        let path = &block.path;
        for i in 0..block.inputs.len() {
            let y = take(&mut skips, &mut written)?;
            let sizes = block.attention.as_ref().map(attention);
            layer(b, (path, i), &norms, &time, sizes, prompt, x, y);
            x = y;
        }
        if block.resamples {
            let y = take(&mut skips, &mut written)?;
            blocks::downsample(b, &format!("{path}.{DOWNSAMPLER}"), padding, x, y);
            x = y;
        }
    }
    let mut concat = written.pop()?;
    let y = b.buffer(b.size(x), x.channels, 0);
    let mid_resnet = |i: usize| format!("{MID_BLOCK}.{}", topology::resnet(i));
    match topology.mid {
        Some((MidBlockType::CrossAttn, level)) => {
            let sizes = Some(attention(&level.attention));
            layer(b, (MID_BLOCK, 0), &norms, &time, sizes, prompt, x, y);
            blocks::resnet(b, &mid_resnet(1), &norms, Some(&time), y, concat.before);
        }
        // By way of `y`: `x` and the place of the result are halves of one buffer.
        Some((MidBlockType::Plain, _)) => {
            blocks::resnet(b, &mid_resnet(0), &norms, Some(&time), x, y);
            b.push(Op::Resize { x: y, y: concat.before });
        }
        None => {
            b.push(Op::Resize { x, y });
            b.push(Op::Resize { x: y, y: concat.before });
        }
    }
    let mut end = None;
    for block in &topology.up {
        let path = &block.path;
        for i in 0..block.inputs.len() {
            let is_last = i + 1 == block.inputs.len();
            let next = written.pop();
            let y = match next {
                Some(next) if !is_last => next.before,
                _ => b.buffer(b.size(concat.whole), block.channels, 0),
            };
            let sizes = block.attention.as_ref().map(attention);
            layer(b, (path, i), &norms, &time, sizes, prompt, concat.whole, y);
            if let Some(next) = next {
                if is_last {
                    blocks::upsample(b, &format!("{path}.{UPSAMPLER}"), y, next.before);
                }
                concat = next;
            } else {
                end = Some(y);
            }
        }
    }
    let x = end?;
    let normed = b.operand(shape.size, topology.channels, 1);
    b.group_norm("conv_norm_out", x, norms.groups, norms.eps, Some(norms.activation), normed);
    let output = b.kept(shape.images, shape.size, config.out_channels, 0);
    blocks::conv(b, "conv_out", normed, None, output);
    let rows = b.whole(time.rows);
    let op = Op::Linear {
        x: embedding,
        matrix: time.matrix,
        bias: Some(time.bias),
        activation: None,
        residual: None,
        y: rows,
    };
    b.push_to(Stage::Time, op, shape.times);
    let plan = builder.finish(input, output);
    Some(UNetPlan { plan, context, sinusoids, rows, shape })
}

/// A residual block and, where the block attends, a transformer.
#[expect(clippy::too_many_arguments, reason = "all of them are what the two halves share")]
fn layer(
    b: &mut Builder,
    (path, i): (&str, usize),
    norms: &Norms,
    time: &TimeRows,
    attention: Option<TransformerSizes>,
    context: View,
    x: View,
    y: View,
) {
    let resnet = format!("{path}.{}", topology::resnet(i));
    let Some(sizes) = attention else { return blocks::resnet(b, &resnet, norms, Some(time), x, y) };
    let between = b.buffer(b.size(x), y.channels, 0);
    blocks::resnet(b, &resnet, norms, Some(time), x, between);
    blocks::transformer(b, &format!("{path}.{}", topology::attention(i)), &sizes, context, between, y);
}

/// Sinusoids to the time's embedding. The rows that every residual block adds are one product that grows with them.
fn time_stage(b: &mut Builder, config: &UNetConfig, width: usize, times: usize) -> (View, View, TimeRows) {
    let embedding = config.time_embedding_dim.unwrap_or(4 * width);
    let sinusoids = b.kept(times, (1, 1), width, 0);
    let mut x = sinusoids;
    for name in ["linear_1", "linear_2"] {
        let path = format!("time_embedding.{name}");
        let y = b.kept(times, (1, 1), embedding, 0);
        let (matrix, bias) =
            (b.linear(std::slice::from_ref(&path), x.channels, embedding), Some(b.bias(&path)));
        let activation = Some(config.act_fn);
        b.push_to(Stage::Time, Op::Linear { x, matrix, bias, activation, residual: None, y }, times);
        x = y;
    }
    let rows = b.kept(times, (1, 1), 0, 0);
    let (matrix, bias) = (b.linear(&[], embedding, 0), b.empty_vector());
    (sinusoids, x, TimeRows { rows, matrix, bias })
}

/// Where a state of the way up stands beside the skip that it meets.
#[derive(Clone, Copy, Debug)]
struct Concatenation {
    whole: View,
    /// The state of the way up.
    before: View,
    /// The skip.
    skip: View,
}

/// One for every skip, the first one last.
fn concatenations(
    b: &mut Builder,
    topology: &Topology,
    size: (usize, usize),
    padding: usize,
) -> Option<Vec<Concatenation>> {
    // The size of every skip, in the order of the way down.
    let mut size = size;
    let mut sizes = vec![size];
    for block in &topology.down {
        sizes.extend(std::iter::repeat_n(size, block.inputs.len()));
        if block.resamples {
            size = blocks::halved(size, padding);
            sizes.push(size);
        }
    }
    let mut all = Vec::with_capacity(sizes.len());
    for Input { state, skip } in topology.up.iter().flat_map(|block| &block.inputs) {
        let whole = b.buffer(sizes.pop()?, state + skip, 0);
        all.push(Concatenation { whole, before: whole.part(0, *state), skip: whole.part(*state, *skip) });
    }
    sizes.is_empty().then_some(all)
}

/// The next skip of the way down; remembered for the way up.
fn take(skips: &mut Vec<Concatenation>, written: &mut Vec<Concatenation>) -> Option<View> {
    let next = skips.pop()?;
    written.push(next);
    Some(next.skip)
}
