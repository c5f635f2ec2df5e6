"""Goldens of the noise sources and of every sampler's trajectory.

Writes crates/engine/tests/goldens/noise.safetensors, brownian.safetensors and trajectories.safetensors. The "model" is
a fixed smooth function of latent and timestep, written identically in crates/engine/tests/trajectories.rs, so that what
is compared is the sampler alone. philox.py has the noise of CUDA devices.

    python tools/goldens/trajectories.py
"""

import json
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    DPMSolverSDEScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)
from diffusers.schedulers.scheduling_dpmsolver_sde import BrownianTreeNoiseSampler
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
    "sigma_min": {**SD15, "final_sigmas_type": "sigma_min"},
}
SEED = 20
KARRAS = {"use_karras_sigmas": True}
SDE_2M = {"algorithm_type": "sde-dpmsolver++"}
BROWNIAN = {"noise_sampler_seed": SEED}
SAMPLERS = {
    "ddim": (DDIMScheduler, {}),
    "euler": (EulerDiscreteScheduler, {}),
    "euler_a": (EulerAncestralDiscreteScheduler, {}),
    "heun": (HeunDiscreteScheduler, {}),
    "pndm": (PNDMScheduler, {}),
    "dpmpp_2m": (DPMSolverMultistepScheduler, {}),
    "dpmpp_2m_karras": (DPMSolverMultistepScheduler, KARRAS),
    "dpmpp_sde": (DPMSolverSDEScheduler, BROWNIAN),
    "dpmpp_sde_karras": (DPMSolverSDEScheduler, BROWNIAN | KARRAS),
    "dpmpp_2m_sde_karras": (DPMSolverMultistepScheduler, SDE_2M | KARRAS),
    "unipc": (UniPCMultistepScheduler, {}),
    "lcm": (LCMScheduler, {}),
}
# Their step takes the generator.
DRAWS = {"euler_a", "dpmpp_2m_sde_karras", "lcm"}
# diffusers refuses these with prediction type sample: the script turns it into epsilon on the way.
NO_SAMPLE_TYPE = {"euler_a", "pndm", "dpmpp_sde", "dpmpp_sde_karras"}
# These have no such option and ignore it; DPM-Solver starts at the second of two equal timesteps and fails.
REFUSED = {(sampler, "zero_snr") for sampler in ["pndm", "heun", "dpmpp_sde", "dpmpp_sde_karras"]}
REFUSED |= {("dpmpp_2m_karras", "zero_snr"), ("dpmpp_2m_karras", "cosine")}
REFUSED |= {("dpmpp_2m_sde_karras", "zero_snr"), ("dpmpp_2m_sde_karras", "cosine")}
# From sigma 4096 to 0 in one step, the reference itself loses 5e-4 to cancellation in f32.
REFUSED |= {("euler", "zero_snr"), ("euler_a", "zero_snr")}
# From sigma 10^4 Heun's second call sees an x of 10^4, whose sine the model below can only know to 1e-4 in f32.
REFUSED |= {("heun", "cosine")}
HAS_FINAL_SIGMA = {"euler", "dpmpp_2m", "dpmpp_2m_karras", "dpmpp_2m_sde_karras", "unipc"}
REFUSED |= {(sampler, "sigma_min") for sampler in SAMPLERS if sampler not in HAS_FINAL_SIGMA}
SD15_STEPS = [1, 2, 3, 7, 20, 50, 150]
# Lets the file stay small: estimates of the clean latent only of short runs, of long ones only the last latent.
MOST_ESTIMATES = 20
MOST_LATENTS = 50
OTHER_STEPS = [1, 6, 17]
SHAPE = (1, 4, 3, 3)


def model(x, t):
    """Smooth, of a size like a real prediction, dependent on x and t, not linear in x."""
    t = float(t)
    return torch.tanh(x * 0.7 + t * 0.001) * 0.9 + torch.sin(x * 1.3 - t * 0.004) * 0.3


def as_epsilon(scheduler, x, t, prediction):
    """The noise that a prediction of the clean latent implies."""
    if isinstance(scheduler, PNDMScheduler):
        alpha_bar = scheduler.alphas_cumprod[t]
        return (x - alpha_bar.sqrt() * prediction) / (1 - alpha_bar).sqrt()
    if isinstance(scheduler, EulerAncestralDiscreteScheduler) or scheduler.state_in_first_order:
        sigma = scheduler.sigmas[scheduler.step_index]
    else:
        sigma = scheduler.mid_point_sigma
    return (x - prediction) / sigma


@contextmanager
def exact_roots():
    """Square roots correctly rounded: MKL's miss by a bit on some processors, and goldens are for all."""
    theirs = torch.Tensor.__pow__
    torch.Tensor.__pow__ = lambda x, p: theirs(x.double(), p).to(x.dtype) if p == 0.5 else theirs(x, p)
    try:
        yield
    finally:
        torch.Tensor.__pow__ = theirs


