//! 3×3 convolutions of bordered images with packed weights.

use std::ops::Range;

use crate::epilogue::Epilogue;
use crate::finish::Finish;
use crate::image::{AnyImage, AnyImageMut, Dtype, Image, Layout};
use crate::isa::Isa;
use crate::merge::Change;
use crate::panels::Panels;
use crate::product::{Line, Rows, product};
use crate::tile::Operand;
use crate::winograd::{Transform, winograd};

/// Packed weights `[outputs, inputs, 3, 3]`.
#[derive(Clone, Debug)]
pub struct PackedConv3x3(pub(crate) Panels);

/// Which input pixels an output pixel sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sampling {
    /// Its neighbours: stride 1, padding 1.
    #[default]
    Same,
    /// Every second pixel's neighbours: stride 2, padding 1.
    Half,
    /// Stride 2 with padding on the right and at the bottom only, as in the encoder of a VAE.
    HalfBottomRight,
    /// The neighbours in the image enlarged twice by repeating pixels.
    Double,
}

impl Sampling {
    /// Height and width of the output for an input of `height` × `width`.
    pub fn size(self, height: usize, width: usize) -> (usize, usize) {
        match self {
            Self::Same => (height, width),
            Self::Half => (height.div_ceil(2), width.div_ceil(2)),
            Self::HalfBottomRight => (height / 2, width / 2),
            Self::Double => (2 * height, 2 * width),
        }
    }

    /// The input row (or column) under tap `tap` of output row `y`, counted from the border.
    fn source(self, y: usize, tap: usize) -> usize {
        match self {
            Self::Same => y + tap,
            Self::Half => 2 * y + tap,
            Self::HalfBottomRight => 2 * y + tap + 1,
            Self::Double => (y + tap).div_ceil(2),
        }
    }
}

/// How a convolution is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// By shape, whichever is fastest.
    #[default]
    Auto,
    /// As nine products.
    Direct,
    /// Winograd's F(2×2); direct where there is a stride.
    Winograd2,
    /// Winograd's F(4×4) with the points 0, ±3/4, ±3/2; direct where there is a stride.
    Winograd4,
}

impl Algorithm {
    /// What is used: the fastest for `Auto`, and direct for strides, which Winograd has no form for.
    fn choose(self, weights: &Panels, sampling: Sampling, to: &Layout) -> Self {
        let half = weights.dtype() == Dtype::Bf16;
        // Transforms, also those of the weights, which are done for each call, are paid by pixels and channels.
        // By the size of an image and not their number, so that an image is the same in every batch.
        let pays = to.height * to.width >= 32 && weights.inputs >= 32 && weights.outputs > 16;
        match (sampling, self) {
            (Sampling::Half | Sampling::HalfBottomRight, _) => Self::Direct,
            (_, Self::Auto) if !pays => Self::Direct,
            (_, Self::Auto) if !half => Self::Winograd4,
            // Tiles multiply faster than patches are transformed.
            (_, Self::Auto) if weights.isa == Isa::Amx => Self::Direct,
            // F(4×4) would round to bf16 what its transforms have magnified.
            (_, Self::Auto) => Self::Winograd2,
            (_, chosen) => chosen,
        }
    }
}

impl PackedConv3x3 {
    /// Packs `weights`, `[outputs, inputs, 3, 3]`.
    ///
    /// # Panics
    /// If they are not whole rows.
    pub fn pack(weights: &[f32], inputs: usize) -> Self {
        Self::pack_as(Dtype::F32, weights, inputs)
    }

    /// The same, rounded to a type.
    ///
    /// # Panics
    /// If they are not whole rows, or bf16 is requested and the inputs are odd.
    pub fn pack_as(dtype: Dtype, weights: &[f32], inputs: usize) -> Self {
        let isa = Isa::current();
        Self(Panels::pack(dtype, &[weights], inputs, 9, false, isa, width(dtype, isa)))
    }

    /// The type of the packed numbers.
    pub fn dtype(&self) -> Dtype {
        self.0.dtype()
    }

    /// Channels of the output.
    pub fn outputs(&self) -> usize {
        self.0.outputs
    }

    /// Channels of the input.
    pub fn inputs(&self) -> usize {
        self.0.inputs
    }

