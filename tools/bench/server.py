"""The program, serving on a data folder of its own, for measurements over HTTP."""

import json
import socket
import subprocess
import time
import urllib.error
import urllib.request


class Server:
    """The program on a data folder; anyone is an admin."""

    def __init__(self, program, model, data):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address, self.cookie = f"http://127.0.0.1:{port}", None
        arguments = ["serve", "--addr", f"127.0.0.1:{port}", "--metrics", "--open-admin", "--device", "cpu"]
        self.process = subprocess.Popen(
            [program, *arguments, "--model", model, "--data", data],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def __enter__(self):
        for _ in range(600):
            try:
                self.get("/readyz")
                return self
            except OSError:
                assert self.process.poll() is None, "the server ended"
                time.sleep(0.2)
        raise TimeoutError("the server does not start")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def send(self, path, data=None, kind="application/json", method=None):
        headers = {"accept": "text/html,*/*"} | ({"cookie": self.cookie} if self.cookie else {})
        if data is not None:
            headers["content-type"] = kind
        request = urllib.request.Request(self.address + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            cookie = answer.headers.get("set-cookie")
            if cookie and not self.cookie and "visitor" in cookie:
                self.cookie = cookie.split(";")[0]
            return answer.read()

    def get(self, path, body=None):
        """An answer's text; with a body, to a POST of it as JSON."""
        data = None if body is None else json.dumps(body).encode()
        return self.send(path, data).decode(errors="replace")

    def json(self, path, body=None):
        return json.loads(self.get(path, body))
