"""Gradio's JavaScript client: runs `gradio_page.mjs`, which checks by itself."""

import shutil
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).with_name("gradio_page.mjs")


def command(server, state, argument=""):
    return [shutil.which("node"), SCRIPT, server.address, state, argument]


def run(server, ours):
    subprocess.run(command(server, "run", ours), check=True, timeout=120)


def credentials(server, token):
    subprocess.run(command(server, "credentials", token), check=True, timeout=120)


def loading(server):
    subprocess.run(command(server, "loading"), check=True, timeout=120)


def full(server):
    subprocess.run(command(server, "full"), check=True, timeout=120)


def stopping(server, ready):
    script = subprocess.Popen(command(server, "stopping"), stdout=subprocess.PIPE, text=True)
    for line in script.stdout:
        print(f"  {line}", end="")
        ready.set()
    ready.set()
    assert script.wait(120) == 0, "@gradio/client"
