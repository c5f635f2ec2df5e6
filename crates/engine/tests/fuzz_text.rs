//! Prompts that mean harm, and adapter keys: a corpus of real ones is mutated from a fixed seed. No panic, no more
//! memory than the text warrants, and weights that stay numbers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, unreachable_pub, reason = "each test file uses a part")]
mod common;
#[path = "common/counting.rs"]
mod counting;

use std::path::Path;

use adire_engine::{EngineError, Tokenizer, Words, adapter::Adapter, prompt};
use adire_protocol::{infotext, lora_tag};
use common::golden;
use counting::largest;

/// Knuth's MMIX generator: the same mutations at every run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % n.max(1) as u64) as usize
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

const PROMPTS: [&str; 14] = [
    "a photo of a cat, (highly detailed:1.3), [blurry], ((sharp))",
    "one BREAK two BREAK (three BREAK four:0.5)",
    "red <lora:adire@v2:0.8:0.4> moons <lyco:x:te=1:unet=-2>",
    r"escaped \(brackets\) \[and\] \\ backslashes \",
    "(((((((((((((((((((nested)))))))))))))))))))",
    "[[[[[[[[[[unbalanced ((((",
    ")))] stray ]:1.2)",
    "(a:1.2.3) (b:nan) (c:inf) (d:-1) (e:1e309) (f:)",
    "Ọ̀ṣun àdìrẹ ẹlẹ́kọ 藍染め 🎨👩‍👩‍👧‍👦 e\u{301}\u{200b}\u{feff}",
    "<|startoftext|> inside <|endoftext|>",
    "a cat\nNegative prompt: dog\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512",
    "Steps: 1, Seed: 2, Size: 3x4, Hires upscale: 2, Hires resize: 9x9, Denoising strength: 0.5",
    "x\nSteps: 1, Model: \"a \\\"quoted\\\", one\", Lora hashes: \"a: 0, b: 1\", Version: v1.10.1",
    "",
];
const PIECES: [&str; 26] = [
    "(",
    ")",
    "[",
    "]",
    ":",
    "\\",
    "<",
    ">",
    "<lora:",
    ":1.5)",
    ":-999999999)",
    ":0.0000001)",
    "BREAK",
    " BREAK ",
    ",",
    "\"",
    "\n",
    "\u{0}",
    "\u{10ffff}",
    "\u{301}",
    "e",
    "999999999999999999999",
    ": ",
    "x",
    "Size: ",
    "Negative prompt:",
];

/// Cuts, doubles, inserts, swaps; sometimes repeats a piece until the text is long.
fn mutated(random: &mut Random, corpus: &[String], pieces: &[&str], longest: usize) -> String {
    let mut text: Vec<char> = random.pick(corpus).chars().collect();
    for _ in 0..=random.below(6) {
        let at = random.below(text.len() + 1);
        match random.below(6) {
            0 => text.truncate(at),
            1 => {
                let piece = random.pick(pieces).chars();
                text.splice(at..at, piece);
            }
            2 => {
                let (piece, times) = (random.pick(pieces), 1 << random.below(11));
                text.splice(at..at, piece.repeat(times).chars());
            }
            3 => {
                let other: Vec<char> = random.pick(corpus).chars().collect();
                let from = random.below(other.len() + 1);
                text.splice(at.., other[from..].iter().copied());
            }
            4 if !text.is_empty() => {
                let (a, b) = (random.below(text.len()), random.below(text.len()));
                text.swap(a, b);
            }
            _ if at < text.len() => {
                text[at] = char::from_u32(random.below(0x3000) as u32).unwrap_or('\u{fffd}')
            }
            _ => {}
        }
    }
    text.truncate(longest);
    text.into_iter().collect()
}

#[test]
fn hostile_prompts() {
    let tokenizer = Tokenizer::load(&golden("tokenizer"), 77).unwrap();
    let corpus: Vec<String> = PROMPTS.map(str::to_owned).into();
    let mut random = Random(41);
    let mut refused = 0;
    // Words that stand for vectors, among them some that overlap and one that fills a chunk.
    let words = [("a", 3), ("red", 75), ("a red", 2), (",", 1), ("<|endoftext|>", 5)];
    let words = [Words::default(), Words::new(&tokenizer, words).unwrap()];
    for _ in 0..800 {
        let text = mutated(&mut random, &corpus, &PIECES, 20_000);
        let ((), most) = largest(|| {
            for span in prompt::parse(&text) {
                assert!(span.weight.is_finite() && span.weight.abs() <= 1000.0, "{text:?}: {}", span.weight);
            }
            for tag in lora_tag::find(&text) {
                assert!(text.is_char_boundary(tag.range.start) && text.is_char_boundary(tag.range.end));
                if let Err(sentence) = tag.adapter {
                    assert!(sentence.len() > 10, "{sentence}");
                }
            }
            let _ = infotext::parse(&text);
            let words = &words[random.below(2)];
            match tokenizer.chunks(&text, words) {
                Ok(chunks) => {
                    assert!((1..=32).contains(&chunks.len()));
                    for chunk in chunks {
                        assert_eq!((chunk.ids.len(), chunk.weights.len()), (77, 77), "{text:?}");
                        // Every vector of a word stands in the same chunk, in order.
                        for pair in chunk.vectors.windows(2) {
                            let goes_on = pair[1].row == pair[0].row + 1 && pair[1].at == pair[0].at + 1;
                            assert!(goes_on || pair[1].row == 0, "{text:?}: {pair:?}");
                        }
                        assert!(chunk.weights.iter().all(|weight| weight.is_finite()), "{text:?}");
                    }
                }
                Err(EngineError::Request(message)) => {
                    refused += 1;
                    assert!(message.contains("at most 32 chunks"), "{message}");
                }
                Err(error) => panic!("{text:?}: {error}"),
            }
        });
        // The tokenizer's own tables of offsets and pieces take a few hundred bytes for each byte of text.
        let bound = 1024 * text.len() + (4 << 20);
        assert!(most <= bound, "allocated {most} bytes for {} bytes: {text:?}", text.len());
    }
    assert!(refused > 0, "no prompt was too long: the corpus is too tame");
}

