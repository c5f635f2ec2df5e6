"""Metrics on random features, by torchmetrics' formula, torch-fidelity's code, SciPy, and NumPy in float64; and the statistics of paired
scores, by SciPy."""

import json
import pathlib

import numpy as np
import torch
from scipy import stats
from scipy.special import betaln
from torch_fidelity.metric_kid import kernel_mmd

CRATES = pathlib.Path(__file__).parents[2] / "crates"
METRICS = CRATES / "engine/tests/goldens/metrics.json"
STATISTICS = CRATES / "studio/tests/statistics.json"


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def clip_score(images, texts):
    # torchmetrics.functional.multimodal.clip_score: 100 * cosine of normalised features, before the mean is clamped.
    images, texts = torch.from_numpy(images), torch.from_numpy(texts)
    score = 100 * torch.nn.functional.cosine_similarity(images, texts, dim=-1)
    return (score.clamp(min=0) / 40).tolist()


def cmmd(x, y, biased):
    # google-research/cmmd, distance.py, in float64; unbiased: without the diagonals.
    x, y = unit(x), unit(y)
    gamma = 1 / (2 * 10**2)
    kernel = lambda a, b: np.exp(-gamma * ((a[:, None] - b[None]) ** 2).sum(-1))
    if biased:
        return 1000 * (kernel(x, x).mean() + kernel(y, y).mean() - 2 * kernel(x, y).mean())
    within = lambda a: (kernel(a, a).sum() - len(a)) / (len(a) * (len(a) - 1))
    return 1000 * (within(x) + within(y) - 2 * kernel(x, y).mean())


def margins(images, held_out, base, own):
    centre = base.mean(0)
    images, held_out, base = unit(images - centre), unit(held_out - centre), unit(base - centre)
    to_base = images @ base.T
    if own:
        np.fill_diagonal(to_base, np.nan)
    return ((images @ held_out.T).mean(1) - np.nanmean(to_base, axis=1)).tolist()


def goal(held_out, base):
    centre = base.mean(0)
    held_out, base = unit(held_out - centre), unit(base - centre)
    to_others = held_out @ held_out.T
    np.fill_diagonal(to_others, np.nan)
    return float((np.nanmean(to_others, axis=1) - (held_out @ base.T).mean(1)).mean())


def approach(generated, base, own, training):
    def nearness(rows):
        cosines = unit(rows) @ unit(training).T
        at = np.arange(len(rows)), own[: len(rows)]
        return cosines[at] - (cosines.sum(1) - cosines[at]) / (len(training) - 1)

    start = nearness(base)
    return np.stack([nearness(generated) - start, nearness(training[own]) - start], 1).tolist()


def data_copying(generated, held_out, training):
    distance = lambda a: (1 - unit(a) @ unit(training).T).min(1)
    a, b = distance(generated), distance(held_out)
    u = stats.mannwhitneyu(a, b, use_continuity=False, method="asymptotic")
    n = len(a) * len(b)
    ranks = stats.rankdata(np.concatenate([a, b]))
    _, counts = np.unique(ranks, return_counts=True)
    total = len(ranks)
    sd = np.sqrt(n / 12 * (total + 1 - (counts**3 - counts).sum() / (total * (total - 1))))
    z = (u.statistic - n / 2) / sd
    assert np.isclose(2 * stats.norm.sf(abs(z)), u.pvalue)
    return {"z": z, "auc": u.statistic / n}


def main():
    rng = np.random.default_rng(5)
    draw = lambda n, d, shift=0.0: (rng.standard_normal((n, d)) + shift).astype(np.float32).astype(np.float64)
    images, texts = draw(7, 16), draw(7, 16)
    texts[0] = images[0] * 3
    texts[1] = -images[1]
    base, held_out, styled = draw(9, 16, 0.3), draw(6, 16, -0.4), draw(9, 16, -0.3)
    x, y = draw(20, 24), draw(20, 24, 0.1)
    training = draw(11, 16)
    copies = (training[:8] + 0.2 * draw(8, 16)).astype(np.float32).astype(np.float64)
    unseen = draw(10, 16)
    unseen[9] = unseen[8]
    differences = rng.normal(0.02, 0.05, 9)
    votes = [(0, 0), (1, 1), (7, 9), (12, 12), (60, 100), (5, 40)]
    golden = {
        "features": {
            name: value.tolist()
            for name, value in dict(
                images=images, texts=texts, base=base, held_out=held_out, styled=styled, x=x, y=y,
                training=training, copies=copies, unseen=unseen,
            ).items()
        },
        "clip_score": clip_score(images, texts),
        "cmmd": cmmd(x, y, biased=False),
        "cmmd_biased": cmmd(x, y, biased=True),
        "kid": float(
            kernel_mmd(x, y, kid_kernel="poly", kid_kernel_poly_degree=3, kid_kernel_poly_gamma=None, kid_kernel_poly_coef0=1)
        ),
        "margins": margins(styled, held_out, base, own=False),
        "base_margins": margins(base, held_out, base, own=True),
        "goal": goal(held_out, base),
        "diversity": float(np.mean([1 - unit(a) @ unit(b) for i, a in enumerate(x) for b in x[:i]])),
        "approach": approach(copies, unseen[:8], np.arange(8), training),
        "data_copying": {"copies": data_copying(copies, unseen, training), "unseen": data_copying(unseen[:5], unseen[5:], training)},
    }
    golden["auc"] = stats.mannwhitneyu(golden["margins"], golden["base_margins"]).statistic / 81
    METRICS.write_text(json.dumps(golden))
    statistics = {
        "differences": differences.tolist(),
        "t_interval": [differences.mean(), *stats.t.interval(0.9, 8, differences.mean(), stats.sem(differences))],
        "sign_flip": stats.permutation_test(
            (differences,), np.mean, permutation_type="samples", alternative="greater", n_resamples=np.inf
        ).pvalue,
        "votes": [
            [w, n, n * np.log(2) + float(betaln(1 + w, 1 + n - w))]
            for w, n in votes
        ],
    }
    STATISTICS.write_text(json.dumps(statistics))


if __name__ == "__main__":
    main()
