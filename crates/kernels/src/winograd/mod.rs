//! 3×3 convolutions of stride 1 by Winograd's algorithm: F(4×4) and F(2×2).
//!
//! A tile of M×M output pixels comes from a patch of T×T = (M+2)² input pixels. Patches are transformed once into T² matrices
//! (tiles × channels), which all threads share; each task then takes a panel of the weights, transforms it row by row of the T×T,
//! multiplies, and transforms back. Weights are transformed for every call: that costs a few percent, where keeping them
//! would cost four times their memory, and a merge of adapters stays what it is for any other weights.
//!
//! F(4×4) uses the points 0, ±3/4, ±3/2, ∞, whose rounding is half that of the usual 0, ±1, ±2 and on a par with a direct sum.

mod transforms;

pub(crate) use transforms::Transform;
use transforms::{patches, results};

use crate::buffer::Buffer;
use crate::finish::{Finish, Place};
use crate::image::{Image, Layout};
use crate::panels::Panels;
use crate::parallel::{Shared, Use, each, scratch, wanted_tasks};
use crate::tile::multiply;

/// Bytes of the transformed patches that are kept at once, in the third cache. Others use that, too: 12 MB was up to 20 % slower
/// on a busy machine.
const PATCHES: usize = 6_000_000;
/// Tiles that a task multiplies before it transforms back.
const TILES: usize = 96;
/// Channels that are multiplied at once, so that their transformed weights stay in the second cache.
const DEPTH: usize = 320;

/// The tiles of a batch of images.
#[derive(Clone, Copy)]
struct Tiles<'a> {
    to: &'a Layout,
    size: usize,
    rows: usize,
    columns: usize,
}

impl<'a> Tiles<'a> {
    fn new(to: &'a Layout, size: usize) -> Self {
        Self { to, size, rows: to.height.div_ceil(size), columns: to.width.div_ceil(size) }
    }

    fn count(&self) -> usize {
        self.to.batch * self.rows * self.columns
    }

    /// Image, first row and first column of a tile.
    fn at(&self, tile: usize) -> (usize, usize, usize) {
        let (line, column) = (tile / self.columns, tile % self.columns);
        (line / self.rows, line % self.rows * self.size, column * self.size)
    }

    /// Rows and columns of a tile that lie in the image.
    fn inside(&self, y: usize, x: usize) -> (usize, usize) {
        ((self.to.height - y).min(self.size), (self.to.width - x).min(self.size))
    }
}

/// Convolves `x`, or if `enlarged` the image twice its size, into what `finish` finishes.
pub(crate) fn winograd<E: Transform, const T: usize, const M: usize>(
    x: Image<'_, E>,
    weights: &Panels,
    enlarged: bool,
    finish: &Finish<'_>,
    to: &Layout,
) {
    let tiles = Tiles::new(to, M);
    let channels = weights.inputs;
    if tiles.count() == 0 {
        return;
    }
    // Panics here, if anywhere, for weights of another type.
    E::weights_of(weights);
    // Not a power of two, so that rows of a matrix do not share the sets of a cache.
    let stride = channels.next_multiple_of(16) + 16;
    let matrices = T * T * stride * size_of::<E>();
    let together = (PATCHES / matrices).next_multiple_of(8).max(32).min(tiles.count());
    let zeros = Buffer::<E>::new(channels);
    scratch(Use::Kernel, (matrices * together).div_ceil(size_of::<f32>()), |memory| {
        let patched = Shared::new(memory).cast::<E>();
        let mut places = vec![Place::default(); together * M * M];
        for first in (0..tiles.count()).step_by(together) {
            let count = together.min(tiles.count() - first);
            let matrix = count * stride;
            let placed = Shared::new(&mut places);
            each(count.div_ceil(8), 4 * T * T * T * count * channels, |group| {
                for tile in group * 8..((group + 1) * 8).min(count) {
                    let (image, y, x_) = tiles.at(first + tile);
                    let pixels = patch_pixels::<E, T>(&x, image, (y, x_), enlarged, zeros.as_ptr());
                    // SAFETY: pixels were found within the image; this task alone writes this row of the matrices.
                    unsafe {
                        let to = patched.get().add(tile * stride);
                        patches::<E, T>(weights.isa, &pixels[..T * T], channels, to, matrix);
                    }
                    let (height, width) = tiles.inside(y, x_);
                    for i in 0..height * width {
                        let pixel = (image * to.height + y + i / width) * to.width + x_ + i % width;
                        // SAFETY: this task alone writes this tile's places.
                        unsafe { *placed.get().add(tile * M * M + i) = finish.place(pixel) };
                    }
                }
            });
            multiply_tiles::<E, T, M>(
                weights,
                finish,
                &tiles,
                first..first + count,
                (patched, stride),
                &places,
            );
        }
    });
}

