//! The kernels, with their operands. What a kernel computes is said in `kernels/adire.h`.

use adire_kernels::{Activation, Layout, Sampling};

use crate::{
    Element, Error, Result,
    memory::{Memory, Owner, Span, View},
};

/// Most changes of one [`Kernel::Merge`].
pub const MAX_CHANGES: usize = 32;
/// Most channels of [`Kernel::LayerNorm`].
const MAX_LAYER_NORM: usize = 8192;
/// Most channels of a head.
const MAX_HEAD: usize = 512;

/// Weights of a product, row by row without gaps: [outputs, inputs], or of a convolution [outputs, 3, 3, inputs].
#[derive(Clone, Debug)]
pub struct Matrix {
    /// Its numbers.
    pub values: Span,
    /// Their type.
    pub element: Element,
    /// Rows; of gated weights both halves, values and then gates.
    pub outputs: usize,
    /// Channels of what it is multiplied with.
    pub inputs: usize,
    /// 3 for a convolution, else 1.
    pub kernel: usize,
    /// Whether the result is value · gelu(gate), of half as many channels.
    pub gated: bool,
}

impl Matrix {
    /// Numbers of a row.
    pub fn columns(&self) -> usize {
        self.inputs * self.kernel * self.kernel
    }

    /// Channels of a result.
    pub fn channels(&self) -> usize {
        if self.gated { self.outputs / 2 } else { self.outputs }
    }

    fn check(&self) -> Result<()> {
        let bytes = self.outputs * self.columns() * self.element.bytes();
        let aligned = self.values.range().start.is_multiple_of(16);
        let whole = !self.gated || self.outputs.is_multiple_of(2);
        ensure(self.values.len() == bytes && aligned && whole && matches!(self.kernel, 1 | 3), || {
            format!("a matrix of {} × {} in {} bytes", self.outputs, self.columns(), self.values.len())
        })
    }
}

/// A change of neighbouring rows of a matrix, of f32.
#[derive(Clone, Debug)]
pub enum Delta {
    /// strength · up · down.
    LowRank {
        /// [rows, rank].
        up: Span,
        /// [rank, columns].
        down: Span,
        /// Columns of `up`.
        rank: usize,
    },
    /// strength · itself: [rows, columns].
    Dense(Span),
}

/// Where a change is added.
#[derive(Clone, Debug)]
pub struct Change {
    /// First row of the matrix.
    pub first: usize,
    /// Rows that it changes.
    pub rows: usize,
    /// What is added.
    pub delta: Delta,
    /// What that is multiplied with.
    pub strength: f32,
}