    /// These weights plus `changes`, in memory of their own.
    ///
    /// # Panics
    /// If a change does not fit.
    pub fn plus(&self, changes: &[Change<'_>]) -> Self {
        Self(self.0.plus(changes))
    }

    /// Sets the weights to `pristine` plus `changes`.
    ///
    /// # Panics
    /// If the shapes differ, or a change does not fit.
    pub fn merge(&mut self, pristine: &Self, changes: &[Change<'_>]) {
        self.0.merge(&pristine.0, changes);
    }

    /// The weights as `[inputs, outputs, 3, 3]`, turned by 180 degrees: what the gradient of a convolution's output is convolved
    /// with ([`Sampling::Same`]) for that of its input. In the memory of `before` if it is large enough.
    ///
    /// # Panics
    /// If they are of bf16 and the outputs are odd.
    pub fn turned(&self, before: Option<Self>) -> Self {
        Self(self.0.turned(width(self.dtype(), self.0.isa), before.map(|before| before.0)))
    }

    /// The weights as they were given.
    pub fn unpack(&self) -> Vec<f32> {
        self.0.unpack(0..self.0.outputs)
    }

    /// The weights of some outputs as they were given.
    pub fn unpack_outputs(&self, outputs: Range<usize>) -> Vec<f32> {
        self.0.unpack(outputs)
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.0.bytes()
    }
}

/// Outputs of a panel.
fn width(dtype: Dtype, isa: Isa) -> usize {
    match (dtype, isa) {
        // Two blocks of tiles.
        (Dtype::Bf16, Isa::Amx) => 64,
        // Eight rows of sums, for images that are a multiple of eight wide.
        (_, isa) if isa.is_wide() => 48,
        _ => 16,
    }
}

/// Convolves `x`, whose border must be zero, with the weights. Images of bf16 are convolved with weights of bf16.
/// Writes zeros into the border of `out` if it has one.
///
/// # Panics
/// If shapes do not fit each other, `x` has no border, or `x` and the weights are of different types.
pub fn conv3x3<'a>(
    x: impl Into<AnyImage<'a>>,
    weights: &PackedConv3x3,
    sampling: Sampling,
    algorithm: Algorithm,
    epilogue: &Epilogue<'_>,
    out: impl Into<AnyImageMut<'a>>,
) {
    let (x, mut out) = (x.into(), out.into());
    let (from, to) = (x.layout(), out.layout());
    assert_eq!(from.border, 1, "a 3×3 convolution reads an image with a border");
    assert_eq!(from.channels, weights.inputs(), "the input has the weights' channels");
    assert_eq!(to.channels, weights.outputs(), "the output has the weights' channels");
    let (height, width) = sampling.size(from.height, from.width);
    assert_eq!(
        (to.batch, to.height, to.width),
        (from.batch, height, width),
        "the output has the convolution's size"
    );
    let algorithm = algorithm.choose(&weights.0, sampling, &to);
    let finish = Finish::new(&weights.0, epilogue, &mut out);
    finish.clear_border();
    match x {
        AnyImage::F32(x) => convolve(x, &weights.0, sampling, algorithm, &finish, &to),
        AnyImage::Bf16(x) => convolve(x, &weights.0, sampling, algorithm, &finish, &to),
    }
}

fn convolve<T: Transform>(
    x: Image<'_, T>,
    weights: &Panels,
    sampling: Sampling,
    algorithm: Algorithm,
    finish: &Finish<'_>,
    to: &Layout,
) {
    let enlarged = sampling == Sampling::Double;
    match algorithm {
        Algorithm::Winograd4 => winograd::<T, 6, 4>(x, weights, enlarged, finish, to),
        Algorithm::Winograd2 => winograd::<T, 4, 2>(x, weights, enlarged, finish, to),
        Algorithm::Direct | Algorithm::Auto => direct(x, weights, sampling, finish, to),
    }
}

/// Nine products: a tap of the kernel is an offset into the input.
fn direct<T: Operand>(
    x: Image<'_, T>,
    weights: &Panels,
    sampling: Sampling,
    finish: &Finish<'_>,
    to: &Layout,
) {
    let from = x.layout();
    // In the enlarged image, pixels of equal parity see the same of the four neighbourhoods.
    let parities = if sampling == Sampling::Double { 2 } else { 1 };
    let mut taps = [[0isize; 9]; 4];
    for (variant, taps) in taps[..parities * parities].iter_mut().enumerate() {
        for (tap, offset) in taps.iter_mut().enumerate() {
            let (y, x) = (sampling.source(variant / 2, tap / 3), sampling.source(variant % 2, tap % 3));
            *offset = (y * from.row_stride() + x * from.stride) as isize;
        }
    }
    let (up, down) = match sampling {
        Sampling::Same => (1, 1),
        Sampling::Half | Sampling::HalfBottomRight => (1, 2),
        Sampling::Double => (2, 1),
    };
    let rows = Rows {
        x: x.data(),
        lines: to.batch * to.height * up,
        length: to.width / up,
        step: from.stride * down,
    };
    let line = |line: usize| {
        let (row, px) = (line / up, line % up);
        let (image, y) = (row / to.height, row % to.height);
        Line {
            start: image * from.image_stride() + y / up * down * from.row_stride(),
            taps: &taps[y % up * 2 + px],
            pixel: row * to.width + px,
            pixel_step: up,
        }
    };
    product(weights, &rows, finish, line);
}
