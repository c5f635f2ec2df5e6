"""The tokenizer of the drawn textiles, learnt from their captions (see `bpe.py`)."""

import numpy as np
from transformers import CLIPTokenizer

import bpe
import data
from bpe import LENGTH  # noqa: F401
from common import WORK


def tokenizer() -> CLIPTokenizer:
    folder = WORK / "tokenizer"
    if not (folder / "merges.txt").exists():
        rng = np.random.default_rng(5)
        bpe.write(folder, [data.describe(data.random_spec(rng), rng) for _ in range(3000)])
    return CLIPTokenizer.from_pretrained(folder)


def encode(texts: list[str]):
    """Token ids [n, 77]."""
    return bpe.encode(TOKENIZER, texts)


TOKENIZER = tokenizer()

if __name__ == "__main__":
    for text in ["large white stars on blue cloth, framed", "a cat on the moon", "zebra in adire style 4k", ""]:
        ids = TOKENIZER(text).input_ids
        print(len(TOKENIZER), ids, [TOKENIZER.decode([i]) for i in ids])
