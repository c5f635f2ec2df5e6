"""Random weights in the shapes of Stable Diffusion 1.5, as a model folder in Hugging Face layout with two adapters.

    python3 weights.py OUT --tokenizer DIR [--shape sd15|tiny] [--dtype f16|f32] [--seed N]

No such model draws anything; it computes as much as a trained one. Needs torch and nothing else, so that it runs
where diffusers is not installed. The names and shapes are those of diffusers' UNet2DConditionModel and AutoencoderKL
and of transformers' CLIPTextModel.
"""

import argparse
import json
import math
import pathlib
import shutil
import struct

import torch

# widths of UNet, layers, heads, groups; context width, text layers, text heads; widths of the autoencoder
SHAPES = {
    "sd15": dict(unet=[320, 640, 1280, 1280], layers=2, heads=8, groups=32, text=768, text_layers=12, text_heads=12,
                 vae=[128, 256, 512, 512], vae_layers=2, native=64, vocabulary=49408),
    "tiny": dict(unet=[16, 32], layers=1, heads=4, groups=4, text=32, text_layers=2, text_heads=4,
                 vae=[8, 16, 16], vae_layers=1, native=16, vocabulary=0),
}
RANK = 16


def conv(name, i, o, kernel=3):
    return [(f"{name}.weight", (o, i, kernel, kernel)), (f"{name}.bias", (o,))]


def linear(name, i, o, bias=True):
    return [(f"{name}.weight", (o, i))] + ([(f"{name}.bias", (o,))] if bias else [])


def norm(name, width):
    return [(f"{name}.weight", (width,)), (f"{name}.bias", (width,))]


def resnet(name, i, o, time=None):
    out = norm(f"{name}.norm1", i) + conv(f"{name}.conv1", i, o)
    out += linear(f"{name}.time_emb_proj", time, o) if time else []
    out += norm(f"{name}.norm2", o) + conv(f"{name}.conv2", o, o)
    return out + (conv(f"{name}.conv_shortcut", i, o, 1) if i != o else [])


def transformer(name, width, context):
    block = f"{name}.transformer_blocks.0"
    out = norm(f"{name}.norm", width) + conv(f"{name}.proj_in", width, width, 1)
    for attention, read in (("attn1", width), ("attn2", context)):
        out += linear(f"{block}.{attention}.to_q", width, width, False)
        out += linear(f"{block}.{attention}.to_k", read, width, False)
        out += linear(f"{block}.{attention}.to_v", read, width, False)
        out += linear(f"{block}.{attention}.to_out.0", width, width)
    for i in (1, 2, 3):
        out += norm(f"{block}.norm{i}", width)
    out += linear(f"{block}.ff.net.0.proj", width, 8 * width) + linear(f"{block}.ff.net.2", 4 * width, width)
    return out + conv(f"{name}.proj_out", width, width, 1)


def unet(s):
    widths, layers, context = s["unet"], s["layers"], s["text"]
    time, last = 4 * widths[0], len(widths) - 1
    # As in SD 1.5 the deepest level has no attention; a model of two levels has it everywhere.
    attends = [i < last or last < 2 for i in range(len(widths))]
    out = conv("conv_in", 4, widths[0])
    out += linear("time_embedding.linear_1", widths[0], time) + linear("time_embedding.linear_2", time, time)
    skips, width = [widths[0]], widths[0]
    for i, o in enumerate(widths):
        block = f"down_blocks.{i}"
        for j in range(layers):
            out += resnet(f"{block}.resnets.{j}", width, o, time)
            out += transformer(f"{block}.attentions.{j}", o, context) if attends[i] else []
            width = o
            skips.append(o)
        if i < last:
            out += conv(f"{block}.downsamplers.0.conv", o, o)
            skips.append(o)
    out += resnet("mid_block.resnets.0", width, width, time) + transformer("mid_block.attentions.0", width, context)
    out += resnet("mid_block.resnets.1", width, width, time)
    for i, o in enumerate(reversed(widths)):
        block = f"up_blocks.{i}"
        for j in range(layers + 1):
            out += resnet(f"{block}.resnets.{j}", width + skips.pop(), o, time)
            out += transformer(f"{block}.attentions.{j}", o, context) if attends[last - i] else []
            width = o
        out += conv(f"{block}.upsamplers.0.conv", o, o) if i < last else []
    return out + norm("conv_norm_out", widths[0]) + conv("conv_out", widths[0], 4)