class RoundedLookups:
    """Looks a Brownian motion up at the scheduler's sigmas correctly rounded to f32.

    The scheduler gives exp(-(-log sigma)) in torch's f32, whose last bit depends on the build and the processor. Near
    sigma 10 one bit is a millionth, and the motion moves by a thousandth on that way.
    """

    def __init__(self, scheduler, motion):
        self.scheduler, self.motion = scheduler, motion

    def __call__(self, sigma, following):
        def ln(x):
            return np.float32(np.log(np.float64(x)))

        def exp(x):
            return np.float32(np.exp(np.float64(x)))

        sigmas, index = self.scheduler.sigmas.numpy(), self.scheduler.step_index
        if self.scheduler.state_in_first_order:
            t, t_next = -ln(sigmas[index]), -ln(sigmas[index + 1])
            found = exp(-t), exp(-(t + (t_next - t) * np.float32(0.5)))
        else:
            found = exp(ln(sigmas[index - 1])), exp(ln(sigmas[index]))
        for ours, theirs in zip(found, (sigma.item(), following.item())):
            assert abs(ours / theirs - 1) < 2e-6, (ours, theirs)
        return self.motion(*(float(x) for x in found))


def trajectory(sampler, config, steps, model=model, shape=SHAPE):
    scheduler_class, extra = SAMPLERS[sampler]
    converts = config == "sample" and sampler in NO_SAMPLE_TYPE
    values = CONFIGS[config] | ({"prediction_type": "epsilon"} if converts else {})
    scheduler = scheduler_class.from_config(values, **extra)
    scheduler.set_timesteps(steps)
    generator = torch.Generator("cpu").manual_seed(SEED)
    x = torch.randn(shape, generator=generator) * scheduler.init_noise_sigma
    if isinstance(scheduler, DPMSolverSDEScheduler):
        low, high = (f(scheduler.sigmas[scheduler.sigmas > 0]).item() for f in (torch.min, torch.max))
        motion = BrownianTreeNoiseSampler(x, low, high, scheduler.noise_sampler_seed)
        scheduler.noise_sampler = RoundedLookups(scheduler, motion)
    # PNDM corrects its first step with a second call; Heun and DPM++ SDE take two calls for every step but the last.
    if sampler == "pndm":
        ends = [call for call in range(len(scheduler.timesteps)) if call > 0 or steps == 1]
    elif scheduler.order == 2:
        ends = [call for call in range(len(scheduler.timesteps)) if call % 2 == 1 or call == 2 * steps - 2]
    else:
        ends = list(range(steps))
    latents, denoised = [], []
    for call, t in enumerate(scheduler.timesteps):
        scaled = scheduler.scale_model_input(x, t)
        prediction = model(scaled, t)
        if converts:
            prediction = as_epsilon(scheduler, x, t, prediction)
        step = scheduler.step(prediction, t, x, **({"generator": generator} if sampler in DRAWS else {}))
        x = step.prev_sample
        if call in ends:
            latents.append(x)
            estimate = step.get("pred_original_sample", step.get("denoised"))
            if estimate is not None and steps <= MOST_ESTIMATES:
                denoised.append(estimate)
    assert len(latents) == steps, (sampler, config, steps, len(latents))
    if steps > MOST_LATENTS:
        latents = latents[-1:]
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
                if sampler == "lcm" and steps > 50:
                    continue
                for name, value in trajectory(sampler, config, steps).items():
                    assert torch.isfinite(value).all(), (sampler, config, steps, name)
                    tensors[f"{config}/{sampler}/{steps}/{name}"] = value.to(torch.float32).contiguous()
    # safetensors keeps only text beside tensors: the configs travel as JSON.
    save_file(tensors, OUT / "trajectories.safetensors", {"configs": json.dumps(CONFIGS)})


def brownian():
    """torchsde's motion, through diffusers, at points as SDE samplers ask for them and at awkward ones."""
    tensors, cases = {}, []
    ladder = [14.614641, 9.5, 6.1357, 3.25, 1.5, 0.7000001, 0.33, 0.1, 0.05, 0.0291675]
    pairs = list(zip(ladder, ladder[1:])) + [(ladder[0], ladder[-1]), (4.0, 1.0), (2.000001, 2.0), (20.0, 7.25)]
    for seed in [0, 20, 2**32 + 7, 2**53 - 1]:
        batch = torch.zeros(1, 4, 3, 3)
        sampler = BrownianTreeNoiseSampler(batch, ladder[-1], ladder[0], seed)
        for sigma, following in pairs:
            tensors[str(len(cases))] = sampler(sigma, following)
            cases.append([seed, sigma, following])
    metadata = {"cases": json.dumps(cases), "range": json.dumps([ladder[-1], ladder[0]])}
    save_file(tensors, OUT / "brownian.safetensors", metadata)


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
    brownian()
    with exact_roots():
        trajectories()
