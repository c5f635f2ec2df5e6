"""Draws the training images once, on all processors, with their captions as tokens: python -m cloth.pool --count 4000

<folder>/<kind>/ holds arrays that are filled in chunks, one kind for each size of image; `Pool` reads those that are there, so
that training can begin on the first ones, and a killed program draws what is missing. The kind "scribbles" is images of
nothing in particular, for the autoencoder alone.
"""

import argparse
import multiprocessing as mp
import os
import time
from pathlib import Path

import numpy as np
import torch

import bpe
import data
from common import WORK

from . import tokens
from .labels import ALTERED, QUESTIONS, altered, answers
from .paint import draw
from .spec import SIZES, training_specs
from .words import describe

POOL = WORK / "pool"
CHUNK = 64
WORDINGS = 6  # captions of one image; every other one says all
KINDS = {f"{height}x{width}": (height, width) for height, width in SIZES}
SHARES = {"256x256": 0.8, "384x256": 0.1, "256x384": 0.1, "scribbles": 0.06}


def arrays(folder: Path, kind: str, count: int | None = None) -> dict[str, np.ndarray]:
    """The arrays of a kind, made for `count` images where they are missing."""
    folder = folder / kind
    if count is not None and not (folder / "done.npy").exists():
        folder.mkdir(parents=True, exist_ok=True)
        height, width = KINDS.get(kind, (256, 256))
        shapes = {"images": (np.uint8, (count, height, width, 3)), "done": (np.uint8, (count // CHUNK,))}
        if kind != "scribbles":
            shapes["tokens"] = (np.int16, (count, WORDINGS, bpe.LENGTH))
            shapes["altered"] = (np.int16, (count, ALTERED, bpe.LENGTH))
            shapes["labels"] = (np.int8, (count, len(QUESTIONS)))
        for name, (kind_of, shape) in sorted(shapes.items(), key=lambda item: item[0] == "done"):
            np.lib.format.open_memmap(folder / f"{name}.npy", "w+", kind_of, shape).flush()
    return {path.stem: np.load(path, mmap_mode="r+") for path in folder.glob("*.npy")}


def draw_chunk(job: tuple[Path, str, int, int]):
    """A chunk depends on nothing but its seed, kind and number."""
    folder, kind, chunk, seed = job
    held = arrays(folder, kind)
    if held["done"][chunk]:
        return
    rows = slice(chunk * CHUNK, (chunk + 1) * CHUNK)
    rng = np.random.default_rng([seed, *kind.encode(), chunk])
    if kind == "scribbles":
        held["images"][rows] = [data.scribble(rng) for _ in range(CHUNK)]
    else:
        specs = [spec for spec, _ in zip(training_specs(rng), range(CHUNK))]
        held["images"][rows] = [draw(spec, rng, *KINDS[kind]) for spec in specs]
        texts = [describe(spec, rng, complete=i % 2 == 0) for spec in specs for i in range(WORDINGS)]
        others = [describe(other, rng, complete=True) for spec in specs for other in altered(spec, rng)]
        encode = lambda part, n: tokens.encode(part).numpy().astype(np.int16).reshape(CHUNK, n, bpe.LENGTH)  # noqa: E731
        held["tokens"][rows], held["altered"][rows] = encode(texts, WORDINGS), encode(others, ALTERED)
        held["labels"][rows] = [answers(spec) for spec in specs]
    for name, array in held.items():
        if name != "done":
            array.flush()
    held["done"][chunk] = 255


def fill(count: int, seed: int, workers: int, folder: Path = POOL, shares: dict[str, float] = SHARES):
    tokens.tokenizer()  # before the workers would each learn it
    jobs = []
    for kind, share in shares.items():
        chunks = max(1, round(count * share / CHUNK))
        arrays(folder, kind, chunks * CHUNK)
        # All kinds grow alike.
        jobs += [((chunk + 1) / chunks, (folder, kind, chunk, seed)) for chunk in range(chunks)]
    jobs, start = [job for _, job in sorted(jobs)], time.time()
    with mp.get_context("fork").Pool(workers) as pool:
        for i, _ in enumerate(pool.imap_unordered(draw_chunk, jobs), 1):
            if i % max(1, len(jobs) // 10) == 0:
                print(f"{i * CHUNK} images, {i * CHUNK / (time.time() - start):.0f} a second", flush=True)


class Pool:
    """What has been drawn of one kind; waits for the first chunk."""

    def __init__(self, kind: str, device: torch.device, folder: Path = POOL):
        self.folder, self.kind, self.device, self.held = folder, kind, device, {}
        while not (done := arrays(folder, kind).get("done", np.zeros(1))).any():
            time.sleep(0.5)
        self.known = np.zeros(done.shape, np.uint8)
        self.refresh()

    def refresh(self):
        """Takes the chunks that have been finished since."""
        files = arrays(self.folder, self.kind)
        done = files.pop("done")
        new = np.flatnonzero(done & ~self.known)
        if not len(new):
            return
        self.whole, first = bool(done.all()), not self.held
        self.known[new] = 255
        if self.whole and first and self.device.type == "cpu":
            self.held = {name: torch.from_numpy(array) for name, array in files.items()}  # stays on the disk
            return
        rows = (new[:, None] * CHUNK + np.arange(CHUNK)).ravel()
        for name, array in files.items():
            part = torch.from_numpy(np.asarray(array[rows])).to(self.device)
            self.held[name] = part if first else torch.cat([self.held[name], part])

    def __len__(self):
        return len(self.held["images"])

    def __getattr__(self, name):
        return self.__dict__["held"][name]

    def crops(self, batch: int, size: int) -> torch.Tensor:
        """[batch, 3, size, size] in -1..1, from places that keep the weave's phase."""
        images = self.held["images"]
        at = lambda most: torch.randint(0, most, (batch,), device=images.device)  # noqa: E731
        step = torch.arange(size, device=images.device)
        y = at((images.shape[1] - size) // 8 + 1) * 8
        x = at((images.shape[2] - size) // 8 + 1) * 8
        out = images[at(len(images))[:, None, None], (y[:, None] + step)[:, :, None], (x[:, None] + step)[:, None, :]]
        return to_float(out)


def to_float(images: torch.Tensor) -> torch.Tensor:
    """uint8 [n, h, w, 3] -> float [n, 3, h, w] in -1..1, channels last in memory."""
    return images.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("--count", type=int, default=4000)
    options.add_argument("--seed", type=int, default=11)
    options.add_argument("--workers", type=int, default=os.cpu_count())
    options = options.parse_args()
    fill(options.count, options.seed, options.workers)
