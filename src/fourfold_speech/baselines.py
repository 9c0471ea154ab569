"""The baseline of clips of sound: linear prediction from the samples before."""

from __future__ import annotations

from typing import Self, cast, final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fourfold.baselines import Baseline
from fourfold.baselines.residuals import Residuals, bins_of
from fourfold.core import LogProb, Space
from fourfold.vocabulary import Kind
from fourfold_speech.space import FULL_SCALE, Audio

__all__ = ["PredictedSamples"]

LOW, HIGH = -FULL_SCALE, FULL_SCALE - 1
ORDER, BLOCK, WINDOW = 16, 32, 512
"""Samples by which one is predicted, samples that share a filter, and samples from which it is computed."""
FITTED = 1 << 18
"""Samples to which the errors are fitted, at most."""
CHUNK = 1 << 22
"""Numbers of windows that are in memory at once."""
EDGE, QUIET = 1e-4, 0.1
"""The power of a window is raised by a share of itself, and by a power of each of its samples."""
NEAR, FAR = 6, 32
"""Samples over which the size of errors is averaged: the mean of both averages counts, the far one twice."""
LEAST = 0.05
"""The least size of errors."""
BINS = 16
"""Bins of the size of errors."""
SCALES, RELATIVE = (0.1, 0.5, 2.0, 30.0, 1000.0, 20000.0), (0.1, 0.2, 0.4, 0.7, 1.2, 2.0, 4.0, 10.0)
"""Scales of logistics, as values and as multiples of the size of the errors before."""


@final
class PredictedSamples(Baseline):
    """``log p(x) = sum_t log P(x_t - mu_t(x_<t))``: linear prediction by filters of the sound itself. Exact.

    Every 32 samples the filter of the next ones is computed from the 512 before, by the method of autocorrelations with
    a window that rises to the present. So nothing but the distribution of errors is fitted to training sounds: mixtures
    of discretised logistics (:class:`~fourfold.baselines.residuals.Residuals`) as large as the errors just before.

    Reference: Makhoul 1975, Linear prediction: a tutorial review, https://doi.org/10.1109/PROC.1975.9792; backward
    adaptation: ITU-T G.728, 1992, https://www.itu.int/rec/T-REC-G.728
    """

    name = "predicted samples"
    summary = "Each sample is predicted linearly from those before it, with errors as large as those just before"

    def __init__(self, space: Audio, ends: Tensor, residuals: Residuals) -> None:
        self.space, self.ends, self.residuals = space, ends, residuals

    @classmethod
    def fit(cls, space: Space, x: Tensor) -> Self:
        count = min(max(FITTED // space.dims, 1), len(x))
        values = x[torch.linspace(0, len(x) - 1, count, dtype=torch.float64).long()].double()
        mu = torch.cat([_predicted(part) for part in _chunks(values)])
        size = _size(values - mu)
        ends = bins_of(size, BINS)
        bins = torch.bucketize(size, ends, right=True).flatten()
        parts = Residuals.parts(values.flatten(), mu.flatten(), _scales(size).flatten(0, 1), LOW, HIGH)
        audio = cast("Audio", space)  # this baseline is registered for sounds
        return cls(audio, ends, Residuals.fit(LOW, HIGH, bins, len(ends) + 1, parts))

    def law(self, mu: Tensor, size: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Predictions, scales and bins, from predictions and sizes of errors ``(...)``."""
        return mu, _scales(size), torch.bucketize(size, self.ends, right=True)

    def masses(self, x: Tensor) -> Tensor:
        """``P(x_t | x_<t)`` of each sample, ``(B, L)`` float64."""
        values = x.double()
        mu = _predicted(values)
        return self.residuals.masses(values, *self.law(mu, _size(values - mu)))

    def log_prob(self, x: Tensor, seed: int = 0) -> LogProb:
        nats = torch.cat([self.masses(part).log().sum(1) for part in _chunks(x)])
        return LogProb(nats, Kind.EXACT, self.space.dims, note="masses of errors of linear predictions")

    def sample(self, n: int, seed: int = 0) -> Tensor:
        length, random = self.space.length, np.random.default_rng(seed)
        u = torch.from_numpy(random.random((n, length, 2)))
        x, errors = torch.zeros(n, WINDOW + length, dtype=torch.float64), torch.zeros(n, FAR + length).double()
        for t in range(length):
            if t % BLOCK == 0:
                filters = _filters(x[:, t : t + WINDOW])
            mu = (x[:, t + WINDOW - ORDER : t + WINDOW] * filters).sum(1)
            size = _mean_size(errors[:, t : t + FAR].abs())
            value = self.residuals.draw(*self.law(mu, size), u[:, t]).double()
            x[:, t + WINDOW], errors[:, t + FAR] = value, value - mu
        return x[:, WINDOW:].to(torch.int16)


def _chunks(x: Tensor) -> tuple[Tensor, ...]:
    """Some clips at a time, so that their windows fit into memory."""
    return torch.split(x, max(CHUNK // (x.shape[1] * WINDOW // BLOCK), 1))


def _filters(windows: Tensor) -> Tensor:
    """The weights of the last :data:`ORDER` samples of windows ``(..., WINDOW)``, the oldest first."""
    tapered = windows * torch.linspace(0, 1, WINDOW, dtype=torch.float64)
    lags = [(tapered[..., k:] * tapered[..., : WINDOW - k]).sum(-1) for k in range(ORDER + 1)]
    r = torch.stack(lags, -1)
    apart = (torch.arange(ORDER)[:, None] - torch.arange(ORDER)).abs()
    power = EDGE * r[..., :1, None] + QUIET * WINDOW
    system = r[..., apart] + power * torch.eye(ORDER, dtype=torch.float64)
    return torch.linalg.solve(system, r[..., 1:].unsqueeze(-1)).squeeze(-1).flip(-1)


def _predicted(values: Tensor) -> Tensor:
    """Predictions of each sample from those before it, ``(B, L)``."""
    length = values.shape[1]
    filters = _filters(F.pad(values, (WINDOW, 0)).unfold(1, WINDOW, BLOCK)[:, : -(-length // BLOCK)])
    before = F.pad(values, (ORDER, 0)).unfold(1, ORDER, 1)[:, :length]
    return (before * filters.repeat_interleave(BLOCK, 1)[:, :length]).sum(-1)


def _size(errors: Tensor) -> Tensor:
    """The size of the errors before each sample, ``(B, L)``."""
    return _mean_size(F.pad(errors.abs(), (FAR, 0)).unfold(1, FAR, 1)[:, : errors.shape[1]])


def _mean_size(before: Tensor) -> Tensor:
    """The mean size of the last errors ``(..., FAR)``."""
    return (2 * before.mean(-1) + before[..., -NEAR:].mean(-1)) / 3 + LEAST


def _scales(size: Tensor) -> Tensor:
    """Scales of logistics, ``(..., K)``."""
    fixed = torch.tensor(SCALES, dtype=torch.float64).expand(*size.shape, -1)
    return torch.cat([fixed, size.unsqueeze(-1) * torch.tensor(RELATIVE, dtype=torch.float64)], -1)
