"""Draws the training images once: WORK/pool.npy (uint8 [n, 256, 256, 3]) and WORK/pool-specs.pt.

Captions are not kept: each use of an image describes its spec with fresh wording.
"""

import argparse

import numpy as np

import data
from common import WORK, load, save


def draw(count: int, seed: int):
    images = np.lib.format.open_memmap(
        WORK / "pool.partial.npy", "w+", np.uint8, (count, data.SIZE, data.SIZE, 3)
    )
    specs = []
    for i, (spec, image, _) in enumerate(data.training_set(count, seed)):
        images[i] = image
        specs.append(spec)
    images.flush()
    save("pool-specs.pt", specs=specs)
    (WORK / "pool.partial.npy").replace(WORK / "pool.npy")


def pool():
    """(images, specs) as drawn."""
    return np.load(WORK / "pool.npy", mmap_mode="r"), load("pool-specs.pt")["specs"]


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("--count", type=int, default=8000)
    options = options.parse_args()
    draw(options.count, seed=11)
