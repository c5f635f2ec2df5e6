"""Drawn cloth: the second recipe of the starter model, see ../README.md. Its data, under the names that `../data.py` has."""

from .atlas import MOTIFS
from .paint import draw
from .spec import COLOURS, Spec, held_out
from .words import describe

__all__ = ["COLOURS", "MOTIFS", "Spec", "describe", "draw", "held_out"]
