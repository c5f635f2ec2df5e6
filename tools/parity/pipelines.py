"""The reference side of `cargo xtask parity`: a pipeline of random weights, and what diffusers and PEFT make of it.

Writes to FOLDER: model/ (Hugging Face layout), adapters/, reference.safetensors, and cases.json, which says what is to
be computed from what, and how far it may be off. crates/engine/examples/parity.rs does its half of it.

    python tools/parity/pipelines.py small|real FOLDER
"""

import json
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline
from PIL import Image
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "goldens"))
import images  # noqa: E402
import real  # noqa: E402
from adapter_cases import Cases  # noqa: E402
from img2img import init_mask, init_image  # noqa: E402
from tiny import prompts  # noqa: E402
from trajectories import CONFIGS, SAMPLERS, SEED, exact_roots, trajectory  # noqa: E402

PROMPT, NEGATIVE, GUIDANCE = images.PROMPT, images.NEGATIVE, 4.0
RELATIVE = 1e-4  # of modules and trajectories, to the largest value
PIXELS = {"small": 1, "real": 2}  # of 255

# Sides of a latent for each module's calls; steps of trajectories and their latent's sides; steps of
# images and their width and height; what the second pass makes of the latter.
SIZES = {
    "small": dict(sides=[(8, 12)], steps=7, latent=(8, 12), image_steps=7, size=(64, 48), hires=(96, 72)),
    "real": dict(sides=[(16, 24)], steps=3, latent=(16, 16), image_steps=3, size=(192, 192), hires=(256, 256)),
}
# At real size a call of the UNet takes seconds: their trajectories tell the samplers apart.
IMAGES = {"small": list(SAMPLERS), "real": ["pndm", "dpmpp_2m_karras"]}
FROM_IMAGES = {"small": list(SAMPLERS), "real": ["euler_a"]}


