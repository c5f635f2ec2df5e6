//! The gradient of attention, by the kernels' products.

use std::ops::Range;

use adire_kernels::{
    Activation, AnyImage, Buffer, Dtype, Epilogue, Image, ImageMut, Layout, PackedLinear, activation, bf16,
    linear,
};

use super::memory::Pool;
use crate::ops::{softmax_in_place, softmax_in_place_backward};

/// Scores that are held at once, about: those of 1,024 queries and as many keys.
const SCORES: usize = 1 << 20;

/// Rows of f32, and the same as operands.
struct Rows {
    layout: Layout,
    values: Buffer,
    halves: Option<Buffer<bf16>>,
}

impl Rows {
    fn new(values: Buffer, layout: Layout, dtype: Dtype, pool: &mut Pool) -> Self {
        let halves = (dtype == Dtype::Bf16).then(|| {
            let mut halves = pool.halves(layout.len());
            let from = Image::new(&values, layout);
            activation(from, Activation::Identity, ImageMut::new(&mut halves, layout));
            halves
        });
        Self { layout, values, halves }
    }

    fn operand(&self) -> AnyImage<'_> {
        match &self.halves {
            Some(halves) => Image::new(halves, self.layout).into(),
            None => Image::new(&self.values, self.layout).into(),
        }
    }

    fn give(self, pool: &mut Pool) {
        pool.give(self.values);
        if let Some(halves) = self.halves {
            pool.give_halves(halves);
        }
    }
}

/// Packed matrices whose memory the next head uses.
#[derive(Default)]
struct Packed {
    probabilities: Option<PackedLinear>,
    slopes: Option<PackedLinear>,
    keys: Option<PackedLinear>,
}

