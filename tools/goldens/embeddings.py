"""Goldens of textual inversions: contexts as diffusers' load_textual_inversion gives them.

Needs the model folder that images.py writes. Writes crates/engine/tests/goldens/embeddings/: the same three vectors
as diffusers, kohya's scripts, A1111 (converted) and ComfyUI write them, one single vector, and contexts.safetensors.

    python tools/goldens/embeddings.py
"""

import json

import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file
from tiny import OUT

FOLDER = OUT / "embeddings"
PROMPTS = {
    "middle": "a large red <my-style> flower",
    "twice, at both ends": "<my-style> moons and dots <my-style>",
    "before a comma": "white moons by <my-style>, the stars of the night",
    "two embeddings": "one <dot> in <my-style> and another <dot>",
}


@torch.no_grad()
def main():
    FOLDER.mkdir(exist_ok=True)
    pipe = StableDiffusionPipeline.from_pretrained(OUT / "pipeline", safety_checker=None)
    width = pipe.text_encoder.config.hidden_size
    generator = torch.Generator("cpu").manual_seed(15)
    # As large as the vocabulary's own.
    spread = pipe.text_encoder.get_input_embeddings().weight.std()
    style = torch.randn((3, width), generator=generator) * spread
    dot = torch.randn((width,), generator=generator) * spread
    files = {
        "diffusers.safetensors": {"<my-style>": style},
        "dot.safetensors": {"<dot>": dot},
        "my-style.safetensors": {"emb_params": style},
        "string_to_param.safetensors": {"string_to_param.*": style},
        "clip_l.safetensors": {"clip_l": style},
    }
    for name, tensors in files.items():
        save_file(tensors, FOLDER / name)
    pipe.load_textual_inversion(FOLDER / "diffusers.safetensors")
    pipe.load_textual_inversion(FOLDER / "dot.safetensors")
    contexts = {}
    for name, prompt in PROMPTS.items():
        context, _ = pipe.encode_prompt(prompt, "cpu", 1, False)
        plain, _ = pipe.encode_prompt(prompt.replace("<my-style>", "ring").replace("<dot>", "ring"), "cpu", 1, False)
        assert (context - plain).abs().max() > 0.1, "the embedding has no effect"
        contexts[name] = context.contiguous()
    save_file(contexts, FOLDER / "contexts.safetensors")
    (FOLDER / "prompts.json").write_text(json.dumps(PROMPTS, indent=1) + "\n")


main()
