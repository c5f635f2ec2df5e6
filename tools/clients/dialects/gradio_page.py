"""Gradio's Python client, unmodified."""

import time
from pathlib import Path

import gradio_client
import httpx
from gradio_client.exceptions import AppError, AuthenticationError, ValidationError
from gradio_client.utils import QueueError, Status

from common import PROMPT, SEED, SETTINGS, expect, fails, hash_of

RUNS = (Status.PROCESSING, Status.PROGRESS)
CALL = {"prompt": PROMPT, "seed": SEED, **SETTINGS}


def api(server, **options):
    return gradio_client.Client(server.address, verbose=False, analytics_enabled=False, **options)


def run(server, ours):
    client = api(server)
    described = client.view_api(return_format="dict")["named_endpoints"]
    assert set(described) == {"/generate", "/img2img", "/adapters"}, described
    assert "prompt" in client.view_api(return_format="str")

    path, seed = client.predict(**CALL, api_name="/generate")
    expect(hash_of(Path(path).read_bytes()), ours, "predict: the bytes of Adire's own API")
    assert seed == SEED and Path(path).name == f"adire-{SEED}.png", path
    path, _ = client.predict(PROMPT, api_name="/generate", steps=2, width=64, height=64)
    assert Path(path).read_bytes().startswith(b"\x89PNG")

    adapters = client.predict(api_name="/adapters")
    assert adapters[0]["name"] == "adire", adapters
    styled, _ = client.predict(**CALL, adapter="adire", api_name="/generate")
    assert hash_of(Path(styled).read_bytes()) != ours
    again, _ = client.predict(
        image=gradio_client.handle_file(styled), prompt="a blue moon", denoising_strength=0.5, steps=4, seed=SEED,
        api_name="/img2img",
    )
    assert Path(again).read_bytes() != Path(styled).read_bytes()

    job = client.submit(**{**CALL, "steps": 60, "width": 128, "height": 128}, api_name="/generate")
    stages = set()
    while not job.done():
        status = job.status()
        stages.add(status.code)
        if status.progress_data:
            assert status.progress_data[0].length == 60, status
            stages.add("progress")
        time.sleep(0.002)
    assert job.outputs()[0][1] == SEED and {Status.PROGRESS, "progress"} <= stages, stages
    jobs = [client.submit(**{**CALL, "seed": seed}, api_name="/generate") for seed in (1, 2, 3)]
    assert [job.result()[1] for job in jobs] == [1, 2, 3]

    job = client.submit(**{**CALL, "steps": 150, "width": 256, "height": 256}, api_name="/generate")
    while job.status().code not in RUNS:
        time.sleep(0.01)
    job.cancel()
    for _ in range(200):
        if httpx.get(f"{server.address}/api/v1/queue").json()["ahead"] == 0:
            break
        time.sleep(0.05)
    else:
        raise AssertionError("the generation went on")

    fails(ValidationError, "steps", lambda: client.predict("x", steps=0.5, api_name="/generate"))
    fails(ValidationError, "sampler", lambda: client.predict("x", sampler="magic", api_name="/generate"))
    call = httpx.post(f"{server.address}/gradio_api/call/generate", json={"data": [PROMPT, "", SEED, 2]}).json()
    text = httpx.get(f"{server.address}/gradio_api/call/generate/{call['event_id']}", timeout=60).text
    assert text.startswith("event: complete\ndata: [{"), text
    client.close()


def credentials(server, token):
    client = api(server, auth=("any", token))
    assert client.predict(PROMPT, steps=2, width=64, height=64, api_name="/generate")
    client = api(server, headers={"authorization": f"Bearer {token}"})
    assert client.predict(api_name="/adapters")
    fails(AuthenticationError, "Invalid credentials", lambda: api(server, auth=("any", "wrong")))
    fails(AuthenticationError, "login", lambda: api(server, headers={"authorization": "Bearer wrong"}))


def loading(server):
    fails(ValueError, "Could not fetch config", lambda: api(server))


def full(server):
    client = api(server)
    fails(QueueError, "Queue is full", lambda: client.predict(PROMPT, api_name="/generate"))


def stopping(server, ready):
    client = api(server)
    job = client.submit(**{**CALL, "steps": 150, "width": 256, "height": 256}, api_name="/generate")
    while job.status().code in (Status.STARTING, Status.JOINING_QUEUE):
        time.sleep(0.01)
    ready.set()
    fails(AppError, "shutting down", lambda: job.result(60))
