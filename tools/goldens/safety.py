"""Goldens of the safety checker: diffusers' StableDiffusionSafetyChecker on a small random CLIP, images of many sizes.

Writes crates/engine/tests/goldens/safety/: safety_checker/ and feature_extractor/ as in a model folder, and images with
what Pillow, transformers and diffusers make of them.

    python tools/goldens/safety.py
"""

import json
import shutil

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker, cosine_distance
from PIL import Image
from safetensors.torch import save_file
from tiny import OUT, randomise
from transformers import CLIPConfig
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

FOLDER = OUT / "safety"
SIDE = 28
# Smaller than the tower's images, larger, flat, tall, and exactly as large.
SIZES = [(64, 48), (100, 37), (20, 31), (28, 28), (9, 90), (65, 64), (30, 29), (128, 96), (56, 56), (33, 70)]


def checker():
    vision = dict(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, image_size=SIDE, patch_size=7
    )
    text = dict(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, vocab_size=8)
    config = CLIPConfig(vision_config=vision, text_config=text, projection_dim=12)
    model = randomise(StableDiffusionSafetyChecker(config), seed=71)
    # randomise sees the concepts as weights of a layer; they are directions.
    generator = torch.Generator("cpu").manual_seed(72)
    for embeds in (model.concept_embeds, model.special_care_embeds):
        embeds.data = torch.randn(embeds.shape, generator=generator)
    return model


def images():
    """Coarse noise enlarged, so that images differ as a whole."""
    source = np.random.default_rng(75)
    for width, height in SIZES:
        coarse = source.integers(0, 256, (5, 5, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((width, height), Image.Resampling.NEAREST)
        fine = source.integers(-40, 41, (height, width, 3))
        yield (np.asarray(image).astype(int) + fine).clip(0, 255).astype(np.uint8)


@torch.no_grad()
def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    model = checker()
    processor = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    taken = list(images())
    pixels = torch.cat([processor(Image.fromarray(p), return_tensors="pt").pixel_values for p in taken])
    embeds = model.visual_projection(model.vision_model(pixels)[1])
    special, concepts = (
        cosine_distance(embeds, vectors).numpy() for vectors in (model.special_care_embeds, model.concept_embeds)
    )
    # One concept is found in some images; the others just not, but for those that want special care.
    model.special_care_embeds_weights.data = torch.from_numpy(np.quantile(special, 0.75, axis=0)).float()
    thresholds = concepts.max(axis=0) + 0.005
    thresholds[0] = np.quantile(concepts[:, 0], 0.85)
    model.concept_embeds_weights.data = torch.from_numpy(thresholds).float()
    _, flagged = model(clip_input=pixels, images=[p.astype(np.float32) for p in taken])

    tensors, verdicts = {}, []
    plain = 0
    for i, image in enumerate(taken):
        adjustment, scores = 0.0, {"special": [], "concepts": []}
        for kind, cosines, weights in (
            ("special", special, model.special_care_embeds_weights),
            ("concepts", concepts, model.concept_embeds_weights),
        ):
            for cosine, weight in zip(cosines[i], weights):
                exact = cosine - weight.item() + adjustment
                assert abs(abs(exact * 1000) % 1 - 0.5) > 3e-4, f"{exact} is too near to where rounding turns"
                scores[kind].append(float(round(exact, 3)))
                if kind == "special" and scores[kind][-1] > 0:
                    adjustment = 0.01
        assert flagged[i] == any(score > 0 for score in scores["concepts"]), "the formula is another one"
        plain += any(round(c - w.item(), 3) > 0 for c, w in zip(concepts[i], model.concept_embeds_weights))
        verdicts.append({"flagged": flagged[i], **scores})
        tensors |= {f"{i}.picture": torch.from_numpy(image), f"{i}.pixels": pixels[i : i + 1].contiguous()}
    print(f"{sum(flagged)} of {len(taken)} flagged, {plain} of them without special care")
    assert plain < sum(flagged) < len(taken)
    model.save_pretrained(FOLDER / "safety_checker")
    processor.save_pretrained(FOLDER / "feature_extractor")
    save_file(tensors, FOLDER / "images.safetensors", {"verdicts": json.dumps(verdicts)})


if __name__ == "__main__":
    main()
