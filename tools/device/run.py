"""Holds a device to the goldens and measures Adire beside diffusers in one run. `run.sh` starts this.

    ./run.sh [--device cuda:0|cpu] [--dtype f16|f32|bf16] [--shape sd15|tiny] [--size N] [--steps N] [--switches N]

Everything is written below --work (2.3 GB for SD 1.5's shapes). The exit code is 0 when every comparison of Adire
with the goldens holds and its weights are the same after every switch; a missing diffusers is not a failure.
"""

import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys
import threading

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


def measured(command, device):
    """The JSON that a program prints, with its peak memory; or why there is none."""
    memory = Memory(device)
    try:
        memory.start()
    except (OSError, subprocess.CalledProcessError, ValueError) as error:
        print(f"GPU memory cannot be watched: {error}", file=sys.stderr)
        memory.index = None
    program = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    errors = []
    reader = threading.Thread(target=lambda: errors.extend(program.stderr.readlines()))
    reader.start()
    out = program.stdout.read()
    reader.join()
    _, status, usage = os.wait4(program.pid, 0)
    program.returncode = os.waitstatus_to_exitcode(status)
    watched = device.startswith("cuda") == (memory.index is not None)
    peak = memory.end(usage)
    begin = out.find("{")
    report = json.loads(out[begin:]) if begin >= 0 else {}
    report["peak_mb"] = peak if watched else None
    report["exit"] = program.returncode
    report["output"] = "".join(errors).strip()
    return report


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


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--device", default="cuda:0")
    arguments.add_argument("--dtype", choices=["f32", "f16", "bf16"], default="f16")
    arguments.add_argument("--shape", choices=["sd15", "tiny"], default="sd15")
    arguments.add_argument("--size", type=int, default=512)
    arguments.add_argument("--steps", type=int, default=20)
    arguments.add_argument("--images", type=int, default=3)
    arguments.add_argument("--switches", type=int, default=100)
    arguments.add_argument("--work", type=pathlib.Path, default=pathlib.Path("adire-device"))
    given = arguments.parse_args()
    program, work, failed = str(HERE / "adire"), given.work, []
    work.mkdir(parents=True, exist_ok=True)
    place = f"{gpu(given.device)}"
    print(f"Device: {place}\n", flush=True)

    for dtype in dict.fromkeys(["f32", given.dtype]):
        print(f"Goldens on {given.device} in {dtype}", flush=True)
        command = [program, "selftest", "--goldens", str(HERE / "goldens"), "--device", given.device, "--dtype", dtype]
        if subprocess.run(command).returncode:
            failed.append(f"goldens in {dtype}")
        print(flush=True)

    model = work / f"{given.shape}-{'f32' if given.dtype == 'f32' else 'f16'}"
    if not (model / "lora-b.safetensors").is_file():
        print(f"Writing random weights to {model} …", flush=True)
        subprocess.run([sys.executable, str(HERE / "weights.py"), str(model), "--tokenizer", str(HERE / "goldens/tokenizer"),
                        "--shape", given.shape, "--dtype", "f32" if given.dtype == "f32" else "f16"], check=True)
    loras = [word for name in "ab" for word in ("--lora", str(model / f"lora-{name}.safetensors"))]
    common = ["--device", given.device, "--dtype", given.dtype, "--size", str(given.size), "--steps", str(given.steps),
              "--images", str(given.images), "--switches", str(given.switches), *loras]

    print("Measuring Adire …", flush=True)
    adire = measured([program, "measure", "--model", str(model), *common, "--out", str(work / "adire.png")], given.device)
    if adire["exit"]:
        failed.append("adire measure")
    if adire["output"]:
        print(adire["output"])
    print("Measuring diffusers …\n", flush=True)
    peer = measured([sys.executable, str(HERE / "peer.py"), str(model), *common, "--out", str(work / "diffusers.png")],
                    given.device)
    if peer["exit"] == 3:
        print(f"diffusers: {peer['output']}\n")
    elif peer["exit"]:
        print(f"diffusers failed:\n{peer['output']}\n")

    def row(name, key, digits, scale=1):
        def cell(report):
            value = report.get(key)
            return "not measured" if value is None else f"{value * scale:.{digits}f}"
        return f"| {name} | {cell(adire)} | {cell(peer)} |"

    table = [
        f"{place}, {given.dtype}, {given.shape} shapes with random weights, {given.size} × {given.size}, "
        f"{given.steps} steps of DDIM, guidance 7.5, the median of {given.images} images after one that is not "
        "counted:", "",
        f"| | {adire.get('program', 'Adire')} | {peer.get('program', 'diffusers')} |", "| --- | --- | --- |",
        row("seconds an image", "seconds", 2), row("steps a second", "steps_per_second", 2),
        row("first image, seconds", "first_seconds", 2), row("loading, seconds", "load_seconds", 2),
        row("peak memory, MB", "peak_mb", 0),
        row(f"switch of adapters, ms ({given.switches} switches)", "switch_seconds", 1, 1000), "",
        f"Adire merges an adapter into the weights at a switch and hashes them; diffusers keeps it beside them. "
        f"Weights that differed from those of the first switch to the same adapter: {adire.get('other_fingerprints', '?')} "
        f"of {given.switches}. Equal images: {adire.get('equal_images', '?')} of {given.images + 1} after the first. "
        f"Adire's image beside diffusers': {compare(work / 'adire.png', work / 'diffusers.png')}.",
    ]
    print("\n".join(table))
    (work / "table.md").write_text("\n".join(table) + "\n")
    (work / "report.json").write_text(json.dumps({"device": place, "adire": adire, "peer": peer}, indent=2) + "\n")
    print(f"\nAlso in {work / 'table.md'} and {work / 'report.json'}.")
    if failed:
        sys.exit(f"FAILED: {', '.join(failed)}")


if __name__ == "__main__":
    main()
