"""Goldens of torch's noise on CUDA devices, without one.

Writes crates/engine/tests/goldens/philox.safetensors. A float64 model of what `torch.randn(size, device="cuda")` does,
written from the descriptions (Salmon et al. 2011 for Philox 4x32-10; ATen/native/cuda/DistributionTemplates.h for which
thread makes which number and how far the offset moves; cuRAND's curand_normal.h for Box-Muller), thread by thread and
with Python's integers, apart from the Rust code that it judges. The script refuses to write anything unless this model
gives Random123's known answers and the numbers of a real device that are known.

    python tools/goldens/philox.py
"""

import math
from pathlib import Path

import torch
from safetensors.torch import save_file

OUT = Path(__file__).resolve().parents[2] / "crates/engine/tests/goldens"
WORD = 2**32
MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
WEYL = 0x9E3779B9, 0xBB67AE85
BLOCK, UNROLL = 256, 4

# Random123's kat_vectors, philox4x32 with 10 rounds: counter, key, answer.
PI = [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], [0xA4093822, 0x299F31D0]
KNOWN_INTEGERS = [
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([WORD - 1] * 4, [WORD - 1] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (*PI, [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]),
]
# torch.manual_seed(0); torch.randn(12, device="cuda"), as printed in the usage note of A1111's rng_philox.py.
KNOWN_NOISE = [-0.92466259, -0.42534415, -2.6438457, 0.14518388, -0.12086647, -0.57972564]
KNOWN_NOISE += [-0.62285122, -0.32838709, -1.07454231, -0.36314407, -1.67105067, 2.26550497]


def philox(counter, key):
    for _ in range(10):
        first, second = counter[0] * MULTIPLIERS[0], counter[2] * MULTIPLIERS[1]
        counter = [
            (second // WORD) ^ counter[1] ^ key[0],
            second % WORD,
            (first // WORD) ^ counter[3] ^ key[1],
            first % WORD,
        ]
        key = [(k + w) % WORD for k, w in zip(key, WEYL)]
    return counter


def pair(x, y):
    u, v = (x + 0.5) / WORD, (y + 0.5) / WORD
    radius, angle = math.sqrt(-2 * math.log(u)), 2 * math.pi * v
    return radius * math.sin(angle), radius * math.cos(angle)


class Device:
    """A generator of a device with room for `threads` threads at a time; None: for any number."""

    def __init__(self, seed, threads=None):
        self.seed, self.threads, self.offset = seed, threads, 0

    def randn(self, size):
        blocks = -(-size // BLOCK)
        if self.threads is not None:
            blocks = min(blocks, self.threads // BLOCK)
        grid = blocks * BLOCK
        calls = (size - 1) // (grid * UNROLL) + 1
        numbers = [None] * size
        for thread in range(min(grid, size)):
            for call in range(calls):
                # The generator counts single integers; Philox makes four for each value of the counter.
                position = self.offset // 4 + call
                counter = [position % WORD, position // WORD, thread % WORD, thread // WORD]
                a, b, c, d = philox(counter, [self.seed % WORD, self.seed // WORD])
                for lane, value in enumerate([*pair(a, b), *pair(c, d)]):
                    index = call * grid * UNROLL + lane * grid + thread
                    if index < size:
                        numbers[index] = value
        self.offset += calls * 4
        assert None not in numbers
        return numbers


def main():
    for counter, key, answer in KNOWN_INTEGERS:
        assert philox(counter, key) == answer
    worst = max(abs(a - b) for a, b in zip(Device(0).randn(12), KNOWN_NOISE))
    assert worst < 1e-6, worst

    tensors = {}
    # Threads of the device (0: any number), and the sizes of consecutive calls.
    cases = [(seed, 0, [1, 36, 3, 256, 257, 1000]) for seed in [0, 1, 42, 2**32 - 1, 2**32 + 7, 2**53 - 1]]
    cases += [(42, 0, [4 * 32 * 32, 4 * 32 * 32])]
    cases += [(seed, 1024, [1024, 1025, 4 * 1024, 4 * 1024 + 1, 9001, 5]) for seed in [7, 2**40]]
    for seed, threads, sizes in cases:
        device = Device(seed, threads or None)
        for call, size in enumerate(sizes):
            values = torch.tensor(device.randn(size), dtype=torch.float64)
            tensors[f"{seed}/{threads}/{len(sizes)}/{call}"] = values.to(torch.float32)
    save_file(tensors, OUT / "philox.safetensors")


if __name__ == "__main__":
    main()
