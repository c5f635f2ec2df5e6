//! Winograd's transforms: of patches, of weights, and of products back to pixels.

use half::bf16;

use crate::isa::Isa;
use crate::simd::{Element, Simd, kernel};
use crate::tile::Operand;

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

kernel! { pub(super) unsafe fn patches{E}[const T: usize](pixels: &[*const E], channels: usize, to: *mut E, matrix: usize) => patches_body }

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

kernel! { pub(super) unsafe fn results[const T: usize, const M: usize](from: *const f32, matrix: usize, width: usize, to: *mut f32) => results_body }
