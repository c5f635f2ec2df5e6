"""Motifs that are signs and things: each function inks one, `v` (0 to 1) varying its proportions a little."""

import math

import numpy as np

from .pen import Pen, Points, arc, mirrored, smooth, turned


def polar(radius_at, n: int = 160) -> Points:
    return [(radius_at(a) * math.sin(a), -radius_at(a) * math.cos(a)) for a in np.linspace(0, 2 * math.pi, n)]


def regular(corners: int, outer: float, inner: float | None = None) -> Points:
    """A polygon, or a star when `inner` is given; one corner points up."""
    radii = [outer] * corners if inner is None else [outer, inner] * corners
    step = 2 * math.pi / len(radii)
    return [(r * math.sin(i * step), -r * math.cos(i * step)) for i, r in enumerate(radii)]


def box(x: float, y: float, w: float, h: float) -> Points:
    """By its centre and half its sides."""
    return [(x - w, y - h), (x + w, y - h), (x + w, y + h), (x - w, y + h)]


def circle(pen: Pen, v: float):
    pen.dot(0, 0, 0.92)


def ring(pen: Pen, v: float):
    pen.dot(0, 0, 0.96)
    pen.dot(0, 0, 0.5 + 0.08 * v, 0)


def star(pen: Pen, v: float):
    pen.add(turned(regular(5, 1.08, 0.42 + 0.05 * v), 0, 0, 0.06))


def cross(pen: Pen, v: float):
    flare, waist = 0.36 + 0.1 * v, 0.2
    arm = [(-waist, 0), (-flare, -1), (flare, -1), (waist, 0)]
    for quarter in range(4):
        pen.add(turned(arm, 90 * quarter))
    pen.add(box(0, 0, waist, waist))


def moon(pen: Pen, v: float):
    pen.dot(0.08, 0, 0.98)
    pen.dot(0.5 + 0.06 * v, -0.04, 0.8, 0)


def heart(pen: Pen, v: float):
    pen.add([
        (16 * math.sin(t) ** 3 / 16.5, -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t) + 2.5) / 15.5)
        for t in np.linspace(0, 2 * math.pi, 120)
    ])  # fmt: skip


def diamond(pen: Pen, v: float):
    for size, ink in ((1.06, 255), (0.66, 0), (0.4, 255)):
        pen.add([(0, -size), (size * 0.72, 0), (0, size), (-size * 0.72, 0)], ink)


def square(pen: Pen, v: float):
    pen.add(box(0, 0, 0.84, 0.84))


def triangle(pen: Pen, v: float):
    pen.add([(0, -0.95), (1.02, 0.8), (-1.02, 0.8)])


def spiral(pen: Pen, v: float):
    turns = 2.6
    angles = np.linspace(0.4, 2 * math.pi * turns, 300)
    pen.line([(0.93 * (a / angles[-1]) * math.cos(a), 0.93 * (a / angles[-1]) * math.sin(a)) for a in angles], 0.2, end=0.17)


def sun(pen: Pen, v: float):
    pen.dot(0, 0, 0.5)
    for i in range(12):
        pen.add(turned([(-0.15, -0.6), (0, -1.08), (0.15, -0.6)], 30 * i))


def osubamba(pen: Pen, v: float):
    """The great moon: a tied circle in a circle, with a ring of small ties."""
    pen.dot(0, 0, 0.6)
    pen.dot(0, 0, 0.42, 0)
    pen.dot(0, 0, 0.24)
    for i in range(14):
        pen.dot(0.88 * math.cos(i * math.pi / 7), 0.88 * math.sin(i * math.pi / 7), 0.125)


def olokun(pen: Pen, v: float):
    """A square of the sea goddess's cloth: a frame, quartered by diagonals, with a boss in the middle."""
    pen.add(box(0, 0, 0.96, 0.96))
    pen.cut(box(0, 0, 0.8, 0.8))
    for quarter in range(4):
        pen.add(turned([(-0.56, -0.72), (0.56, -0.72), (0, -0.16)], 90 * quarter))
    pen.dot(0, 0, 0.3, 0)
    pen.dot(0, 0, 0.19)


def comb(pen: Pen, v: float):
    pen.add(smooth([(-0.78, -0.18), (-0.7, -0.5), (-0.42, -0.62), (-0.3, -0.92), (0, -1.04), (0.3, -0.92), (0.42, -0.62), (0.7, -0.5), (0.78, -0.18), (0.78, 0.06), (-0.78, 0.06)]))
    pen.add(box(0, 0, 0.8, 0.14))
    pen.dot(0, -0.62, 0.17, 0)
    for i in range(7):
        x = -0.705 + i * 0.235
        pen.line([(x, 0.1), (x, 0.98)], 0.13, end=0.09)


