"""All stages of the cloth's recipe in one run: python -m cloth.train --minutes 8.4 --out OUT

Images are drawn on the processors while the first stages train on those that are there. The CLIP and the second judge learn beside the
autoencoder, then the denoiser has the device for itself until only the adapter, the export and the evaluation are left to
do. Every finished stage is written to OUT at once. After a kill the same command resumes.
"""

import argparse
import multiprocessing as mp
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from common import WORK

from . import clip, export, fast, judge, pack, pool, unet, vae
from .latents import Latents
from .stage import DEVICE

HERE = Path(__file__).resolve().parents[1]


@dataclass
class Plan:
    """Sizes, and minutes of each stage; the denoiser has what they leave of all minutes."""

    minutes: float
    images: int
    judged: int  # drawings of the second judge
    vae: float
    clip: float
    judge: float
    fast: float
    last: float  # export and evaluation
    batches: dict[str, int]
    scored: int = 100  # captions that are evaluated


GPU = Plan(8.4, 36_000, 8_000, vae=2.4, clip=1.6, judge=0.5, fast=0.9, last=1.0,
           batches={"vae": 256, "clip": 512, "judge": 256, "unet": 256, "fast": 128})  # fmt: skip
TINY = Plan(3.0, 128, 64, vae=0.25, clip=0.15, judge=0.1, fast=0.1, last=0.5,
            batches={"vae": 8, "clip": 8, "judge": 8, "unet": 4, "fast": 2}, scored=4)  # fmt: skip


def scaled(plan: Plan, minutes: float) -> Plan:
    by = minutes / plan.minutes
    return replace(plan, minutes=minutes, **{name: by * getattr(plan, name) for name in ("vae", "clip", "judge", "fast", "last")})


def beside(plan: Plan, workers: int):
    """The CLIP and the second judge."""
    clip.train(plan.clip, plan.batches["clip"], 1e-3)
    judge.train(plan.judge, plan.batches["judge"], 2e-3, plan.judged, workers)


def child(how: str, target, *arguments) -> mp.Process:
    process = mp.get_context(how).Process(target=target, args=arguments)
    process.start()
    return process


def finished(process: mp.Process, what: str):
    process.join()
    if process.exitcode:
        sys.exit(f"{what} failed with exit code {process.exitcode}")


def run(plan: Plan, out: Path):
    start = time.monotonic()
    left = lambda: plan.minutes - (time.monotonic() - start) / 60  # noqa: E731
    say = lambda what: print(f"[{plan.minutes - left():.1f} min] {what}", flush=True)  # noqa: E731
    workers = max(1, (os.cpu_count() or 2) - 2)
    drawing = child("fork", pool.fill, plan.images, 11, workers)
    # A process that has looked for a GPU cannot share it with one that it forks.
    judges = child("spawn", beside, plan, workers)
    vae.train(plan.vae, plan.batches["vae"], 2e-3, 64)
    pack.pack(out)
    say("autoencoder trained")
    finished(judges, "training the CLIP and the second judge")
    finished(drawing, "drawing")
    pack.pack(out)
    say("CLIP and second judge trained")
    data = Latents()
    say("images encoded")
    # On processors a stage's time is theirs, not the clock's.
    share = left() - plan.fast - plan.last
    unet.train(max(share if DEVICE.type == "cuda" else min(share, 0.3), 0.1), plan.batches["unet"], 1e-3, data)
    pack.pack(out)
    say("denoiser trained")
    fast.train(plan.fast, plan.batches["fast"], 8e-4, data)
    pack.pack(out)
    say("adapter for 4 steps trained")
    model = WORK / "model"
    export.export(model, untrained=False)
    sheets = WORK / "sheet.png"
    evaluation = [sys.executable, "evaluate.py", str(model), "--count", str(plan.scored), "--sheet", str(sheets)]
    subprocess.run(evaluation, cwd=HERE, check=True)
    shutil.copy(sheets, out)
    say("done")


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("--minutes", type=float, help=f"for everything [{GPU.minutes}, tiny {TINY.minutes}]")
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--tiny", action="store_true", help="a trial at a small scale, about two minutes on processors")
    options = options.parse_args()
    plan = TINY if options.tiny else GPU
    run(scaled(plan, options.minutes or plan.minutes), options.out.resolve())
