"""The exact views between estimands along a path.

Denoiser ``D``, noise ``eps_hat``, velocity ``v`` and score ``s`` are affine in each other, see
:mod:`fourfold.estimands`:

    x_t = alpha_t D + sigma_t eps_hat        v = alpha'_t D + sigma'_t eps_hat        s = -eps_hat / sigma_t
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import cached_property
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from fourfold.core import Estimand, register_view
from fourfold.estimands.base import (
    AverageVelocity,
    ConsistencyFunction,
    Denoiser,
    NoisedEnergy,
    NoisePredictor,
    Score,
    Velocity,
)
from fourfold.maths.gradients import twice_differentiable
from fourfold.maths.paths import Path, broadcast

__all__ = [
    "SMALLEST",
    "AsDenoiser",
    "AsNoisePredictor",
    "AsScore",
    "AsVelocity",
    "EnergyAsScore",
    "InstantVelocity",
    "JumpToEnd",
]

SMALLEST = 1e-3
"""The least ``alpha_t`` that a view divides by. The least ``sigma_t`` is a tenth of it."""


@final
class _At:
    """A path's coefficients at times ``(B,)``, in float64. Each is computed once, when a view asks for it."""

    def __init__(self, path: Path, t: Tensor) -> None:
        self.path, self.t = path, t.double()

    @cached_property
    def alpha(self) -> Tensor:
        return self.path.alpha(self.t)

    @cached_property
    def sigma(self) -> Tensor:
        return self.path.sigma(self.t)

    @cached_property
    def d_alpha(self) -> Tensor:
        return self.path.d_alpha(self.t)

    @cached_property
    def d_sigma(self) -> Tensor:
        return self.path.d_sigma(self.t)

    @property
    def a(self) -> Tensor:
        """``alpha``, safe to divide by."""
        return self.alpha.clamp(min=SMALLEST)

    @property
    def s(self) -> Tensor:
        """``sigma``, safe to divide by."""
        return self.sigma.clamp(min=SMALLEST / 10)

    @property
    def wronskian(self) -> Tensor:
        """``alpha sigma' - alpha' sigma``: positive, since the signal-to-noise ratio falls."""
        return self.alpha * self.d_sigma - self.d_alpha * self.sigma


def _zero(c: _At) -> Tensor:
    return c.alpha * 0


_Affine = tuple[Callable[[_At], Tensor], Callable[[_At], Tensor]]

_COEFFICIENTS: Mapping[tuple[type[Estimand], type[Estimand]], _Affine] = {
    (Denoiser, NoisePredictor): (lambda c: 1 / c.s, lambda c: -c.alpha / c.s),
    (Denoiser, Velocity): (lambda c: c.d_sigma / c.s, lambda c: c.d_alpha - c.d_sigma * c.alpha / c.s),
    (Denoiser, Score): (lambda c: -1 / c.s**2, lambda c: c.alpha / c.s**2),
    (NoisePredictor, Denoiser): (lambda c: 1 / c.a, lambda c: -c.sigma / c.a),
    (NoisePredictor, Velocity): (lambda c: c.d_alpha / c.a, lambda c: c.d_sigma - c.d_alpha * c.sigma / c.a),
    (NoisePredictor, Score): (_zero, lambda c: -1 / c.s),
    (Velocity, Denoiser): (lambda c: c.d_sigma / c.wronskian, lambda c: -c.sigma / c.wronskian),
    (Velocity, NoisePredictor): (lambda c: -c.d_alpha / c.wronskian, lambda c: c.alpha / c.wronskian),
    (Velocity, Score): (lambda c: c.d_alpha / (c.wronskian * c.s), lambda c: -c.alpha / (c.wronskian * c.s)),
    (Score, Denoiser): (lambda c: 1 / c.a, lambda c: c.sigma**2 / c.a),
    (Score, NoisePredictor): (_zero, lambda c: -c.sigma),
    (Score, Velocity): (
        lambda c: c.d_alpha / c.a,
        lambda c: -c.sigma * (c.d_sigma - c.d_alpha * c.sigma / c.a),
    ),
}
"""``(source, target)`` to ``(p, q)`` with ``target(x_t) = p x_t + q source(x_t)``."""

