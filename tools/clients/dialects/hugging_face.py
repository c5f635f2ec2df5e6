"""Hugging Face's InferenceClient, unmodified."""

import io

from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

from common import PROMPT, SEED, SETTINGS, expect, fails, hash_of

CALL = {
    "num_inference_steps": SETTINGS["steps"], "guidance_scale": SETTINGS["guidance"], "scheduler": "DDIMScheduler",
    "seed": SEED, "width": SETTINGS["width"], "height": SETTINGS["height"],
}


def api(server, model="sd15", **options):
    return InferenceClient(model=f"{server.address}/hf/models/{model}", timeout=60, **options)


def run(server, ours):
    import requests

    client = api(server)
    made = client.text_to_image(PROMPT, **CALL)
    assert made.size == (64, 64)
    body = {"inputs": PROMPT, "parameters": CALL}
    file = requests.post(f"{server.address}/hf/models/sd15", json=body).content
    expect(hash_of(file), ours, "text_to_image: the bytes of Adire's own API")
    version = api(server, "sd15+adire@v1").text_to_image(PROMPT, **CALL)
    assert version.tobytes() != made.tobytes()
    start = io.BytesIO(file)
    changed = client.image_to_image(start.getvalue(), prompt="a blue moon", num_inference_steps=4, strength=0.5)
    assert changed.size == (64, 64) and changed.tobytes() != made.tobytes()
    fails(HfHubHTTPError, "404", lambda: api(server, "sd35").text_to_image(PROMPT))
    fails(HfHubHTTPError, "422", lambda: client.text_to_image(PROMPT, width=13))


def credentials(server, token):
    assert api(server, token=token).text_to_image(PROMPT, num_inference_steps=2, width=64, height=64)
    fails(HfHubHTTPError, "401", lambda: api(server, token="wrong").text_to_image(PROMPT))


def loading(server):
    fails(HfHubHTTPError, "503", lambda: api(server).text_to_image(PROMPT))


def stopping(server, ready):
    ready.set()
    long = lambda: api(server).text_to_image(PROMPT, num_inference_steps=150, width=256, height=256)
    fails(HfHubHTTPError, "503", long)


def full(server):
    fails(HfHubHTTPError, "503", lambda: api(server).text_to_image(PROMPT))
