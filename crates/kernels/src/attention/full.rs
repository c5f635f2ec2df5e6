//! Attention in f32: the kernels of a tile.

use super::LOWEST;
use crate::math::exp2;
use crate::simd::{Simd, kernel};

/// Queries turned, `[channel][query]`. Lanes without a query are zero.
#[inline(always)]
unsafe fn queries_body<S: Simd>(q: *const f32, stride: usize, count: usize, width: usize, to: *mut f32) {
    let tile = S::LANES * S::QUERIES;
    // SAFETY: `count` rows of `width`, and `width` rows of a tile.
    unsafe {
        if count < tile {
            std::slice::from_raw_parts_mut(to, tile * width).fill(0.0);
        }
        turn::<S>((q, stride), (count, width), (to, tile));
    }
}

/// Transposes `rows` × `columns`. Squares of vectors overlap where the sizes are not multiples, and write the same again.
#[inline(always)]
unsafe fn turn<S: Simd>(
    (from, from_stride): (*const f32, usize),
    (rows, columns): (usize, usize),
    (to, to_stride): (*mut f32, usize),
) {
    // SAFETY: within the caller's matrix.
    unsafe {
        if rows < S::LANES || columns < S::LANES {
            for i in 0..rows {
                for j in 0..columns {
                    *to.add(j * to_stride + i) = *from.add(i * from_stride + j);
                }
            }
            return;
        }
        let mut i = 0;
        while i < rows {
            let row = i.min(rows - S::LANES);
            let mut j = 0;
            while j < columns {
                let column = j.min(columns - S::LANES);
                let square = from.add(row * from_stride + column);
                S::transpose(square, from_stride, to.add(column * to_stride + row), to_stride);
                j += S::LANES;
            }
            i += S::LANES;
        }
    }
}

/// Scores of R keys, `[key][query]`, and the maximum with them.
#[inline(always)]
unsafe fn score_rows<S: Simd, const R: usize, const NV: usize>(
    k: *const f32,
    stride: usize,
    width: usize,
    q: *const f32,
    s: *mut f32,
    max: *mut f32,
) {
    let tile = S::LANES * NV;
    // SAFETY: R keys, the turned queries, R rows of a tile.
    unsafe {
        let mut acc = [[S::zero(); NV]; R];
        for x in 0..width {
            let mut column = [S::zero(); NV];
            for j in 0..NV {
                column[j] = S::load(q.add(x * tile + S::LANES * j));
            }
            for i in 0..R {
                let key = S::splat(*k.add(i * stride + x));
                for j in 0..NV {
                    acc[i][j] = S::fma(key, column[j], acc[i][j]);
                }
            }
        }
        for j in 0..NV {
            let at = max.add(S::LANES * j);
            let mut m = S::load(at);
            for i in 0..R {
                m = S::max(m, acc[i][j]);
                S::store(s.add(i * tile + S::LANES * j), acc[i][j]);
            }
            S::store(at, m);
        }
    }
}

#[inline(always)]
unsafe fn score_body<S: Simd>(
    k: *const f32,
    stride: usize,
    keys: usize,
    width: usize,
    q: *const f32,
    s: *mut f32,
    max: *mut f32,
) {
    let tile = S::LANES * S::QUERIES;
    let mut i = 0;
    // SAFETY: within the caller's keys.
    unsafe {
        if S::QUERIES == 3 {
            while i + 8 <= keys {
                score_rows::<S, 8, 3>(k.add(i * stride), stride, width, q, s.add(i * tile), max);
                i += 8;
            }
            while i + 4 <= keys {
                score_rows::<S, 4, 3>(k.add(i * stride), stride, width, q, s.add(i * tile), max);
                i += 4;
            }
            while i < keys {
                score_rows::<S, 1, 3>(k.add(i * stride), stride, width, q, s.add(i * tile), max);
                i += 1;
            }
        } else {
            while i + 6 <= keys {
                score_rows::<S, 6, 2>(k.add(i * stride), stride, width, q, s.add(i * tile), max);
                i += 6;
            }
            while i + 2 <= keys {
                score_rows::<S, 2, 2>(k.add(i * stride), stride, width, q, s.add(i * tile), max);
                i += 2;
            }
            while i < keys {
                score_rows::<S, 1, 2>(k.add(i * stride), stride, width, q, s.add(i * tile), max);
                i += 1;
            }
        }
    }
}

