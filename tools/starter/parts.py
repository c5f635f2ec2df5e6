"""What every recipe does with SD 1.5's parts: how their training begins, what it compares, and the noise schedule."""

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, UNet2DConditionModel

SCALING = 0.18215
SCHEDULE = dict(num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")


def to_tensor(images: np.ndarray) -> torch.Tensor:
    """uint8 [n, h, w, 3] -> float [n, 3, h, w] in -1..1."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def start_linear(vae: AutoencoderKL):
    """Starts from (nearly) a linear autoencoder: residual branches silent, down- and upsampling plain averages
    and repeats. From random weights the first thousand steps are spent on finding the mean colour."""
    for name, module in vae.named_modules():
        if hasattr(module, "conv2") and hasattr(module, "norm2"):
            torch.nn.init.zeros_(module.conv2.weight)
            torch.nn.init.zeros_(module.conv2.bias)
        elif name.endswith("downsamplers.0.conv"):
            eye = torch.eye(module.weight.shape[0])
            module.weight.data.mul_(0.3)
            module.weight.data[:, :, :2, :2] += 0.25 * eye[..., None, None]
        elif name.endswith("upsamplers.0.conv"):
            module.weight.data.mul_(0.3)
            module.weight.data[:, :, 1, 1] += torch.eye(module.weight.shape[0])


def start_silent(unet: UNet2DConditionModel):
    """Every residual branch begins silent, and the first guess is zero."""
    for name, module in unet.named_modules():
        if name.endswith(("conv2", "proj_out")) or name == "conv_out":
            torch.nn.init.zeros_(module.weight)
            torch.nn.init.zeros_(module.bias)


def gradient_loss(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Compares the differences of neighbouring pixels: keeps edges where they are."""
    return F.l1_loss(a.diff(dim=2), b.diff(dim=2)) + F.l1_loss(a.diff(dim=3), b.diff(dim=3))


@torch.no_grad()
def whiten(vae: AutoencoderKL, mean: torch.Tensor, noise: float):
    """Gives the latents, of which `mean` [n, 4, h, w] are examples, zero mean and unit covariance times 1/SCALING^2, by an
    exact change of the two 1x1 convolutions next to them; and the posterior a third of the noise that the decoder was
    trained to bear."""
    flat = mean.permute(1, 0, 2, 3).reshape(4, -1)
    centre = flat.mean(1)
    covariance = (flat - centre[:, None]).cov()
    values, vectors = torch.linalg.eigh(covariance)
    # ZCA: of all whitening matrices the one nearest to the identity.
    whitening = vectors @ (values.rsqrt().diag() / SCALING) @ vectors.T
    colour = torch.linalg.inv(whitening)
    encode, decode = vae.quant_conv, vae.post_quant_conv
    encode.weight[:4] = torch.einsum("ij,jkhw->ikhw", whitening, encode.weight[:4])
    encode.bias[:4] = whitening @ (encode.bias[:4] - centre)
    decode.bias += decode.weight[:, :, 0, 0] @ centre
    decode.weight.copy_(torch.einsum("ijhw,jk->ikhw", decode.weight, colour))
    # Seen through the whitening the noise is the same everywhere.
    encode.weight[4:] = 0
    encode.bias[4:] = torch.log((whitening * noise / 3).square().sum(1))


def contrast(a: torch.Tensor, b: torch.Tensor, same: torch.Tensor, scale) -> tuple[torch.Tensor, float]:
    """CLIP's symmetric loss and the top-1 accuracy. `same` [n, n] says which rows are right for each other."""
    logits = scale * a @ b.T
    target = same / same.sum(1, keepdim=True)
    top = same[torch.arange(len(a)), logits.argmax(1)].mean().item()
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2, top


def disturb(x: torch.Tensor) -> torch.Tensor:
    """Shifts, zooms, blurs and noise: generated images are softer, dirtier and less exact than drawn ones."""
    count, rand = len(x), lambda *shape: torch.rand(*shape, device=x.device)  # noqa: E731
    theta = torch.zeros(count, 2, 3, device=x.device)
    zoom, moved = 1 + 0.06 * (2 * rand(count) - 1), (rand(count, 1) < 0.6).float()
    theta[:, 0, 0] = theta[:, 1, 1] = zoom
    theta[:, :, 2] = moved * 0.08 * (2 * rand(count, 2) - 1)
    x = F.grid_sample(x, F.affine_grid(theta, x.shape, align_corners=False), padding_mode="reflection", align_corners=False)
    soft = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    blur = (rand(count, 1, 1, 1) < 0.4).float() * rand(count, 1, 1, 1)
    x = torch.lerp(x, soft, blur)
    return x + 0.12 * rand(count, 1, 1, 1) * torch.randn_like(x)
