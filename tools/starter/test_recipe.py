"""Checks what the training of the cloth's recipe stands on: python -m unittest test_recipe"""

import os
import tempfile
import unittest
from pathlib import Path

import numpy as np
import torch

os.environ.setdefault("ADIRE_STARTER_WORK", tempfile.mkdtemp())  # the tokenizer is learnt here

from cloth import fast, judge, labels, latents, pack, pool, spec, stage, unet, vae, words  # noqa: E402
from common import WORK, load, save  # noqa: E402
from parts import whiten  # noqa: E402


class Pool(unittest.TestCase):
    def test_a_chunk_depends_on_its_seed_and_number_alone(self):
        one, two = Path(tempfile.mkdtemp()), Path(tempfile.mkdtemp())
        pool.fill(2 * pool.CHUNK, 5, 2, one, {"256x256": 1.0})
        pool.arrays(two, "256x256", 2 * pool.CHUNK)
        pool.draw_chunk((two, "256x256", 1, 5))
        part = pool.Pool("256x256", torch.device("cpu"), two)
        self.assertEqual((len(part), part.whole), (pool.CHUNK, False))
        whole = pool.Pool("256x256", torch.device("cpu"), one)
        self.assertEqual((len(whole), whole.whole), (2 * pool.CHUNK, True))
        for name in ("images", "tokens", "altered", "labels"):
            self.assertTrue(torch.equal(part.held[name], whole.held[name][pool.CHUNK :]), name)
        # What was missing comes with the next look.
        pool.draw_chunk((two, "256x256", 0, 5))
        part.refresh()
        self.assertEqual((len(part), part.whole), (2 * pool.CHUNK, True))
        crops = whole.crops(6, 64)
        self.assertEqual(crops.shape, (6, 3, 64, 64))
        self.assertTrue(-1 <= crops.min() < crops.max() <= 1)

    def test_altered_captions_differ_in_one_thing(self):
        rng = np.random.default_rng(2)
        for one, _ in zip(spec.training_specs(rng), range(500)):
            asked = np.array(labels.answers(one))
            for i, other in enumerate(labels.altered(one, rng)):
                changed = [name for name, a, b in zip(labels.QUESTIONS, asked, labels.answers(other)) if a != b]
                self.assertIn(("motif", "colour", "ground", "colour", "layout")[i], changed, (one, other))
                self.assertNotEqual(other.colour, other.ground)
                self.assertNotEqual(other.motif, other.second)
                self.assertTrue(words.describe(other, rng, complete=True))


