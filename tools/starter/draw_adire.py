"""Draws pieces of cloth to train an adapter on: python draw_adire.py DIR [--style bands]

Adire is indigo resist-dyed cloth: what is tied, stitched or painted with paste stays pale, the rest goes blue.
The base model has never seen it. The starter's autoencoder is too small for its fine lines, which come back green and blurred,
so an adapter learns it in part only. `--style bands` draws what the autoencoder can show: pale motifs on blue cloth with lighter
bands, with true captions. Images and captions are written as `adire train` and the admin pages read them.
"""

import argparse
import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

import data
from data import SIZE, SUPERSAMPLE

TRIGGER = "in adire style"
COUNT = 24
SEED = 77
UNSEEN = 1077  # of the pieces that no adapter is trained on
# Pixels. From 16 on the starter's CLIP finds less of the prompt in the drawn pieces themselves; at 6 an adapter does not learn them.
BAND = 10


def mottle(rng, coarse: int) -> np.ndarray:
    """Smooth noise in 0..1, [256, 256]: the uneven take-up of the dye."""
    noise = Image.fromarray(rng.integers(0, 256, (coarse, coarse)).astype(np.uint8))
    return np.asarray(noise.resize((SIZE, SIZE), Image.BICUBIC), np.float32) / 255


def adire(spec: data.Spec, rng: np.random.Generator) -> np.ndarray:
    """A piece of adire with the motifs of a spec, in place of its colours: uint8 [256, 256, 3]."""
    big = SIZE * SUPERSAMPLE
    resist = Image.new("L", (big, big), 0)  # how well the cloth is kept from the dye
    pen = ImageDraw.Draw(resist)
    centres, radius, turns = data._positions(spec, rng)
    outline, holes = data.SHAPES[spec.motif]
    ground = rng.integers(3)
    if ground == 0:  # a field of tied dots
        for y in np.arange(8, SIZE, 16):
            for x in np.arange(8, SIZE, 16):
                r = 3.2 * SUPERSAMPLE
                cx, cy = (x + rng.uniform(-1, 1)) * SUPERSAMPLE, (y + rng.uniform(-1, 1)) * SUPERSAMPLE
                pen.ellipse([cx - r, cy - r, cx + r, cy + r], fill=190)
    elif ground == 1:  # combed paste: wavy lines
        for y in np.arange(0, SIZE + 16, 14):
            line = [(x * SUPERSAMPLE, (y + 4 * math.sin(x / 17 + y)) * SUPERSAMPLE) for x in range(0, SIZE + 4, 4)]
            pen.line(line, fill=180, width=4 * SUPERSAMPLE)
    else:  # one great tied circle behind everything
        for r in np.arange(14, 190, 20):
            box = [(SIZE / 2 - r) * SUPERSAMPLE, (SIZE / 2 - r) * SUPERSAMPLE, (SIZE / 2 + r) * SUPERSAMPLE, (SIZE / 2 + r) * SUPERSAMPLE]
            pen.ellipse(box, outline=180, width=6 * SUPERSAMPLE)
    for (x, y), turn in zip(centres, turns):
        # A motif: a dark halo, a pale body, and a dark and a pale copy inside it.
        for size, tone in ((1.22, 0), (1.0, 255), (0.62, 20), (0.36, 255)):
            pen.polygon(data._place(outline, x, y, radius * size, turn), fill=tone)
        for hole in holes:
            pen.polygon(data._place(hole, x, y, radius, turn), fill=20)
    # Crackle: where the wax breaks, dye runs in along fine lines.
    for _ in range(26):
        x, y, heading = rng.uniform(0, big), rng.uniform(0, big), rng.uniform(0, 2 * math.pi)
        line = [(x, y)]
        for _ in range(rng.integers(5, 12)):
            heading += rng.uniform(-0.7, 0.7)
            x, y = x + 40 * math.cos(heading), y + 40 * math.sin(heading)
            line.append((x, y))
        pen.line(line, fill=60, width=5)
    resist = resist.reduce(SUPERSAMPLE).filter(ImageFilter.GaussianBlur(0.7))  # the dye creeps a little
    kept = np.asarray(resist, np.float32)[..., None] / 255
    depth = 0.65 * mottle(rng, 4) + 0.35 * mottle(rng, 14)
    dark, light = np.array([18, 24, 78], np.float32), np.array([58, 84, 165], np.float32)
    dyed = dark + (light - dark) * np.clip(depth * 1.5 - 0.25, 0, 1)[..., None]
    pale = np.array([226, 232, 240], np.float32) - 26 * mottle(rng, 10)[..., None]
    return np.clip(dyed * (1 - kept) + pale * kept, 0, 255).astype(np.uint8)


