"""Draws from categorical distributions by the inverse of their distribution function.

Every function keeps one promise: **a category without mass is never drawn**, whatever ``u`` in ``[0, 1]`` is, and
however the sums of the masses are rounded.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["categorical", "quantile", "quantile_between"]


def categorical(logits: Tensor, u: Tensor) -> Tensor:
    """Draw from ``softmax(logits)``: the smallest ``k`` with ``p_0 + ... + p_k > u``.

    Args:
        logits: ``(*B, K)``. They need not be normalised, and minus infinity rules a category out.
        u: uniform numbers ``(*B, *n)``: ``n`` draws from each distribution.

    Returns:
        Categories, in the shape of ``u``.
    """
    return quantile(logits.softmax(-1, dtype=torch.promote_types(logits.dtype, torch.float32)).cumsum(-1), u)


def quantile(sums: Tensor, u: Tensor) -> Tensor:
    """The category at the share ``u`` of the mass: the smallest ``k`` with ``S_k > u S_{K-1}``.

    Args:
        sums: cumulated masses ``S_k = m_0 + ... + m_k``, ``(*B, K)``. They need not reach 1.
        u: numbers in ``[0, 1]``, ``(*B, *n)``.

    Returns:
        Categories, in the shape of ``u``. The last one where masses are NaN.
    """
    *batch, size = sums.shape
    share = u.to(sums).reshape(*batch, math.prod(u.shape[len(batch) :]))
    below = share * (sums[..., -1:] * (1 - torch.finfo(sums.dtype).eps))  # below the last sum, also where u is 1
    return torch.searchsorted(sums.contiguous(), below, right=True).clamp_(max=size - 1).view(u.shape)


def quantile_between(sums: Tensor, u: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """The category at the share ``u`` of the mass of the categories ``first, ..., last - 1`` of a long table.

    Args:
        sums: masses below each category, and below the end of the table, ``(N + 1,)``, ascending from 0.
        u: numbers in ``[0, 1]``, ``(B,)``.
        first: ``(B,)``.
        last: ``(B,)``. Where no category of the range has mass, the answer is none of them.
    """
    low, high = sums[first], sums[last]
    mass = low + u.to(sums) * (high - low)
    below = mass.minimum(high.nextafter(torch.zeros_like(high)))  # a mass that was rounded up to the end
    return torch.searchsorted(sums, below, right=True) - 1
