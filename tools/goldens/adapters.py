"""Goldens of adapters: small files in the names of every trainer, and what the models say with them.

Needs the model folder that images.py writes. Writes crates/engine/tests/goldens/adapters/. Expected outputs come
from diffusers (`load_lora_weights`, `set_adapters`) or PEFT wherever these can read the file; for the rest, from the
formula of the format applied to a copy of the weights. Where both are possible they are checked against each other.

    python tools/goldens/adapters.py
"""

import json
import shutil

import torch
from diffusers import StableDiffusionPipeline
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file
from tiny import OUT

FOLDER = OUT / "adapters"
SEED = 77


def pipeline():
    loaded = StableDiffusionPipeline.from_pretrained(OUT / "pipeline", safety_checker=None)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def is_target(module, kernel=None):
    linear = isinstance(module, torch.nn.Linear)
    conv = isinstance(module, torch.nn.Conv2d)
    if kernel is None:
        return linear or (conv and module.kernel_size == (1, 1))
    return conv and module.kernel_size == (kernel, kernel)


def unet_targets(pipe):
    """What kohya changes: attention, feed-forward, proj_in and proj_out."""
    return [name for name, m in pipe.unet.named_modules() if ".attentions." in name and is_target(m)]


def text_targets(pipe):
    return [name for name, m in pipe.text_encoder.named_modules() if "layers." in name and is_target(m)]


def weight(pipe, component, name):
    model = pipe.unet if component == "unet" else pipe.text_encoder
    return model.get_submodule(name).weight


def pair(base, rank, generator, size=0.5):
    """down and up for one weight, large enough that a wrong scale shows."""
    down = torch.randn((rank, *base.shape[1:]), generator=generator) * size / base[0].numel() ** 0.5
    up_shape = (base.shape[0], rank) + (1,) * (base.dim() - 2)
    up = torch.randn(up_shape, generator=generator) * size / rank**0.5
    return down, up


def random_pairs(pipe, targets, seed, ranks):
    generator = torch.Generator("cpu").manual_seed(seed)
    pairs = {}
    for index, (component, name) in enumerate(targets):
        rank = ranks[index % len(ranks)]
        pairs[component, name] = pair(weight(pipe, component, name), rank, generator)
    return pairs


def flat(component, name):
    prefix = "lora_unet_" if component == "unet" else "lora_te_text_model_"
    return prefix + name.replace(".", "_")


def dotted(component, name):
    return f"unet.{name}" if component == "unet" else f"text_encoder.text_model.{name}"


def lora_delta(down, up, scale):
    return scale * (up.flatten(1) @ down.flatten(1))


def tucker(core, a, b):
    return torch.einsum("ijkl,ip,jr->prkl", core, a, b)


class Goldens:
    def __init__(self):
        self.pipe = pipeline()
        generator = torch.Generator("cpu").manual_seed(SEED)
        unet = self.pipe.unet.config
        self.x = torch.randn((1, 4, 6, 8), generator=generator)
        self.context = torch.randn((1, 5, unet.cross_attention_dim), generator=generator)
        self.ids = torch.randint(0, 90, (1, 77), generator=generator)
        self.tensors = {"x": self.x, "context": self.context, "ids": self.ids}
        self.cases = []
        self.base = self.outputs(self.pipe)
        self.tensors |= {"base.unet": self.base[0], "base.text": self.base[1]}

    @torch.no_grad()
    def outputs(self, pipe):
        unet = pipe.unet(self.x, 321, self.context).sample
        return unet, pipe.text_encoder(self.ids).last_hidden_state

    def merged(self, deltas):
        """Outputs of a copy whose weights are changed by hand; deltas are (component, name, matrix)."""
        pipe = pipeline()
        with torch.no_grad():
            for component, name, delta in deltas:
                base = weight(pipe, component, name)
                base += delta.reshape(base.shape)
        return self.outputs(pipe)

    def by_diffusers(self, uses):
        pipe = pipeline()
        for index, (file, _) in enumerate(uses):
            path = FOLDER / file
            pipe.load_lora_weights(path.parent, weight_name=path.name, adapter_name=f"a{index}")
        pipe.set_adapters([f"a{i}" for i in range(len(uses))], [strength for _, strength in uses])
        return self.outputs(pipe)

    def add(self, name, uses, expected, *checks):
        for other in checks:
            for found, wanted in zip(other, expected):
                error = (found - wanted).abs().max() / wanted.abs().max()
                assert error < 1e-5, f"{name}: the references differ by {error}"
        changed = [(e - b).abs().max().item() for e, b in zip(expected, self.base)]
        assert changed[0] > 0.05, f"{name} changes the image by only {changed[0]}"
        assert all(torch.isfinite(e).all() for e in expected)
        self.cases.append({"name": name, "adapters": [list(use) for use in uses]})
        self.tensors[f"{name}.unet"], self.tensors[f"{name}.text"] = [e.clone().contiguous() for e in expected]
        print(f"{name}: changed by {changed[0]:.3f} and {changed[1]:.3f}")

    def save(self):
        save_file(self.tensors, FOLDER / "expected.safetensors")
        (FOLDER / "cases.json").write_text(json.dumps(self.cases, indent=1) + "\n")