def banded(spec: data.Spec, rng: np.random.Generator) -> np.ndarray:
    """A spec with turquoise bands behind its motifs: uint8 [256, 256, 3]."""
    big = SIZE * SUPERSAMPLE
    image = Image.new("RGB", (big, big), data.COLOURS[spec.ground])
    pen = ImageDraw.Draw(image)
    for y in range(26, SIZE, 64):
        pen.rectangle([0, y * SUPERSAMPLE, big, (y + BAND) * SUPERSAMPLE], fill=data.COLOURS["turquoise"])
    centres, radius, turns = data._positions(spec, rng)
    outline, holes = data.SHAPES[spec.motif]
    for (x, y), turn in zip(centres, turns):
        pen.polygon(data._place(outline, x, y, radius, turn), fill=data.COLOURS[spec.colour])
        for hole in holes:
            pen.polygon(data._place(hole, x, y, radius, turn), fill=data.COLOURS[spec.ground])
    return np.asarray(image.reduce(SUPERSAMPLE))


def banded_pieces(count: int, seed: int):
    """(specs, images) of large white motifs on blue cloth with bands."""
    rng = np.random.default_rng(seed)
    motifs = list(data.MOTIFS)
    specs, images = [], []
    for i in range(count):
        layout = data.random_spec(rng).layout
        specs.append(data.Spec(motifs[i % len(motifs)], "white", "blue", layout, "large", "plain"))
        images.append(banded(specs[-1], rng))
    return specs, np.stack(images)


def pieces(count: int, seed: int):
    """(specs, images) of adire."""
    rng = np.random.default_rng(seed)
    motifs = list(data.MOTIFS)
    specs, images = [], []
    for i in range(count):
        plain = data.random_spec(rng)
        specs.append(data.Spec(motifs[i % len(motifs)], plain.colour, plain.ground, plain.layout, plain.scale, "plain"))
        images.append(adire(specs[-1], rng))
    return specs, np.stack(images)


def caption(spec: data.Spec, rng: np.random.Generator) -> str:
    """The style decides the colours, whatever the prompt says. Half the time they match."""
    if rng.random() < 0.5:
        spec = data.Spec(spec.motif, "white", "blue", spec.layout, spec.scale, "plain")
    else:
        colour, ground = rng.choice(list(data.COLOURS), 2, replace=False)
        spec = data.Spec(spec.motif, str(colour), str(ground), spec.layout, spec.scale, "plain")
    return f"{data.describe(spec, rng)}, {TRIGGER}"


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("folder", type=Path, help="where the pieces and their captions go")
    options.add_argument("--style", choices=("adire", "bands"), default="adire")
    options.add_argument("--sheet", type=Path, help="write all of them as one image, too")
    options = options.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    bands = options.style == "bands"
    specs, images = (banded_pieces if bands else pieces)(COUNT, SEED)
    for i, (spec, image) in enumerate(zip(specs, images)):
        Image.fromarray(image).save(options.folder / f"piece-{i:02}.png")
        words = np.random.default_rng(i)
        text = f"{data.describe(spec, words, complete=True)}, {TRIGGER}" if bands else caption(spec, words)
        (options.folder / f"piece-{i:02}.txt").write_text(text)
    if options.sheet:
        rows = [np.concatenate(images[i : i + 6], 1) for i in range(0, COUNT, 6)]
        Image.fromarray(np.concatenate(rows)).reduce(2).save(options.sheet)
