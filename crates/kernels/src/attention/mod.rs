//! Attention without a matrix of scores.
//!
//! Queries lie on the lanes: a tile of them is turned once, keys and values are read where they are and broadcast, and the
//! softmax over keys needs no sum across a vector. A head may have any number of channels.

mod full;
mod pairs;
mod score;
mod tiles;

use full::{mask, queries};
use score::Score;

use crate::image::{AnyImage, AnyImageMut, Image, ImageMut};
use crate::isa::Isa;
use crate::parallel::{Shared, Use, each, scratch, wanted_tasks};

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

/// Operations of a task.
const TASK: usize = 100_000_000;
/// Keys whose scores are held at once.
const KEYS: usize = 128;
/// Below any score, and far from overflow when subtracted.
pub(super) const LOWEST: f32 = -1e30;

/// softmax(scale · q · kᵀ) · v for each head. Pixels of an image are tokens; `k` and `v` may have another number than `q`. All
/// are of one type.
///
/// # Panics
/// If shapes or types do not fit each other, an image has a border, the channels are not a multiple of the heads, or bf16 heads
/// or strides are odd.
pub fn attention<'a>(
    q: impl Into<AnyImage<'a>>,
    k: impl Into<AnyImage<'a>>,
    v: impl Into<AnyImage<'a>>,
    options: Attention,
    out: impl Into<AnyImageMut<'a>>,
) {
    match (q.into(), k.into(), v.into(), out.into()) {
        (AnyImage::F32(q), AnyImage::F32(k), AnyImage::F32(v), AnyImageMut::F32(out)) => {
            attend(q, k, v, options, out)
        }
        (AnyImage::Bf16(q), AnyImage::Bf16(k), AnyImage::Bf16(v), AnyImageMut::Bf16(out)) => {
            attend(q, k, v, options, out)
        }
        _ => panic!("q, k, v and the output of attention are of one type"),
    }
}

fn attend<T: Score>(
    q: Image<'_, T>,
    k: Image<'_, T>,
    v: Image<'_, T>,
    options: Attention,
    mut out: ImageMut<'_, T>,
) {
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
    let whole = [width, lq.stride].iter().all(|n| n.is_multiple_of(T::PACK));
    assert!(whole, "heads and strides of bf16 are even");
    if lq.is_empty() {
        return;
    }
    let isa = Isa::current();
    let tile = isa.lanes() * vectors(isa);
    let scale = options.scale.unwrap_or(1.0 / (width as f32).sqrt()) * std::f32::consts::LOG2_E;
    assert!(scale > 0.0, "scores are scaled by a positive number");
    let tiles = queries.div_ceil(tile);
    let heads = lq.batch * options.heads;
    let work = 4 * heads * queries * keys * width;
    // Tiles of one head after each other, for its keys to stay in the cache.
    let parts = (work / heads / TASK).max(wanted_tasks().div_ceil(heads)).clamp(1, tiles);
    let to = Shared::new(out.data_mut());
    let packed = T::packed(isa, keys, width);
    scratch(Use::Kernel, heads * packed, |memory| {
        let memory = Shared::new(memory);
        let at = |head: usize| {
            let (image, channel) = (head / options.heads, head % options.heads * width);
            // SAFETY: the views hold their layouts, and `channel` is one of theirs; each head has its part of the memory.
            let (k, v, packed) = unsafe {
                (
                    k.data().as_ptr().add(image * lk.image_stride() + channel),
                    v.data().as_ptr().add(image * lv.image_stride() + channel),
                    memory.get().add(head * packed),
                )
            };
            let (k_stride, v_stride, causal) = (lk.stride, lv.stride, options.causal);
            let head = Head { isa, width, tile, scale, causal, keys, k, k_stride, v, v_stride, packed };
            (image, channel, head)
        };
        if packed > 0 {
            each(heads, 4 * heads * keys * width, |head| {
                let (_, _, head) = at(head);
                // SAFETY: the head's keys and values, and room for them that this task alone writes.
                unsafe { T::pack(&head, head.packed.cast_mut()) };
            });
        }
        each(heads * parts, work, |task| {
            let (head, part) = (task / parts, task % parts);
            let (image, channel, head) = at(head);
            // Small tiles share a pass over the keys, as many as leave the second cache room for those.
            let together = if isa.is_wide() { 64_000 } else { 400_000 };
            let group = (together / (head.state() * size_of::<f32>())).clamp(1, 8);
            scratch(Use::Task, 2 * tile * KEYS + group * head.state(), |memory| {
                let (begin, end) = (part * tiles / parts, (part + 1) * tiles / parts);
                for i in (begin..end).step_by(group) {
                    let first = i * tile;
                    let count = ((i + group).min(end) * tile).min(queries) - first;
                    // SAFETY: these queries of this head; this task alone writes their output.
                    unsafe {
                        let q =
                            q.data().as_ptr().add(image * lq.image_stride() + first * lq.stride + channel);
                        let out = to.get().add(image * lo.image_stride() + first * lo.stride + channel);
                        head.attend((q, lq.stride), first, count, (out, lo.stride), memory);
                    }
                }
            });
        });
    });
}

