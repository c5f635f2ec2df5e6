//! What attention does differently for f32 and bf16.

use half::bf16;

use super::full::{output, score, value, weigh};
use super::pairs::{pack_values, score_pairs, value_pairs, weigh_pairs};
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

    /// Numbers of f32 that the values of a head are packed into; none if they are read where they are.
    fn packed(keys: usize, width: usize) -> usize;
    unsafe fn pack(isa: Isa, v: (*const Self, usize), keys: usize, width: usize, to: *mut f32);
    unsafe fn score(
        isa: Isa,
        k: (*const Self, usize),
        keys: usize,
        width: usize,
        q: *const f32,
        s: *mut f32,
        max: *mut f32,
    );
    /// Returns where the weights are: `s`, or `weights`.
    unsafe fn weigh(
        isa: Isa,
        s: *mut f32,
        keys: usize,
        scale: f32,
        state: (*mut f32, *const f32, *mut f32, *mut f32),
        weights: *mut f32,
    ) -> *const f32;
    unsafe fn value(
        isa: Isa,
        v: (*const Self, usize),
        packed: *const f32,
        keys: usize,
        width: usize,
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

    fn packed(_keys: usize, _width: usize) -> usize {
        0
    }
    unsafe fn pack(_isa: Isa, _v: (*const Self, usize), _keys: usize, _width: usize, _to: *mut f32) {}
    unsafe fn score(
        isa: Isa,
        k: (*const Self, usize),
        keys: usize,
        width: usize,
        q: *const f32,
        s: *mut f32,
        max: *mut f32,
    ) {
        // SAFETY: see above.
        unsafe { score(isa, k.0, k.1, keys, width, q, s, max) }
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
        isa: Isa,
        v: (*const Self, usize),
        _packed: *const f32,
        keys: usize,
        width: usize,
        p: *const f32,
        sums: *mut f32,
        factor: *const f32,
    ) {
        // SAFETY: see above.
        unsafe { value(isa, v.0, v.1, keys, width, p, sums, factor) }
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

    fn packed(keys: usize, width: usize) -> usize {
        keys.div_ceil(2) * width
    }
    unsafe fn pack(isa: Isa, v: (*const Self, usize), keys: usize, width: usize, to: *mut f32) {
        // SAFETY: see above.
        unsafe { pack_values(isa, v.0, v.1, keys, width, to.cast()) }
    }
    unsafe fn score(
        isa: Isa,
        k: (*const Self, usize),
        keys: usize,
        width: usize,
        q: *const f32,
        s: *mut f32,
        max: *mut f32,
    ) {
        // SAFETY: see above.
        unsafe { score_pairs(isa, k.0, k.1, keys, width, q.cast(), s, max) }
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
        unsafe { weigh_pairs(isa, s, keys, scale, max, next, total, factor, weights.cast()) };
        weights
    }
    unsafe fn value(
        isa: Isa,
        _v: (*const Self, usize),
        packed: *const f32,
        keys: usize,
        width: usize,
        p: *const f32,
        sums: *mut f32,
        factor: *const f32,
    ) {
        // SAFETY: see above.
        unsafe { value_pairs(isa, packed.cast(), keys.div_ceil(2), width, p.cast(), sums, factor) }
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
