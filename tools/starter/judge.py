"""Trains the small CLIP until it can judge images: python judge.py --minutes 60

`clip.py` leaves an image tower that hardly tells motifs apart, because captions of one batch differ in their colours, and
these are enough to match them. Here each image is compared with captions that differ from its own in one word alone: every
motif, every colour, every ground, every layout. Two more heads, thrown away afterwards, ask the mean of all tokens the
same questions, so that each place of the image learns what it shows. `--pieces` is the share of images that are pieces of
adire, captioned as white motifs on blue: a judge must be able to name what dyeing has changed, as the large CLIPs can. A
last head asks the projected features whether an image is one, so that they do not lose the difference.

The text tower stays as it is, byte for byte, because the denoiser depends on it. What is trained: the image tower, both
projections and the logit scale. Starts from `clip.pt`, continues from `judge.pt`, writes both and `judge.jsonl`; with
`--export` the exported model's `clip/`, too.
"""

import argparse
import copy
import dataclasses
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

import clip
import data
import draw_adire
from common import WORK, Log, load, save
from folder import write_clip
from parts import contrast, disturb

WORDINGS = 2  # captions of each spec whose text states are computed once
PIECES = 5077  # seed of the pieces of adire; other ones than adapters are trained on and tested with
LAYOUTS = [(layout, scale) for layout in ("grid", "brick", "striped") for scale in data.SCALES] + [("medallion", "large")]
FINISHES = ("plain", "framed")
MOTIFS, COLOURS = list(data.MOTIFS), list(data.COLOURS)
# One axis for each thing that a caption names, and how much its comparison counts.
AXES = {"motif": (len(MOTIFS), 2.0), "colour": (len(COLOURS), 1.0), "ground": (len(COLOURS), 1.0),
        "layout": (len(LAYOUTS), 0.5), "finish": (len(FINISHES), 0.25)}  # fmt: skip
SHAPE = tuple(size for size, _ in AXES.values())


def place(spec: data.Spec) -> tuple[int, ...]:
    """Where a spec stands in the table of all specs."""
    return (MOTIFS.index(spec.motif), COLOURS.index(spec.colour), COLOURS.index(spec.ground),
            LAYOUTS.index((spec.layout, spec.scale)), FINISHES.index(spec.finish))  # fmt: skip


def spec_at(at) -> data.Spec:
    layout, scale = LAYOUTS[at[3]]
    return data.Spec(MOTIFS[at[0]], COLOURS[at[1]], COLOURS[at[2]], layout, scale, FINISHES[at[4]])


@torch.no_grad()
def text_states(model) -> torch.Tensor:
    """The text tower's pooled state of every caption: [*SHAPE, WORDINGS, width]. Colour on the same colour stays zero."""
    stored = load("judge-texts.pt")
    if stored is not None:
        return stored["states"].float()
    rng = np.random.default_rng(21)
    states = torch.zeros(*SHAPE, WORDINGS, clip.TEXT_WIDTH)
    places = [at for at in np.ndindex(*SHAPE) if at[1] != at[2]]
    for start in range(0, len(places), 128):
        part = places[start : start + 128]
        for wording in range(WORDINGS):
            texts = [data.describe(spec_at(at), rng, complete=True) for at in part]
            ids = clip.tokenizer.encode(texts)
            ids = ids[:, : int((ids != ids[0, -1]).sum(1).max()) + 1]
            for at, state in zip(part, model.text_model(ids).pooler_output):
                states[(*at, wording)] = state
    save("judge-texts.pt", states=states.half())
    return states


def shrink(image: np.ndarray) -> torch.Tensor:
    """uint8 [256, 256, 3] -> uint8 [3, 64, 64], as the exported preprocessor resizes."""
    small = Image.fromarray(image).resize((clip.IMAGE, clip.IMAGE), Image.BICUBIC)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1)


def drawn(seed: int, pieces: float):
    """Yields (image, place of its caption, whether it is a piece of adire)."""
    rng, plain = np.random.default_rng(PIECES + seed), data.training_set(10**9, seed)
    for spec, image, _ in plain:
        if rng.random() >= pieces:
            yield shrink(image), place(spec), 0
            continue
        spec = data.random_spec(rng)
        dyed = dataclasses.replace(spec, colour="white", ground="blue", finish="plain")
        yield shrink(draw_adire.adire(spec, rng)), place(dyed), 1


class HeldOut:
    """Drawn images of the held-out specs, from seeds of their own, and the captions to choose from."""

    def __init__(self, states: torch.Tensor, draws: int = 2, seed: int = 990):
        rng = np.random.default_rng(seed)
        specs = [spec for spec in data.held_out() for _ in range(draws)]
        self.images = torch.stack([shrink(data.draw(spec, rng)) for spec in specs]).float() / 127.5 - 1
        self.at = torch.tensor([place(spec) for spec in specs])
        self.states = states
        rng = np.random.default_rng(seed + 1)
        dyed = [dataclasses.replace(spec, colour="white", ground="blue", finish="plain") for spec in specs]
        self.pieces = torch.stack([shrink(draw_adire.adire(spec, rng)) for spec in specs]).float() / 127.5 - 1
        self.pieces_at = torch.tensor([place(spec) for spec in dyed])

    @torch.no_grad()
    def __call__(self, model) -> dict:
        """How often the right word wins when only that word is exchanged."""
        features = clip.image_features(model, self.images)
        wording = torch.zeros(len(self.at), dtype=torch.long)
        out = {}
        for axis, name in enumerate(AXES):
            logits = compare(model, features, self.states, self.at, wording, axis)
            out[name] = (logits.argmax(1) == self.at[:, axis]).float().mean().item()
        logits = compare(model, clip.image_features(model, self.pieces), self.states, self.pieces_at, wording, 0)
        out["motif_of_pieces"] = (logits.argmax(1) == self.pieces_at[:, 0]).float().mean().item()
        return out


