"""Goldens of every kind that LyCORIS and PEFT write beside plain LoRA: what their own code merges into the weights.

Needs the model folder that images.py writes, and lycoris-lora. Writes crates/engine/tests/goldens/adapter-kinds/: small
files over some modules of each sort, and what the models say with them. LyCORIS' modules are made by LyCORIS, filled with
random numbers, saved by its state_dict and merged by its get_merged_weight; PEFT folders by PEFT.

    python tools/goldens/adapter_kinds.py
"""

import json
import shutil

import peft
import torch
from diffusers import StableDiffusionPipeline
from lycoris.modules import boft, diag_oft, full, glora, ia3, locon, loha, lokr, norms
from safetensors.torch import save_file
from tiny import OUT

FOLDER = OUT / "adapter-kinds"
BLOCK = "down_blocks.0.attentions.0"
LINEAR = [f"{BLOCK}.transformer_blocks.0.{name}" for name in ("attn1.to_q", "attn2.to_k", "attn1.to_out.0", "ff.net.2")]
ONE = [f"{BLOCK}.proj_in"]
CONV = ["down_blocks.0.resnets.0.conv1", "down_blocks.0.downsamplers.0.conv"]
TEXT = ["encoder.layers.0.self_attn.q_proj", "encoder.layers.0.mlp.fc1"]
NORMS = ["conv_norm_out", f"{BLOCK}.norm", f"{BLOCK}.transformer_blocks.0.norm2", "mid_block.resnets.0.norm1"]
TEXT_NORMS = ["encoder.layers.0.layer_norm1", "final_layer_norm"]


def pipeline():
    loaded = StableDiffusionPipeline.from_pretrained(OUT / "pipeline", safety_checker=None)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def modules(pipe, unet, text):
    found = [("lora_unet_" + name.replace(".", "_"), pipe.unet.get_submodule(name)) for name in unet]
    for name in text:
        # transformers 5 names its text tower without `text_model`; files have it.
        inner = getattr(pipe.text_encoder, "text_model", pipe.text_encoder)
        found.append(("lora_te_text_model_" + name.replace(".", "_"), inner.get_submodule(name)))
    return found


