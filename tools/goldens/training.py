"""Goldens of training: losses, gradients and AdamW's steps of LoRA by diffusers' models and PEFT.

Needs the model folder that images.py writes. Writes crates/engine/tests/goldens/training.safetensors: for each case
the factors (`<case>.<component>.<module>.down|up`), their gradients (`….down.gradient`), the inputs and the loss, and
for one case the factors after ten updates (`….down.after`).

    python tools/goldens/training.py
"""

import torch
from diffusers import DDPMScheduler, StableDiffusionPipeline
from diffusers.training_utils import compute_snr
from peft import LoraConfig
from safetensors.torch import save_file
from tiny import OUT
from torch.nn import functional

RANK, ALPHA = 3, 6.0
ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
TEXT = ["q_proj", "k_proj", "v_proj", "out_proj"]
LINEAR = [*ATTENTION, "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out"]
CONVOLUTIONS = ["conv1", "conv2", "time_emb_proj", "conv_shortcut", "downsamplers.0.conv", "upsamplers.0.conv"]


def pipeline(prediction_type):
    pipe = StableDiffusionPipeline.from_pretrained(OUT / "pipeline", safety_checker=None)
    pipe.scheduler = DDPMScheduler.from_config(pipe.scheduler.config, prediction_type=prediction_type)
    pipe.unet.requires_grad_(False)
    pipe.text_encoder.requires_grad_(False)
    return pipe


def add_factors(model, targets, generator):
    """LoRA whose both factors are random: with PEFT's B = 0 the gradient of A would be zero."""
    model.add_adapter(LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=targets, init_lora_weights=True))
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if "lora_" in name:
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.copy_(noise * 0.5 / parameter[0].numel() ** 0.5)


def factors(component, model):
    for name, parameter in sorted(model.named_parameters()):
        if "lora_" in name:
            module, _, rest = name.partition(".lora_")
            if component == "text_encoder" and not module.startswith("text_model."):
                module = f"text_model.{module}"
            yield f"{component}.{module}.{'down' if rest.startswith('A') else 'up'}", parameter


def loss_of(pipe, batch, *, prior=None, gamma=None):
    """As diffusers' train_dreambooth.py: min-SNR weighs the instance half, the prior half is plain."""
    schedule, text = pipe.scheduler, batch["context"]
    if text is None:
        text = pipe.text_encoder(batch["ids"]).last_hidden_state
    noisy = schedule.add_noise(batch["latents"], batch["noise"], batch["timesteps"])
    predicted = pipe.unet(noisy, batch["timesteps"], text).sample
    if schedule.config.prediction_type == "v_prediction":
        target = schedule.get_velocity(batch["latents"], batch["noise"], batch["timesteps"])
    else:
        target = batch["noise"]
    timesteps = batch["timesteps"]
    extra = 0
    if prior is not None:
        predicted, predicted_prior = predicted.chunk(2)
        target, target_prior = target.chunk(2)
        timesteps = timesteps.chunk(2)[0]
        extra = prior * functional.mse_loss(predicted_prior, target_prior)
    if gamma is None:
        return functional.mse_loss(predicted, target) + extra
    snr = compute_snr(schedule, timesteps)
    weights = torch.stack([snr, gamma * torch.ones_like(snr)], dim=1).min(dim=1)[0] / snr
    if schedule.config.prediction_type == "v_prediction":
        weights = torch.stack([snr, gamma * torch.ones_like(snr)], dim=1).min(dim=1)[0] / (snr + 1)
    each = functional.mse_loss(predicted, target, reduction="none").mean(dim=(1, 2, 3))
    return (each * weights).mean() + extra


def draw(pipe, generator, count, with_text):
    width = pipe.unet.config.cross_attention_dim
    return {
        "latents": torch.randn((count, 4, 8, 8), generator=generator),
        "noise": torch.randn((count, 4, 8, 8), generator=generator),
        "timesteps": torch.randint(0, 1000, (count,), generator=generator),
        "ids": torch.randint(0, 600, (count, 77), generator=generator),
        "context": None if with_text else torch.randn((count, 77, width), generator=generator),
    }


def case(name, out, *, unet, text=(), seed, count=2, prediction="epsilon", steps=0, **loss):
    generator = torch.Generator("cpu").manual_seed(seed)
    pipe = pipeline(prediction)
    add_factors(pipe.unet, unet, generator)
    models = {"unet": pipe.unet}
    if text:
        add_factors(pipe.text_encoder, list(text), generator)
        models["text_encoder"] = pipe.text_encoder
    named = [item for component, model in models.items() for item in factors(component, model)]
    for key, parameter in named:
        out[f"{name}.{key}"] = parameter.detach().clone()
    batches = [draw(pipe, generator, count, bool(text)) for _ in range(max(steps, 1))]
    for key in ("latents", "noise", "timesteps", "ids", "context"):
        if batches[0][key] is not None:
            out[f"{name}.{key}"] = torch.stack([batch[key] for batch in batches])
    value = loss_of(pipe, batches[0], **loss)
    value.backward()
    out[f"{name}.loss"] = value.detach()
    for key, parameter in named:
        out[f"{name}.{key}.gradient"] = parameter.grad.clone()
        parameter.grad = None
    if not steps:
        return
    parameters = [parameter for _, parameter in named]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.01)
    for batch in batches:
        loss_of(pipe, batch, **loss).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
    for key, parameter in named:
        out[f"{name}.{key}.after"] = parameter.detach().clone()


out = {}
case("attention", out, unet=ATTENTION, text=TEXT, seed=11, steps=10)
case("convolutions", out, unet=[*LINEAR, *CONVOLUTIONS], seed=12, count=4, prior=0.7, gamma=5.0)
case("velocity", out, unet=ATTENTION, seed=13, prediction="v_prediction", gamma=5.0)
save_file({key: value.contiguous() for key, value in out.items()}, OUT / "training.safetensors")
print(f"{len(out)} tensors, loss {out['attention.loss']:.6f}")
