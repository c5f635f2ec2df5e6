//! From a prompt to chunks of tokens, each as long as the text encoder's window.
//!
//! A1111's way (`FrozenCLIPEmbedderWithCustomWords.tokenize_line` in stable-diffusion-webui 1.10): spans of equal
//! weight are tokenized by themselves; 75 tokens stand between begin and end mark; where a chunk is full and its last
//! comma is among the last 20 tokens, what follows that comma moves to the next chunk; `BREAK` ends a chunk early. An
//! embedding's vectors take as much room as tokens and are never divided between two chunks.

use adire_protocol::TokenCount;

use super::{Tokenizer, prompt, words::Words};
use crate::{EngineError, Result};

/// Most chunks of a prompt (2,400 tokens): attention costs memory and time for each.
pub(crate) const MAX_CHUNKS: usize = 32;

/// How far back a comma may lie at which a full chunk is cut (A1111's `comma_padding_backtrack`).
const BACKTRACK: usize = 20;

/// One window of the text encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk {
    /// Begin mark, tokens, end mark, padding; as many as there are positions.
    pub ids: Vec<u32>,
    /// What the hidden state at each position is multiplied with; marks and padding have 1.
    pub weights: Vec<f32>,
    /// Positions that hold an embedding's vectors; their ids are 0 and mean nothing.
    pub vectors: Vec<Vector>,
}

/// A position that an embedding fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vector {
    /// Position in the chunk.
    pub at: usize,
    /// Place of the word among [`Words`].
    pub word: usize,
    /// Which of its vectors.
    pub row: usize,
}

impl Words {
    /// Which words `prompts` hold, by their places, each once.
    ///
    /// # Errors
    /// As [`Tokenizer::chunks`].
    pub fn used(&self, tokenizer: &Tokenizer, prompts: &[String]) -> Result<Vec<usize>> {
        if self.is_empty() {
            return Ok(Vec::new());
        }
        let chunks =
            prompts.iter().map(|prompt| tokenizer.chunks(prompt, self)).collect::<Result<Vec<_>>>()?;
        Ok(used(chunks.iter().flatten()))
    }
}

/// The places of the words in `chunks`, each once, in their order.
pub(super) fn used<'a>(chunks: impl IntoIterator<Item = &'a Chunk>) -> Vec<usize> {
    let mut places: Vec<usize> =
        chunks.into_iter().flat_map(|chunk| chunk.vectors.iter().map(|vector| vector.word)).collect();
    places.sort_unstable();
    places.dedup();
    places
}

impl Tokenizer {
    /// A prompt in A1111's syntax as chunks, at least one. `words` stand for vectors.
    ///
    /// # Errors
    /// [`EngineError::Request`] when there are more than 32.
    pub fn chunks(&self, prompt: &str, words: &Words) -> Result<Vec<Chunk>> {
        let split = self.split(prompt, words)?;
        if split.chunks.len() > MAX_CHUNKS {
            return Err(EngineError::Request(format!(
                "the prompt has {} tokens in {} chunks of {}; at most {MAX_CHUNKS} chunks can be read. Shorten it",
                split.count().tokens,
                split.chunks.len(),
                split.room
            )));
        }
        Ok(split.chunks.iter().map(|tokens| self.chunk(tokens)).collect())
    }

    /// The chunk of an empty prompt.
    pub fn empty_chunk(&self) -> Chunk {
        self.chunk(&[])
    }

    /// How much room a prompt takes.
    ///
    /// # Errors
    /// The tokenizer's own; none is known for text.
    pub fn count(&self, prompt: &str, words: &Words) -> Result<TokenCount> {
        Ok(self.split(prompt, words)?.count())
    }

    fn split(&self, prompt: &str, words: &Words) -> Result<Split> {
        let mut split =
            Split { chunks: Vec::new(), current: Vec::new(), comma: None, room: self.room(), open: false };
        for span in prompt::parse(prompt) {
            if span.is_break() {
                split.next();
                continue;
            }
            let (ids, weight) = (self.encode_plain(&words.spaced(&span.text))?, span.weight as f32);
            let mut rest = ids.as_slice();
            while let Some(id) = rest.first().copied() {
                let used = match words.find(rest) {
                    Some((word, vectors, used)) => {
                        split.insert(word, vectors, weight);
                        used
                    }
                    None => {
                        split.push(Slot { id, weight, vector: None }, self.comma == Some(id));
                        1
                    }
                };
                rest = &rest[used..];
            }
        }
        if !split.current.is_empty() || split.chunks.is_empty() {
            split.next();
            split.open = true;
        }
        Ok(split)
    }

    fn chunk(&self, tokens: &[Slot]) -> Chunk {
        let mut chunk = Chunk { ids: vec![self.begin], weights: vec![1.0], vectors: Vec::new() };
        for Slot { id, weight, vector } in tokens {
            let at = chunk.ids.len();
            chunk.vectors.extend(vector.map(|(word, row)| Vector { at, word, row }));
            chunk.ids.push(*id);
            chunk.weights.push(*weight);
        }
        chunk.ids.push(self.end);
        chunk.ids.resize(self.positions, self.pad);
        chunk.weights.resize(self.positions, 1.0);
        chunk
    }
}

/// One position of a chunk that is being filled.
#[derive(Clone, Copy)]
struct Slot {
    id: u32,
    weight: f32,
    /// An embedding's word and which of its vectors.
    vector: Option<(usize, usize)>,
}

/// Chunks as they are being filled, without marks and padding.
struct Split {
    chunks: Vec<Vec<Slot>>,
    current: Vec<Slot>,
    /// Where the last comma of the current chunk stands.
    comma: Option<usize>,
    room: usize,
    /// Whether more would fit into the last chunk; a `BREAK` after it closes it.
    open: bool,
}

impl Split {
    fn push(&mut self, slot: Slot, is_comma: bool) {
        self.make_room(is_comma);
        if is_comma {
            self.comma = Some(self.current.len());
        }
        self.current.push(slot);
    }

    /// Puts an embedding's vectors in, all into one chunk.
    fn insert(&mut self, word: usize, vectors: usize, weight: f32) {
        self.make_room(false);
        if self.current.len() + vectors > self.room {
            self.next();
        }
        self.current.extend((0..vectors).map(|row| Slot { id: 0, weight, vector: Some((word, row)) }));
    }

    fn make_room(&mut self, is_comma: bool) {
        let full = self.current.len() == self.room;
        match self.comma.filter(|comma| full && !is_comma && self.room - comma <= BACKTRACK) {
            Some(comma) => {
                let moved = self.current.split_off(comma + 1);
                self.next();
                self.current = moved;
            }
            None if full => self.next(),
            None => {}
        }
    }

    fn next(&mut self) {
        self.chunks.push(std::mem::take(&mut self.current));
        self.comma = None;
    }

    fn count(&self) -> TokenCount {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let capacity = self.chunks.len() * self.room;
        let free = match self.chunks.last() {
            Some(last) if self.open => self.room - last.len(),
            _ => 0,
        };
        TokenCount {
            tokens: number(capacity - free),
            capacity: number(capacity),
            chunks: number(self.chunks.len()),
            most_chunks: number(MAX_CHUNKS),
        }
    }
}
