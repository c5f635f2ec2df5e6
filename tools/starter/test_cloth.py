"""Checks the drawn cloth and its captions: python -m unittest test_cloth"""

import os
import tempfile
import unittest
from dataclasses import replace

import numpy as np

os.environ.setdefault("ADIRE_STARTER_WORK", tempfile.mkdtemp())  # the tokenizer is learnt here

from cloth import atlas, pieces, spec, tokens, words  # noqa: E402
from cloth.paint import draw  # noqa: E402
from cloth.spec import COLOURS, Spec  # noqa: E402

# Share of the paper that each motif inks, in thousandths.
INKED = {
    "circle": 461, "ring": 365, "star": 232, "cross": 358, "moon": 228, "heart": 384, "diamond": 213, "square": 489,
    "triangle": 309, "spiral": 255, "sun": 287, "osubamba": 251, "olokun": 419, "comb": 346, "drum": 240, "pot": 353,
    "crown": 376, "umbrella": 254, "eye": 221, "hand": 315, "leaf": 252, "flower": 395, "palm": 196, "pepper": 224,
    "fish": 291, "bird": 219, "butterfly": 401, "snake": 164, "tortoise": 316, "cowrie": 321, "lizard": 209,
}  # fmt: skip


def sets(count: int, seed: int):
    rng = np.random.default_rng(seed)
    return [(one, rng) for one, _ in zip(spec.training_specs(rng), range(count))]


class Motifs(unittest.TestCase):
    def test_each_inks_what_it_did(self):
        shares = {name: round(1000 * float((fields[0] < 0).mean())) for name, fields in atlas.fields().items()}
        self.assertEqual(set(shares), set(INKED))
        for name, share in shares.items():
            self.assertAlmostEqual(share, INKED[name], delta=3, msg=name)

    def test_no_two_are_alike(self):
        inside = {name: fields[0] < 0 for name, fields in atlas.fields().items()}
        for a in inside:
            for b in inside:
                if a < b:
                    both = (inside[a] & inside[b]).sum() / (inside[a] | inside[b]).sum()
                    self.assertLess(both, 0.87, f"{a} and {b}")


class Images(unittest.TestCase):
    def test_a_seed_decides_an_image(self):
        for (one, _), size in zip(sets(12, 4), spec.SIZES * 4):
            first, again, other = (draw(one, np.random.default_rng(seed), *size) for seed in (7, 7, 8))
            self.assertEqual(first.shape, (*size, 3))
            self.assertTrue((first == again).all(), one)
            self.assertFalse((first == other).all(), one)

    def test_colours_are_the_named_ones(self):
        """On every cloth and in every finish the motif and the ground are nearest to the colours of the caption."""
        rng, wrong, asked = np.random.default_rng(6), [], 0
        names = list(COLOURS)
        # A colour bleached by the sun is still that colour.
        palette = [(name, np.array(rgb) + (232 - np.array(rgb)) * sun) for name, rgb in COLOURS.items() for sun in (0, 0.2, 0.4)]
        for colour in names:
            for ground in names:
                if ground == colour:
                    continue
                cloth, finish = str(rng.choice(spec.CLOTHS)), str(rng.choice(spec.FINISHES))
                image = draw(Spec("circle", colour, ground, "medallion", cloth=cloth, finish=finish), rng)
                corner = np.concatenate([image[8:48, 8:48], image[208:248, 208:248]])
                for patch, wanted in ((image[96:160, 96:160], colour), (corner, ground)):
                    seen = np.median(patch.reshape(-1, 3), 0)
                    # Light changes how bright a colour is more than which it is.
                    axes = np.array([[0.3, 0.6, 0.1], [0.8, -0.8, 0.0], [0.4, 0.4, -0.8]])
                    near = min(palette, key=lambda one: ((axes @ (one[1] - seen)) ** 2).sum())[0]
                    asked += 1
                    if near != wanted:
                        wrong.append((wanted, near, finish))
        self.assertLess(len(wrong) / asked, 0.06, wrong)

    def test_each_layout_and_border_differs(self):
        plain = Spec("bird", "red", "white")
        variants = [replace(plain, layout=layout, count=3 if layout == "row" else 0) for layout in spec.LAYOUTS]
        variants += [replace(plain, border=border) for border in spec.BORDERS[1:]]
        variants += [replace(plain, detail=detail) for detail in spec.DETAILS[1:]]
        variants += [replace(plain, finish=finish) for finish in spec.FINISHES[1:]]
        variants += [replace(plain, second="star", second_colour="blue")]
        images = [draw(one, np.random.default_rng(3)).astype(int) for one in variants]
        for i, image in enumerate(images):
            for k in range(i):
                self.assertGreater(np.abs(image - images[k]).mean(), 2.0, (variants[i], variants[k]))

    def test_the_look_of_adire_is_left_to_adapters(self):
        for one, _ in sets(3000, 8):
            self.assertFalse(one.finish == "crackled" and "blue" in (one.colour, one.ground), one)


