"""Trains the adapter for images in 4 steps: python -m cloth.fast --minutes 30

Latent consistency distillation (Luo et al. 2023, "LCM-LoRA"): the denoiser with a LoRA learns to reach, from any of 50 noise
levels and in one step, what it reaches from the next cleaner one, where a guided DDIM step of the denoiser without it leads.
Guidance is thereby part of the adapter: it is used with a guidance scale of 1.
"""

import argparse

import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model_state_dict, set_peft_model_state_dict

from common import load, save

from . import clip, tokens, unet
from .latents import Latents
from .stage import DEVICE, Stage, adamw, descend, half

RANK = 16
GUIDANCE = (3.0, 6.0)  # of the teacher, a different one for each sample
LEVELS = 50
TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2", "conv1", "conv2", "conv_shortcut",
           "downsamplers.0.conv", "upsamplers.0.conv", "time_emb_proj"]  # fmt: skip


def boundary(t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """c_skip and c_out of the LCM scheduler: at t = 0 the answer is the input."""
    scaled, data = 10.0 * t.float().view(-1, 1, 1, 1), 0.5
    return data**2 / (scaled**2 + data**2), scaled / (scaled**2 + data**2).sqrt()


def clean(x, noise, alpha):
    """The image that `x` is, less its noise."""
    alpha = alpha.view(-1, 1, 1, 1)
    return (x - (1 - alpha).sqrt() * noise) / alpha.sqrt()


class Adapter:
    """The LoRA's weights, as something that can be kept."""

    def __init__(self, model):
        self.model = model

    def state_dict(self):
        return {key: value.detach().cpu() for key, value in get_peft_model_state_dict(self.model, adapter_name="fast").items()}

    def load_state_dict(self, state):
        set_peft_model_state_dict(self.model, state, adapter_name="fast")


def adapted():
    """The denoiser with the LoRA in place, and the LoRA."""
    model = unet.trained().to(DEVICE, memory_format=torch.channels_last)
    model.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=TARGETS, init_lora_weights="gaussian"), "fast")
    return model, Adapter(model)


def train(minutes: float, batch: int, peak: float, data: Latents | None = None):
    torch.manual_seed(0)
    model, adapter = adapted()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = adamw(parameters, betas=(0.9, 0.999), weight_decay=0.0)
    stage = Stage("cloth-fast", minutes, adapter=adapter, optimizer=optimizer)
    if stage.over:
        return
    data, text, schedule = data or Latents(), clip.trained().text_model.to(DEVICE), unet.alphas()
    with torch.no_grad():
        nothing = text(tokens.encode([""]).to(DEVICE)).last_hidden_state
    levels = torch.arange(1, LEVELS + 1, device=DEVICE) * (1000 // LEVELS) - 1
    seen = torch.zeros((), device=DEVICE)

    def student(x, t, context):
        skip, out = boundary(t)
        return skip * x + out * clean(x, model(x, t, context).sample.float(), schedule[t])

    for done in stage.steps():
        stage.rate(optimizer, peak, done, flat=0.3)
        z, ids = data.batch(unet.a_kind(stage.step), batch)
        noise, level = torch.randn_like(z), torch.randint(0, LEVELS, (batch,), device=DEVICE)
        t, cleaner = levels[level], (levels[level] - 1000 // LEVELS).clamp(min=0)
        x = unet.noised(z, noise, schedule[t])
        with half():
            with torch.no_grad():
                context = text(ids).last_hidden_state
                scale = torch.empty(batch, 1, 1, 1, device=DEVICE).uniform_(*GUIDANCE)
                model.disable_adapters()
                both = torch.cat([context, nothing.expand(batch, -1, -1)])
                with_text, without = model(x.repeat(2, 1, 1, 1), t.repeat(2), both).sample.float().chunk(2)
                model.enable_adapters()
                guided = without + scale * (with_text - without)
                ahead = unet.noised(clean(x, guided, schedule[t]), guided, schedule[cleaner])
                target = torch.where((level == 0).view(-1, 1, 1, 1), z, student(ahead, cleaner, context))
            guess = student(x, t, context)
        loss = F.huber_loss(guess, target, delta=0.05)
        descend(loss, optimizer, parameters)
        seen += loss.detach()
        if stage.step % 100 == 99:
            stage.log(step=stage.step + 1, done=done, loss=seen.item() / 100)
            seen.zero_()
    save("cloth-fast-final.pt", adapter=adapter.state_dict())


def trained() -> dict[str, torch.Tensor]:
    """PEFT's names and weights."""
    return load("cloth-fast-final.pt")["adapter"]


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("--minutes", type=float, default=30)
    options.add_argument("--batch", type=int, default=128 if DEVICE.type == "cuda" else 4)
    options.add_argument("--rate", type=float, default=3e-4)
    options = options.parse_args()
    train(options.minutes, options.batch, options.rate)
