"""Where motifs stand, and the lines of a composition."""

import math
from dataclasses import dataclass

import numpy as np

from .spec import Spec

BORDER = 26  # pixels that a border takes from each side


@dataclass
class Place:
    x: float
    y: float
    radius: float
    turn: float = 0.0  # radians, clockwise
    second: bool = False
    swapped: bool = False  # stands on a square of the motif's colour


ROWS = {"small": 4, "medium": 3, "large": 2}


def cells(spec: Spec, height: int, width: int) -> tuple[int, int, float, float]:
    """Rows and columns of a repeat, and their heights and widths, inside the border."""
    edge = 0 if spec.border == "none" else BORDER
    across, down = width - 2 * edge, height - 2 * edge
    pitch = min(across, down) / ROWS[spec.scale]
    rows, columns = round(down / pitch), round(across / pitch)
    return rows, columns, down / rows, across / columns


def places(spec: Spec, height: int, width: int, rng: np.random.Generator) -> list[Place]:
    edge = 0 if spec.border == "none" else BORDER
    middle, inner = (width / 2, height / 2), min(height, width) - 2 * edge
    if spec.layout == "medallion":
        return [Place(*middle, inner * 0.36)]
    if spec.layout == "row":
        return row(spec, height, width, inner)
    if spec.layout == "wreath":
        return wreath(spec, middle, inner)
    if spec.layout == "scattered":
        return scattered(spec, height, width, rng)
    return repeat(spec, height, width, edge)


def row(spec: Spec, height: int, width: int, inner: float) -> list[Place]:
    """Side by side, or one above the other where the cloth is taller than wide."""
    x, y, n = width / 2, height / 2, spec.count
    if height == width and n == 3:
        r = inner * 0.2
        return [Place(x, y - inner * 0.23, r)] + [Place(x + dx * inner * 0.24, y + inner * 0.22, r) for dx in (-1, 1)]
    if height == width and n == 4:  # at the corners of a diamond: a square of four is a grid
        return [Place(x + dx * inner * 0.31, y + dy * inner * 0.31, inner * 0.165) for dx, dy in ((0, -1), (-1, 0), (1, 0), (0, 1))]
    longer = max(height, width) - (min(height, width) - inner)
    step = min(longer / n, inner * 0.95)
    at = [(i - (n - 1) / 2) * step for i in range(n)]
    tall = height > width
    return [Place(x + (0 if tall else a), y + (a if tall else 0), min(step * 0.42, inner * 0.36)) for a in at]


def wreath(spec: Spec, middle, inner: float) -> list[Place]:
    x, y = middle
    n = 8
    reach, radius = inner * 0.37, inner * 0.115
    turns = [2 * math.pi * i / n for i in range(n)]
    around = [Place(x + reach * math.sin(a), y - reach * math.cos(a), radius, a) for a in turns]
    return around + ([Place(x, y, inner * 0.17, second=True)] if spec.second else [])


def scattered(spec: Spec, height: int, width: int, rng: np.random.Generator) -> list[Place]:
    """Thrown at random, then pushed apart, and turned a little."""
    radius = {"small": 25.0, "medium": 33.0, "large": 46.0}[spec.scale]
    count = max(3, round(height * width / (radius * 2.3) ** 2 * 0.8))
    at = rng.uniform((radius * 0.8, radius * 0.8), (width - radius * 0.8, height - radius * 0.8), (count, 2))
    for _ in range(60):
        apart = at[:, None] - at[None]
        distance = np.linalg.norm(apart, axis=-1) + np.eye(count) * 1e9
        push = np.clip(2.35 * radius - distance, 0, None)[..., None] * apart / distance[..., None]
        at += 0.35 * push.sum(1)
        at = np.clip(at, radius * 0.85, (width - radius * 0.85, height - radius * 0.85))
    # What found no room is left out.
    kept = []
    for x, y in at:
        if all(math.hypot(x - p.x, y - p.y) > 1.95 * radius for p in kept):
            kept.append(Place(x, y, radius, rng.uniform(-0.5, 0.5), bool(spec.second) and len(kept) % 2 == 1))
    return kept


