//! Attention without a matrix of scores.
//!
//! Queries lie on the lanes: a tile of them is turned once, keys and values are read where they are and broadcast, and the
//! softmax over keys needs no sum across a vector. A head may have any number of channels.

use crate::image::{Image, ImageMut};
use crate::isa::Isa;
use crate::math::exp2;
use crate::parallel::{Shared, Use, each, scratch, wanted_tasks};
use crate::simd::{Simd, kernel};

/// What attention is, beside its operands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attention {
    /// Heads, which share the channels of the operands evenly.
    pub heads: usize,
    /// Whether a token sees only those before it and itself.
    pub causal: bool,
    /// What scores are multiplied by, in place of 1/√(channels of a head).
    pub scale: Option<f32>,
}

impl Attention {
    /// Every token sees every other.
    pub fn full(heads: usize) -> Self {
        Self { heads, causal: false, scale: None }
    }

    /// Every token sees itself and those before it.
    pub fn causal(heads: usize) -> Self {
        Self { causal: true, ..Self::full(heads) }
    }
}

/// Keys whose scores are held at once.
const KEYS: usize = 128;
/// Below any score, and far from overflow when subtracted.
const LOWEST: f32 = -1e30;

/// softmax(scale · q · kᵀ) · v for each head. Pixels of an image are tokens; `k` and `v` may have another number than `q`.
///
/// # Panics
/// If shapes do not fit each other, an image has a border, or the channels are not a multiple of the heads.
pub fn attention(q: Image<'_>, k: Image<'_>, v: Image<'_>, options: Attention, mut out: ImageMut<'_>) {
    let (lq, lk, lv, lo) = (q.layout(), k.layout(), v.layout(), out.layout());
    let (queries, keys) = (lq.height * lq.width, lk.height * lk.width);
    assert!(
        options.heads > 0 && lq.channels.is_multiple_of(options.heads),
        "heads share the channels evenly"
    );
    assert_eq!(lk.channels, lq.channels, "q and k have the same channels");
    assert_eq!(lv.channels, lq.channels, "q and v have the same channels");
    assert_eq!(lo.channels, lq.channels, "q and the output have the same channels");
    assert_eq!((lk.batch, lv.batch, lo.batch), (lq.batch, lq.batch, lq.batch), "all have the same batch");
    assert_eq!(lv.height * lv.width, keys, "k and v have the same tokens");
    assert_eq!(lo.height * lo.width, queries, "q and the output have the same tokens");
    assert!(keys > 0, "there is something to attend to");
    assert!(!options.causal || queries == keys, "causal attention is of a sequence with itself");
    assert_eq!(
        lq.border + lk.border + lv.border + lo.border,
        0,
        "attention is between images without borders"
    );
    let width = lq.channels / options.heads;
    if lq.is_empty() {
        return;
    }
    let isa = Isa::current();
    let lanes = isa.lanes();
    let tile = lanes * vectors(isa);
    let scale = options.scale.unwrap_or(1.0 / (width as f32).sqrt()) * std::f32::consts::LOG2_E;
    let tiles = queries.div_ceil(tile);
    let heads = lq.batch * options.heads;
    let work = 4 * heads * queries * keys * width;
    // Tiles of one head after each other, for its keys to stay in the cache.
    let parts = (work / heads / 10_000_000).max(wanted_tasks().div_ceil(heads)).clamp(1, tiles);
    let to = Shared::new(out.data_mut());
    each(heads * parts, work, |task| {
        let (head, part) = (task / parts, task % parts);
        let (image, channel) = (head / options.heads, head % options.heads * width);
        let head = Head {
            isa,
            width,
            tile,
            scale,
            causal: options.causal,
            keys,
            // SAFETY: the views were checked to hold their layouts; `channel` is one of theirs.
            k: unsafe { k.data().as_ptr().add(image * lk.image_stride() + channel) },
            k_stride: lk.stride,
            // SAFETY: as above.
            v: unsafe { v.data().as_ptr().add(image * lv.image_stride() + channel) },
            v_stride: lv.stride,
        };
        scratch(Use::Task, tile * (KEYS + 2 * width + 4), |memory| {
            for i in part * tiles / parts..(part + 1) * tiles / parts {
                let first = i * tile;
                let count = (queries - first).min(tile);
                // SAFETY: these queries of this head; this task alone writes their output.
                unsafe {
                    let q = q.data().as_ptr().add(image * lq.image_stride() + first * lq.stride + channel);
                    let out = to.get().add(image * lo.image_stride() + first * lo.stride + channel);
                    head.attend((q, lq.stride), first, count, (out, lo.stride), memory);
                }
            }
        });
    });
}

/// Vectors of queries in a tile.
fn vectors(isa: Isa) -> usize {
    if isa.is_wide() { 3 } else { 2 }
}

/// Keys and values of one head of one image.
struct Head {
    isa: Isa,
    width: usize,
    /// Queries that are computed at once, one in each lane.
    tile: usize,
    scale: f32,
    causal: bool,
    keys: usize,
    k: *const f32,
    k_stride: usize,
    v: *const f32,
    v_stride: usize,
}

