"""Encodes the training images once, on the device: posterior means [n, 4, h / 8, w / 8], scaled, in f16."""

import torch

from common import WORK, load, save
from parts import SCALING

from .pool import KINDS, Pool, to_float
from .stage import DEVICE, half
from .vae import trained


@torch.no_grad()
def encoded(images: torch.Tensor, vae) -> torch.Tensor:
    out = []
    for part in images.split(64 if DEVICE.type == "cuda" else 8):
        with half():
            mean = vae.encode(to_float(part.to(DEVICE))).latent_dist.mean
        out.append((mean * SCALING).half())
    return torch.cat(out)


class Latents:
    """The latents and the captions' tokens of each size of image."""

    def __init__(self):
        vae = trained().to(DEVICE, memory_format=torch.channels_last)
        self.spread = vae.quant_conv.bias.data[4:].div(2).exp().mul(SCALING).view(1, 4, 1, 1)
        stored, made = WORK / "cloth-latents.pt", WORK / "cloth-vae-final.pt"
        if stored.exists() and stored.stat().st_mtime > made.stat().st_mtime:
            self.kinds = {kind: tuple(part.to(DEVICE) for part in parts) for kind, parts in load(stored.name)["kinds"].items()}
            return
        self.kinds = {}
        for kind in KINDS:
            pool = Pool(kind, DEVICE)
            self.kinds[kind] = (encoded(pool.images, vae), pool.tokens)
        save(stored.name, kinds={kind: tuple(part.cpu() for part in parts) for kind, parts in self.kinds.items()})

    def batch(self, kind: str, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Sampled latents [count, 4, h, w] and the tokens of one caption each."""
        latents, tokens = self.kinds[kind]
        rows = torch.randint(0, len(latents), (count,), device=DEVICE)
        z = latents[rows].float()
        wording = torch.randint(0, tokens.shape[1], (count,), device=DEVICE)
        return z + self.spread * torch.randn_like(z), tokens[rows, wording].long()