def drum(pen: Pen, v: float):
    """The talking drum: an hourglass of cords between two skins."""
    side = smooth([(0.7, -0.66), (0.34, -0.3), (0.22, 0), (0.34, 0.3), (0.7, 0.66)], closed=False)
    pen.add(side + mirrored(side))
    for x in (-0.5, -0.17, 0.17, 0.5):
        pen.carve(smooth([(x, -0.66), (x * 0.42, -0.24), (x * 0.32, 0), (x * 0.42, 0.24), (x, 0.66)], closed=False), 0.075)
    for y in (-0.8, 0.8):
        pen.add(arc(0, y, 0.86, 0.26, 0, 360))
        pen.add(arc(0, y - 0.03, 0.62, 0.13, 0, 360), 0)
    pen.add(box(0, 0, 0.29, 0.075))


def pot(pen: Pen, v: float):
    half = smooth([(0.36, -0.72), (0.32, -0.54), (0.72, -0.22), (0.9, 0.2), (0.7, 0.66), (0.34, 0.94)], closed=False)
    pen.add(half + mirrored(half))
    pen.line([(-0.46, -0.82), (0.46, -0.82)], 0.24)
    pen.carve([(-0.66, -0.13), (0.66, -0.13)], 0.07)
    pen.carve([(-0.78, 0.42), (0.78, 0.42)], 0.07)
    zigzag = [(-0.72 + i * 0.18, 0.03 if i % 2 else 0.25) for i in range(9)]
    pen.carve(zigzag, 0.09)


def crown(pen: Pen, v: float):
    pen.add([(-0.86, 0.4), (-1.0, -0.5), (-0.5, -0.02), (0, -0.72), (0.5, -0.02), (1.0, -0.5), (0.86, 0.4)])
    for x, y in ((-1.0, -0.58), (0, -0.84), (1.0, -0.58)):
        pen.dot(x, y, 0.16)
    pen.add(box(0, 0.68, 0.88, 0.2))
    for x in (-0.5, 0, 0.5):
        pen.dot(x, 0.68, 0.1, 0)


def umbrella(pen: Pen, v: float):
    pen.add(arc(0, 0.12, 1.02, 1.02, 180, 360))
    for i in range(4):  # the scalloped hem
        pen.add(arc(-0.765 + i * 0.51, 0.14, 0.235, 0.17, 180, 360), 0)
    for x in (-0.51, 0.51):
        pen.carve(smooth([(0, -0.86), (x * 0.8, -0.5), (x, 0.06)], closed=False), 0.07)
    pen.line([(0, -1.06), (0, -0.9)], 0.12)
    pen.line([(0, -0.1), (0, 0.82), *arc(-0.2, 0.82, 0.2, 0.2, 0, 170, 20)], 0.13)


def eye(pen: Pen, v: float):
    lid = [(x, -0.62 * math.cos(x / 1.06 * math.pi / 2)) for x in np.linspace(-1.06, 1.06, 60)]
    pen.add(lid + [(x, -y) for x, y in reversed(lid)])
    inner = [(x * 0.78, y * 0.74) for x, y in lid]
    pen.cut(inner + [(x, -y) for x, y in reversed(inner)])
    pen.dot(0, 0, 0.4)
    pen.dot(0, 0, 0.17, 0)
    for x in (-0.62, -0.22, 0.22, 0.62):
        pen.line([(x, -0.66 * math.cos(x / 1.06 * math.pi / 2)), (x * 1.3, -0.9 + 0.22 * abs(x))], 0.1)


def hand(pen: Pen, v: float):
    pen.add(smooth([(-0.42, 0.98), (-0.5, 0.4), (-0.46, -0.06), (0, -0.14), (0.46, -0.02), (0.5, 0.4), (0.36, 0.98)]))
    for x, y, top, lean in ((-0.37, 0, -0.72, -0.14), (-0.12, 0, -0.98, -0.04), (0.14, 0, -0.94, 0.06), (0.38, 0.05, -0.66, 0.16)):
        pen.line([(x, y), (x + lean, top)], 0.215, end=0.19)
    pen.line(smooth([(-0.34, 0.62), (-0.68, 0.36), (-0.9, 0.0)], closed=False), 0.26, end=0.2)
    spin = np.linspace(0.3, 2 * math.pi * 1.6, 60)
    pen.carve([(0.0 + 0.25 * a / spin[-1] * math.cos(a), 0.4 + 0.25 * a / spin[-1] * math.sin(a)) for a in spin], 0.08)
