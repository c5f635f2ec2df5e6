//! CLIP's byte-level BPE, equal to transformers' `CLIPTokenizer`.

use std::path::Path;

use serde::Deserialize;
use tokenizers::{
    AddedToken, NormalizerWrapper, PreTokenizerWrapper, SplitDelimiterBehavior,
    models::bpe::BPE,
    normalizers::{Lowercase, NFC, Replace, Sequence as Normalizers, replace::ReplacePattern},
    pre_tokenizers::{
        byte_level::ByteLevel,
        sequence::Sequence as PreTokenizers,
        split::{Split, SplitPattern},
    },
};

use crate::{EngineError, Result, json};

/// transformers' pattern for the pieces of which BPE makes tokens.
const PIECES: &str =
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";
const BEGIN: &str = "<|startoftext|>";
const END: &str = "<|endoftext|>";

/// From a prompt to token ids.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    pub(super) begin: u32,
    pub(super) end: u32,
    pub(super) pad: u32,
    /// A comma at the end of a word, where the vocabulary has it.
    pub(super) comma: Option<u32>,
    pub(super) positions: usize,
}

/// A prompt as the text encoder takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// Begin mark, prompt, end mark, padding; always as many as there are positions.
    pub ids: Vec<u32>,
    /// How many of `ids` come before the padding.
    pub used: usize,
    /// Tokens at the end of the prompt that did not fit and have no effect.
    pub dropped: usize,
}

/// What the folder says of its special tokens.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SpecialTokens {
    bos_token: Option<Special>,
    eos_token: Option<Special>,
    pad_token: Option<Special>,
    unk_token: Option<Special>,
    /// 10³⁰ stands for “no limit” in some files, hence a float.
    model_max_length: Option<f64>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Special {
    Plain(String),
    Detailed {
        content: String,
        #[serde(default)]
        normalized: bool,
    },
}

impl Special {
    fn content(&self) -> &str {
        match self {
            Self::Plain(content) | Self::Detailed { content, .. } => content,
        }
    }

    fn added(&self) -> AddedToken {
        let normalized = matches!(self, Self::Detailed { normalized: true, .. });
        AddedToken::from(self.content(), true).normalized(normalized)
    }
}

impl Tokenizer {
    /// Loads `vocab.json` and `merges.txt` (or, where they are missing, `tokenizer.json`) of `folder`, with the
    /// special tokens of `tokenizer_config.json` or `special_tokens_map.json` if there are such files.
    /// `positions`: how many the text encoder has; the folder may name fewer.
    ///
    /// # Errors
    /// A file is missing or damaged, or a special token is not in the vocabulary.
    pub fn load(folder: &Path, positions: usize) -> Result<Self> {
        let optional = |name: &str| -> Result<SpecialTokens> {
            let path = folder.join(name);
            if path.is_file() { json::read(&path) } else { Ok(SpecialTokens::default()) }
        };
        let (config, map) = (optional("tokenizer_config.json")?, optional("special_tokens_map.json")?);
        let choose = |a: &Option<Special>, b: &Option<Special>, default: &str| {
            a.clone().or_else(|| b.clone()).unwrap_or_else(|| Special::Plain(default.to_owned()))
        };
        let begin = choose(&config.bos_token, &map.bos_token, BEGIN);
        let end = choose(&config.eos_token, &map.eos_token, END);
        let pad = choose(&config.pad_token, &map.pad_token, END);
        let unknown = choose(&config.unk_token, &map.unk_token, END);

        let (vocab, whole) = (folder.join("vocab.json"), folder.join("tokenizer.json"));
        let mut inner = if !vocab.is_file() && whole.is_file() {
            tokenizers::Tokenizer::from_file(&whole)
                .map_err(|e| EngineError::model(&whole, format!("is not a readable tokenizer ({e}).")))?
        } else {
            from_vocab(folder, unknown.content())?
        };
        let fail = |e: tokenizers::Error| EngineError::model(folder, format!("cannot be used ({e})."));
        inner.with_padding(None);
        inner.with_truncation(None).map_err(fail)?;
        let id = |special: &Special| {
            inner.token_to_id(special.content()).ok_or_else(|| {
                let message =
                    format!("lacks the special token {}, which the folder names.", special.content());
                EngineError::model(&vocab, message)
            })
        };
        let (begin_id, end_id, pad_id) = (id(&begin)?, id(&end)?, id(&pad)?);
        let specials: Vec<_> = [&begin, &end, &pad, &unknown].into_iter().map(Special::added).collect();
        inner.add_special_tokens(specials).map_err(fail)?;
        let named =
            config.model_max_length.filter(|n| (3.0..1e6).contains(n)).map_or(positions, |n| n as usize);
        let comma = inner.token_to_id(",</w>");
        Ok(Self { inner, begin: begin_id, end: end_id, pad: pad_id, comma, positions: positions.min(named) })
    }