def compare(model, features, states, at, wording, axis: int) -> torch.Tensor:
    """Cosines of images [n, d] to the captions that differ from their own along one axis: [n, options]."""
    options = SHAPE[axis]
    index = [at[:, i, None].expand(-1, options) for i in range(len(SHAPE))]
    index[axis] = torch.arange(options).expand(len(at), -1)
    chosen = states[(*index, wording[:, None].expand(-1, options))]
    texts = F.normalize(model.text_projection(chosen), dim=-1)
    cosines = torch.einsum("nd,nod->no", features, texts)
    # Colour and ground differ in every image, so one on itself is not an option.
    return cosines.masked_fill(index[1] == index[2], -1e4)


def train(minutes: float, batch: int, peak: float, pieces: float):
    rng, log = np.random.default_rng(22), Log("judge")
    torch.manual_seed(2)
    model = clip.build()
    model.load_state_dict((load("judge.pt") or load("clip.pt"))["clip"])
    model.text_model.requires_grad_(False)
    states = text_states(model)
    held_out = HeldOut(states)
    asks = torch.nn.ModuleList(torch.nn.ModuleList(torch.nn.Linear(clip.IMAGE_WIDTH, n) for n in SHAPE) for _ in range(2))
    is_piece = torch.nn.Linear(clip.SHARED, 2)
    seen = 0
    if (stored := load("judge.pt")) is not None:
        asks.load_state_dict(stored["asks"])
        seen = stored["seen"]
    parameters = [*(p for p in model.parameters() if p.requires_grad), *asks.parameters(), *is_piece.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=peak, betas=(0.9, 0.98), weight_decay=0.02)
    average = copy.deepcopy(model)
    log(start=True, **held_out(model.eval()))
    model.train()
    source, stock = drawn(23 + seen, pieces), []
    right, since = 0.0, 0
    for step in clip.clock(minutes, peak, optimizer):
        # Images are drawn as they are needed, and used a few times.
        for _ in range(batch // 4 if len(stock) >= 8 * batch else batch):
            stock.append(next(source))
        chosen = [stock[i] for i in rng.choice(len(stock), batch, replace=False)]
        at = torch.tensor([at for _, at, _ in chosen])
        dyed = torch.tensor([piece for _, _, piece in chosen])
        x = disturb(torch.stack([image for image, _, _ in chosen]).float() / 127.5 - 1)
        tower = model.vision_model(x)
        features = F.normalize(model.visual_projection(tower.pooler_output), dim=-1)
        scale = model.logit_scale.exp().clamp(max=100)
        wording = torch.from_numpy(rng.integers(0, WORDINGS, batch))
        loss = 0.0
        for axis, (_, weight) in enumerate(AXES.values()):
            logits = compare(model, features, states, at, wording, axis)
            loss = loss + weight * F.cross_entropy(scale * logits, at[:, axis])
            for ask, pooled in zip(asks, (tower.pooler_output, tower.last_hidden_state[:, 1:].mean(1))):
                loss = loss + 0.5 * weight * F.cross_entropy(ask[axis](pooled), at[:, axis])
            if axis == 0:
                right, since = right + (logits.argmax(1) == at[:, 0]).float().mean().item(), since + 1
        own = F.normalize(model.text_projection(states[(*at.T, wording)]), dim=-1)
        apart, _ = contrast(features, own, clip.same_specs(at), scale)
        loss = loss + 0.5 * apart + 0.5 * F.cross_entropy(is_piece(5 * features), dyed)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        seen += batch
        with torch.no_grad():
            for kept, new in zip(average.parameters(), model.parameters()):
                kept.lerp_(new, max(0.003, 1 / (step + 1)))
        if step % 100 == 99:
            log(seen=seen, loss=loss.item(), motif_in_training=right / since, rate=optimizer.param_groups[0]["lr"])
            right, since = 0.0, 0
        if step % 250 == 249:
            log(seen=seen, held_out=True, **held_out(average.eval()))
            save("judge.pt", clip=average.state_dict(), asks=asks.state_dict(), seen=seen)
    log(seen=seen, final=True, **held_out(average.eval()))
    save("judge.pt", clip=average.state_dict(), asks=asks.state_dict(), seen=seen)


def finish(folder: Path | None):
    """Replaces `clip.pt`, and the exported model's `clip/`, after a look at the text tower."""
    model, before = clip.build(), clip.trained()
    model.load_state_dict(load("judge.pt")["clip"])
    for name, weight in model.text_model.state_dict().items():
        assert torch.equal(weight, before.text_model.state_dict()[name]), f"{name} of the text tower has changed"
    save("clip.pt", clip=model.state_dict())
    if folder is not None:
        write_clip(folder, model, WORK / "tokenizer")


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("--minutes", type=float, default=60)
    options.add_argument("--batch", type=int, default=32)
    options.add_argument("--rate", type=float, default=1e-3)
    options.add_argument("--pieces", type=float, default=0.0, help="share of pieces of adire")
    options.add_argument("--export", type=Path, help="an exported model, such as ../../models/starter")
    options = options.parse_args()
    if options.minutes > 0:
        train(options.minutes, options.batch, options.rate, options.pieces)
    finish(options.export)
