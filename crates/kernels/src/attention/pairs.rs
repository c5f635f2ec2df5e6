//! Attention in bf16: scores from pairs of channels, sums from pairs of keys. Scores, sums and the softmax are f32.

use half::bf16;

use super::full::advance;
use crate::math::exp2_short;
use crate::simd::{Dot, Simd, kernel};

/// Values in pairs of keys, `[key / 2][channel][2]`; a last odd key has zeros beside it.
#[inline(always)]
unsafe fn pack_values_body<S: Simd>(v: *const bf16, stride: usize, keys: usize, width: usize, to: *mut bf16) {
    // SAFETY: `keys` rows of `width`, and room for pairs of them.
    unsafe {
        for pair in 0..keys.div_ceil(2) {
            let (first, to) = (v.add(2 * pair * stride), to.add(2 * pair * width));
            let both = 2 * pair + 1 < keys;
            let mut c = 0;
            while both && c + S::LANES <= width {
                let second = S::load_half(first.add(stride + c));
                S::store_pairs(to.add(2 * c), S::join(S::load_half(first.add(c)), second));
                c += S::LANES;
            }
            while c < width {
                *to.add(2 * c) = *first.add(c);
                *to.add(2 * c + 1) = if both { *first.add(stride + c) } else { bf16::ZERO };
                c += 1;
            }
        }
    }
}