    /// Token ids of `text`, cut or padded to all positions.
    ///
    /// # Errors
    /// The tokenizer's own; none is known for text.
    pub fn encode(&self, text: &str) -> Result<Tokens> {
        let encoding = self.encode_plain(text)?;
        let room = self.room();
        let kept = encoding.len().min(room);
        let mut ids = Vec::with_capacity(self.positions);
        ids.push(self.begin);
        ids.extend_from_slice(&encoding[..kept]);
        ids.push(self.end);
        let used = ids.len();
        ids.resize(self.positions, self.pad);
        Ok(Tokens { ids, used, dropped: encoding.len() - kept })
    }

    /// Tokens of `text` without the marks, however many there are.
    ///
    /// # Errors
    /// The tokenizer's own; none is known for text.
    pub fn count_tokens(&self, text: &str) -> Result<usize> {
        Ok(self.encode_plain(text)?.len())
    }

    /// Tokens that fit between the marks (75 for CLIP).
    pub fn room(&self) -> usize {
        self.positions - 2
    }

    /// Entries of the vocabulary, special tokens included.
    pub fn vocabulary(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    pub(super) fn encode_plain(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self
            .inner
            .encode_fast(text, false)
            .map_err(|e| EngineError::Request(format!("the prompt cannot be read as text ({e})")))?;
        Ok(encoding.get_ids().to_vec())
    }
}

/// The tokenizer that transformers builds from `vocab.json` and `merges.txt`.
fn from_vocab(folder: &Path, unknown: &str) -> Result<tokenizers::Tokenizer> {
    let (vocab, merges) = (folder.join("vocab.json"), folder.join("merges.txt"));
    for path in [&vocab, &merges] {
        if !path.is_file() {
            let message = "is missing. A model folder in Hugging Face layout has this file.";
            return Err(EngineError::model(path, message));
        }
    }
    let fail = |e: tokenizers::Error| {
        let message = format!("cannot be read together with merges.txt as a CLIP vocabulary ({e}).");
        EngineError::model(&vocab, message)
    };
    let bpe = BPE::from_file(&vocab.to_string_lossy(), &merges.to_string_lossy())
        .continuing_subword_prefix(String::new())
        .end_of_word_suffix("</w>".to_owned())
        .unk_token(unknown.to_owned())
        .build()
        .map_err(fail)?;
    let whitespace = Replace::new(ReplacePattern::Regex(r"\s+".to_owned()), " ").map_err(fail)?;
    let pieces = Split::new(SplitPattern::Regex(PIECES.to_owned()), SplitDelimiterBehavior::Removed, true);
    let mut tokenizer = tokenizers::Tokenizer::new(bpe);
    tokenizer
        .with_normalizer(Some(Normalizers::new(vec![
            NormalizerWrapper::NFC(NFC),
            NormalizerWrapper::Replace(whitespace),
            NormalizerWrapper::Lowercase(Lowercase),
        ])))
        .map_err(fail)?
        .with_pre_tokenizer(Some(PreTokenizers::new(vec![
            PreTokenizerWrapper::Split(pieces.map_err(fail)?),
            PreTokenizerWrapper::ByteLevel(ByteLevel::default().add_prefix_space(false)),
        ])));
    Ok(tokenizer)
}
