//! Textual inversions (Gal et al. 2022): files with a few vectors that stand for a word. What the names in them mean;
//! where they go in a prompt is `text::words`' matter.

use std::{collections::BTreeMap, path::Path};

use candle_core::{DType, Tensor};
use sha2::{Digest as _, Sha256};

use crate::{EngineError, Result, adapter, text::Embedding};

/// Largest file that is taken for an embedding; 75 vectors of SD 1.5 in f32 are 0.2 MB.
const MAX_BYTES: u64 = 16 << 20;

/// Longest word.
const MAX_WORD: usize = 64;

impl Embedding {
    /// Reads a `.safetensors` file of diffusers (one tensor, named by its word), A1111 and kohya's scripts
    /// (`emb_params`, `string_to_param.*`) or ComfyUI (`clip_l`).
    ///
    /// # Errors
    /// [`EngineError::Adapter`]: no file, a pickle, no embedding, one for another family of models, …
    pub fn read(path: &Path) -> Result<Self> {
        let fail = |message: String| EngineError::adapter(path, message);
        let unreadable = |error: std::io::Error| fail(format!("cannot be read ({error})."));
        let metadata = std::fs::metadata(path).map_err(unreadable)?;
        if metadata.is_dir() {
            return Err(fail("is a folder; name an embedding's .safetensors file.".to_owned()));
        }
        if metadata.len() > MAX_BYTES {
            let megabytes = metadata.len() >> 20;
            return Err(fail(format!(
                "has {megabytes} MiB; an embedding has at most {}. Is it an adapter or a whole model?",
                MAX_BYTES >> 20
            )));
        }
        Self::from_bytes(path, &std::fs::read(path).map_err(unreadable)?)
    }

    /// Reads the content of a file; `path` is only for messages.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Self> {
        let fail = |message: String| EngineError::adapter(path, message);
        let tensors = adapter::tensors(bytes).map_err(fail)?;
        let (word, vectors) = vectors_of(tensors).map_err(fail)?;
        let hash = hex::encode(Sha256::digest(bytes));
        Ok(Self::new(path, hash, word, vectors))
    }

    /// What an adapter's file brings along under `word`; `hash` is that of the whole file.
    ///
    /// # Errors
    /// [`EngineError::Adapter`]: a prompt cannot contain the word, or the tensor does not hold vectors.
    pub(crate) fn bundled(path: &Path, hash: &str, word: &str, vectors: &Tensor) -> Result<Self> {
        let fail = |what: String| EngineError::adapter(path, format!("brings an embedding along {what}."));
        check_word(word).map_err(|what| fail(format!("whose {what}")))?;
        let (_, vectors) = vectors_of([("emb_params".to_owned(), vectors.clone())].into())
            .map_err(|what| fail(format!("({word:?}) that {}", what.trim_end_matches('.'))))?;
        Ok(Self::new(path, hash.to_owned(), Some(word.to_owned()), vectors))
    }

    /// The word that it is called by: `named`, else the file's own, else the file's name without its ending.
    ///
    /// # Errors
    /// A clause: that word cannot be written in a prompt.
    pub fn called(&self, named: Option<&str>) -> std::result::Result<String, String> {
        let stem = || self.path().file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let own = || self.word().map(str::to_owned).filter(|word| check_word(word).is_ok());
        let word = named.map(|word| word.trim().to_owned()).or_else(own).or_else(stem).unwrap_or_default();
        check_word(&word)?;
        Ok(word)
    }
}

/// Whether prompts can hold it as a word: brackets, backslashes and colons have a meaning of their own there.
fn check_word(word: &str) -> std::result::Result<(), String> {
    let shown: String = word.chars().take(MAX_WORD).collect();
    let odd = |c: char| c.is_control() || "()[]\\:".contains(c);
    if word.trim() != word || word.is_empty() || word.chars().count() > MAX_WORD || word.contains(odd) {
        return Err(format!(
            "word must have 1 to {MAX_WORD} characters, none of them ( ) [ ] \\ or a colon; got {shown:?}"
        ));
    }
    if word == "BREAK" {
        return Err("word must not be BREAK, which ends a chunk of a prompt".to_owned());
    }
    Ok(())
}

