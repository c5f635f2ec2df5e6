"""What all recipes share: the work folder, resumable checkpoints, logging, averaged weights."""

import json
import os
import time
from pathlib import Path

import torch

WORK = Path(os.environ.get("ADIRE_STARTER_WORK", "~/.cache/adire/starter")).expanduser()
WORK.mkdir(parents=True, exist_ok=True)
torch.set_num_threads(int(os.environ.get("ADIRE_STARTER_THREADS", os.cpu_count() or 2)))


def save(name: str, **state):
    """Writes WORK/name as a whole or not at all, so that a kill cannot leave half a checkpoint."""
    partial = WORK / (name + ".partial")
    torch.save(state, partial)
    partial.replace(WORK / name)


def load(name: str):
    path = WORK / name
    return torch.load(path, map_location="cpu", weights_only=False) if path.exists() else None


class Log:
    """One JSON line per entry in WORK/<name>.jsonl and on the terminal."""

    def __init__(self, name: str):
        self.path, self.start = WORK / f"{name}.jsonl", time.time()

    def __call__(self, **entry):
        entry = {k: round(v, 5) if isinstance(v, float) else v for k, v in entry.items()}
        entry["minutes"] = round((time.time() - self.start) / 60, 2)
        print(json.dumps(entry), flush=True)
        with self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")


class Average:
    """Exponential moving average of a module's weights. It warms up: early on it forgets faster."""

    def __init__(self, module: torch.nn.Module, decay: float):
        self.decay, self.updates = decay, 0
        self.weights = {k: v.detach().clone() for k, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: torch.nn.Module):
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for key, value in module.state_dict().items():
            self.weights[key].lerp_(value, 1 - decay) if value.is_floating_point() else self.weights[key].copy_(value)