/// Takes away scores of keys behind their query, and finds the maximum of the rest. `first` is the number of the first key
/// counted from the first query.
#[inline(always)]
unsafe fn mask_body<S: Simd>(s: *mut f32, keys: usize, first: f32, max: *mut f32) {
    const LANE: [f32; 16] =
        [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0];
    // SAFETY: `keys` rows of a tile.
    unsafe {
        for j in 0..S::QUERIES {
            let query = S::add(S::load(LANE.as_ptr()), S::splat((j * S::LANES) as f32));
            let mut m = S::load(max.add(j * S::LANES));
            for i in 0..keys {
                let at = s.add((i * S::QUERIES + j) * S::LANES);
                let v = S::select_less(query, S::splat(first + i as f32), S::splat(LOWEST), S::load(at));
                S::store(at, v);
                m = S::max(m, v);
            }
            S::store(max.add(j * S::LANES), m);
        }
    }
}

/// The maximum of the scores of all keys.
#[inline(always)]
unsafe fn maximum_body<S: Simd>(s: *const f32, keys: usize, max: *mut f32) {
    // SAFETY: `keys` rows of a tile, and one of the maximum.
    unsafe {
        for j in 0..S::QUERIES {
            let at = S::LANES * j;
            let mut m = [S::load(max.add(at)), S::splat(LOWEST)];
            for i in 0..keys {
                m[i % 2] = S::max(m[i % 2], S::load(s.add(i * S::QUERIES * S::LANES + at)));
            }
            S::store(max.add(at), S::max(m[0], m[1]));
        }
    }
}

/// Multiplies rows of a tile by one row.
#[inline(always)]
unsafe fn multiply_rows_body<S: Simd>(rows: *mut f32, count: usize, by: *const f32) {
    // SAFETY: `count` rows of a tile, and one.
    unsafe {
        for j in 0..S::QUERIES {
            let factor = S::load(by.add(S::LANES * j));
            for i in 0..count {
                let at = rows.add((i * S::QUERIES + j) * S::LANES);
                S::store(at, S::mul(S::load(at), factor));
            }
        }
    }
}

/// Brings the sums so far to the new maximum, by `factor`. Returns that maximum, scaled and negative, and the factor.
#[inline(always)]
pub(super) unsafe fn advance<S: Simd>(
    scale: S::V,
    max: *mut f32,
    next: *const f32,
    factor: *mut f32,
) -> (S::V, S::V) {
    // SAFETY: a vector of each.
    unsafe {
        let m = S::load(next);
        let f = exp2::<S>(S::mul(S::sub(S::load(max), m), scale));
        S::store(factor, f);
        S::store(max, m);
        (S::mul(S::sub(S::zero(), m), scale), f)
    }
}

/// The weight 2^(scale · score + m).
#[inline(always)]
unsafe fn weight<S: Simd>(s: *const f32, scale: S::V, m: S::V) -> S::V {
    // SAFETY: a vector of scores.
    unsafe { exp2::<S>(S::fma(S::load(s), scale, m)) }
}

/// Scores to weights, and their sum.
#[inline(always)]
unsafe fn weigh_body<S: Simd>(
    s: *mut f32,
    keys: usize,
    scale: f32,
    max: *mut f32,
    next: *const f32,
    total: *mut f32,
    factor: *mut f32,
) {
    let tile = S::LANES * S::QUERIES;
    // SAFETY: `keys` rows of a tile, and one row of each other.
    unsafe {
        let scale = S::splat(scale);
        for j in 0..S::QUERIES {
            let at = S::LANES * j;
            let (m, f) = advance::<S>(scale, max.add(at), next.add(at), factor.add(at));
            let mut sum = [S::zero(); 2];
            let mut i = 0;
            while i + 2 <= keys {
                let (a, b) = (s.add(i * tile + at), s.add((i + 1) * tile + at));
                let (x, y) = (weight::<S>(a, scale, m), weight::<S>(b, scale, m));
                S::store(a, x);
                S::store(b, y);
                sum = [S::add(sum[0], x), S::add(sum[1], y)];
                i += 2;
            }
            if i < keys {
                let a = s.add(i * tile + at);
                let x = weight::<S>(a, scale, m);
                S::store(a, x);
                sum[0] = S::add(sum[0], x);
            }
            let sum = S::add(sum[0], sum[1]);
            S::store(total.add(at), S::fma(S::load(total.add(at)), f, sum));
        }
    }
}

