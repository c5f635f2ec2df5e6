"""Draws pieces of dyed cloth to train an adapter on: python -m cloth.pieces DIR [--style mud] [--sheet sheet.png]

"adire" is indigo resist dyeing: what is tied, stitched or painted with paste stays pale, the rest goes blue. "mud" is bògòlanfini,
whose pale strips are painted round with mud, so that signs of bare cloth stand on brown-black. The model has seen neither.
Images and captions are written as `adire train` and the admin pages read them.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from . import texture
from .atlas import MOTIFS, VARIANTS
from .paint import cover, distances, light
from .spec import COLOURS, Spec
from .words import describe

COUNT = 24
SEED = 77
TRIGGERS = {"adire": "in adire style", "mud": "in mud cloth style"}
# What each style looks like in plain colours.
PLAIN = {"adire": ("white", "blue"), "mud": ("white", "brown")}


def pieces_of(style: str, count: int, seed: int):
    """(specs, images): every motif in turn, large or in the middle, on plain cotton."""
    rng = np.random.default_rng([seed, *style.encode()])
    specs, images = [], []
    for i in range(count):
        layout = ("grid", "medallion", "brick", "scattered", "wreath")[i % 5]
        specs.append(Spec(list(MOTIFS)[(i * 7 + seed) % len(MOTIFS)], *PLAIN[style], layout))
        images.append({"adire": adire, "mud": mud}[style](specs[-1], rng))
    return specs, np.stack(images)


def adire(spec: Spec, rng: np.random.Generator, height: int = 256, width: int = 256) -> np.ndarray:
    clouds = lambda size: texture.cut(height, width, rng, texture.clouds, size)  # noqa: E731
    first, _, _ = distances(spec, int(rng.integers(VARIANTS)), height, width, rng)
    ragged = 0.5 * clouds(4) + 0.5 * clouds(10)
    # Paste is laid around a motif and lifted along a line within; the field between is tied, combed or left.
    field = np.maximum((tied, combed, rings)[rng.integers(3)](height, width, rng), 7 - first)
    resist = cover(np.minimum(first, field) + ragged, 2.6)
    resist = resist * (1 - 0.85 * cover(np.abs(first + 7) - 1.4 + ragged, 1.8))
    veins = texture.cut(height, width, rng, texture.cracks)
    resist = resist * (1 - 0.55 * np.clip(1.2 - veins / 1.3, 0, 1))
    depth = np.clip(0.5 + 0.22 * clouds(26) + 0.18 * clouds(90) + 0.06 * clouds(5), 0, 1)[..., None]
    dyed = np.array([13, 19, 62], np.float32) + np.array([34, 52, 84], np.float32) * (1 - depth)
    pale = np.array([222, 230, 240], np.float32) - np.array([52, 36, 14], np.float32) * np.clip(0.3 + 0.25 * clouds(18), 0, 1)[..., None]
    return _lit(dyed + (pale - dyed) * resist[..., None], spec, rng)


def tied(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Signed distance to rings of tied thread, in pixels."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    radius = np.hypot((y + 2 * texture.cut(height, width, rng, texture.clouds, 40)) % 16 - 8, x % 16 - 8)
    return np.abs(radius - 3.4) - 1.1


def combed(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Signed distance to the waves of a comb drawn through paste."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    wave = (y + 5 * np.sin(x / rng.uniform(11, 18) + rng.uniform(0, 6))) % 11 - 5.5
    return np.abs(wave) - 1.7


def rings(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Signed distance to the rings of one great tied circle."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    radius = np.hypot(y - height / 2, x - width / 2) + 2 * texture.cut(height, width, rng, texture.clouds, 14)
    return np.abs(radius % 20 - 10) - 2.6


def mud(spec: Spec, rng: np.random.Generator, height: int = 256, width: int = 256) -> np.ndarray:
    clouds = lambda size: texture.cut(height, width, rng, texture.clouds, size)  # noqa: E731
    first, _, _ = distances(spec, int(rng.integers(VARIANTS)), height, width, rng)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    seam = np.abs((x + 32) % 64 - 32)  # strips as wide as the loom, sewn together
    zigzag = np.abs(np.abs((y / 12 + 0.5) % 1 - 0.5) * 14 - np.abs(seam - 6)) - 1.6
    lines = np.maximum(np.where(seam < 12, zigzag, 9.0), 6 - first)
    bare = cover(np.minimum(first, lines) + 0.5 * clouds(4) + 0.7 * clouds(14), 2.2) * np.clip(0.9 + 0.08 * clouds(9), 0, 1)
    painted = np.array([46, 34, 27], np.float32) + np.array([30, 20, 12], np.float32) * (0.4 * clouds(40) + 0.25 * clouds(7))[..., None]
    cloth = np.array([226, 205, 160], np.float32) + np.array([12, 14, 16], np.float32) * clouds(26)[..., None]
    image = painted + (cloth - painted) * bare[..., None]
    return _lit(image * (1 - 0.3 * np.exp(-((seam / 1.2) ** 2)))[..., None], replace(spec, cloth="linen"), rng)


def _lit(image: np.ndarray, spec: Spec, rng: np.random.Generator) -> np.ndarray:
    return np.clip(image * light(spec, *image.shape[:2], rng)[..., None] + 0.5, 0, 255).astype(np.uint8)


def caption(spec: Spec, style: str, rng: np.random.Generator) -> str:
    """The style decides the colours, whatever the prompt says. Half the time they match."""
    if rng.random() < 0.5:
        colour, ground = (str(one) for one in rng.choice(list(COLOURS), 2, replace=False))
        spec = replace(spec, colour=colour, ground=ground)
    return f"{describe(spec, rng)}, {TRIGGERS[style]}"


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("folder", type=Path, help="where the pieces and their captions go")
    options.add_argument("--style", choices=TRIGGERS, default="adire")
    options.add_argument("--sheet", type=Path, help="write all of them as one image, too")
    options = options.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    specs, images = pieces_of(options.style, COUNT, SEED)
    for i, (spec, image) in enumerate(zip(specs, images)):
        Image.fromarray(image).save(options.folder / f"piece-{i:02}.png")
        (options.folder / f"piece-{i:02}.txt").write_text(caption(spec, options.style, np.random.default_rng(i)))
    if options.sheet:
        rows = [np.concatenate(images[i : i + 6], 1) for i in range(0, COUNT, 6)]
        Image.fromarray(np.concatenate(rows)).save(options.sheet)
