//! 3×3 convolutions of stride 1 by Winograd's algorithm: F(4×4) and F(2×2).
//!
//! A tile of M×M output pixels comes from a patch of T×T = (M+2)² input pixels. Patches are transformed once into T² matrices
//! (tiles × channels), which all threads share; each task then takes a panel of the weights, transforms it row by row of the T×T,
//! multiplies, and transforms back. Weights are transformed for every call: that costs a few percent, where keeping them
//! would cost four times their memory, and a merge of adapters stays what it is for any other weights.
//!
//! F(4×4) uses the points 0, ±3/4, ±3/2, ∞, whose rounding is half that of the usual 0, ±1, ±2 and on a par with a direct sum.

use half::bf16;

use crate::buffer::Buffer;
use crate::finish::{Finish, Place};
use crate::image::{Image, Layout};
use crate::isa::Isa;
use crate::panels::Panels;
use crate::parallel::{Shared, Use, each, scratch, wanted_tasks};
use crate::simd::{Element, Simd, kernel};
use crate::tile::{Operand, multiply};

/// Bytes of the transformed patches that are kept at once, in the third cache. Others use that, too: 12 MB was up to 20 % slower
/// on a busy machine.
const PATCHES: usize = 6_000_000;
/// Tiles that a task multiplies before it transforms back.
const TILES: usize = 96;
/// Channels that are multiplied at once, so that their transformed weights stay in the second cache.
const DEPTH: usize = 320;

const A: f32 = 0.75;
const B: f32 = 1.5;

/// Bᵀ · d.
#[inline(always)]
unsafe fn patch<S: Simd, const T: usize>(d: &[S::V; T]) -> [S::V; T] {
    // SAFETY: vectors only.
    unsafe {
        let mut o = [S::zero(); T];
        if T == 4 {
            o[0] = S::sub(d[0], d[2]);
            o[1] = S::add(d[1], d[2]);
            o[2] = S::sub(d[2], d[1]);
            o[3] = S::sub(d[1], d[3]);
            return o;
        }
        let (product, sum) = (S::splat(A * A * B * B), S::splat(A * A + B * B));
        o[0] = S::fma(d[0], product, S::fnma(d[2], sum, d[4]));
        o[5] = S::fma(d[1], product, S::fnma(d[3], sum, d[5]));
        let (even, odd) = (S::fnma(d[2], S::splat(B * B), d[4]), S::fnma(d[1], S::splat(B * B), d[3]));
        o[1] = S::fma(odd, S::splat(A), even);
        o[2] = S::fnma(odd, S::splat(A), even);
        let (even, odd) = (S::fnma(d[2], S::splat(A * A), d[4]), S::fnma(d[1], S::splat(A * A), d[3]));
        o[3] = S::fma(odd, S::splat(B), even);
        o[4] = S::fnma(odd, S::splat(B), even);
        o
    }
}

/// Aᵀ · d.
#[inline(always)]
unsafe fn result<S: Simd, const T: usize, const M: usize>(d: &[S::V; T]) -> [S::V; M] {
    // SAFETY: vectors only.
    unsafe {
        let mut o = [S::zero(); M];
        let (sum, difference) = (S::add(d[1], d[2]), S::sub(d[1], d[2]));
        if T == 4 {
            o[0] = S::add(d[0], sum);
            o[1] = S::sub(difference, d[3]);
            return o;
        }
        let (outer_sum, outer_difference) = (S::add(d[3], d[4]), S::sub(d[3], d[4]));
        o[0] = S::add(d[0], S::add(sum, outer_sum));
        o[1] = S::fma(outer_difference, S::splat(B), S::mul(difference, S::splat(A)));
        o[2] = S::fma(outer_sum, S::splat(B * B), S::mul(sum, S::splat(A * A)));
        o[3] = S::fma(outer_difference, S::splat(B * B * B), S::fma(difference, S::splat(A * A * A), d[5]));
        o
    }
}

/// 1/N of the points 0, ±3/4 and ±3/2, where N is the product of a point's distances to the others.
const N: [f32; 3] = [
    (1.0 / (0.5625 * 2.25)) as f32,
    (1.0 / (2.0 * 0.5625 * (0.5625 - 2.25))) as f32,
    (1.0 / (2.0 * 2.25 * (2.25 - 0.5625))) as f32,
];

