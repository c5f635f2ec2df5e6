//! Views of activations: pixels (or tokens) of a batch, channels last.

use std::ops::Range;

use half::bf16;

/// How the pixels of a batch lie in memory.
///
/// A sequence of tokens is an image of height 1. A part of the channels (one of Q, K, V; a half of a concatenation) is
/// a view with fewer channels than its stride, whose slice begins at its first channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    /// Images.
    pub batch: usize,
    /// Rows of an image, without its border.
    pub height: usize,
    /// Pixels of a row, without its border.
    pub width: usize,
    /// Channels that the view covers.
    pub channels: usize,
    /// Numbers from one pixel to the next; at least `channels`.
    pub stride: usize,
    /// Pixels around each image, zero in what a convolution reads: 0 or 1.
    pub border: usize,
}

impl Layout {
    /// Pixels without gaps.
    pub fn plain(batch: usize, height: usize, width: usize, channels: usize) -> Self {
        Self { batch, height, width, channels, stride: channels, border: 0 }
    }

    /// Pixels with one of border around each image: what a 3×3 convolution reads.
    pub fn bordered(batch: usize, height: usize, width: usize, channels: usize) -> Self {
        Self { border: 1, ..Self::plain(batch, height, width, channels) }
    }

    /// `batch` sequences of `tokens`.
    pub fn tokens(batch: usize, tokens: usize, channels: usize) -> Self {
        Self::plain(batch, 1, tokens, channels)
    }

    /// The same pixels as a part of rows that are `stride` long.
    pub fn with_stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    /// The same memory, looked at with another number of channels.
    pub fn with_channels(self, channels: usize) -> Self {
        Self { channels, ..self }
    }

    /// Pixels of the whole batch, without borders.
    pub fn pixels(&self) -> usize {
        self.batch * self.height * self.width
    }

    /// Numbers from one row of an image to the next.
    pub fn row_stride(&self) -> usize {
        (self.width + 2 * self.border) * self.stride
    }

    /// Numbers from one image to the next.
    pub fn image_stride(&self) -> usize {
        (self.height + 2 * self.border) * self.row_stride()
    }

    /// The numbers that a slice must have to hold it.
    pub fn len(&self) -> usize {
        (self.batch * self.image_stride()).saturating_sub(self.stride - self.channels)
    }

    /// Whether it has no pixels or no channels.
    pub fn is_empty(&self) -> bool {
        self.pixels() == 0 || self.channels == 0
    }

    /// Where pixel `index` of the batch, counted without borders, begins.
    #[inline]
    pub fn offset(&self, index: usize) -> usize {
        if self.border == 0 {
            return index * self.stride;
        }
        let (line, x) = (index / self.width, index % self.width);
        let (image, y) = (line / self.height, line % self.height);
        self.at(image, y, x)
    }

    /// Where the pixel at row `y` and column `x` of an image begins.
    #[inline]
    pub fn at(&self, image: usize, y: usize, x: usize) -> usize {
        let line = image * (self.height + 2 * self.border) + y + self.border;
        (line * (self.width + 2 * self.border) + x + self.border) * self.stride
    }

    fn check(&self, len: usize) {
        assert!(self.stride >= self.channels, "{self:?}: a pixel is longer than the stride");
        assert!(self.border <= 1, "{self:?}: borders are 0 or 1");
        assert!(len >= self.len(), "{self:?} needs {} numbers; the slice has {len}", self.len());
    }
}

/// Pixels to read.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a, T = f32> {
    layout: Layout,
    data: &'a [T],
}

impl<'a, T> Image<'a, T> {
    /// `data`, laid out as `layout` says.
    ///
    /// # Panics
    /// If `data` is too short, or the layout is none.
    pub fn new(data: &'a [T], layout: Layout) -> Self {
        layout.check(data.len());
        Self { layout, data }
    }

    /// Some of its channels.
    pub fn channels(self, range: Range<usize>) -> Self {
        assert!(range.end <= self.layout.channels, "channels {range:?} of {:?}", self.layout);
        let layout = self.layout.with_channels(range.len());
        Self::new(&self.data[range.start.min(self.data.len())..], layout)
    }