impl Head {
    /// One tile of `count` queries, of which the first is number `first`.
    ///
    /// # Safety
    /// Everything is valid for its tokens; `memory` has `tile · (KEYS + 2 · width + 4)` numbers.
    unsafe fn attend(
        &self,
        q: (*const f32, usize),
        first: usize,
        count: usize,
        out: (*mut f32, usize),
        memory: &mut [f32],
    ) {
        let (isa, tile, width) = (self.isa, self.tile, self.width);
        let (scores, rest) = memory.split_at_mut(tile * KEYS);
        let (turned, rest) = rest.split_at_mut(tile * width);
        let (sums, rest) = rest.split_at_mut(tile * width);
        let (max, rest) = rest.split_at_mut(tile);
        let (next, rest) = rest.split_at_mut(tile);
        let (total, factor) = rest.split_at_mut(tile);
        max.fill(LOWEST);
        next.fill(LOWEST);
        total.fill(0.0);
        sums.fill(0.0);
        // SAFETY: the caller's; the parts of `memory` are as long as each kernel needs.
        unsafe {
            queries(isa, q.0, q.1, count, width, self.scale, turned.as_mut_ptr());
            let keys = if self.causal { self.keys.min(first + count) } else { self.keys };
            let mut begin = 0;
            while begin < keys {
                let block = KEYS.min(keys - begin);
                let k = self.k.add(begin * self.k_stride);
                let (s, next) = (scores.as_mut_ptr(), next.as_mut_ptr());
                let masked = self.causal && begin + block > first + 1;
                // Where scores are masked, their maximum is that of what is left.
                let maximum = if masked { factor.as_mut_ptr() } else { next };
                score(isa, k, self.k_stride, block, width, turned.as_ptr(), s, maximum);
                if masked {
                    mask(isa, s, block, begin as f32 - first as f32, next);
                }
                weigh(isa, s, block, max.as_mut_ptr(), next, total.as_mut_ptr(), factor.as_mut_ptr());
                let v = self.v.add(begin * self.v_stride);
                value(isa, v, self.v_stride, block, width, s, sums.as_mut_ptr(), factor.as_ptr());
                begin += block;
            }
            output(isa, sums.as_mut_ptr(), total.as_ptr(), count, width, out.0, out.1);
        }
    }
}

/// Queries turned, `[channel][query]`, and scaled. Lanes without a query are zero.
#[inline(always)]
unsafe fn queries_body<S: Simd>(
    q: *const f32,
    stride: usize,
    count: usize,
    width: usize,
    scale: f32,
    to: *mut f32,
) {
    let tile = S::LANES * S::QUERIES;
    // SAFETY: `count` rows of `width`, and `width` rows of a tile.
    unsafe {
        if count < tile {
            std::slice::from_raw_parts_mut(to, tile * width).fill(0.0);
        }
        turn::<S>((q, stride), (count, width), (to, tile));
        let scale = S::splat(scale);
        for i in 0..width * S::QUERIES {
            let at = to.add(i * S::LANES);
            S::store(at, S::mul(S::load(at), scale));
        }
    }
}

/// Transposes `rows` × `columns`. Squares of vectors overlap where the sizes are no multiple, and write the same again.
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
            while i + 4 <= keys {
                score_rows::<S, 4, 2>(k.add(i * stride), stride, width, q, s.add(i * tile), max);
                i += 4;
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

/// Scores to weights 2^(score − maximum), with the sums so far brought to the new maximum: that is `factor`.
#[inline(always)]
unsafe fn weigh_body<S: Simd>(
    s: *mut f32,
    keys: usize,
    max: *mut f32,
    next: *const f32,
    total: *mut f32,
    factor: *mut f32,
) {
    let tile = S::LANES * S::QUERIES;
    // SAFETY: `keys` rows of a tile, and one row of each other.
    unsafe {
        for j in 0..S::QUERIES {
            let at = S::LANES * j;
            let m = S::load(next.add(at));
            let f = exp2::<S>(S::sub(S::load(max.add(at)), m));
            S::store(factor.add(at), f);
            S::store(max.add(at), m);
            let mut sum = [S::zero(); 2];
            let mut i = 0;
            while i + 2 <= keys {
                let (a, b) = (s.add(i * tile + at), s.add((i + 1) * tile + at));
                let (x, y) = (exp2::<S>(S::sub(S::load(a), m)), exp2::<S>(S::sub(S::load(b), m)));
                S::store(a, x);
                S::store(b, y);
                sum = [S::add(sum[0], x), S::add(sum[1], y)];
                i += 2;
            }
            if i < keys {
                let a = s.add(i * tile + at);
                let x = exp2::<S>(S::sub(S::load(a), m));
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
            while i + 4 <= width {
                value_rows::<S, 4, 2>(v.add(i), stride, keys, p, sums.add(i * tile), factor);
                i += 4;
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

kernel! { unsafe fn queries(q: *const f32, stride: usize, count: usize, width: usize, scale: f32, to: *mut f32) => queries_body }
kernel! { unsafe fn score(k: *const f32, stride: usize, keys: usize, width: usize, q: *const f32, s: *mut f32, max: *mut f32) => score_body }
kernel! { unsafe fn mask(s: *mut f32, keys: usize, first: f32, max: *mut f32) => mask_body }
kernel! { unsafe fn weigh(s: *mut f32, keys: usize, max: *mut f32, next: *const f32, total: *mut f32, factor: *mut f32) => weigh_body }
kernel! { unsafe fn value(v: *const f32, stride: usize, keys: usize, width: usize, p: *const f32, sums: *mut f32, factor: *const f32) => value_body }
kernel! { unsafe fn output(sums: *mut f32, total: *const f32, count: usize, width: usize, out: *mut f32, stride: usize) => output_body }
