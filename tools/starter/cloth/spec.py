"""What a cloth shows, and which ones are drawn for training and which for judging."""

import json
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .atlas import MOTIFS

COLOURS = {
    "red": (196, 36, 42), "orange": (240, 128, 30), "yellow": (246, 206, 58), "green": (40, 130, 62),
    "turquoise": (52, 184, 178), "blue": (38, 74, 180), "purple": (114, 48, 148), "pink": (240, 146, 180),
    "brown": (112, 68, 40), "grey": (136, 138, 142), "black": (32, 29, 33), "white": (242, 238, 228),
}  # fmt: skip
LAYOUTS = ("grid", "brick", "striped", "scattered", "medallion", "wreath", "checks", "squares", "lattice", "row")
LAYOUT_ODDS = (0.16, 0.12, 0.1, 0.1, 0.16, 0.08, 0.07, 0.07, 0.06, 0.08)
SCALES = ("small", "medium", "large")
CLOTHS = ("cotton", "linen", "denim", "silk")
FINISHES = ("plain", "faded", "crackled", "washed", "creased")
BORDERS = ("none", "band", "zigzag", "dots")
DETAILS = ("none", "outlined", "dotted")  # a line around each motif; a ground of small dots
SIZES = ((256, 256), (384, 256), (256, 384))  # height and width


@dataclass(frozen=True)
class Spec:
    motif: str
    colour: str
    ground: str
    layout: str = "grid"
    scale: str = "large"  # of repeats; single motifs have only this one
    cloth: str = "cotton"
    finish: str = "plain"
    border: str = "none"
    detail: str = "none"
    count: int = 0  # of a row: two, three or four
    second: str = ""  # another motif in turn with the first, or in the middle of a wreath
    second_colour: str = ""


REPEATS = ("grid", "brick", "striped", "scattered", "checks", "squares", "lattice")
PAIRED = ("grid", "brick", "striped", "wreath", "scattered")  # may show two motifs


def random_spec(rng: np.random.Generator) -> Spec:
    motif, second = (str(m) for m in rng.choice(list(MOTIFS), 2, replace=False))
    colour, ground, third = (str(c) for c in rng.choice(list(COLOURS), 3, replace=False))
    layout = str(rng.choice(LAYOUTS, p=LAYOUT_ODDS))
    scale = str(rng.choice(SCALES, p=(0.25, 0.25, 0.5))) if layout in REPEATS else "large"
    spec = Spec(
        motif, colour, ground, layout, scale,
        cloth=str(rng.choice(CLOTHS, p=(0.4, 0.25, 0.2, 0.15))),
        finish=str(rng.choice(FINISHES, p=(0.52, 0.12, 0.12, 0.12, 0.12))),
        border=str(rng.choice(BORDERS, p=(0.7, 0.12, 0.09, 0.09))) if scale == "large" and layout != "scattered" else "none",
        detail=str(rng.choice(DETAILS, p=(0.74, 0.13, 0.13))) if scale == "large" and layout not in ("checks", "lattice") else "none",
        count=int(rng.integers(2, 5)) if layout == "row" else 0,
    )  # fmt: skip
    if layout in PAIRED and scale != "small" and rng.random() < 0.22:
        spec = replace(spec, second=second, second_colour=colour if rng.random() < 0.5 else third)
    # White on cracked blue is the look of adire, which is left to adapters.
    if spec.finish == "crackled" and "blue" in (colour, ground):
        spec = replace(spec, finish="plain")
    return spec


def is_held_out(spec: Spec) -> bool:
    """One combination in forty of motif, colours and layout is never trained on, whatever else a spec says."""
    return zlib.crc32(f"{spec.motif} {spec.colour} {spec.ground} {spec.layout}".encode()) % 40 == 0


def training_specs(rng: np.random.Generator):
    """Specs to train on, without end."""
    while True:
        spec = random_spec(rng)
        if not is_held_out(spec):
            yield spec


HELD_OUT = Path(__file__).with_name("held-out.json")


def held_out() -> list[Spec]:
    """The 100 specs of the evaluation, listed in a file because what a seed gives changes with the odds above."""
    return [Spec(**spec) for spec in json.loads(HELD_OUT.read_text())]


def choose_held_out(count: int = 100) -> list[Spec]:
    """Every motif three or four times, and no two of the same motif, colours and layout."""
    rng, chosen, left = np.random.default_rng(20), {}, {}
    while len(chosen) < count:
        spec = random_spec(rng)
        key = (spec.motif, spec.colour, spec.ground, spec.layout)
        few = left.get(spec.motif, 0) <= len(chosen) // len(MOTIFS)
        if is_held_out(spec) and key not in chosen and few and not spec.second:
            chosen[key] = spec
            left[spec.motif] = left.get(spec.motif, 0) + 1
    return list(chosen.values())
