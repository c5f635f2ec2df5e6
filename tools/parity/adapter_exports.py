"""Checks that what `adire adapters convert` writes loads in diffusers and PEFT, with the same effect.

Every adapter of the goldens that can be expressed is converted by the program, loaded by `load_lora_weights`
(kohya's and diffusers' format) or `PeftModel.from_pretrained` (PEFT's), and the small models' outputs are compared
with the goldens, which came from the original files.

    python tools/parity/adapter_exports.py path/to/adire
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from peft import PeftModel
from safetensors.torch import load_file

GOLDENS = Path(__file__).resolve().parents[2] / "crates/engine/tests/goldens"
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "goldens"))
from adapters import pipeline  # noqa: E402

# File, the golden that says its effect at strength 1, and whether diffusers reads kohya's form of it exactly (it
# gives to_q and to_v the commonest alpha of a file, and knows no rsLoRA or DoRA there with mixed scales).
CASES = [
    ("adapters/kohya.safetensors", "kohya at 1.0", True),
    ("adapters/kohya-alphas.safetensors", "kohya, many alphas", False),
    ("adapters/diffusers.safetensors", "diffusers", False),
    ("adapters/diffusers-former.safetensors", "diffusers, former names", True),
    ("adapters/processors-bare.safetensors", "attention processors, bare", True),
    ("adapters/peft", "PEFT, peft", True),
    ("adapters/peft-rslora", "PEFT, peft-rslora", True),
    ("adapters/peft-dora", "PEFT, peft-dora", False),
    # Ranks of 1 to 3 at scale 1: an alpha of its own for each layer.
    ("adapter-formats/cloneofsimo.safetensors", "cloneofsimo", False),
    ("adapter-formats/peft-patterns", "PEFT with patterns", False),
]


@torch.no_grad()
def outputs(pipe, given):
    unet = pipe.unet(given["x"], 321, given["context"]).sample
    return unet, pipe.text_encoder(given["ids"]).last_hidden_state


def by_diffusers(path):
    pipe = pipeline()
    pipe.load_lora_weights(path.parent, weight_name=path.name)
    return pipe


def by_peft(folder):
    pipe = pipeline()
    for part in ("unet", "text_encoder"):
        if (folder / part).is_dir():
            setattr(pipe, part, PeftModel.from_pretrained(getattr(pipe, part), folder / part))
    return pipe


def main():
    program, worst = sys.argv[1], 0.0
    for file, name, kohya in CASES:
        given = load_file(GOLDENS / file.split("/")[0] / "expected.safetensors")
        for form in ("diffusers", "peft", "kohya"):
            if form == "kohya" and not kohya:
                continue
            with tempfile.TemporaryDirectory() as folder:
                out = Path(folder) / ("out" if form == "peft" else "out.safetensors")
                command = [program, "adapters", "convert", GOLDENS / file, "--to", form, "--out", out]
                subprocess.run([*command, "--model", GOLDENS / "pipeline"], check=True, stdout=subprocess.DEVNULL)
                pipe = by_peft(out) if form == "peft" else by_diffusers(out)
                found = outputs(pipe, given)
            errors = []
            for part, value in zip(("unet", "text"), found):
                wanted = given[f"{name}.{part}"]
                errors.append(((value - wanted).abs().max() / wanted.abs().max()).item())
            worst = max(worst, *errors)
            print(f"{name:28} as {form:10} unet {errors[0]:.1e}  text {errors[1]:.1e}")
    print(f"worst {worst:.1e}")
    sys.exit(worst > 1e-5)


if __name__ == "__main__":
    main()
