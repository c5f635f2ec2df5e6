"""Holds a device to the goldens and measures Adire beside diffusers in one run. `run.sh` starts this.

    ./run.sh [--device cuda:0|cpu] [--dtype f16|f32|bf16] [--shape sd15|tiny] [--size N] [--steps N] [--switches N]
             [--longer N] [--minutes N] [--peers none|eager|compiled]

Everything is written below --work (2.3 GB for SD 1.5's shapes), the table anew after each part, so that a run that is cut
off leaves what it has measured. A part that would take longer than what is left of --minutes is stopped and named. The exit
code is 0 when every test of a kernel and every comparison with the goldens holds and Adire's weights are the same after
every switch; a missing diffusers is not a failure.
"""

import argparse
import json
import os
import pathlib
import platform
import signal
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent


class Memory:
    """Peak memory of a program: of the whole GPU above what was used before, or of the process on the CPU."""

    def __init__(self, device):
        self.index = device.split(":")[1] if device.startswith("cuda:") else None
        self.before = self.peak = 0
        self.watch = None

    def _query(self, *more):
        return ["nvidia-smi", f"--id={self.index}", "--query-gpu=memory.used", "--format=csv,noheader,nounits", *more]

    def start(self):
        if self.index is None:
            return
        self.before = int(subprocess.check_output(self._query(), text=True).split()[0])
        self.watch = subprocess.Popen(self._query("-lms", "20"), text=True, stdout=subprocess.PIPE)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.watch.stdout:
            if line.strip().isdigit():
                self.peak = max(self.peak, int(line))

    def end(self, usage):
        """In MB."""
        if self.index is None:
            return usage.ru_maxrss / 1024
        self.watch.terminate()
        return max(self.peak - self.before, 0) or None


class Clock:
    """What is left of the time for all parts."""

    def __init__(self, minutes):
        self.end = time.monotonic() + 60 * minutes

    def left(self):
        return max(self.end - time.monotonic(), 0)


def text_of(lines):
    return "".join(lines).strip()


def measured(command, device, clock):
    """The JSON that a program prints, with its peak memory; or why there is none."""
    memory = Memory(device)
    try:
        memory.start()
    except (OSError, subprocess.CalledProcessError, ValueError) as error:
        print(f"GPU memory cannot be watched: {error}", file=sys.stderr)
        memory.index = None
    # A session of its own: torch's compiler has processes of its own, which are stopped with it.
    program = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    out, errors = [], []
    readers = [threading.Thread(target=lambda pipe=pipe, into=into: into.extend(pipe.readlines()))
               for pipe, into in [(program.stdout, out), (program.stderr, errors)]]
    for reader in readers:
        reader.start()
    late = threading.Timer(clock.left(), lambda: os.killpg(program.pid, signal.SIGKILL))
    late.start()
    _, status, usage = os.wait4(program.pid, 0)
    program.returncode = os.waitstatus_to_exitcode(status)
    late.cancel()
    for reader in readers:
        reader.join()
    watched = device.startswith("cuda") == (memory.index is not None)
    peak = memory.end(usage)
    # diffusers says what it has so far in between.
    so_far = [line.removeprefix("so far:") for line in errors if line.startswith("so far:")]
    errors = [line for line in errors if not line.startswith("so far:")]
    text = text_of(out)
    begin = text.find("{")
    if program.returncode == 0 and begin >= 0:
        report = json.loads(text[begin:])
    else:
        report = json.loads(so_far[-1]) if so_far else {}
    report["peak_mb"] = peak if watched else None
    report["exit"] = program.returncode
    report["late"] = program.returncode == -signal.SIGKILL and clock.left() == 0
    report["output"] = text_of(errors)
    return report


def passed(command, clock):
    """Runs a test; whether it passed in time."""
    try:
        # A test of kernels is not to pass because there is nothing to test.
        environment = {**os.environ, "ADIRE_NEEDS_GPU": "1"}
        return subprocess.run(command, timeout=clock.left(), env=environment).returncode == 0
    except subprocess.TimeoutExpired:
        print("stopped: the time is over", flush=True)
        return False


def compare(a, b):
    """How two images differ, in words."""
    try:
        from PIL import Image, ImageChops, ImageStat
    except ImportError:
        return "not compared (no Pillow)"
    if not (a.is_file() and b.is_file()):
        return "not compared"
    difference = ImageChops.difference(Image.open(a).convert("RGB"), Image.open(b).convert("RGB"))
    most = max(high for _, high in difference.getextrema())
    mean = sum(ImageStat.Stat(difference).mean) / 3
    return f"at most {most} of 255, {mean:.2f} on average"


