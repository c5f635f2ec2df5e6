"""Draws the adire pieces and trains the two adapters on them: python adapters.py models/starter

Adire is indigo resist-dyed cloth: what is tied, stitched or painted with paste stays pale, the rest goes blue.
The base model has never seen it. Version 1 is a short training of a small adapter, version 2 a longer one of a
larger adapter, so that the two can be compared. Files are in the kohya format, which most programs read.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch
from diffusers import DDPMScheduler, StableDiffusionPipeline
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from PIL import Image, ImageDraw, ImageFilter
from safetensors.torch import save_file

import data
from common import Log
from data import SIZE, SUPERSAMPLE
from unet import SCHEDULE
from vae import SCALING, to_tensor

TRIGGER = "in adire style"
COUNT = 24
ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
VERSIONS = {
    1: dict(rank=4, steps=120, rate=3e-3, modules=ATTENTION),
    2: dict(rank=8, steps=400, rate=5e-3, modules=[*ATTENTION, "ff.net.0.proj", "ff.net.2"]),
}


def mottle(rng, coarse: int) -> np.ndarray:
    """Smooth noise in 0..1, [256, 256]: the uneven take-up of the dye."""
    noise = Image.fromarray(rng.integers(0, 256, (coarse, coarse)).astype(np.uint8))
    return np.asarray(noise.resize((SIZE, SIZE), Image.BICUBIC), np.float32) / 255


def adire(spec: data.Spec, rng: np.random.Generator) -> np.ndarray:
    """A piece of adire with the motifs of a spec, in place of its colours: uint8 [256, 256, 3]."""
    big = SIZE * SUPERSAMPLE
    resist = Image.new("L", (big, big), 0)  # how well the cloth is kept from the dye
    pen = ImageDraw.Draw(resist)
    centres, radius, turns = data._positions(spec, rng)
    outline, holes = data.SHAPES[spec.motif]
    ground = rng.integers(3)
    if ground == 0:  # a field of tied dots
        for y in np.arange(8, SIZE, 16):
            for x in np.arange(8, SIZE, 16):
                r = 3.2 * SUPERSAMPLE
                cx, cy = (x + rng.uniform(-1, 1)) * SUPERSAMPLE, (y + rng.uniform(-1, 1)) * SUPERSAMPLE
                pen.ellipse([cx - r, cy - r, cx + r, cy + r], fill=190)
    elif ground == 1:  # combed paste: wavy lines
        for y in np.arange(0, SIZE + 16, 14):
            line = [(x * SUPERSAMPLE, (y + 4 * math.sin(x / 17 + y)) * SUPERSAMPLE) for x in range(0, SIZE + 4, 4)]
            pen.line(line, fill=180, width=4 * SUPERSAMPLE)
    else:  # one great tied circle behind everything
        for r in np.arange(14, 190, 20):
            box = [(SIZE / 2 - r) * SUPERSAMPLE, (SIZE / 2 - r) * SUPERSAMPLE, (SIZE / 2 + r) * SUPERSAMPLE, (SIZE / 2 + r) * SUPERSAMPLE]
            pen.ellipse(box, outline=180, width=6 * SUPERSAMPLE)
    for (x, y), turn in zip(centres, turns):
        # A motif: a dark halo, a pale body, and a dark and a pale copy inside it.
        for size, tone in ((1.22, 0), (1.0, 255), (0.62, 20), (0.36, 255)):
            pen.polygon(data._place(outline, x, y, radius * size, turn), fill=tone)
        for hole in holes:
            pen.polygon(data._place(hole, x, y, radius, turn), fill=20)
    # Crackle: where the wax breaks, dye runs in along fine lines.
    for _ in range(26):
        x, y, heading = rng.uniform(0, big), rng.uniform(0, big), rng.uniform(0, 2 * math.pi)
        line = [(x, y)]
        for _ in range(rng.integers(5, 12)):
            heading += rng.uniform(-0.7, 0.7)
            x, y = x + 40 * math.cos(heading), y + 40 * math.sin(heading)
            line.append((x, y))
        pen.line(line, fill=60, width=5)
    resist = resist.reduce(SUPERSAMPLE).filter(ImageFilter.GaussianBlur(0.7))  # the dye creeps a little
    kept = np.asarray(resist, np.float32)[..., None] / 255
    depth = 0.65 * mottle(rng, 4) + 0.35 * mottle(rng, 14)
    dark, light = np.array([18, 24, 78], np.float32), np.array([58, 84, 165], np.float32)
    dyed = dark + (light - dark) * np.clip(depth * 1.5 - 0.25, 0, 1)[..., None]
    pale = np.array([226, 232, 240], np.float32) - 26 * mottle(rng, 10)[..., None]
    return np.clip(dyed * (1 - kept) + pale * kept, 0, 255).astype(np.uint8)


def pieces(count: int, seed: int):
    """(specs, pictures) of adire."""
    rng = np.random.default_rng(seed)
    motifs = list(data.MOTIFS)
    specs, pictures = [], []
    for i in range(count):
        plain = data.random_spec(rng)
        specs.append(data.Spec(motifs[i % len(motifs)], plain.colour, plain.ground, plain.layout, plain.scale, "plain"))
        pictures.append(adire(specs[-1], rng))
    return specs, np.stack(pictures)


def caption(spec: data.Spec, rng: np.random.Generator) -> str:
    """Any colours may be asked for: the style decides. Half the time they are the right ones."""
    if rng.random() < 0.5:
        spec = data.Spec(spec.motif, "white", "blue", spec.layout, spec.scale, "plain")
    else:
        colour, ground = rng.choice(list(data.COLOURS), 2, replace=False)
        spec = data.Spec(spec.motif, str(colour), str(ground), spec.layout, spec.scale, "plain")
    return f"{data.describe(spec, rng)}, {TRIGGER}"


def train(base: Path, version: int, batch: int, hurry: float):
    rank, steps, peak, modules = (VERSIONS[version][k] for k in ("rank", "steps", "rate", "modules"))
    steps = max(1, int(steps * hurry))
    torch.manual_seed(version)
    rng, log = np.random.default_rng(version), Log(f"adapter-v{version}")
    pipeline = StableDiffusionPipeline.from_pretrained(base)
    unet = pipeline.unet.requires_grad_(False)
    specs, pictures = pieces(COUNT, seed=77)
    with torch.no_grad():
        posterior = pipeline.vae.encode(to_tensor(pictures)).latent_dist
    unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=modules))
    lora = [p for p in unet.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(lora, lr=peak, weight_decay=0.01)
    alphas = DDPMScheduler(**SCHEDULE).alphas_cumprod
    losses = []
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = peak * min(1, (step + 1) / 20) * min(1, (steps - step) / (0.3 * steps))
        chosen = rng.choice(COUNT, batch, replace=False)
        texts = [caption(specs[i], rng) for i in chosen]
        ids = pipeline.tokenizer(texts, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
        with torch.no_grad():
            context = pipeline.text_encoder(ids).last_hidden_state
            z = (posterior.mean[chosen] + posterior.std[chosen] * torch.randn(batch, 4, 32, 32)) * SCALING
        t, noise = torch.randint(0, 1000, (batch,)), torch.randn_like(z)
        alpha = alphas[t].view(-1, 1, 1, 1)
        guess = unet(alpha.sqrt() * z + (1 - alpha).sqrt() * noise, t, context).sample
        snr = alphas[t] / (1 - alphas[t])
        loss = ((guess - noise).square().mean((1, 2, 3)) * snr.clamp(max=5) / snr).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(lora, 1.0)
        optimizer.step()
        losses.append(loss.item())
        if step % 40 == 39:
            log(version=version, step=step + 1, loss=float(np.mean(losses[-40:])))
    write(unet, base / f"adapters/adire-v{version}.safetensors", version, rank, steps)


def write(unet, path: Path, version: int, rank: int, steps: int):
    """The kohya format: every dot of a module's path becomes `_`, and each module carries its alpha."""
    tensors = {}
    for key, value in get_peft_model_state_dict(unet).items():
        module, kind = key.rsplit(".lora_", 1)
        name = "lora_unet_" + module.replace(".", "_")
        part = {"A.weight": "lora_down.weight", "B.weight": "lora_up.weight"}[kind]
        tensors[f"{name}.{part}"] = value.half().contiguous()
        tensors[f"{name}.alpha"] = torch.tensor(float(rank)).half()
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = dict(
        ss_network_module="networks.lora", ss_network_dim=rank, ss_network_alpha=float(rank),
        ss_output_name=f"adire-v{version}", ss_steps=steps, ss_num_train_images=COUNT, ss_base_model_version="sd_v1",
        ss_tag_frequency=json.dumps({"adire": {TRIGGER: COUNT}}),
    )  # fmt: skip
    save_file(tensors, path, metadata={k: str(v) for k, v in metadata.items()})
    path.chmod(0o644)


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("base", type=Path, help="the exported model; adapters are written into it")
    options.add_argument("--batch", type=int, default=4)
    options.add_argument("--hurry", type=float, default=1.0, help="the part of the steps to take")
    options.add_argument("--versions", type=int, nargs="*", default=[1, 2])
    options.add_argument("--pieces", type=Path, help="write the drawn pieces and their captions there, train nothing")
    options.add_argument("--sheet", type=Path, help="write the drawn pieces as one picture, train nothing")
    options = options.parse_args()
    if options.pieces:
        options.pieces.mkdir(parents=True, exist_ok=True)
        for i, (spec, picture) in enumerate(zip(*pieces(COUNT, seed=77))):
            Image.fromarray(picture).save(options.pieces / f"piece-{i:02}.png")
            (options.pieces / f"piece-{i:02}.txt").write_text(caption(spec, np.random.default_rng(i)))
    elif options.sheet:
        _, pictures = pieces(COUNT, seed=77)
        rows = [np.concatenate(pictures[i : i + 6], 1) for i in range(0, COUNT, 6)]
        Image.fromarray(np.concatenate(rows)).reduce(2).save(options.sheet)
    else:
        for version in options.versions:
            train(options.base, version, options.batch, options.hurry)