def vae(s):
    widths, layers = s["vae"], s["vae_layers"]
    deepest, last = widths[-1], len(widths) - 1

    def mid(name):
        attention = f"{name}.attentions.0"
        out = resnet(f"{name}.resnets.0", deepest, deepest) + norm(f"{attention}.group_norm", deepest)
        for part in ("to_q", "to_k", "to_v", "to_out.0"):
            out += linear(f"{attention}.{part}", deepest, deepest)
        return out + resnet(f"{name}.resnets.1", deepest, deepest)

    out, width = conv("encoder.conv_in", 3, widths[0]), widths[0]
    for i, o in enumerate(widths):
        for j in range(layers):
            out += resnet(f"encoder.down_blocks.{i}.resnets.{j}", width, o)
            width = o
        out += conv(f"encoder.down_blocks.{i}.downsamplers.0.conv", o, o) if i < last else []
    out += mid("encoder.mid_block") + norm("encoder.conv_norm_out", width) + conv("encoder.conv_out", width, 8)
    out += conv("decoder.conv_in", 4, deepest) + mid("decoder.mid_block")
    for i, o in enumerate(reversed(widths)):
        for j in range(layers + 1):
            out += resnet(f"decoder.up_blocks.{i}.resnets.{j}", width, o)
            width = o
        out += conv(f"decoder.up_blocks.{i}.upsamplers.0.conv", o, o) if i < last else []
    out += norm("decoder.conv_norm_out", width) + conv("decoder.conv_out", width, 3)
    return out + conv("quant_conv", 8, 8, 1) + conv("post_quant_conv", 4, 4, 1)


def text(s, vocabulary):
    width, out = s["text"], []
    out.append(("text_model.embeddings.token_embedding.weight", (vocabulary, width)))
    out.append(("text_model.embeddings.position_embedding.weight", (77, width)))
    for i in range(s["text_layers"]):
        layer = f"text_model.encoder.layers.{i}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            out += linear(f"{layer}.self_attn.{part}", width, width)
        out += norm(f"{layer}.layer_norm1", width) + norm(f"{layer}.layer_norm2", width)
        out += linear(f"{layer}.mlp.fc1", width, 4 * width) + linear(f"{layer}.mlp.fc2", 4 * width, width)
    return out + norm("text_model.final_layer_norm", width)


def adapter(unet_names):
    """A LoRA of every attention's projections, under diffusers' names."""
    out = []
    for name, shape in unet_names:
        stem = name.removesuffix(".weight")
        if ".attn" in name and name.endswith(".weight"):
            out.append((f"unet.{stem}.lora_A.weight", (RANK, shape[1])))
            out.append((f"unet.{stem}.lora_B.weight", (shape[0], RANK)))
    return out


def draw(name, shape, generator):
    """Numbers that keep the size of what passes through about the same."""
    if len(shape) == 1:
        around = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        return around + 0.05 * torch.randn(shape, generator=generator)
    inputs = 1 if "embedding.weight" in name else math.prod(shape[1:])
    spread = {"token_embedding.weight": 0.5, "position_embedding.weight": 0.1}.get(name.split(".")[-2] + ".weight")
    return (spread or 0.7 / math.sqrt(inputs)) * torch.randn(shape, generator=generator)


