"""Starts servers on the starter model and runs other programs' own clients against them.

    ADIRE_CLIENTS=FOLDER_WITH_NODE_MODULES python tools/clients/dialects/run.py target/debug/adire models/starter
"""

import concurrent.futures
import contextlib
import html
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
from pathlib import Path

import a1111
import common
import gradio_page
import gradio_script
import hugging_face
import openai_images
from server import Server

CLIENTS = [a1111, openai_images, gradio_page, gradio_script, hugging_face]


def code(server, program, model, ours):
    """The studio's page of code: each piece is copied and run."""
    form = {"prompt": common.PROMPT, "seed": common.SEED, "size": "64x64", "schedule": "normal"}
    form |= {name: common.SETTINGS[name] for name in ("steps", "guidance", "sampler")}
    page = common.get(server, f"/code?{urllib.parse.urlencode(form)}").decode()
    pieces = re.findall(r'<pre[^>]* data-code="([^"]+)"[^>]*>(.*?)</pre>', page, re.DOTALL)
    assert len(pieces) == 7, page
    environment = {
        **os.environ, "PATH": f"{Path(program).resolve().parent}:{os.environ['PATH']}", "ADIRE_MODEL": str(Path(model).resolve()),
    }
    for name, text in pieces:
        text = html.unescape(text)
        with tempfile.TemporaryDirectory() as folder:
            if name in ("curl", "command-line"):
                command = ["bash", "-euo", "pipefail", "-c", text]
            elif name == "javascript":
                Path(folder, "code.mjs").write_text(text)
                command = [shutil.which("node"), "code.mjs"]
            else:
                Path(folder, "code.py").write_text(text)
                command = [sys.executable, "code.py"]
            ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
            assert ran.returncode == 0, f"{name}\n{text}\n{ran.stderr}"
            made = [common.hash_of(file.read_bytes()) for file in Path(folder).glob("image*.png")]
            common.expect(made, [ours], f"{name}: the same bytes")


def full(program, model):
    """A queue that takes one, with one that runs and one that waits."""
    with Server(program, model, "--queue", "1") as server:
        long = {"prompt": "x", "steps": 150, "width": 512, "height": 512}
        # The first is out of the queue once it runs, so the second finds a place then.
        for _ in range(500):
            if json.loads(common.get(server, "/api/v1/queue"))["ahead"] == 2:
                break
            with contextlib.suppress(urllib.error.HTTPError):
                common.post(server, "/api/v1/generations", long)
            time.sleep(0.02)
        for client in CLIENTS:
            client.full(server)


def stopping(program, model):
    """A server that goes down while each client waits for an image."""
    with Server(program, model) as server, concurrent.futures.ThreadPoolExecutor() as threads:
        ready = [threading.Event() for _ in CLIENTS]
        waiting = [threads.submit(client.stopping, server, its) for client, its in zip(CLIENTS, ready)]
        for its in ready:
            assert its.wait(60)
        for _ in range(600):
            if json.loads(common.get(server, "/api/v1/queue"))["ahead"] == len(CLIENTS):
                break
            time.sleep(0.02)
        server.stop()
        for call in waiting:
            call.result(60)


def loading(program, model):
    """A server is held at its start by a lock on its database."""
    with Server(program, model, wait=None) as server:
        Path(server.data).mkdir(parents=True)
        with contextlib.closing(sqlite3.connect(f"{server.data}/adire.db")) as database:
            database.execute("BEGIN EXCLUSIVE")
            server.start(wait=False)
            server.until(503)
            for client in CLIENTS:
                client.loading(server)
        server.until(200)


def main(program, model):
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    with Server(program, model) as server:
        ours = common.own(server)
        for client in CLIENTS:
            print(client.__name__, flush=True)
            client.run(server, ours)
        print("the page of code", flush=True)
        code(server, program, model, ours)
        print("credentials", flush=True)
        token = server.token("tests", "--limit", "1000/day")
        for client in CLIENTS:
            client.credentials(server, token)
        assert token not in server.log(), "tokens are not logged"
    print("a full queue", flush=True)
    full(program, model)
    print("a server that goes down", flush=True)
    stopping(program, model)
    print("a server that loads", flush=True)
    loading(program, model)


if __name__ == "__main__":
    main(*sys.argv[1:])