def kohya_state(pipe, targets, seed, alphas):
    """float16, as trainers save, ranks mixed."""
    state, deltas = {}, []
    for index, ((component, name), (down, up)) in enumerate(random_pairs(pipe, targets, seed, [2, 4, 1]).items()):
        down, up = down.half(), up.half()
        key, rank, alpha = flat(component, name), down.shape[0], alphas[index % len(alphas)]
        state |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up}
        if alpha is not None:
            state[f"{key}.alpha"] = torch.tensor(alpha).half()
        scale = alpha / rank if alpha else 1.0
        deltas.append((component, name, lora_delta(down.float(), up.float(), scale)))
    return state, deltas


def kohya(goldens):
    """All of kohya's default modules; alpha unlike the rank."""
    pipe = goldens.pipe
    targets = [("unet", n) for n in unet_targets(pipe)] + [("text", n) for n in text_targets(pipe)]
    metadata = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": "4",
        "ss_network_alpha": "1.5",
        "ss_tag_frequency": json.dumps({"10_adire": {"adire": 24, "indigo": 12}}),
    }
    state, deltas = kohya_state(pipe, targets, seed=1, alphas=[1.5])
    save_file(state, FOLDER / "kohya.safetensors", metadata)
    for strength in (1.0, 0.7, -1.5):
        expected = goldens.merged([(c, n, strength * d) for c, n, d in deltas])
        uses = [("kohya.safetensors", strength)]
        goldens.add(f"kohya at {strength}", uses, expected, goldens.by_diffusers(uses))

    # An alpha of its own for each layer, none, or 0. diffusers 0.42 gives to_q and to_v the commonest alpha
    # of the file instead of their own, so only the formula of sd-scripts is taken as the reference here.
    state, mixed = kohya_state(pipe, targets[::2], seed=6, alphas=[1.5, 1.0, None, 0.0])
    save_file(state, FOLDER / "kohya-alphas.safetensors")
    goldens.add("kohya, many alphas", [("kohya-alphas.safetensors", 1.0)], goldens.merged(mixed))
    return deltas


