"""Inputs of denoising networks: time and label as one vector, and examples in full precision."""

from __future__ import annotations

import math
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import Part, Reading
from fourfold.nn.entry import ConditionEntry
from fourfold.nn.layers import zeroed

__all__ = ["Condition", "FourierTime", "with_detail"]


@final
class FourierTime(Part, nn.Module):
    """A scalar as sines and cosines, ``(B,)`` to ``(B, width)``: ``sqrt(2) cos(2 pi f_i tau)`` and the sines.

    Frequencies are geometric from 1/16 to 4, for ``tau`` of order one (Tancik et al. 2020,
    https://arxiv.org/abs/2006.10739). Computed in float32.

    Args:
        width: length of the vector, even.

    Raises:
        ValueError: for an odd width, or one below 4.
    """

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        if width < 4 or width % 2:
            raise ValueError(f"width must be even and at least 4, got {width}")
        self.register_buffer("frequencies", torch.logspace(-4, 2, width // 2, base=2.0), persistent=False)

    def forward(self, tau: Tensor) -> Tensor:
        phase = 2 * math.pi * tau.float()[:, None] * self.frequencies.float()
        return math.sqrt(2) * torch.cat([phase.cos(), phase.sin()], 1)


@final
class Condition(Part, nn.Module):
    """Time and condition as a vector ``(B, width)``: ``phi(W_2 phi(W_1 fourier(tau)) + W r(c))``, with ``phi`` = SiLU.

    With two times, ``W_1 fourier(tau) + V fourier(tau')`` takes the place of ``W_1 fourier(tau)``. ``V`` is zero at the
    start, so that weights for one time are weights for two that ignore the second.

    Args:
        width: length of the vector.
        reading: reads the condition, or ``None``.
        times: 1 or 2.

    Raises:
        ValueError: for another number of times than 1 or 2.
    """

    def __init__(self, width: int, reading: Reading | None = None, times: int = 1) -> None:
        super().__init__()
        if times not in (1, 2):
            raise ValueError(f"times must be 1 or 2, got {times}")
        self.fourier = FourierTime(width)
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        self.second_time = zeroed(nn.Linear(width, width, bias=False)) if times == 2 else None
        self.given = ConditionEntry.of(reading, width)

    def forward(self, tau: Tensor, cond: Tensor | None) -> Tensor:
        """The vector of times, ``(B,)`` or ``(B, 2)``, and of conditions ``(B, *)``."""
        return self.joined(tau, None if self.given is None else self.given(cond, len(tau)))

    def joined(self, tau: Tensor, share: Tensor | None) -> Tensor:
        """The vector of times and of the shares of conditions that were read already, ``(B, width)``."""
        h = self.second(F.silu(self._times(tau)))
        return F.silu(h if share is None else h + share)

    def _times(self, tau: Tensor) -> Tensor:
        """``W_1 fourier(tau)``, and the second time's share."""
        dtype = self.first.weight.dtype
        if self.second_time is None:
            return self.first(self.fourier(tau).to(dtype))
        t, s = (self.fourier(part).to(dtype) for part in tau.unbind(1))
        return self.first(t) + self.second_time(s)


def with_detail(x: Tensor) -> Tensor:
    """``x``, ``sin 8 x`` and ``cos 8 x`` side by side, ``(B, C, *)`` to ``(B, 3 C, *)``, computed in float32.

    A network with bfloat16 weights cannot see noise fainter than 2^-9 of its input, and would not remove it. The waves
    magnify it (Kingma et al. 2021, appendix C, https://arxiv.org/abs/2107.00630).
    """
    return torch.cat([x, torch.sin(8 * x), torch.cos(8 * x)], 1)
