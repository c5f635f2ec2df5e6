//! Attention without a matrix of scores.

use crate::image::{Image, ImageMut};

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

/// softmax(scale · q · kᵀ) · v for each head. Pixels of an image are tokens; `k` and `v` may have another number than `q`.
///
/// # Panics
/// If shapes do not fit each other, or the channels are not a multiple of the heads.
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
    let width = lq.channels / options.heads;
    let scale = options.scale.unwrap_or(1.0 / (width as f32).sqrt());
    for image in 0..lq.batch {
        for head in 0..options.heads {
            let part = head * width..(head + 1) * width;
            for query in 0..queries {
                let seen = if options.causal { query + 1 } else { keys };
                let row = &q.pixel(image * queries + query)[part.clone()];
                let scores: Vec<f32> = (0..seen)
                    .map(|key| {
                        let other = &k.pixel(image * keys + key)[part.clone()];
                        row.iter().zip(other).map(|(a, b)| a * b).sum::<f32>() * scale
                    })
                    .collect();
                let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let weights: Vec<f32> = scores.iter().map(|s| (s - max).exp()).collect();
                let sum: f32 = weights.iter().sum();
                for channel in part.clone() {
                    let total: f32 = weights
                        .iter()
                        .enumerate()
                        .map(|(key, w)| w * v.pixel(image * keys + key)[channel])
                        .sum();
                    out.pixel(image * queries + query)[channel] = total / sum;
                }
            }
        }
    }
}