/// (even, odd) such that rows of G are even, even + odd and even − odd.
#[inline(always)]
unsafe fn pair<S: Simd>(g: &[S::V; 3], scale: f32, point: f32) -> (S::V, S::V) {
    // SAFETY: vectors only.
    unsafe {
        let even = S::fma(g[2], S::splat(scale * point * point), S::mul(g[0], S::splat(scale)));
        (even, S::mul(g[1], S::splat(scale * point)))
    }
}

/// Row `row` of G · g.
#[inline(always)]
unsafe fn weight_row<S: Simd, const T: usize>(g: &[S::V; 3], row: usize) -> S::V {
    // SAFETY: vectors only.
    unsafe {
        if row == T - 1 {
            return g[2];
        }
        if row == 0 {
            return if T == 4 { g[0] } else { S::mul(g[0], S::splat(N[0])) };
        }
        let (even, odd) = match (T, row) {
            (4, _) => pair::<S>(g, 0.5, 1.0),
            (_, 1 | 2) => pair::<S>(g, N[1], A),
            _ => pair::<S>(g, N[2], B),
        };
        if row % 2 == 1 { S::add(even, odd) } else { S::sub(even, odd) }
    }
}

/// G · g.
#[inline(always)]
unsafe fn weight<S: Simd, const T: usize>(g: &[S::V; 3]) -> [S::V; T] {
    // SAFETY: vectors only.
    unsafe {
        let mut o = [S::zero(); T];
        o[T - 1] = g[2];
        if T == 4 {
            o[0] = g[0];
            let (even, odd) = pair::<S>(g, 0.5, 1.0);
            (o[1], o[2]) = (S::add(even, odd), S::sub(even, odd));
            return o;
        }
        o[0] = S::mul(g[0], S::splat(N[0]));
        let (even, odd) = pair::<S>(g, N[1], A);
        (o[1], o[2]) = (S::add(even, odd), S::sub(even, odd));
        let (even, odd) = pair::<S>(g, N[2], B);
        (o[3], o[4]) = (S::add(even, odd), S::sub(even, odd));
        o
    }
}

/// Transforms a patch, whose pixels begin at `pixels`, into one row of each of the T² matrices.
#[inline(always)]
unsafe fn patches_body<S: Simd, E: Element, const T: usize>(
    pixels: &[*const E],
    channels: usize,
    to: *mut E,
    matrix: usize,
) {
    // SAFETY: the caller's pointers are valid for the channels, `to` for whole vectors.
    unsafe {
        let mut c = 0;
        while c < channels {
            let lanes = channels - c;
            let mut columns = [[S::zero(); T]; T];
            for x in 0..T {
                let mut d = [S::zero(); T];
                for y in 0..T {
                    let from = pixels.get_unchecked(y * T + x).add(c);
                    d[y] =
                        if lanes >= S::LANES { E::load::<S>(from) } else { E::load_part::<S>(from, lanes) };
                }
                columns[x] = patch::<S, T>(&d);
            }
            for y in 0..T {
                let mut d = [S::zero(); T];
                for x in 0..T {
                    d[x] = columns[x][y];
                }
                let row = patch::<S, T>(&d);
                for x in 0..T {
                    E::store::<S>(to.add((y * T + x) * matrix + c), row[x]);
                }
            }
            c += S::LANES;
        }
    }
}

kernel! { unsafe fn patches{E}[const T: usize](pixels: &[*const E], channels: usize, to: *mut E, matrix: usize) => patches_body }

/// Row `row` of the transformed weights of a panel: T matrices (depth × width) after each other.
#[inline(always)]
unsafe fn weights_body<S: Simd, const T: usize>(
    from: *const f32,
    tap: usize,
    depth: usize,
    width: usize,
    row: usize,
    to: *mut f32,
) {
    // SAFETY: nine taps at distance `tap`, `depth · width` numbers each; `to` holds T of those.
    unsafe {
        let mut at = 0;
        while at < depth * width {
            let mut combined = [S::zero(); 3];
            for x in 0..3 {
                let mut g = [S::zero(); 3];
                for y in 0..3 {
                    g[y] = S::load(from.add((y * 3 + x) * tap + at));
                }
                combined[x] = weight_row::<S, T>(&g, row);
            }
            let u = weight::<S, T>(&combined);
            for x in 0..T {
                S::store(to.add(x * depth * width + at), u[x]);
            }
            at += S::LANES;
        }
    }
}

