//! What attention does differently for f32 and bf16.

use half::bf16;

use super::full::{maximum, multiply_rows, output, score, value, weigh};
use super::pairs::{pack_values, score_pairs, value_pairs, weigh_pairs};
use super::{Head, tiles};
use crate::elementwise::activate_line;
use crate::isa::Isa;
use crate::math::IDENTITY;
use crate::simd::Element;

/// What attention does differently for each type.
///
/// # Safety
/// Of every function: pointers are valid for the keys, channels and tile that are named.
pub(super) trait Score: Element {
    /// Numbers that are multiplied together, in 32 bits.
    const PACK: usize;

    /// Numbers of f32 that the keys and values of a head are packed into; none if they are read where they are.
    fn packed(isa: Isa, keys: usize, width: usize) -> usize;
    unsafe fn pack(head: &Head<Self>, to: *mut f32);
    /// Scores of `block` keys from `begin` on, and the maximum with them.
    unsafe fn score(head: &Head<Self>, begin: usize, block: usize, q: *const f32, s: *mut f32, max: *mut f32);
    /// Returns where the weights are: `s`, or `weights`.
    unsafe fn weigh(
        isa: Isa,
        s: *mut f32,
        keys: usize,
        scale: f32,
        state: (*mut f32, *const f32, *mut f32, *mut f32),
        weights: *mut f32,
    ) -> *const f32;
    /// Adds their values, weighted, to `sums` times `factor`.
    unsafe fn value(
        head: &Head<Self>,
        begin: usize,
        block: usize,
        p: *const f32,
        sums: *mut f32,
        factor: *const f32,
    );
    unsafe fn output(
        isa: Isa,
        sums: *mut f32,
        total: *const f32,
        count: usize,
        width: usize,
        rows: *mut f32,
        out: (*mut Self, usize),
    );
}

// SAFETY of all blocks: the caller's.
impl Score for f32 {
    const PACK: usize = 1;

    fn packed(_isa: Isa, _keys: usize, _width: usize) -> usize {
        0
    }
    unsafe fn pack(_head: &Head<Self>, _to: *mut f32) {}
    unsafe fn score(
        head: &Head<Self>,
        begin: usize,
        block: usize,
        q: *const f32,
        s: *mut f32,
        max: *mut f32,
    ) {
        let (stride, width) = (head.k_stride, head.width);
        // SAFETY: see above.
        unsafe { score(head.isa, head.k.add(begin * stride), stride, block, width, q, s, max) }
    }
    unsafe fn weigh(
        isa: Isa,
        s: *mut f32,
        keys: usize,
        scale: f32,
        (max, next, total, factor): (*mut f32, *const f32, *mut f32, *mut f32),
        _weights: *mut f32,
    ) -> *const f32 {
        // SAFETY: see above.
        unsafe { weigh(isa, s, keys, scale, max, next, total, factor) };
        s
    }
    unsafe fn value(
        head: &Head<Self>,
        begin: usize,
        block: usize,
        p: *const f32,
        sums: *mut f32,
        factor: *const f32,
    ) {
        let (stride, width) = (head.v_stride, head.width);
        // SAFETY: see above.
        unsafe { value(head.isa, head.v.add(begin * stride), stride, block, width, p, sums, factor) }
    }
    unsafe fn output(
        isa: Isa,
        sums: *mut f32,
        total: *const f32,
        count: usize,
        width: usize,
        _rows: *mut f32,
        out: (*mut Self, usize),
    ) {
        // SAFETY: see above.
        unsafe { output(isa, sums, total, count, width, out.0, out.1) }
    }
}

// SAFETY of all blocks: the caller's.
impl Score for bf16 {
    const PACK: usize = 2;

    fn packed(isa: Isa, keys: usize, width: usize) -> usize {
        if tiles::fit(isa, width) { tiles::packed(keys, width) } else { keys.div_ceil(2) * width }
    }
    unsafe fn pack(head: &Head<Self>, to: *mut f32) {
        let Head { isa, keys, width, v, v_stride, .. } = *head;
        // SAFETY: see above.
        unsafe {
            if tiles::fit(isa, width) {
                tiles::pack(head, to.cast());
            } else {
                pack_values(isa, v, v_stride, keys, width, to.cast());
            }
        }
    }
    unsafe fn score(
        head: &Head<Self>,
        begin: usize,
        block: usize,
        q: *const f32,
        s: *mut f32,
        max: *mut f32,
    ) {
        let Head { isa, width, k, k_stride: stride, .. } = *head;
        // SAFETY: see above.
        unsafe {
            if tiles::fit(isa, width) {
                tiles::score(head, begin, block, q.cast(), s);
                maximum(isa, s, block, max);
            } else {
                score_pairs(isa, k.add(begin * stride), stride, block, width, q.cast(), s, max);
            }
        }
    }
    unsafe fn weigh(
        isa: Isa,
        s: *mut f32,
        keys: usize,
        scale: f32,
        (max, next, total, factor): (*mut f32, *const f32, *mut f32, *mut f32),
        weights: *mut f32,
    ) -> *const f32 {
        // SAFETY: see above.
        unsafe {
            weigh_pairs(isa, s, keys, scale, max, next, total, factor, weights.cast());
            tiles::fill(isa, keys, weights);
        }
        weights
    }
    unsafe fn value(
        head: &Head<Self>,
        begin: usize,
        block: usize,
        p: *const f32,
        sums: *mut f32,
        factor: *const f32,
    ) {
        let (isa, width) = (head.isa, head.width);
        // SAFETY: see above.
        unsafe {
            if tiles::fit(isa, width) {
                multiply_rows(isa, sums, width, factor);
                tiles::value(head, begin, block, p.cast(), sums);
            } else {
                let packed = head.packed.add(begin / 2 * width);
                value_pairs(isa, packed.cast(), block.div_ceil(2), width, p.cast(), sums, factor);
            }
        }
    }
    unsafe fn output(
        isa: Isa,
        sums: *mut f32,
        total: *const f32,
        count: usize,
        width: usize,
        rows: *mut f32,
        out: (*mut Self, usize),
    ) {
        // SAFETY: see above; the turned queries are not read any more.
        unsafe {
            output(isa, sums, total, count, width, rows, width);
            activate_line::<f32, bf16, IDENTITY>(isa, rows, width, count, width, out.0, out.1);
        }
    }
}
