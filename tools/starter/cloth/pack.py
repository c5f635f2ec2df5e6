"""What a training run has finished, as few files of at most 16 MiB: python -m cloth.pack OUT
and the way back into the work folder: python -m cloth.pack OUT --back
"""

import argparse
from pathlib import Path

from safetensors.torch import load_file, save_file

from common import WORK, load, save

MOST = 15 << 20
# Checkpoints of finished stages, and the entry that holds the weights.
FINISHED = {"vae": "vae", "clip": "clip", "judge": "judge", "unet": "unet", "fast": "adapter"}


def pack(out: Path):
    """In half precision; a part that is there already and as new is left alone."""
    out.mkdir(parents=True, exist_ok=True)
    for name, entry in FINISHED.items():
        source = WORK / f"cloth-{name}-final.pt"
        first = out / f"{name}-1.safetensors"
        if not source.exists() or (first.exists() and first.stat().st_mtime > source.stat().st_mtime):
            continue
        parts, size = [{}], 0
        for key, value in load(source.name)[entry].items():
            value = value.cpu().half() if value.is_floating_point() else value.cpu()
            if size + value.nbytes > MOST:
                parts.append({})
                size = 0
            parts[-1][key], size = value.contiguous(), size + value.nbytes
        for i, part in enumerate(parts, 1):
            save_file(part, out / f"{name}-{i}.safetensors")
    # The logs in one file; there may be no room for many.
    with (out / "log.jsonl").open("w") as log:
        for file in sorted(WORK.glob("cloth-*.jsonl")):
            for line in file.read_text().splitlines():
                log.write(f'{{"stage": "{file.stem}", {line[1:]}\n')


def unpack(out: Path):
    for name, entry in FINISHED.items():
        files = sorted(out.glob(f"{name}-*.safetensors"))
        if not files:
            continue
        weights = {key: value.float() if value.is_floating_point() else value for file in files for key, value in load_file(file).items()}
        save(f"cloth-{name}-final.pt", **{entry: weights})


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("out", type=Path)
    options.add_argument("--back", action="store_true")
    options = options.parse_args()
    (unpack if options.back else pack)(options.out)
