"""Fills an empty work folder from an exported model, so that training can go on from it on another machine:
python restore.py ../../models/starter

The weights come back in half precision and without the optimizer's state, which is soon found again. The pool and
the latents are not in the export: `image_pool.py` and `latents.py` recreate the same ones.
"""

import argparse
import shutil
from pathlib import Path

from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPModel

from common import WORK, save


def restore(model: Path):
    shutil.copytree(model / "tokenizer", WORK / "tokenizer", dirs_exist_ok=True)
    save("vae-final.pt", vae=AutoencoderKL.from_pretrained(model / "vae").float().state_dict())
    save("clip.pt", clip=CLIPModel.from_pretrained(model / "clip").float().state_dict())
    unet = UNet2DConditionModel.from_pretrained(model / "unet").float().state_dict()
    save("unet.pt", unet=unet, average={k: v.clone() for k, v in unet.items()}, average_updates=0, seen=0)


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("model", type=Path)
    restore(options.parse_args().model)
