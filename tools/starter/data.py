"""The images the starter model learns from: drawn textiles with captions.

An image is decided by a `Spec` (motif, two colours, layout, scale, finish). `draw` paints a spec,
`describe` puts it into words. The domain is small on purpose: a few million weights and two CPU cores
can only learn few things well, so motifs are large and distinct and the colours are far apart.

Nothing here looks like adire (indigo resist dyeing); that look is left for the adapters to teach.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SIZE = 256
SUPERSAMPLE = 3  # shapes are drawn three times too large and averaged down, for smooth edges

COLOURS = {
    "red": (206, 32, 41),
    "orange": (245, 134, 28),
    "yellow": (250, 214, 50),
    "green": (34, 139, 58),
    "turquoise": (52, 196, 190),
    "blue": (36, 72, 190),
    "purple": (122, 44, 158),
    "pink": (246, 142, 186),
    "black": (24, 22, 26),
    "white": (246, 244, 238),
}
# Singular and plural, for captions.
MOTIFS = {
    "circle": "circles", "ring": "rings", "star": "stars", "cross": "crosses",
    "leaf": "leaves", "fish": "fish", "moon": "moons", "heart": "hearts",
    "diamond": "diamonds", "flower": "flowers", "square": "squares", "triangle": "triangles",
}  # fmt: skip
LAYOUTS = ("grid", "brick", "striped", "scattered", "medallion")
SCALES = ("small", "large")
FINISHES = ("plain", "speckled", "faded", "framed")
# How often each is drawn. What is never drawn is known to `draw` and to the text tower; it was left out when the denoiser
# turned out too small to learn it beside the rest.
LAYOUT_ODDS = (0.25, 0.25, 0.25, 0.0, 0.25)
FINISH_ODDS = (0.65, 0.0, 0.0, 0.35)


@dataclass(frozen=True)
class Spec:
    motif: str
    colour: str
    ground: str
    layout: str
    scale: str
    finish: str


def random_spec(rng: np.random.Generator) -> Spec:
    colour, ground = rng.choice(list(COLOURS), 2, replace=False)
    layout = str(rng.choice(LAYOUTS, p=LAYOUT_ODDS))
    scale = "large" if layout == "medallion" else str(rng.choice(SCALES))
    finish = str(rng.choice(FINISHES, p=FINISH_ODDS))
    return Spec(str(rng.choice(list(MOTIFS))), str(colour), str(ground), layout, scale, finish)


# ---- shapes: outlines in a box from -1 to 1, y downwards; a shape is (outline, holes) ----


def _arc(centre, radius, start, end, n=40):
    angles = np.linspace(math.radians(start), math.radians(end), n)
    return [(centre[0] + radius * math.cos(a), centre[1] + radius * math.sin(a)) for a in angles]


def _polar(radius_at, n=120):
    return [(radius_at(a) * math.sin(a), -radius_at(a) * math.cos(a)) for a in np.linspace(0, 2 * math.pi, n)]


def _heart():
    curve = np.linspace(0, 2 * math.pi, 80)
    return [
        (16 * math.sin(t) ** 3 / 17, -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t) + 2.5) / 16)
        for t in curve
    ]


def _star():
    return [
        (r * math.sin(i * math.pi / 5), -r * math.cos(i * math.pi / 5))
        for i, r in enumerate([1.05, 0.42] * 5)
    ]


def _moon():
    # The outer disc minus a disc shifted to the right; both arcs meet at the horns.
    return _arc((0, 0), 1, 48, 312, 60) + _arc((0.55, 0), 0.755, 280, 80, 50)


def _leaf():
    # Two arcs that meet in points at the top and bottom.
    return [(0.58 * math.sin(t) ** 1.2, -math.cos(t)) for t in np.linspace(0, math.pi, 40)] + [
        (-0.58 * math.sin(t) ** 1.2, math.cos(t)) for t in np.linspace(0, math.pi, 40)
    ]


def _fish():
    body = [(0.25 + 0.75 * math.cos(a), 0.48 * math.sin(a)) for a in np.linspace(math.radians(-165), math.radians(165), 60)]
    return body + [(-1, 0.55), (-0.8, 0), (-1, -0.55)]


SHAPES = {
    "circle": (_arc((0, 0), 0.9, 0, 360, 80), []),
    "ring": (_arc((0, 0), 1, 0, 360, 80), [_arc((0, 0), 0.55, 0, 360, 60)]),
    "star": (_star(), []),
    "cross": ([(-0.3, -1), (0.3, -1), (0.3, -0.3), (1, -0.3), (1, 0.3), (0.3, 0.3), (0.3, 1), (-0.3, 1), (-0.3, 0.3), (-1, 0.3), (-1, -0.3), (-0.3, -0.3)], []),
    "leaf": (_leaf(), [[(-0.06, -0.6), (0.06, -0.6), (0.06, 0.9), (-0.06, 0.9)]]),
    "fish": (_fish(), [_arc((0.6, -0.12), 0.13, 0, 360, 20)]),
    "moon": (_moon(), []),
    "heart": (_heart(), []),
    "diamond": ([(0, -1.05), (0.62, 0), (0, 1.05), (-0.62, 0)], []),
    "flower": (_polar(lambda a: 0.7 + 0.32 * math.cos(5 * a)), [_arc((0, 0), 0.24, 0, 360, 30)]),
    "square": ([(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)], []),
    "triangle": ([(0, -0.95), (1, 0.8), (-1, 0.8)], []),
}  # fmt: skip


def _place(points, x, y, radius, turn):
    c, s = math.cos(turn) * radius, math.sin(turn) * radius
    return [((x + c * px - s * py) * SUPERSAMPLE, (y + s * px + c * py) * SUPERSAMPLE) for px, py in points]


def _positions(spec: Spec, rng: np.random.Generator):
    """Centres, radius and the angle of every motif of an image, in pixels and radians."""
    if spec.layout == "medallion":
        return [(SIZE / 2, SIZE / 2)], 92 * rng.uniform(0.93, 1.07), [0.0]
    rows = 4 if spec.scale == "small" else 2
    pitch = SIZE / rows
    radius = pitch * 0.39 * rng.uniform(0.95, 1.05)
    if spec.layout == "scattered":
        # Dart throwing: motifs may not touch, and a few are enough.
        wanted, radius = (11, 26 * rng.uniform(0.95, 1.1)) if spec.scale == "small" else (4, 46 * rng.uniform(0.95, 1.05))
        centres = []
        for _ in range(300):
            x, y = rng.uniform(radius * 0.9, SIZE - radius * 0.9, 2)
            if all(math.hypot(x - a, y - b) > 2.15 * radius for a, b in centres):
                centres.append((x, y))
            if len(centres) == wanted:
                break
        return centres, radius, list(rng.uniform(-0.5, 0.5, len(centres)))
    if spec.layout == "striped":
        radius *= 0.86  # leaves room for the stripes between the rows
    centres = []
    for row in range(rows):
        # A brick layout shifts every other row by half a motif, which then runs off both sides.
        shift = 0.5 if spec.layout == "brick" and row % 2 else 0.0
        centres += [((col + 0.5 - shift) * pitch, (row + 0.5) * pitch) for col in range(rows + (shift > 0))]
    return centres, radius, [0.0] * len(centres)


def _downsample(mask: Image.Image) -> np.ndarray:
    return np.asarray(mask.reduce(SUPERSAMPLE), np.float32)[..., None] / 255


def draw(spec: Spec, rng: np.random.Generator) -> np.ndarray:
    """Paints a spec: uint8 [256, 256, 3]. The same spec looks a little different for each `rng`."""
    big = SIZE * SUPERSAMPLE
    mask = Image.new("L", (big, big), 0)
    pen = ImageDraw.Draw(mask)
    centres, radius, turns = _positions(spec, rng)
    outline, holes = SHAPES[spec.motif]
    for (x, y), turn in zip(centres, turns):
        pen.polygon(_place(outline, x, y, radius, turn), fill=255)
        for hole in holes:
            pen.polygon(_place(hole, x, y, radius, turn), fill=0)
    if spec.layout == "striped":
        rows = 4 if spec.scale == "small" else 2
        half = 4.5 if spec.scale == "small" else 7
        for edge in range(rows + 1):
            y = edge * SIZE / rows
            pen.rectangle([0, (y - half) * SUPERSAMPLE, big, (y + half) * SUPERSAMPLE - 1], fill=255)
    cover = _downsample(mask)

    def tint(name):  # a dyer never hits the same colour twice
        return np.array(COLOURS[name], np.float32) + rng.uniform(-7, 7, 3).astype(np.float32)

    colour, ground = tint(spec.colour), tint(spec.ground)
    image = ground * (1 - cover) + colour * cover
    if spec.finish == "speckled":
        dots = Image.new("L", (big, big), 0)
        pen = ImageDraw.Draw(dots)
        for x, y in rng.uniform(0, big, (150, 2)):
            r = rng.uniform(2.2, 3.4) * SUPERSAMPLE
            pen.ellipse([x - r, y - r, x + r, y + r], fill=255)
        dots = _downsample(dots) * (1 - cover)
        image = image * (1 - dots) + colour * dots
    elif spec.finish == "faded":
        # Sun-bleached towards the edges: both colours go pale there.
        axis = np.abs(np.linspace(-1, 1, SIZE, dtype=np.float32))
        edge = np.maximum(axis[:, None], axis[None, :])[..., None]
        amount = np.clip((edge - 0.5) / 0.5, 0, 1) * 0.65
        image = image * (1 - amount) + np.float32(226) * amount
    elif spec.finish == "framed":
        width = 11
        image[:width] = image[-width:] = colour
        image[:, :width] = image[:, -width:] = colour
    return np.clip(image, 0, 255).astype(np.uint8)


# ---- captions ----


def _pick(rng, options):
    return options[rng.integers(len(options))]


def describe(spec: Spec, rng: np.random.Generator, complete: bool = False) -> str:
    """Puts a spec into words. Unless `complete`, layout, scale and finish are sometimes left unsaid,
    so that short prompts work too; motif and colours are always named."""
    one, many = spec.motif, MOTIFS[spec.motif]
    say = lambda: complete or rng.random() > 0.2  # noqa: E731
    cloth = _pick(rng, ["cloth", "fabric", "textile", "ground", "background", "cotton"])
    article = "an" if spec.ground == "orange" else "a"
    on = _pick(rng, [f"on {spec.ground} {cloth}", f"on {article} {spec.ground} {cloth}", f"on {spec.ground}"])
    if spec.layout == "medallion":
        size = _pick(rng, ["one large", "a single large", "one big", "a large"])
        subject = f"{size} {spec.colour} {one}"
        where = _pick(rng, ["", " in the middle", " in the centre", ", medallion"])
    else:
        size = {"small": ["small ", "little ", "tiny "], "large": ["large ", "big "]}[spec.scale]
        subject = f"{_pick(rng, size) if say() else ''}{spec.colour} {many}"
        where = {
            "grid": [" in a grid", " in a square grid", ", grid layout", " in even rows and columns"],
            "brick": [" in a brick pattern", " in a half drop repeat", ", brick layout", " staggered like bricks"],
            "striped": [" between stripes", " with stripes", ", striped", " in striped rows"],
            "scattered": [" scattered", " scattered freely", ", tossed at random", " strewn about"],
        }[spec.layout]
        where = _pick(rng, where) if say() else ""
    finish = {
        "plain": ["", "", ", plain"],
        "speckled": [", speckled", " with speckles", ", sprinkled with dots"],
        "faded": [", faded edges", " with faded edges", ", faded"],
        "framed": [", framed", " with a border", ", with a frame"],
    }[spec.finish]
    finish = _pick(rng, finish) if say() else ""
    caption = f"{subject} {on}{where}{finish}" if rng.random() < 0.5 else f"{subject}{where} {on}{finish}"
    if rng.random() < 0.15:
        caption = _pick(rng, ["a textile with ", "a pattern of ", "printed cloth, ", "an image of "]) + caption
    return caption


# ---- sets ----

HELD_OUT = Path(__file__).with_name("held-out.json")


def held_out() -> list[Spec]:
    """The 100 specs of the evaluation, all different. No training has ever drawn any of them: they are listed in a file,
    because what a seed gives changes with the odds above."""
    return [Spec(**spec) for spec in json.loads(HELD_OUT.read_text())]


def is_drawn(spec: Spec) -> bool:
    """Whether the odds allow a spec."""
    return LAYOUT_ODDS[LAYOUTS.index(spec.layout)] > 0 and FINISH_ODDS[FINISHES.index(spec.finish)] > 0


def training_set(count: int, seed: int):
    """Yields (spec, image, caption) `count` times, without the held-out specs."""
    rng = np.random.default_rng(seed)
    forbidden = set(held_out())
    while count:
        spec = random_spec(rng)
        if spec not in forbidden:
            count -= 1
            yield spec, draw(spec, rng), describe(spec, rng)


def scribble(rng: np.random.Generator) -> np.ndarray:
    """An image of nothing in particular: random shapes, lines, arcs and shades in random colours.
    The autoencoder sees these too, so that it can carry images other than the motifs above."""
    scale = 2
    big = SIZE * scale
    shade = lambda: tuple(int(v) for v in rng.integers(0, 256, 3))  # noqa: E731
    corners = rng.integers(0, 256, (2, 2, 3)).astype(np.uint8)
    image = Image.fromarray(corners).resize((big, big), Image.BILINEAR)
    pen = ImageDraw.Draw(image)
    for _ in range(rng.integers(8, 40)):
        x, y = (float(v) for v in rng.uniform(0, big, 2))
        r, width = float(rng.uniform(6, 120)), int(rng.integers(4, 20))
        kind = rng.integers(5)
        if kind == 0:
            pen.ellipse([x - r, y - r, x + r, y + r], fill=shade())
        elif kind == 1:
            pen.ellipse([x - r, y - r, x + r, y + r], outline=shade(), width=width)
        elif kind == 2:
            turn = rng.uniform(0, 7)
            pen.line([x, y, x + 3 * r * math.cos(turn), y + 3 * r * math.sin(turn)], fill=shade(), width=width)
        elif kind == 3:
            pen.polygon([tuple(float(v) for v in rng.uniform(-r, r, 2) + (x, y)) for _ in range(rng.integers(3, 7))], fill=shade())
        else:  # rings one inside the other
            colour = shade()
            for inner in np.arange(r, 0, -2.0 * width):
                pen.ellipse([x - inner, y - inner, x + inner, y + inner], outline=colour, width=width)
    return np.asarray(image.reduce(scale))


if __name__ == "__main__":  # a look at the data: python data.py sheet.png
    import sys

    rng = np.random.default_rng(1)
    sheet = Image.new("RGB", (8 * SIZE, 6 * SIZE))
    for i in range(48):
        spec = random_spec(rng)
        if i < 12:
            spec = Spec(list(MOTIFS)[i], spec.colour, spec.ground, "medallion", "large", "plain")
        elif i >= 42:
            sheet.paste(Image.fromarray(scribble(rng)), (i % 8 * SIZE, i // 8 * SIZE))
            continue
        print(i, describe(spec, rng))
        sheet.paste(Image.fromarray(draw(spec, rng)), (i % 8 * SIZE, i // 8 * SIZE))
    sheet.resize((1024, 768), Image.LANCZOS).save(sys.argv[1])
