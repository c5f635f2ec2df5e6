"""Trains a small CLIP on the drawn textiles, in two parts: `python clip.py text`, `python clip.py image`.

The text tower comes first and becomes the text encoder of the starter model. It learns to answer what motif,
colours, layout, scale and finish a caption names (linear heads, thrown away afterwards), and to put two
wordings of one textile at the same place. The image tower is then trained against the frozen text tower with
CLIP's contrastive loss, and asked the same questions; the whole is kept for scoring. This order lets the
denoiser's training begin before there is an image tower, and each part alone learns faster than both at once.
"""

import argparse
import math
import time

import numpy as np
import torch
import torch.nn.functional as F
from transformers import CLIPConfig, CLIPModel

import data
import tokenizer
from common import Log, load, save
from parts import contrast

IMAGE = 64
# What the heads name, with the words for each.
QUESTIONS = {
    "motif": list(data.MOTIFS),
    "colour": list(data.COLOURS),
    "ground": list(data.COLOURS),
    "layout": list(data.LAYOUTS),
    "scale": list(data.SCALES),
    "finish": list(data.FINISHES),
}
TEXT_WIDTH, IMAGE_WIDTH, SHARED = 192, 128, 128


def build() -> CLIPModel:
    begin, end = len(tokenizer.TOKENIZER) - 2, len(tokenizer.TOKENIZER) - 1
    marks = dict(bos_token_id=begin, eos_token_id=end, pad_token_id=end)
    text = dict(
        vocab_size=len(tokenizer.TOKENIZER), hidden_size=TEXT_WIDTH, intermediate_size=512, num_hidden_layers=3,
        num_attention_heads=4, max_position_embeddings=tokenizer.LENGTH, projection_dim=SHARED,
        hidden_act="quick_gelu", **marks,
    )  # fmt: skip
    vision = dict(
        image_size=IMAGE, patch_size=8, hidden_size=IMAGE_WIDTH, intermediate_size=384, num_hidden_layers=4,
        num_attention_heads=4, projection_dim=SHARED, hidden_act="quick_gelu",
    )  # fmt: skip
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=SHARED))


def heads(width: int):
    return torch.nn.ModuleList(torch.nn.Linear(width, len(options)) for options in QUESTIONS.values())


