"""Writes the trained parts as a Hugging Face folder: python export.py models/starter

With --untrained the same folder with random weights, for testing loaders before anything is trained.
"""

import argparse
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline

import clip
import folder
import tokenizer
import unet
import vae
from common import WORK


def export(target: Path, untrained: bool):
    torch.manual_seed(0)
    pick = (lambda part: part.build()) if untrained else (lambda part: part.trained())
    whole = pick(clip)
    folder.write(target, pick(vae), whole, pick(unet), WORK / "tokenizer")


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
    print(folder.summary(options.folder, loaded.components))
