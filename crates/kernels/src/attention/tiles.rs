//! Attention in bf16 on AMX: scores are keys by queries, sums are values by weights.
//!
//! Both are products whose rows are packed once for a head: keys with channels of zero up to a whole tile, and values turned,
//! `[channel][key]`. Queries and weights lie in pairs already, as columns.

use half::bf16;

use super::Head;
use crate::isa::Isa;

/// Numbers of a row of a tile.
const DEPTH: usize = 32;
/// Channels below which tiles would be mostly zeros.
const LEAST: usize = 16;

/// Whether heads of `width` channels are multiplied by tiles.
pub(super) fn fit(isa: Isa, width: usize) -> bool {
    isa == Isa::Amx && width >= LEAST
}

/// Channels of a packed key.
fn depth(width: usize) -> usize {
    width.next_multiple_of(DEPTH)
}

/// Numbers of a channel of all values: whole tiles, and one more, so that rows of a tile lie in different sets of a cache.
fn length(keys: usize) -> usize {
    keys.next_multiple_of(DEPTH) + DEPTH
}

/// Numbers of f32 that keys and values take.
pub(super) fn packed(keys: usize, width: usize) -> usize {
    (keys * depth(width) + width * length(keys)).div_ceil(2)
}

/// Packs keys and values.
///
/// # Safety
/// The head's keys and values are valid, and `to` has room for what [`packed`] says.
pub(super) unsafe fn pack(head: &Head<bf16>, to: *mut bf16) {
    let Head { keys, width, k, k_stride, v, v_stride, .. } = *head;
    let (depth, length) = (depth(width), length(keys));
    // SAFETY: the caller's.
    unsafe {
        for key in 0..keys {
            let row = std::slice::from_raw_parts_mut(to.add(key * depth), depth);
            row[..width].copy_from_slice(std::slice::from_raw_parts(k.add(key * k_stride), width));
            row[width..].fill(bf16::ZERO);
        }
        let values = std::slice::from_raw_parts_mut(to.add(keys * depth), width * length);
        // So many keys at once that their channels stay in the first cache.
        for begin in (0..keys).step_by(DEPTH) {
            let block = DEPTH.min(keys - begin);
            for (channel, row) in values.chunks_exact_mut(length).enumerate() {
                for (i, to) in row[begin..begin + block].iter_mut().enumerate() {
                    *to = *v.add((begin + i) * v_stride + channel);
                }
            }
        }
        for row in values.chunks_exact_mut(length) {
            row[keys..].fill(bf16::ZERO);
        }
    }
}

/// Scores, `[key][query]`.
///
/// # Safety
/// The head is packed and has these keys; `q` is a tile of queries in pairs of channels, zero behind the last, and `s` has a
/// row of a tile for each key.
pub(super) unsafe fn score(head: &Head<bf16>, begin: usize, block: usize, q: *const bf16, s: *mut f32) {
    let depth = depth(head.width);
    // SAFETY: the caller's.
    unsafe {
        let keys = head.packed.cast::<bf16>().add(begin * depth);
        product(block, head.tile, (keys, depth), depth, q, s, true);
    }
}

/// Zeros behind the weights of `keys` keys, up to a whole tile.
///
/// # Safety
/// `weights` has room for them.
pub(super) unsafe fn fill(isa: Isa, keys: usize, weights: *mut f32) {
    let tile = isa.lanes() * super::vectors(isa);
    let (begin, end) = (keys.div_ceil(2), keys.next_multiple_of(DEPTH) / 2);
    // SAFETY: the caller's.
    unsafe { std::slice::from_raw_parts_mut(weights.add(begin * tile), (end - begin) * tile).fill(0.0) }
}

/// Adds weighted values to `sums`, `[channel][query]`.
///
/// # Safety
/// As [`score`]; `p` has the weights of a tile in pairs of keys, filled.
pub(super) unsafe fn value(head: &Head<bf16>, begin: usize, block: usize, p: *const bf16, sums: *mut f32) {
    let (keys, width) = (head.keys, head.width);
    let (depth, length) = (depth(width), length(keys));
    // SAFETY: the caller's.
    unsafe {
        let values = head.packed.cast::<bf16>().add(keys * depth + begin);
        product(width, head.tile, (values, length), block.next_multiple_of(DEPTH), p, sums, false);
    }
}

/// C\[rows × tile\] (+)= A · B.
///
/// # Safety
/// As `amx::multiply`.
unsafe fn product(
    rows: usize,
    tile: usize,
    a: (*const bf16, usize),
    depth: usize,
    b: *const bf16,
    c: *mut f32,
    first: bool,
) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the caller's.
    unsafe {
        crate::amx::multiply(rows, tile, a, &[0], depth, b, (c, tile), first)
    };
    #[cfg(not(target_arch = "x86_64"))]
    unreachable!("tiles of {rows} × {tile}, {depth} deep, {a:?} by {b:?} to {c:?}, {first}: there is no AMX");
}
