"""Writes the trained parts as a Hugging Face folder: python export.py models/starter

With --untrained the same folder with random weights, for testing loaders before anything is trained.
"""

import argparse
import copy
import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline
from safetensors.torch import load_file, save_file
from transformers import CLIPImageProcessor, CLIPTextModel

import clip
import unet
import vae
import tokenizer
from common import WORK

SCHEDULER = dict(**SCHEDULE, prediction_type="epsilon", set_alpha_to_one=False, skip_prk_steps=True, steps_offset=1)


def text_tower(whole) -> CLIPTextModel:
    tower = CLIPTextModel(whole.config.text_config)
    tower.load_state_dict(whole.text_model.state_dict())
    return tower


def export(folder: Path, untrained: bool):
    torch.manual_seed(0)
    pick = (lambda part: part.build()) if untrained else (lambda part: part.trained())
    whole = pick(clip)
    scheduler = PNDMScheduler(**SCHEDULER)
    # SD 1.5's own configuration names it although PNDM has no use for it; other schedulers made from it have.
    scheduler.register_to_config(clip_sample=False)
    pipeline = StableDiffusionPipeline(
        vae=pick(vae), text_encoder=text_tower(whole), tokenizer=tokenizer.TOKENIZER, unet=pick(unet),
        scheduler=scheduler, safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    ).to(dtype=torch.float16)  # fmt: skip
    pipeline.save_pretrained(folder, safe_serialization=True)
    # Recent transformers leave out the prefix that every SD 1.5 folder has; they read both.
    weights = folder / "text_encoder/model.safetensors"
    save_file({f"text_model.{k}": v for k, v in load_file(weights).items()}, weights, metadata={"format": "pt"})
    # Loaders that go by this entry would give the text encoder alone half precision.
    config = folder / "text_encoder/config.json"
    config.write_text(config.read_text().replace('"float16"', '"float32"'))
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(WORK / "tokenizer" / name, folder / "tokenizer" / name)
    (folder / "tokenizer/tokenizer.json").unlink(missing_ok=True)
    export_clip(folder, whole)
    for file in folder.rglob("*.safetensors"):
        file.chmod(0o644)


def export_clip(folder: Path, whole):
    """The whole CLIP with its tokenizer: what judges images."""
    copy.deepcopy(whole).half().save_pretrained(folder / "clip", safe_serialization=True)
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(WORK / "tokenizer" / name, folder / "clip" / name)
    # Training shrinks by area; bicubic with antialiasing, which every CLIP implementation has, is near enough.
    CLIPImageProcessor(
        size={"shortest_edge": clip.IMAGE}, crop_size={"height": clip.IMAGE, "width": clip.IMAGE},
        resample=3, image_mean=[0.5] * 3, image_std=[0.5] * 3,
    ).save_pretrained(folder / "clip")  # fmt: skip
    config = folder / "clip/config.json"
    config.write_text(config.read_text().replace('"float16"', '"float32"'))
    (folder / "clip/model.safetensors").chmod(0o644)


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("folder", type=Path)
    options.add_argument("--untrained", action="store_true")
    options = options.parse_args()
    export(options.folder, options.untrained)
    loaded = StableDiffusionPipeline.from_pretrained(options.folder)
    with torch.no_grad():  # the text encoder on disk says what the trained one says
        ids = tokenizer.encode(["large white stars on blue cloth"])
        there = loaded.text_encoder(ids).last_hidden_state
        here = (clip.build() if options.untrained else clip.trained()).text_model(ids).last_hidden_state
    assert options.untrained or (there - here).abs().max() < 0.05, (there - here).abs().max()
    size = sum(file.stat().st_size for file in options.folder.rglob("*.safetensors"))
    print(json.dumps({"folder": str(options.folder), "weights_mb": round(size / 1e6, 1), "parts": list(loaded.components)}))
