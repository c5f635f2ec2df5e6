"""What makes paint look like cloth: weaves, uneven dye, crackle, folds of light. Tiles are made once, then cut anywhere."""

from functools import cache

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

TILE = 512  # pixels of a tile; it continues at its edges
MOST = 384  # the longest side of an image


@cache
def clouds(scale: float) -> np.ndarray:
    """Smooth noise of mean 0 and deviation 1 with blots of about `scale` pixels."""
    noise = np.random.default_rng(int(scale * 10)).standard_normal((TILE, TILE), np.float32)
    noise = gaussian_filter(noise, scale / 2, mode="wrap")
    return noise / noise.std()


@cache
def cracks() -> np.ndarray:
    """Distance in pixels to the nearest crack of brittle paste, as between cells of many sizes."""
    rng = np.random.default_rng(61)
    points = rng.uniform(0, TILE, (1500, 2))
    # Cells gather where others are: fine crackle here, wide plates there.
    keep = clouds(90)[points[:, 0].astype(int) % TILE, points[:, 1].astype(int) % TILE] + rng.normal(0, 0.7, len(points)) > 0.35
    points = points[keep]
    copies = np.concatenate([points + (dy, dx) for dy in (-TILE, 0, TILE) for dx in (-TILE, 0, TILE)])
    grid = np.indices((TILE, TILE)).reshape(2, -1).T.astype(float)
    # Cracks are not straight.
    grid[:, 0] += 2.2 * clouds(9).ravel() + 5 * clouds(31).ravel()
    grid[:, 1] += 2.2 * np.roll(clouds(9), 177, (0, 1)).ravel() + 5 * np.roll(clouds(31), 133, (0, 1)).ravel()
    near, _ = cKDTree(copies).query(grid, 2)
    between = ((near[:, 1] - near[:, 0]) / 2).reshape(TILE, TILE)
    # The bends stretch distances; a crack has the same width everywhere.
    slope = np.hypot(*np.gradient(between))
    return (between / np.maximum(gaussian_filter(slope, 2, mode="wrap"), 0.2)).astype(np.float32)


@cache
def unrolled(make, *given) -> np.ndarray:
    """The tile that `make` gives, continued, so that a window anywhere is a slice."""
    return np.pad(make(*given), (0, MOST), mode="wrap")


def cut(height: int, width: int, rng: np.random.Generator, make, *given) -> np.ndarray:
    """A window anywhere in a tile, perhaps mirrored or turned by a quarter."""
    y, x, turn = (int(v) for v in rng.integers(0, (TILE, TILE, 8)))
    if turn & 4:
        height, width = width, height
    window = unrolled(make, *given)[y : y + height, x : x + width]
    window = window[:: -1 if turn & 1 else 1, :: -1 if turn & 2 else 1]
    return window.T if turn & 4 else window


