"""Clips of moving digits, asked for by class: how well paradigms draw them, and whether a reader knows the digits.

    python benchmarks/clips.py draw [--recipes diffusion autoregressive] [--budget 600s] [--size s/2] [--out RESULT.json]
    python benchmarks/clips.py judge RUN [--n 200] [--out RESULT.json]

Each recipe is trained on ``moving-digits`` given the classes. The reader is a logistic regression on single frames of
real training clips, cut out around their centre of mass; it reads a clip by the product of what it reads in its frames.
A clip is misread if the answer is another digit than the one that was asked for; intervals are Wilson's of 95 %. Its
errors on held-out real clips are the floor. Frechet distances are those of the product, with their floor. Run it alone
on the machine: ``draw`` writes ``results/clips.json`` and a sheet of clips beside each run.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

RESULTS = Path(__file__).parent / "results" / "clips.json"
WINDOW = 20
"""Side of the window around a digit's centre of mass."""
SHOWN = (0, 3, 6, 9, 12, 15)
"""Frames of a clip on a sheet."""


class Reader:
    """Logistic regression on frames of clips, learned from clips ``(B, T, H, W)`` of levels and their classes."""

    def __init__(self, x: Tensor, classes: Tensor) -> None:
        from sklearn.linear_model import LogisticRegression

        some = x[:, ::4]
        self.model = LogisticRegression(max_iter=1000, C=0.1)
        self.model.fit(windows(some.flatten(0, 1)).numpy(), classes.repeat_interleave(some.shape[1]).numpy())

    def frames(self, x: Tensor) -> Tensor:
        """Log-probabilities of each class for every frame, ``(B, T, classes)``."""
        told = self.model.predict_log_proba(windows(x.flatten(0, 1)).numpy())
        return torch.from_numpy(told).unflatten(0, x.shape[:2])


def windows(frames: Tensor) -> Tensor:
    """Windows around the centres of mass of frames ``(N, H, W)``, averaged to half their size, ``(N, 100)``."""
    n, height, width = frames.shape
    mass = frames.float().clamp(min=1e-6)
    total = mass.sum((1, 2))
    rows = (mass.sum(2) @ torch.arange(height).float() / total).round().long()
    columns = (mass.sum(1) @ torch.arange(width).float() / total).round().long()
    padded, reach = F.pad(frames.float(), [WINDOW // 2] * 4), torch.arange(WINDOW)
    cut = padded[
        torch.arange(n)[:, None, None], (rows[:, None] + reach)[:, :, None], (columns[:, None] + reach)[:, None]
    ]
    return F.avg_pool2d(cut[:, None], 2).flatten(1) / 16


def share(wrong: Tensor) -> str:
    """The share of what is wrong, with Wilson's interval."""
    n, z = wrong.numel(), 1.96
    p = float(wrong.double().mean())
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return f"{100 * p:.1f} % [{100 * max(centre - half, 0):.1f}, {100 * min(centre + half, 1):.1f}] of {n}"


def readings(reader: Reader, x: Tensor, wanted: Tensor) -> dict[str, str]:
    """Shares of clips, and of their frames, that are misread."""
    told = reader.frames(x)
    return {
        "clips misread": share(told.sum(1).argmax(1) != wanted),
        "frames misread": f"{100 * float((told.argmax(2) != wanted[:, None]).double().mean()):.1f} %",
    }
