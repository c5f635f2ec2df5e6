//! A1111's prompt syntax against A1111's own results (`tools/goldens/prompts.py`).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(unreachable_pub, reason = "each test file uses a part")]
mod common;

use adire_engine::{EngineError, TextEncoder, Tokenizer, Words, context, prompt};
use candle_core::{DType, Device};
use common::{assert_close, golden, relative_error, tensors};
use serde::Deserialize;

#[derive(Deserialize)]
struct Goldens {
    parsed: Vec<(String, Vec<(String, f64)>)>,
    chunked: Vec<Chunked>,
    contexts: Vec<Context>,
}

#[derive(Deserialize)]
struct Chunked {
    name: String,
    prompt: String,
    count: u32,
    ids: Vec<Vec<u32>>,
    weights: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
struct Context {
    name: String,
    prompt: String,
    negative: String,
    clip_skip: usize,
}

fn goldens() -> Goldens {
    serde_json::from_slice(&std::fs::read(golden("prompts.json")).unwrap()).unwrap()
}

fn tokenizer() -> Tokenizer {
    Tokenizer::load(&golden("pipeline/tokenizer"), 77).unwrap()
}

fn encoder() -> TextEncoder {
    TextEncoder::load(&golden("pipeline/text_encoder"), DType::F32, &Device::Cpu).unwrap()
}

#[test]
fn spans_and_weights_are_a1111s() {
    let Goldens { parsed, .. } = goldens();
    assert!(parsed.len() > 100);
    for (text, expected) in parsed {
        let found = prompt::parse(&text);
        let texts: Vec<&str> = found.iter().map(|span| span.text.as_str()).collect();
        let wanted: Vec<&str> = expected.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(texts, wanted, "{text:?}");
        for (span, (_, weight)) in found.iter().zip(&expected) {
            assert!((span.weight - weight).abs() <= 1e-12 * weight.abs(), "{text:?}: {span:?}, not {weight}");
        }
    }
}

#[test]
fn chunks_are_a1111s() {
    let tokenizer = tokenizer();
    for Chunked { name, prompt, count, ids, weights } in goldens().chunked {
        let chunks = tokenizer.chunks(&prompt, &Words::default()).unwrap();
        let found: Vec<_> = chunks.iter().map(|chunk| chunk.ids.clone()).collect();
        assert_eq!(found, ids, "{name}");
        let found: Vec<_> = chunks.iter().map(|chunk| chunk.weights.clone()).collect();
        assert_eq!(found, weights, "{name}");
        let size = tokenizer.count(&prompt, &Words::default()).unwrap();
        assert_eq!((size.tokens, size.chunks as usize), (count, ids.len()), "{name}");
        assert_eq!(size.capacity, 75 * size.chunks, "{name}");
    }
}

#[test]
fn contexts_are_a1111s() {
    let (tokenizer, encoder, expected) = (tokenizer(), encoder(), tensors("prompts.safetensors"));
    let Goldens { contexts, .. } = goldens();
    assert_eq!(contexts.len(), expected.len());
    for Context { name, prompt, negative, clip_skip } in contexts {
        let found = context(&tokenizer, &encoder, &[negative, prompt], clip_skip).unwrap();
        assert_close(&name, &found, &expected[&name]);
    }
}

#[test]
fn an_unweighted_prompt_is_the_text_encoders_own_output() {
    let (tokenizer, encoder) = (tokenizer(), encoder());
    let text = "a large red flower".to_owned();
    let plain = encoder.forward(&[tokenizer.encode(&text).unwrap().ids]).unwrap();
    let same = |prompt: &str| {
        let found = context(&tokenizer, &encoder, &[prompt.to_owned()], 1).unwrap();
        relative_error(&found, &plain)
    };
    assert_eq!(same(&text), 0.0);
    assert_eq!(same("a (large:1.0) red flower"), 0.0);
    assert!(same("a (large:1.1) red flower") > 1e-3);
}

#[test]
fn clip_skip_counts_the_models_layers() {
    let (tokenizer, encoder) = (tokenizer(), encoder());
    assert_eq!(encoder.layers(), 2);
    for clip_skip in [0, 3, usize::MAX] {
        match context(&tokenizer, &encoder, &["red".to_owned()], clip_skip) {
            Err(EngineError::Request(message)) => assert!(message.contains("to 2; got"), "{message}"),
            other => panic!("{clip_skip} was taken: {other:?}"),
        }
    }
}

#[test]
fn a_prompt_without_end_is_refused_and_counted() {
    let (tokenizer, encoder) = (tokenizer(), encoder());
    let most = "BREAK ".repeat(32);
    assert_eq!(tokenizer.chunks(&most, &Words::default()).unwrap().len(), 32);
    let endless = "\u{1f3a8}".repeat(10_000);
    let size = tokenizer.count(&endless, &Words::default()).unwrap();
    assert!(size.chunks > 100 && size.tokens <= size.capacity && size.most_chunks == 32, "{size:?}");
    match context(&tokenizer, &encoder, &[endless], 1) {
        Err(EngineError::Request(message)) => assert!(message.contains("at most 32 chunks"), "{message}"),
        other => panic!("it was read: {other:?}"),
    }
}

/// Weights whose mean is nothing, or next to nothing, must not become NaN.
#[test]
fn every_weight_gives_numbers() {
    let (tokenizer, encoder) = (tokenizer(), encoder());
    for prompt in
        ["(a:0)", "(a large red flower:-1)", "(a:999999999)", "(a:-1000) (b:1000)", &"(".repeat(300)]
    {
        let found = context(&tokenizer, &encoder, &[prompt.to_owned()], 1).unwrap();
        let values = found.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(values.iter().all(|x| x.is_finite()), "{prompt}");
    }
}
