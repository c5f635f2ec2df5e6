"""A pen for motifs: shapes in a box from -1 to 1, y downwards, drawn large and averaged down."""

import math

import numpy as np
from PIL import Image, ImageDraw

BOX = 1.2  # half the side of the paper: a motif may reach a little beyond its box
PAPER = 256  # pixels of a finished drawing
OVER = 3  # drawn this many times larger

Points = list[tuple[float, float]]


def arc(x: float, y: float, rx: float, ry: float, start: float, end: float, n: int = 48) -> Points:
    """Part of an ellipse; degrees, clockwise from the right."""
    return [(x + rx * math.cos(a), y + ry * math.sin(a)) for a in np.radians(np.linspace(start, end, n))]


def turned(points: Points, degrees: float, x: float = 0.0, y: float = 0.0) -> Points:
    """Turned about the origin, then moved."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return [(x + c * px - s * py, y + s * px + c * py) for px, py in points]


def mirrored(points: Points) -> Points:
    return [(-x, y) for x, y in reversed(points)]


def smooth(points: Points, closed: bool = True, n: int = 14) -> Points:
    """A Catmull-Rom curve through the points."""
    p = np.array(points, float)
    p = np.concatenate([p[-1:], p, p[:2]] if closed else [2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    out = []
    for a, b, c, d in zip(p, p[1:], p[2:], p[3:]):
        for t in np.arange(n) / n:
            out.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3))
    return [tuple(q) for q in out] + ([] if closed else [tuple(p[-2])])


class Pen:
    """Inks with `add`, erases with `cut`; the last stroke wins."""

    def __init__(self):
        self.image = Image.new("L", (PAPER * OVER, PAPER * OVER), 0)
        self.draw = ImageDraw.Draw(self.image)

    def _pixels(self, points: Points) -> Points:
        scale = PAPER * OVER / (2 * BOX)
        return [((x + BOX) * scale, (y + BOX) * scale) for x, y in points]

    def add(self, points: Points, ink: int = 255):
        self.draw.polygon(self._pixels(points), fill=ink)

    def cut(self, points: Points):
        self.add(points, 0)

    def dot(self, x: float, y: float, radius: float, ink: int = 255):
        self.add(arc(x, y, radius, radius, 0, 360), ink)

    def line(self, points: Points, width: float, ink: int = 255, end: float | None = None):
        """A stroke with round ends, `end` its width there when it tapers."""
        end = width if end is None else end
        count = max(2, int(sum(math.dist(a, b) for a, b in zip(points, points[1:])) / 0.012))
        steps = np.concatenate([[0], np.cumsum([math.dist(a, b) for a, b in zip(points, points[1:])])])
        at = np.linspace(0, steps[-1], count)
        xs, ys = np.interp(at, steps, [p[0] for p in points]), np.interp(at, steps, [p[1] for p in points])
        scale = PAPER * OVER / (2 * BOX)
        for x, y, w in zip(xs, ys, np.linspace(width, end, count)):
            r = w / 2 * scale
            px, py = (x + BOX) * scale, (y + BOX) * scale
            self.draw.ellipse([px - r, py - r, px + r, py + r], fill=ink)

    def carve(self, points: Points, width: float, end: float | None = None):
        self.line(points, width, 0, end)
