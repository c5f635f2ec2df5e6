"""Scores an exported model: python evaluate.py models/starter

An image is made for each of the 100 held-out captions (fixed seeds), and the small CLIP is asked which of the
100 captions it shows. Guessing would be right once in a hundred; the same test on drawn images gives the most
that can be hoped for. Also writes the contact sheet.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image, ImageDraw, ImageFont
from transformers import CLIPImageProcessor, CLIPModel

import clip
import data

STEPS = 20


def captions() -> tuple[list[data.Spec], list[str]]:
    rng = np.random.default_rng(99)
    specs = data.held_out()
    return specs, [data.describe(spec, rng, complete=True) for spec in specs]


def generate(pipeline, texts: list[str], guidance: float, batch: int = 5) -> np.ndarray:
    """uint8 [n, 256, 256, 3]; image i always starts from the noise of seed i."""
    out = []
    for i in range(0, len(texts), batch):
        part = texts[i : i + batch]
        generators = [torch.Generator().manual_seed(i + k) for k in range(len(part))]
        out.append(pipeline(part, num_inference_steps=STEPS, guidance_scale=guidance, generator=generators, output_type="np").images)
    return (np.concatenate(out) * 255).round().astype(np.uint8)


class Eye:
    """The small CLIP's image tower, fed as the exported configuration says."""

    def __init__(self, folder: Path):
        self.model = CLIPModel.from_pretrained(folder / "clip").eval()
        self.processor = CLIPImageProcessor.from_pretrained(folder / "clip")

    @torch.no_grad()
    def features(self, images: np.ndarray) -> torch.Tensor:
        """One row of length 1 for each image."""
        pixels = self.processor([Image.fromarray(p) for p in images], return_tensors="pt").pixel_values
        return clip.image_features(self.model, pixels)


@torch.no_grad()
def retrieval(eye: Eye, images: np.ndarray, texts: list[str]) -> float:
    """How often the image's own caption is the nearest of all; there may be fewer images than captions."""
    similarity = eye.features(images) @ clip.text_features(eye.model, texts).T
    return (similarity.argmax(1) == torch.arange(len(images))).float().mean().item()


@torch.no_grad()
def names_right(eye: Eye, images: np.ndarray, specs: list[data.Spec]) -> dict:
    """How often the right word wins when only that word of the caption is exchanged."""
    features = eye.features(images)
    out = {}
    for part, options in (("motif", data.MOTIFS), ("colour", data.COLOURS), ("ground", data.COLOURS)):
        right = 0
        for spec, image in zip(specs, features):
            texts = []
            for option in options:
                changed = data.Spec(**{**spec.__dict__, part: option})
                texts.append(data.describe(changed, np.random.default_rng(5), complete=True))
            best = int((clip.text_features(eye.model, texts) @ image).argmax())
            right += list(options)[best] == getattr(spec, part)
        out[part] = right / len(specs)
    return out


def sheet(images: np.ndarray, texts: list[str], path: Path, columns: int = 5, size: int = 176):
    font = ImageFont.load_default(11)
    rows = -(-len(texts) // columns)
    page = Image.new("RGB", (columns * (size + 8) + 8, rows * (size + 40) + 8), "white")
    pen = ImageDraw.Draw(page)
    for i, (image, text) in enumerate(zip(images, texts)):
        x, y = 8 + i % columns * (size + 8), 8 + i // columns * (size + 40)
        page.paste(Image.fromarray(image).resize((size, size), Image.LANCZOS), (x, y))
        lines, line = [], ""
        for word in text.split():
            if pen.textlength(f"{line} {word}", font) > size:
                lines, line = [*lines, line], word
            else:
                line = f"{line} {word}".strip()
        pen.multiline_text((x, y + size + 2), "\n".join([*lines, line][:3]), "black", font, spacing=1)
    page.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("model", type=Path)
    options.add_argument("--guidance", type=float, nargs="*", default=[4.0], help="several are compared")
    options.add_argument("--count", type=int, default=100, help="fewer images for a quick look (captions stay 100)")
    options.add_argument("--sheet", type=Path, help="where to write 25 of the images with their captions")
    options.add_argument("--drawn", action="store_true", help="only the upper bound, from drawn images")
    options = options.parse_args()
    eye = Eye(options.model)
    specs, texts = captions()
    if options.drawn:
        rng = np.random.default_rng(99)
        images = np.stack([data.draw(spec, rng) for spec in specs])
        print(json.dumps({"drawn": True, "top1": retrieval(eye, images, texts), **names_right(eye, images, specs)}))
        raise SystemExit
    pipeline = StableDiffusionPipeline.from_pretrained(options.model)
    pipeline.set_progress_bar_config(disable=True)
    for guidance in options.guidance:
        start = time.time()
        images = generate(pipeline, texts[: options.count], guidance)
        seconds = (time.time() - start) / options.count
        right = retrieval(eye, images, texts)
        parts = names_right(eye, images, specs[: options.count])
        print(json.dumps({"guidance": guidance, "images": options.count, "top1": right, **parts, "seconds_each": round(seconds, 2)}), flush=True)
    if options.sheet:
        sheet(images[:25], texts[:25], options.sheet)
