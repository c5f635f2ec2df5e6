"""Motifs that live and grow: each function inks one, `v` (0 to 1) varying its proportions a little."""

import math

import numpy as np

from .pen import Pen, arc, mirrored, smooth, turned


def leaf(pen: Pen, v: float):
    wide = 0.56 + 0.08 * v
    half = [(wide * math.sin(t) ** 1.15, -math.cos(t)) for t in np.linspace(0, math.pi, 50)]
    pen.add(half + mirrored(half))
    pen.carve([(0, -0.72), (0, 0.78)], 0.06, 0.1)
    for y in (-0.3, 0.02, 0.34):
        for side in (-1, 1):
            pen.carve([(0, y + 0.2), (side * 0.36, y - 0.1)], 0.07, 0.045)
    pen.line([(0, 0.92), (0, 1.12)], 0.12)


def flower(pen: Pen, v: float):
    petal = smooth([(0, -0.24), (0.3, -0.56), (0.26, -0.92), (0, -1.04), (-0.26, -0.92), (-0.3, -0.56)])
    for i in range(6):
        pen.add(turned(petal, 60 * i))
        pen.carve(turned([(0, -0.5), (0, -0.76)], 60 * i), 0.06)
    pen.dot(0, 0, 0.34, 0)
    pen.dot(0, 0, 0.23)


def palm(pen: Pen, v: float):
    pen.line(smooth([(0.14, 1.06), (0.06, 0.5), (-0.06, 0.0), (-0.02, -0.34)], closed=False), 0.27, end=0.15)
    for y in (0.84, 0.58, 0.32, 0.08):
        pen.carve([(-0.14, y + 0.04), (0.24, y - 0.02)], 0.05)
    for degrees in (-98, -52, -18, 18, 52, 98):
        side = 1 if degrees > 0 else -1
        frond = [(0, 0), (0.16, -0.28), (0.17, -0.62), (0.02, -1.0), (-0.02, -0.6), (-0.08, -0.26)]
        frond = [(side * x, y * (0.8 if abs(degrees) < 30 else 0.98)) for x, y in frond]
        pen.add(turned(smooth(frond), degrees, -0.02, -0.36))
    for x, y in ((-0.13, -0.26), (0.11, -0.25), (0, -0.14)):
        pen.dot(x, y, 0.1)


def pepper(pen: Pen, v: float):
    pod = [(-0.46, -0.42), (-0.1, -0.58), (0.3, -0.44), (0.44, -0.06), (0.4, 0.36), (0.56, 0.74), (0.86, 0.98), (0.34, 1.0), (-0.1, 0.74), (-0.38, 0.3)]
    pen.add(smooth(pod))
    pen.carve(smooth([(-0.2, -0.12), (-0.1, 0.3), (0.16, 0.68)], closed=False), 0.07, 0.05)  # light on its flank
    pen.carve(smooth([(-0.6, -0.34), (-0.3, -0.36), (-0.12, -0.26), (0.1, -0.36), (0.5, -0.36)], closed=False), 0.08)
    pen.add(smooth([(-0.54, -0.44), (-0.4, -0.68), (-0.1, -0.74), (0.22, -0.68), (0.38, -0.46), (0.1, -0.46), (-0.1, -0.36), (-0.3, -0.46)]))
    pen.line(smooth([(-0.1, -0.66), (-0.14, -0.9), (-0.4, -1.06)], closed=False), 0.16, end=0.13)


def fish(pen: Pen, v: float):
    tall = 0.46 + 0.06 * v
    pen.add(smooth([(-1.0, 0.04), (-0.66, -tall * 0.8), (-0.1, -tall), (0.4, -0.22), (0.66, -0.06), (0.66, 0.08), (0.4, 0.24), (-0.1, tall), (-0.66, tall * 0.82)]))
    pen.add(smooth([(0.56, 0), (0.86, -0.44), (1.12, -0.56), (1.0, -0.14), (0.98, 0.0), (1.0, 0.14), (1.12, 0.56), (0.86, 0.44)]))
    pen.add(smooth([(-0.42, -tall * 0.86), (-0.1, -0.82), (0.34, -0.66), (0.3, -0.3)]))
    pen.add(smooth([(-0.2, tall * 0.9), (0.02, 0.78), (0.3, 0.66), (0.22, 0.3)]))
    pen.dot(-0.66, -0.1, 0.1, 0)
    pen.carve(arc(-0.66, 0.02, 0.34, 0.44, -52, 52, 20), 0.075)
    for x in (-0.06, 0.22):
        pen.carve(arc(x - 0.2, 0.02, 0.22, 0.27, -62, 62, 16), 0.07)


def bird(pen: Pen, v: float):
    """Standing, looking left, with a fan of tail feathers."""
    body = [(-0.74, -0.62), (-0.5, -0.8), (-0.24, -0.64), (-0.16, -0.3), (0.2, -0.16), (0.52, -0.1), (0.56, 0.14), (0.3, 0.42), (-0.1, 0.5), (-0.46, 0.3), (-0.6, -0.08), (-0.62, -0.42)]
    pen.add(smooth(body))
    pen.add([(-0.66, -0.66), (-1.08, -0.5), (-0.64, -0.42)])
    for degrees in (-4, 20, 44):
        pen.add(turned(smooth([(-0.1, -0.09), (0.3, -0.13), (0.64, -0.1), (0.7, 0.04), (0.3, 0.1), (-0.1, 0.09)]), -degrees, 0.42, -0.02))
    pen.dot(-0.5, -0.58, 0.085, 0)
    pen.carve(smooth([(-0.34, -0.08), (-0.22, 0.24), (0.1, 0.3), (0.42, 0.08)], closed=False), 0.07)
    pen.carve(smooth([(-0.12, -0.02), (0.02, 0.13), (0.28, 0.06)], closed=False), 0.07)
    for x in (-0.16, 0.12):
        pen.line([(x, 0.44), (x, 0.96), (x - 0.2, 0.98)], 0.1)
        pen.line([(x, 0.96), (x + 0.14, 1.0)], 0.09)


