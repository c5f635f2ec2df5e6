"""One stage of training: a budget of time, checkpoints, a log, and the device it runs on."""

import math
import time
from contextlib import nullcontext

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from common import Log, load, save

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
# Wall clock on a GPU; on processors the time that they worked, which a busy machine does not use up.
CLOCK = time.monotonic if DEVICE.type == "cuda" else time.process_time
if DEVICE.type == "cuda":
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True


def half():
    """Matrix products in bf16, where the processor has units for them."""
    able = DEVICE.type == "cuda" or torch.cpu._is_amx_tile_supported()
    return torch.autocast(DEVICE.type, torch.bfloat16) if able else nullcontext()


def averaged(module: torch.nn.Module, decay: float) -> AveragedModel:
    return AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(decay))


def adamw(parameters, betas=(0.9, 0.99), weight_decay=0.01):
    """The learning rate is set at every step."""
    return torch.optim.AdamW(parameters, lr=0.0, betas=betas, weight_decay=weight_decay, fused=DEVICE.type == "cuda")


class Stage:
    """`for done in stage.steps(): …` runs until `minutes` are spent, `done` going from 0 to 1, and saves WORK/<name>.pt
    now and then and at the end. Started again it resumes there; when its time is up already, it does nothing."""

    def __init__(self, name: str, minutes: float, every: float = 45, **kept):
        self.name, self.budget, self.every, self.kept = name, 60 * minutes, every, kept
        self.spent, self.step, self.log = 0.0, 0, Log(name)
        if (state := load(f"{name}.pt")) is not None:
            self.spent, self.step = state["spent"], state["step"]
            for key, value in kept.items():
                value.load_state_dict(state[key])
        torch.manual_seed(self.step)

    @property
    def over(self) -> bool:
        return self.spent >= self.budget

    def save(self):
        save(f"{self.name}.pt", spent=self.spent, step=self.step, **{k: v.state_dict() for k, v in self.kept.items()})

    def steps(self):
        last, saved = CLOCK(), time.monotonic()
        while not self.over:
            yield self.spent / self.budget
            now = CLOCK()
            self.spent, last, self.step = self.spent + now - last, now, self.step + 1
            if time.monotonic() - saved > self.every:
                self.save()
                saved = time.monotonic()
        self.save()
        self.log(stage=self.name, step=self.step, minutes_spent=self.spent / 60, over=True)

    def rate(self, optimizer, peak: float, done: float, flat: float = 0.0):
        """Warm-up, flat for a part of the time, then a cosine to nearly nothing."""
        fall = max(0.0, done - flat) / (1 - flat)
        optimizer.param_groups[0]["lr"] = peak * min(1, (self.step + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * fall)) + 1e-7


def descend(loss: torch.Tensor, optimizer, parameters, limit: float = 1.0):
    """One optimizer step; none where half precision has overflowed, which would spoil the weights for good."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if torch.nn.utils.clip_grad_norm_(parameters, limit).isfinite():
        optimizer.step()
