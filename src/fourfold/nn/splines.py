"""Monotone rational-quadratic splines of the line, with their inverse and slope.

Durkan, Bekasov, Murray, Papamakarios 2019, Neural Spline Flows (https://arxiv.org/abs/1906.04032). The axis of the
knots comes first: a pass over memory then runs over the points, and not over a few knots at a time.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Knots", "knots_of", "spline", "spline_inverse", "spline_value"]

_SMALLEST = 1e-4
"""Smallest width and height of a bin as a fraction of the interval, and smallest slope at a knot."""


class Knots(NamedTuple):
    """Knots ``(x_k, y_k)`` and slopes ``d_k``, ``(K + 1, ...)`` each, between ``-reach`` and ``reach`` on both axes."""

    x: Tensor
    y: Tensor
    d: Tensor


def knots_of(widths: Tensor, heights: Tensor, slopes: Tensor, reach: float) -> Knots:
    """Knots from free numbers ``(K, ...)``, ``(K, ...)`` and ``(K - 1, ...)``. All zeros give the identity.

    The slopes at both ends are 1, so that the spline continues smoothly as the identity.
    """
    shift = math.log(math.expm1(1 - _SMALLEST))
    inner = _SMALLEST + F.softplus(slopes + shift)
    end = inner.new_ones(1, *inner.shape[1:])
    d = torch.cat([end, inner, end])
    return Knots(_places(widths, reach), _places(heights, reach), d)


def _places(sizes: Tensor, reach: float) -> Tensor:
    """Rising places from ``-reach`` to ``reach`` whose distances are a softmax of ``sizes``."""
    bins = len(sizes)
    shares = F.softmax(sizes, 0) * (1 - bins * _SMALLEST) + _SMALLEST
    inner = (2 * reach * shares[:-1].cumsum(0) - reach).clamp(-reach, reach)
    end = inner.new_full((1, *inner.shape[1:]), reach)
    return torch.cat([-end, inner, end])


class _Bin(NamedTuple):
    """The bin of each point: its corner, width, height, mean slope, and slopes at both ends."""

    x: Tensor
    y: Tensor
    width: Tensor
    height: Tensor
    slope: Tensor
    left: Tensor
    right: Tensor


def _bin(knots: Knots, at: Tensor, places: Tensor) -> _Bin:
    """The bin in which ``at`` lies among ``places``, which are ``knots.x`` or ``knots.y``."""
    k = (at.detach() >= places.detach()[1:-1]).sum(0, keepdim=True)
    x, x_1, y, y_1, d, d_1 = (t.gather(0, i).squeeze(0) for t in knots for i in (k, k + 1))
    return _Bin(x, y, x_1 - x, y_1 - y, (y_1 - y) / (x_1 - x), d, d_1)


def _log_slope(b: _Bin, t: Tensor) -> Tensor:
    """``log dy/dx`` at the fraction ``t`` of the bin (eq. 5)."""
    u = t * (1 - t)
    top = b.right * t.square() + 2 * b.slope * u + b.left * (1 - t).square()
    return 2 * b.slope.log() + top.log() - 2 * (b.slope + (b.left + b.right - 2 * b.slope) * u).log()


def _value(b: _Bin, t: Tensor) -> Tensor:
    """``y`` at the fraction ``t`` of the bin (eq. 4)."""
    u = t * (1 - t)
    return b.y + b.height * (b.slope * t.square() + b.left * u) / (b.slope + (b.left + b.right - 2 * b.slope) * u)


def _place(x: Tensor, knots: Knots, reach: float) -> tuple[Tensor, _Bin, Tensor]:
    """Whether each point lies inside the interval, its bin, and the fraction of the bin."""
    inside = x.abs() < reach
    x_in = torch.where(inside, x, 0.0)
    b = _bin(knots, x_in, knots.x)
    return inside, b, ((x_in - b.x) / b.width).clamp(0, 1)


def spline(x: Tensor, knots: Knots, reach: float) -> tuple[Tensor, Tensor]:
    """``y`` and ``log dy/dx`` of points of any shape. Outside the interval the spline is the identity."""
    inside, b, t = _place(x, knots, reach)
    return torch.where(inside, _value(b, t), x), torch.where(inside, _log_slope(b, t), 0.0)


def spline_value(x: Tensor, knots: Knots, reach: float) -> Tensor:
    """``y`` alone, as :func:`spline` gives it."""
    inside, b, t = _place(x, knots, reach)
    return torch.where(inside, _value(b, t), x)


def spline_inverse(y: Tensor, knots: Knots, reach: float) -> Tensor:
    """``x`` whose spline is ``y``: the root of a quadratic in its stable form (eq. 6 to 8)."""
    inside = y.abs() < reach
    y_in = torch.where(inside, y, 0.0)
    b = _bin(knots, y_in, knots.y)
    rise = (y_in - b.y) * (b.left + b.right - 2 * b.slope)
    p = b.height * (b.slope - b.left) + rise
    q = b.height * b.left - rise
    r = -b.slope * (y_in - b.y)
    root = (q.square() - 4 * p * r).clamp(min=0).sqrt()
    t = (2 * r / (-q - root)).clamp(0, 1)
    return torch.where(inside, b.x + t * b.width, y)
