//! Layers whose weights lie packed for the kernels, forwards and back.

use std::cell::Cell;

use adire_kernels::{
    self as kernels, Algorithm, Buffer, Dtype, Epilogue, Image, ImageMut, Layout, PackedConv3x3,
    PackedLinear, Sampling, bf16,
};
use candle_core::Tensor;

/// Packed weights.
#[derive(Clone, Debug)]
pub(crate) enum PackedMatrix {
    Linear(PackedLinear),
    Conv(PackedConv3x3),
}

/// Lends a packed matrix.
pub(crate) trait Lend: std::fmt::Debug + Send + Sync {
    fn matrix(&self) -> &PackedMatrix;
}

impl PackedMatrix {
    pub(crate) fn dtype(&self) -> Dtype {
        match self {
            Self::Linear(matrix) => matrix.dtype(),
            Self::Conv(matrix) => matrix.dtype(),
        }
    }

    /// Rows of the weights: values and gates, if they are gated.
    fn outputs(&self) -> usize {
        match self {
            Self::Linear(matrix) => matrix.outputs(),
            Self::Conv(matrix) => matrix.outputs(),
        }
    }

    fn inputs(&self) -> usize {
        match self {
            Self::Linear(matrix) => matrix.inputs(),
            Self::Conv(matrix) => matrix.inputs(),
        }
    }

    /// Whether [`Self::with_turned`] works.
    pub(crate) fn has_gradient(&self) -> bool {
        self.dtype() == Dtype::F32 || self.outputs().is_multiple_of(4)
    }

    /// Calls `work` with what a gradient is multiplied with.
    pub(crate) fn with_turned<R>(&self, work: impl FnOnce(&Self) -> R) -> R {
        thread_local! {
            // The memory of the last ones: fresh pages would cost as much as turning.
            static LINEAR: Cell<Option<PackedLinear>> = const { Cell::new(None) };
            static CONV: Cell<Option<PackedConv3x3>> = const { Cell::new(None) };
        }
        let turned = match self {
            Self::Linear(matrix) => Self::Linear(matrix.turned(LINEAR.take())),
            Self::Conv(matrix) => Self::Conv(matrix.turned(CONV.take())),
        };
        let result = work(&turned);
        match turned {
            Self::Linear(matrix) => LINEAR.set(Some(matrix)),
            Self::Conv(matrix) => CONV.set(Some(matrix)),
        }
        result
    }

    /// Multiplies `x`, whose border a convolution reads.
    fn multiply(&self, x: Image<'_>, sampling: Sampling, epilogue: &Epilogue<'_>, y: ImageMut<'_>) {
        if self.dtype() == Dtype::F32 {
            return match self {
                Self::Linear(matrix) => kernels::linear_ungated(x, matrix, epilogue, y),
                Self::Conv(matrix) => kernels::conv3x3(x, matrix, sampling, Algorithm::Auto, epilogue, y),
            };
        }
        let layout = x.layout();
        let mut half = Buffer::<bf16>::new(layout.len());
        kernels::activation(x, kernels::Activation::Identity, ImageMut::new(&mut half, layout));
        let half = Image::new(&half, layout);
        match self {
            Self::Linear(matrix) => kernels::linear_ungated(half, matrix, epilogue, y),
            Self::Conv(matrix) => kernels::conv3x3(half, matrix, sampling, Algorithm::Auto, epilogue, y),
        }
    }
}

/// x·Wᵀ + b for rows `x`.
pub(super) fn rows(x: &[f32], matrix: &PackedMatrix, bias: Option<&[f32]>) -> Vec<f32> {
    let (inputs, outputs) = (matrix.inputs(), matrix.outputs());
    let rows = x.len() / inputs;
    let to = Layout::tokens(1, rows, outputs);
    let mut y = vec![0.0; to.len()];
    let x = Image::new(x, Layout::tokens(1, rows, inputs));
    let epilogue = Epilogue { bias, ..Epilogue::default() };
    matrix.multiply(x, Sampling::Same, &epilogue, ImageMut::new(&mut y, to));
    y
}