/// Operands of one launch. Results go to `y`. Vectors are f32.
#[derive(Clone, Debug)]
pub enum Kernel {
    /// Group normalisation of each image, in `groups` of channels; the border of `y` becomes zero.
    GroupNorm {
        /// What is normalised.
        x: View,
        /// Gain, one number per channel.
        weight: Span,
        /// Offset, one number per channel.
        bias: Span,
        /// Groups of channels.
        groups: usize,
        /// What is added to the variance.
        epsilon: f32,
        /// What is applied then.
        activation: Activation,
        /// The result.
        y: View,
    },
    /// Layer normalisation of each pixel.
    LayerNorm {
        /// What is normalised.
        x: View,
        /// Gain, one number per channel.
        weight: Span,
        /// Offset, one number per channel.
        bias: Span,
        /// What is added to the variance.
        epsilon: f32,
        /// The result.
        y: View,
    },
    /// activation(x·Wᵀ + bias) + residual; with gated weights a·gelu(c) + residual of the halves.
    Linear {
        /// What is multiplied.
        x: View,
        /// W.
        matrix: Matrix,
        /// One number per output.
        bias: Option<Span>,
        /// What is applied; none with gated weights.
        activation: Activation,
        /// What is added; may be `y` itself.
        residual: Option<View>,
        /// The result.
        y: View,
    },
    /// A 3×3 convolution of `x`, which has a border of zeros, plus offset and residual. The border of `y` is not written.
    Conv {
        /// What is convolved.
        x: View,
        /// Weights [outputs, 3, 3, inputs].
        matrix: Matrix,
        /// One number per output.
        offset: Option<Span>,
        /// From which pixels of `x`.
        sampling: Sampling,
        /// What is added; may be `y` itself.
        residual: Option<View>,
        /// The result.
        y: View,
    },
    /// softmax(q·kᵀ/√d)·v of each head.
    Attention {
        /// Queries.
        q: View,
        /// Keys.
        k: View,
        /// Values.
        v: View,
        /// Heads, which share the channels.
        heads: usize,
        /// Whether query i sees only keys 0 to i.
        causal: bool,
        /// The result.
        y: View,
    },
    /// Nearest neighbours in the size of `y`, or a copy; in the type of `y`. The border of `y` becomes zero.
    Resize {
        /// What is enlarged.
        x: View,
        /// The result.
        y: View,
    },
    /// Copies the first half of the images to the second.
    Repeat {
        /// All images.
        x: View,
    },
    /// From planes [images, channels, height, width] of f32; the border of `y` becomes zero.
    FromPlanes {
        /// The planes.
        planes: Span,
        /// The result.
        y: View,
    },
    /// To planes [images, channels, height, width] of f32.
    ToPlanes {
        /// The images.
        x: View,
        /// The result.
        planes: Span,
    },
    /// A row of a table, whose number, an i32, lies in device memory. A number outside is taken for the nearest inside.
    SelectRow {
        /// [rows, columns] of f32.
        table: Span,
        /// How many rows.
        rows: usize,
        /// The number of the row: 4 bytes.
        index: Span,
        /// The result: `columns` numbers.
        y: Span,
    },
    /// effective = round(pristine + Σ changes), in f32, changes in their order; rows without a change are copied.
    Merge {
        /// [rows, columns] of `element`.
        pristine: Span,
        /// The result, of the same shape.
        effective: Span,
        /// Type of both.
        element: Element,
        /// Rows of both.
        rows: usize,
        /// Columns of both.
        columns: usize,
        /// At most [`MAX_CHANGES`].
        changes: Vec<Change>,
    },
}

fn ensure(holds: bool, message: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Operands(message())) }
}

/// A vector of `count` numbers of f32.
fn vector(span: &Span, count: usize) -> Result<()> {
    let aligned = span.range().start.is_multiple_of(4);
    ensure(aligned && span.len() == 4 * count, || format!("a vector of {count} in {} bytes", span.len()))
}

/// Images, height and width.
fn size(layout: Layout) -> (usize, usize, usize) {
    (layout.batch, layout.height, layout.width)
}

impl Kernel {
    /// Whether shapes and types fit each other, everything lies within its block, and nothing that is written is read at
    /// another place. Views check their bounds when they are made.
    ///
    /// # Errors
    /// [`Error::Operands`] says what does not fit.
    pub fn check(&self) -> Result<()> {
        self.check_shapes()?;
        self.check_overlap()
    }

