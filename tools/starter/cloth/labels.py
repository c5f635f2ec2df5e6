"""What can be asked about a cloth, as numbers."""

from dataclasses import replace

import numpy as np

from . import spec as s
from .atlas import MOTIFS
from .spec import Spec

NOTHING = ""
# For each question its possible answers.
QUESTIONS = {
    "motif": list(MOTIFS),
    "colour": list(s.COLOURS),
    "ground": list(s.COLOURS),
    "layout": list(s.LAYOUTS),
    "scale": list(s.SCALES),
    "cloth": list(s.CLOTHS),
    "finish": list(s.FINISHES),
    "border": list(s.BORDERS),
    "detail": list(s.DETAILS),
    "count": [0, 2, 3, 4],
    "second": [NOTHING, *MOTIFS],
    "second_colour": [NOTHING, *s.COLOURS],
}


def answers(spec: Spec) -> list[int]:
    return [options.index(getattr(spec, name)) for name, options in QUESTIONS.items()]


def altered(spec: Spec, rng: np.random.Generator) -> list[Spec]:
    """Specs that differ in one thing each: motif, colour, ground, colours exchanged, layout."""
    other = lambda name, taken: str(rng.choice([o for o in QUESTIONS[name] if o not in taken]))  # noqa: E731
    colours = (spec.colour, spec.ground, spec.second_colour)
    swapped = {spec.colour: spec.ground, spec.ground: spec.colour}
    layout = other("layout", (spec.layout,))
    return [
        replace(spec, motif=other("motif", (spec.motif, spec.second))),
        replace(spec, colour=other("colour", colours)),
        replace(spec, ground=other("ground", colours)),
        replace(spec, colour=spec.ground, ground=spec.colour, second_colour=swapped.get(spec.second_colour, spec.second_colour)),
        replace(spec, layout=layout, count=int(rng.integers(2, 5)) if layout == "row" else 0,
                **(dict(second="", second_colour="") if layout not in s.PAIRED else {})),
    ]  # fmt: skip


ALTERED = 5