/// g·W for rows `gradient`.
pub(super) fn rows_backward(gradient: &[f32], matrix: &PackedMatrix) -> Vec<f32> {
    matrix.with_turned(|turned| rows(gradient, turned, None))
}

/// A convolution of planes, of stride 1 that keeps their size, or of stride 2 and padding 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Planes {
    batch: usize,
    height: usize,
    width: usize,
    sampling: Sampling,
}

impl Planes {
    /// Of `x` [batch, channels, height, width]; `None` for strides and paddings that kernels have no form for.
    pub(super) fn new(
        x: &Tensor,
        matrix: &PackedMatrix,
        stride: usize,
        padding: usize,
    ) -> candle_core::Result<Option<Self>> {
        let (batch, channels, height, width) = x.dims4()?;
        let sampling = match (matrix, stride, padding) {
            (PackedMatrix::Linear(_), 1, 0) | (PackedMatrix::Conv(_), 1, 1) => Sampling::Same,
            (PackedMatrix::Conv(_), 2, 1) => Sampling::Half,
            _ => return Ok(None),
        };
        Ok((channels == matrix.inputs()).then_some(Self { batch, height, width, sampling }))
    }

    /// Dimensions of the result.
    pub(super) fn result(&self, matrix: &PackedMatrix) -> (usize, usize, usize, usize) {
        let (height, width) = self.sampling.size(self.height, self.width);
        (self.batch, matrix.outputs(), height, width)
    }

    /// The result for planes `x`, with `bias` [out] or [batch, out].
    pub(super) fn forward(&self, x: &[f32], matrix: &PackedMatrix, bias: &[f32]) -> Vec<f32> {
        let per_image = bias.len() > matrix.outputs();
        let rows = Layout::plain(self.batch, 1, 1, matrix.outputs());
        let epilogue = Epilogue {
            bias: (!per_image).then_some(bias),
            per_image: per_image.then(|| Image::new(bias, rows)),
            ..Epilogue::default()
        };
        self.convolve(x, matrix, &epilogue)
    }

    /// The gradient of the input, from planes of the result's.
    pub(super) fn backward(&self, gradient: &[f32], matrix: &PackedMatrix) -> Vec<f32> {
        matrix.with_turned(|turned| self.convolve_back(gradient, turned))
    }

    fn convolve_back(&self, gradient: &[f32], turned: &PackedMatrix) -> Vec<f32> {
        let same = Self { sampling: Sampling::Same, ..*self };
        if self.sampling == Sampling::Same {
            return same.convolve(gradient, turned, &Epilogue::default());
        }
        // Every second pixel has a gradient; the others have none.
        let (from_height, from_width) = self.sampling.size(self.height, self.width);
        let mut spread = vec![0.0; self.batch * turned.inputs() * self.height * self.width];
        let planes = spread
            .chunks_exact_mut(self.height * self.width)
            .zip(gradient.chunks_exact(from_height * from_width));
        for (spread, gradient) in planes {
            for (spread, gradient) in
                spread.chunks_exact_mut(self.width).step_by(2).zip(gradient.chunks_exact(from_width))
            {
                spread.iter_mut().step_by(2).zip(gradient).for_each(|(to, from)| *to = *from);
            }
        }
        same.convolve(&spread, turned, &Epilogue::default())
    }

    fn convolve(&self, planes: &[f32], matrix: &PackedMatrix, epilogue: &Epilogue<'_>) -> Vec<f32> {
        let border = usize::from(matches!(matrix, PackedMatrix::Conv(_)));
        let from = Layout { border, ..Layout::plain(self.batch, self.height, self.width, matrix.inputs()) };
        let (batch, outputs, height, width) = self.result(matrix);
        let to = Layout::plain(batch, height, width, outputs);
        let (mut x, mut y) = (Buffer::new(from.len()), Buffer::new(to.len()));
        kernels::from_planes(planes, ImageMut::new(&mut x, from));
        matrix.multiply(Image::new(&x, from), self.sampling, epilogue, ImageMut::new(&mut y, to));
        let mut planes = vec![0.0; to.len()];
        kernels::to_planes(Image::new(&y, to), &mut planes);
        planes
    }
}
