//! What a plan consists of.

use adire_kernels::{Dtype, Sampling};

use crate::{Parameter, ops::Activation};

/// A block of the arena: images of pixels of channels. Tokens are pixels in one column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Buffer {
    pub(super) images: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) channels: usize,
    /// Rows and columns of zeros all around: 1 for what a 3×3 convolution reads, else 0.
    pub(super) border: usize,
    pub(super) dtype: Dtype,
    /// Whether it keeps its values from one run of the list to the next.
    pub(super) kept: bool,
}

impl Buffer {
    /// Numbers from one image to the next.
    pub(super) fn image(&self) -> usize {
        (self.height + 2 * self.border) * (self.width + 2 * self.border) * self.channels
    }

    /// What it takes of the arena, in numbers of f32.
    pub(super) fn len(&self) -> usize {
        (self.images * self.image() * self.dtype.bytes()).div_ceil(size_of::<f32>())
    }
}

/// Some neighbouring channels of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct View {
    pub(super) buffer: usize,
    pub(super) channel: usize,
    pub(super) channels: usize,
}

impl View {
    /// `channels` of these channels, from the `channel`th on.
    pub(super) fn part(self, channel: usize, channels: usize) -> Self {
        Self { channel: self.channel + channel, channels, ..self }
    }
}

/// Gain and offset of a normalisation: places among the plan's vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Norm {
    pub(super) weight: usize,
    pub(super) bias: usize,
}

/// What a convolution adds to every pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offset {
    /// One of the plan's vectors.
    Vector(usize),
    /// What the time stage has left for this layer.
    Row(View),
}

/// One operation. Results go to `y`. A `residual` is added; it may be `y` itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Op {
    /// Group normalisation of each image.
    GroupNorm { x: View, norm: Norm, groups: usize, eps: f64, activation: Option<Activation>, y: View },
    /// Layer normalisation of each pixel.
    LayerNorm { x: View, norm: Norm, eps: f64, y: View },
    /// x·Wᵀ + b for each pixel; with gated weights, a·gelu(c) of the halves of the result.
    Linear {
        x: View,
        matrix: usize,
        bias: Option<usize>,
        activation: Option<Activation>,
        residual: Option<View>,
        y: View,
    },
    /// A 3×3 convolution of a buffer with a border.
    Conv { x: View, matrix: usize, offset: Offset, sampling: Sampling, residual: Option<View>, y: View },
    /// softmax(q·kᵀ/√d)·v for each head.
    Attention { q: View, k: View, v: View, heads: usize, causal: bool, y: View },
    /// Nearest-neighbour enlargement to the size of `y`, or a copy; to the type of `y`.
    Resize { x: View, y: View },
    /// Copies the first half of a buffer's images to the second.
    Repeat { x: View },
}

impl Op {
    /// What it reads, beside what it writes.
    pub(super) fn reads(&self) -> impl Iterator<Item = View> {
        let views = match *self {
            Self::GroupNorm { x, .. } | Self::LayerNorm { x, .. } => [Some(x), None, None],
            Self::Resize { x, .. } | Self::Repeat { x } => [Some(x), None, None],
            Self::Linear { x, residual, .. } => [Some(x), residual, None],
            Self::Conv { x, offset, residual, .. } => {
                let row = match offset {
                    Offset::Row(row) => Some(row),
                    Offset::Vector(_) => None,
                };
                [Some(x), residual, row]
            }
            Self::Attention { q, k, v, .. } => [Some(q), Some(k), Some(v)],
        };
        views.into_iter().flatten()
    }

    /// What it writes.
    pub(super) fn writes(&self) -> View {
        match *self {
            Self::GroupNorm { y, .. } | Self::LayerNorm { y, .. } | Self::Linear { y, .. } => y,
            Self::Conv { y, .. } | Self::Attention { y, .. } | Self::Resize { y, .. } => y,
            Self::Repeat { x } => x,
        }
    }
}

/// An operation on the first images of its buffers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Step {
    pub(super) op: Op,
    pub(super) images: usize,
}

/// When a part of the list runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// When the prompt changes.
    Prompt,
    /// When the time changes.
    Time,
    /// At every call.
    Step,
}

/// A matrix of weights: parameters of the checkpoint, one below the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MatrixSpec {
    /// Paths of the modules.
    pub(super) parts: Vec<String>,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// Of a convolution 3, else 1.
    pub(super) kernel: usize,
    /// Whether the first half of the outputs is multiplied with gelu of the second.
    pub(super) gated: bool,
    /// That of what it is multiplied with.
    pub(super) dtype: Dtype,
}

/// A vector of parameters: sums of parameters, one behind the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct VectorSpec {
    pub(super) parts: Vec<Vec<(String, Parameter)>>,
}

/// The list, with everything that its operations name.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) buffers: Vec<Buffer>,
    /// Where each buffer begins in the arena.
    pub(super) places: Vec<usize>,
    /// Numbers in the arena.
    pub(super) arena: usize,
    pub(super) matrices: Vec<MatrixSpec>,
    pub(super) vectors: Vec<VectorSpec>,
    pub(super) prompt: Vec<Step>,
    pub(super) time: Vec<Step>,
    pub(super) step: Vec<Step>,
    /// What a call fills in.
    pub(super) input: View,
    /// What a call gives.
    pub(super) output: View,
}

impl Plan {
    /// The operations of a stage.
    pub(super) fn stage(&self, stage: Stage) -> &[Step] {
        match stage {
            Stage::Prompt => &self.prompt,
            Stage::Time => &self.time,
            Stage::Step => &self.step,
        }
    }
}
