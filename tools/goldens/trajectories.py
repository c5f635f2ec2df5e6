"""Goldens of the noise source and of every sampler's trajectory.

Writes crates/engine/tests/goldens/noise.safetensors and trajectories.safetensors. The "model" is a fixed smooth
function of latent and timestep, written identically in crates/engine/tests/trajectories.rs, so that what is
compared is the sampler alone.

    python tools/goldens/trajectories.py
"""

import json
from pathlib import Path

import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
)
from safetensors.torch import save_file

OUT = Path(__file__).resolve().parents[2] / "crates/engine/tests/goldens"

# SD 1.5's own scheduler_config.json.
SD15 = {
    "_class_name": "PNDMScheduler",
    "_diffusers_version": "0.6.0",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
}
CONFIGS = {
    "sd15": SD15,
    "leading": {**SD15, "timestep_spacing": "leading"},
    "trailing": {**SD15, "timestep_spacing": "trailing"},
    "linspace": {**SD15, "timestep_spacing": "linspace"},
    "v": {**SD15, "prediction_type": "v_prediction"},
    "sample": {**SD15, "prediction_type": "sample"},
    "zero_snr": {
        **SD15,
        "prediction_type": "v_prediction",
        "rescale_betas_zero_snr": True,
        "timestep_spacing": "trailing",
    },
    "linear": {**SD15, "beta_schedule": "linear", "set_alpha_to_one": True, "clip_sample": True},
    "cosine": {**SD15, "beta_schedule": "squaredcos_cap_v2", "num_train_timesteps": 500},
}
SAMPLERS = {
    "ddim": (DDIMScheduler, {}),
    "euler": (EulerDiscreteScheduler, {}),
    "euler_a": (EulerAncestralDiscreteScheduler, {}),
    "pndm": (PNDMScheduler, {}),
    "dpmpp_2m_karras": (DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
}
# diffusers itself refuses these.
REFUSED = {("euler_a", "sample"), ("pndm", "sample")}
# PNDM has no such option and ignores it; DPM-Solver starts at the second of two equal timesteps and fails.
REFUSED |= {("pndm", "zero_snr"), ("dpmpp_2m_karras", "zero_snr"), ("dpmpp_2m_karras", "cosine")}
# From sigma 4096 to 0 in one step, the reference itself loses 5e-4 to cancellation in f32.
REFUSED |= {("euler", "zero_snr"), ("euler_a", "zero_snr")}
SD15_STEPS = [1, 2, 3, 5, 20, 50, 150]
OTHER_STEPS = [1, 6, 17]
SHAPE = (1, 4, 3, 3)
SEED = 20


def model(x, t):
    """Smooth, of a size like a real prediction, dependent on x and t, not linear in x."""
    t = float(t)
    return torch.tanh(x * 0.7 + t * 0.001) * 0.9 + torch.sin(x * 1.3 - t * 0.004) * 0.3


def trajectory(sampler, config, steps):
    scheduler_class, extra = SAMPLERS[sampler]
    scheduler = scheduler_class.from_config(CONFIGS[config], **extra)
    scheduler.set_timesteps(steps)
    generator = torch.Generator("cpu").manual_seed(SEED)
    x = torch.randn(SHAPE, generator=generator) * scheduler.init_noise_sigma
    latents, denoised = [], []
    for t in scheduler.timesteps:
        prediction = model(scheduler.scale_model_input(x, t), t)
        needs_noise = {"generator": generator} if sampler == "euler_a" else {}
        step = scheduler.step(prediction, t, x, **needs_noise)
        x = step.prev_sample
        latents.append(x)
        if "pred_original_sample" in step:
            denoised.append(step.pred_original_sample)
    found = {"timesteps": scheduler.timesteps.to(torch.float32), "latents": torch.stack(latents)}
    if denoised:
        found["denoised"] = torch.stack(denoised)
    return found


def trajectories():
    tensors = {}
    for config, values in CONFIGS.items():
        tensors[f"alphas_cumprod/{config}"] = DDIMScheduler.from_config(values).alphas_cumprod
        for sampler in SAMPLERS:
            if (sampler, config) in REFUSED:
                continue
            for steps in SD15_STEPS if config == "sd15" else OTHER_STEPS:
                for name, value in trajectory(sampler, config, steps).items():
                    assert torch.isfinite(value).all(), (sampler, config, steps, name)
                    tensors[f"{config}/{sampler}/{steps}/{name}"] = value.to(torch.float32).contiguous()
    # safetensors keeps only text beside tensors: the configs travel as JSON.
    save_file(tensors, OUT / "trajectories.safetensors", {"configs": json.dumps(CONFIGS)})


def noise():
    tensors = {}
    for seed in [0, 1, 42, 1234567890, 2**32 - 1, 2**32 + 7, 2**53 - 1]:
        # Consecutive calls from one generator, short ones (scalar path) and long ones mixed.
        generator = torch.Generator("cpu").manual_seed(seed)
        sizes = [1, 5, 16, 15, 17, 1, 100, 5] + ([4096, 4 * 64 * 64] if seed == 42 else [])
        for call, size in enumerate(sizes):
            tensors[f"{seed}/{call}"] = torch.randn(size, generator=generator)
    save_file(tensors, OUT / "noise.safetensors")


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    noise()
    trajectories()