def gpu(device):
    if not device.startswith("cuda:"):
        return platform.processor() or platform.machine()
    query = ["nvidia-smi", f"--id={device.split(':')[1]}", "--query-gpu=name,driver_version,compute_cap",
             "--format=csv,noheader"]
    try:
        name, driver, capability = subprocess.check_output(query, text=True).strip().split(", ")
        return f"{name} (compute capability {capability}, driver {driver})"
    except (OSError, subprocess.CalledProcessError, ValueError):
        return device


# Rows of the table: a name, the key in all reports, its unit, and what a value is multiplied by.
ROWS = [
    ("image", "seconds", "s", 1),
    ("image with an adapter", "adapter_image_seconds", "s", 1),
    ("image of {longer} steps", "longer_seconds", "s", 1),
    ("step", "step_seconds", "ms", 1000),
    ("VAE decode", "decode_seconds", "ms", 1000),
    ("text encoder, both prompts", "text_seconds", "ms", 1000),
    ("of 4 images, each", "seconds_of_4", "s", 1),
    ("of 8 images, each", "seconds_of_8", "s", 1),
    ("first image", "first_seconds", "s", 1),
    ("loading", "load_seconds", "s", 1),
    ("switch of adapters", "switch_seconds", "ms", 1000),
    ("switch to adapters that were in effect before", "switch_back_seconds", "ms", 1000),
    ("merge of an adapter", "fuse_seconds", "ms", 1000),
    ("peak memory", "peak_mb", "MB", 1),
]