class Goldens:
    def __init__(self):
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.mkdir(parents=True)
        self.generator = torch.Generator("cpu").manual_seed(91)
        config = pipeline().unet.config
        self.x = torch.randn((1, 4, 6, 8), generator=self.generator)
        self.context = torch.randn((1, 5, config.cross_attention_dim), generator=self.generator)
        self.ids = torch.randint(0, 90, (1, 77), generator=self.generator)
        self.tensors = {"x": self.x, "context": self.context, "ids": self.ids}
        self.base = self.outputs(pipeline())
        self.cases = []

    @torch.no_grad()
    def outputs(self, pipe):
        unet = pipe.unet(self.x, 321, self.context).sample
        # A few tokens tell as much as all.
        return unet, pipe.text_encoder(self.ids).last_hidden_state[:, :6]

    def add(self, name, file, strength, found):
        changed = (found[0] - self.base[0]).abs().max().item()
        assert changed > 0.02, f"{name} changes the output by only {changed}"
        assert all(torch.isfinite(value).all() for value in found)
        self.cases.append({"name": name, "adapters": [[file, strength]]})
        self.tensors[f"{name}.unet"], self.tensors[f"{name}.text"] = [v.clone().contiguous() for v in found]
        print(f"{name}: changed by {changed:.3f}")

    def lycoris(self, name, kind, unet, text, size=0.3, strengths=(1.0, 0.7), **options):
        """LyCORIS' `kind` over these modules, filled with random numbers of this size."""
        state, made = {}, []
        for key, module in modules(pipeline(), unet, text):
            layer = kind(key, module, **options)
            with torch.no_grad():
                for own, parameter in layer.named_parameters():
                    noise = torch.randn(parameter.shape, generator=self.generator) * size
                    multiplies = "rescale" in own or "dora_scale" in own
                    parameter.copy_(parameter * (1 + noise) if multiplies else noise)
            for own, value in self.saved(layer).items():
                state[f"{key}.{own}"] = value.detach().clone().contiguous()
            made.append((key, layer))
        file = f"{name}.safetensors"
        save_file(state, FOLDER / file)
        for strength in strengths:
            pipe = pipeline()
            targets = dict(modules(pipe, unet, text))
            with torch.no_grad():
                for key, layer in made:
                    target = targets[key]
                    weight, bias = self.merged(layer, strength)
                    target.weight.copy_(weight)
                    if bias is not None and target.bias is not None:
                        target.bias.copy_(bias)
            self.add(f"{name} at {strength}", file, strength, self.outputs(pipe))

    @staticmethod
    def saved(layer):
        # LyCORIS saves a full layer while it is applied, when its weight is base and difference together.
        if isinstance(layer, full.FullModule):
            return {"diff": layer.weight} | ({} if layer.bias is None else {"diff_b": layer.bias})
        return layer.state_dict()

    @staticmethod
    def merged(layer, strength):
        # LoHa's and LoKr's get_merged_weight multiplies with alpha / rank twice (4.1.3); their forward pass, which is
        # what was trained, once.
        if not isinstance(layer, (loha.LohaModule, lokr.LokrModule)):
            return layer.get_merged_weight(strength, layer.org_weight.shape)
        diff = layer.get_weight(layer.shape) * layer.scalar
        if layer.wd:
            return layer.apply_weight_decompose(layer.org_weight + diff, strength), None
        return layer.org_weight + diff * strength, None

    def peft(self, name, config, size=0.3, merge=False):
        """A PEFT folder of the UNet. `merge`: as merged, where that is not what the forward pass does."""
        pipe = pipeline()
        torch.manual_seed(92)
        model = peft.get_peft_model(pipe.unet, config)
        with torch.no_grad():
            for own, parameter in model.named_parameters():
                if parameter.requires_grad:
                    noise = torch.randn(parameter.shape, generator=self.generator) * size
                    around_one = "ia3_l" in own or "boft_s" in own
                    parameter.copy_(1 + noise if around_one else noise)
        model.save_pretrained(FOLDER / name)
        (FOLDER / name / "README.md").unlink(missing_ok=True)
        if merge:
            model.merge_adapter()
        pipe.unet = model
        self.add(name, name, 1.0, self.outputs(pipe))

    def formula(self, name, unet, text, made, strengths=(1.0, 0.7)):
        """Files that no installed library writes. `made` gives a module's tensors, and its change at a strength."""
        state, deltas = {}, []
        for key, module in modules(pipeline(), unet, text):
            own, delta = made(module.weight.detach())
            state |= {f"{key}.{part}": value.contiguous() for part, value in own.items()}
            deltas.append((key, delta))
        file = f"{name}.safetensors"
        save_file(state, FOLDER / file)
        for strength in strengths:
            pipe = pipeline()
            targets = dict(modules(pipe, unet, text))
            with torch.no_grad():
                for key, delta in deltas:
                    targets[key].weight.add_(delta(strength))
            self.add(f"{name} at {strength}", file, strength, self.outputs(pipe))

    def normal(self, *shape, size=0.3):
        return torch.randn(shape, generator=self.generator) * size

    def rotations(self, weight):
        """LyCORIS before 3.0, `oft_diag`: the rotations themselves, several blocks along the outputs (A1111's
        network_oft.py, is_R; a strength interpolates to the identity)."""
        size = 4
        count = weight.shape[0] // size
        generators = self.normal(count, size, size)
        generators = generators - generators.transpose(1, 2)
        eye = torch.eye(size)
        blocks = (eye + generators) @ torch.linalg.inv(eye - generators)
        rows = weight.reshape(count, size, -1)

        def delta(strength):
            turned = torch.einsum("knm,kni->kmi", blocks * strength + eye * (1 - strength), rows)
            return turned.reshape(weight.shape) - weight

        return {"oft_diag": blocks}, delta

    def old_glora(self, weight):
        """LyCORIS before 2.0: the factors the other way round (ComfyUI's glora.py, old_glora)."""
        rank, alpha, flat = 2, 3.0, weight.flatten(1)
        outputs, inputs = flat.shape
        a1, a2 = self.normal(rank, inputs), self.normal(inputs, rank)
        b1, b2 = self.normal(rank, inputs), self.normal(outputs, rank)
        change = (b2 @ b1 + flat @ a2 @ a1) * (alpha / rank)
        own = {"a1.weight": a1, "a2.weight": a2, "b1.weight": b1, "b2.weight": b2, "alpha": torch.tensor(alpha)}
        return own, lambda strength: change.reshape(weight.shape) * strength

    def float8(self, weight):
        """Factors as F8_E5M2, which have two bits of a fraction."""
        rank, alpha, flat = 2, 3.0, weight.flatten(1)
        outputs, inputs = flat.shape
        down = self.normal(rank, inputs, *([1, 1] if weight.dim() == 4 else [])).to(torch.float8_e5m2)
        up = self.normal(outputs, rank, *([1, 1] if weight.dim() == 4 else [])).to(torch.float8_e5m2)
        change = up.float().flatten(1) @ down.float().flatten(1) * (alpha / rank)
        own = {"lora_down.weight": down, "lora_up.weight": up, "alpha": torch.tensor(alpha)}
        return own, lambda strength: change.reshape(weight.shape) * strength

    def save(self):
        save_file(self.tensors, FOLDER / "expected.safetensors")
        (FOLDER / "cases.json").write_text(json.dumps(self.cases, indent=1) + "\n")


