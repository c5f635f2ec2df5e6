"""Small random models in Hugging Face layout, for goldens. Imported by modules.py and images.py.

Every parameter is drawn from one seeded generator in the order of its name, scaled so that activations keep a
standard deviation near one: an error in any layer then shows in the output.
"""

import json
import random
import unicodedata
from collections import Counter
from pathlib import Path

import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

OUT = Path(__file__).resolve().parents[2] / "crates/engine/tests/goldens"

# Text whose frequent pairs become the merges of the small vocabulary.
CORPUS = """indigo cloth with white moons and small leaves on a dark blue ground, resist dyed, hand drawn
a large red flower in a ring of yellow dots, the stars of the night, don't, it's, we're, they've, I'm, she'll
bright colours and fine lines, scattered birds, crosses, diamonds, waves, the river and the market
Ọ̀ṣun àdìrẹ ẹlẹ́kọ naïve café über straße 2024 3000 photo of a house in the forest at dusk, highly detailed"""


def byte_characters():
    """GPT-2's printable stand-ins for the 256 bytes."""
    kept = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    characters, extra = {b: chr(b) for b in kept}, 0
    for b in range(256):
        if b not in characters:
            characters[b] = chr(256 + extra)
            extra += 1
    return characters


def write_tokenizer(folder, merges_wanted=160, without="", **special):
    """A CLIP-format vocabulary: bytes, bytes at the end of a word, merges, special tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    characters = byte_characters()
    alphabet = [characters[b] for b in sorted(characters, key=lambda b: characters[b])]
    words = Counter()
    for word in unicodedata.normalize("NFC", CORPUS).lower().split():
        spelled = [characters[b] for b in word.encode()]
        spelled[-1] += "</w>"
        words[tuple(spelled)] += 1
    merges = []
    for _ in range(merges_wanted):
        pairs = Counter()
        for word, count in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += count
        best = min(pairs, key=lambda p: (-pairs[p], p))
        merges.append(best)
        merged = Counter()
        for word, count in words.items():
            out, i = [], 0
            while i < len(word):
                if word[i : i + 2] == best:
                    out.append(best[0] + best[1])
                    i += 2
                else:
                    out.append(word[i])
                    i += 1
            merged[tuple(out)] += count
        words = merged
    entries = alphabet + [c + "</w>" for c in alphabet] + [a + b for a, b in merges]
    # A vocabulary with gaps must not have merges that need what is missing.
    merges = [m for m in merges if not any(c in "".join(m) for c in without)]
    entries = [e for e in entries if not any(c in e for c in without)]
    entries += ["<|startoftext|>", "<|endoftext|>"]
    vocab = {entry: i for i, entry in enumerate(dict.fromkeys(entries))}
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(f"{a} {b}" for a, b in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    tokens = {
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        **special,
    }
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True, **tokens}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2))
    (folder / "special_tokens_map.json").write_text(json.dumps(tokens, indent=2))
    return CLIPTokenizer.from_pretrained(folder)


@torch.no_grad()
def randomise(model, seed, gain=1.0):
    """Fan-in scaled weights, norms around one, biases and embeddings that matter."""
    generator = torch.Generator("cpu").manual_seed(seed)
    for name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator)
        if "norm" in name and name.endswith("weight"):
            parameter.copy_(1 + 0.2 * noise)
        elif "embedding" in name and "time_embedding" not in name:
            parameter.copy_(0.7 * noise)
        elif parameter.dim() <= 1:
            parameter.copy_(0.2 * noise)
        else:
            fan_in = parameter[0].numel()
            parameter.copy_(noise * gain / fan_in**0.5)
    return model.eval()


def text_encoder(vocab_size, seed, **changes):
    sizes = dict(
        vocab_size=vocab_size,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=77,
        projection_dim=32,
        bos_token_id=vocab_size - 2,
        eos_token_id=vocab_size - 1,
        pad_token_id=vocab_size - 1,
    )
    return randomise(CLIPTextModel(CLIPTextConfig(**{**sizes, **changes})), seed)


def prompts(count=120):
    """Hand-picked text and seeded noise over many scripts."""
    picked = [
        "",
        " ",
        "a photo of a cat",
        "Indigo CLOTH, with White Moons!!",
        "  spaces\tand\nnew   lines \u00a0\u3000 everywhere  ",
        "don't it's we're they've I'm she'll he'd DON'T",
        "2024 3000x 1.5 (a:1.2) ((b)) [c] 50%",
        "naïve café über straße İSTANBUL ΑΒΓς Ọ̀ṣun àdìrẹ ẹlẹ́kọ",
        "e\u0301 vs \u00e9, \u1e9b\u0323, ﬁ ligature, ½ ² Ⅷ ①",
        "中文 日本語 テスト 한국어 ไทย हिन्दी עברית العربية",
        "emoji 🎨👩‍👩‍👧‍👦🏳️‍🌈 ✨❤️",
        "<|startoftext|>inside<|endoftext|> text <|ENDOFTEXT|>",
        "underscore_and-dash/slash\\back `tick` ~tilde^ @#$%&*",
        "zero\u200bwidth\u200djoiner \ufeffbom \u0000nul \u001f",
        "word " * 90,
        ("x" * 300) + " y",
        "🎨" * 60,
        "a" * 75,
        "one, " * 37 + "two",
    ]
    source = random.Random(7)
    ranges = [(32, 126)] * 6 + [(160, 591), (880, 1279), (0x4E00, 0x4E80), (0x1F300, 0x1F6FF), (0x300, 0x36F)]
    while len(picked) < count:
        text = ""
        for _ in range(source.randint(1, 40)):
            low, high = source.choice(ranges)
            text += chr(source.randint(low, high))
        picked.append(text)
    return picked