/// The same for weights in pairs.
#[inline(always)]
unsafe fn weight_pairs_body<S: Simd, const T: usize>(
    from: *const bf16,
    tap: usize,
    depth: usize,
    width: usize,
    row: usize,
    to: *mut bf16,
) {
    // SAFETY: as above.
    unsafe {
        let mut at = 0;
        while at < depth * width {
            let (mut low, mut high) = ([S::zero(); 3], [S::zero(); 3]);
            for x in 0..3 {
                let (mut first, mut second) = ([S::zero(); 3], [S::zero(); 3]);
                for y in 0..3 {
                    let pairs = S::load_pairs(from.add((y * 3 + x) * tap + at));
                    (first[y], second[y]) = (S::low(pairs), S::high(pairs));
                }
                low[x] = weight_row::<S, T>(&first, row);
                high[x] = weight_row::<S, T>(&second, row);
            }
            let (low, high) = (weight::<S, T>(&low), weight::<S, T>(&high));
            for x in 0..T {
                S::store_pairs(to.add(x * depth * width + at), S::join(low[x], high[x]));
            }
            at += 2 * S::LANES;
        }
    }
}

kernel! { unsafe fn weights[const T: usize](from: *const f32, tap: usize, depth: usize, width: usize, row: usize,
to: *mut f32) => weights_body }
kernel! { unsafe fn weight_pairs[const T: usize](from: *const bf16, tap: usize, depth: usize, width: usize, row: usize,
to: *mut bf16) => weight_pairs_body }

/// A type whose weights can be transformed.
pub(crate) trait Transform: Operand {
    /// Row `row` of the transformed weights of a panel.
    ///
    /// # Safety
    /// As [`weights_body`].
    unsafe fn weights<const T: usize>(
        isa: Isa,
        from: (*const Self, usize),
        depth: usize,
        width: usize,
        row: usize,
        to: *mut Self,
    );
}

impl Transform for f32 {
    unsafe fn weights<const T: usize>(
        isa: Isa,
        from: (*const Self, usize),
        depth: usize,
        width: usize,
        row: usize,
        to: *mut Self,
    ) {
        // SAFETY: the caller's.
        unsafe { weights::<T>(isa, from.0, from.1, depth, width, row, to) }
    }
}

impl Transform for bf16 {
    unsafe fn weights<const T: usize>(
        isa: Isa,
        from: (*const Self, usize),
        depth: usize,
        width: usize,
        row: usize,
        to: *mut Self,
    ) {
        // SAFETY: the caller's.
        unsafe { weight_pairs::<T>(isa, from.0, from.1, depth, width, row, to) }
    }
}

/// Transforms one tile of T² products back into M² pixels of `width` numbers.
#[inline(always)]
unsafe fn results_body<S: Simd, const T: usize, const M: usize>(
    from: *const f32,
    matrix: usize,
    width: usize,
    to: *mut f32,
) {
    // SAFETY: T² rows of `width` at distance `matrix`, and M² of them after each other.
    unsafe {
        let mut c = 0;
        while c < width {
            let mut columns = [[S::zero(); M]; T];
            for x in 0..T {
                let mut d = [S::zero(); T];
                for y in 0..T {
                    d[y] = S::load(from.add((y * T + x) * matrix + c));
                }
                columns[x] = result::<S, T, M>(&d);
            }
            for y in 0..M {
                let mut d = [S::zero(); T];
                for x in 0..T {
                    d[x] = columns[x][y];
                }
                let row = result::<S, T, M>(&d);
                for x in 0..M {
                    S::store(to.add((y * M + x) * width + c), row[x]);
                }
            }
            c += S::LANES;
        }
    }
}

kernel! { unsafe fn results[const T: usize, const M: usize](from: *const f32, matrix: usize, width: usize, to: *mut f32) => results_body }

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
