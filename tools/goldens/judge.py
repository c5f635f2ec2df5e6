"""Goldens of the judge: transformers' CLIPModel and Dinov2Model and OpenAI's image tower with CSD's projection, all small
and random, on images of many sizes and some texts.

Writes crates/engine/tests/goldens/judge/: clip/, dinov2/ and csd.safetensors as `Judge` opens them, features.safetensors.

    python tools/goldens/judge.py
"""

import importlib.util
import json
import shutil
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import save_file
from safety import SIDE, images
from tiny import OUT, randomise, write_tokenizer
from transformers import CLIPConfig, CLIPModel, Dinov2Config, Dinov2Model
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

FOLDER = OUT / "judge"
TEXTS = ["red flower", "", "white moons and small leaves on a dark blue ground", "the stars of the night " * 30]
LAYERS, MAP_AFTER = 4, 3
normalize = torch.nn.functional.normalize


def openai_tower(**sizes):
    """Package openai-clip's image tower; the package itself cannot be imported where setuptools is new."""
    folder = Path(importlib.util.find_spec("clip").origin).parent
    spec = importlib.util.spec_from_file_location("clip_model", folder / "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.VisionTransformer(**sizes)


def dinov2(taken):
    """Trained on 6×6 patches, used on 4×4 as Dinov2's own processor crops them: positions are interpolated."""
    config = Dinov2Config(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=3, mlp_ratio=2, image_size=42, patch_size=7, layerscale_value=1.0
    )
    model = randomise(Dinov2Model(config), seed=83).eval()
    for name, parameter in model.named_parameters():
        if "lambda1" in name or name.endswith(("cls_token", "position_embeddings")):
            parameter.copy_(5 * parameter)
    processor = BitImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": SIDE, "width": SIDE}, resample=3,
        image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225],
    )  # fmt: skip
    pixels = torch.cat([processor(Image.fromarray(image), return_tensors="pt").pixel_values for image in taken])
    places = model(pixels).last_hidden_state[:, 1:]
    model.save_pretrained(FOLDER / "dinov2")
    processor.save_pretrained(FOLDER / "dinov2")
    return normalize(normalize(places, dim=-1).flatten(1), dim=-1)


def csd(pixels):
    tower = openai_tower(input_resolution=SIDE, patch_size=7, width=128, layers=1, heads=2, output_dim=16)
    tower = randomise(tower, seed=85).eval()
    for parameter in tower.parameters():
        parameter.copy_(parameter.half().float())
    style, tower.proj = tower.proj.detach().clone(), None
    state = {f"backbone.{name}": tensor.half() for name, tensor in tower.state_dict().items()}
    state |= {"last_layer_style": style.half(), "last_layer_content": torch.zeros_like(style).half()}
    save_file(state, FOLDER / "csd.safetensors")
    return normalize(tower(pixels) @ style, dim=-1)


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
    places = normalize(states[MAP_AFTER][:, 1:], dim=-1)
    tensors = {f"{i}.image": torch.from_numpy(image) for i, image in enumerate(taken)}
    middle = states[LAYERS // 2][:, 1:]
    style = torch.cat([middle.mean(1), middle.std(1, correction=0)], dim=-1)
    tensors |= {
        "image_embeds": both.image_embeds.contiguous(),
        "text_embeds": both.text_embeds.contiguous(),
        "styles": normalize(style, dim=-1).contiguous(),
        "maps": normalize(places.flatten(1), dim=-1).contiguous(),
    }
    tensors |= {"dinov2_maps": dinov2(taken).contiguous(), "csd_styles": csd(pixels).contiguous()}
    model.save_pretrained(FOLDER / "clip")
    processor.save_pretrained(FOLDER / "clip")
    save_file(tensors, FOLDER / "features.safetensors", {"texts": json.dumps(TEXTS)})


if __name__ == "__main__":
    main()