/// A module and its parts, as every writer names them.
const KEYS: [(&str, &[&str]); 12] = [
    (
        "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q",
        &[".lora_down.weight", ".lora_up.weight"],
    ),
    ("lora_te_text_model_encoder_layers_0_mlp_fc1", &[".lora_down.weight", ".lora_up.weight", ".alpha"]),
    ("lora_te1_encoder_layers_0_mlp_fc1", &[".lora_down.weight", ".lora_up.weight", ".dora_scale"]),
    (
        "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q",
        &[".lora_A.weight", ".lora_B.weight"],
    ),
    (
        "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_out_lora",
        &[".up.weight", ".down.weight"],
    ),
    (
        "text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_linear_layer",
        &[".down.weight", ".up.weight"],
    ),
    (
        "base_model.model.down_blocks.0.resnets.0.conv1",
        &[".lora_A.weight", ".lora_B.weight", ".lora_magnitude_vector"],
    ),
    ("unet:0", &[":up", ":down"]),
    ("text_encoder:11", &[":down", ":up"]),
    ("lora_unet_mid_block_attentions_0_proj_in", &[".hada_w1_a", ".hada_w1_b", ".hada_w2_a", ".hada_w2_b"]),
    ("lora_unet_mid_block_attentions_0_proj_in", &[".lokr_w1", ".lokr_w2_a", ".lokr_w2_b", ".alpha"]),
    ("lora_unet_conv_in", &[".lora_down.weight", ".lora_mid.weight", ".lora_up.weight"]),
];
const KEY_PIECES: [&str; 18] = [
    ".",
    "..",
    "_",
    ":",
    "lora_unet_",
    "lora_te_",
    "unet.",
    "base_model.model.",
    ".alpha",
    ".lora_down.weight",
    ".weight",
    "18446744073709551616",
    "-1",
    "0",
    "\u{0}",
    "\u{10ffff}",
    "é",
    "text_model.",
];

/// A safetensors file with these names, each a small matrix.
fn file(names: &[String]) -> Vec<u8> {
    let (mut header, mut start) = (serde_json::Map::new(), 0);
    for name in names {
        if header.contains_key(name) {
            continue;
        }
        let shape: &[usize] = if name.ends_with("alpha") { &[1] } else { &[2, 2] };
        let end = start + 4 * shape.iter().product::<usize>();
        let entry = serde_json::json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, end] });
        header.insert(name.clone(), entry);
        start = end;
    }
    let json = serde_json::Value::Object(header).to_string();
    let data = (0..start / 4).flat_map(|i| (i as f32 * 0.01 + 0.1).to_le_bytes());
    (json.len() as u64).to_le_bytes().into_iter().chain(json.bytes()).chain(data).collect()
}

#[test]
fn hostile_keys() {
    let (mut random, mut taken, path) = (Random(42), 0, Path::new("some/adapter.safetensors"));
    for _ in 0..1500 {
        let mut names = Vec::new();
        for _ in 0..=random.below(3) {
            let (module, parts) = *random.pick(&KEYS);
            for part in parts {
                let name = format!("{module}{part}");
                // Most of them as they are, so that whole modules come about.
                names.push(match random.below(8) {
                    0 => mutated(&mut random, &[name], &KEY_PIECES, 4000),
                    1 => format!("{}{part}", mutated(&mut random, &[module.to_owned()], &KEY_PIECES, 4000)),
                    _ => name,
                });
            }
        }
        let bytes = file(&names);
        let (result, most) = largest(|| Adapter::from_bytes(path, &bytes));
        assert!(most <= 64 * bytes.len() + (4 << 20), "allocated {most} bytes for {}", bytes.len());
        match result {
            Ok(adapter) => {
                taken += 1;
                for module in adapter.modules() {
                    assert!(module.scale.is_finite() && module.rank > 0, "{names:?}");
                }
            }
            Err(EngineError::Adapter { path: named, message }) => {
                assert!(named == path && message.len() > 10, "{message}");
            }
            Err(error) => panic!("{names:?}: {error}"),
        }
    }
    assert!(taken > 200, "only {taken} of the files were adapters");
}
