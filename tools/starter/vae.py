"""Trains the autoencoder: AutoencoderKL, 256x256 images <-> 4x32x32 latents.

Sampling the latent from the start stalls training at this size, so the mean is trained first, with a
small fixed noise; the real log-variance is fitted at the end (`finish`). There the latents are also
given zero mean, unit covariance times 1/0.18215^2, by an exact change of the two 1x1 convolutions next
to them, so that `scaling_factor` is SD 1.5's own number.
"""

import argparse
import math
import time

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

import data
from common import Log, load, save
from image_pool import pool
from parts import SCALING, gradient_loss, start_linear, to_tensor, whiten

NOISE = 0.05  # standard deviation of the noise on the mean while training


def build() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 16, 48, 96),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=2,
        sample_size=data.SIZE,
        scaling_factor=SCALING,
        mid_block_add_attention=False,
    )


def images(count: int, seed: int, scribbles: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    textiles = (image for _, image, _ in data.training_set(count, seed))
    return np.stack([data.scribble(rng) if rng.random() < scribbles else next(textiles) for _ in range(count)])


def crops(pool: np.ndarray, batch: int, size: int, rng: np.random.Generator) -> torch.Tensor:
    out = np.empty((batch, size, size, 3), np.uint8)
    for i in range(batch):
        y, x = rng.integers(0, data.SIZE - size + 1, 2)
        out[i] = pool[rng.integers(len(pool)), y : y + size, x : x + size]
    return to_tensor(out)


def train(vae: AutoencoderKL, minutes: float, peak: float):
    rng, log = np.random.default_rng(7), Log("vae")
    scribbles = np.stack([data.scribble(rng) for _ in range(400)])
    drawn, _ = pool()
    vae.to(memory_format=torch.channels_last)  # a tenth faster
    optimizer = torch.optim.AdamW(vae.parameters(), lr=peak, betas=(0.9, 0.99), weight_decay=1e-3)
    start, step, seen = time.time(), 0, []
    while (done := (time.time() - start) / (60 * minutes)) < 1:
        # The length is given in minutes, so the learning rate follows the clock: warm-up, then cosine.
        rate = peak * min(1, (step + 1) / 50) * (0.5 + 0.5 * math.cos(math.pi * done)) + 1e-6
        optimizer.param_groups[0]["lr"] = rate
        # Small crops teach the most a second; larger ones at the end accustom the norms to whole images.
        size, batch = (32, 24) if done < 0.6 else (64, 8)
        x = torch.cat([crops(drawn, batch - batch // 8, size, rng), crops(scribbles, batch // 8, size, rng)])
        mean = vae.quant_conv(vae.encoder(x))[:, :4]
        y = vae.decode(mean + NOISE * torch.randn_like(mean)).sample
        l1 = F.l1_loss(y, x)
        loss = l1 + F.mse_loss(y, x) + 0.5 * gradient_loss(y, x) + 1e-3 * mean.square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        seen.append(l1.item())
        step += 1
        if step % 100 == 0:
            log(step=step, l1=float(np.mean(seen)), spread=mean.std().item(), rate=rate, crop=size)
            seen = []
        if step % 500 == 0:
            save("vae.pt", vae=vae.state_dict(), step=step)
    save("vae.pt", vae=vae.state_dict(), step=step)


def refine(vae: AutoencoderKL, minutes: float, peak: float):
    """Trains the decoder alone. The latents stay what they are, so this can be done at any time, also after
    the denoiser has been trained on them."""
    rng, log = np.random.default_rng(8), Log("vae-refine")
    scribbles = np.stack([data.scribble(rng) for _ in range(200)])
    drawn, _ = pool()
    vae.to(memory_format=torch.channels_last)
    parameters = [*vae.decoder.parameters(), *vae.post_quant_conv.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=peak, betas=(0.9, 0.99), weight_decay=1e-3)
    start, step, seen = time.time(), 0, []
    while (done := (time.time() - start) / (60 * minutes)) < 1:
        optimizer.param_groups[0]["lr"] = peak * min(1, (step + 1) / 50) * (0.5 + 0.5 * math.cos(math.pi * done)) + 1e-6
        x = torch.cat([crops(drawn, 9, 64, rng), crops(scribbles, 1, 64, rng)])
        with torch.no_grad():
            posterior = vae.encode(x).latent_dist
            # A little more noise than the posterior has: the denoiser's latents are not perfect either.
            z = posterior.mean + 1.5 * posterior.std * torch.randn_like(posterior.mean)
        y = vae.decode(z).sample
        l1 = F.l1_loss(y, x)
        loss = l1 + F.mse_loss(y, x) + 0.5 * gradient_loss(y, x)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        seen.append(l1.item())
        step += 1
        if step % 100 == 0:
            log(step=step, l1=float(np.mean(seen)))
            seen = []
        if step % 300 == 0:
            save("vae-final.pt", vae=vae.state_dict())
    save("vae-final.pt", vae=vae.state_dict())


@torch.no_grad()
def finish(vae: AutoencoderKL):
    """Whitens the latents and gives the posterior its variance."""
    x = images(400, seed=2, scribbles=0.0)
    mean = torch.cat([vae.quant_conv(vae.encoder(to_tensor(x[i : i + 20])))[:, :4] for i in range(0, 400, 20)])
    whiten(vae, mean, NOISE)
    return vae


@torch.no_grad()
def check(vae: AutoencoderKL):
    """Errors and the latents' moments on images that training has not seen."""
    x = to_tensor(images(40, seed=3, scribbles=0.0))
    posterior = vae.encode(x).latent_dist
    z = posterior.sample() * SCALING
    y = vae.decode(z / SCALING).sample.clamp(-1, 1)
    psnr = 10 * math.log10(4 / F.mse_loss(y, x).item())
    Log("vae")(final=True, l1=F.l1_loss(y, x).item(), psnr=psnr, mean=z.mean().item(), std=z.std().item(),
               noise=(posterior.std * SCALING).mean().item())  # fmt: skip


def trained() -> AutoencoderKL:
    vae = build()
    vae.load_state_dict(load("vae-final.pt")["vae"])
    return vae.eval().requires_grad_(False)


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("--minutes", type=float, default=8)
    options.add_argument("--rate", type=float, default=2.5e-3)
    options.add_argument("--refine", action="store_true", help="train only the decoder of the finished autoencoder")
    options = options.parse_args()
    torch.manual_seed(0)
    vae = build()
    if options.refine:
        vae.load_state_dict(load("vae-final.pt")["vae"])
        refine(vae, options.minutes, options.rate)
    else:
        start_linear(vae)
        train(vae, options.minutes, options.rate)
        finish(vae)
        save("vae-final.pt", vae=vae.state_dict())
    check(vae)
