"""Puts a spec into plain English, never twice quite the same."""

import numpy as np

from .atlas import MOTIFS
from .spec import REPEATS, Spec

# Other names, singular and plural, that are used now and then.
ALSO = {
    "osubamba": ("osubamba circle", "osubamba circles"), "olokun": ("olokun square", "olokun squares"),
    "moon": ("crescent moon", "crescent moons"), "palm": ("palm tree", "palm trees"), "drum": ("talking drum", "talking drums"),
    "pepper": ("chilli pepper", "chilli peppers"), "tortoise": ("turtle", "turtles"), "cowrie": ("cowrie shell", "cowrie shells"),
    "square": ("plain square", "plain squares"), "flower": ("blossom", "blossoms"), "pot": ("clay pot", "clay pots"),
}  # fmt: skip
NUMBERS = {1: "one", 2: "two", 3: "three", 4: "four"}
SIZES = {"small": ("small", "little", "tiny"), "medium": ("medium", "medium-sized"), "large": ("large", "big")}
WHERE = {
    "grid": (" in a grid", " in even rows and columns", " in a square grid", " in rows"),
    "brick": (" in a brick pattern", " in a half-drop repeat", " staggered like bricks", " in shifted rows"),
    "striped": (" between stripes", " with stripes", " in striped rows", ", striped"),
    "scattered": (" scattered freely", " scattered", " tossed at random", " strewn about"),
    "medallion": (" in the middle", " in the centre", "", ""),
    "wreath": (" in a wreath", " arranged in a wreath", " set in a circle"),
    "checks": (" in a checkerboard", ", chequered", " on checks", " in a checked pattern"),
    "squares": (" in square frames", " each in a frame of its own", " framed one by one"),
    "lattice": (" in a diamond lattice", " in a lattice", " between diagonal lines"),
    "row": ("", " side by side", ""),
}  # fmt: skip
FINISH = {
    "plain": ("", "", "", "crisp", "new"),
    "faded": ("faded", "faded by the sun", "with faded colours", "sun-bleached"),
    "crackled": ("crackled", "with crackle", "with fine cracks", "cracked"),
    "washed": ("washed out", "with running dye", "the dye bleeding", "with soft bleeding edges"),
    "creased": ("creased", "with creases", "folded and opened again", "with fold lines"),
}  # fmt: skip
BORDER = {
    "band": ("with a border", "with a plain border", "bordered", "with a band around it"),
    "zigzag": ("with a zigzag border", "zigzag border", "with a toothed border"),
    "dots": ("with a dotted border", "dotted border", "with a border of dots"),
}  # fmt: skip
DETAIL = {
    "outlined": ("outlined", "with outlines", "drawn with an outline"),
    "dotted": ("among dots", "dotted ground", "with small dots between", "the ground dotted"),
}  # fmt: skip
CLOTH = {
    "cotton": ("cotton", "cotton cloth"), "linen": ("linen", "coarse linen", "linen cloth"),
    "denim": ("denim", "twill"), "silk": ("silk", "shiny silk", "satin"),
}  # fmt: skip
ANY_CLOTH = ("cloth", "fabric", "textile", "cloth")
FRAMES = ("a textile with ", "a pattern of ", "printed cloth, ", "a photo of ", "african print, ", "a piece of cloth with ")


def describe(spec: Spec, rng: np.random.Generator, complete: bool = False) -> str:
    """A caption. Unless `complete`, all but motifs, colours and numbers is sometimes left unsaid, so that short prompts
    work too."""
    pick = lambda options: options[int(rng.integers(len(options)))]  # noqa: E731
    named = lambda often=0.75: complete or rng.random() < often  # noqa: E731
    subject = _subject(spec, rng, named, pick)
    where = pick(WHERE[spec.layout]) if named() or spec.layout in ("scattered", "wreath", "checks") else ""
    where = "" if subject.startswith("a wreath of") else where
    cloth = pick(CLOTH[spec.cloth]) if named(0.5) else pick(ANY_CLOTH)
    more = [pick(DETAIL[spec.detail])] if spec.detail != "none" and named(0.85) else []
    more += [pick(BORDER[spec.border])] if spec.border != "none" and named(0.85) else []
    more += [pick(FINISH[spec.finish])] if named(0.8) else []
    more += [_without(spec, pick)] if rng.random() < 0.14 else []
    more = _joined([phrase for phrase in more if phrase])
    if rng.random() < 0.25:
        return f"{spec.ground} {cloth} with {subject}{where}{more}"
    ground = f"{spec.ground} {cloth}" if complete or rng.random() < 0.85 else spec.ground
    if rng.random() < 0.2 and ground != spec.ground:
        ground = f"{'an' if spec.ground == 'orange' else 'a'} {spec.ground} {pick(('ground', 'background', cloth))}"
    caption = f"{subject}{where} on {ground}{more}" if rng.random() < 0.6 else f"{subject} on {ground}{where}{more}"
    return pick(FRAMES) + caption if rng.random() < 0.15 else caption


def _joined(phrases: list[str]) -> str:
    """After the cloth: the first runs on where it can, the others stand between commas."""
    runs_on = phrases and phrases[0].startswith(("with", "among"))
    return "".join((" " if i == 0 and runs_on else ", ") + phrase for i, phrase in enumerate(phrases))


def _name(motif: str, many: bool, rng: np.random.Generator) -> str:
    if motif in ALSO and rng.random() < 0.25:
        return ALSO[motif][many]
    return MOTIFS[motif] if many else motif


def _subject(spec: Spec, rng: np.random.Generator, named, pick) -> str:
    size = pick(SIZES[spec.scale]) + " " if named(0.7) else ""
    if spec.layout == "medallion":
        one = pick((f"one {size}", f"a single {size}", f"{'a' if size or spec.colour != 'orange' else 'an'} {size}"))
        return f"{one}{spec.colour} {_name(spec.motif, False, rng)}"
    many = f"{spec.colour} {_name(spec.motif, True, rng)}"
    if spec.layout == "row":
        return f"{NUMBERS[spec.count]} {pick(('', 'large ', ''))}{many}"
    if spec.layout not in REPEATS:
        size = ""
    if not spec.second:
        return f"a wreath of {many}" if spec.layout == "wreath" and rng.random() < 0.4 else size + many
    if spec.layout == "wreath":
        article = "an" if spec.second_colour == "orange" else "a"
        return f"{many} around {article} {spec.second_colour} {_name(spec.second, False, rng)}"
    second = _name(spec.second, True, rng)
    same = spec.second_colour == spec.colour
    return f"{size}{many} and {'' if same and rng.random() < 0.6 else spec.second_colour + ' '}{second}"


def _without(spec: Spec, pick) -> str:
    """Names something that is not there."""
    absent = [
        (spec.border == "none", "a border"), (spec.detail != "dotted", "dots"), (spec.detail != "outlined", "outlines"),
        (spec.layout != "striped", "stripes"), (spec.finish != "creased", "creases"), (spec.finish != "crackled", "cracks"),
    ]  # fmt: skip
    return f"without {pick([word for gone, word in absent if gone])}"
