"""Writes trained parts as a Hugging Face folder."""

import copy
import json
import shutil
from pathlib import Path

import torch
from diffusers import PNDMScheduler, StableDiffusionPipeline
from safetensors.torch import load_file, save_file
from transformers import CLIPImageProcessor, CLIPModel, CLIPTextModel, CLIPTokenizer

from parts import SCHEDULE

SCHEDULER = dict(**SCHEDULE, prediction_type="epsilon", set_alpha_to_one=False, skip_prk_steps=True, steps_offset=1)
TOKENIZER_FILES = ("vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json")


def text_tower(whole: CLIPModel) -> CLIPTextModel:
    tower = CLIPTextModel(whole.config.text_config)
    tower.load_state_dict(whole.text_model.state_dict())
    return tower


def write(folder: Path, vae, whole: CLIPModel, unet, tokenizer: Path):
    """`whole` is the CLIP whose text tower is the text encoder, `tokenizer` the folder of its tokenizer."""
    scheduler = PNDMScheduler(**SCHEDULER)
    # SD 1.5's own configuration names it although PNDM has no use for it; other schedulers made from it have.
    scheduler.register_to_config(clip_sample=False)
    StableDiffusionPipeline(
        vae=vae, text_encoder=text_tower(whole), tokenizer=CLIPTokenizer.from_pretrained(tokenizer), unet=unet,
        scheduler=scheduler, safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    ).to(dtype=torch.float16).save_pretrained(folder, safe_serialization=True)  # fmt: skip
    # Recent transformers leave out the prefix that every SD 1.5 folder has; they read both.
    weights = folder / "text_encoder/model.safetensors"
    save_file({f"text_model.{k}": v for k, v in load_file(weights).items()}, weights, metadata={"format": "pt"})
    # Loaders that go by this entry would give the text encoder alone half precision.
    config = folder / "text_encoder/config.json"
    config.write_text(config.read_text().replace('"float16"', '"float32"'))
    _copy_tokenizer(tokenizer, folder / "tokenizer")
    (folder / "tokenizer/tokenizer.json").unlink(missing_ok=True)
    write_clip(folder, whole, tokenizer)
    for file in folder.rglob("*.safetensors"):
        file.chmod(0o644)


def write_clip(folder: Path, whole: CLIPModel, tokenizer: Path):
    """The whole CLIP with its tokenizer: what judges images."""
    copy.deepcopy(whole).half().save_pretrained(folder / "clip", safe_serialization=True)
    _copy_tokenizer(tokenizer, folder / "clip")
    side = whole.config.vision_config.image_size
    # Training shrinks by area; bicubic with antialiasing, which every CLIP implementation has, is near enough.
    CLIPImageProcessor(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side},
        resample=3, image_mean=[0.5] * 3, image_std=[0.5] * 3,
    ).save_pretrained(folder / "clip")  # fmt: skip
    config = folder / "clip/config.json"
    config.write_text(config.read_text().replace('"float16"', '"float32"'))
    (folder / "clip/model.safetensors").chmod(0o644)


def _copy_tokenizer(source: Path, target: Path):
    for name in TOKENIZER_FILES:
        shutil.copy(source / name, target / name)


def summary(folder: Path, parts) -> str:
    size = sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
    return json.dumps({"folder": str(folder), "weights_mb": round(size / 1e6, 1), "parts": list(parts)})