/// Scores of R keys, `[key][query]`, and the maximum with them.
#[inline(always)]
unsafe fn score_rows<S: Simd, D: Dot<S>, const R: usize, const NV: usize>(
    k: *const bf16,
    stride: usize,
    width: usize,
    q: *const bf16,
    s: *mut f32,
    max: *mut f32,
) {
    let tile = S::LANES * NV;
    // SAFETY: R keys, the turned queries in pairs of channels, R rows of a tile.
    unsafe {
        let mut acc = [[S::zero(); NV]; R];
        for x in 0..width / 2 {
            let mut column = [S::splat_pair(q); NV];
            for j in 0..NV {
                column[j] = S::load_pairs(q.add(2 * (x * tile + S::LANES * j)));
            }
            for i in 0..R {
                let key = S::splat_pair(k.add(i * stride + 2 * x));
                for j in 0..NV {
                    acc[i][j] = D::dot(acc[i][j], key, column[j]);
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
unsafe fn score_pairs_body<S: Simd, D: Dot<S>>(
    k: *const bf16,
    stride: usize,
    keys: usize,
    width: usize,
    q: *const bf16,
    s: *mut f32,
    max: *mut f32,
) {
    let tile = S::LANES * S::QUERIES;
    let mut i = 0;
    // SAFETY: within the caller's keys.
    unsafe {
        if S::QUERIES == 3 {
            while i + 8 <= keys {
                score_rows::<S, D, 8, 3>(k.add(i * stride), stride, width, q, s.add(i * tile), max);
                i += 8;
            }
            while i < keys {
                score_rows::<S, D, 1, 3>(k.add(i * stride), stride, width, q, s.add(i * tile), max);
                i += 1;
            }
        } else {
            while i + 4 <= keys {
                score_rows::<S, D, 4, 2>(k.add(i * stride), stride, width, q, s.add(i * tile), max);
                i += 4;
            }
            while i < keys {
                score_rows::<S, D, 1, 2>(k.add(i * stride), stride, width, q, s.add(i * tile), max);
                i += 1;
            }
        }
    }
}

/// The weight 2^(scale · score + m), as exactly as bf16 needs it.
#[inline(always)]
unsafe fn weight<S: Simd>(s: *const f32, scale: S::V, m: S::V) -> S::V {
    // SAFETY: a vector of scores.
    unsafe { exp2_short::<S>(S::fma(S::load(s), scale, m)) }
}

/// Scores to weights in pairs of keys, `[key / 2][query][2]`, and their sum.
#[inline(always)]
unsafe fn weigh_pairs_body<S: Simd>(
    s: *const f32,
    keys: usize,
    scale: f32,
    max: *mut f32,
    next: *const f32,
    total: *mut f32,
    factor: *mut f32,
    p: *mut bf16,
) {
    let tile = S::LANES * S::QUERIES;
    // SAFETY: `keys` rows of a tile, room for pairs of them, and one row of each other.
    unsafe {
        let scale = S::splat(scale);
        for j in 0..S::QUERIES {
            let at = S::LANES * j;
            let (m, f) = advance::<S>(scale, max.add(at), next.add(at), factor.add(at));
            let mut sum = [S::zero(); 2];
            for pair in 0..keys.div_ceil(2) {
                let x = weight::<S>(s.add(2 * pair * tile + at), scale, m);
                let y = if 2 * pair + 1 < keys {
                    weight::<S>(s.add((2 * pair + 1) * tile + at), scale, m)
                } else {
                    S::zero()
                };
                sum = [S::add(sum[0], x), S::add(sum[1], y)];
                S::store_pairs(p.add(2 * (pair * tile + at)), S::join_positive(x, y));
            }
            let sum = S::add(sum[0], sum[1]);
            S::store(total.add(at), S::fma(S::load(total.add(at)), f, sum));
        }
    }
}

/// R channels of the weighted sum of values, `[channel][query]`.
#[inline(always)]
unsafe fn value_rows<S: Simd, D: Dot<S>, const R: usize, const NV: usize>(
    v: *const bf16,
    pairs: usize,
    width: usize,
    p: *const bf16,
    sums: *mut f32,
    factor: *const f32,
) {
    let tile = S::LANES * NV;
    // SAFETY: R channels of the packed values, their weights, R rows of a tile.
    unsafe {
        let mut acc = [[S::zero(); NV]; R];
        for i in 0..R {
            for j in 0..NV {
                let at = S::LANES * j;
                acc[i][j] = S::mul(S::load(sums.add(i * tile + at)), S::load(factor.add(at)));
            }
        }
        for pair in 0..pairs {
            let mut weight = [S::splat_pair(p); NV];
            for j in 0..NV {
                weight[j] = S::load_pairs(p.add(2 * (pair * tile + S::LANES * j)));
            }
            for i in 0..R {
                let x = S::splat_pair(v.add(2 * (pair * width + i)));
                for j in 0..NV {
                    acc[i][j] = D::dot(acc[i][j], x, weight[j]);
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
unsafe fn value_pairs_body<S: Simd, D: Dot<S>>(
    v: *const bf16,
    pairs: usize,
    width: usize,
    p: *const bf16,
    sums: *mut f32,
    factor: *const f32,
) {
    let tile = S::LANES * S::QUERIES;
    let mut i = 0;
    // SAFETY: within the caller's channels.
    unsafe {
        if S::QUERIES == 3 {
            while i + 8 <= width {
                value_rows::<S, D, 8, 3>(v.add(2 * i), pairs, width, p, sums.add(i * tile), factor);
                i += 8;
            }
            while i < width {
                value_rows::<S, D, 1, 3>(v.add(2 * i), pairs, width, p, sums.add(i * tile), factor);
                i += 1;
            }
        } else {
            while i + 4 <= width {
                value_rows::<S, D, 4, 2>(v.add(2 * i), pairs, width, p, sums.add(i * tile), factor);
                i += 4;
            }
            while i < width {
                value_rows::<S, D, 1, 2>(v.add(2 * i), pairs, width, p, sums.add(i * tile), factor);
                i += 1;
            }
        }
    }
}

kernel! { pub(super) unsafe fn pack_values(v: *const bf16, stride: usize, keys: usize, width: usize, to: *mut bf16) => pack_values_body }
kernel! { pub(super) unsafe fn score_pairs(k: *const bf16, stride: usize, keys: usize, width: usize, q: *const bf16, s: *mut f32, max: *mut f32) => Dot score_pairs_body }
kernel! { pub(super) unsafe fn weigh_pairs(s: *const f32, keys: usize, scale: f32, max: *mut f32, next: *const f32, total: *mut f32, factor: *mut f32, p: *mut bf16) => weigh_pairs_body }
kernel! { pub(super) unsafe fn value_pairs(v: *const bf16, pairs: usize, width: usize, p: *const bf16, sums: *mut f32, factor: *const f32) => Dot value_pairs_body }
