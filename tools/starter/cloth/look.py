"""A look at the data: python -m cloth.look sheet.png [--motifs] [--seed N]"""

import argparse
import time

import numpy as np
from PIL import Image

from .atlas import MOTIFS
from .paint import draw
from .spec import SIZES, Spec, random_spec

if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("sheet")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--motifs", action="store_true", help="each motif once, large")
    options.add_argument("--columns", type=int, default=6)
    options.add_argument("--rows", type=int, default=4)
    options = options.parse_args()
    rng = np.random.default_rng(options.seed)
    names = list(MOTIFS)
    rows = -(-len(names) // options.columns) if options.motifs else options.rows
    sheet = Image.new("RGB", (options.columns * 264, rows * 264), "white")
    start, seconds = time.time(), 0.0
    draw(random_spec(rng), rng)  # makes the tiles
    for i in range(rows * options.columns):
        spec = random_spec(rng)
        if options.motifs:
            if i >= len(names):
                break
            spec = Spec(names[i], spec.colour, spec.ground, "medallion", cloth=spec.cloth)
        start = time.time()
        image = draw(spec, rng)
        seconds += time.time() - start
        sheet.paste(Image.fromarray(image), (i % options.columns * 264 + 4, i // options.columns * 264 + 4))
        print(i, spec)
    sheet.save(options.sheet)
    print(f"{rows * options.columns / seconds:.1f} images a second")