    /// How it lies in memory.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Its memory.
    pub fn data(&self) -> &'a [T] {
        self.data
    }

    /// The channels of pixel `index`, counted without borders.
    pub fn pixel(&self, index: usize) -> &'a [T] {
        &self.data[self.layout.offset(index)..][..self.layout.channels]
    }
}

/// Pixels to write.
#[derive(Debug)]
pub struct ImageMut<'a, T = f32> {
    layout: Layout,
    data: &'a mut [T],
}

impl<'a, T> ImageMut<'a, T> {
    /// `data`, laid out as `layout` says.
    ///
    /// # Panics
    /// If `data` is too short, or the layout is none.
    pub fn new(data: &'a mut [T], layout: Layout) -> Self {
        layout.check(data.len());
        Self { layout, data }
    }

    /// Some of its channels.
    pub fn channels(self, range: Range<usize>) -> Self {
        assert!(range.end <= self.layout.channels, "channels {range:?} of {:?}", self.layout);
        let layout = self.layout.with_channels(range.len());
        let start = range.start.min(self.data.len());
        Self::new(&mut self.data[start..], layout)
    }

    /// How it lies in memory.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Its memory.
    pub fn data_mut(&mut self) -> &mut [T] {
        self.data
    }

    /// The channels of pixel `index`, counted without borders.
    pub fn pixel(&mut self, index: usize) -> &mut [T] {
        &mut self.data[self.layout.offset(index)..][..self.layout.channels]
    }
}

/// A type of numbers in memory. Sums are f32 whatever it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// 32 bits.
    #[default]
    F32,
    /// The upper 16 of those.
    Bf16,
}

impl Dtype {
    /// Bytes of a number.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }
}

/// The numbers of bf16 that lie in `memory`, two in each of its numbers.
pub fn halves(memory: &[f32]) -> &[bf16] {
    // SAFETY: the same bytes, aligned for f32, and any bits are numbers of bf16.
    unsafe { std::slice::from_raw_parts(memory.as_ptr().cast(), 2 * memory.len()) }
}

/// As [`halves`], to write.
pub fn halves_mut(memory: &mut [f32]) -> &mut [bf16] {
    // SAFETY: as above, borrowed exclusively.
    unsafe { std::slice::from_raw_parts_mut(memory.as_mut_ptr().cast(), 2 * memory.len()) }
}

/// Pixels to read, of any type.
#[derive(Clone, Copy, Debug)]
pub enum AnyImage<'a> {
    /// Of f32.
    F32(Image<'a, f32>),
    /// Of bf16.
    Bf16(Image<'a, bf16>),
}

/// Pixels to write, of any type.
#[derive(Debug)]
pub enum AnyImageMut<'a> {
    /// Of f32.
    F32(ImageMut<'a, f32>),
    /// Of bf16.
    Bf16(ImageMut<'a, bf16>),
}

impl AnyImage<'_> {
    /// How it lies in memory.
    pub fn layout(&self) -> Layout {
        match self {
            Self::F32(image) => image.layout(),
            Self::Bf16(image) => image.layout(),
        }
    }
}

impl AnyImageMut<'_> {
    /// How it lies in memory.
    pub fn layout(&self) -> Layout {
        match self {
            Self::F32(image) => image.layout(),
            Self::Bf16(image) => image.layout(),
        }
    }
}

impl<'a> From<Image<'a, f32>> for AnyImage<'a> {
    fn from(image: Image<'a, f32>) -> Self {
        Self::F32(image)
    }
}

impl<'a> From<Image<'a, bf16>> for AnyImage<'a> {
    fn from(image: Image<'a, bf16>) -> Self {
        Self::Bf16(image)
    }
}

impl<'a> From<ImageMut<'a, f32>> for AnyImageMut<'a> {
    fn from(image: ImageMut<'a, f32>) -> Self {
        Self::F32(image)
    }
}

impl<'a> From<ImageMut<'a, bf16>> for AnyImageMut<'a> {
    fn from(image: ImageMut<'a, bf16>) -> Self {
        Self::Bf16(image)
    }
}
