"""Whether an adapter brings images nearer to its style: python style_gain.py models/starter adire-v2.safetensors

Each caption is drawn twice from the same noise, with the adapter and without. The small CLIP's image tower,
given no labels, measures how alike each image is to pieces of adire that the adapter was not trained on. Prints the
mean gain, its standard error, and their ratio.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline

import data
import draw_adire
from evaluate import Eye, captions, generate

if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("model", type=Path)
    options.add_argument("adapter", type=Path)
    options.add_argument("--count", type=int, default=100, help="captions, and unseen pieces")
    options.add_argument("--guidance", type=float, default=4.0)
    options = options.parse_args()
    texts = [f"{text}, {draw_adire.TRIGGER}" for text in captions(data)[1][: options.count]]
    _, unseen = draw_adire.pieces(options.count, draw_adire.UNSEEN)
    pipeline = StableDiffusionPipeline.from_pretrained(options.model)
    pipeline.set_progress_bar_config(disable=True)
    eye = Eye(options.model, data)
    style = eye.features(unseen)

    def likeness() -> torch.Tensor:
        """Mean cosine of each image to the unseen pieces."""
        return (eye.features(generate(pipeline, texts, options.guidance)) @ style.T).mean(1)

    without = likeness()
    pipeline.load_lora_weights(options.adapter.parent, weight_name=options.adapter.name)
    gain = likeness() - without
    error = gain.std() / np.sqrt(len(gain))
    print(
        json.dumps(
            {
                "adapter": options.adapter.stem,
                "images": len(gain),
                "likeness_without": round(without.mean().item(), 4),
                "gain": round(gain.mean().item(), 4),
                "standard_error": round(error.item(), 4),
                "standard_errors": round((gain.mean() / error).item(), 1),
            }
        )
    )
