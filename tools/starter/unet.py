"""Trains the denoiser: UNet2DConditionModel on cached latents, conditioned on the frozen text tower.

ε-prediction on SD 1.5's schedule with min-SNR weighting (γ = 5), AdamW, averaged weights, one caption in ten
left empty for guidance. Stops and resumes at any time: WORK/unet.pt holds everything.

Most steps see quarters of the images: they hold one large or four small whole motifs, cost a quarter of the
work, and teach shapes and colours. The others see whole images, which teach the layouts.
"""

import argparse
import os
import time
from dataclasses import dataclass

import numpy as np
import torch
import torch.multiprocessing as mp
from diffusers import DDPMScheduler, UNet2DConditionModel

import clip
import data
import tokenizer
from common import WORK, Average, Log, load, save
from latents import done
from parts import SCALING, SCHEDULE, start_silent
from vae import trained as trained_vae

GAMMA = 5.0
EMPTY = 0.1  # captions left out


def build() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=data.SIZE // 8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(32, 64, 128),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=192,
        attention_head_dim=4,  # the number of heads, as in SD 1.5's own config
        norm_num_groups=8,  # more channels a group than usual: a group of two forgets nearly all of them
    )


def cut(latents: np.ndarray, chosen: np.ndarray, window: int, rng: np.random.Generator) -> torch.Tensor:
    """The chosen latents, or a quarter of each."""
    out = np.empty((len(chosen), 4, window, window), np.float32)
    for i, index in enumerate(chosen):
        y, x = rng.integers(0, 32 // window, 2) * window
        out[i] = latents[index, :, y : y + window, x : x + window]
    return torch.from_numpy(out)


@dataclass
class Plan:
    samples: int  # to see before it ends; a fixed clock would learn less on a busy machine
    batch: int  # of each worker
    peak: float  # learning rate
    whole: float  # the part of the steps that sees whole images, a quarter as many
    decay: float  # the last part of the samples, during which the rate falls
    workers: int


def train(plan: Plan):
    """Several processes train one set of weights in shared memory, without waiting for each other ("Hogwild!",
    Niu et al. 2011). On a busy machine one process with several threads would mostly wait for its slowest."""
    torch.manual_seed(0)
    unet = build()
    start_silent(unet)
    unet.to(memory_format=torch.channels_last)
    average = Average(unet, 0.999)
    if state := load("unet.pt"):
        unet.load_state_dict(state["unet"])
        average.weights, average.updates = state["average"], state["average_updates"]
    unet.share_memory()
    seen = torch.tensor([state["seen"] if state else 0]).share_memory_()
    others = [mp.Process(target=work, args=(i, plan, unet, seen, None), daemon=True) for i in range(1, plan.workers)]
    for other in others:
        other.start()
    work(0, plan, unet, seen, average)
    for other in others:
        other.join(60)


def work(rank: int, plan: Plan, unet: UNet2DConditionModel, seen: torch.Tensor, average: Average | None):
    """One worker. The first also averages, logs and saves."""
    specs = load("pool-specs.pt")["specs"]
    latents = np.load(WORK / "latents.npy", mmap_mode="r")
    text = clip.trained().text_model
    alphas = DDPMScheduler(**SCHEDULE).alphas_cumprod
    spread = trained_vae().quant_conv.bias.data[4:].div(2).exp().mul(SCALING).view(1, 4, 1, 1)
    # The pool may have been drawn with other odds, and before these specs were held out.
    forbidden = set(data.held_out())
    drawn = [i for i in range(done()) if data.is_drawn(specs[i]) and specs[i] not in forbidden]
    # A quarter of a medallion shows no whole motif; so medallions come twice as often where the whole is seen.
    quartered = np.array([i for i in drawn if specs[i].layout != "medallion"])
    medallions = np.setdiff1d(drawn, quartered)
    usable = {32: np.concatenate([quartered, medallions, medallions]), 16: quartered}

    optimizer = torch.optim.AdamW(unet.parameters(), lr=plan.peak, betas=(0.9, 0.99), weight_decay=0.01)
    if "optimizer" in (state := load("unet.pt") or {}):
        optimizer.load_state_dict(state["optimizer"])
    rng = np.random.default_rng([int(seen), rank])
    torch.manual_seed(int(seen) + rank)

    def checkpoint():
        save("unet.pt", unet=unet.state_dict(), optimizer=optimizer.state_dict(), average=average.weights,
             average_updates=average.updates, seen=int(seen))  # fmt: skip

    log, first, saved, losses, step = Log("unet"), int(seen), time.time(), [], 0
    while (progress := (int(seen) - first) / plan.samples) < 1 and (not rank or os.getppid() != 1):
        # Warm-up (also after resuming), flat, then a linear fall.
        rate = plan.peak * min(1, (step + 1) / 50) * min(1, (1 - progress) / max(plan.decay, 1e-6) + 0.02)
        optimizer.param_groups[0]["lr"] = rate
        window, batch = (32, max(1, plan.batch // 4)) if rng.random() < plan.whole else (16, plan.batch)
        chosen = rng.choice(usable[window], batch)
        captions = ["" if rng.random() < EMPTY else data.describe(specs[i], rng) for i in chosen]
        with torch.no_grad():
            context = text(tokenizer.encode(captions)).last_hidden_state
        z = cut(latents, chosen, window, rng)
        z = z + spread * torch.randn_like(z)
        t = torch.randint(0, 1000, (batch,))
        noise = torch.randn_like(z)
        alpha = alphas[t].view(-1, 1, 1, 1)
        guess = unet(alpha.sqrt() * z + (1 - alpha).sqrt() * noise, t, context).sample
        snr = alphas[t] / (1 - alphas[t])
        loss = ((guess - noise).square().mean((1, 2, 3)) * snr.clamp(max=GAMMA) / snr).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimizer.step()
        step += 1
        seen += batch
        losses.append(loss.item())
        if rank:
            continue
        average.update(unet)
        if step % 100 == 0:
            log(seen=int(seen), loss=float(np.mean(losses)), rate=rate)
            losses = []
        if time.time() - saved > 120:
            checkpoint()
            saved = time.time()
    if not rank:
        checkpoint()


def trained() -> UNet2DConditionModel:
    """The averaged weights."""
    unet = build()
    unet.load_state_dict(load("unet.pt")["average"])
    return unet.eval().requires_grad_(False)


if __name__ == "__main__":
    torch.set_num_threads(1)  # the workers are the parallelism
    mp.set_start_method("fork")
    options = argparse.ArgumentParser()
    options.add_argument("--samples", type=int, default=200_000, help="images or quarters to see before it ends")
    options.add_argument("--batch", type=int, default=8)
    options.add_argument("--rate", type=float, default=8e-4)
    options.add_argument("--whole", type=float, default=0.25, help="part of the steps with whole images")
    options.add_argument("--decay", type=float, default=0.3, help="the last part, during which the rate falls")
    options.add_argument("--workers", type=int, default=os.cpu_count())
    options = options.parse_args()
    train(Plan(options.samples, options.batch, options.rate, options.whole, options.decay, options.workers))
