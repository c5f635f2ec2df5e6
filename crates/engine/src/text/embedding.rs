//! The vectors of a textual inversion. Where they come from is `crate::embedding`'s matter.

use std::path::{Path, PathBuf};

use candle_core::Tensor;

/// The vectors that stand for a word.
#[derive(Debug)]
pub struct Embedding {
    path: PathBuf,
    hash: String,
    word: Option<String>,
    /// [vectors, width], f32, on the CPU.
    vectors: Tensor,
}

impl PartialEq for Embedding {
    fn eq(&self, other: &Self) -> bool {
        (&self.hash, &self.word) == (&other.hash, &other.word)
    }
}

impl Embedding {
    /// `vectors`: [vectors, width], f32, on the CPU; `word`: what the file itself calls them.
    pub(crate) fn new(path: &Path, hash: String, word: Option<String>, vectors: Tensor) -> Self {
        Self { path: path.to_owned(), hash, word, vectors }
    }

    /// Where it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// sha256 of the file, 64 hex digits.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The word that the file itself names.
    pub fn word(&self) -> Option<&str> {
        self.word.as_deref()
    }

    /// How many vectors stand for the word.
    pub fn vectors(&self) -> usize {
        self.vectors.dims()[0]
    }

    /// Numbers in each vector: 768 for Stable Diffusion 1.x.
    pub fn width(&self) -> usize {
        self.vectors.dims()[1]
    }

    /// [vectors, width], f32, on the CPU.
    pub(crate) fn tensor(&self) -> &Tensor {
        &self.vectors
    }
}