def diffusers_current(goldens):
    """What today's training scripts save: lora_A and lora_B, scales only in the file's metadata."""
    pipe = pipeline()
    config = LoraConfig(
        r=3,
        lora_alpha=5,
        target_modules=["to_q", "to_k", "to_v", "to_out.0", "conv1"],
        rank_pattern={"to_v": 2, "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q": 4},
        alpha_pattern={"to_v": 1.0, "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q": 6.0},
        init_lora_weights=False,
    )
    text_config = LoraConfig(r=2, lora_alpha=3, target_modules=["q_proj", "v_proj", "fc1"], init_lora_weights=False)
    torch.manual_seed(2)
    pipe.unet.add_adapter(config)
    pipe.text_encoder.add_adapter(text_config)
    shrink(pipe.unet)
    shrink(pipe.text_encoder)
    expected = goldens.outputs(pipe)
    StableDiffusionPipeline.save_lora_weights(
        FOLDER,
        unet_lora_layers=get_peft_model_state_dict(pipe.unet),
        text_encoder_lora_layers=get_peft_model_state_dict(pipe.text_encoder),
        weight_name="diffusers.safetensors",
        unet_lora_adapter_metadata=config.to_dict(),
        text_encoder_lora_adapter_metadata=text_config.to_dict(),
    )
    uses = [("diffusers.safetensors", 1.0)]
    goldens.add("diffusers", uses, expected, goldens.by_diffusers(uses))
    deltas = []
    for component, model in (("unet", pipe.unet), ("text", pipe.text_encoder)):
        for name, module in model.named_modules():
            if hasattr(module, "get_delta_weight") and module.lora_A:
                deltas.append((component, name, module.get_delta_weight("default").detach()))
    return deltas