class Counter(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.count = torch.nn.Parameter(torch.zeros(()))


class Stages(unittest.TestCase):
    def test_a_stopped_stage_goes_on_and_a_finished_one_is_over(self):
        clock = iter(range(10**6))
        real, stage.CLOCK = stage.CLOCK, lambda: float(next(clock))
        self.addCleanup(setattr, stage, "CLOCK", real)
        kept = Counter()
        first = stage.Stage("trial", 10 / 60, every=-1, kept=kept)  # ten ticks, saved at each
        done = []
        for share in first.steps():
            done.append(share)
            kept.count.data += 1
            if len(done) == 5:
                break  # as when killed: the fifth step was not saved
        second = stage.Stage("trial", 10 / 60, every=-1, kept=(again := Counter()))
        self.assertEqual((second.step, again.count.item()), (4, 4))
        more = list(second.steps())
        self.assertTrue(done[-1] <= more[0] < more[-1] < 1 and second.over)
        self.assertEqual(second.step, 10)
        self.assertTrue(stage.Stage("trial", 10 / 60, kept=Counter()).over)

    def test_an_overflow_leaves_the_weights_alone(self):
        weight = torch.nn.Parameter(torch.ones(2))
        optimizer = stage.adamw([weight])
        optimizer.param_groups[0]["lr"] = 0.1
        stage.descend((weight * torch.tensor([float("inf"), 1.0])).sum(), optimizer, [weight])
        self.assertEqual(weight.tolist(), [1.0, 1.0])
        stage.descend(weight.sum(), optimizer, [weight])
        self.assertTrue((weight < 1).all())

    def test_the_rate_warms_up_stays_and_falls(self):
        optimizer = stage.adamw([torch.nn.Parameter(torch.zeros(1))])
        one, rates = stage.Stage("rates", 1.0), []
        for one.step, done in ((0, 0.0), (200, 0.1), (200, 0.39), (200, 0.7), (200, 1.0)):
            one.rate(optimizer, 1e-3, done, flat=0.4)
            rates.append(optimizer.param_groups[0]["lr"])
        self.assertLess(rates[0], 2e-5)
        self.assertAlmostEqual(rates[1], 1e-3, places=6)
        self.assertAlmostEqual(rates[2], 1e-3, places=6)
        self.assertAlmostEqual(rates[3], 5e-4, places=5)
        self.assertLess(rates[4], 1e-6)


class Parts(unittest.TestCase):
    def test_whitened_latents_have_unit_covariance_and_decode_to_the_same(self):
        torch.manual_seed(3)
        model = vae.build()
        x = torch.rand(4, 3, 64, 64) * 2 - 1
        with torch.no_grad():
            before = model.decode(vae.mean_of(model, x)).sample
            whiten(model, vae.mean_of(model, x), vae.NOISE)
            mean = vae.mean_of(model, x)
            after = model.decode(mean).sample
        self.assertLess((before - after).abs().max().item(), 1e-3)
        flat = mean.permute(1, 0, 2, 3).reshape(4, -1) * 0.18215
        self.assertLess((flat.cov() - torch.eye(4)).abs().max().item(), 1e-2)
        self.assertLess(flat.mean(1).abs().max().item(), 1e-3)

    def test_the_consistency_function_leaves_clean_latents_alone(self):
        skip, out = fast.boundary(torch.tensor([0, 999]))
        self.assertEqual((skip[0].item(), out[0].item()), (1.0, 0.0))
        self.assertLess(skip[1].item(), 1e-6)
        z, noise = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
        alpha = unet.alphas().cpu()[[10, 900]]
        self.assertLess((fast.clean(unet.noised(z, noise, alpha), noise, alpha) - z).abs().max().item(), 1e-4)

    def test_one_batch_in_five_has_another_shape(self):
        kinds = [unet.a_kind(step) for step in range(20)]
        self.assertEqual({kind: kinds.count(kind) for kind in pool.KINDS}, {"256x256": 16, "384x256": 2, "256x384": 2})
        self.assertEqual(set(latents.KINDS), set(kinds))


class SecondJudge(unittest.TestCase):
    def test_right_answers_find_each_held_out_spec(self):
        specs = spec.held_out()
        wanted = torch.tensor([labels.answers(one) for one in specs])
        answered = {
            name: torch.nn.functional.one_hot(wanted[:, i], len(options)).float().mul(9).log_softmax(1)
            for i, (name, options) in enumerate(labels.QUESTIONS.items())
        }
        self.assertEqual(judge.match(answered, specs).argmax(1).tolist(), list(range(100)))

    def test_it_answers_every_question(self):
        images = np.random.default_rng(1).integers(0, 255, (3, 256, 384, 3)).astype(np.uint8)
        answered = judge.judged(judge.build().eval(), images)
        self.assertEqual({name: list(part.shape) for name, part in answered.items()},
                         {name: [3, len(options)] for name, options in labels.QUESTIONS.items()})  # fmt: skip


class Packing(unittest.TestCase):
    def test_what_is_packed_comes_back_in_small_files(self):
        torch.manual_seed(4)
        big = {f"layer.{i}": torch.randn(1024, 1024) for i in range(20)} | {"steps": torch.tensor(7)}
        save("cloth-unet-final.pt", unet=big)
        out = Path(tempfile.mkdtemp())
        pack.pack(out)
        files = sorted(out.glob("unet-*.safetensors"))
        self.assertGreater(len(files), 2)
        self.assertLess(max(file.stat().st_size for file in files), 16 << 20)
        (WORK / "cloth-unet-final.pt").unlink()
        pack.unpack(out)
        back = load("cloth-unet-final.pt")["unet"]
        self.assertEqual(set(back), set(big))
        self.assertEqual(back["steps"].item(), 7)
        self.assertTrue(all(torch.equal(back[key], big[key].half().float()) for key in big if key != "steps"))
        (WORK / "cloth-unet-final.pt").unlink()


if __name__ == "__main__":
    unittest.main()
