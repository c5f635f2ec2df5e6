"""Goldens of the tokenizer, the text encoder, the UNet and the autoencoder.

Writes small model folders and expected tensors under crates/engine/tests/goldens/.

    python tools/goldens/modules.py
"""

import json
import shutil

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from tiny import OUT, prompts, randomise, text_encoder, write_tokenizer

torch.manual_seed(0)
torch.use_deterministic_algorithms(True)

UNETS = {
    # Stable Diffusion 1.5's structure, on a size that halves evenly.
    "unet-sd15": (
        dict(
            block_out_channels=(16, 32),
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            layers_per_block=2,
            attention_head_dim=4,
            cross_attention_dim=24,
            norm_num_groups=4,
            sample_size=8,
        ),
        (8, 12),
    ),
    # Linear projections, heads per block, several transformer layers, other order of blocks, odd size at
    # every level, sine first, a shift.
    "unet-variant": (
        dict(
            block_out_channels=(8, 16, 24),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            layers_per_block=1,
            attention_head_dim=[1, 4, 3],
            transformer_layers_per_block=[1, 2, 1],
            cross_attention_dim=20,
            norm_num_groups=8,
            norm_eps=1e-3,
            use_linear_projection=True,
            flip_sin_to_cos=False,
            freq_shift=1,
            sample_size=9,
        ),
        (9, 13),
    ),
}

VAES = {
    "vae-sd15": dict(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=2,
        norm_num_groups=4,
        latent_channels=4,
    ),
    "vae-bare": dict(
        block_out_channels=(8, 8, 16),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        norm_num_groups=2,
        latent_channels=6,
        scaling_factor=0.5,
        use_quant_conv=False,
        use_post_quant_conv=False,
        mid_block_add_attention=False,
    ),
}


def fresh(name):
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def check(name, tensor):
    """A golden that is flat, huge or not finite would compare well with anything."""
    spread = tensor.std().item()
    assert torch.isfinite(tensor).all() and 0.05 < spread < 20, f"{name} has a spread of {spread}"
    print(f"{name}: {tuple(tensor.shape)}, spread {spread:.3f}")
    return tensor.contiguous()


def tokenizers():
    texts = prompts()
    out = {}
    for name, options in {
        "tokenizer": {},
        # Letters that no entry covers, and SD 2's padding.
        "tokenizer-gaps": {"without": "qzÂ", "pad_token": "!"},
    }.items():
        tokenizer = write_tokenizer(fresh(name), **options)
        ids = tokenizer(texts, padding="max_length", max_length=77, truncation=True).input_ids
        counts = [len(tokenizer(t, add_special_tokens=False).input_ids) for t in texts]
        out[name] = {"ids": ids, "counts": counts}
    out["prompts"] = texts
    (OUT / "tokens.json").write_text(json.dumps(out, ensure_ascii=False, separators=(",", ":")))
    print(f"tokens: {len(texts)} prompts, {sum(c > 75 for c in out['tokenizer']['counts'])} of them too long")


@torch.no_grad()
def main():
    tokenizers()
    tensors = {}
    generator = torch.Generator("cpu").manual_seed(11)
    ids = torch.randint(0, 100, (2, 77), generator=generator)
    for name, changes in {"text-quick-gelu": {}, "text-gelu": {"hidden_act": "gelu", "num_attention_heads": 2}}.items():
        model = text_encoder(100, seed=3, **changes)
        model.save_pretrained(fresh(name))
        tensors["text.ids"] = ids
        tensors[f"{name}.out"] = check(name, model(ids).last_hidden_state)
    for name, (sizes, (height, width)) in UNETS.items():
        model = randomise(UNet2DConditionModel(**sizes), seed=5)
        model.save_pretrained(fresh(name))
        x = torch.randn((2, 4, height, width), generator=generator)
        context = torch.randn((2, 7, sizes["cross_attention_dim"]), generator=generator)
        tensors |= {f"{name}.x": x, f"{name}.context": context}
        for timestep in (0, 7, 481, 999):
            tensors[f"{name}.out.{timestep}"] = check(f"{name} at {timestep}", model(x, timestep, context).sample)
        mixed = model(x, torch.tensor([3, 700]), context).sample
        tensors[f"{name}.out.mixed"] = check(f"{name} at 3 and 700", mixed)
        differs = (tensors[f"{name}.out.481"] - model(x, 481, context.flip(0)).sample).abs().max()
        assert differs > 0.05, "the text has no effect"
    for name, sizes in VAES.items():
        model = randomise(AutoencoderKL(**sizes), seed=6)
        model.save_pretrained(fresh(name))
        z = torch.randn((2, sizes["latent_channels"], 6, 5), generator=generator)
        factor = 2 ** (len(sizes["block_out_channels"]) - 1)
        images = torch.rand((2, 3, 6 * factor, 5 * factor), generator=generator) * 2 - 1
        posterior = model.encode(images).latent_dist
        tensors |= {
            f"{name}.z": z,
            f"{name}.decoded": check(f"{name} decoded", model.decode(z / model.config.scaling_factor).sample),
            f"{name}.pictures": images,
            f"{name}.mean": check(f"{name} mean", posterior.mean),
            f"{name}.logvar": check(f"{name} logvar", posterior.logvar),
        }
    save_file(tensors, OUT / "modules.safetensors")


if __name__ == "__main__":
    main()