_Diffused = Denoiser | NoisePredictor | Velocity | Score


class _AffineView(Estimand):
    """``p x_t + q source(x_t, t)`` with the coefficients from the source's kind to :attr:`target`."""

    target: ClassVar[type[Estimand]]

    def __init__(self, source: _Diffused) -> None:
        super().__init__()
        self.source, self.path, self.event = source, source.path, source.event

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        kind = next(kind for kind in _AS if isinstance(self.source, kind))
        of_x, of_source = _COEFFICIENTS[kind, self.target]
        at = _At(self.path, t)
        return broadcast(of_x(at), x_t) * x_t + broadcast(of_source(at), x_t) * self.source(x_t, t, cond)


@final
class AsDenoiser(_AffineView, Denoiser):
    """``D = (x_t - sigma eps_hat) / alpha = (x_t + sigma^2 s) / alpha``.

    From a velocity, ``D = (sigma' x_t - sigma v) / (alpha sigma' - alpha' sigma)``.

    Args:
        source: a noise predictor, a velocity or a score.
    """

    target = Denoiser


@final
class AsNoisePredictor(_AffineView, NoisePredictor):
    """``eps_hat = (x_t - alpha D) / sigma = -sigma s = (alpha v - alpha' x_t) / (alpha sigma' - alpha' sigma)``.

    Args:
        source: a denoiser, a velocity or a score.
    """

    target = NoisePredictor


@final
class AsVelocity(_AffineView, Velocity):
    """``v = alpha' D + sigma' eps_hat``.

    Args:
        source: a denoiser, a noise predictor or a score.
    """

    target = Velocity


@final
class AsScore(_AffineView, Score):
    """``s = -eps_hat / sigma = (alpha D - x_t) / sigma^2``.

    Args:
        source: a denoiser, a noise predictor or a velocity.
    """

    target = Score


_AS: Mapping[type[Estimand], Callable[[Any], Estimand]] = {
    Denoiser: AsDenoiser,
    NoisePredictor: AsNoisePredictor,
    Velocity: AsVelocity,
    Score: AsScore,
}

for _source, _target in _COEFFICIENTS:
    register_view(_source, _target)(_AS[_target])


@register_view(NoisedEnergy, Score)
@final
class EnergyAsScore(Score):
    """``s(x_t, t) = -grad_x E(x_t, t)`` by autograd. Differentiable itself wherever gradients are recorded.

    Args:
        energy: an energy at every noise level of its path.
    """

    def __init__(self, energy: NoisedEnergy) -> None:
        super().__init__()
        self.energy, self.path, self.event = energy, energy.path, energy.event

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        recorded = torch.is_grad_enabled()
        with torch.enable_grad():
            x_t = x_t if recorded and x_t.requires_grad else x_t.detach().requires_grad_()
            with twice_differentiable() if recorded else nullcontext():
                energy = self.energy.at(x_t, t, cond)
            (gradient,) = torch.autograd.grad(energy.sum(), x_t, create_graph=recorded)
        return -gradient


@register_view(AverageVelocity, Velocity)
@final
class InstantVelocity(Velocity):
    """``v(x_t, t) = u(x_t, t, t)``.

    Args:
        average: the average velocity.
    """

    def __init__(self, average: AverageVelocity) -> None:
        super().__init__()
        self.average, self.path, self.event = average, average.path, average.event

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.average(x_t, t, t, cond)


@register_view(AverageVelocity, ConsistencyFunction)
@final
class JumpToEnd(ConsistencyFunction):
    """``f(x_t, t) = x_t + (t_min - t) u(x_t, t, t_min)``.

    Args:
        average: the average velocity.
    """

    def __init__(self, average: AverageVelocity) -> None:
        super().__init__()
        self.average, self.path, self.event = average, average.path, average.event

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        end = torch.full_like(t, self.path.t_min)
        return x_t + broadcast(end - t, x_t) * self.average(x_t, t, end, cond)
