"""Goldens of images made from images, on the model folder that images.py has written.

StableDiffusionImg2ImgPipeline and StableDiffusionInpaintPipeline with every sampler, and a second pass over
enlarged latents. Writes crates/engine/tests/goldens/img2img.safetensors.

    python tools/goldens/img2img.py
"""

import json

import numpy as np
import torch
from diffusers import (
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
)
from PIL import Image
from images import GUIDANCE, HEIGHT, NEGATIVE, PROMPT, SEED, STEPS, WIDTH
from safetensors.torch import save_file
from tiny import OUT
from trajectories import SAMPLERS

STRENGTH = 0.6
# Second passes: sampler, width, height, steps that are done, denoising strength. With A1111's rule that many steps are
# done, on a schedule of int(steps / strength).
HIRES = {
    "hires-even": ("euler_a", 96, 72, 5, 0.6),
    "hires-uneven": ("dpmpp_2m_karras", 104, 88, 3, 0.45),
    "hires-whole": ("ddim", 96, 72, 2, 1.0),
}


def init_image(width=WIDTH, height=HEIGHT):
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    waves = [np.sin(x / 7 + y / 11), np.cos(x / 5 - y / 9), np.sin((x + 2 * y) / 13)]
    return np.stack([(127.5 + 110 * wave).round() for wave in waves], -1).astype(np.uint8)


def init_mask(width=WIDTH, height=HEIGHT):
    """Neither along the latent grid nor only black and white."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    blob = 255 - 9 * (WIDTH / width) * np.hypot(x - 37 * width / WIDTH, (y - 21 * height / HEIGHT) * 1.3)
    return blob.clip(0, 255).round().astype(np.uint8)


def pixels_of(image):
    return torch.from_numpy(np.asarray(image).copy())


def main():
    base = StableDiffusionPipeline.from_pretrained(OUT / "pipeline", safety_checker=None, local_files_only=True)
    config = base.scheduler.config
    parts = base.components | {"requires_safety_checker": False}
    pipelines = {
        "text": base,
        "img2img": StableDiffusionImg2ImgPipeline(**parts),
        "inpaint": StableDiffusionInpaintPipeline(**parts),
    }
    init, mask = init_image(), init_mask()
    tensors = {"init": torch.from_numpy(init), "mask": torch.from_numpy(mask)}
    common = dict(prompt=PROMPT, negative_prompt=NEGATIVE, guidance_scale=GUIDANCE)

    def run(kind, sampler, output_type, **arguments):
        pipeline = pipelines[kind]
        scheduler_class, extra = SAMPLERS[sampler]
        if "noise_sampler_seed" in extra:
            extra = extra | {"noise_sampler_seed": SEED}
        pipeline.scheduler = scheduler_class.from_config(config, **extra)
        pipeline.set_progress_bar_config(disable=True)
        generator = torch.Generator("cpu").manual_seed(SEED)
        return pipeline(**common, **arguments, generator=generator, output_type=output_type).images

    def render(name, kind, sampler, **arguments):
        latents = run(kind, sampler, "latent", **arguments)
        pixels = pixels_of(run(kind, sampler, "pil", **arguments)[0])
        assert torch.isfinite(latents).all() and pixels.float().std() > 20, name
        for other, theirs in tensors.items():
            if other.endswith(".latents") and theirs.shape == latents.shape:
                assert (theirs - latents).abs().max() > 1e-2, f"{name} and {other} are the same"
        tensors[f"{name}.latents"] = latents.contiguous()
        tensors[f"{name}.pixels"] = pixels
        print(f"{name}: latents {latents.std():.2f}, pixels {pixels.float().std():.1f}")

    image = Image.fromarray(init)
    from_image = dict(image=image, num_inference_steps=STEPS)
    masked = dict(mask_image=Image.fromarray(mask), width=WIDTH, height=HEIGHT)
    for sampler in SAMPLERS:
        render(f"img2img/{sampler}", "img2img", sampler, **from_image, strength=STRENGTH)
        render(f"inpaint/{sampler}", "inpaint", sampler, **from_image, **masked, strength=STRENGTH)
    # PNDM takes its first step twice: the list of timesteps is cut in other places with other strengths.
    for strength in [0.2, 0.9, 1.0]:
        for sampler in ["pndm", "euler"]:
            render(f"img2img/{sampler}/{strength}", "img2img", sampler, **from_image, strength=strength)
    render("inpaint/euler/1.0", "inpaint", "euler", **from_image, **masked, strength=1.0)

    for name, (sampler, width, height, steps, strength) in HIRES.items():
        small = dict(num_inference_steps=STEPS, width=WIDTH, height=HEIGHT)
        latents = run("text", sampler, "latent", **small)
        size = (height // base.vae_scale_factor, width // base.vae_scale_factor)
        latents = torch.nn.functional.interpolate(latents, size=size, mode="bilinear")
        schedule = int(steps / min(strength, 0.999))
        again = dict(image=latents, num_inference_steps=schedule, strength=min(1.0, (steps + 0.5) / schedule))
        render(name, "img2img", sampler, **again)
    metadata = {"hires": json.dumps(HIRES), "strength": json.dumps(STRENGTH)}
    save_file(tensors, OUT / "img2img.safetensors", metadata=metadata)


if __name__ == "__main__":
    main()