    fn check_shapes(&self) -> Result<()> {
        let differ = |x: &View, y: &View| format!("{:?} and {:?}", x.layout(), y.layout());
        let same = |x: &View, y: &View| {
            let equal = size(x.layout()) == size(y.layout()) && x.layout().channels == y.layout().channels;
            ensure(equal, || differ(x, y))
        };
        let pixels = |x: &View, y: &View| {
            ensure(x.layout().batch == y.layout().batch && x.layout().pixels() == y.layout().pixels(), || {
                differ(x, y)
            })
        };
        let product = |x: &View, matrix: &Matrix, residual: &Option<View>, y: &View| {
            matrix.check()?;
            let (inputs, outputs) = (x.layout().channels, y.layout().channels);
            ensure(inputs == matrix.inputs && outputs == matrix.channels(), || {
                format!("{inputs} channels to {outputs} by {} × {}", matrix.outputs, matrix.inputs)
            })?;
            residual.iter().try_for_each(|residual| {
                pixels(residual, y)?;
                ensure(residual.layout().channels == outputs, || differ(residual, y))
            })
        };
        match self {
            Self::GroupNorm { x, weight, bias, groups, y, .. } => {
                same(x, y)?;
                let channels = x.layout().channels;
                ensure(*groups > 0 && channels.is_multiple_of(*groups), || {
                    format!("{groups} groups of {channels}")
                })?;
                vector(weight, channels)?;
                vector(bias, channels)
            }
            Self::LayerNorm { x, weight, bias, y, .. } => {
                same(x, y)?;
                let channels = x.layout().channels;
                ensure(channels <= MAX_LAYER_NORM, || format!("{channels} channels in a layer norm"))?;
                vector(weight, channels)?;
                vector(bias, channels)
            }
            Self::Linear { x, matrix, bias, activation, residual, y } => {
                pixels(x, y)?;
                product(x, matrix, residual, y)?;
                let plain = !matrix.gated || *activation == Activation::Identity;
                ensure(plain && matrix.kernel == 1, || {
                    format!("a linear layer of {matrix:?} and {activation:?}")
                })?;
                bias.iter().try_for_each(|bias| vector(bias, matrix.outputs))
            }
            Self::Conv { x, matrix, offset, sampling, residual, y } => {
                product(x, matrix, residual, y)?;
                let (from, to) = (x.layout(), y.layout());
                let fits =
                    from.batch == to.batch && sampling.size(from.height, from.width) == (to.height, to.width);
                let convolves = matrix.kernel == 3 && !matrix.gated && from.border == 1;
                ensure(fits && convolves, || format!("a convolution, {sampling:?}: {}", differ(x, y)))?;
                offset.iter().try_for_each(|offset| vector(offset, matrix.outputs))
            }
            Self::Attention { q, k, v, heads, y, .. } => {
                same(k, v)?;
                same(q, y)?;
                let (one, other) = (q.layout(), k.layout());
                let channels = one.channels;
                let fits = one.batch == other.batch && channels == other.channels;
                let depth = channels / (*heads).max(1);
                let whole = *heads > 0 && channels.is_multiple_of(*heads) && depth <= MAX_HEAD;
                let typed = q.element() == k.element() && q.element() == v.element();
                ensure(fits && whole && typed && other.pixels() > 0, || {
                    format!("attention of {heads} heads: {}", differ(q, k))
                })
            }
            Self::Resize { x, y } => {
                let (from, to) = (x.layout(), y.layout());
                ensure(from.batch == to.batch && from.channels == to.channels && from.pixels() > 0, || {
                    differ(x, y)
                })
            }
            Self::Repeat { x } => {
                ensure(x.layout().batch.is_multiple_of(2), || format!("{:?} in halves", x.layout()))
            }
            Self::FromPlanes { planes, y: view } | Self::ToPlanes { x: view, planes } => {
                vector(planes, view.layout().pixels() * view.layout().channels)
            }
            Self::SelectRow { table, rows, index, y } => {
                vector(index, 1)?;
                vector(y, y.len() / 4)?;
                ensure(*rows > 0, || "a table without rows".to_owned())?;
                vector(table, rows * (y.len() / 4))
            }
            Self::Merge { pristine, effective, element, rows, columns, changes } => {
                let bytes = rows * columns * element.bytes();
                let fits =
                    pristine.len() == bytes && effective.len() == bytes && changes.len() <= MAX_CHANGES;
                let aligned = [pristine, effective].iter().all(|span| span.range().start.is_multiple_of(16));
                ensure(fits && aligned, || {
                    format!("a merge of {rows} × {columns} with {} changes", changes.len())
                })?;
                changes.iter().try_for_each(|change| {
                    ensure(change.first + change.rows <= *rows, || format!("a change beyond {rows} rows"))?;
                    match &change.delta {
                        Delta::LowRank { up, down, rank } => {
                            vector(up, change.rows * rank)?;
                            vector(down, rank * columns)
                        }
                        Delta::Dense(values) => vector(values, change.rows * columns),
                    }
                })
            }
        }
    }