/// Where the pixels of a patch begin; outside of the border there are zeros.
fn patch_pixels<E, const T: usize>(
    x: &Image<'_, E>,
    image: usize,
    (y, x_): (usize, usize),
    enlarged: bool,
    zeros: *const E,
) -> [*const E; 36] {
    let layout = x.layout();
    // Rows and columns are counted from the border.
    let source = |at: usize| if enlarged { at.div_ceil(2) } else { at };
    let mut pixels = [zeros; 36];
    for i in 0..T {
        for j in 0..T {
            let (row, column) = (source(y + i), source(x_ + j));
            if row < layout.height + 2 && column < layout.width + 2 {
                let at = image * layout.image_stride() + row * layout.row_stride() + column * layout.stride;
                pixels[i * T + j] = x.data()[at..][..layout.channels].as_ptr();
            }
        }
    }
    pixels
}

/// Multiplies transformed patches with all panels, and finishes the tiles.
fn multiply_tiles<E: Transform, const T: usize, const M: usize>(
    weights: &Panels,
    finish: &Finish<'_>,
    tiles: &Tiles<'_>,
    range: std::ops::Range<usize>,
    (patched, stride): (Shared<E>, usize),
    places: &[Place],
) {
    let (count, channels, panels) = (range.len(), weights.inputs, weights.count());
    let parts = wanted_tasks().div_ceil(panels).min(count.div_ceil(TILES / 2)).max(count.div_ceil(TILES));
    let work = 2 * T * T * count * channels * weights.outputs;
    each(panels * parts, work, |task| {
        let (part, panel) = (task / panels, task % panels);
        let (begin, end) = (part * count / parts, (part + 1) * count / parts);
        let tiles_here = end - begin;
        let (start, width) = weights.panel(panel);
        let depth = DEPTH.min(channels);
        let (sums, transformed) = (T * T * tiles_here * width, T * depth * width);
        scratch(Use::Task, sums + transformed + M * M * width, |memory| {
            let (sums, rest) = memory.split_at_mut(sums);
            let (transformed, pixels) = rest.split_at_mut(transformed);
            let transformed = transformed.as_mut_ptr().cast::<E>();
            for c in (0..channels).step_by(depth) {
                let depth = depth.min(channels - c);
                for row in 0..T {
                    // SAFETY: the panel has nine taps of `channels · width`; `transformed` has room for T of `depth · width`.
                    unsafe {
                        let from = E::weights_of(weights).as_ptr().add(start + c * width);
                        E::weights::<T>(
                            weights.isa,
                            (from, channels * width),
                            depth,
                            width,
                            row,
                            transformed,
                        );
                    }
                    for column in 0..T {
                        let q = row * T + column;
                        // SAFETY: row `begin` of matrix `q`, and room for its sums.
                        unsafe {
                            let a = patched.get().cast_const().add((q * count + begin) * stride + c);
                            let b = transformed.cast_const().add(column * depth * width);
                            let to = sums.as_mut_ptr().add(q * tiles_here * width);
                            multiply(
                                weights.isa,
                                tiles_here,
                                width,
                                (a, stride),
                                &[0],
                                depth,
                                b,
                                (to, width),
                                c == 0,
                            );
                        }
                    }
                }
            }
            let mut shift = None;
            for tile in 0..tiles_here {
                let (image, y, x) = tiles.at(range.start + begin + tile);
                if shift.as_ref().is_none_or(|(of, _)| *of != image) {
                    shift = Some((image, finish.shift(panel, image)));
                }
                let Some((_, shift)) = &shift else { continue };
                // SAFETY: the sums of this tile, and room for its pixels.
                unsafe {
                    let from = sums.as_ptr().add(tile * width);
                    results::<T, M>(weights.isa, from, tiles_here * width, width, pixels.as_mut_ptr());
                }
                let (height, columns) = tiles.inside(y, x);
                let places = &places[(begin + tile) * M * M..][..height * columns];
                for (row, places) in
                    places.chunks(if columns == M { places.len() } else { columns }).enumerate()
                {
                    // SAFETY: M pixels of a row after each other; this task alone has this panel of them.
                    unsafe {
                        finish.rows_of_image(
                            panel,
                            pixels.as_ptr().add(row * M * width),
                            width,
                            places,
                            shift,
                        )
                    };
                }
            }
        });
    });
}
