"""Encodes the training images once: WORK/latents.npy (float16 [n, 4, 32, 32], scaled posterior means).

WORK/latents-done.txt counts the finished ones, so that training can begin on the first few hundred.
"""

import numpy as np
import torch

from common import WORK
from image_pool import pool
from parts import SCALING, to_tensor
from vae import trained

DONE = WORK / "latents-done.txt"


def done() -> int:
    return int(DONE.read_text()) if DONE.exists() else 0


@torch.no_grad()
def encode(batch: int = 20):
    vae, (images, _) = trained(), pool()
    path, start = WORK / "latents.npy", done()
    shape = (len(images), 4, 32, 32)
    latents = np.lib.format.open_memmap(path, "r+" if start else "w+", np.float16, shape)
    for i in range(start, len(images), batch):
        posterior = vae.encode(to_tensor(images[i : i + batch])).latent_dist
        latents[i : i + batch] = posterior.mean.mul(SCALING).half().numpy()
        latents.flush()
        DONE.write_text(str(min(i + batch, len(images))))


if __name__ == "__main__":
    encode()