/// The word, where the names tell it, and the vectors [n, width]; the error is a sentence about the file.
fn vectors_of(
    mut tensors: BTreeMap<String, Tensor>,
) -> std::result::Result<(Option<String>, Tensor), String> {
    let names: Vec<String> = tensors.keys().cloned().collect();
    let known = |name: &&String| {
        *name == "emb_params" || name.split('.').next() == Some("string_to_param") || *name == "clip_l"
    };
    let other =
        |name: &str| name.strip_prefix("clip_").is_some_and(|part| part != "l") || name.starts_with("t5");
    if let Some(name) = names.iter().find(|name| other(name)) {
        let width = tensors[name].dims().last().copied().unwrap_or_default();
        return Err(format!(
            "is for another family of models: it holds {name} ({width} wide) for a second text encoder, and Stable \
             Diffusion 1.x has one of 768."
        ));
    }
    let (word, tensor) = match (names.iter().find(known).cloned(), names.as_slice()) {
        (Some(name), _) => (None, tensors.remove(&name)),
        (None, [word]) => (Some(word.clone()), tensors.remove(word)),
        (None, []) => return Err("is empty: it holds no tensors.".to_owned()),
        (None, [first, ..]) => {
            let what = match adapter::is_adapter_key(first) {
                true => "It looks like an adapter: use `adire adapters add`, or --lora",
                false => "An embedding has one, or emb_params, string_to_param.* or clip_l",
            };
            return Err(format!(
                "is not an embedding: it holds {} tensors, {first} the first. {what}.",
                names.len()
            ));
        }
    };
    let Some(tensor) = tensor else { return Err("is empty: it holds no tensors.".to_owned()) };
    let tensor =
        if tensor.rank() == 1 { tensor.unsqueeze(0).map_err(|error| error.to_string())? } else { tensor };
    let dims = tensor.dims().to_vec();
    if dims.len() != 2 || dims.contains(&0) {
        return Err(format!("is not an embedding: its tensor has the shape {dims:?}, not [vectors, width]."));
    }
    let vectors = tensor.to_dtype(DType::F32).map_err(|error| error.to_string())?;
    Ok((word, vectors))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use candle_core::Device;

    use super::*;

    fn file(tensors: &[(&str, &[usize])]) -> Vec<u8> {
        let tensors: HashMap<String, Tensor> = tensors
            .iter()
            .map(|(name, shape)| {
                ((*name).to_owned(), Tensor::ones(*shape, DType::F32, &Device::Cpu).unwrap())
            })
            .collect();
        safetensors::serialize(&tensors, None).unwrap()
    }

    fn read(tensors: &[(&str, &[usize])]) -> std::result::Result<Embedding, String> {
        Embedding::from_bytes(Path::new("dir/my-word.safetensors"), &file(tensors)).map_err(|e| e.to_string())
    }

    #[test]
    fn every_writer_is_read() {
        for (tensors, word, vectors) in [
            (&[("<cat-toy>", &[768][..])][..], "<cat-toy>", 1),
            (&[("my_style", &[4, 768])], "my_style", 4),
            (&[("emb_params", &[2, 768])], "my-word", 2),
            (&[("string_to_param.*", &[3, 768])], "my-word", 3),
            (&[("string_to_param.*", &[3, 768]), ("string_to_token.*", &[1])], "my-word", 3),
            (&[("clip_l", &[5, 768])], "my-word", 5),
        ] {
            let found = read(tensors).unwrap();
            assert_eq!(
                (found.called(None).unwrap().as_str(), found.vectors(), found.width()),
                (word, vectors, 768)
            );
            assert_eq!(found.called(Some(" other ")).unwrap(), "other");
        }
    }

    #[test]
    fn what_is_no_embedding_is_said_to_be_what_it_is() {
        for (tensors, expected) in [
            (&[("clip_g", &[2, 1280][..]), ("clip_l", &[2, 768][..])][..], "clip_g (1280 wide)"),
            (&[("emb_params", &[2, 3, 4])], "the shape [2, 3, 4]"),
            (&[("emb_params", &[0, 768])], "the shape [0, 768]"),
            (&[], "holds no tensors"),
            (&[("a", &[2, 2]), ("b", &[2, 2])], "holds 2 tensors, a the first"),
        ] {
            let error = read(tensors).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let pickle = Embedding::from_bytes(Path::new("a.pt"), b"PK\x03\x04").unwrap_err().to_string();
        assert!(pickle.contains("pickle") && pickle.contains(".safetensors"), "{pickle}");
        let found = read(&[("(odd)", &[2, 768])]).unwrap();
        assert_eq!(found.called(None).unwrap(), "my-word", "a word that no prompt can hold is not taken");
        for word in ["", "a:b", "(a)", "a\\", "a\nb", "BREAK", &"x".repeat(65)] {
            assert!(found.called(Some(word)).is_err(), "{word:?}");
        }
    }
}
