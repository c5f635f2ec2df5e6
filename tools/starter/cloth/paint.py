"""Paints a spec."""

import numpy as np
from scipy.ndimage import affine_transform

from . import layout, texture
from .atlas import VARIANTS, fields
from .pen import BOX, PAPER
from .spec import COLOURS, Spec

FAR = np.float32(50)  # pixels; a motif's field ends before
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def stamp(target: np.ndarray, name: str, variant: int, place: layout.Place, rng: np.random.Generator):
    """Lowers the distances in `target` (pixels) to those of one motif, put down by hand: never quite alike."""
    height, width = target.shape
    reach = int(place.radius * BOX * 1.42) + 2
    top, left = max(0, int(place.y) - reach), max(0, int(place.x) - reach)
    bottom, right = min(height, int(place.y) + reach), min(width, int(place.x) + reach)
    if bottom <= top or right <= left:
        return
    turn = place.turn + rng.normal(0, 0.035)
    wide, high, slant = 1 + rng.normal(0, 0.025), 1 + rng.normal(0, 0.025), rng.normal(0, 0.03)
    c, s = np.cos(turn), np.sin(turn)
    # Rows are y: from pixels to the motif's box, then to the paper's pixels.
    box = np.array([[c / high, -s / high], [(s + slant) / wide, c / wide]]) / place.radius
    x, y = place.x + rng.normal(0, 0.006) * place.radius, place.y + rng.normal(0, 0.006) * place.radius
    paper = box * (PAPER / (2 * BOX))
    offset = paper @ (np.array([top + 0.5 - y, left + 0.5 - x])) + PAPER / 2 - 0.5
    drawn = affine_transform(fields()[name][variant], paper, offset, (bottom - top, right - left), order=1, cval=0.5)
    window = target[top:bottom, left:right]
    np.minimum(window, drawn * np.float32(place.radius), out=window)


def cover(distance: np.ndarray, soft) -> np.ndarray:
    """Share of a pixel that is painted; the edge is `soft` pixels wide."""
    return np.clip(0.5 - distance / soft, 0, 1)


def tint(name: str, rng: np.random.Generator) -> np.ndarray:
    """A dyer never hits the same colour twice."""
    base = np.array(COLOURS[name], np.float32)
    hue = 0.006 if name in ("white", "grey", "black") else 0.03
    return np.clip(base * (1 + rng.normal(0, hue, 3).astype(np.float32)) + np.float32(rng.normal(0, 4)), 0, 255)


def draw(spec: Spec, rng: np.random.Generator, height: int = 256, width: int = 256) -> np.ndarray:
    """uint8 [height, width, 3], sides multiples of 8. The same spec looks a little different for each `rng`."""
    first, other, swapped = distances(spec, int(rng.integers(VARIANTS)), height, width, rng)
    nearest = np.minimum(first, other)
    ragged, soft = _edge(spec, height, width, rng)
    shape = composition(spec, first, swapped, nearest) + ragged
    colour, ground = tint(spec.colour, rng), tint(spec.ground, rng)
    painted, edge = cover(shape, soft), np.abs(shape)
    image = ground + (colour - ground) * painted[..., None]
    if spec.second:
        over = cover(other + ragged, soft)
        image = image + (tint(spec.second_colour, rng) - image) * over[..., None]
        painted, edge = np.maximum(painted, over), np.minimum(edge, np.abs(other))
    image = age(image, spec, painted, nearest, edge, rng)
    return np.clip(image * light(spec, height, width, rng)[..., None] + 0.5, 0, 255).astype(np.uint8)


def distances(spec: Spec, variant: int, height: int, width: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Signed distances in pixels to the motifs: the first, the second, and those that stand on a square of their colour."""
    out = [np.full((height, width), FAR, np.float32) for _ in range(3)]
    for place in layout.places(spec, height, width, rng):
        target = out[1] if place.second else out[2] if place.swapped else out[0]
        stamp(target, spec.second if place.second else spec.motif, variant, place, rng)
    return out


def composition(spec: Spec, first, swapped, nearest) -> np.ndarray:
    """Signed distance to all that is painted in the first colour: its motifs, lines, dots and border. `swapped` is left out
    of it; `nearest` is the distance to any motif."""
    height, width = first.shape
    frame, lines, shape = layout.border(spec, height, width), layout.lines(spec, height, width), first
    inside = layout.depth(height, width) - (layout.BORDER if frame is not None else 0)
    if spec.detail == "outlined":
        shape = np.minimum(shape, np.abs(nearest - 5.5) - 1.5)
    elif spec.detail == "dotted":
        shape = np.minimum(shape, np.maximum(layout.dots(height, width), np.maximum(6 - nearest, 4 - inside)))
    if lines is not None:
        shape = np.minimum(shape, lines if frame is None else np.maximum(lines, -inside))
    if spec.layout == "checks":
        shape = np.maximum(shape, -swapped)
    return shape if frame is None else np.minimum(shape, frame)


def _edge(spec: Spec, height: int, width: int, rng: np.random.Generator):
    """How far edges wander, and how soft they are, in pixels: threads take up dye unevenly, and water carries it on."""
    clouds = lambda size: texture.cut(height, width, rng, texture.clouds, size)  # noqa: E731
    ragged = 0.28 * clouds(4) + 0.28 * clouds(10)
    if spec.finish == "washed":
        return ragged + 0.8 * clouds(14), 3.0 + 1.6 * np.clip(clouds(40), -1, 1)
    return ragged, np.float32(1.3)


def age(image, spec: Spec, painted, nearest, edge, rng: np.random.Generator):
    """What dye and use do to the colours."""
    height, width = painted.shape
    blots = texture.cut(height, width, rng, texture.clouds, 26)
    image = image * (1 + 0.022 * blots[..., None])  # uneven dye
    if spec.finish == "washed":
        # Colour that has run: a halo around what is painted, and paler inside.
        halo = np.exp(-np.clip(nearest, 0, None) / 7) * (1 - painted)
        image = image + (np.array(COLOURS[spec.colour], np.float32) - image) * (0.3 * halo)[..., None]
        image = image + (250 - image) * np.clip(0.06 + 0.05 * blots, 0, 0.2)[..., None]
    else:
        # Dye gathers at an edge.
        image = image * (1 - 0.1 * np.exp(-((edge / 1.6) ** 2)))[..., None]
    if spec.finish == "faded":
        # Sun-bleached in broad patches.
        sun = np.clip(0.24 + 0.16 * texture.cut(height, width, rng, texture.clouds, 110), 0.06, 0.46)[..., None]
        image = image + ((image @ LUMA)[..., None] - image) * 0.22
        image = image + (232 - image) * sun
    elif spec.finish == "crackled":
        # Dark veins where paste broke, stronger on the lighter colour.
        veins = texture.cut(height, width, rng, texture.cracks)
        dark = np.minimum(np.array(COLOURS[spec.colour], np.float32), np.array(COLOURS[spec.ground], np.float32)) * 0.55
        strength = np.clip(1.15 - veins / 1.5, 0, 1) * (0.62 + 0.2 * np.clip(blots, -1, 1))
        image = image + (dark - image) * strength[..., None]
    return image


def light(spec: Spec, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """How bright each pixel of the cloth is, around 1."""
    depth = {"cotton": 0.085, "linen": 0.075, "denim": 0.07, "silk": 0.2}[spec.cloth] * rng.uniform(0.7, 1.2)
    out = np.float32(0.95) + texture.weave(spec.cloth, height, width, rng) + texture.folds(spec.cloth, height, width, rng, depth)
    if spec.finish == "creased":
        out = out + texture.creases(height, width, rng)
    return out
