"""Goldens of the judge: transformers' CLIPModel on a small random CLIP, images of many sizes and some texts.

Writes crates/engine/tests/goldens/judge/: clip/ as `Judge` opens it, and features.safetensors.

    python tools/goldens/judge.py
"""

import json
import shutil

import torch
from PIL import Image
from safetensors.torch import save_file
from safety import SIDE, images
from tiny import OUT, randomise, write_tokenizer
from transformers import CLIPConfig, CLIPModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

FOLDER = OUT / "judge"
TEXTS = ["red flower", "", "white moons and small leaves on a dark blue ground", "the stars of the night " * 30]
LAYERS, MAP_AFTER = 4, 3


@torch.no_grad()
def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    tokenizer = write_tokenizer(FOLDER / "clip")
    vision = dict(
        hidden_size=32, intermediate_size=48, num_hidden_layers=LAYERS, num_attention_heads=4, image_size=SIDE, patch_size=7
    )
    text = dict(
        hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=3, vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    config = CLIPConfig(vision_config=vision, text_config=text, projection_dim=12)
    model = randomise(CLIPModel(config), seed=81).eval()
    processor = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    taken = list(images())
    pixels = processor([Image.fromarray(image) for image in taken], return_tensors="pt").pixel_values
    tokens = tokenizer(TEXTS, padding="max_length", max_length=77, truncation=True, return_tensors="pt")
    both = model(input_ids=tokens.input_ids, pixel_values=pixels)
    states = model.vision_model(pixels, output_hidden_states=True).hidden_states
    assert len(states) == LAYERS + 1 and MAP_AFTER == -(-2 * LAYERS // 3)
    places = torch.nn.functional.normalize(states[MAP_AFTER][:, 1:], dim=-1)
    tensors = {f"{i}.image": torch.from_numpy(image) for i, image in enumerate(taken)}
    middle = states[LAYERS // 2][:, 1:]
    style = torch.cat([middle.mean(1), middle.std(1, correction=0)], dim=-1)
    tensors |= {
        "image_embeds": both.image_embeds.contiguous(),
        "text_embeds": both.text_embeds.contiguous(),
        "styles": torch.nn.functional.normalize(style, dim=-1).contiguous(),
        "maps": torch.nn.functional.normalize(places.flatten(1), dim=-1).contiguous(),
    }
    model.save_pretrained(FOLDER / "clip")
    processor.save_pretrained(FOLDER / "clip")
    save_file(tensors, FOLDER / "features.safetensors", {"texts": json.dumps(TEXTS)})


if __name__ == "__main__":
    main()
