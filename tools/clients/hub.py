"""The Hugging Face Hub's own clients against a running server: huggingface_hub, diffusers, and Prometheus' parser.

    HF_ENDPOINT=http://127.0.0.1:3000 HF_HUB_DISABLE_TELEMETRY=1 HF_HOME=$(mktemp -d) python tools/clients/hub.py MODEL

With ADIRE_HF_HUB, the crate hf-hub, too: the program of the folder hf_hub.
"""

import io
import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from huggingface_hub import HfApi, file_exists, hf_hub_download, list_repo_files, snapshot_download
from huggingface_hub.utils import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError
from PIL import Image
from safetensors.torch import load_file

SERVER = os.environ["HF_ENDPOINT"]
PROMPT = "a white star on blue cloth, adire"
STEPS, GUIDANCE, SEED = 8, 4.0, 11
DIFFUSERS = "pytorch_lora_weights.safetensors"


def call(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{SERVER}{path}", data, {"content-type": "application/json"}, method=method)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def ours(version):
    """The server's own image with an adapter version."""
    asked = {
        "prompt": PROMPT, "steps": STEPS, "guidance": GUIDANCE, "seed": SEED, "sampler": "ddim",
        "adapters": [{"name": f"adire@{version}"}],
    }
    made = call("POST", "/api/v1/generations", asked)
    for _ in range(600):
        made = call("GET", f"/api/v1/generations/{made['id']}")
        if made["state"] in ("done", "failed"):
            break
        time.sleep(0.1)
    assert made["state"] == "done", made
    recipe = made["images"][0]["recipe"]["spec"]
    with urllib.request.urlopen(SERVER + made["images"][0]["url"]) as answer:
        return numpy.asarray(Image.open(io.BytesIO(answer.read())).convert("RGB")).astype(int), recipe


def theirs(pipeline, revision, recipe):
    """diffusers' image with the file that it loads from the server."""
    pipeline.load_lora_weights("adire", revision=revision)
    image = pipeline(
        PROMPT,
        negative_prompt=recipe.get("negative_prompt", ""),
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        width=recipe["width"],
        height=recipe["height"],
        generator=torch.Generator("cpu").manual_seed(SEED),
    ).images[0]
    pipeline.unload_lora_weights()
    return numpy.asarray(image).astype(int)


def hub():
    api = HfApi()
    info = api.model_info("adire")
    assert info.private is False and "lora" in info.tags, info
    files = list_repo_files("adire")
    assert sorted(files) == sorted(s.rfilename for s in info.siblings), files
    assert DIFFUSERS in files and "README.md" in files and len(files) == 3, files
    assert file_exists("adire", DIFFUSERS) and not file_exists("adire", "model_index.json")
    refs = api.list_repo_refs("adire")
    commits = {tag.name: tag.target_commit for tag in refs.tags}
    for version in ("v1", "v2"):
        folder = Path(snapshot_download("adire", revision=version))
        assert folder.name == commits[version], folder
        by_commit = hf_hub_download("adire", DIFFUSERS, revision=commits[version])
        assert by_commit == str(folder / DIFFUSERS), by_commit
        assert len(load_file(by_commit)) > 0
        kohya = load_file(hf_hub_download("adire", f"adire-{version}.safetensors", revision=version))
        assert all(name.startswith("lora_") for name in kohya), list(kohya)[:3]
    assert commits["v1"] != commits["v2"]
    # An alias is what it stands for at the time.
    for version in (1, 2):
        call("PUT", "/admin/api/adapters/adire/aliases/stable", {"version": version})
        folder = Path(snapshot_download("adire", revision="stable"))
        assert folder.name == commits[f"v{version}"], folder
        assert (folder / f"adire-v{version}.safetensors").is_file(), list(folder.iterdir())
    for wrong, error in [
        (("nothing", DIFFUSERS, "main"), RepositoryNotFoundError),
        (("adire", DIFFUSERS, "v9"), RevisionNotFoundError),
        (("adire", "nothing.txt", "main"), EntryNotFoundError),
    ]:
        try:
            hf_hub_download(wrong[0], wrong[1], revision=wrong[2])
        except error:
            continue
        raise AssertionError(f"{wrong} is there")
    print("huggingface_hub: list_repo_files, file_exists, list_repo_refs, snapshot_download, hf_hub_download")


def crate(program):
    """hf-hub by version, alias and commit: the commits and files that huggingface_hub finds."""
    commits = {tag.name: tag.target_commit for tag in HfApi().list_repo_refs("adire").tags}
    asked = {"v1": "v1", "v2": "v2", "stable": "v2", commits["v1"]: "v1"}
    printed = subprocess.run([program, SERVER, "adire", *asked], check=True, capture_output=True, text=True).stdout
    for line, version in zip(printed.splitlines(), asked.values(), strict=True):
        commit, *files = line.split()
        folder = Path(snapshot_download("adire", revision=version))
        found = sorted(f"{file.name}:{file.stat().st_size}" for file in folder.iterdir())
        assert commit == commits[version] and sorted(files) == found, (line, found)
    print(f"hf-hub: {', '.join(name[:12] for name in asked)}")


def pixels(model):
    pipeline = StableDiffusionPipeline.from_pretrained(model, safety_checker=None)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    shown = {}
    for version in ("v1", "v2"):
        mine, recipe = ours(version)
        shown[version] = theirs(pipeline, version, recipe)
        difference = numpy.abs(mine - shown[version])
        print(f"diffusers with adire {version}: largest difference {difference.max()} of 255, mean {difference.mean():.4f}")
        # One level of 255: 32-bit sums are rounded in another order.
        assert difference.max() <= 1, "the pixels differ"
    aliased = theirs(pipeline, "stable", recipe)
    assert (aliased == shown["v2"]).all(), "the alias gives another image"
    assert numpy.abs(shown["v1"] - shown["v2"]).max() > 16, "both versions give one image"


def metrics():
    from prometheus_client.parser import text_string_to_metric_families

    with urllib.request.urlopen(f"{SERVER}/metrics") as answer:
        families = {family.name: family for family in text_string_to_metric_families(answer.read().decode())}
    done = [s.value for s in families["adire_generations"].samples if s.labels["outcome"] == "done"]
    assert sum(done) == 2, done
    assert families["adire_generation_seconds"].type == "histogram"
    print(f"prometheus_client: {len(families)} families")


if __name__ == "__main__":
    hub()
    if program := os.environ.get("ADIRE_HF_HUB"):
        crate(program)
    pixels(sys.argv[1])
    metrics()