class Pieces(unittest.TestCase):
    def test_each_style_has_its_colours_and_its_trigger(self):
        for style, darker, lighter in (("adire", 0, 2), ("mud", 2, 0)):
            specs, images = pieces.pieces_of(style, 6, 1)
            again = pieces.pieces_of(style, 6, 1)[1]
            self.assertTrue((images == again).all())
            for one, image in zip(specs, images):
                mean = image.reshape(-1, 3).mean(0)
                self.assertGreater(mean[lighter] - mean[darker], 15, (style, one))
                self.assertGreater(np.percentile(image, 95) - np.percentile(image, 5), 120, (style, one))
                text = pieces.caption(one, style, np.random.default_rng(2))
                self.assertTrue(text.endswith(pieces.TRIGGERS[style]), text)
        self.assertNotEqual(*pieces.TRIGGERS.values())


class Captions(unittest.TestCase):
    def test_all_fit_the_text_encoder_in_few_tokens(self):
        texts = [words.describe(one, rng, i % 2 == 0) for i, (one, rng) in enumerate(sets(2000, 9))]
        lengths = [len(ids) for ids in tokens.tokenizer()(texts).input_ids]
        self.assertLess(max(lengths), 60)
        self.assertLess(np.mean([length / len(text.split()) for length, text in zip(lengths, texts)]), 1.6)

    def test_words_that_matter_are_single_tokens(self):
        for word in (*COLOURS, *atlas.MOTIFS, *atlas.MOTIFS.values(), "without", "two", "three", "four", "border"):
            self.assertEqual(len(tokens.tokenizer()(word).input_ids), 3, word)  # between the two marks

    def test_all_name_motif_and_colours(self):
        for one, rng in sets(1000, 10):
            text = words.describe(one, rng)
            stem = {"leaf": "lea", "butterfly": "butterfl", "flower": "", "tortoise": "t"}.get(one.motif, one.motif)
            self.assertIn(stem, text)
            self.assertIn(one.colour, text)
            self.assertIn(one.ground, text)
            self.assertEqual(text, " ".join(text.split()))
            if one.second:
                self.assertIn(one.second_colour, text)

    def test_what_is_absent_is_not_said_to_be_there(self):
        for one, rng in sets(3000, 11):
            text = words.describe(one, rng, complete=True)
            if "without a border" in text:
                self.assertEqual(one.border, "none", text)
            if "without dots" in text:
                self.assertNotEqual(one.detail, "dotted", text)
            if one.border != "none":
                self.assertTrue("border" in text or "band" in text, text)


class HeldOut(unittest.TestCase):
    def test_no_training_draws_them(self):
        held = spec.held_out()
        self.assertEqual(len({(one.motif, one.colour, one.ground, one.layout) for one in held}), 100)
        self.assertEqual({one.motif for one in held}, set(atlas.MOTIFS))
        self.assertTrue(all(spec.is_held_out(one) for one in held))
        self.assertFalse(any(spec.is_held_out(one) for one, _ in sets(5000, 12)))


if __name__ == "__main__":
    unittest.main()