def butterfly(pen: Pen, v: float):
    upper = smooth([(0.06, -0.12), (0.3, -0.66), (0.72, -0.92), (1.06, -0.74), (0.98, -0.3), (0.6, 0.0), (0.1, 0.04)])
    lower = smooth([(0.08, 0.06), (0.52, 0.08), (0.84, 0.34), (0.78, 0.78), (0.46, 0.92), (0.18, 0.6)])
    for wing in (upper, lower):
        pen.add(wing)
        pen.add(mirrored(wing))
    for side in (-1, 1):
        pen.dot(side * 0.68, -0.5, 0.17, 0)
        pen.dot(side * 0.52, 0.5, 0.14, 0)
    pen.carve([(0, -0.7), (0, 0.8)], 0.25)
    pen.line([(0, -0.46), (0, 0.72)], 0.15, end=0.1)
    pen.dot(0, -0.54, 0.11)
    for side in (-1, 1):
        pen.line(smooth([(0, -0.58), (side * 0.1, -0.86), (side * 0.3, -1.06)], closed=False), 0.065)


def snake(pen: Pen, v: float):
    bends = [(-0.5, 0.98), (0.3, 0.94), (0.78, 0.66), (0.5, 0.36), (-0.1, 0.24), (-0.68, 0.04), (-0.66, -0.36), (-0.14, -0.46), (0.36, -0.58), (0.42, -0.86)]
    line = smooth(bends, closed=False, n=20)
    pen.line(line, 0.08, end=0.3)
    pen.add(turned(smooth([(0.16, -0.2), (0.36, -0.16), (0.56, 0), (0.36, 0.16), (0.16, 0.2), (-0.14, 0.12), (-0.14, -0.12)]), -150, 0.4, -0.84))
    pen.dot(0.2, -0.97, 0.07, 0)
    for i in range(30, 165, 13):  # bands across the back
        (ax, ay), (bx, by) = line[i - 1], line[i + 1]
        across = math.degrees(math.atan2(by - ay, bx - ax)) + 90
        reach = 0.03 + 0.1 * i / len(line)
        pen.carve(turned([(-reach, 0), (reach, 0)], across, *line[i]), 0.06)


def tortoise(pen: Pen, v: float):
    """From above, the head up."""
    pen.add(arc(0, 0.06, 0.62, 0.72, 0, 360))
    pen.add(arc(0, -0.86, 0.21, 0.25, 0, 360))
    pen.line([(0, -0.8), (0, -0.5)], 0.24)
    for side in (-1, 1):
        pen.line([(side * 0.46, -0.46), (side * 0.84, -0.72)], 0.27, end=0.22)
        pen.line([(side * 0.46, 0.58), (side * 0.78, 0.88)], 0.25, end=0.2)
    pen.line([(0, 0.74), (0, 1.04)], 0.14, end=0.05)
    hexagon = [(0.26 * math.cos(a), 0.06 + 0.3 * math.sin(a)) for a in np.arange(7) * math.pi / 3]
    pen.carve(hexagon, 0.075)
    for a in np.arange(6) * math.pi / 3:
        pen.carve([(0.26 * math.cos(a), 0.06 + 0.3 * math.sin(a)), (0.56 * math.cos(a), 0.06 + 0.66 * math.sin(a))], 0.075)


def cowrie(pen: Pen, v: float):
    pen.add(smooth([(0, -1.0), (0.46, -0.84), (0.72, -0.3), (0.7, 0.3), (0.42, 0.86), (0, 1.0), (-0.42, 0.86), (-0.7, 0.3), (-0.72, -0.3), (-0.46, -0.84)]))
    slit = smooth([(0.06, -0.84), (-0.05, -0.4), (0.0, 0.0), (-0.05, 0.4), (0.06, 0.84)], closed=False)
    pen.carve(slit, 0.16)
    for y in np.linspace(-0.62, 0.62, 7):
        for side in (-1, 1):
            pen.carve([(side * 0.06, y), (side * 0.3, y)], 0.075, 0.06)


def lizard(pen: Pen, v: float):
    """From above, climbing, the tail curled."""
    spine = smooth([(0.1, -0.72), (-0.04, -0.36), (0.06, 0.06), (0.0, 0.36)], closed=False)
    pen.line(spine, 0.3, end=0.34)
    pen.line(smooth([(0.0, 0.36), (-0.12, 0.66), (-0.02, 0.94), (0.2, 1.06), (0.4, 0.98), (0.42, 0.82)], closed=False), 0.28, end=0.08)
    pen.add(turned(smooth([(0, -0.34), (0.2, -0.1), (0.17, 0.14), (0, 0.22), (-0.17, 0.14), (-0.2, -0.1)]), 12, 0.13, -0.78))
    for side, y in ((-1, -0.4), (1, -0.36), (-1, 0.3), (1, 0.24)):
        up = -1 if y < 0 else 1
        pen.line([(side * 0.06, y), (side * 0.5, y + up * 0.04), (side * 0.68, y + up * 0.34)], 0.13)
        for toe in (-0.14, 0.0, 0.14):
            pen.line([(side * 0.68, y + up * 0.32), (side * 0.7 + toe, y + up * 0.5)], 0.07)
    pen.carve([(0.05, -0.42), (0.0, -0.2), (0.06, 0.06), (0.0, 0.34)], 0.07)
