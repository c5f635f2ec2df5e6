"""Starts a server with the starter model and runs the clients' tests against it.

    python tools/clients/run.py target/debug/adire models/starter
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path


def main(program, model):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["serve", "--addr", f"127.0.0.1:{port}", "--metrics", "--open-admin", "--device", "cpu"]
        server = subprocess.Popen(
            [program, *arguments, "--model", model, "--data", f"{folder}/data"],
            # The precision of the diffusers that its images are compared with.
            env={**os.environ, "RUST_LOG": "warn", "ADIRE_DTYPE": "f32"},
            stdout=subprocess.DEVNULL,
        )
        try:
            for _ in range(300):
                try:
                    urllib.request.urlopen(f"{address}/readyz")
                    break
                except OSError:
                    assert server.poll() is None, "the server ended"
                    time.sleep(0.2)
            environment = {
                **os.environ, "HF_ENDPOINT": address, "HF_HOME": f"{folder}/hub", "HF_HUB_DISABLE_TELEMETRY": "1",
                "HF_HUB_DISABLE_XET": "1",
            }
            script = Path(__file__).with_name("hub.py")
            subprocess.run([sys.executable, str(script), model], env=environment, check=True)
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