def head_loss(heads, states: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    return sum(F.cross_entropy(head(states), wanted[:, i]) for i, head in enumerate(heads)) / len(heads)


def shrink(images: np.ndarray) -> torch.Tensor:
    """uint8 [n, 256, 256, 3] -> [n, 3, 64, 64] in -1..1, by area."""
    x = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
    return F.avg_pool2d(x, data.SIZE // IMAGE)


def answers(specs) -> torch.Tensor:
    return torch.tensor([[options.index(getattr(s, q)) for q, options in QUESTIONS.items()] for s in specs])


def text_features(model: CLIPModel, texts: list[str]) -> torch.Tensor:
    ids = tokenizer.encode(texts)
    # What follows the first end mark cannot influence the pooled state: the attention is causal.
    ids = ids[:, : int((ids != ids[0, -1]).sum(1).max()) + 1]
    return F.normalize(model.text_projection(model.text_model(ids).pooler_output), dim=-1)


def image_features(model: CLIPModel, x: torch.Tensor) -> torch.Tensor:
    return F.normalize(model.visual_projection(model.vision_model(x).pooler_output), dim=-1)


def same_specs(wanted: torch.Tensor) -> torch.Tensor:
    """Two rows of one batch can share a spec; either is then right."""
    return (wanted[:, None] == wanted[None]).all(-1).float()


def clock(minutes: float, peak: float, optimizer):
    """Yields step numbers until the time is up, the learning rate following the clock: warm-up, then cosine."""
    start, step = time.time(), 0
    while (done := (time.time() - start) / (60 * minutes)) < 1:
        optimizer.param_groups[0]["lr"] = peak * min(1, (step + 1) / 50) * (0.5 + 0.5 * math.cos(math.pi * done)) + 1e-6
        yield step
        step += 1


def train_text(minutes: float, batch: int, peak: float):
    rng, log = np.random.default_rng(3), Log("clip-text")
    torch.manual_seed(0)
    model, ask = build(), heads(TEXT_WIDTH)
    parameters = [*model.text_model.parameters(), *model.text_projection.parameters(), *ask.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=peak, betas=(0.9, 0.98), weight_decay=0.01)
    for step in clock(minutes, peak, optimizer):
        specs = [data.random_spec(rng) for _ in range(batch)]
        wanted = answers(specs)
        ids = tokenizer.encode([data.describe(s, rng) for s in specs] + [data.describe(s, rng, True) for s in specs])
        ids = ids[:, : int((ids != ids[0, -1]).sum(1).max()) + 1]
        pooled = model.text_model(ids).pooler_output
        place = F.normalize(model.text_projection(pooled), dim=-1)
        apart, top = contrast(place[:batch], place[batch:], same_specs(wanted), 10.0)
        loss = head_loss(ask, pooled, wanted.repeat(2, 1)) + 0.3 * apart
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if step % 50 == 49:
            motif = (ask[0](pooled).argmax(-1) == wanted[:, 0].repeat(2)).float().mean().item()
            log(step=step + 1, loss=loss.item(), contrast=apart.item(), motif=motif, top1=top)
    save("clip.pt", clip=model.state_dict())


def train_image(minutes: float, batch: int, peak: float, resume: bool):
    rng, log = np.random.default_rng(4), Log("clip-image")
    torch.manual_seed(1)
    model, ask = build(), heads(IMAGE_WIDTH)
    # The text tower must come from `train_text`: by now the denoiser depends on it.
    model.load_state_dict(load("clip.pt")["clip"])
    if resume and "ask" in load("clip.pt"):
        ask.load_state_dict(load("clip.pt")["ask"])
    model.text_model.requires_grad_(False)
    model.text_projection.requires_grad_(False)
    parameters = [*model.vision_model.parameters(), *model.visual_projection.parameters(), model.logit_scale, *ask.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=peak, betas=(0.9, 0.98), weight_decay=0.02)
    source, (images, specs) = data.training_set(10**9, seed=12 + resume), ([], [])
    for step in clock(minutes, peak, optimizer):
        # Images are drawn as they are needed, and used a few times.
        for _ in range(batch // 4 if len(specs) >= 4 * batch else batch):
            spec, image, _ = next(source)
            images.append(shrink(image[None]))
            specs.append(spec)
        chosen = rng.choice(len(specs), batch, replace=False)
        x = torch.cat([images[i] for i in chosen])
        # Generated images are softer and dirtier than drawn ones.
        if rng.random() < 0.25:
            x = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
        x = x + float(rng.uniform(0, 0.15)) * torch.randn_like(x)
        wanted = answers([specs[i] for i in chosen])
        pooled = model.vision_model(x).pooler_output
        with torch.no_grad():
            texts = text_features(model, [data.describe(specs[i], rng, complete=rng.random() < 0.7) for i in chosen])
        place = F.normalize(model.visual_projection(pooled), dim=-1)
        apart, top = contrast(place, texts, same_specs(wanted), model.logit_scale.exp().clamp(max=100))
        loss = head_loss(ask, pooled, wanted) + 0.5 * apart
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if step % 50 == 49:
            motif = (ask[0](pooled).argmax(-1) == wanted[:, 0]).float().mean().item()
            log(step=step + 1, loss=loss.item(), contrast=apart.item(), motif=motif, top1=top)
        if step % 200 == 199:
            save("clip.pt", clip=model.state_dict(), ask=ask.state_dict())
    save("clip.pt", clip=model.state_dict(), ask=ask.state_dict())
    log(final=True, held_out_top1=upper_bound(model.eval()))


@torch.no_grad()
def upper_bound(model: CLIPModel) -> float:
    """Retrieval of the held-out captions from drawn images: what generated ones can reach at best."""
    rng = np.random.default_rng(99)
    held = data.held_out()
    texts = text_features(model, [data.describe(s, rng, complete=True) for s in held])
    images = image_features(model, shrink(np.stack([data.draw(s, rng) for s in held])))
    return ((images @ texts.T).argmax(1) == torch.arange(len(held))).float().mean().item()


def trained() -> CLIPModel:
    model = build()
    model.load_state_dict(load("clip.pt")["clip"])
    return model.eval().requires_grad_(False)


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("tower", choices=("text", "image"))
    options.add_argument("--minutes", type=float, default=6)
    options.add_argument("--batch", type=int, default=64)
    options.add_argument("--rate", type=float, default=1.5e-3)
    options.add_argument("--resume", action="store_true", help="go on with the image tower in clip.pt")
    options = options.parse_args()
    if options.tower == "text":
        train_text(options.minutes, options.batch, options.rate)
    else:
        train_image(options.minutes, options.batch, options.rate, options.resume)
