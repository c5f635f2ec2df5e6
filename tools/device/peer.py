"""The images and switches of `adire measure`, made by diffusers; prints the same JSON.

    python3 peer.py MODEL --device cuda:0 --dtype f16 [--lora FILE …] [--size N] [--steps N] [--out FILE.png]

Exit code 3 and one sentence where diffusers, transformers or PEFT are not installed.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("model")
    arguments.add_argument("--device", default="cuda:0")
    arguments.add_argument("--dtype", choices=["f32", "f16", "bf16"], default="f16")
    arguments.add_argument("--lora", action="append", default=[])
    arguments.add_argument("--prompt", default="red flower on blue")
    arguments.add_argument("--size", type=int, default=512)
    arguments.add_argument("--steps", type=int, default=20)
    arguments.add_argument("--images", type=int, default=3)
    arguments.add_argument("--switches", type=int, default=100)
    arguments.add_argument("--adapter-steps", type=int, default=0, help="also an image of so many steps with the first adapter")
    arguments.add_argument("--compile", metavar="MODE", help="torch.compile's mode, in channels-last: reduce-overhead "
                           "or max-autotune")
    arguments.add_argument("--channels-last", action="store_true")
    arguments.add_argument("--batch", type=int, action="append", default=[], help="also that many images at once")
    arguments.add_argument("--longer", type=int, default=50, help="also images of so many steps; 0: none")
    arguments.add_argument("--brief", action="store_true", help="without longer images, and with the peak of memory: for a CPU")
    arguments.add_argument("--out")
    given = arguments.parse_args()
    try:
        import diffusers
        import peft  # noqa: F401 (diffusers loads adapters with it)
        import torch
        from diffusers import DDIMScheduler, StableDiffusionPipeline
    except ImportError as error:
        print(f"not measured: {error}", file=sys.stderr)
        sys.exit(3)

    diffusers.utils.logging.set_verbosity_error()
    on_gpu = given.device.startswith("cuda")
    dtype = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}[given.dtype]

    def wait():
        if on_gpu:
            torch.cuda.synchronize(given.device)

    begun = time.perf_counter()
    pipe = StableDiffusionPipeline.from_pretrained(
        given.model, torch_dtype=dtype, safety_checker=None, requires_safety_checker=False, local_files_only=True)
    pipe = pipe.to(given.device)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    if given.compile:
        torch._inductor.config.conv_1x1_as_mm = True
        pipe.unet.to(memory_format=torch.channels_last)
        pipe.vae.to(memory_format=torch.channels_last)
        pipe.unet = torch.compile(pipe.unet, mode=given.compile, fullgraph=True)
        pipe.vae.decode = torch.compile(pipe.vae.decode, mode=given.compile, fullgraph=True)
    elif given.channels_last:
        pipe.unet.to(memory_format=torch.channels_last)
        pipe.vae.to(memory_format=torch.channels_last)
    wait()
    load_seconds = time.perf_counter() - begun

    def moment():
        """A time that is read later: the device is never waited for within an image."""
        if not on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def between(a, b):
        return a.elapsed_time(b) / 1000 if on_gpu else b - a

    def image(steps=given.steps, batch=1):
        ends = []

        def on_step(_pipe, _step, _timestep, tensors):
            ends.append(moment())
            return tensors

        begun = time.perf_counter()
        image = pipe(
            given.prompt, negative_prompt="", num_inference_steps=steps, guidance_scale=7.5, width=given.size,
            height=given.size, generator=torch.Generator("cpu").manual_seed(0), callback_on_step_end=on_step,
            num_images_per_prompt=batch,
        ).images[0]
        wait()
        seconds = time.perf_counter() - begun
        taken = between(ends[0], ends[-1]) if len(ends) > 1 else 0
        return seconds, ((len(ends) - 1) / taken if taken else len(ends) / seconds), image

    def decode_seconds():
        """One latent to an image's pixels on the device."""
        latent = torch.randn(1, 4, given.size // 8, given.size // 8, device=given.device, dtype=dtype)
        times = []
        with torch.no_grad():
            for _ in range(4 if given.brief else 8):
                wait()
                begun = time.perf_counter()
                pipe.vae.decode(latent, return_dict=False)
                wait()
                times.append(time.perf_counter() - begun)
        return statistics.median(times[1 if given.brief else 3:])

    def text_seconds():
        """Both prompts of an image."""
        times = []
        with torch.no_grad():
            for _ in range(given.images + 1):
                wait()
                begun = time.perf_counter()
                pipe.encode_prompt(given.prompt, given.device, 1, True, "")
                wait()
                times.append(time.perf_counter() - begun)
        return statistics.median(times[1:])

    more = {}
    first_seconds, _, made = image()
    taken = [image() for _ in range(given.images)]
    if given.out:
        made.save(given.out)
    report = {
        "program": f"diffusers {diffusers.__version__}, torch {torch.__version__}"
                   + (f", compiled ({given.compile})" if given.compile else ""),
        "device": torch.cuda.get_device_name(given.device) if on_gpu else "cpu",
        "dtype": given.dtype, "size": given.size, "steps": given.steps, "sampler": "ddim",
        "load_seconds": load_seconds, "first_seconds": first_seconds,
        "seconds": statistics.median(t[0] for t in taken),
        "steps_per_second": statistics.median(t[1] for t in taken),
        "images": len(taken),
    }
    more["decode_seconds"] = decode_seconds()
    more["text_seconds"] = text_seconds()
    print("so far:", json.dumps({**report, **more}), file=sys.stderr, flush=True)
    if given.longer and not given.brief:
        more["longer_seconds"] = statistics.median(image(given.longer)[0] for _ in range(given.images))
    for batch in given.batch:
        image(3, batch)
        at = [image(given.steps, batch) for _ in range(2)]
        more[f"batch_{batch}"] = {"seconds": min(t[0] for t in at), "steps_per_second": max(t[1] for t in at)}
    print("so far:", json.dumps({**report, **more}), file=sys.stderr, flush=True)

    switch_seconds = None
    if given.lora and not given.compile:
        names = [f"adapter{i}" for i in range(len(given.lora))]
        for name, path in zip(names, given.lora):
            pipe.load_lora_weights(os.path.dirname(os.path.abspath(path)), weight_name=os.path.basename(path),
                                   adapter_name=name)
        wait()
        begun = time.perf_counter()
        for i in range(1, given.switches + 1):
            which = i % (len(names) + 1)
            if which:
                pipe.enable_lora()
                pipe.set_adapters([names[which - 1]])
            else:
                pipe.disable_lora()
        wait()
        switch_seconds = (time.perf_counter() - begun) / given.switches
        pipe.enable_lora()
        pipe.set_adapters(names[:1])
        image()
        more["steps_per_second_adapter_beside"] = image()[1]
        if given.adapter_steps:
            more["adapter_image_seconds"] = image(given.adapter_steps)[0]
        begun = time.perf_counter()
        pipe.fuse_lora()
        wait()
        more["fuse_seconds"] = time.perf_counter() - begun
        begun = time.perf_counter()
        pipe.unfuse_lora()
        wait()
        more["unfuse_seconds"] = time.perf_counter() - begun

    report["step_seconds"] = 1 / report["steps_per_second"]
    if given.brief:
        more["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(json.dumps({**report, **more, "switches": given.switches, "switch_seconds": switch_seconds}, indent=2))


if __name__ == "__main__":
    main()
