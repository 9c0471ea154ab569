"""The standard normal distribution: its log-density, of each value or of a whole example."""

from __future__ import annotations

import math

from torch import Tensor

__all__ = ["log_phi", "standard_log_prob"]


def log_phi(z: Tensor) -> Tensor:
    """``log N(z_i; 0, 1)`` of each value."""
    return -(z.square() + math.log(2 * math.pi)) / 2


def standard_log_prob(z: Tensor) -> Tensor:
    """``log N(z; 0, I)``, ``(B,)``."""
    return log_phi(z).flatten(1).sum(1)
