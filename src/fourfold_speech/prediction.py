"""Linear prediction of samples from those before them, by filters of the sound itself."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["BLOCK", "FAR", "ORDER", "WINDOW", "filters", "mean_size", "predicted", "scales", "sizes"]

ORDER, BLOCK, WINDOW = 16, 32, 512
"""Samples by which one is predicted, samples that share a filter, and samples from which it is computed."""
EDGE, QUIET = 1e-4, 0.1
"""The power of a window is raised by a share of itself, and by a power of each of its samples."""
NEAR, FAR = 6, 32
"""Samples over which the size of errors is averaged: the mean of both averages counts, the far one twice."""
LEAST = 0.05
"""The least size of errors."""
SCALES, RELATIVE = (0.1, 0.5, 2.0, 30.0, 1000.0, 20000.0), (0.1, 0.2, 0.4, 0.7, 1.2, 2.0, 4.0, 10.0)
"""Scales of logistics, as values and as multiples of the size of the errors before."""


def filters(windows: Tensor) -> Tensor:
    """The weights of the last :data:`ORDER` samples of windows ``(..., WINDOW)`` float64, the oldest first."""
    tapered = windows * torch.linspace(0, 1, WINDOW, dtype=torch.float64, device=windows.device)
    r = _autocorrelations(tapered)
    steps = torch.arange(ORDER, device=windows.device)
    power = EDGE * r[..., :1, None] + QUIET * WINDOW
    system = r[..., (steps[:, None] - steps).abs()] + power * torch.eye(ORDER, dtype=torch.float64, device=r.device)
    return torch.linalg.solve(system, r[..., 1:].unsqueeze(-1)).squeeze(-1).flip(-1)


def _autocorrelations(y: Tensor) -> Tensor:
    """``sum_t y_t y_(t+k)`` for ``k = 0 .. ORDER``: diagonals of one product of the signal, cut into rows."""
    rows = y.reshape(*y.shape[:-1], -1, ORDER)
    beside = torch.cat([rows, F.pad(rows[..., 1:, :], (0, 0, 0, 1))], -1)
    gram = rows.transpose(-1, -2) @ beside
    return torch.stack([gram.diagonal(k, -2, -1).sum(-1) for k in range(ORDER + 1)], -1)


def predicted(values: Tensor) -> Tensor:
    """Predictions of each sample from those before it, ``(B, L)`` float64."""
    length = values.shape[1]
    weights = filters(F.pad(values, (WINDOW, 0)).unfold(1, WINDOW, BLOCK)[:, : -(-length // BLOCK)])
    before = F.pad(values, (ORDER, 0)).unfold(1, ORDER, 1)[:, :length]
    return (before * weights.repeat_interleave(BLOCK, 1)[:, :length]).sum(-1)


def sizes(errors: Tensor) -> Tensor:
    """The size of the errors before each sample, ``(B, L)``."""
    return mean_size(F.pad(errors.abs(), (FAR, 0)).unfold(1, FAR, 1)[:, : errors.shape[1]])


def mean_size(before: Tensor) -> Tensor:
    """The mean size of the last absolute errors ``(..., FAR)``."""
    return (2 * before.mean(-1) + before[..., -NEAR:].mean(-1)) / 3 + LEAST


def scales(size: Tensor) -> Tensor:
    """Scales of logistics, ``(..., K)``."""
    fixed = torch.tensor(SCALES, dtype=torch.float64, device=size.device).expand(*size.shape, -1)
    relative = torch.tensor(RELATIVE, dtype=torch.float64, device=size.device)
    return torch.cat([fixed, size.unsqueeze(-1) * relative], -1)
