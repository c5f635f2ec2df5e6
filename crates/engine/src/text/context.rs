//! What the UNet attends to: the text encoder's hidden states of a prompt's chunks, weighted and put in a row.

use candle_core::{DType, Tensor};

use super::{Chunk, Embeddings, TextEncoder, Tokenizer, chunks};
use crate::Result;

/// Computes a number of layers from token and position embeddings.
type Layers<'a> = dyn Fn(&Tensor, usize) -> Result<Tensor> + 'a;

/// Chunks that go through the text encoder together: bounds the memory of long prompts.
const TOGETHER: usize = 16;

/// The contexts of `prompts` in A1111's syntax, [prompts, chunks × positions, width]. A prompt with fewer chunks than
/// another is padded with those of an empty prompt, as A1111 does with “Pad prompt/negative prompt” and diffusers'
/// long-prompt pipelines do. `clip_skip`: see [`TextEncoder::forward_from`].
///
/// # Errors
/// A prompt has too many chunks; `clip_skip` is larger than the text encoder has layers.
pub fn context(
    tokenizer: &Tokenizer,
    text: &TextEncoder,
    prompts: &[String],
    clip_skip: usize,
) -> Result<Tensor> {
    Ok(context_with(tokenizer, text, None, &Embeddings::default(), prompts, clip_skip)?.0)
}

/// As [`context`], with words that stand for vectors; the places of those that were used come along. `planned` computes
/// the layers of `text`, if it is given.
///
/// # Errors
/// As there.
pub(crate) fn context_with(
    tokenizer: &Tokenizer,
    text: &TextEncoder,
    planned: Option<&Layers<'_>>,
    embeddings: &Embeddings,
    prompts: &[String],
    clip_skip: usize,
) -> Result<(Tensor, Vec<usize>)> {
    let chunks = |prompt: &String| tokenizer.chunks(prompt, embeddings.words());
    let mut all = prompts.iter().map(chunks).collect::<Result<Vec<_>>>()?;
    let longest = all.iter().map(Vec::len).max().unwrap_or_default();
    for chunks in &mut all {
        chunks.resize(longest, tokenizer.empty_chunk());
    }
    let all = all.concat();
    let mut states = Vec::with_capacity(longest * prompts.len());
    for group in all.chunks(TOGETHER) {
        let embedded = text.embed_chunks(group, embeddings, clip_skip)?;
        let encoded = match planned {
            Some(planned) => planned(&embedded, text.layers().saturating_sub(clip_skip - 1))?,
            None => text.encode(&embedded, clip_skip)?,
        };
        for (i, chunk) in group.iter().enumerate() {
            states.push(weigh(&encoded.get(i)?, chunk)?);
        }
    }
    let states = Tensor::cat(&states, 0)?;
    let (rows, width) = states.dims2()?;
    Ok((states.reshape((prompts.len(), rows / prompts.len().max(1), width))?, chunks::used(&all)))
}

/// Multiplies the hidden states [positions, width] of a chunk with its weights, then all of them with one factor that
/// restores the mean over positions and width (A1111's emphasis “Original”).
fn weigh(states: &Tensor, chunk: &Chunk) -> Result<Tensor> {
    if chunk.weights.iter().all(|weight| *weight == 1.0) {
        return Ok(states.clone());
    }
    let weights = Tensor::new(chunk.weights.as_slice(), states.device())?.unsqueeze(1)?;
    let before = states.to_dtype(DType::F32)?;
    let after = before.broadcast_mul(&weights)?;
    // In f64: positive and negative values all but cancel, and what is left is divided by.
    let mean = |x: &Tensor| -> Result<f64> { Ok(x.to_dtype(DType::F64)?.mean_all()?.to_scalar()?) };
    let factor = mean(&before)? / mean(&after)?;
    // Weights of 0 can leave nothing whose mean could be restored.
    let restored = if factor.is_finite() { (after * factor)? } else { after };
    Ok(restored.to_dtype(states.dtype())?)
}
