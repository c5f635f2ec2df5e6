"""The gate on adapters of which the verdict is known. Fails where it is another one, or takes longer than three minutes.

    python tools/bench/gate.py target/release/adire models/starter

One server: 24 drawn pieces, 4 of them held out, are uploaded; the Style preset trains an adapter on the others; an evaluation
passes and promotes it. Then, without and with that version in production: random factors of the same norm, factors of zero, the
version against itself, and an adapter that was trained on four images for too long.
"""

import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from server import Server

LIMIT_S = 180
STYLE = {"resolution": 256, "learning_rate": 3e-4, "held_out": 0.17}
# Four images until they are known by heart.
BY_HEART = {"resolution": 256, "learning_rate": 3e-3, "held_out": 0.0, "rank": 16, "alpha": 16.0, "targets": "linear", "steps": 800}


def form(files):
    edge, parts = uuid.uuid4().hex, []
    for file in files:
        kind = "image/png" if file.suffix == ".png" else "text/plain"
        head = f'--{edge}\r\ncontent-disposition: form-data; name="files"; filename="{file.name}"\r\ncontent-type: {kind}\r\n\r\n'
        parts.append(head.encode() + file.read_bytes() + b"\r\n")
    return b"".join(parts) + f"--{edge}--\r\n".encode(), f"multipart/form-data; boundary={edge}"


def train(server, name, files, config):
    trigger = "in adire style"
    dataset = server.json("/admin/api/datasets", {"name": name, "trigger": trigger})["id"]
    body, kind = form(files)
    server.send(f"/admin/api/datasets/{dataset}/files", body, kind)
    began = time.time()
    run = server.json("/admin/api/training", {"name": name, "dataset": dataset, "config": config})
    run = run.get("run", run)
    while True:
        detail = server.json(f"/admin/api/training/{run['id']}")
        now = detail.get("run", detail)
        if now["state"] in ("done", "failed", "cancelled"):
            break
        time.sleep(1)
    assert now["state"] == "done", now
    print(f"{now['version']} trained on {len(files) // 2} images in {time.time() - began:.0f} s", flush=True)
    return now["version"], dataset


def evaluate(server, version, **more):
    began = time.time()
    made = server.json("/admin/api/evaluations", {"version": version, **more})
    made = made.get("evaluation", made)
    while True:
        detail = server.json(f"/admin/api/evaluations/{made['id']}")
        record = detail["evaluation"]
        if record["state"] in ("done", "failed", "cancelled"):
            break
        time.sleep(0.5)
    assert record["state"] == "done", record
    verdict, seconds = record["verdict"], time.time() - began
    print(f"{version} {more}: {verdict['outcome']} in {seconds:.0f} s", flush=True)
    for criterion in verdict["criteria"]:
        print(f"  {criterion['kind']}: {criterion['outcome']}. {criterion['reason']}", flush=True)
    for note in verdict.get("notes", []):
        print(f"  {note}", flush=True)
    return record, seconds


def outcome(record, kind):
    return next(one["outcome"] for one in record["verdict"]["criteria"] if one["kind"] == kind)


def made_of(good, change, file):
    tensors = {name: change(name, value) for name, value in load_file(good).items()}
    save_file(tensors, file)


def noise(chance):
    def change(name, value):
        if not name.endswith(("lora_up.weight", "lora_down.weight", "lora_A.weight", "lora_B.weight")):
            return value
        drawn = chance.standard_normal(value.shape)
        return (drawn * np.linalg.norm(value) / np.linalg.norm(drawn)).astype(value.dtype)

    return change


def main(program, model):
    faults = []

    def expect(what, found, seconds):
        if not found:
            faults.append(what)
        if seconds > LIMIT_S:
            faults.append(f"{what} took {seconds:.0f} s")

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        draw = Path(__file__).parents[1] / "starter/draw_adire.py"
        # Of this style the starter can show everything, so that a verdict is about the adapter.
        subprocess.run([sys.executable, draw, folder / "pieces", "--style", "bands"], check=True)
        files, data = sorted((folder / "pieces").iterdir()), str(folder / "data")

        def add(name, file):
            arguments = [program, "adapters", "add", file, "--name", name, "--trigger", "in adire style"]
            subprocess.run([*arguments, "--model", model, "--data", data], check=True, stdout=subprocess.DEVNULL)
            return f"{name}@v1"

        with Server(program, model, data) as server:
            good, dataset = train(server, "cloth", files, STYLE)
            (folder / "good.safetensors").write_bytes(server.send(f"/api/v1/adapters/{good}/file"))
        chance = np.random.default_rng(7)
        made_of(folder / "good.safetensors", noise(chance), folder / "noise.safetensors")
        made_of(folder / "good.safetensors", lambda _, value: np.zeros_like(value), folder / "zero.safetensors")
        random, zero = add("noise", folder / "noise.safetensors"), add("zero", folder / "zero.safetensors")
        with Server(program, model, data) as server:
            record, seconds = evaluate(server, random, dataset=dataset)
            stopped = "fail" == record["verdict"]["outcome"] and "Stopped" in str(record)
            expect("the noise fails early", stopped, seconds)
            record, seconds = evaluate(server, zero, dataset=dataset)
            expect("what changes nothing fails by the floors", outcome(record, "floors") == "fail", seconds)
            record, seconds = evaluate(server, good, promote=True)
            expect("the good one passes", record["verdict"]["outcome"] == "pass", seconds)
            registry = server.json("/admin/api/adapters/cloth/production")
            print(f"  production: {registry}", flush=True)
            record, seconds = evaluate(server, good, against=good)
            expect("a version is not better than itself", outcome(record, "style") != "pass", seconds)
            heart, _ = train(server, "heart", files[:8], BY_HEART)
            record, seconds = evaluate(server, heart)
            expect("what knows four images by heart fails", outcome(record, "copying") == "fail", seconds)
    if faults:
        sys.exit(f"not as expected: {'; '.join(faults)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
