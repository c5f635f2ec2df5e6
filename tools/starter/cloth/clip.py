"""Trains a small CLIP on the drawn cloth, both towers at once: python -m cloth.clip --minutes 60

An image is compared with the captions of its batch, and with captions that differ from its own in one thing (`labels.altered`):
without these, colours alone would do. Linear heads, thrown away afterwards, ask both towers what the cloth shows. The text tower
becomes the text encoder of the starter model; so it has to be finished before the denoiser begins.
"""

import argparse

import torch
import torch.nn.functional as F
from transformers import CLIPConfig, CLIPModel

import bpe
from common import load, save
from parts import contrast, disturb

from . import tokens
from .labels import ALTERED, QUESTIONS
from .pool import WORDINGS, Pool, to_float
from .stage import DEVICE, Stage, adamw, averaged, descend, half

IMAGE = 128
TEXT_WIDTH, IMAGE_WIDTH, SHARED = 192, 192, 192


def build() -> CLIPModel:
    size = len(tokens.tokenizer())
    marks = dict(bos_token_id=size - 2, eos_token_id=size - 1, pad_token_id=size - 1)
    text = dict(
        vocab_size=size, hidden_size=TEXT_WIDTH, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4,
        max_position_embeddings=bpe.LENGTH, projection_dim=SHARED, hidden_act="quick_gelu", **marks,
    )  # fmt: skip
    vision = dict(
        image_size=IMAGE, patch_size=8, hidden_size=IMAGE_WIDTH, intermediate_size=512, num_hidden_layers=5,
        num_attention_heads=4, projection_dim=SHARED, hidden_act="quick_gelu",
    )  # fmt: skip
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=SHARED))


class Heads(torch.nn.ModuleList):
    """One linear answer to each question."""

    def __init__(self, width: int):
        super().__init__(torch.nn.Linear(width, len(options)) for options in QUESTIONS.values())

    def loss(self, states: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return sum(F.cross_entropy(head(states), wanted[:, i]) for i, head in enumerate(self)) / len(self)


def shrunk(images: torch.Tensor) -> torch.Tensor:
    """uint8 [n, 256, 256, 3] -> [n, 3, 128, 128] in -1..1."""
    return F.avg_pool2d(to_float(images), images.shape[1] // IMAGE)


def pooled_text(model: CLIPModel, ids: torch.Tensor) -> torch.Tensor:
    # What follows the first end mark cannot influence the pooled state: the attention is causal.
    longest = int((ids != ids[0, -1]).sum(1).max()) + 1
    return model.text_model(ids[:, :longest].long()).pooler_output


def train(minutes: float, batch: int, peak: float):
    torch.manual_seed(0)
    model, ask_text, ask_image = build().to(DEVICE), Heads(TEXT_WIDTH).to(DEVICE), Heads(IMAGE_WIDTH).to(DEVICE)
    average = averaged(model, 0.998)
    parameters = [*model.parameters(), *ask_text.parameters(), *ask_image.parameters()]
    optimizer = adamw(parameters, betas=(0.9, 0.98), weight_decay=0.02)
    stage = Stage("cloth-clip", minutes, model=model, average=average, ask_text=ask_text, ask_image=ask_image, optimizer=optimizer)
    if stage.over:
        return
    pool = Pool("256x256", DEVICE)
    seen = torch.zeros(4, device=DEVICE)
    for done in stage.steps():
        stage.rate(optimizer, peak, done)
        chosen = torch.randperm(len(pool), device=DEVICE)[:batch]
        count, rows = len(chosen), torch.arange(len(chosen), device=DEVICE)
        wanted = pool.labels[chosen].long()
        wording = torch.randint(0, WORDINGS, (count,), device=DEVICE)
        complete = wording // 2 * 2  # these leave nothing unsaid, as altered captions do
        other = torch.randint(0, ALTERED, (count,), device=DEVICE)
        texts = torch.cat([
            pool.tokens[chosen, wording], pool.tokens[chosen, complete],
            pool.altered[chosen, other], pool.altered[chosen, (other + 1) % ALTERED],
        ])  # fmt: skip
        x = disturb(shrunk(pool.images[chosen]))
        with half():
            state = model.vision_model(x).pooler_output
            text = pooled_text(model, texts)
            place = F.normalize(model.visual_projection(state).float(), dim=-1)
            captions = F.normalize(model.text_projection(text).float(), dim=-1)
            asked = ask_image.loss(state, wanted) + ask_text.loss(text[count : 2 * count], wanted)
        scale = model.logit_scale.exp().clamp(max=100)
        same = (wanted[:, None] == wanted[None]).all(-1).float()
        apart, _ = contrast(place, captions[:count], same, scale)
        choices = (place[None] * captions[count:].view(3, count, -1)).sum(-1).T * scale
        own_wins = F.cross_entropy(choices, torch.zeros_like(rows))
        descend(asked + 0.5 * apart + own_wins, optimizer, parameters)
        average.update_parameters(model)
        right = (choices.argmax(1) == 0).float().mean()
        motif = (ask_image[0](state.float()).argmax(1) == wanted[:, 0]).float().mean()
        seen += torch.stack([asked.detach().float(), apart.detach(), right, motif])
        if stage.step % 100 == 99:
            asked, apart, right, motif = (seen / 100).tolist()
            stage.log(step=stage.step + 1, done=done, asked=asked, contrast=apart, own_caption=right, motif=motif, images=len(pool))
            seen.zero_()
            if not pool.whole:
                pool.refresh()
    save("cloth-clip-final.pt", clip=average.module.state_dict())


def trained() -> CLIPModel:
    model = build()
    model.load_state_dict(load("cloth-clip-final.pt")["clip"])
    return model.eval().requires_grad_(False)


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("--minutes", type=float, default=60)
    options.add_argument("--batch", type=int, default=512 if DEVICE.type == "cuda" else 32)
    options.add_argument("--rate", type=float, default=1e-3)
    options = options.parse_args()
    train(options.minutes, options.batch, options.rate)
