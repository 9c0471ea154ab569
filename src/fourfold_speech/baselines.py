"""The baseline of clips of sound: linear prediction from the samples before."""

from __future__ import annotations

from typing import Self, cast, final

import numpy as np
import torch
from torch import Tensor

from fourfold.baselines import Baseline
from fourfold.baselines.residuals import Residuals, bins_of
from fourfold.core import LogProb, Space
from fourfold.vocabulary import Kind
from fourfold_speech.prediction import BLOCK, FAR, ORDER, WINDOW, filters, mean_size, predicted, scales, sizes
from fourfold_speech.space import FULL_SCALE, Audio

__all__ = ["PredictedSamples"]

LOW, HIGH = -FULL_SCALE, FULL_SCALE - 1
FITTED = 1 << 18
"""Samples to which the errors are fitted, at most."""
CHUNK = 1 << 22
"""Numbers of windows that are in memory at once."""
BINS = 16
"""Bins of the size of errors."""


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
        mu = torch.cat([predicted(part) for part in _chunks(values)])
        size = sizes(values - mu)
        ends = bins_of(size, BINS)
        bins = torch.bucketize(size, ends, right=True).flatten()
        parts = Residuals.parts(values.flatten(), mu.flatten(), scales(size).flatten(0, 1), LOW, HIGH)
        audio = cast("Audio", space)  # this baseline is registered for sounds
        return cls(audio, ends, Residuals.fit(LOW, HIGH, bins, len(ends) + 1, parts))

    def law(self, mu: Tensor, size: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Predictions, scales and bins, from predictions and sizes of errors ``(...)``."""
        return mu, scales(size), torch.bucketize(size, self.ends, right=True)

    def masses(self, x: Tensor) -> Tensor:
        """``P(x_t | x_<t)`` of each sample, ``(B, L)`` float64."""
        values = x.double()
        mu = predicted(values)
        return self.residuals.masses(values, *self.law(mu, sizes(values - mu)))

    def log_prob(self, x: Tensor, seed: int = 0) -> LogProb:
        nats = torch.cat([self.masses(part).log().sum(1) for part in _chunks(x)])
        return LogProb(nats, Kind.EXACT, self.space.dims, note="masses of errors of linear predictions")

    def sample(self, n: int, seed: int = 0) -> Tensor:
        length, random = self.space.length, np.random.default_rng(seed)
        u = torch.from_numpy(random.random((n, length, 2)))
        x, errors = torch.zeros(n, WINDOW + length, dtype=torch.float64), torch.zeros(n, FAR + length).double()
        for t in range(length):
            if t % BLOCK == 0:
                weights = filters(x[:, t : t + WINDOW])
            mu = (x[:, t + WINDOW - ORDER : t + WINDOW] * weights).sum(1)
            size = mean_size(errors[:, t : t + FAR].abs())
            value = self.residuals.draw(*self.law(mu, size), u[:, t]).double()
            x[:, t + WINDOW], errors[:, t + FAR] = value, value - mu
        return x[:, WINDOW:].to(torch.int16)


def _chunks(x: Tensor) -> tuple[Tensor, ...]:
    """Some clips at a time, so that their windows fit into memory."""
    return torch.split(x, max(CHUNK // (x.shape[1] * WINDOW // BLOCK), 1))
