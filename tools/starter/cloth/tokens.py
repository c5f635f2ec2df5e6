"""The tokenizer of the cloth's captions, learnt from them (see `../bpe.py`)."""

from functools import cache

import numpy as np
from transformers import CLIPTokenizer

import bpe
from common import WORK

from .spec import training_specs
from .words import describe


@cache
def tokenizer() -> CLIPTokenizer:
    folder = WORK / "tokenizer"
    if not (folder / "special_tokens_map.json").exists():  # the last that is written
        rng = np.random.default_rng(5)
        bpe.write(folder, [describe(spec, rng) for spec, _ in zip(training_specs(rng), range(6000))], size=1536)
    return CLIPTokenizer.from_pretrained(folder)


def encode(texts: list[str]):
    """Token ids [n, 77]."""
    return bpe.encode(tokenizer(), texts)
