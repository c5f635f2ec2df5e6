"""Goldens of checkpoints: UNets of other structures than SD 1.5's, and the names in single-file checkpoints.

Needs the model folder that images.py writes. Writes crates/engine/tests/goldens/checkpoints/:

- `unet-*/config.json` with `unets.safetensors`: the weights (float16, under `<unet>.weight.…`), inputs and outputs
  of UNets as small distilled models and others of the family have them.
- `ldm.json`: for SD 1.5's structure and for the small pipeline, the name in a single-file checkpoint of every
  tensor. Written from the structure of the original code, and accepted only if diffusers' own conversion
  (`convert_ldm_unet_checkpoint`, `convert_ldm_vae_checkpoint`, `from_single_file`) maps it back to the same tensors.
- `predictions.safetensors`: what the small pipeline gives when its scheduler says v_prediction or sample.

    python tools/goldens/checkpoints.py
"""

import json
import shutil
import tempfile
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.loaders.single_file_utils import (
    convert_ldm_clip_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
)
from safetensors.torch import save_file
from tiny import OUT, randomise
from transformers import CLIPTextConfig, CLIPTextModel

FOLDER = OUT / "checkpoints"

COMMON = dict(norm_num_groups=4, cross_attention_dim=12, sample_size=8)
UNETS = {
    # BK-SDM and small-sd: one layer per block, nothing in the middle, attention on every level.
    "unet-no-mid": dict(
        block_out_channels=(8, 16),
        down_block_types=("CrossAttnDownBlock2D",) * 2,
        up_block_types=("CrossAttnUpBlock2D",) * 2,
        layers_per_block=1,
        mid_block_type=None,
        attention_head_dim=4,
    ),
    # As many layers, heads and transformer layers as each level wants, text of a width of its own for each.
    "unet-lists": dict(
        block_out_channels=(8, 8, 12),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=[2, 1, 1],
        attention_head_dim=[2, 4, 3],
        transformer_layers_per_block=[1, 1, 2],
        only_cross_attention=[True, False, True],
        use_linear_projection=True,
    ),
    # One level, one residual block in the middle.
    "unet-plain-mid": dict(
        block_out_channels=(8,),
        down_block_types=("CrossAttnDownBlock2D",),
        up_block_types=("CrossAttnUpBlock2D",),
        layers_per_block=1,
        mid_block_type="UNetMidBlock2D",
        attention_head_dim=2,
        only_cross_attention=True,
        act_fn="gelu",
        conv_in_kernel=1,
        time_embedding_dim=20,
    ),
}


@torch.no_grad()
def unets():
    tensors = {}
    generator = torch.Generator("cpu").manual_seed(21)
    for name, sizes in UNETS.items():
        model = randomise(UNet2DConditionModel(**sizes, **COMMON), seed=8).half().float().eval()
        (FOLDER / name).mkdir()
        model.save_config(FOLDER / name)
        x = torch.randn((2, 4, 6, 10), generator=generator)
        context = torch.randn((2, 5, COMMON["cross_attention_dim"]), generator=generator)
        out = model(x, 321, context).sample
        spread = out.std().item()
        assert torch.isfinite(out).all() and 0.05 < spread < 20, f"{name} has a spread of {spread}"
        changed = (out - model(x, 321, context.flip(0)).sample).abs().max()
        assert changed > 0.05, "the text has no effect"
        tensors |= {f"{name}.x": x, f"{name}.context": context, f"{name}.out": out}
        tensors |= {f"{name}.weight.{key}": value.half() for key, value in model.state_dict().items()}
        print(f"{name}: {sum(p.numel() for p in model.parameters())} parameters, spread {spread:.3f}")
    save_file({key: value.contiguous() for key, value in tensors.items()}, FOLDER / "unets.safetensors")


RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}


def unet_names(config):
    """From module prefixes of diffusers to those of openaimodel.UNetModel, counted as its constructor does."""
    names = {
        "conv_in": "input_blocks.0.0",
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "conv_norm_out": "out.0",
        "conv_out": "out.2",
        "mid_block.attentions.0": "middle_block.1",
    }

    def resnet(new, old):
        names.update({f"{new}.{a}": f"{old}.{b}" for a, b in RESNET.items()})

    resnet("mid_block.resnets.0", "middle_block.0")
    resnet("mid_block.resnets.1", "middle_block.2")
    layers, count = config["layers_per_block"], 0
    for level, kind in enumerate(config["down_block_types"]):
        for layer in range(layers):
            count += 1
            resnet(f"down_blocks.{level}.resnets.{layer}", f"input_blocks.{count}.0")
            if kind.startswith("CrossAttn"):
                names[f"down_blocks.{level}.attentions.{layer}"] = f"input_blocks.{count}.1"
        if level + 1 < len(config["down_block_types"]):
            count += 1
            names[f"down_blocks.{level}.downsamplers.0.conv"] = f"input_blocks.{count}.0.op"
    count = 0
    for level, kind in enumerate(config["up_block_types"]):
        for layer in range(layers + 1):
            parts = 1
            resnet(f"up_blocks.{level}.resnets.{layer}", f"output_blocks.{count}.0")
            if kind.startswith("CrossAttn"):
                names[f"up_blocks.{level}.attentions.{layer}"] = f"output_blocks.{count}.1"
                parts = 2
            if layer == layers and level + 1 < len(config["up_block_types"]):
                names[f"up_blocks.{level}.upsamplers.0.conv"] = f"output_blocks.{count}.{parts}.conv"
            count += 1
    return names