FILL = {"grid": 0.4, "brick": 0.4, "striped": 0.36, "checks": 0.37, "squares": 0.31, "lattice": 0.3}


def repeat(spec: Spec, height: int, width: int, edge: float) -> list[Place]:
    rows, columns, high, wide = cells(spec, height, width)
    radius = min(high, wide) * FILL[spec.layout]
    out = []
    for i in range(rows):
        # A brick shifts every other row by half a motif, which then runs off both sides, or has one less inside a border.
        shifted = spec.layout == "brick" and i % 2 == 1
        for j in range(shifted and edge > 0, columns + shifted - (shifted and edge > 0)):
            x, y = edge + (j + 0.5 - 0.5 * shifted) * wide, edge + (i + 0.5) * high
            # Rows of one motif each where rows are set apart, otherwise like a chessboard.
            second = bool(spec.second) and (i if spec.layout in ("striped", "brick") else i + j) % 2 == 1
            out.append(Place(x, y, radius, 0.0, second, spec.layout == "checks" and (i + j) % 2 == 1))
    return out


def lines(spec: Spec, height: int, width: int) -> np.ndarray | None:
    """Signed distance to the composition's lines in pixels, negative on them; for checks, on every other square."""
    if spec.layout not in ("striped", "checks", "squares", "lattice"):
        return None
    edge = 0 if spec.border == "none" else BORDER
    rows, columns, high, wide = cells(spec, height, width)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) + np.float32(0.5)
    v, u = (y - edge) / high, (x - edge) / wide
    near = lambda a: np.abs(a - np.round(a))  # noqa: E731  to the nearest whole number
    if spec.layout == "striped":
        return near(v) * high - high * 0.055
    if spec.layout == "checks":
        inside = np.minimum(near(v) * high, near(u) * wide)
        return np.where((np.floor(v) + np.floor(u)) % 2 == 1, -inside, inside)
    if spec.layout == "squares":
        # A frame in each cell.
        return np.abs(np.maximum(np.abs(v % 1 - 0.5) * high, np.abs(u % 1 - 0.5) * wide) - 0.435 * min(high, wide)) - 0.035 * high
    return np.minimum(near(u + v - 0.5), near(u - v - 0.5)) * min(high, wide) * 0.7071 - 0.028 * high


def depth(height: int, width: int) -> np.ndarray:
    """Distance of each pixel to the nearest edge of the image."""
    y, x = np.arange(height, dtype=np.float32) + 0.5, np.arange(width, dtype=np.float32) + 0.5
    return np.minimum(np.minimum(y, height - y)[:, None], np.minimum(x, width - x)[None])


def border(spec: Spec, height: int, width: int) -> np.ndarray | None:
    """Signed distance to the border's shapes, in pixels."""
    if spec.border == "none":
        return None
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) + np.float32(0.5)
    deep = depth(height, width)
    inner = np.abs(deep - (BORDER - 4)) - 1.7  # a thin line towards the middle
    if spec.border == "band":
        return np.minimum(np.abs(deep - 9) - 6, inner)
    # Along each side. The pattern fits its length, and turns at corners by mirroring.
    sideways = np.minimum(x, width - x) < np.minimum(y, height - y)
    along, length = np.where(sideways, y, x), np.where(sideways, height, width)
    if spec.border == "zigzag":
        tooth = 16.0
        wave = np.abs(along / tooth % 1 - 0.5) * 2 * 12  # 0 to 12 px high
        return np.minimum(np.maximum((deep - 4 - wave) * 0.8, 3 - deep), inner)
    step = 16.0
    off = along % step - step / 2
    return np.minimum(np.hypot(off, deep - 10.5) - 4.8, inner)


def dots(height: int, width: int) -> np.ndarray:
    """Signed distance to a ground of small dots, in pixels."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) + np.float32(0.5)
    y, x = y % 32, x % 32
    return np.minimum(np.hypot(y - 8, x - 8), np.hypot(y - 24, x - 24)) - 2.7
