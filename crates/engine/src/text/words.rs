//! Words that stand for vectors, in prompts.
//!
//! A1111's way (`EmbeddingDatabase.find_embedding_at_position` in stable-diffusion-webui 1.10): a word is found by its
//! tokens, so upper and lower case are the same and a comma may follow at once; the longest one wins.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use super::{Tokenizer, embedding::Embedding};
use crate::{EngineError, Result};

/// Words, and how many vectors each stands for: all that is needed to count a prompt's tokens.
#[derive(Clone, Debug, Default)]
pub struct Words {
    /// By their first token, the longest first: all tokens, and the place of the word.
    by_first: HashMap<u32, Vec<(Vec<u32>, usize)>>,
    vectors: Vec<usize>,
    /// Those that begin or end with a sign, such as `<my-style>`.
    signed: Vec<String>,
}

impl Words {
    /// # Errors
    /// A word has more vectors than a chunk has room for (75), or no tokens.
    pub fn new<'a>(tokenizer: &Tokenizer, words: impl IntoIterator<Item = (&'a str, usize)>) -> Result<Self> {
        let mut this = Self::default();
        for (word, vectors) in words {
            let room = tokenizer.room();
            if vectors == 0 || vectors > room {
                return Err(EngineError::Request(format!(
                    "the embedding {word:?} has {vectors} vectors; a chunk of a prompt has room for 1 to {room}"
                )));
            }
            let ids = tokenizer.encode_plain(word)?;
            let Some(first) = ids.first().copied() else {
                return Err(EngineError::Request(format!("the embedding's word {word:?} has no tokens")));
            };
            let same = this.by_first.entry(first).or_default();
            same.push((ids, this.vectors.len()));
            // Stable: of words with the same tokens the first one counts.
            same.sort_by_key(|(ids, _)| std::cmp::Reverse(ids.len()));
            this.vectors.push(vectors);
            let is_sign = |c: Option<char>| c.is_some_and(|c| !c.is_alphanumeric());
            if is_sign(word.chars().next()) || is_sign(word.chars().next_back()) {
                this.signed.push(word.to_owned());
            }
        }
        Ok(this)
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.vectors.is_empty()
    }

    /// `text` with spaces around words that begin or end with a sign: the tokenizer takes signs that touch together, so
    /// that it would not see `<my-style>` before a comma (A1111 does not; diffusers, from which such words come, does).
    pub(super) fn spaced<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let at = |rest: &str| {
            let fits =
                |word: &&String| rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
            self.signed.iter().filter(fits).map(String::len).max()
        };
        if self.signed.is_empty() {
            return Cow::Borrowed(text);
        }
        let (mut spaced, mut rest) = (String::with_capacity(text.len()), text);
        while let Some(first) = rest.chars().next() {
            let length = at(rest);
            let (taken, left) = rest.split_at(length.unwrap_or(first.len_utf8()));
            match length {
                Some(_) => spaced.extend([" ", taken, " "]),
                None => spaced.push_str(taken),
            }
            rest = left;
        }
        Cow::Owned(spaced)
    }

    /// The word at the front of `ids`: its place, its vectors, and how many tokens it is written with.
    pub(super) fn find(&self, ids: &[u32]) -> Option<(usize, usize, usize)> {
        let candidates = self.by_first.get(ids.first()?)?;
        let (found, place) = candidates.iter().find(|(word, _)| ids.starts_with(word))?;
        Some((*place, self.vectors[*place], found.len()))
    }
}

/// Embeddings under the words that they are called by.
#[derive(Clone, Debug, Default)]
pub struct Embeddings {
    words: Words,
    named: Vec<(String, Arc<Embedding>)>,
}

impl Embeddings {
    /// `width` is the text encoder's.
    ///
    /// # Errors
    /// One is for a text encoder of another width; as [`Words::new`].
    pub fn new(tokenizer: &Tokenizer, width: usize, named: Vec<(String, Arc<Embedding>)>) -> Result<Self> {
        if let Some((word, embedding)) = named.iter().find(|(_, embedding)| embedding.width() != width) {
            let found = embedding.width();
            return Err(EngineError::Request(format!(
                "the embedding {word:?} is {found} wide, but this model's text encoder is {width} wide: it was made \
                 for {}",
                family(found)
            )));
        }
        let words = named.iter().map(|(word, embedding)| (word.as_str(), embedding.vectors()));
        Ok(Self { words: Words::new(tokenizer, words)?, named })
    }

    /// The words alone.
    pub fn words(&self) -> &Words {
        &self.words
    }

    /// Word and embedding at a place.
    pub(crate) fn get(&self, place: usize) -> Option<&(String, Arc<Embedding>)> {
        self.named.get(place)
    }
}