def main():
    goldens = Goldens()
    every, plain = LINEAR + ONE + CONV, LINEAR + ONE
    goldens.lycoris("full", full.FullModule, every, TEXT, size=0.1)
    goldens.lycoris("norms", norms.NormModule, NORMS, TEXT_NORMS)
    goldens.lycoris("locon-tucker", locon.LoConModule, every, TEXT, lora_dim=2, alpha=3, use_tucker=True)
    goldens.lycoris("locon-dora-outputs", locon.LoConModule, every, TEXT, strengths=(1.0,), lora_dim=2, alpha=1, weight_decompose=True)
    goldens.lycoris(
        "locon-dora-inputs", locon.LoConModule, every, TEXT, strengths=(1.0,), lora_dim=2, alpha=1, weight_decompose=True, wd_on_out=False
    )
    goldens.lycoris("loha-tucker-dora", loha.LohaModule, every, TEXT, strengths=(1.0,), lora_dim=2, alpha=4, use_tucker=True, weight_decompose=True)
    goldens.lycoris("lokr-tucker", lokr.LokrModule, every, TEXT, lora_dim=1, alpha=2, use_tucker=True, factor=4)
    goldens.lycoris("lokr-both", lokr.LokrModule, every, TEXT, lora_dim=1, alpha=2, decompose_both=True, factor=4)
    goldens.lycoris("lokr-dora", lokr.LokrModule, plain, TEXT, strengths=(1.0,), lora_dim=1, alpha=2, weight_decompose=True, wd_on_out=False)
    goldens.lycoris("ia3-outputs", ia3.IA3Module, every, TEXT)
    goldens.lycoris("ia3-inputs", ia3.IA3Module, LINEAR + CONV, TEXT, train_on_input=True)
    goldens.lycoris("glora", glora.GLoRAModule, every, TEXT, lora_dim=2, alpha=3)
    goldens.lycoris("oft", diag_oft.DiagOFTModule, every, TEXT, lora_dim=4)
    goldens.lycoris("oft-constraint", diag_oft.DiagOFTModule, every, TEXT, lora_dim=4, constraint=0.03)
    goldens.lycoris("oft-rescale", diag_oft.DiagOFTModule, every, TEXT, strengths=(1.0,), lora_dim=4, rescaled=True)
    goldens.lycoris("boft", boft.ButterflyOFTModule, every, TEXT, lora_dim=4)
    goldens.lycoris("boft-constraint", boft.ButterflyOFTModule, every, TEXT, strengths=(1.0,), lora_dim=4, constraint=0.03, rescaled=True)

    targets = ["attn1.to_q", "attn2.to_k", "proj_in", "resnets.0.conv1"]
    goldens.peft("peft-loha", peft.LoHaConfig(r=2, alpha=3, target_modules=targets, use_effective_conv2d=True))
    goldens.peft(
        "peft-lokr", peft.LoKrConfig(r=8, alpha=4, target_modules=targets, decompose_factor=4, alpha_pattern={"proj_in": 2})
    )
    goldens.peft("peft-lokr-factors", peft.LoKrConfig(r=1, alpha=2, target_modules=targets, decompose_factor=4, decompose_both=True))
    feedforward = ["ff.net.2", "downsamplers.0.conv"]
    goldens.peft("peft-ia3", peft.IA3Config(target_modules=[*targets, "attn1.to_out.0", *feedforward], feedforward_modules=feedforward))
    goldens.peft("peft-oft", peft.OFTConfig(r=0, oft_block_size=4, target_modules=targets, use_cayley_neumann=False), size=0.2, merge=True)
    goldens.peft("peft-oft-series", peft.OFTConfig(r=0, oft_block_size=4, target_modules=targets[:3]), size=0.1)
    goldens.peft(
        "peft-oft-shared",
        peft.OFTConfig(r=0, oft_block_size=4, target_modules=targets[:3], block_share=True, use_cayley_neumann=False, coft=True, eps=0.9),
        size=0.5,
    )
    goldens.peft("peft-boft", peft.BOFTConfig(boft_block_size=4, target_modules=targets))

    goldens.formula("oft-diag", every, TEXT, goldens.rotations)
    goldens.formula("glora-old", plain, TEXT, goldens.old_glora)
    goldens.formula("lora-e5m2", plain, TEXT, goldens.float8)
    goldens.peft("peft-lora-bias", peft.LoraConfig(r=2, lora_alpha=3, lora_bias=True, target_modules=["attn1.to_out.0", *targets[2:]]))
    goldens.peft("peft-boft-stages", peft.BOFTConfig(boft_block_size=4, boft_n_butterfly_factor=2, target_modules=targets))
    goldens.save()


main()
