"""Writes the trained parts as a Hugging Face folder, with the second judge and the adapter for 4 steps:
python -m cloth.export ../../models/starter

With --untrained the same folder with random weights, for measuring how fast it is.
"""

import argparse
import json
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file

import folder as hub
from common import WORK

from . import clip, fast, judge, tokens, unet, vae

ABOUT = Path(__file__).with_name("adire.json")  # what the studio offers with the model


def export(target: Path, untrained: bool):
    torch.manual_seed(0)
    pick = (lambda part: part.build()) if untrained else (lambda part: part.trained())
    tokens.tokenizer()
    hub.write(target, pick(vae), pick(clip), pick(unet), WORK / "tokenizer")
    (target / "judge").mkdir(exist_ok=True)
    save_file({k: v.half() for k, v in pick(judge).state_dict().items()}, target / "judge/model.safetensors")
    if not untrained:
        (target / "adapters").mkdir(exist_ok=True)
        weights = {key: value.half() for key, value in fast.trained().items()}
        StableDiffusionPipeline.save_lora_weights(
            target / "adapters", unet_lora_layers=weights, weight_name="fast-v1.safetensors"
        )
    about = json.loads(ABOUT.read_text())
    # Those that have been trained.
    about["adapters"] = [one for one in about["adapters"] if (target / one["file"]).exists()]
    (target / ABOUT.name).write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n")
    for file in target.rglob("*.safetensors"):
        file.chmod(0o644)


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("folder", type=Path)
    options.add_argument("--untrained", action="store_true")
    options = options.parse_args()
    export(options.folder, options.untrained)
    loaded = StableDiffusionPipeline.from_pretrained(options.folder)
    print(hub.summary(options.folder, loaded.components))
