"""Goldens of adapter files that adapters.py leaves out: cloneofsimo's numbered tensors, PEFT folders with patterns.

Needs the model folder that images.py writes. Writes crates/engine/tests/goldens/adapter-formats/. The order of the
numbered tensors is taken from PyTorch: the modules of diffusers' and transformers' real models, walked as
cloneofsimo/lora's `_find_modules` walks them. PEFT's folders are written and computed by PEFT.

    python tools/goldens/adapter_formats.py
"""

import json
import shutil

import torch
from adapters import Goldens, lora_delta, pair, pipeline, shrink, weight
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from tiny import OUT

FOLDER = OUT / "adapter-formats"
UNET = ["CrossAttention", "Attention", "GEGLU"]
EXTENDED = ["ResnetBlock2D", *UNET]


def find_modules(model, ancestors, kinds=(torch.nn.Linear,)):
    for prefix, ancestor in model.named_modules():
        if ancestor.__class__.__name__ in ancestors:
            for name, module in ancestor.named_modules():
                if isinstance(module, kinds):
                    yield f"{prefix}.{name}"


def before_2023(names):
    """diffusers once registered the feed-forward between the two attentions."""
    def key(item):
        index, name = item
        block, _, rest = name.partition(".transformer_blocks.")
        if not rest:
            return index, 0
        first = next(i for i, other in enumerate(names) if other.startswith(f"{block}.transformer_blocks."))
        layer, _, inside = rest.partition(".")
        return first, int(layer), ["attn1", "ff", "attn2"].index(inside.split(".")[0]), index

    return [name for _, name in sorted(enumerate(names), key=key)]


def numbered(goldens, file, kinds, order, with_text=True):
    pipe = goldens.pipe
    conv = (torch.nn.Linear, torch.nn.Conv2d) if "ResnetBlock2D" in kinds else (torch.nn.Linear,)
    names = {"unet": order(list(find_modules(pipe.unet, kinds, conv)))}
    if with_text:
        names["text_encoder"] = list(find_modules(pipe.text_encoder, ["CLIPAttention"]))
    generator = torch.Generator("cpu").manual_seed(31)
    state, metadata, deltas = {}, {}, []
    for component, modules in names.items():
        metadata[component] = json.dumps(kinds if component == "unet" else ["CLIPAttention"])
        own = "unet" if component == "unet" else "text"
        for number, name in enumerate(modules):
            rank = 1 + number % 3
            down, up = (factor.half() for factor in pair(weight(pipe, own, name), rank, generator))
            state |= {f"{component}:{number}:down": down, f"{component}:{number}:up": up}
            metadata[f"{component}:{number}:rank"] = str(rank)
            deltas.append((own, name, lora_delta(down.float(), up.float(), 1.0)))
    save_file(state, FOLDER / f"{file}.safetensors", metadata)
    print(file, {component: len(modules) for component, modules in names.items()})
    goldens.add(file, [(f"{file}.safetensors", 1.0)], goldens.merged(deltas))


def peft_patterns(goldens):
    """A folder each for UNet and text encoder; ranks and alphas by path, by end and by regular expression."""
    pipe = pipeline()
    folder = FOLDER / "peft-patterns"
    first = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
    unet = LoraConfig(
        r=3,
        lora_alpha=5,
        target_modules=["to_q", "to_k", "to_v", "conv1"],
        rank_pattern={first: 4, "attn2.to_k": 2},
        alpha_pattern={first: 6.5, "attn2.to_k": 1.0, r".*attn[12]\.to_v": 2.5, "^mid_block.resnets.0.conv1": 0.75},
        init_lora_weights=False,
    )
    text = LoraConfig(
        r=2, lora_alpha=3, use_rslora=True, target_modules=["q_proj", "fc1"], alpha_pattern={"fc1": 1.5},
        init_lora_weights=False,
    )
    torch.manual_seed(32)
    for component, config in (("unet", unet), ("text_encoder", text)):
        model = get_peft_model(getattr(pipe, component), config)
        shrink(model)
        model.save_pretrained(folder / component)
        (folder / component / "README.md").unlink(missing_ok=True)
        setattr(pipe, component, model)
    goldens.add("PEFT with patterns", [("peft-patterns", 1.0)], goldens.outputs(pipe))


class Here(Goldens):
    def save(self):
        save_file(self.tensors, FOLDER / "expected.safetensors")
        (FOLDER / "cases.json").write_text(json.dumps(self.cases, indent=1) + "\n")


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    goldens = Here()
    numbered(goldens, "cloneofsimo", UNET, list)
    numbered(goldens, "cloneofsimo-2022", UNET, before_2023)
    numbered(goldens, "cloneofsimo-no-geglu", ["CrossAttention", "Attention"], list, with_text=False)
    numbered(goldens, "cloneofsimo-extended", EXTENDED, before_2023, with_text=False)
    peft_patterns(goldens)
    goldens.save()
    for path in FOLDER.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


if __name__ == "__main__":
    main()
