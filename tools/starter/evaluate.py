"""Scores an exported model: python evaluate.py models/starter

An image is made for each of the 100 held-out captions, which no training has seen, from fixed seeds. The model's small CLIP is
asked which of the 100 captions each image shows, and which motif and colours, all other words being equal. A model of drawn
cloth (`cloth/`) also has a second judge, a classifier that took no part in training, which is asked the same. Guessing would be
right once in a hundred, or in as many as there are motifs and colours; the same questions about drawn images give the most that can be hoped
for. Prints one row for each, with what it has to reach; also writes contact sheets.
"""

import argparse
import json
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, LCMScheduler, StableDiffusionPipeline
from PIL import Image, ImageDraw, ImageFont
from safetensors.torch import load_file
from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

import bpe
from parts import to_tensor

STEPS = 20
FAST = "fast-v1.safetensors"
FAST_STEPS = 4
# What a model of drawn cloth has to reach; the same for each judge.
GOALS = {
    "autoencoder PSNR, dB": 27.0,
    "drawn retrieval": 0.95, "drawn motif": 0.9, "drawn colour": 0.97, "drawn ground": 0.97,
    "generated retrieval": 0.9, "generated motif": 0.75, "generated colour": 0.9, "generated ground": 0.9,
}  # fmt: skip


def recipe(model: Path):
    """The data that a model was made of: drawn cloth has a second judge."""
    if (model / "judge").is_dir():
        import cloth as data
    else:
        import data
    return data


def captions(data) -> tuple[list, list[str]]:
    rng = np.random.default_rng(99)
    specs = data.held_out()
    return specs, [data.describe(spec, rng, complete=True) for spec in specs]


def generate(pipeline, texts: list[str], guidance: float, batch: int = 10, steps: int = STEPS, size=(256, 256)) -> np.ndarray:
    """uint8 [n, height, width, 3]; image i always starts from the noise of seed i."""
    out = []
    for i in range(0, len(texts), batch):
        part = texts[i : i + batch]
        generators = [torch.Generator().manual_seed(i + k) for k in range(len(part))]
        out.append(pipeline(part, num_inference_steps=steps, guidance_scale=guidance, generator=generators,
                            height=size[0], width=size[1], output_type="np").images)  # fmt: skip
    return (np.concatenate(out) * 255).round().astype(np.uint8)


class Eye:
    """The small CLIP, fed as the exported configuration says."""

    name = "CLIP"

    def __init__(self, folder: Path, data):
        self.model, self.data = CLIPModel.from_pretrained(folder / "clip").eval(), data
        self.processor = CLIPImageProcessor.from_pretrained(folder / "clip")
        self.tokenizer = CLIPTokenizer.from_pretrained(folder / "clip")

    @torch.no_grad()
    def features(self, images: np.ndarray) -> torch.Tensor:
        """One row of length 1 for each image."""
        pixels = self.processor([Image.fromarray(p) for p in images], return_tensors="pt").pixel_values
        return F.normalize(self.model.visual_projection(self.model.vision_model(pixels).pooler_output), dim=-1)

    @torch.no_grad()
    def texts(self, texts: list[str]) -> torch.Tensor:
        ids = bpe.encode(self.tokenizer, texts)
        # What follows the first end mark cannot influence the pooled state: the attention is causal.
        longest = int((ids != ids[0, -1]).sum(1).max()) + 1
        pooled = self.model.text_model(ids[:, :longest]).pooler_output
        return F.normalize(self.model.text_projection(pooled), dim=-1)

    def retrieval(self, images: np.ndarray, specs: list, texts: list[str]) -> float:
        """How often the image's own caption is the nearest of all; there may be fewer images than captions."""
        nearest = (self.features(images) @ self.texts(texts).T).argmax(1)
        return (nearest == torch.arange(len(images))).float().mean().item()

    def names(self, images: np.ndarray, specs: list) -> dict[str, float]:
        """How often the right word wins when only that word of the caption is exchanged."""
        features = self.features(images)
        return {
            part: sum(
                list(options)[int((self.changed(spec, part, tuple(options)) @ feature).argmax())] == getattr(spec, part)
                for spec, feature in zip(specs, features)
            ) / len(specs)
            for part, options in (("motif", self.data.MOTIFS), ("colour", self.data.COLOURS), ("ground", self.data.COLOURS))
        }  # fmt: skip

    @cache
    def changed(self, spec, part: str, options: tuple[str, ...]) -> torch.Tensor:
        """The features of a spec's caption with each of the options in turn."""
        captions = [self.data.describe(replace(spec, **{part: option}), np.random.default_rng(5), complete=True) for option in options]
        return self.texts(captions)


