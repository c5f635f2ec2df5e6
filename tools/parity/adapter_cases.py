"""One adapter of each kind that diffusers and PEFT write, and what the models say with it."""

import sys
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils.state_dict_utils import convert_state_dict_to_kohya
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "goldens"))
from adapters import dotted, random_pairs, shrink, text_targets, unet_targets  # noqa: E402

ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]


def lora(**options):
    return LoraConfig(**{"r": 4, "lora_alpha": 3, "init_lora_weights": False, **options})


def outputs(unet, text, given):
    """What adapters.rs in the engine's tests asks for, too."""
    with torch.no_grad():
        return unet(given["x"], 321, given["context"]).sample, text(given["ids"]).last_hidden_state


class Cases:
    """`add(row, file, outputs)` takes down each; files go to `folder`."""

    def __init__(self, pipe, folder, given, add):
        self.pipe, self.folder, self.given = pipe, folder, given
        self.add = lambda row, file, found: add(row, file, [x.contiguous() for x in found])

    def all(self):
        torch.manual_seed(51)
        self.diffusers()
        self.former()
        self.peft("PEFT", "peft", target_modules=["to_q", "to_v", "proj_in", "conv2"])
        self.peft("PEFT, rsLoRA", "peft-rslora", target_modules=ATTENTION, use_rslora=True)
        self.peft("PEFT, DoRA", "peft-dora", target_modules=["to_q", "to_v", "conv1"], use_dora=True)
        patterns = dict(rank_pattern={"attn2.to_k": 2}, alpha_pattern={"attn2.to_k": 1, r".*attn[12]\.to_v": 2})
        self.peft("PEFT, patterns", "peft-patterns", target_modules=["to_q", "to_k", "to_v"], **patterns)

    def diffusers(self):
        """save_lora_weights, and kohya's names as diffusers converts to them."""
        pipe, config = self.pipe, lora(target_modules=[*ATTENTION, "conv1"], rank_pattern={"to_v": 2})
        text_config = lora(r=2, lora_alpha=1, target_modules=["q_proj", "v_proj", "fc1"])
        pipe.unet.add_adapter(config)
        pipe.text_encoder.add_adapter(text_config)
        shrink(pipe.unet)
        shrink(pipe.text_encoder)
        found = outputs(pipe.unet, pipe.text_encoder, self.given)
        states = [get_peft_model_state_dict(model) for model in (pipe.unet, pipe.text_encoder)]
        StableDiffusionPipeline.save_lora_weights(
            self.folder,
            unet_lora_layers=states[0],
            text_encoder_lora_layers=states[1],
            weight_name="diffusers.safetensors",
            unet_lora_adapter_metadata=config.to_dict(),
            text_encoder_lora_adapter_metadata=text_config.to_dict(),
        )
        self.add("diffusers", "diffusers.safetensors", found)
        pipe.unload_lora_weights()
        # alpha is the rank in what the conversion writes.
        config = lora(lora_alpha=4, target_modules=ATTENTION)
        pipe.unet.add_adapter(config)
        shrink(pipe.unet)
        found = outputs(pipe.unet, pipe.text_encoder, self.given)
        state = get_peft_model_state_dict(pipe.unet)
        state = convert_state_dict_to_kohya({f"unet.{key}": value for key, value in state.items()})
        save_file({key: value.contiguous() for key, value in state.items()}, self.folder / "kohya.safetensors")
        self.add("kohya, by diffusers", "kohya.safetensors", found)
        pipe.unload_lora_weights()

    def former(self):
        """Names of diffusers before PEFT, which it still reads: the reference is its own reading of them."""
        pipe = self.pipe
        targets = [("unet", n) for n in unet_targets(pipe) if "attn" in n]
        targets += [("text", n) for n in text_targets(pipe) if "self_attn" in n]
        state = {}
        for (component, name), (down, up) in random_pairs(pipe, targets, seed=52, ranks=[2]).items():
            key = f"{dotted(component, name)}.{'lora' if component == 'unet' else 'lora_linear_layer'}"
            state |= {f"{key}.down.weight": down, f"{key}.up.weight": up}
        save_file(state, self.folder / "former.safetensors")
        pipe.load_lora_weights(self.folder, weight_name="former.safetensors")
        self.add("diffusers, former names", "former.safetensors", outputs(pipe.unet, pipe.text_encoder, self.given))
        pipe.unload_lora_weights()

    def peft(self, row, name, **options):
        """A folder each for UNet and text encoder."""
        pipe = self.pipe
        text_options = {key: options[key] for key in ("use_rslora", "use_dora") if key in options}
        configs = {
            "unet": lora(**options),
            "text_encoder": lora(r=2, lora_alpha=3, target_modules=["q_proj", "fc1"], **text_options),
        }
        models = {part: get_peft_model(getattr(pipe, part), config) for part, config in configs.items()}
        for part, model in models.items():
            shrink(model)
            with torch.no_grad():
                for key, parameter in model.named_parameters():
                    if "magnitude" in key:
                        parameter.mul_(1 + 0.2 * torch.randn(parameter.shape))
            model.save_pretrained(self.folder / name / part)
        found = outputs(models["unet"], models["text_encoder"], self.given)
        self.add(row, name, found)
        for part, model in models.items():
            setattr(pipe, part, model.unload())
