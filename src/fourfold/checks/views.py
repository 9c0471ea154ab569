"""Checks of the views that connect estimands."""

from __future__ import annotations

import itertools

import torch

from fourfold.checks.base import require
from fourfold.core import Estimand, view
from fourfold.estimands import Denoiser, NoisePredictor, Score, Velocity
from fourfold.maths.paths import Path

__all__ = ["check_views"]


def check_views(
    estimand: Denoiser | NoisePredictor | Velocity | Score, event: tuple[int, ...], atol: float = 1e-4
) -> None:
    """Seeing an estimand as another and back changes nothing: views commute.

    Every chain among denoiser, noise, velocity and score that leads back to the estimand's own type is compared with
    the estimand itself at random points and times.
    """
    path: Path = estimand.path
    generator = torch.Generator().manual_seed(0)
    t = torch.linspace(0.1, 0.8, 16) * (path.t_max - path.t_min) + path.t_min
    x_t = torch.randn(16, *event, generator=generator) * (1 + path.sigma(t).reshape(-1, *[1] * len(event)))
    kinds: tuple[type[Estimand], ...] = (Denoiser, NoisePredictor, Velocity, Score)
    home = next(kind for kind in kinds if isinstance(estimand, kind))
    expected = estimand(x_t, t)
    for middle in itertools.permutations([kind for kind in kinds if kind is not home]):
        viewed: Estimand = estimand
        for kind in (*middle, home):
            viewed = view(viewed, kind)
        gap = (viewed(x_t, t) - expected).abs().max() / (1 + expected.abs().max())
        require(
            float(gap) < atol,
            f"the views {' -> '.join(k.__name__ for k in middle)} -> {home.__name__} change values by {gap:.2g}",
        )
