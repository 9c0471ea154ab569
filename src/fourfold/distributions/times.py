"""Laws of the times and noise levels that training draws, stratified over a batch.

All draws of a batch rise from the first example to the last, one in each equal part of the law. This has less variance
than independent draws, and it lets a term compare its loss at low and at high noise.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from fourfold.maths.paths import Path, time_at

__all__ = ["LogitNormal", "Times", "Uniform", "log_normal", "normal_quantile", "quantiles", "watched_by_noise"]


def quantiles(n: int, device: torch.device) -> Tensor:
    """One uniform draw in each of ``n`` equal parts of (0, 1), in order, ``(n,)`` float32."""
    parts = torch.arange(n, device=device, dtype=torch.float32)
    return ((parts + torch.rand(n, device=device)) / n).clamp(1e-6, 1 - 1e-6)


def normal_quantile(u: Tensor) -> Tensor:
    """The inverse of the standard normal distribution function."""
    return math.sqrt(2) * torch.erfinv(2 * u - 1)


def log_normal(path: Path, mean: float, std: float, n: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Noise levels with ``log(sigma_t / alpha_t) ~ N(mean, std^2)``.

    Returns the logarithms and their times, ``(n,)`` float32 each. Karras et al. 2022
    (https://arxiv.org/abs/2206.00364), section 5.
    """
    log_sigma = mean + std * normal_quantile(quantiles(n, device))
    return log_sigma, time_at(path, -log_sigma).float()


class Times(ABC):
    """The law of the times that training draws: a frozen dataclass."""

    @abstractmethod
    def __call__(self, path: Path, n: int, device: torch.device) -> Tensor:
        """``n`` times of a path, rising and stratified, ``(n,)`` float32."""


@final
@dataclass(frozen=True)
class Uniform(Times):
    """Uniform over the path."""

    def __call__(self, path: Path, n: int, device: torch.device) -> Tensor:
        return path.t_min + (path.t_max - path.t_min) * quantiles(n, device)


@final
@dataclass(frozen=True)
class LogitNormal(Times):
    """``logit t ~ N(mean, std^2)`` with ``t`` scaled to [0, 1]: more times in the middle of the path.

    Esser et al. 2024 (https://arxiv.org/abs/2403.03206).

    Attributes:
        mean, std: mean and standard deviation of the logit.
    """

    mean: float = 0.0
    std: float = 1.0

    def __call__(self, path: Path, n: int, device: torch.device) -> Tensor:
        share = torch.sigmoid(self.mean + self.std * normal_quantile(quantiles(n, device)))
        return path.t_min + (path.t_max - path.t_min) * share


def watched_by_noise(loss: Tensor) -> dict[str, Tensor]:
    """The mean loss of the lower and of the upper half of the noise levels, from losses in order of noise."""
    low, high = loss.detach().tensor_split(2)
    return {"loss_low_noise": low.mean(), "loss_high_noise": high.mean()} if len(loss) > 1 else {}