def shown(value):
    """Three digits, and no fewer before the point."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


class Table:
    """What was measured so far, written after each part."""

    def __init__(self, work, given, place):
        self.work, self.given, self.place = work, given, place
        self.checks, self.columns = [], []

    def checked(self, name, holds):
        self.checks.append((name, holds))
        self.write()

    def add(self, name, report):
        for batch in (4, 8):
            at = report.get(f"batch_{batch}")
            if at:
                report[f"seconds_of_{batch}"] = at["seconds"] / batch
        self.columns.append((report.get("program", name), report))
        self.write()

    def failed(self):
        return [name for name, holds in self.checks if not holds]

    def lines(self):
        given = self.given
        lines = [f"{'✓' if holds else '✗'} {name}" for name, holds in self.checks] + [""]
        ours = self.columns[0][1] if self.columns else {}
        if ours.get("seconds") is None:
            return lines
        lines += [
            f"{self.place}, {given.dtype}, {given.shape} shapes with random weights, {given.size} × {given.size}, {given.steps} steps of "
            f"DDIM, guidance 7.5, the median of {given.images} images after one that is not counted; in brackets Adire's value divided by the column's.", "",
            "| | " + " | ".join(name for name, _ in self.columns) + " |", "| --- |" + " --- |" * len(self.columns),
        ]
        for name, key, unit, scale in ROWS:
            if not any(report.get(key) is not None for _, report in self.columns):
                continue
            cells = []
            for at, (_, report) in enumerate(self.columns):
                value, own = report.get(key), ours.get(key)
                cell = "not measured" if value is None else f"{shown(value * scale)} {unit}"
                if at and value and own is not None:
                    cell += f" ({own / value:.2f}×)"
                cells.append(cell)
            lines.append(f"| {name.format(longer=given.longer)} | " + " | ".join(cells) + " |")
        lines += ["", f"Adire merges an adapter into the weights at a switch and hashes them; diffusers keeps it beside them. Weights that "
                  f"differed from those of the first switch to the same adapter: {ours.get('other_fingerprints', '?')} of {given.switches}. "
                  f"Equal images: {ours.get('equal_images', '?')} of {given.images + 1} after the first. Adire's image beside diffusers': "
                  f"{compare(self.work / 'adire.png', self.work / 'diffusers.png')}."]
        late = [name for name, report in self.columns if report.get("late")]
        if late:
            lines += ["", f"Stopped when the time was over: {', '.join(late)}."]
        return lines

    def write(self):
        (self.work / "table.md").write_text("\n".join(self.lines()) + "\n")
        report = {"device": self.place, "checks": self.checks, "columns": self.columns}
        (self.work / "report.json").write_text(json.dumps(report, indent=2) + "\n")


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--device", default="cuda:0")
    arguments.add_argument("--dtype", choices=["f32", "f16", "bf16"], default="f16")
    arguments.add_argument("--shape", choices=["sd15", "tiny"], default="sd15")
    arguments.add_argument("--size", type=int, default=512)
    arguments.add_argument("--steps", type=int, default=20)
    arguments.add_argument("--images", type=int, default=5)
    arguments.add_argument("--switches", type=int, default=100)
    arguments.add_argument("--longer", type=int, default=50, help="steps of further images; 0: none")
    arguments.add_argument("--minutes", type=float, default=9.5, help="for everything together")
    arguments.add_argument("--peers", choices=["none", "eager", "compiled"], default="compiled")
    arguments.add_argument("--peer-device", help="another device for diffusers: to try the scripts where Adire's is emulated")
    arguments.add_argument("--work", type=pathlib.Path, default=pathlib.Path("adire-device"))
    given = arguments.parse_args()
    program, work, clock = str(HERE / "adire"), given.work, Clock(given.minutes)
    work.mkdir(parents=True, exist_ok=True)
    place, peer_device = gpu(given.device), given.peer_device or given.device
    print(f"Device: {place}\n", flush=True)
    table = Table(work, given, place)

    checks = sorted((HERE / "checks").glob("*")) if given.device == "cuda:0" else []
    for check in checks:
        print(f"Kernels on {given.device}: {check.name}", flush=True)
        table.checked(f"kernels: {check.name}", passed([str(check), "--test-threads", "1"], clock))
        print(flush=True)
    for dtype in dict.fromkeys(["f32", given.dtype]):
        print(f"Goldens on {given.device} in {dtype}", flush=True)
        command = [program, "selftest", "--goldens", str(HERE / "goldens"), "--device", given.device, "--dtype", dtype]
        table.checked(f"goldens in {dtype}", passed(command, clock))
        print(flush=True)

    model = work / f"{given.shape}-{'f32' if given.dtype == 'f32' else 'f16'}"
    if not (model / "lora-b.safetensors").is_file():
        print(f"Writing random weights to {model} …", flush=True)
        subprocess.run([sys.executable, str(HERE / "weights.py"), str(model), "--tokenizer", str(HERE / "goldens/tokenizer"),
                        "--shape", given.shape, "--dtype", "f32" if given.dtype == "f32" else "f16"], check=True)
    loras = [word for name in "ab" for word in ("--lora", str(model / f"lora-{name}.safetensors"))]
    common = ["--dtype", given.dtype, "--size", str(given.size), "--images", str(given.images)]
    whole = [*common, "--steps", str(given.steps), "--switches", str(given.switches), "--adapter-steps", str(given.steps), *loras]

    print("Measuring Adire …", flush=True)
    measure = [program, "measure", "--model", str(model), "--device", given.device]
    adire = measured([*measure, *whole, "--out", str(work / "adire.png")], given.device, clock)
    if adire["exit"]:
        print(adire["output"], flush=True)
    if given.longer:
        more = ["--steps", str(given.longer), "--switches", "0"]
        adire["longer_seconds"] = measured([*measure, *common, *more], given.device, clock).get("seconds")
    more = ["--steps", str(given.steps), "--switches", "0", "--batch", "4", "--batch", "8"]
    batches = measured([*measure, *common, *more], given.device, clock)
    for key in ("seconds_of_4", "seconds_of_8"):
        adire[key] = batches.get(key)
    table.add("Adire", adire)
    table.checked("adire measure", adire["exit"] == 0)

    peer = [sys.executable, str(HERE / "peer.py"), str(model), "--device", peer_device, *whole, "--longer", str(given.longer)]
    columns = {"none": [], "eager": [("diffusers", [])],
               "compiled": [("diffusers", []), ("diffusers, compiled", ["--compile", "max-autotune"])]}[given.peers]
    for name, more in columns:
        if clock.left() == 0:
            print(f"No time is left for {name}.", flush=True)
            continue
        print(f"Measuring {name} …", flush=True)
        # Compiling for each number of images takes minutes.
        more = more or ["--channels-last", "--batch", "4", "--batch", "8", "--out", str(work / "diffusers.png")]
        report = measured([*peer, *more], peer_device, clock)
        if report["exit"] == 3:
            print(f"{name}: {report['output']}", flush=True)
            break
        if report["exit"] and not report["late"]:
            print(f"{name} failed:\n{report['output']}", flush=True)
        table.add(name, report)

    print("\n" + "\n".join(table.lines()))
    print(f"\nAlso in {work / 'table.md'} and {work / 'report.json'}.")
    if table.failed():
        sys.exit(f"FAILED: {', '.join(table.failed())}")


if __name__ == "__main__":
    main()
