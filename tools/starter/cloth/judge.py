"""The second judge: a small convolutional classifier of drawn cloth that takes no part in training: python -m cloth.judge

It learns from drawings with seeds of its own (`WORK/judge`), sees no captions, and shares nothing with the CLIP that the model
is trained with. `build`, `answers` and `match` are all that `evaluate.py` needs.
"""

import argparse
import os

import torch
import torch.nn.functional as F
from PIL import Image

from common import WORK, load, save
from parts import disturb

from . import pool
from .clip import Heads, shrunk
from .labels import QUESTIONS, answers
from .stage import DEVICE, Stage, adamw, averaged, descend, half

IMAGE, WIDTH = 128, 160
SEED = 4011  # of its drawings; those of training have another


class Block(torch.nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.first, self.second = (torch.nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(2))
        self.before, self.between = (torch.nn.GroupNorm(8, width) for _ in range(2))

    def forward(self, x):
        return x + self.second(F.silu(self.between(self.first(F.silu(self.before(x))))))


class Judge(torch.nn.Module):
    """[n, 3, 128, 128] in -1..1 -> the answers' logits, one tensor for each question."""

    def __init__(self):
        super().__init__()
        widths = (24, 48, 96, WIDTH)
        steps = [torch.nn.Conv2d(3, widths[0], 4, 2, 1)]
        for width, wider in zip(widths, widths[1:]):
            steps += [Block(width), torch.nn.Conv2d(width, wider, 4, 2, 1)]
        self.trunk = torch.nn.Sequential(*steps, Block(WIDTH), torch.nn.GroupNorm(8, WIDTH), torch.nn.SiLU())
        # A layout shows in the places of things, a motif in the strongest of them.
        self.heads = Heads(WIDTH * 6)

    def forward(self, x):
        x = self.trunk(x)
        seen = torch.cat([x.amax((2, 3)), x.mean((2, 3)), F.adaptive_avg_pool2d(x, 2).flatten(1)], 1)
        return [head(seen) for head in self.heads]


def build() -> Judge:
    return Judge()


def train(minutes: float, batch: int, peak: float, count: int, workers: int):
    torch.manual_seed(1)
    model = build().to(DEVICE, memory_format=torch.channels_last)
    average = averaged(model, 0.998)
    parameters = list(model.parameters())
    optimizer = adamw(parameters, betas=(0.9, 0.98), weight_decay=0.05)
    stage = Stage("cloth-judge", minutes, model=model, average=average, optimizer=optimizer)
    if stage.over:
        return
    pool.fill(count, SEED, workers, WORK / "judge", {"256x256": 1.0})
    drawn = pool.Pool("256x256", DEVICE, WORK / "judge")
    for done in stage.steps():
        stage.rate(optimizer, peak, done)
        chosen = torch.randint(0, len(drawn), (batch,), device=DEVICE)
        wanted = drawn.labels[chosen].long()
        x = disturb(shrunk(drawn.images[chosen]))
        with half():
            logits = model(x)
        losses = [F.cross_entropy(out.float(), wanted[:, i]) for i, out in enumerate(logits)]
        descend(sum(losses), optimizer, parameters)
        average.update_parameters(model)
        if stage.step % 100 == 99:
            right = {name: (out.argmax(1) == wanted[:, i]).float().mean().item() for i, (name, out) in enumerate(zip(QUESTIONS, logits))}
            stage.log(step=stage.step + 1, done=done, **{name: right[name] for name in ("motif", "colour", "ground", "layout")})
    save("cloth-judge-final.pt", judge=average.module.state_dict())


def trained() -> Judge:
    model = build()
    model.load_state_dict(load("cloth-judge-final.pt")["judge"])
    return model.eval().requires_grad_(False)


@torch.no_grad()
def judged(model: Judge, images) -> dict[str, torch.Tensor]:
    """Log-probabilities of every answer about uint8 images [n, h, w, 3], one tensor [n, options] for each question."""
    small = [Image.fromarray(image).resize((IMAGE, IMAGE), Image.BICUBIC) for image in images]
    x = torch.stack([torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(IMAGE, IMAGE, 3) for image in small])
    parts = [model(pool.to_float(part)) for part in x.split(25)]
    return {name: torch.cat([part[i] for part in parts]).log_softmax(1) for i, name in enumerate(QUESTIONS)}


def match(answered: dict[str, torch.Tensor], specs) -> torch.Tensor:
    """How likely each image shows each spec: [images, specs]."""
    wanted = torch.tensor([answers(spec) for spec in specs])
    return sum(answered[name][:, wanted[:, i]] for i, name in enumerate(QUESTIONS))


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("--minutes", type=float, default=30)
    options.add_argument("--count", type=int, default=6000, help="drawings to learn from")
    options.add_argument("--batch", type=int, default=256 if DEVICE.type == "cuda" else 32)
    options.add_argument("--rate", type=float, default=2e-3)
    options.add_argument("--workers", type=int, default=os.cpu_count())
    options = options.parse_args()
    train(options.minutes, options.batch, options.rate, options.count, options.workers)