    fn check_overlap(&self) -> Result<()> {
        let overlap = |what: &str| Err(Error::Operands(format!("{what} is written where it is read")));
        if let Some(y) = self.view_written() {
            for x in self.views_read() {
                // A residual may be where the result goes: each number is read before it is written, and by nobody else.
                let in_place = matches!(self, Self::Linear { residual: Some(residual), .. }
                    | Self::Conv { residual: Some(residual), .. } if std::ptr::eq(residual, x))
                    && x.is(y);
                if !in_place && x.meets(y) {
                    return overlap("a view");
                }
            }
        }
        let written = match self {
            Self::ToPlanes { planes, .. } => planes,
            Self::SelectRow { y, .. } => y,
            Self::Merge { effective, .. } => effective,
            _ => match self.view_written() {
                Some(y) => y.span(),
                None => return Ok(()),
            },
        };
        let read = self.spans_read();
        if read.iter().any(|span| span.meets(written)) { overlap("a vector or matrix") } else { Ok(()) }
    }

    fn view_written(&self) -> Option<&View> {
        match self {
            Self::GroupNorm { y, .. } | Self::LayerNorm { y, .. } | Self::Linear { y, .. } => Some(y),
            Self::Conv { y, .. } | Self::Attention { y, .. } | Self::Resize { y, .. } => Some(y),
            Self::FromPlanes { y, .. } => Some(y),
            Self::Repeat { .. } | Self::ToPlanes { .. } | Self::SelectRow { .. } | Self::Merge { .. } => None,
        }
    }

    fn views_read(&self) -> Vec<&View> {
        match self {
            Self::GroupNorm { x, .. } | Self::LayerNorm { x, .. } | Self::Resize { x, .. } => vec![x],
            Self::Repeat { x } | Self::ToPlanes { x, .. } => vec![x],
            Self::Linear { x, residual, .. } | Self::Conv { x, residual, .. } => {
                std::iter::once(x).chain(residual).collect()
            }
            Self::Attention { q, k, v, .. } => vec![q, k, v],
            Self::FromPlanes { .. } | Self::SelectRow { .. } | Self::Merge { .. } => Vec::new(),
        }
    }

    fn spans_read(&self) -> Vec<&Span> {
        match self {
            Self::GroupNorm { weight, bias, .. } | Self::LayerNorm { weight, bias, .. } => vec![weight, bias],
            Self::Linear { matrix, bias, .. } => std::iter::once(&matrix.values).chain(bias).collect(),
            Self::Conv { matrix, offset, .. } => std::iter::once(&matrix.values).chain(offset).collect(),
            Self::FromPlanes { planes, .. } => vec![planes],
            Self::ToPlanes { x, .. } => vec![x.span()],
            Self::SelectRow { table, index, .. } => vec![table, index],
            Self::Merge { pristine, changes, .. } => {
                let deltas = changes.iter().flat_map(|change| match &change.delta {
                    Delta::LowRank { up, down, .. } => vec![up, down],
                    Delta::Dense(values) => vec![values],
                });
                std::iter::once(pristine).chain(deltas).collect()
            }
            Self::Attention { .. } | Self::Resize { .. } | Self::Repeat { .. } => Vec::new(),
        }
    }

    /// The blocks that it uses, some of them several times.
    pub(crate) fn memories(&self) -> Vec<&Memory> {
        let written = match self {
            Self::ToPlanes { planes, .. } => Some(planes),
            Self::SelectRow { y, .. } => Some(y),
            Self::Merge { effective, .. } => Some(effective),
            _ => self.view_written().map(View::span),
        };
        let views = self.views_read().into_iter().map(View::span);
        views.chain(self.spans_read()).chain(written).map(Span::memory).collect()
    }

    /// As [`Self::check`], and whether all of it is memory of one runtime.
    pub(crate) fn check_for(&self, owner: Owner) -> Result<()> {
        let ours = self.memories().iter().all(|memory| memory.owner() == owner);
        ensure(ours, || "memory of another device".to_owned())?;
        self.check()
    }
}
