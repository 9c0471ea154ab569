"""Increasing maps of single numbers, with parameters from a network. Flows apply one to each coordinate.

A map takes ``x`` of any shape ``(*)`` and its parameters ``h`` of shape ``(*, values)``, and gives ``y`` and
``log dy/dx``. :class:`Triangular` also lets numbers see their neighbours. At ``h = 0`` it is the identity (the mixture:
the map from a broad mixture to the normal).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor

from fourfold.core import Part
from fourfold.nn.splines import Knots, knots_of, spline, spline_inverse, spline_value

__all__ = ["Affine", "LogisticMixture", "Monotone", "Spline", "Triangular"]


_FAR = 80.0
"""Logits beyond this have a tail below the smallest float32."""


class Monotone(Part, ABC):
    """``y = f(x; h)``, increasing in ``x``."""

    summary: str
    """The kind of map, as a noun phrase."""

    @property
    @abstractmethod
    def values(self) -> int:
        """The number of parameters for one number."""

    @abstractmethod
    def __call__(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """``y`` and ``log dy/dx``, each of the shape of ``x``."""

    @abstractmethod
    def inverse(self, y: Tensor, h: Tensor) -> Tensor:
        """``x`` with ``f(x; h) = y``."""


def _bounded(s: Tensor, bound: float) -> Tensor:
    """``bound tanh(s / bound)``: a bounded log-scale."""
    return bound * torch.tanh(s / bound)


@final
@dataclass(frozen=True)
class Affine(Monotone):
    """``y = (x - m) exp(s)`` with ``|s| < bound``.

    Dinh, Sohl-Dickstein, Bengio 2017 (https://arxiv.org/abs/1605.08803); Papamakarios, Pavlakou, Murray 2017, Masked
    Autoregressive Flow (https://arxiv.org/abs/1705.07057).
    """

    summary = "affine maps"

    bound: float = 5.0

    @property
    def values(self) -> int:
        return 2

    def __call__(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        s = _bounded(h[..., 0], self.bound)
        return (x - h[..., 1]) * s.exp(), s

    def inverse(self, y: Tensor, h: Tensor) -> Tensor:
        return y * (-_bounded(h[..., 0], self.bound)).exp() + h[..., 1]


@final
@dataclass(frozen=True)
class Spline(Monotone):
    """``y = spline((x - m) exp(s))``: an affine map, then a rational-quadratic spline on ``[-reach, reach]``.

    Durkan et al. 2019 (https://arxiv.org/abs/1906.04032). Inaccurate inverses are computed again in float64.

    Attributes:
        bins: number of bins of the spline.
        reach: half the width of its interval. Outside it is the identity.
        bound: largest absolute log-scale.
    """

    summary = "splines"

    bins: int = 16
    reach: float = 4.0
    bound: float = 6.0

    @property
    def values(self) -> int:
        return 3 * self.bins + 1

    def _parameters(self, h: Tensor) -> tuple[Tensor, Tensor, Knots]:
        """``s``, ``m`` and the knots."""
        parts = h.movedim(-1, 0).contiguous()
        widths, heights, slopes = torch.split(parts[2:], [self.bins, self.bins, self.bins - 1])
        return _bounded(parts[0], self.bound), parts[1], knots_of(widths, heights, slopes, self.reach)

    def __call__(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        s, m, knots = self._parameters(h)
        y, log_slope = spline((x - m) * s.exp(), knots, self.reach)
        return y, log_slope + s

    def inverse(self, y: Tensor, h: Tensor) -> Tensor:
        parameters = self._parameters(h)
        x = self._inverse(y, *parameters)
        s, m, knots = parameters
        off = (spline_value((x - m) * s.exp(), knots, self.reach) - y).abs() > 1e-5 * (1 + y.abs())
        if bool(off.any()):
            x = x.clone()
            x[off] = self._inverse(y[off].double(), *self._parameters(h[off].double())).to(x.dtype)
        return x

    def _inverse(self, y: Tensor, s: Tensor, m: Tensor, knots: Knots) -> Tensor:
        return spline_inverse(y, knots, self.reach) * (-s).exp() + m


@final
@dataclass(frozen=True)
class LogisticMixture(Monotone):
    """``y = Phi^-1(F(x))`` with ``F`` the distribution function of a mixture of logistics, ``Phi`` of the normal.

    Pushed back from the normal, the coordinate has the density of the mixture. Without conditioning this is the map of
    Ho et al. 2019, Flow++ (https://arxiv.org/abs/1902.00275), with the normal in place of the logistic.

    Attributes:
        components: number of logistics, with means spread over ``[-2, 2]`` at ``h = 0``.
        least, most: bounds of their log-scales.
    """

    summary = "mixtures of logistics"

    components: int = 16
    least: float = -8.0
    most: float = 4.0

    @property
    def values(self) -> int:
        return 3 * self.components

    def _parameters(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-weights, means, log-scales, each ``(*, K)``."""
        logits, means, scales = h.chunk(3, -1)
        grid = torch.linspace(-2, 2, self.components, device=h.device) if self.components > 1 else 0.0
        return logits.log_softmax(-1), means + grid, (scales - 1.5).clamp(self.least, self.most)

    def __call__(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        log_w, m, log_s = self._parameters(h)
        a = (x.unsqueeze(-1) - m) * (-log_s).exp()
        log_below = log_w - F.softplus(-a)
        log_above = log_below - a
        log_f = (log_below + log_above - log_w - log_s).logsumexp(-1)
        log_below, log_above = log_below.logsumexp(-1), log_above.logsumexp(-1)
        logit = log_below - log_above
        y = _normal_of_logit(logit)
        far = logit.abs() - torch.where(y.abs() > 1, y.abs(), 1.0).log()
        inner = y.square() / 2 + math.log(2 * math.pi) / 2
        return y, log_f + torch.where(logit.abs() < _FAR, inner, far)

    @torch.no_grad()
    def inverse(self, y: Tensor, h: Tensor) -> Tensor:
        """By bisection in float64, between the least and the greatest of the components' own quantiles."""
        log_w, m, log_s = self._parameters(h.double())
        wide = y.double()
        logit = torch.special.log_ndtr(wide) - torch.special.log_ndtr(-wide)
        quantiles = m + log_s.exp() * logit.unsqueeze(-1)
        low, high = quantiles.amin(-1), quantiles.amax(-1)
        for _ in range(56):
            middle = (low + high) / 2
            a = (middle.unsqueeze(-1) - m) * (-log_s).exp()
            log_below = log_w - F.softplus(-a)
            less = log_below.logsumexp(-1) - (log_below - a).logsumexp(-1) < logit
            low, high = torch.where(less, middle, low), torch.where(less, high, middle)
        return ((low + high) / 2).to(y.dtype)


@final
@dataclass(frozen=True)
class Triangular(Monotone):
    """``y_j = f(x_j - sum_{i < j} a_ji x_i; h_j)``: each of a group's numbers also sees those before it.

    Takes ``(*, size)``. With :class:`Affine`, the normal pushed back is a normal of any covariance, whereas with the
    affine map alone the group is independent given the network's inputs (Papamakarios et al. 2021, section 3.1.1,
    https://arxiv.org/abs/1912.02762).

    Attributes:
        size: number of numbers in a group.
        map: ``f``.
    """

    summary = "triangular maps"

    size: int
    map: Monotone

    @property
    def values(self) -> int:
        return self.size + self.map.values

    def __call__(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        a = h[..., : self.size].tril(-1)
        return self.map(x - (a @ x.unsqueeze(-1)).squeeze(-1), h[..., self.size :])

    def inverse(self, y: Tensor, h: Tensor) -> Tensor:
        """By forward substitution."""
        u = self.map.inverse(y, h[..., self.size :])
        system = torch.eye(self.size, dtype=h.dtype, device=h.device) - h[..., : self.size].tril(-1)
        solved = torch.linalg.solve_triangular(system, u.unsqueeze(-1), upper=False, unitriangular=True)
        return solved.squeeze(-1)


def _normal_of_logit(logit: Tensor) -> Tensor:
    """``Phi^-1(sigmoid(l))``, accurate in both tails."""
    normal: Tensor = _NormalOfLogit.apply(logit)  # type: ignore[no-untyped-call]
    return normal


class _NormalOfLogit(torch.autograd.Function):
    """The quantile of the smaller tail with its sign. The slope is ``sigmoid(l) sigmoid(-l) / phi(y)``, in logarithms.

    Beyond ``|l| = 80``, where a tail has no float32, ``y^2 / 2`` grows as ``|l|`` does.
    """

    @staticmethod
    def forward(ctx: Any, logit: Tensor) -> Tensor:
        tail = torch.sigmoid(-logit.abs().clamp(max=_FAR))
        beyond = (logit.abs() - _FAR).clamp(min=0)
        y = (torch.special.ndtri(tail).square() + 2 * beyond).sqrt() * torch.sign(logit)
        ctx.save_for_backward(logit, y)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        logit, y = ctx.saved_tensors
        log_slope = F.logsigmoid(logit) + F.logsigmoid(-logit) + y.square() / 2 + math.log(2 * math.pi) / 2
        return grad * torch.where(logit.abs() < _FAR, log_slope.exp(), 1 / y.abs().clamp(min=1))
