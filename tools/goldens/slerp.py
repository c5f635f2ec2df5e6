"""A1111's slerp of two noises (modules/rng.py) in float64: what `crates/engine/src/noise/slerp.rs` computes."""

import json
from pathlib import Path

import numpy as np

OUT = Path(__file__).resolve().parents[2] / "crates/engine/tests/goldens/slerp.json"

CHANNELS, HEIGHT, WIDTH = 4, 8, 6


def slerp(share, low, high):
    """As A1111 has it for one image of shape (channels, height, width): vectors along dimension 1."""
    low_norm = low / np.linalg.norm(low, axis=1, keepdims=True)
    high_norm = high / np.linalg.norm(high, axis=1, keepdims=True)
    dot = (low_norm * high_norm).sum(1)
    if dot.mean() > 0.9995:
        return low * share + high * (1 - share)
    omega = np.arccos(dot)
    so = np.sin(omega)
    return (np.sin((1.0 - share) * omega) / so)[:, None] * low + (np.sin(share * omega) / so)[:, None] * high


def main():
    generator = np.random.default_rng(7)
    low, high = (generator.standard_normal((CHANNELS, HEIGHT, WIDTH)).astype(np.float32) for _ in range(2))
    near = (low + np.float32(0.001) * high).astype(np.float32)
    cases = [(0.1, high), (0.35, high), (0.9, high), (0.35, near)]
    golden = {
        "shape": [1, CHANNELS, HEIGHT, WIDTH],
        "low": low.ravel().tolist(),
        "cases": [
            {
                "share": share,
                "high": other.ravel().tolist(),
                "mixed": slerp(share, low.astype(np.float64), other.astype(np.float64)).ravel().tolist(),
            }
            for share, other in cases
        ],
    }
    OUT.write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
