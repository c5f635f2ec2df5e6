"""What a call costs beyond the engine's own time, in each dialect, beside a Gradio page in the same run.

    python tools/bench/dialects.py target/release/adire models/starter

Every call is written by hand over one connection that stays open, so that what is measured is the server, not a client's
library. Gradio's function sleeps for as long as the engine took and returns an image of the same size; its own seconds
are taken off as the engine's are. The last two rows are the same calls by Gradio's own client, whose work is in both.
"""

import contextlib
import http.client
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import gradio_client

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "clients/dialects"))
from server import Server  # noqa: E402

PROMPT, STEPS, SIZE = "white stars on blue cloth", 4, 256
WARM, CALLS = 5, 41


class Connection:
    """One connection; answers are read whole."""

    def __init__(self, port, token=None):
        self.http = http.client.HTTPConnection("127.0.0.1", port)
        self.headers = {"authorization": f"Bearer {token}"} if token else {}

    def send(self, method, path, body=None):
        headers = dict(self.headers)
        if body is not None:
            body = json.dumps(body).encode()
            headers["content-type"] = "application/json"
        self.http.request(method, path, body, headers)
        answer = self.http.getresponse()
        data = answer.read()
        assert answer.status < 300, (path, answer.status, data[:500])
        return data


def api(server, seed):
    body = {"prompt": PROMPT, "steps": STEPS, "width": SIZE, "height": SIZE, "seed": seed, "guidance": 4}
    made = json.loads(server.send("POST", "/api/v1/generations", body))
    server.send("GET", made["links"]["events"])
    made = json.loads(server.send("GET", f"/api/v1/generations/{made['id']}"))
    return server.send("GET", made["images"][0]["url"])


def a1111(server, seed):
    body = {"prompt": PROMPT, "steps": STEPS, "width": SIZE, "height": SIZE, "seed": seed, "cfg_scale": 4}
    return json.loads(server.send("POST", "/sdapi/v1/txt2img", body))["images"]


def openai(server, seed):
    body = {"prompt": PROMPT, "size": f"{SIZE}x{SIZE}", "seed": seed, "steps": STEPS}
    return json.loads(server.send("POST", "/v1/images/generations", body))["data"]


def hugging_face(server, seed):
    settings = {"num_inference_steps": STEPS, "width": SIZE, "height": SIZE, "seed": seed}
    return server.send("POST", "/hf/models/sd15", {"inputs": PROMPT, "parameters": settings})


def gradio(server, seed):
    """`call`, its stream, the file: the same requests for Adire and for Gradio."""
    data = [PROMPT, "", seed, STEPS, 4, SIZE, SIZE]
    call = json.loads(server.send("POST", "/gradio_api/call/generate", {"data": data}))
    text = server.send("GET", f"/gradio_api/call/generate/{call['event_id']}").decode()
    assert "event: complete" in text, text
    file = json.loads(text.rpartition("data: ")[2])[0]
    return server.send("GET", f"/gradio_api/file={file['path']}")


# Its port, the seconds that the function sleeps, and the file that it writes its own seconds to.
PAGE = """
import sys
import time

import gradio
import numpy
from PIL import Image


def generate(prompt, negative, seed, steps, guidance, width, height):
    begun = time.perf_counter()
    noise = numpy.random.default_rng(int(seed)).integers(0, 256, (8, 8, 3), numpy.uint8)
    image = Image.fromarray(noise).resize((int(width), int(height)), Image.BICUBIC)
    time.sleep(float(sys.argv[2]))
    with open(sys.argv[3], "w") as file:
        file.write(str(time.perf_counter() - begun))
    return image, seed


with gradio.Blocks(analytics_enabled=False) as page:
    inputs = [gradio.Textbox(), gradio.Textbox()] + [gradio.Number(precision=0) for _ in range(5)]
    outputs = [gradio.Image(format="png"), gradio.Number()]
    gradio.Button().click(generate, inputs, outputs, api_name="generate")
page.launch(server_name="127.0.0.1", server_port=int(sys.argv[1]), quiet=True)
"""


def overheads(call, seconds):
    """Milliseconds beyond `seconds()`, those of the last call by the server's own count."""
    beyond = []
    for seed in range(WARM + CALLS):
        begun = time.perf_counter()
        call(seed)
        wall = time.perf_counter() - begun
        if seed >= WARM:
            beyond.append((wall - seconds()) * 1000)
    return beyond


def show(name, beyond, limit=None):
    middle, high = statistics.median(beyond), statistics.quantiles(beyond, n=20)[-1]
    verdict = "" if limit is None else f"budget {limit:.1f} ms: {'within' if middle <= limit else 'OVER'}"
    print(f"{name:36} {middle:7.1f} ms   p95 {high:7.1f} ms   {verdict}", flush=True)
    return middle, limit is None or middle <= limit


def by_client(port, **options):
    client = gradio_client.Client(f"http://127.0.0.1:{port}", verbose=False, analytics_enabled=False, **options)
    return lambda seed: client.predict(PROMPT, "", seed, STEPS, 4, SIZE, SIZE, api_name="/generate")


def adire(program, model):
    """Overheads by dialect, and the engine's seconds."""
    with Server(program, model) as server:
        token = server.token("bench", "--limit", "100000/day")
        own = Connection(server.port, token)

        def seconds():
            return json.loads(own.send("GET", "/api/v1/history?limit=1"))["images"][0]["recipe"]["seconds"]

        calls = {call.__name__: (lambda seed, call=call: call(own, seed)) for call in DIALECTS}
        calls["client"] = by_client(server.port, headers={"authorization": f"Bearer {token}"})
        return {name: overheads(call, seconds) for name, call in calls.items()}, seconds()


def gradio_page(engine):
    """The same of a Gradio page, whose function takes as long."""
    with socket.socket() as probe, tempfile.NamedTemporaryFile("r") as told:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        page = subprocess.Popen([sys.executable, "-c", PAGE, str(port), str(engine), told.name])
        try:
            for _ in range(600):
                with contextlib.suppress(OSError):
                    Connection(port).send("GET", "/config")
                    break
                time.sleep(0.1)
            own = Connection(port)

            def seconds():
                return float(Path(told.name).read_text())

            return overheads(lambda seed: gradio(own, seed), seconds), overheads(by_client(port), seconds)
        finally:
            page.terminate()
            page.wait()


def main(program, model):
    ours, engine = adire(program, model)
    theirs, theirs_by_client = gradio_page(engine)
    print(f"Gradio {gradio_client.__version__} (client), {SIZE}x{SIZE}, {STEPS} steps, engine {engine * 1000:.0f} ms; median of {CALLS}")
    within = [show(NAMES[name], ours[name], 5)[1] for name in NAMES]
    peer, _ = show("Gradio itself", theirs)
    middle, tenth = show("Gradio's protocol, of Gradio", ours["gradio"], peer / 10)
    print(f"  {middle / peer:.3f} of Gradio's")
    show("Gradio's client on Adire", ours["client"])
    show("Gradio's client on Gradio", theirs_by_client)
    return 0 if all(within) and tenth else 1


DIALECTS = [api, a1111, openai, hugging_face, gradio]
NAMES = {
    "api": "own API, with its events", "a1111": "A1111", "openai": "OpenAI", "hugging_face": "Hugging Face",
    "gradio": "Gradio's protocol",
}

if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