class SecondJudge:
    """The classifier that took no part in training."""

    name = "second judge"

    def __init__(self, folder: Path):
        from cloth import judge

        self.judge, self.model = judge, judge.build()
        self.model.load_state_dict({k: v.float() for k, v in load_file(folder / "judge/model.safetensors").items()})
        self.model.eval()

    def retrieval(self, images: np.ndarray, specs: list, texts: list[str]) -> float:
        best = self.judge.match(self.judge.judged(self.model, images), specs).argmax(1)
        return (best == torch.arange(len(images))).float().mean().item()

    def names(self, images: np.ndarray, specs: list) -> dict[str, float]:
        from cloth.labels import QUESTIONS

        answered = self.judge.judged(self.model, images)
        best = {part: answered[part].argmax(1).tolist() for part in ("motif", "colour", "ground")}
        return {part: sum(QUESTIONS[part][i] == getattr(spec, part) for i, spec in zip(found, specs)) / len(specs)
                for part, found in best.items()}  # fmt: skip


@torch.no_grad()
def psnr(folder: Path, data, count: int = 40) -> float:
    """Of the autoencoder, on drawn images that no training has seen."""
    rng = np.random.default_rng(990)
    vae = AutoencoderKL.from_pretrained(folder / "vae").eval()
    x = to_tensor(np.stack([data.draw(spec, rng) for spec in data.held_out()[:count]]))
    y = torch.cat([vae.decode(vae.encode(part).latent_dist.sample(torch.Generator().manual_seed(0))).sample for part in x.split(8)])
    return 10 * np.log10(4 / F.mse_loss(y.clamp(-1, 1), x).item())


def rows(folder: Path, guidances: list[float], count: int, sheets: Path | None):
    """Yields (row, judge, value)."""
    data = recipe(folder)
    specs, texts = captions(data)
    judges = [Eye(folder, data)] + ([SecondJudge(folder)] if (folder / "judge").is_dir() else [])

    def judged(label: str, images: np.ndarray):
        for judge in judges:
            yield f"{label} retrieval", judge.name, judge.retrieval(images, specs, texts)
            for part, share in judge.names(images, specs[: len(images)]).items():
                yield f"{label} {part}", judge.name, share

    yield "autoencoder PSNR, dB", "", psnr(folder, data)
    rng = np.random.default_rng(99)
    drawn = np.stack([data.draw(spec, rng) for spec in specs])
    yield from judged("drawn", drawn)
    pipeline = StableDiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.to("cuda" if torch.cuda.is_available() else "cpu")
    for guidance in guidances:
        start = time.time()
        images = generate(pipeline, texts[:count], guidance)
        seconds = (time.time() - start) / len(images)
        label = "generated" if len(guidances) == 1 else f"generated (guidance {guidance:g})"
        yield from judged(label, images)
        yield f"{label}, seconds each", "", seconds
    if sheets is not None:
        contact_sheets(pipeline, texts, guidances[-1], STEPS, sheets)
    if (folder / "adapters" / FAST).exists():
        pipeline.scheduler = LCMScheduler.from_config(pipeline.scheduler.config)
        pipeline.load_lora_weights(folder / "adapters", weight_name=FAST)
        yield from judged(f"{FAST_STEPS} steps", generate(pipeline, texts[:count], 1.0, steps=FAST_STEPS))
        if sheets is not None:
            contact_sheets(pipeline, texts, 1.0, FAST_STEPS, sheets.with_stem(f"{sheets.stem}-fast"))


def contact_sheets(pipeline, texts: list[str], guidance: float, steps: int, path: Path):
    """Three images of each of 16 captions; beside it 6 wide and 6 tall ones."""
    chosen = [text for text in texts[::6][:16] for _ in range(3)]
    sheet(generate(pipeline, chosen, guidance, steps=steps), chosen, path)
    for shape, size in (("wide", (256, 384)), ("tall", (384, 256))):
        sheet(generate(pipeline, texts[:6], guidance, steps=steps, size=size), texts[:6], path.with_stem(f"{path.stem}-{shape}"))


def sheet(images: np.ndarray, texts: list[str], path: Path, columns: int = 6, size: int = 176):
    font = ImageFont.load_default(11)
    lines = -(-len(texts) // columns)
    page = Image.new("RGB", (columns * (size + 8) + 8, lines * (size + 40) + 8), "white")
    pen = ImageDraw.Draw(page)
    for i, (image, text) in enumerate(zip(images, texts)):
        x, y = 8 + i % columns * (size + 8), 8 + i // columns * (size + 40)
        small = Image.fromarray(image)
        small.thumbnail((size, size), Image.LANCZOS)
        page.paste(small, (x, y))
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
    options.add_argument("--sheet", type=Path, help="where to write a contact sheet of 48 images, and wide and tall ones beside it")
    options.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    options = options.parse_args()
    found = []
    if not options.json:
        print("| | judge | reached | goal |\n| --- | --- | --- | --- |")
    for row, judge, value in rows(options.model, options.guidance, options.count, options.sheet):
        goal = GOALS.get(row)
        met = None if goal is None else bool(value >= goal)
        found.append({"row": row, "judge": judge, "value": round(value, 3), "goal": goal, "met": met})
        if not options.json:
            mark = "" if goal is None else f"{goal:g}, {'met' if met else 'missed'}"
            print(f"| {row} | {judge} | {value:.2f} | {mark} |", flush=True)
    if options.json:
        print(json.dumps({"model": str(options.model), "images": options.count, "rows": found}, indent=1))