/// Gradients of queries, keys and values, pixel by pixel, from `gradient`, that of the result; all are [images, n, heads·d]. With P the
/// probabilities and G the result's gradient: ∂V = PᵀG, ∂S = P ∘ (GVᵀ − rowsum(GVᵀ ∘ P)), ∂Q = ∂S·K/√d, ∂K = ∂Sᵀ·Q/√d.
pub(super) fn attention_backward(
    [q, k, v]: [AnyImage<'_>; 3],
    gradient: Image<'_>,
    heads: usize,
    pool: &mut Pool,
) -> [Buffer; 3] {
    let (of_queries, of_keys) = (q.layout(), k.layout());
    let depth = of_queries.channels / heads;
    let count = |layout: &Layout| layout.height * layout.width;
    let (queries, keys) = (count(&of_queries), count(&of_keys));
    let scale = 1.0 / (depth as f32).sqrt();
    // Numbers of bf16 are multiplied in pairs.
    let in_pairs = [depth, queries, keys].iter().all(|n| n.is_multiple_of(2));
    let dtype = if in_pairs && matches!(q, AnyImage::Bf16(_)) { Dtype::Bf16 } else { Dtype::F32 };
    let block = (SCORES / keys).clamp(2, queries.max(2)) / 2 * 2;
    let mut packed = Packed::default();
    let mut plain = |layout: Layout| pool.floats(layout.pixels() * layout.channels);
    let [mut q_all, mut k_all, mut v_all] = [plain(of_queries), plain(of_keys), plain(of_keys)];
    let width = of_queries.channels;
    let (by_key, across) = (Layout::tokens(1, keys, depth), Layout::tokens(1, depth, keys));
    for image in 0..of_queries.batch {
        for head in 0..heads {
            let channels = head * depth..(head + 1) * depth;
            let (start, whole) = (channels.start, image * keys..(image + 1) * keys);
            let (k_head, v_head) =
                (gather(k, start, depth, whole.clone(), pool), gather(v, start, depth, whole, pool));
            let of_keys = PackedLinear::stack_as(dtype, &[&k_head], depth);
            let of_values = PackedLinear::stack_as(dtype, &[&v_head], depth);
            let columns = PackedLinear::from_columns(dtype, Image::new(&k_head, by_key), packed.keys.take());
            pool.give(k_head);
            pool.give(v_head);
            // [d, keys]: sums over blocks of queries.
            let (mut k_sum, mut v_sum) = (pool.floats(across.len()), pool.floats(across.len()));
            for first in (0..queries).step_by(block) {
                let n = block.min(queries - first);
                let (by_query, scores) = (Layout::tokens(1, n, depth), Layout::tokens(1, n, keys));
                let rows = image * queries + first..image * queries + first + n;
                let mut scaled = gather(q, start, depth, rows.clone(), pool);
                scaled.iter_mut().for_each(|q| *q *= scale);
                let g = gather(gradient.into(), start, depth, rows.clone(), pool);
                let sideways = Layout::tokens(1, depth, n);
                let (q_turned, g_turned) = (turn(&scaled, n, depth, pool), turn(&g, n, depth, pool));
                let q_turned = Rows::new(q_turned, sideways, dtype, pool);
                let g_turned = Rows::new(g_turned, sideways, dtype, pool);
                let scaled = Rows::new(scaled, by_query, dtype, pool);
                let g = Rows::new(g, by_query, dtype, pool);
                let product = |x: &Rows, matrix: &PackedLinear, layout: Layout, pool: &mut Pool| {
                    let mut y = pool.floats(layout.len());
                    linear(x.operand(), matrix, &Epilogue::default(), ImageMut::new(&mut y, layout));
                    y
                };
                let sum = |x: &Rows, matrix: &PackedLinear, sum: &mut Buffer| {
                    let epilogue = Epilogue { accumulate: first > 0, ..Epilogue::default() };
                    linear(x.operand(), matrix, &epilogue, ImageMut::new(sum, across));
                };
                let mut probabilities = product(&scaled, &of_keys, scores, pool);
                softmax_in_place(&mut probabilities, keys);
                let mut slopes = product(&g, &of_values, scores, pool);
                softmax_in_place_backward(&probabilities, &mut slopes, keys);
                let from = Image::new(&probabilities, scores);
                let matrix = PackedLinear::from_columns(dtype, from, packed.probabilities.take());
                sum(&g_turned, &matrix, &mut v_sum);
                packed.probabilities = Some(matrix);
                let from = Image::new(&slopes, scores);
                let matrix = PackedLinear::from_columns(dtype, from, packed.slopes.take());
                sum(&q_turned, &matrix, &mut k_sum);
                packed.slopes = Some(matrix);
                let slopes = Rows::new(slopes, scores, dtype, pool);
                let found = product(&slopes, &columns, by_query, pool);
                let to = q_all[rows.start * width..].chunks_exact_mut(width);
                for (row, found) in to.zip(found.chunks_exact(depth)) {
                    let row = row[channels.clone()].iter_mut();
                    row.zip(found).for_each(|(to, from)| *to = from * scale);
                }
                for rows in [slopes, scaled, g, q_turned, g_turned] {
                    rows.give(pool);
                }
                pool.give(probabilities);
                pool.give(found);
            }
            packed.keys = Some(columns);
            for (all, sum) in [(&mut k_all, k_sum), (&mut v_all, v_sum)] {
                let rows = all[image * keys * width..].chunks_exact_mut(width);
                for (i, row) in rows.take(keys).enumerate() {
                    let row = row[channels.clone()].iter_mut();
                    row.zip(sum.chunks_exact(keys)).for_each(|(to, from)| *to = from[i]);
                }
                pool.give(sum);
            }
        }
    }
    [q_all, k_all, v_all]
}

/// Some pixels' channels, `depth` from the first on, without gaps, in f32.
fn gather(x: AnyImage<'_>, first: usize, depth: usize, pixels: Range<usize>, pool: &mut Pool) -> Buffer {
    let mut to = pool.floats(pixels.len() * depth);
    for (row, pixel) in to.chunks_exact_mut(depth).zip(pixels) {
        match x {
            AnyImage::F32(x) => row.copy_from_slice(&x.pixel(pixel)[first..first + depth]),
            AnyImage::Bf16(x) => {
                let from = &x.pixel(pixel)[first..first + depth];
                row.iter_mut().zip(from).for_each(|(to, from)| *to = from.to_f32());
            }
        }
    }
    to
}

/// [rows, depth] to [depth, rows].
fn turn(x: &[f32], rows: usize, depth: usize, pool: &mut Pool) -> Buffer {
    let mut to = pool.floats(rows * depth);
    for (channel, to) in to.chunks_exact_mut(rows).enumerate() {
        to.iter_mut().zip(x.chunks_exact(depth)).for_each(|(to, row)| *to = row[channel]);
    }
    to
}
