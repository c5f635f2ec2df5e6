"""Goldens of decoding and encoding in tiles, with the small autoencoders of modules.py.

    python tools/goldens/tiles.py
"""

import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file
from tiny import OUT

SIDE = 32  # of a tile, in pixels


@torch.no_grad()
def main():
    tensors, generator = {}, torch.Generator("cpu").manual_seed(21)
    for name in ("vae-sd15", "vae-bare"):
        vae = AutoencoderKL.from_pretrained(OUT / name)
        factor = 2 ** (len(vae.config.block_out_channels) - 1)
        vae.enable_tiling()
        vae.tile_sample_min_size, vae.tile_latent_min_size = SIDE, SIDE // factor
        # Several tiles each way, the last ones cut short.
        height, width = 70 // factor, 45 // factor
        z = torch.randn((1, vae.config.latent_channels, height, width), generator=generator)
        images = torch.rand((1, 3, height * factor, width * factor), generator=generator) * 2 - 1
        decoded = vae.decode(z / vae.config.scaling_factor).sample
        posterior = vae.encode(images).latent_dist
        vae.disable_tiling()
        whole = vae.decode(z / vae.config.scaling_factor).sample
        assert whole.shape == decoded.shape and (whole - decoded).abs().max() > 1e-3, "no tiles were made"
        tensors |= {
            f"{name}.z": z,
            f"{name}.pictures": images,
            f"{name}.decoded": decoded.contiguous(),
            f"{name}.mean": posterior.mean.contiguous(),
            f"{name}.logvar": posterior.logvar.contiguous(),
        }
        print(f"{name}: {tuple(z.shape)} in tiles of {SIDE // factor}")
    save_file(tensors, OUT / "tiles.safetensors")


main()