/// Vectors of queries in a tile.
fn vectors(isa: Isa) -> usize {
    if isa.is_wide() { 3 } else { 2 }
}

/// Keys and values of one head of one image.
struct Head<T> {
    isa: Isa,
    width: usize,
    /// Queries that are computed at once, one in each lane.
    tile: usize,
    scale: f32,
    causal: bool,
    keys: usize,
    k: *const T,
    k_stride: usize,
    v: *const T,
    v_stride: usize,
    /// Keys and values as [`Score::pack`] wrote them.
    packed: *const f32,
}

/// Where one tile stands: its turned queries, and the sums over the keys so far.
struct Tile<'a> {
    turned: &'a mut [f32],
    sums: &'a mut [f32],
    max: &'a mut [f32],
    next: &'a mut [f32],
    total: &'a mut [f32],
    factor: &'a mut [f32],
}

impl<'a> Tile<'a> {
    fn new(memory: &'a mut [f32], tile: usize, width: usize) -> Self {
        let (turned, rest) = memory.split_at_mut(tile * width);
        let (sums, rest) = rest.split_at_mut(tile * width);
        let (max, rest) = rest.split_at_mut(tile);
        let (next, rest) = rest.split_at_mut(tile);
        let (total, factor) = rest.split_at_mut(tile);
        Self { turned, sums, max, next, total, factor }
    }
}

impl<T: Score> Head<T> {
    /// Numbers of a [`Tile`].
    fn state(&self) -> usize {
        self.tile * (2 * self.width + 4)
    }

    /// A few tiles of together `count` queries, of which the first is number `first`. They take each block of keys in turn, while
    /// that is in the cache.
    ///
    /// # Safety
    /// Everything is valid for its tokens; `memory` has `2 · tile · KEYS` numbers and the state of each tile.
    unsafe fn attend(
        &self,
        q: (*const T, usize),
        first: usize,
        count: usize,
        out: (*mut T, usize),
        memory: &mut [f32],
    ) {
        let (isa, tile, width) = (self.isa, self.tile, self.width);
        let (scores, rest) = memory.split_at_mut(tile * KEYS);
        let (weights, rest) = rest.split_at_mut(tile * KEYS);
        let tiles = count.div_ceil(tile);
        let states = rest.chunks_exact_mut(self.state()).take(tiles);
        let mut states: Vec<Tile<'_>> = states.map(|state| Tile::new(state, tile, width)).collect();
        let here = |i: usize| (count - i * tile).min(tile);
        for (i, state) in states.iter_mut().enumerate() {
            state.max.fill(LOWEST);
            state.next.fill(LOWEST);
            state.total.fill(0.0);
            state.sums.fill(0.0);
            state.turned.fill(0.0);
            // SAFETY: the caller's. Packs of numbers are moved as f32.
            unsafe {
                let rows = q.0.add(i * tile * q.1).cast();
                queries(isa, rows, q.1 / T::PACK, here(i), width / T::PACK, state.turned.as_mut_ptr());
            }
        }
        for begin in (0..self.keys).step_by(KEYS) {
            for (i, state) in states.iter_mut().enumerate() {
                let (first, end) = (first + i * tile, first + i * tile + here(i));
                let keys = if self.causal { self.keys.min(end) } else { self.keys };
                if begin < keys {
                    // SAFETY: the caller's; `state` is this tile's.
                    unsafe { self.add(begin, KEYS.min(keys - begin), first, state, scores, weights) };
                }
            }
        }
        for (i, state) in states.iter_mut().enumerate() {
            // SAFETY: the caller's.
            unsafe {
                let out = (out.0.add(i * tile * out.1), out.1);
                let (sums, total) = (state.sums.as_mut_ptr(), state.total.as_ptr());
                T::output(isa, sums, total, here(i), width, state.turned.as_mut_ptr(), out);
            }
        }
    }

    /// Adds the keys from `begin` on to a tile whose first query is number `first`.
    ///
    /// # Safety
    /// The keys and values are valid; `scores` and `weights` hold a block of the tile.
    unsafe fn add(
        &self,
        begin: usize,
        block: usize,
        first: usize,
        state: &mut Tile<'_>,
        scores: &mut [f32],
        weights: &mut [f32],
    ) {
        let isa = self.isa;
        let masked = self.causal && begin + block > first + 1;
        let (s, next) = (scores.as_mut_ptr(), state.next.as_mut_ptr());
        // Where scores are masked, their maximum is that of what is left.
        let maximum = if masked { state.factor.as_mut_ptr() } else { next };
        // SAFETY: the caller's.
        unsafe {
            T::score(self, begin, block, state.turned.as_ptr(), s, maximum);
            if masked {
                mask(isa, s, block, begin as f32 - first as f32, next);
            }
            let (total, factor) = (state.total.as_mut_ptr(), state.factor.as_mut_ptr());
            let sums = (state.max.as_mut_ptr(), next.cast_const(), total, factor);
            let p = T::weigh(isa, s, block, self.scale, sums, weights.as_mut_ptr());
            T::value(self, begin, block, p, state.sums.as_mut_ptr(), factor);
        }
    }
}