def write(path, tensors, dtype, generator):
    """A safetensors file, one tensor after the other: nothing is in memory twice."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size, letters = (2, "F16") if dtype == torch.float16 else (4, "F32")
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in tensors:
        begin, end = end, end + size * math.prod(shape)
        header[name] = {"dtype": letters, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in tensors:
            file.write(draw(name, shape, generator).to(dtype).numpy().tobytes())


def settle(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("out", type=pathlib.Path)
    arguments.add_argument("--tokenizer", type=pathlib.Path, required=True)
    arguments.add_argument("--shape", choices=SHAPES, default="sd15")
    arguments.add_argument("--dtype", choices=["f16", "f32"], default="f16")
    arguments.add_argument("--seed", type=int, default=0)
    given = arguments.parse_args()
    s, out = SHAPES[given.shape], given.out
    dtype = torch.float16 if given.dtype == "f16" else torch.float32
    generator = torch.Generator().manual_seed(given.seed)
    words = json.loads((given.tokenizer / "vocab.json").read_text())
    vocabulary = max(s["vocabulary"], len(words))
    levels = len(s["unet"])
    cross = [i < levels - 1 or levels < 3 for i in range(levels)]

    settle(out / "model_index.json", {
        "_class_name": "StableDiffusionPipeline",
        "feature_extractor": [None, None], "image_encoder": [None, None], "safety_checker": [None, None],
        "requires_safety_checker": False,
        "scheduler": ["diffusers", "DDIMScheduler"], "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"], "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    })
    settle(out / "scheduler/scheduler_config.json", {
        "_class_name": "DDIMScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
        "clip_sample": False, "num_train_timesteps": 1000, "prediction_type": "epsilon", "set_alpha_to_one": False,
        "steps_offset": 1, "timestep_spacing": "leading",
    })
    settle(out / "text_encoder/config.json", {
        "architectures": ["CLIPTextModel"], "model_type": "clip_text_model", "hidden_act": "quick_gelu",
        "hidden_size": s["text"], "intermediate_size": 4 * s["text"], "num_attention_heads": s["text_heads"],
        "num_hidden_layers": s["text_layers"], "max_position_embeddings": 77, "projection_dim": s["text"],
        "layer_norm_eps": 1e-5, "vocab_size": vocabulary, "bos_token_id": words["<|startoftext|>"],
        "eos_token_id": words["<|endoftext|>"], "pad_token_id": words["<|endoftext|>"],
    })
    settle(out / "unet/config.json", {
        "_class_name": "UNet2DConditionModel", "act_fn": "silu", "attention_head_dim": s["heads"],
        "block_out_channels": s["unet"], "cross_attention_dim": s["text"], "center_input_sample": False,
        "down_block_types": ["CrossAttnDownBlock2D" if c else "DownBlock2D" for c in cross],
        "up_block_types": ["CrossAttnUpBlock2D" if c else "UpBlock2D" for c in reversed(cross)],
        "downsample_padding": 1, "flip_sin_to_cos": True, "freq_shift": 0, "in_channels": 4, "out_channels": 4,
        "layers_per_block": s["layers"], "mid_block_scale_factor": 1, "norm_eps": 1e-5,
        "norm_num_groups": s["groups"], "sample_size": s["native"],
    })
    settle(out / "vae/config.json", {
        "_class_name": "AutoencoderKL", "act_fn": "silu", "block_out_channels": s["vae"],
        "down_block_types": ["DownEncoderBlock2D"] * len(s["vae"]),
        "up_block_types": ["UpDecoderBlock2D"] * len(s["vae"]), "in_channels": 3, "out_channels": 3,
        "latent_channels": 4, "layers_per_block": s["vae_layers"], "norm_num_groups": s["groups"],
        "sample_size": s["native"] * 2 ** (len(s["vae"]) - 1), "scaling_factor": 0.18215,
    })
    shutil.copytree(given.tokenizer, out / "tokenizer", dirs_exist_ok=True)
    parts = unet(s)
    write(out / "text_encoder/model.safetensors", text(s, vocabulary), dtype, generator)
    write(out / "unet/diffusion_pytorch_model.safetensors", parts, dtype, generator)
    write(out / "vae/diffusion_pytorch_model.safetensors", vae(s), dtype, generator)
    for name in ("a", "b"):
        write(out / f"lora-{name}.safetensors", adapter(parts), dtype, generator)


if __name__ == "__main__":
    main()
