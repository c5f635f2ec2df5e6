"""A server of Adire's on the starter model, for tests with other programs' clients."""

import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request


class Server:
    """Runs until it is stopped; its log is kept."""

    def __init__(self, program, model, *options, wait=True):
        self.folder = tempfile.TemporaryDirectory()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.program, self.model, self.options = program, model, options
        self.data = f"{self.folder.name}/data"
        self.process = None
        if wait is not None:
            self.start(wait)

    def start(self, wait=True):
        self.log_file = open(f"{self.folder.name}/log", "ab")
        arguments = ["serve", "--addr", f"127.0.0.1:{self.port}", "--device", "cpu", "--open-admin", *self.options]
        self.process = subprocess.Popen(
            [self.program, *arguments, "--model", self.model, "--data", self.data],
            env={"RUST_LOG": "debug,sqlx=warn,hyper=info", **os.environ},
            stdout=self.log_file,
            stderr=self.log_file,
        )
        if wait:
            self.until(200)

    def until(self, status):
        """Waits until /readyz answers with this status."""
        for _ in range(600):
            if self.ready() == status:
                return
            assert self.process.poll() is None, self.log()
            time.sleep(0.05)
        raise AssertionError(f"not {status} in time\n{self.log()}")

    def ready(self):
        try:
            with urllib.request.urlopen(f"{self.address}/readyz") as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return None

    def token(self, name, *options):
        """Creates a token beside the running server."""
        arguments = ["admin", "tokens", "add", name, "--data", self.data, *options]
        made = subprocess.run([self.program, *arguments], check=True, capture_output=True, text=True)
        return made.stdout.strip()

    def log(self):
        with open(f"{self.folder.name}/log", encoding="utf-8", errors="replace") as log:
            return log.read()

    def signal(self, name):
        self.process.send_signal(getattr(signal, name))

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        self.log_file.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.log_file.close()
        self.folder.cleanup()
