"""Trains the autoencoder on the drawn cloth: AutoencoderKL, 8 pixels to a latent of 4 channels: python -m cloth.vae --minutes 60

As in `../vae.py`, the mean is trained with a small fixed noise, and the log-variance is set at the end (`parts.whiten`).
"""

import argparse
import copy

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from common import load, save
from parts import SCALING, gradient_loss, start_linear, whiten

from .pool import Pool, to_float
from .stage import DEVICE, Stage, adamw, averaged, descend, half

NOISE = 0.05  # standard deviation of the noise on the mean while training


def build() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(24, 48, 96, 128),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=256,
        scaling_factor=SCALING,
        mid_block_add_attention=False,
    )


def edges(y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Compares edges at three scales: a line that is lost costs more than a shade that is off."""
    loss = gradient_loss(y, x)
    for _ in range(2):
        y, x = F.avg_pool2d(y, 2), F.avg_pool2d(x, 2)
        loss = loss + 0.5 * gradient_loss(y, x)
    return loss


def mean_of(vae: AutoencoderKL, x: torch.Tensor) -> torch.Tensor:
    return vae.quant_conv(vae.encoder(x))[:, :4]


def train(minutes: float, batch: int, peak: float, size: int):
    torch.manual_seed(0)
    vae = build()
    start_linear(vae)
    vae.to(DEVICE, memory_format=torch.channels_last)
    average = averaged(vae, 0.998)
    parameters = list(vae.parameters())
    optimizer = adamw(parameters, weight_decay=1e-3)
    stage = Stage("cloth-vae", minutes, vae=vae, average=average, optimizer=optimizer)
    if stage.over:
        return
    drawn, scribbles = Pool("256x256", DEVICE), Pool("scribbles", DEVICE)
    seen = torch.zeros(2, device=DEVICE)
    for done in stage.steps():
        stage.rate(optimizer, peak, done, flat=0.3)
        # Small crops teach the most a second; larger ones at the end accustom the norms to whole images.
        larger = 1 if done < 0.6 else 2 if done < 0.85 else 256 // size
        count = max(2, batch // larger**2)
        few = max(1, count // 10)
        x = torch.cat([drawn.crops(count - few, size * larger), scribbles.crops(few, size * larger)])
        with half():
            mean = mean_of(vae, x).float()
            y = vae.decode(mean + NOISE * torch.randn_like(mean)).sample.float()
        squares = F.mse_loss(y, x)
        loss = F.l1_loss(y, x) + 4 * squares + 0.5 * edges(y, x) + 1e-3 * mean.square().mean()
        descend(loss, optimizer, parameters)
        average.update_parameters(vae)
        seen += torch.stack([loss.detach(), squares.detach()])
        if stage.step % 200 == 199:
            loss, squares = (seen / 200).tolist()
            stage.log(step=stage.step + 1, done=done, loss=loss, psnr_of_crops=decibels(squares), spread=mean.std().item(), images=len(drawn))
            seen.zero_()
            if not drawn.whole:
                drawn.refresh(), scribbles.refresh()
    finish(average.module, drawn)


def decibels(squares: float) -> float:
    """PSNR of a mean squared error between images in -1..1."""
    return 10 * torch.tensor(4 / max(squares, 1e-9)).log10().item()


@torch.no_grad()
def finish(vae: AutoencoderKL, drawn: Pool):
    """Whitens the latents of the averaged weights; WORK/cloth-vae-final.pt."""
    vae = copy.deepcopy(vae).float()
    count = min(len(drawn), 800)
    mean = torch.cat([mean_of(vae, to_float(part)) for part in drawn.images[:count].split(16)])
    whiten(vae, mean, NOISE)
    save("cloth-vae-final.pt", vae=vae.state_dict())


def trained() -> AutoencoderKL:
    vae = build()
    vae.load_state_dict(load("cloth-vae-final.pt")["vae"])
    return vae.eval().requires_grad_(False)


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("--minutes", type=float, default=60)
    options.add_argument("--batch", type=int, default=256 if DEVICE.type == "cuda" else 16)
    options.add_argument("--rate", type=float, default=2e-3)
    options.add_argument("--size", type=int, default=64, help="side of the crops, a multiple of 8")
    options = options.parse_args()
    train(options.minutes, options.batch, options.rate, options.size)