def threads(count: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """Brightness of `count` parallel threads along `length` pixels: each has its own, and swells and thins."""
    own = rng.standard_normal((count, 1), np.float32)
    knots = rng.standard_normal((count, length // 24 + 3), np.float32)
    at = np.arange(length, dtype=np.float32) / 24
    low = at.astype(int)
    swell = knots[:, low] + (knots[:, low + 1] - knots[:, low]) * (at - low)
    return 0.7 * own + 0.7 * swell


# Thread widths divide eight pixels, the autoencoder's stride: so a weave costs the latents nothing but its threads' unevenness.
@cache
def interlacing(cloth: str) -> np.ndarray:
    """How threads lie over and under each other, [8, 8], mean 0, about -1 to 1: light where a thread rises."""
    y, x = np.indices((8, 8))
    if cloth == "cotton":  # plain weave of fine threads
        cell = np.where((y // 2 + x // 2) % 2, 1.0, -1.0) * 0.6
        cell += np.where(y % 2, -0.2, 0.2) + np.where(x % 2, -0.2, 0.2)
    elif cloth == "linen":  # plain weave of thick ones, each rounded
        over = (y // 4 + x // 4) % 2
        across, along = np.sin((y % 4 + 0.5) * np.pi / 4), np.sin((x % 4 + 0.5) * np.pi / 4)
        cell = np.where(over, across * (0.55 + 0.45 * along), along * (0.55 + 0.45 * across) * 0.8)
    elif cloth == "denim":  # twill: diagonal ribs
        cell = np.sin(2 * np.pi * (x + y + 0.5) / 4) * 0.8 + np.sin(2 * np.pi * (2 * x + 0.5) / 8) * 0.2
    else:  # silk: long floats, hardly seen
        cell = np.where(y % 2, 0.35, -0.35) + 0.2 * np.sin(2 * np.pi * x / 8 + np.pi * (y // 2 % 2))
    return (cell - cell.mean()).astype(np.float32)


# Contrast of the interlacing and of the threads' unevenness, and the width of a thread in pixels.
WEAVES = {"cotton": (0.045, 0.018, 2), "linen": (0.105, 0.034, 4), "denim": (0.095, 0.022, 4), "silk": (0.018, 0.008, 2)}


def weave(cloth: str, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Brightness around 0, [height, width]."""
    relief, uneven, thread = WEAVES[cloth]
    out = np.tile(interlacing(cloth), (height // 8, width // 8)) * relief
    weft = np.repeat(threads(height // thread, width, rng), thread, 0)
    warp = np.repeat(threads(width // thread, height, rng), thread, 0).T
    over = np.tile(interlacing(cloth) > 0, (height // 8, width // 8))
    return out + uneven * np.where(over, weft, warp)


def ridge(t: np.ndarray) -> np.ndarray:
    """A fold seen from the side, from its lit flank (1) to its shaded one (-1), once around t = 0."""
    return -t * np.exp(0.5 - t * t / 2)


@cache
def enlarging(length: int, by: int) -> np.ndarray:
    """The matrix that enlarges `length / by` values to `length`, linearly between their centres."""
    few = length // by
    at = np.clip((np.arange(length) + 0.5) / by - 0.5, 0, few - 1)
    return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(few))).astype(np.float32)


def folds(cloth: str, height: int, width: int, rng: np.random.Generator, depth: float) -> np.ndarray:
    """Light on cloth that does not lie flat, around 0: a few soft ridges that run across and wander."""
    coarse = 4  # they are soft enough to be computed at every fourth pixel
    y, x = np.mgrid[0:height:coarse, 0:width:coarse].astype(np.float32)
    wander = cut(*x.shape, rng, clouds, 18)
    out = 0.25 * cut(*x.shape, rng, clouds, 22)
    heading = rng.uniform(0, np.pi)
    for _ in range(rng.integers(2, 5)):
        turn = heading + rng.normal(0, 0.35)
        across = (x - width / 2) * np.float32(np.cos(turn)) + (y - height / 2) * np.float32(np.sin(turn)) + 9 * wander
        broad = rng.uniform(9, 40)
        out = out + rng.uniform(0.4, 1.0) * rng.choice((-1, 1)) * ridge((across - np.float32(rng.uniform(-150, 150))) / np.float32(broad))
    return enlarging(height, coarse) @ (np.float32(depth) * np.clip(out, -1.4, 1.4)).astype(np.float32) @ enlarging(width, coarse).T


def creases(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Light on cloth that was folded in a pile: sharp lines that cross, each side lit otherwise."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    out = np.zeros((height, width), np.float32)
    for along, across, length in ((x, y, height), (y, x, width)):
        for part in (1 / 3, 2 / 3):
            line = across - length * (part + rng.uniform(-0.05, 0.05)) - (along - length / 2) * rng.uniform(-0.04, 0.04)
            out += rng.choice((-1, 1)) * (np.exp(-np.abs(line) / 10) * np.sign(line) * 0.11) + np.exp(-((line / 1.4) ** 2)) * 0.12
    return out
