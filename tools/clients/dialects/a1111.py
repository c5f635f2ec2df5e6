"""A1111's API: webuiapi unmodified, and the requests of Open WebUI and SillyTavern as those programs send them."""

import base64
import json
import threading
import time

import requests
import webuiapi
from PIL import Image, ImageDraw

from common import PROMPT, SEED, SETTINGS, expect, fails, hash_of, png


def api(server, **options):
    return webuiapi.WebUIApi(host="127.0.0.1", port=server.port, steps=SETTINGS["steps"], **options)


def webui(server, ours):
    client = api(server)
    sampler = {"sampler_name": "DDIM", "cfg_scale": SETTINGS["guidance"]}
    size = {"width": SETTINGS["width"], "height": SETTINGS["height"]}
    made = client.txt2img(prompt=PROMPT, seed=SEED, **sampler, **size)
    expect(hash_of(base64.b64decode(made.json["images"][0])), ours, "txt2img: the bytes of Adire's own API")
    assert made.info["all_seeds"] == [SEED] and made.image.size == (size["width"], size["height"]), made.info
    assert made.info["infotexts"][0].startswith(PROMPT)
    two = client.txt2img(prompt=PROMPT, seed=SEED, batch_size=2, **sampler, **size)
    assert len(two.images) == 2 and two.info["all_seeds"] == [SEED, SEED + 1], two.info
    assert two.images[0].tobytes() == made.image.tobytes()

    started = client.img2img(images=[made.image], prompt="a blue moon", seed=SEED, denoising_strength=0.5, **sampler, **size)
    assert started.image.size == made.image.size and started.image.tobytes() != made.image.tobytes()
    mask = Image.new("RGB", made.image.size, "black")
    ImageDraw.Draw(mask).rectangle((0, 0, mask.width // 2 - 1, mask.height), fill="white")
    painted = client.img2img(
        images=[made.image], mask_image=mask, prompt="a blue moon", seed=SEED, denoising_strength=0.9, **sampler, **size
    )
    # webuiapi asks for an edge of 4 pixels, which ends within 16.
    keep = (mask.width // 2 + 16, 0, mask.width, mask.height)
    assert painted.image.crop(keep).tobytes() == made.image.convert("RGB").crop(keep).tobytes(), "the kept half"
    redone = (0, 0, mask.width // 2 - 16, mask.height)
    assert painted.image.crop(redone).tobytes() != made.image.convert("RGB").crop(redone).tobytes(), "the other half"
    other = client.img2img(
        images=[made.image], mask_image=mask, inpainting_mask_invert=1, prompt="a blue moon", seed=SEED,
        denoising_strength=0.9, **sampler, **size,
    )
    assert other.image.crop(redone).tobytes() == made.image.convert("RGB").crop(redone).tobytes(), "inverted"

    large = made.image.resize((160, 96))
    part = Image.new("L", large.size, 0)
    ImageDraw.Draw(part).rectangle((20, 20, 51, 51), fill=255)
    patched = client.img2img(
        images=[large], mask_image=part, mask_blur=0, inpaint_full_res=True, inpaint_full_res_padding=8, prompt="a moon",
        seed=SEED, denoising_strength=1.0, **sampler, **size,
    )
    expect(patched.image.size, large.size, "only masked: the size of the init image")
    assert patched.image.crop((60, 0, 160, 96)).tobytes() == large.convert("RGB").crop((60, 0, 160, 96)).tobytes()
    assert patched.image.crop((20, 20, 52, 52)).tobytes() != large.convert("RGB").crop((20, 20, 52, 52)).tobytes()
    again = client.txt2img(prompt=PROMPT, seed=SEED, subseed=3, subseed_strength=0.2, batch_size=2, **sampler, **size)
    assert again.info["all_seeds"] == [SEED] * 2 and again.info["all_subseeds"] == [3, 4], again.info
    assert again.images[0].tobytes() != made.image.tobytes() and again.images[0].tobytes() != again.images[1].tobytes()
    either = client.txt2img(prompt="a {white|red|blue} star", seed=SEED, batch_size=3, **sampler, **size)
    assert all("{" not in prompt for prompt in either.info["all_prompts"]), either.info

    with_texts = Image.open(png(base64.b64decode(made.json["images"][0])))
    read = client.png_info(with_texts)
    assert read.info.startswith(PROMPT) or "Steps" in read.info, read.info

    hires = client.txt2img(
        prompt=PROMPT, seed=SEED, enable_hr=True, hr_scale=2, hr_second_pass_steps=2, denoising_strength=0.5,
        width=64, height=64, **sampler,
    )
    assert hires.image.size == (128, 128), hires.image.size


def lists(server):
    client = api(server)
    assert "DPM++ 2M" in client.util_get_sampler_names()
    assert {"automatic", "karras"} <= set(client.util_get_scheduler_names())
    names = client.util_get_model_names()
    assert "sd15" in names and any(name.startswith("sd15+adire@v") for name in names), names
    version = next(name for name in names if name.startswith("sd15+adire@v"))
    client.util_set_model(version)
    assert client.util_get_current_model() == version
    styled = client.txt2img(prompt=PROMPT, seed=SEED, width=64, height=64)
    assert styled.info["sd_model_name"] == version, styled.info
    client.util_set_model("sd15")
    assert client.util_get_current_model() == "sd15"
    lists = [
        client.get_upscalers, client.get_latent_upscale_modes, client.get_sd_vae, client.get_loras, client.get_scripts,
        client.get_embeddings, client.get_memory, client.get_cmd_flags, client.get_hypernetworks,
        client.get_face_restorers, client.get_realesrgan_models, client.get_prompt_styles, client.get_schedulers,
        client.refresh_checkpoints,
    ]
    for read in lists:
        read()
    assert client.get_loras()[0]["alias"] == "adire"
    fails(RuntimeError, "501", lambda: client.extra_single_image(Image.new("RGB", (8, 8))))
    fails(RuntimeError, "404", lambda: client.txt2img(prompt="x", sampler_name="DPM++ 9S"))
    fails(RuntimeError, "422", lambda: client.txt2img(prompt="x", width=13))


def progress(server):
    """A long generation is seen and interrupted by its own caller, and by nobody else."""
    client, made = api(server), {}

    def make():
        made["result"] = client.txt2img(prompt=PROMPT, seed=1, steps=150, width=256, height=256)

    thread = threading.Thread(target=make)
    thread.start()
    watcher = api(server)
    for _ in range(600):
        seen = watcher.get_progress()
        if seen["state"]["sampling_step"] > 2 and seen["current_image"]:
            break
        time.sleep(0.02)
    assert seen["state"]["job_count"] == 1 and 0 < seen["progress"] < 1, seen
    Image.open(png(base64.b64decode(seen["current_image"]))).load()
    other = {"user-agent": "another program"}
    unseen = requests.get(f"{server.address}/sdapi/v1/progress", headers=other).json()
    assert unseen["state"]["job_count"] == 0 and unseen["progress"] == 0, unseen
    requests.post(f"{server.address}/sdapi/v1/interrupt", headers=other)
    assert watcher.get_progress()["state"]["job_count"] == 1
    assert watcher.interrupt() == {}
    thread.join(60)
    assert made["result"].images == [] and made["result"].info["adire"]["interrupted"], made["result"].info
    watcher.util_wait_for_ready(check_interval=0.05)


def open_webui(server):
    """routers/images.py: no status is looked at, the whole options come back, and an empty Basic header is sent."""
    address = f"{server.address}/sdapi/v1"
    for header in ({"authorization": "Basic "}, {"authorization": ""}):
        options = requests.get(f"{address}/options", headers=header).json()
        assert options["sd_model_checkpoint"] == "sd15"
        models = requests.get(f"{address}/sd-models", headers=header).json()
        chosen = [model["title"] for model in models if model["model_name"]][-1]
        options["sd_model_checkpoint"] = chosen
        assert requests.post(f"{address}/options", json=options, headers=header).ok
        body = {"prompt": PROMPT, "batch_size": 1, "width": 64, "height": 64, "steps": 3, "negative_prompt": "mud"}
        made = requests.post(f"{address}/txt2img", json=body, headers=header).json()
        assert made["images"] and json.loads(made["info"])["sd_model_name"] == chosen, made["info"]
        options["sd_model_checkpoint"] = "sd15"
        requests.post(f"{address}/options", json=options, headers=header)


def silly_tavern(server):
    """src/endpoints/stable-diffusion.js: the forwarded body holds the password, and Basic is built from undefined."""
    address, secret = f"{server.address}/sdapi/v1", "hunter2-of-silly-tavern"
    headers = {"authorization": "Basic " + base64.b64encode(b"undefined:undefined").decode(), "user-agent": "node-fetch"}
    assert requests.get(f"{address}/options", headers=headers).ok
    for name in ("samplers", "schedulers", "upscalers", "latent-upscale-modes", "sd-vae", "sd-models"):
        assert isinstance(requests.get(f"{address}/{name}", headers=headers).json(), list), name
    requests.post(f"{address}/options", json={"sd_model_checkpoint": "sd15"}, headers=headers)
    for _ in range(10):
        state = requests.get(f"{address}/progress", headers=headers).json()
        if state["progress"] == 0 and state["state"]["job_count"] == 0:
            break
    else:
        raise AssertionError(state)
    body = {
        "url": f"http://user:{secret}@127.0.0.1", "auth": f"user:{secret}", "prompt": PROMPT, "negative_prompt": "",
        "sampler_name": "Euler a", "scheduler": "Automatic", "steps": 3, "cfg_scale": 7, "width": 64, "height": 64,
        "restore_faces": False, "enable_hr": False, "hr_upscaler": "Latent", "hr_scale": 2, "hr_additional_steps": 0,
        "denoising_strength": 0.7, "hr_second_pass_steps": 0, "clip_skip": 1, "do_not_save_grid": True,
        "do_not_save_samples": True, "save_images": False, "send_images": True,
        "override_settings": {"CLIP_stop_at_last_layers": 1, "sd_vae": "Automatic", "forge_additional_modules": []},
        "override_settings_restore_afterwards": True,
    }
    made = requests.post(f"{address}/txt2img", json=body, headers=headers)
    assert made.ok and secret not in made.text and made.json()["images"]
    broken = requests.post(f"{address}/txt2img", data=json.dumps(body)[:-2], headers=headers)
    assert broken.status_code == 400 and secret not in broken.text, broken.text
    assert requests.post(f"{address}/interrupt", headers=headers).json() == {}
    assert secret not in server.log(), "bodies are not logged"


def credentials(server, token):
    client = api(server)
    client.set_auth("any", token)
    assert client.txt2img(prompt=PROMPT, width=64, height=64).images
    client.set_auth("any", "wrong")
    fails(RuntimeError, "401", lambda: client.txt2img(prompt=PROMPT))


def loading(server):
    fails(RuntimeError, "503", lambda: api(server).txt2img(prompt=PROMPT))


def stopping(server, ready):
    ready.set()
    long = lambda: api(server).txt2img(prompt=PROMPT, steps=150, width=256, height=256)
    fails(RuntimeError, "shutting down", long)


def full(server):
    fails(RuntimeError, "queue is full", lambda: api(server).txt2img(prompt=PROMPT))


def run(server, ours):
    webui(server, ours)
    lists(server)
    progress(server)
    open_webui(server)
    silly_tavern(server)
