"""Goldens of whole images: diffusers' StableDiffusionPipeline on a small random model, every sampler.

Writes the model folder crates/engine/tests/goldens/pipeline/ and images.safetensors beside it.

    python tools/goldens/images.py
"""

import json
import shutil

import torch
from diffusers import (
    AutoencoderKL,
    PNDMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import save_file
from tiny import OUT, randomise, text_encoder, write_tokenizer
from trajectories import SAMPLERS, SD15

PROMPT = "a large red flower in a ring of yellow dots, don't"
NEGATIVE = "blue moons"
STEPS, GUIDANCE, SEED = 7, 4.0, 1234
WIDTH, HEIGHT = 64, 48
UNET_GAIN, VAE_GAIN = 1.2, 0.7
ODE = {"ddim", "euler", "heun", "pndm", "dpmpp_2m", "dpmpp_2m_karras", "unipc"}


@torch.no_grad()
def models(folder=OUT / "pipeline"):
    shutil.rmtree(folder, ignore_errors=True)
    tokenizer = write_tokenizer(folder / "tokenizer")
    text = text_encoder(len(tokenizer), seed=21)
    unet = randomise(
        UNet2DConditionModel(
            sample_size=16,
            block_out_channels=(16, 32),
            down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
            layers_per_block=1,
            attention_head_dim=4,
            cross_attention_dim=32,
            norm_num_groups=4,
        ),
        seed=22,
    )
    vae = randomise(
        AutoencoderKL(
            block_out_channels=(8, 16, 16),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            layers_per_block=1,
            norm_num_groups=4,
            sample_size=64,
        ),
        seed=23,
    )
    # Strong enough that samplers differ plainly, and an autoencoder that fills the range without saturating.
    for parameter in unet.conv_out.parameters():
        parameter.mul_(UNET_GAIN)
    for parameter in vae.decoder.conv_out.parameters():
        parameter.mul_(VAE_GAIN)
    return assembled(folder, tokenizer, text, unet, vae)


def assembled(folder, tokenizer, text, unet, vae):
    """The pipeline of these parts with SD 1.5's scheduler, also written to `folder`, where the tokenizer is already."""
    scheduler = PNDMScheduler.from_config(SD15)
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    for name, part in {"text_encoder": text, "unet": unet, "vae": vae, "scheduler": scheduler}.items():
        part.save_pretrained(folder / name)
    pipeline.save_config(folder)
    pipeline.set_progress_bar_config(disable=True)
    # From the file, as a user's would be: what PNDM's defaults wrote into it counts for the other samplers too.
    pipeline.scheduler = PNDMScheduler.from_pretrained(folder / "scheduler")
    return pipeline


def main():
    pipeline = models()
    config = pipeline.scheduler.config
    tensors, images = {}, {}

    def render(name, sampler, **changes):
        scheduler_class, extra = SAMPLERS[sampler]
        if "noise_sampler_seed" in extra:
            extra = extra | {"noise_sampler_seed": SEED}
        pipeline.scheduler = scheduler_class.from_config(config, **extra)
        arguments = dict(
            prompt=PROMPT,
            negative_prompt=NEGATIVE,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            width=WIDTH,
            height=HEIGHT,
        )
        arguments |= changes
        generator = torch.Generator("cpu").manual_seed(SEED)
        latents = pipeline(**arguments, generator=generator, output_type="latent").images
        generator = torch.Generator("cpu").manual_seed(SEED)
        image = pipeline(**arguments, generator=generator, output_type="pil").images[0]
        pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
        pixels = pixels.reshape(arguments["height"], arguments["width"], 3)
        flat = pixels.float()
        saturated = ((pixels == 0) | (pixels == 255)).float().mean().item()
        assert flat.std() > 25 and saturated < 0.25, f"{name}: spread {flat.std()}, saturated {saturated}"
        for other, theirs in images.items():
            # Two ways along one ODE may end near each other; trajectories.py tells every two apart.
            if theirs.shape == pixels.shape and not {name, other} <= ODE:
                apart = (flat - theirs.float()).abs().max().item()
                assert apart > 12, f"{name} and {other} differ by {apart} only"
        images[name] = pixels
        tensors[f"{name}.pixels"] = pixels
        tensors[f"{name}.latents"] = latents.contiguous()
        print(f"{name}: spread {flat.std():.1f}, saturated {saturated:.3f}, latents {latents.std():.2f}")

    for sampler in SAMPLERS:
        render(sampler, sampler)
    render("unguided", "ddim", guidance_scale=1.0)
    render("no-negative", "ddim", negative_prompt="")
    render("empty", "ddim", prompt="")
    render("square", "pndm", width=64, height=64)
    request = dict(prompt=PROMPT, negative=NEGATIVE, steps=STEPS, guidance=GUIDANCE, seed=SEED)
    metadata = {"request": json.dumps(request | dict(width=WIDTH, height=HEIGHT))}
    save_file(tensors, OUT / "images.safetensors", metadata=metadata)


if __name__ == "__main__":
    main()