/// Whose text encoder is so wide.
fn family(width: usize) -> &'static str {
    match width {
        768 => "Stable Diffusion 1.x",
        1024 => "Stable Diffusion 2.x",
        1280 | 2048 => "Stable Diffusion XL",
        _ => "another model",
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use candle_core::{DType, Device, Tensor};

    use super::*;
    use crate::{
        TextEncoder,
        text::{Chunk, context_with},
    };

    fn golden(name: &str) -> std::path::PathBuf {
        Path::new("tests/goldens").join(name)
    }

    fn tokenizer() -> Tokenizer {
        Tokenizer::load(&golden("pipeline/tokenizer"), 77).unwrap()
    }

    fn named(files: &[(&str, &str)]) -> Vec<(String, Arc<Embedding>)> {
        let read = |file: &str| Embedding::read(&golden("embeddings").join(file)).unwrap();
        files.iter().map(|(word, file)| ((*word).to_owned(), Arc::new(read(file)))).collect()
    }

    #[test]
    fn contexts_are_those_of_diffusers() {
        let (tokenizer, device) = (tokenizer(), Device::Cpu);
        let text = TextEncoder::load(&golden("pipeline/text_encoder"), DType::F32, &device).unwrap();
        let expected =
            candle_core::safetensors::load(golden("embeddings/contexts.safetensors"), &device).unwrap();
        let prompts = std::fs::read(golden("embeddings/prompts.json")).unwrap();
        let prompts: HashMap<String, String> = serde_json::from_slice(&prompts).unwrap();
        assert_eq!(prompts.len(), expected.len());
        for style in ["diffusers", "my-style", "string_to_param", "clip_l"] {
            let files = [("<my-style>", &*format!("{style}.safetensors")), ("<dot>", "dot.safetensors")];
            let embeddings = Embeddings::new(&tokenizer, text.width(), named(&files)).unwrap();
            for (name, prompt) in &prompts {
                let (found, used) =
                    context_with(&tokenizer, &text, None, &embeddings, std::slice::from_ref(prompt), 1)
                        .unwrap();
                let distance = |a: &Tensor, b: &Tensor| -> f32 {
                    (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar().unwrap()
                };
                assert!(distance(&found, &expected[name]) < 1e-4, "{style}, {name}");
                assert_eq!(used, if prompt.contains("<dot>") { vec![0, 1] } else { vec![0] });
            }
        }
    }

    /// The ids of each chunk between its marks, 0 for a vector.
    fn chunked(prompt: &str, words: &[(&str, usize)]) -> Vec<Vec<Option<(usize, usize)>>> {
        let tokenizer = tokenizer();
        let words = Words::new(&tokenizer, words.iter().copied()).unwrap();
        let chunks = tokenizer.chunks(prompt, &words).unwrap();
        let place = |chunk: &Chunk, at: usize| {
            chunk.vectors.iter().find(|vector| vector.at == at).map(|vector| (vector.word, vector.row))
        };
        let end = |chunk: &Chunk| chunk.ids.iter().skip(1).position(|id| *id == tokenizer.end).unwrap_or(75);
        chunks.iter().map(|chunk| (1..=end(chunk)).map(|at| place(chunk, at)).collect()).collect()
    }

    #[test]
    fn a_word_is_found_as_in_a1111() {
        let words = [("my style", 2), ("my", 1), ("Style", 3)];
        let found = |prompt: &str| -> Vec<usize> {
            chunked(prompt, &words).concat().into_iter().flatten().map(|(word, _)| word).collect()
        };
        // Upper and lower case are the same; the longest one wins; a comma may follow at once.
        assert_eq!(found("MY STYLE, my moon"), [0, 0, 1]);
        assert_eq!(found("style"), [2, 2, 2]);
        // Weighted spans are read by themselves, so a word that crosses their border is not found.
        assert_eq!(found("(my:1.2) style"), [1, 2, 2, 2]);
        assert_eq!(found("(my style:1.2)"), [0, 0]);
        // Words of signs are found where others touch them.
        assert_eq!(chunked("(by <Dot>,<dot>)a", &[("<dot>", 2)]).concat().iter().flatten().count(), 4);
        // Parts of other words are none.
        assert!(found("mystyles stylex").is_empty());
    }

    #[test]
    fn vectors_take_room_and_are_not_divided_between_chunks() {
        let tokenizer = tokenizer();
        let words = [("style", 10)];
        let sizes = |prompt: &str| chunked(prompt, &words).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(&format!("{}style", "a ".repeat(65))), [75]);
        assert_eq!(sizes(&format!("{}style b", "a ".repeat(66))), [66, 11]);
        assert_eq!(sizes(&format!("{}style b", "a ".repeat(75))), [75, 11]);
        // What follows the last comma moves along, vectors in it too.
        let moved = chunked(&format!("{}, style {}", "a ".repeat(60), "b ".repeat(5)), &words);
        assert_eq!(moved.iter().map(Vec::len).collect::<Vec<_>>(), [61, 15]);
        assert_eq!(moved[1][9], Some((0, 9)));

        let words = Words::new(&tokenizer, words).unwrap();
        let count = tokenizer.count("a style b", &words).unwrap();
        assert_eq!((count.tokens, count.capacity), (12, 75));
        assert_eq!(words.used(&tokenizer, &["a".to_owned()]).unwrap(), [0; 0]);
        assert_eq!(words.used(&tokenizer, &["style".to_owned(), "Style".to_owned()]).unwrap(), [0]);
        for wrong in [0, 76] {
            assert!(Words::new(&tokenizer, [("x", wrong)]).is_err());
        }
        assert!(Words::new(&tokenizer, [(" ", 1)]).is_err());
    }

    #[test]
    fn a_wrong_width_is_said_with_both() {
        let error = Embeddings::new(&tokenizer(), 768, named(&[("x", "dot.safetensors")])).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("is 32 wide") && error.contains("768 wide"), "{error}");
    }
}