def shrink(model):
    """PEFT's random initialisation is far too strong for a small model."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.mul_(0.5)


def diffusers_former(goldens):
    """What diffusers saved before: lora.down, lora_linear_layer.down, no alpha."""
    pipe = goldens.pipe
    targets = [("unet", n) for n in unet_targets(pipe) if "attn" in n]
    targets += [("text", n) for n in text_targets(pipe) if "self_attn" in n]
    pairs = random_pairs(pipe, targets, seed=3, ranks=[2])
    state, deltas = {}, []
    for (component, name), (down, up) in pairs.items():
        middle = "lora" if component == "unet" else "lora_linear_layer"
        key = f"{dotted(component, name)}.{middle}"
        state |= {f"{key}.down.weight": down, f"{key}.up.weight": up}
        deltas.append((component, name, lora_delta(down, up, 1.0)))
    save_file(state, FOLDER / "diffusers-former.safetensors")
    uses = [("diffusers-former.safetensors", 1.0)]
    goldens.add("diffusers, former names", uses, goldens.merged(deltas), goldens.by_diffusers(uses))

    # Older still: attention processors, with and without the prefix that today's diffusers insists on.
    state, deltas = {}, []
    for (component, name), (down, up) in pairs.items():
        if component == "unet":
            attention, _, projection = name.removesuffix(".0").rpartition(".")
            key = f"unet.{attention}.processor.{projection}_lora"
            state |= {f"{key}.down.weight": down, f"{key}.up.weight": up}
            deltas.append((component, name, lora_delta(down, up, 1.0)))
    save_file(state, FOLDER / "processors.safetensors")
    bare = {key.removeprefix("unet."): value for key, value in state.items()}
    save_file(bare, FOLDER / "processors-bare.safetensors")
    expected = goldens.merged(deltas)
    uses = [("processors.safetensors", 1.0)]
    goldens.add("attention processors", uses, expected, goldens.by_diffusers(uses))
    goldens.add("attention processors, bare", [("processors-bare.safetensors", 1.0)], expected)


def peft_folder(goldens, folder, **options):
    pipe = pipeline()
    config = LoraConfig(r=4, lora_alpha=3, target_modules=["to_q", "to_v", "proj_in", "conv2"], **options)
    torch.manual_seed(4)
    config.init_lora_weights = False
    model = get_peft_model(pipe.unet, config)
    shrink(model)
    if options.get("use_dora"):
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "magnitude" in name:
                    parameter.mul_(1 + 0.2 * torch.randn(parameter.shape))
    model.save_pretrained(FOLDER / folder)
    (FOLDER / folder / "README.md").unlink(missing_ok=True)
    pipe.unet = model
    goldens.add(f"PEFT, {folder}", [(folder, 1.0)], goldens.outputs(pipe))


def convolutions(goldens):
    """LoCon pairs, Tucker convolutions, LoHa, LoKr and DoRA as kohya and LyCORIS name them; by formula."""
    pipe = goldens.pipe
    generator = torch.Generator("cpu").manual_seed(5)

    def randn(*shape, size=0.3):
        return torch.randn(shape, generator=generator) * size

    convs = [n for n, m in pipe.unet.named_modules() if is_target(m, kernel=3) and "resnets" in n]
    state, deltas = {}, []
    for name in convs[:4]:
        down, up = pair(weight(pipe, "unet", name), 3, generator)
        key = flat("unet", name)
        state |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up, f"{key}.alpha": torch.tensor(2.0)}
        deltas.append(("unet", name, lora_delta(down, up, 2 / 3)))
    for name in convs[4:]:
        out, inputs = weight(pipe, "unet", name).shape[:2]
        down, up, mid = randn(2, inputs, 1, 1), randn(out, 2, 1, 1), randn(2, 2, 3, 3)
        key = flat("unet", name)
        state |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up, f"{key}.lora_mid.weight": mid}
        state[f"{key}.alpha"] = torch.tensor(1.0)
        deltas.append(("unet", name, 0.5 * tucker(mid, up.flatten(1).T, down.flatten(1))))
    save_file(state, FOLDER / "locon.safetensors")
    scaled = [(c, n, 0.8 * d) for c, n, d in deltas]
    goldens.add("LoCon", [("locon.safetensors", 0.8)], goldens.merged(scaled))

    state, deltas = {}, []
    for name in unet_targets(pipe)[:9] + convs[:1]:
        base = weight(pipe, "unet", name)
        out, inputs, rank, key = base.shape[0], base[0].numel(), 2, flat("unet", name)
        w1_a, w1_b, w2_a, w2_b = randn(out, rank), randn(rank, inputs), randn(out, rank), randn(rank, inputs)
        state |= {f"{key}.hada_w1_a": w1_a, f"{key}.hada_w1_b": w1_b}
        state |= {f"{key}.hada_w2_a": w2_a, f"{key}.hada_w2_b": w2_b, f"{key}.alpha": torch.tensor(5.0)}
        deltas.append(("unet", name, 5 / rank * (w1_a @ w1_b) * (w2_a @ w2_b)))
    for name in convs[1:3]:
        out, inputs = weight(pipe, "unet", name).shape[:2]
        rank, key = 2, flat("unet", name)
        one = [randn(rank, rank, 3, 3), randn(rank, out), randn(rank, inputs)]
        two = [randn(rank, rank, 3, 3), randn(rank, out), randn(rank, inputs)]
        for number, (core, a, b) in enumerate([one, two], start=1):
            state |= {f"{key}.hada_t{number}": core, f"{key}.hada_w{number}_a": a, f"{key}.hada_w{number}_b": b}
        state[f"{key}.alpha"] = torch.tensor(40.0)
        deltas.append(("unet", name, 40 / rank * tucker(*one) * tucker(*two)))
    save_file(state, FOLDER / "loha.safetensors")
    goldens.add("LoHa", [("loha.safetensors", 1.0)], goldens.merged(deltas))

    state, deltas = {}, []
    for index, name in enumerate(unet_targets(pipe)[:9]):
        base = weight(pipe, "unet", name)
        out, inputs, key = base.shape[0], base[0].numel(), flat("unet", name)
        w1, w2_a, w2_b = randn(4, 2), randn(out // 4, 2), randn(2, inputs // 2)
        w1_a, w1_b = randn(4, 1), randn(1, 2)
        if index % 3 == 0:
            # Both whole: alpha counts for nothing.
            w2 = w2_a @ w2_b
            state |= {f"{key}.lokr_w1": w1, f"{key}.lokr_w2": w2, f"{key}.alpha": torch.tensor(7.0)}
            deltas.append(("unet", name, torch.kron(w1, w2)))
        elif index % 3 == 1:
            state |= {f"{key}.lokr_w1": w1, f"{key}.lokr_w2_a": w2_a, f"{key}.lokr_w2_b": w2_b}
            state[f"{key}.alpha"] = torch.tensor(3.0)
            deltas.append(("unet", name, 3 / 2 * torch.kron(w1, w2_a @ w2_b)))
        else:
            state |= {f"{key}.lokr_w1_a": w1_a, f"{key}.lokr_w1_b": w1_b}
            state |= {f"{key}.lokr_w2_a": w2_a, f"{key}.lokr_w2_b": w2_b}
            deltas.append(("unet", name, torch.kron(w1_a @ w1_b, w2_a @ w2_b)))
    name = convs[0]
    out, inputs = weight(pipe, "unet", name).shape[:2]
    key, w1, core, a, b = flat("unet", name), randn(2, 4), randn(2, 2, 3, 3), randn(2, out // 2), randn(2, inputs // 4)
    state |= {f"{key}.lokr_w1": w1, f"{key}.lokr_t2": core, f"{key}.lokr_w2_a": a, f"{key}.lokr_w2_b": b}
    state[f"{key}.alpha"] = torch.tensor(4.0)
    deltas.append(("unet", name, 2 * torch.kron(w1[:, :, None, None], tucker(core, a, b).contiguous())))
    save_file(state, FOLDER / "lokr.safetensors")
    goldens.add("LoKr", [("lokr.safetensors", 1.0)], goldens.merged(deltas))

    # DoRA with a magnitude for each output and, as LyCORIS stores it by default, for each input.
    state, deltas = {}, []
    for index, name in enumerate(unet_targets(pipe)[:8] + convs[:1]):
        base = weight(pipe, "unet", name).detach()
        down, up = pair(base, 2, generator)
        directed = base + lora_delta(down, up, 0.5).reshape(base.shape)
        axis = index % 2
        norm = directed.transpose(0, axis).flatten(1).norm(dim=1)
        shape = [1] * base.dim()
        shape[axis] = -1
        norm = norm.reshape(shape)
        magnitude = norm * (1 + randn(*norm.shape, size=0.2))
        key = flat("unet", name)
        state |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up, f"{key}.alpha": torch.tensor(1.0)}
        state[f"{key}.dora_scale"] = magnitude.contiguous()
        deltas.append(("unet", name, magnitude * directed / norm - base))
    save_file(state, FOLDER / "dora.safetensors")
    for strength in (1.0, 0.4):
        scaled = [(c, n, strength * d) for c, n, d in deltas]
        goldens.add(f"DoRA at {strength}", [("dora.safetensors", strength)], goldens.merged(scaled))


def foreign():
    """A layer or two of files made for other models: names and shapes are real, values are zero."""
    other = {
        "sdxl-kohya": {"lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k": (2048, 640)},
        "sdxl-diffusers": {"unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k": (2048, 640)},
        "sd2-kohya": {"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k": (1024, 320)},
        "flux": {"transformer.single_transformer_blocks.0.attn.to_k": (3072, 3072)},
    }
    for name, layers in other.items():
        down, up = ("lora_A", "lora_B") if "." in next(iter(layers)) else ("lora_down", "lora_up")
        state = {}
        for key, (inputs, out) in layers.items():
            state |= {f"{key}.{down}.weight": torch.zeros(1, inputs).half()}
            state |= {f"{key}.{up}.weight": torch.zeros(out, 1).half()}
        save_file(state, FOLDER / f"{name}.safetensors")


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    goldens = Goldens()
    kohya_deltas = kohya(goldens)
    diffusers_deltas = diffusers_current(goldens)
    diffusers_former(goldens)
    peft_folder(goldens, "peft")
    peft_folder(goldens, "peft-rslora", use_rslora=True)
    peft_folder(goldens, "peft-dora", use_dora=True)
    convolutions(goldens)
    uses = [("kohya.safetensors", 0.7), ("diffusers.safetensors", -0.5)]
    both = [(c, n, 0.7 * d) for c, n, d in kohya_deltas] + [(c, n, -0.5 * d) for c, n, d in diffusers_deltas]
    goldens.add("two at once", uses, goldens.merged(both), goldens.by_diffusers(uses))
    foreign()
    goldens.save()
    for path in FOLDER.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


if __name__ == "__main__":
    main()
