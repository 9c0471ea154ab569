"""The tail of a counted quantity: masses of the steps beyond its last value, which decay as a power and sum to 1.

A value lies ``j = 1, 2, ..., R`` steps beyond the last step of the data with

    P(J > j) = (S(j) - S(R)) / (1 - S(R)),   S(j) = (1 + j / (4 s))^-4,

the generalised Pareto distribution of shape 1/4 and scale ``s`` on the grid of the column. Excesses of most
distributions beyond a high value tend to this family. The shape 1/4 has a mean and a variance, so that a drawn value is
rarely far out, and one that is a thousand scales out costs some 30 nats, where an exponential tail takes 1,000.

Reference: Pickands 1975, Statistical Inference Using Extreme Order Statistics, https://doi.org/10.1214/aos/1176343003
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["log_mass", "mass_from", "steps_beyond"]

INVERSE = 4.0
"""One over the shape."""


def _survival(j: Tensor, scale: Tensor) -> Tensor:
    """``S(j)``."""
    return (1 + j.double() / (INVERSE * scale)).pow(-INVERSE)


def log_mass(j: Tensor, scale: Tensor, room: Tensor) -> Tensor:
    """``log P(J = j)``, float64. All arguments are broadcast.

    Args:
        j: steps beyond the last one, from 1 to ``room``.
        scale: of the excess, in steps.
        room: how many steps there are beyond the last one.
    """
    ratio = -torch.expm1(INVERSE * torch.log1p(-1 / (INVERSE * scale + j.double())))  # 1 - S(j) / S(j - 1)
    return _survival(j - 1, scale).log() + ratio.log() - torch.log1p(-_survival(room, scale))


def mass_from(j: Tensor, scale: Tensor, room: Tensor) -> Tensor:
    """``P(J >= j)``, float64."""
    least = _survival(room, scale)
    return (_survival(j - 1, scale) - least) / (1 - least)


def steps_beyond(v: Tensor, scale: Tensor, room: Tensor) -> Tensor:
    """The ``j`` with ``P(J < j) <= v < P(J <= j)`` for ``v`` in [0, 1), int64: draws from uniform numbers."""
    survival = 1 - v.clamp(0, 1) * (1 - _survival(room, scale))
    j = torch.floor(INVERSE * scale * (survival.pow(-1 / INVERSE) - 1)) + 1
    return j.clamp(min=1).minimum(room.double()).long()