class Reference:
    def __init__(self, shape, folder):
        self.shape, self.folder, self.sizes = shape, folder, SIZES[shape]
        folder.mkdir(parents=True, exist_ok=True)
        self.pipe = (real if shape == "real" else images).models(folder / "model")
        # PNDM's defaults were written into it, and count for the other samplers too.
        self.config = self.pipe.scheduler.config
        CONFIGS["model"] = dict(self.config)
        self.factor = self.pipe.vae_scale_factor
        self.tensors, self.cases = {}, []
        self.generator = torch.Generator("cpu").manual_seed(61)

    def randn(self, *shape):
        return torch.randn(shape, generator=self.generator)

    def keep(self, name, tensor):
        """A reference that is flat, huge or not finite would compare well with anything."""
        if tensor.is_floating_point():
            spread = tensor.std().item()
            assert torch.isfinite(tensor).all() and 0.02 < spread < 200, f"{name} has a spread of {spread}"
        self.tensors[name] = tensor.detach().clone().contiguous()
        return name

    def case(self, row, kind, bar, **details):
        print(f"{self.shape}: {row}", file=sys.stderr)
        self.cases.append({"row": row, "kind": kind, "bar": bar, **details})

    def tokens(self):
        texts = prompts()
        ids = self.pipe.tokenizer(texts, padding="max_length", max_length=77, truncation=True).input_ids
        self.case("tokenizer", "tokens", 0, texts=texts, ids=ids)

    def modules(self):
        pipe, sides = self.pipe, self.sizes["sides"]
        ids = pipe.tokenizer([NEGATIVE, PROMPT], padding="max_length", max_length=77, return_tensors="pt").input_ids
        context = pipe.text_encoder(ids).last_hidden_state
        self.keep("ids", ids.int())
        self.keep("context", context)
        self.case("text encoder", "text", RELATIVE, ids="ids", out="context")
        channels = pipe.vae.config.latent_channels
        for number, (height, width) in enumerate(sides):
            size = f"{width * self.factor}×{height * self.factor}"
            x = self.keep(f"unet.{number}.x", self.randn(2, channels, height, width))
            out = self.keep(f"unet.{number}.out", pipe.unet(self.tensors[x], 481, context).sample)
            self.case(f"UNet, {size}", "unet", RELATIVE, x=x, timestep=481, context="context", out=out)
            z = self.keep(f"vae.{number}.z", self.randn(1, channels, height, width))
            out = pipe.vae.decode(self.tensors[z] / pipe.vae.config.scaling_factor).sample
            out = self.keep(f"vae.{number}.out", out)
            self.case(f"VAE decoding, {size}", "decode", RELATIVE, z=z, out=out)
            image = torch.rand((1, 3, height * self.factor, width * self.factor), generator=self.generator) * 2 - 1
            image = self.keep(f"vae.{number}.image", image)
            posterior = pipe.vae.encode(self.tensors[image]).latent_dist
            mean = self.keep(f"vae.{number}.mean", posterior.mean)
            logvar = self.keep(f"vae.{number}.logvar", posterior.logvar)
            self.case(f"VAE encoding, {size}", "encode", RELATIVE, image=image, mean=mean, log_variance=logvar)

    def trajectories(self):
        """The sampler and the model together, every latent on the way."""
        pipe, context = self.pipe, self.tensors["context"]
        shape = (1, pipe.vae.config.latent_channels, *self.sizes["latent"])

        def guided(x, t):
            without, given = pipe.unet(torch.cat([x, x]), t, context).sample.chunk(2)
            return without + GUIDANCE * (given - without)

        for sampler in SAMPLERS:
            with exact_roots() if self.shape == "small" else nullcontext():
                found = trajectory(sampler, "model", self.sizes["steps"], guided, shape)
            latents = self.keep(f"trajectory.{sampler}", found["latents"])
            details = dict(sampler=sampler, seed=SEED, guidance=GUIDANCE, context="context", latents=latents)
            self.case(f"trajectory, {sampler}", "trajectory", RELATIVE, **details)

    def images(self):
        base, parts = self.pipe, self.pipe.components | {"requires_safety_checker": False}
        kinds = {
            "txt2img": base,
            "img2img": StableDiffusionImg2ImgPipeline(**parts),
            "inpaint": StableDiffusionInpaintPipeline(**parts),
        }
        (width, height), steps = self.sizes["size"], self.sizes["image_steps"]
        init, mask = init_image(width, height), init_mask(width, height)
        self.keep("init", torch.from_numpy(init))
        self.keep("mask", torch.from_numpy(mask))
        common = dict(prompt=PROMPT, negative_prompt=NEGATIVE, guidance_scale=GUIDANCE, num_inference_steps=steps)
        image, mask = Image.fromarray(init), Image.fromarray(mask)

        def run(kind, sampler, output_type, **arguments):
            pipeline = kinds[kind]
            scheduler_class, extra = SAMPLERS[sampler]
            if "noise_sampler_seed" in extra:
                extra = extra | {"noise_sampler_seed": SEED}
            pipeline.scheduler = scheduler_class.from_config(self.config, **extra)
            pipeline.set_progress_bar_config(disable=True)
            generator = torch.Generator("cpu").manual_seed(SEED)
            return pipeline(**{**common, **arguments}, generator=generator, output_type=output_type).images

        def take(row, sampler, image, **request):
            pixels = torch.from_numpy(np.asarray(image).copy())
            saturated = ((pixels == 0) | (pixels == 255)).float().mean().item()
            assert pixels.float().std() > 20 and saturated < 0.5, f"{row}: {pixels.float().std()}, {saturated}"
            pixels = self.keep(f"image.{len(self.cases)}", pixels)
            request = dict(
                prompt=PROMPT, negative_prompt=NEGATIVE, guidance=GUIDANCE, steps=steps, seed=SEED, sampler=sampler
            ) | {"width": width, "height": height} | request
            with_mask = request.pop("with_mask", False)
            details = dict(request=request, pixels=pixels, init="init" if "denoising_strength" in request else None)
            self.case(row, "image", PIXELS[self.shape], mask="mask" if with_mask else None, **details)

        for sampler in IMAGES[self.shape]:
            take("txt2img", sampler, run("txt2img", sampler, "pil", width=width, height=height)[0])
        for sampler in FROM_IMAGES[self.shape]:
            found = run("img2img", sampler, "pil", image=image, strength=0.6)[0]
            take("img2img", sampler, found, denoising_strength=0.6)
            arguments = dict(image=image, mask_image=mask, width=width, height=height, strength=0.6)
            take("inpaint", sampler, run("inpaint", sampler, "pil", **arguments)[0], denoising_strength=0.6, with_mask=True)
        # A1111's second pass: so many steps at the end of a schedule of int(steps / strength).
        (wide, high), again, strength = self.sizes["hires"], 3, 0.6
        for sampler in FROM_IMAGES[self.shape][:2]:
            latents = run("txt2img", sampler, "latent", width=width, height=height)
            size = (high // self.factor, wide // self.factor)
            latents = torch.nn.functional.interpolate(latents, size=size, mode="bilinear")
            schedule = int(again / strength)
            arguments = dict(num_inference_steps=schedule, strength=(again + 0.5) / schedule)
            found = run("img2img", sampler, "pil", image=latents, **arguments)[0]
            hires = dict(width=wide, height=high, strength=strength, steps=again, upscaler="latent")
            take("hires", sampler, found, hires=hires)

    def large(self):
        """The size that Stable Diffusion 1.5 was trained for."""
        if self.shape != "real":
            return
        x = self.keep("unet.large.x", self.randn(1, 4, 64, 64))
        out = self.keep("unet.large.out", self.pipe.unet(self.tensors[x], 999, self.tensors["context"][:1]).sample)
        self.case("UNet, 512×512", "unet", RELATIVE, x=x, timestep=999, context="context", out=out)
        self.pipe.scheduler = SAMPLERS["ddim"][0].from_config(self.config)
        request = dict(prompt=PROMPT, negative_prompt=NEGATIVE, width=512, height=512)
        generator = torch.Generator("cpu").manual_seed(SEED)
        found = self.pipe(**request, guidance_scale=GUIDANCE, num_inference_steps=2, generator=generator).images[0]
        pixels = self.keep("image.large", torch.from_numpy(np.asarray(found).copy()))
        request |= dict(guidance=GUIDANCE, steps=2, seed=SEED, sampler="ddim")
        details = dict(request=request, pixels=pixels, init=None, mask=None)
        self.case("txt2img, 512×512", "image", PIXELS[self.shape], **details)

    def adapters(self):
        folder = self.folder / "adapters"
        folder.mkdir(exist_ok=True)
        x = self.keep("adapter.x", self.randn(1, 4, *self.sizes["latent"]))
        given = {"x": self.tensors[x], "context": self.tensors["context"][:1], "ids": self.tensors["ids"][1:].long()}
        unet, text = self.pipe.unet, self.pipe.text_encoder
        with torch.no_grad():
            base = unet(given["x"], 321, given["context"]).sample, text(given["ids"]).last_hidden_state

        def add(row, file, found):
            changed = [((a - b).abs().max() / b.abs().max()).item() for a, b in zip(found, base)]
            assert changed[0] > 0.01, f"{row} changes the UNet's output by {changed}"
            names = [self.keep(f"adapter.{file}.{part}", value) for part, value in zip(("unet", "text"), found)]
            details = dict(file=f"adapters/{file}", x=x, timestep=321, context="context", ids="ids")
            self.case(f"adapter: {row}", "adapter", RELATIVE, **details, unet=names[0], text=names[1])

        Cases(self.pipe, folder, given, add).all()

    def save(self):
        save_file(self.tensors, self.folder / "reference.safetensors")
        (self.folder / "cases.json").write_text(json.dumps(self.cases, ensure_ascii=False, indent=1))


def main():
    shape, folder = sys.argv[1], Path(sys.argv[2])
    reference = Reference(shape, folder)
    with torch.no_grad():
        reference.tokens()
        reference.modules()
        reference.trajectories()
        reference.images()
        reference.large()
    reference.adapters()
    reference.save()


if __name__ == "__main__":
    main()
