"""Trains the denoiser: UNet2DConditionModel on cached latents and the finished text tower: python -m cloth.unet --minutes 240

ε-prediction on SD 1.5's schedule with min-SNR weighting (γ = 5), averaged weights, one caption in ten left empty for guidance.
One batch in five has another shape than the square.
"""

import argparse

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel

from common import load, save
from parts import SCHEDULE, start_silent

from . import clip, tokens
from .latents import Latents
from .pool import KINDS
from .stage import DEVICE, Stage, adamw, averaged, descend, half

GAMMA = 5.0
EMPTY = 0.1  # captions left out
LEVELS = (64, 128, 192)


def build() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=32,
        in_channels=4,
        out_channels=4,
        block_out_channels=LEVELS,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=clip.TEXT_WIDTH,
        attention_head_dim=4,  # the number of heads, as in SD 1.5's own config
        norm_num_groups=8,
    )


def alphas() -> torch.Tensor:
    """ᾱ of each of the 1000 timesteps."""
    return DDPMScheduler(**SCHEDULE).alphas_cumprod.to(DEVICE)


def noised(z: torch.Tensor, noise: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    alpha = alpha.view(-1, 1, 1, 1)
    return alpha.sqrt() * z + (1 - alpha).sqrt() * noise


def a_kind(step: int) -> str:
    square, *others = KINDS
    return others[step // 5 % len(others)] if step % 5 == 4 else square


def train(minutes: float, batch: int, peak: float, data: Latents | None = None):
    torch.manual_seed(0)
    unet = build()
    start_silent(unet)
    unet.to(DEVICE, memory_format=torch.channels_last)
    average = averaged(unet, 0.9993)
    parameters = list(unet.parameters())
    optimizer = adamw(parameters)
    stage = Stage("cloth-unet", minutes, unet=unet, average=average, optimizer=optimizer)
    if stage.over:
        return
    data, text, schedule = data or Latents(), clip.trained().text_model.to(DEVICE), alphas()
    empty = tokens.encode([""])[0].to(DEVICE)
    seen = torch.zeros((), device=DEVICE)
    for done in stage.steps():
        stage.rate(optimizer, peak, done, flat=0.4)
        z, ids = data.batch(a_kind(stage.step), batch)
        ids[torch.rand(batch, device=DEVICE) < EMPTY] = empty
        noise, t = torch.randn_like(z), torch.randint(0, 1000, (batch,), device=DEVICE)
        with half():
            with torch.no_grad():
                context = text(ids).last_hidden_state
            guess = unet(noised(z, noise, schedule[t]), t, context).sample.float()
        snr = schedule[t] / (1 - schedule[t])
        loss = ((guess - noise).square().mean((1, 2, 3)) * snr.clamp(max=GAMMA) / snr).mean()
        descend(loss, optimizer, parameters)
        average.update_parameters(unet)
        seen += loss.detach()
        if stage.step % 100 == 99:
            stage.log(step=stage.step + 1, done=done, loss=seen.item() / 100, samples=(stage.step + 1) * batch)
            seen.zero_()
    save("cloth-unet-final.pt", unet=average.module.state_dict())


def trained() -> UNet2DConditionModel:
    """The averaged weights."""
    unet = build()
    unet.load_state_dict(load("cloth-unet-final.pt")["unet"])
    return unet.eval().requires_grad_(False)


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("--minutes", type=float, default=240)
    options.add_argument("--batch", type=int, default=256 if DEVICE.type == "cuda" else 8)
    options.add_argument("--rate", type=float, default=1e-3)
    options = options.parse_args()
    train(options.minutes, options.batch, options.rate)
