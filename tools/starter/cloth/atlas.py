"""The motifs and their signed distance fields, from which any size of them is drawn with clean edges."""

from functools import cache

import numpy as np
from PIL import Image
from scipy.ndimage import distance_transform_edt

from . import living, signs
from .pen import BOX, PAPER, Pen

# Singular and plural, for captions.
MOTIFS = {
    "circle": "circles", "ring": "rings", "star": "stars", "cross": "crosses", "moon": "moons", "heart": "hearts",
    "diamond": "diamonds", "square": "squares", "triangle": "triangles", "spiral": "spirals", "sun": "suns",
    "osubamba": "osubamba", "olokun": "olokun", "comb": "combs", "drum": "drums", "pot": "pots", "crown": "crowns",
    "umbrella": "umbrellas", "eye": "eyes", "hand": "hands", "leaf": "leaves", "flower": "flowers", "palm": "palms",
    "pepper": "peppers", "fish": "fish", "bird": "birds", "butterfly": "butterflies", "snake": "snakes",
    "tortoise": "tortoises", "cowrie": "cowries", "lizard": "lizards",
}  # fmt: skip
VARIANTS = 2


def inked(name: str, v: float) -> Image.Image:
    pen = Pen()
    getattr(signs if hasattr(signs, name) else living, name)(pen, v)
    return pen.image


@cache
def fields() -> dict[str, list[np.ndarray]]:
    """For each motif its variants: float32 [PAPER, PAPER], negative inside; 1 is the motif's radius."""
    out = {}
    for name in MOTIFS:
        out[name] = [_field(inked(name, v)) for v in np.linspace(0, 1, VARIANTS)]
    return out


def _field(image: Image.Image) -> np.ndarray:
    inside = np.asarray(image.resize((2 * PAPER, 2 * PAPER), Image.BOX)) > 127
    # Halfway between two pixels is the edge; 0 is on it.
    distance = np.where(inside, 0.5 - distance_transform_edt(inside), distance_transform_edt(~inside) - 0.5)
    return distance.reshape(PAPER, 2, PAPER, 2).mean((1, 3), dtype=np.float32) * np.float32(BOX / PAPER)