/// R channels of the weighted sum of values, `[channel][query]`.
#[inline(always)]
unsafe fn value_rows<S: Simd, const R: usize, const NV: usize>(
    v: *const f32,
    stride: usize,
    keys: usize,
    p: *const f32,
    sums: *mut f32,
    factor: *const f32,
) {
    let tile = S::LANES * NV;
    // SAFETY: R channels of the keys' values, their weights, R rows of a tile.
    unsafe {
        let mut acc = [[S::zero(); NV]; R];
        for i in 0..R {
            for j in 0..NV {
                let at = S::LANES * j;
                acc[i][j] = S::mul(S::load(sums.add(i * tile + at)), S::load(factor.add(at)));
            }
        }
        for key in 0..keys {
            let mut weight = [S::zero(); NV];
            for j in 0..NV {
                weight[j] = S::load(p.add(key * tile + S::LANES * j));
            }
            for i in 0..R {
                let x = S::splat(*v.add(key * stride + i));
                for j in 0..NV {
                    acc[i][j] = S::fma(x, weight[j], acc[i][j]);
                }
            }
        }
        for i in 0..R {
            for j in 0..NV {
                S::store(sums.add(i * tile + S::LANES * j), acc[i][j]);
            }
        }
    }
}

#[inline(always)]
unsafe fn value_body<S: Simd>(
    v: *const f32,
    stride: usize,
    keys: usize,
    width: usize,
    p: *const f32,
    sums: *mut f32,
    factor: *const f32,
) {
    let tile = S::LANES * S::QUERIES;
    let mut i = 0;
    // SAFETY: within the caller's channels.
    unsafe {
        if S::QUERIES == 3 {
            while i + 8 <= width {
                value_rows::<S, 8, 3>(v.add(i), stride, keys, p, sums.add(i * tile), factor);
                i += 8;
            }
            while i < width {
                value_rows::<S, 1, 3>(v.add(i), stride, keys, p, sums.add(i * tile), factor);
                i += 1;
            }
        } else {
            while i + 6 <= width {
                value_rows::<S, 6, 2>(v.add(i), stride, keys, p, sums.add(i * tile), factor);
                i += 6;
            }
            while i + 2 <= width {
                value_rows::<S, 2, 2>(v.add(i), stride, keys, p, sums.add(i * tile), factor);
                i += 2;
            }
            while i < width {
                value_rows::<S, 1, 2>(v.add(i), stride, keys, p, sums.add(i * tile), factor);
                i += 1;
            }
        }
    }
}

/// Divides by the weights' total and turns the sums into rows.
#[inline(always)]
unsafe fn output_body<S: Simd>(
    sums: *mut f32,
    total: *const f32,
    count: usize,
    width: usize,
    out: *mut f32,
    stride: usize,
) {
    let tile = S::LANES * S::QUERIES;
    // SAFETY: `width` rows of a tile, and `count` rows of `width`.
    unsafe {
        for j in 0..S::QUERIES {
            let factor = S::reciprocal(S::load(total.add(S::LANES * j)));
            for i in 0..width {
                let at = sums.add(i * tile + S::LANES * j);
                S::store(at, S::mul(S::load(at), factor));
            }
        }
        turn::<S>((sums, tile), (width, count), (out, stride));
    }
}

kernel! { pub(super) unsafe fn queries(q: *const f32, stride: usize, count: usize, width: usize, to: *mut f32) => queries_body }
kernel! { pub(super) unsafe fn score(k: *const f32, stride: usize, keys: usize, width: usize, q: *const f32, s: *mut f32, max: *mut f32) => score_body }
kernel! { pub(super) unsafe fn mask(s: *mut f32, keys: usize, first: f32, max: *mut f32) => mask_body }
kernel! { pub(super) unsafe fn maximum(s: *const f32, keys: usize, max: *mut f32) => maximum_body }
kernel! { pub(super) unsafe fn multiply_rows(rows: *mut f32, count: usize, by: *const f32) => multiply_rows_body }
kernel! { pub(super) unsafe fn weigh(s: *mut f32, keys: usize, scale: f32, max: *mut f32, next: *const f32, total: *mut f32, factor: *mut f32) => weigh_body }
kernel! { pub(super) unsafe fn value(v: *const f32, stride: usize, keys: usize, width: usize, p: *const f32, sums: *mut f32, factor: *const f32) => value_body }
kernel! { pub(super) unsafe fn output(sums: *mut f32, total: *const f32, count: usize, width: usize, out: *mut f32, stride: usize) => output_body }