def vae_names(config):
    names = {"quant_conv": "quant_conv", "post_quant_conv": "post_quant_conv"}
    levels = len(config["block_out_channels"])
    for side in ("encoder", "decoder"):
        names |= {f"{side}.conv_in": f"{side}.conv_in", f"{side}.conv_out": f"{side}.conv_out"}
        names[f"{side}.conv_norm_out"] = f"{side}.norm_out"
        attention = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
        for new, old in attention.items():
            names[f"{side}.mid_block.attentions.0.{new}"] = f"{side}.mid.attn_1.{old}"
        blocks = {f"{side}.mid_block.resnets.{i}": f"{side}.mid.block_{i + 1}" for i in range(2)}
        for level in range(levels):
            for layer in range(config["layers_per_block"] + (side == "decoder")):
                if side == "encoder":
                    blocks[f"encoder.down_blocks.{level}.resnets.{layer}"] = f"encoder.down.{level}.block.{layer}"
                else:
                    new = f"decoder.up_blocks.{levels - 1 - level}.resnets.{layer}"
                    blocks[new] = f"decoder.up.{level}.block.{layer}"
            names[f"encoder.down_blocks.{level}.downsamplers.0.conv"] = f"encoder.down.{level}.downsample.conv"
            new = f"decoder.up_blocks.{levels - 1 - level}.upsamplers.0.conv"
            names[new] = f"decoder.up.{level}.upsample.conv"
        for new, old in blocks.items():
            for part in ("norm1", "conv1", "norm2", "conv2"):
                names[f"{new}.{part}"] = f"{old}.{part}"
            names[f"{new}.conv_shortcut"] = f"{old}.nin_shortcut"
    return names


def renamed(keys, names, prefix):
    """diffusers' key → the name in the file, by the longest module prefix."""
    out = {}
    for key in keys:
        found = [module for module in names if key.startswith(f"{module}.")]
        module = max(found, key=len)
        out[key] = prefix + names[module] + key[len(module) :]
    assert len(set(out.values())) == len(out), "two tensors of one name"
    return out


def ldm_names(unet, vae, text):
    maps = {
        "unet": renamed(unet.state_dict(), unet_names(unet.config), "model.diffusion_model."),
        "vae": renamed(vae.state_dict(), vae_names(vae.config), "first_stage_model."),
    }
    # transformers names its modules with or without text_model; the file always has it.
    keys = [key.removeprefix("text_model.") for key in text.state_dict() if not key.endswith("position_ids")]
    prefix = "cond_stage_model.transformer.text_model."
    maps["text_encoder"] = {f"text_model.{key}": prefix + key for key in keys}

    # Every tensor stands for itself in this check: one number, different for each name.
    state, marks = {}, {}
    for part, names in maps.items():
        for key, name in names.items():
            marks[part, key] = len(state)
            state[name] = torch.tensor([len(state)])
    back = {
        "unet": convert_ldm_unet_checkpoint(state, unet.config),
        "vae": convert_ldm_vae_checkpoint(state, vae.config),
        "text_encoder": convert_ldm_clip_checkpoint(state),
    }
    for part, converted in back.items():
        found = {key.removeprefix("text_model."): value.flatten()[0].item() for key, value in converted.items()}
        wanted = {key.removeprefix("text_model."): marks[part, key] for key in maps[part]}
        assert found == wanted, f"diffusers maps {part} otherwise"
    return maps


def single_files():
    with torch.device("meta"):
        unet = UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8, sample_size=64)
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
        )
        text = CLIPTextModel(CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_attention_heads=12))
    names = {"sd15": ldm_names(unet, vae, text)}
    print(f"SD 1.5: {[len(part) for part in names['sd15'].values()]} tensors")

    pipe = StableDiffusionPipeline.from_pretrained(OUT / "pipeline", safety_checker=None)
    names["pipeline"] = ldm_names(pipe.unet, pipe.vae, pipe.text_encoder)
    state = {}
    for part, model in (("unet", pipe.unet), ("vae", pipe.vae), ("text_encoder", pipe.text_encoder)):
        own = {f"text_model.{k.removeprefix('text_model.')}" if part == "text_encoder" else k: v
               for k, v in model.state_dict().items()}
        for key, name in names["pipeline"][part].items():
            tensor = own[key]
            if part == "vae" and ".attentions." in key and tensor.dim() == 2:
                tensor = tensor[:, :, None, None]
            state[name] = tensor.contiguous()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_file(state, path)
        loaded = StableDiffusionPipeline.from_single_file(path, config=str(OUT / "pipeline"), safety_checker=None)
    for part in ("unet", "vae", "text_encoder"):
        ours, theirs = getattr(pipe, part).state_dict(), getattr(loaded, part).state_dict()
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours), part
    print("from_single_file gives back the small pipeline, bit for bit")
    (FOLDER / "ldm.json").write_text(json.dumps(names, separators=(",", ":")))


@torch.no_grad()
def predictions():
    """DDIM, three steps, with what the UNet gives taken for v or for the sample."""
    pipe = StableDiffusionPipeline.from_pretrained(OUT / "pipeline", safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    tensors = {}
    for kind in ("epsilon", "v_prediction", "sample"):
        pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, prediction_type=kind)
        generator = torch.Generator("cpu").manual_seed(5)
        latents = pipe(
            "red flower", num_inference_steps=3, guidance_scale=3.0, height=64, width=64, generator=generator,
            output_type="latent",
        ).images
        assert torch.isfinite(latents).all()
        tensors[kind] = latents
        print(f"{kind}: spread {latents.std().item():.3f}")
    save_file(tensors, FOLDER / "predictions.safetensors")


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    unets()
    single_files()
    predictions()
    for path in FOLDER.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


if __name__ == "__main__":
    main()
