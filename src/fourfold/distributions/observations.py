"""Observation models: how the output of a decoder's network becomes a distribution, and ways to show it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor

from fourfold.core import Measure, Noise, Part
from fourfold.estimands import Observation

__all__ = [
    "AsDraw",
    "AsMean",
    "AsMedian",
    "DiscretisedLogistics",
    "GaussianHead",
    "Gaussians",
    "Head",
    "Located",
    "LogisticHead",
    "Observe",
    "located",
]


# --- distributions ----------------------------------------------------------------------------------------------------


class Located(Observation):
    """An observation model with a location: the parameter ``mu``, medians, and a differentiable centre."""

    mu: Tensor

    @abstractmethod
    def median(self) -> Tensor:
        """The median of each value, ``(B, *event)``."""

    @abstractmethod
    def centre(self) -> Tensor:
        """A reconstruction near the mean, differentiable in the parameters, ``(B, *event)``."""


def located(observation: Observation) -> Located:
    """The observation model, checked to have a location.

    Raises:
        TypeError: for one without.
    """
    if not isinstance(observation, Located):
        raise TypeError(
            f"observation must have a median or a centre, got {type(observation).__name__}: use AsMean, AsDraw, "
            "VariationalBound"
        )
    return observation


@final
class Gaussians(Located):
    """``p(x | z) = prod_i N(x_i; mu_i, exp(log_scale_i)^2)``, for ``mu, log_scale`` of shape ``(B, *event)``.

    Args:
        mu: means, ``(B, *event)``.
        log_scale: logarithms of the standard deviations, ``(B, *event)``.
    """

    def __init__(self, mu: Tensor, log_scale: Tensor) -> None:
        self.mu, self.log_scale = mu, log_scale

    def log_prob(self, x: Tensor) -> Tensor:
        square = ((x - self.mu) * (-self.log_scale).exp()).square()
        return -(square / 2 + self.log_scale + math.log(2 * math.pi) / 2).flatten(1).sum(1)

    def draw(self, noise: Noise) -> Tensor:
        return self.mu + self.log_scale.exp() * noise.normal(*self.mu.shape[1:])

    def mean(self) -> Tensor:
        return self.mu

    def median(self) -> Tensor:
        return self.mu

    def centre(self) -> Tensor:
        return self.mu


@final
class DiscretisedLogistics(Located):
    """Each pixel a mixture of logistics, integrated over the bins of the pixel values (Salimans et al. 2017).

        P(x = l) = sum_k pi_k [ F((x + d - mu_k) / s_k) - F((x - d - mu_k) / s_k) ],   F(a) = 1 / (1 + exp(-a)),

    for pixel values at the points ``2 l / (n_values - 1) - 1`` and half-width ``d = 1 / (n_values - 1)``. The lowest
    and the highest value take the mass beyond them, so the masses sum to 1. Pixels and channels are independent given
    ``z``. Differences are computed in logarithms, by ``F(b) - F(a) = F(b) F(-a) (1 - exp(a - b))``, so no mass
    underflows.

    Paper: Salimans, Karpathy, Chen, Kingma 2017, PixelCNN++ (https://arxiv.org/abs/1701.05517).

    Args:
        logits, mu, log_scale: mixture parameters, ``(B, K, *event)``.
        n_values: number of pixel values.
    """

    def __init__(self, logits: Tensor, mu: Tensor, log_scale: Tensor, n_values: int) -> None:
        self.log_pi, self.mu, self.log_scale = F.log_softmax(logits, 1), mu, log_scale
        self.n_values, self.half = n_values, 1 / (n_values - 1)

    def log_prob(self, x: Tensor) -> Tensor:
        return self.log_masses(x).flatten(1).sum(1)

    def log_masses(self, x: Tensor) -> Tensor:
        """``log P(x_i)`` of every pixel, ``(B, *event)``."""
        x = x[:, None]
        inverse = (-self.log_scale).exp()
        centred = (x - self.mu) * inverse
        step = self.half * inverse
        log_below = F.logsigmoid(centred + step)
        log_above = F.logsigmoid(step - centred)
        first, last = x < -1 + self.half, x > 1 - self.half
        # a step of 0 would have an infinite logarithm, whose gradient is not finite even where a bin is an outer one
        inner = log_below + log_above + torch.log(-torch.expm1(-2 * step.clamp(min=1e-30)))
        parts = torch.where(first, log_below, torch.where(last, log_above, inner))
        return torch.logsumexp(self.log_pi + parts, 1)

    def _point(self, value: Tensor) -> Tensor:
        return 2 * self.half * value - 1

    def exceeds(self, value: Tensor) -> Tensor:
        """``P(x > value)`` of every pixel, for pixel values that broadcast to ``(B, *event)``."""
        edge = (self._point(value) + self.half)[:, None] if value.ndim else self._point(value) + self.half
        return (self.log_pi + F.logsigmoid((self.mu - edge) * (-self.log_scale).exp())).exp().sum(1)

    def draw(self, noise: Noise) -> Tensor:
        return self._quantile(noise.uniform(*self.mu.shape[2:]))

    def median(self) -> Tensor:
        """The lowest value of each pixel with at least half of the mass at or below it."""
        return self._quantile(self.mu.new_full((), 0.5))

    def centre(self) -> Tensor:
        """``sum_k pi_k clamp(mu_k, -1, 1)``: near the mean, differentiable, and one pass."""
        return (self.log_pi.exp() * self.mu.clamp(-1, 1)).sum(1)

    def _quantile(self, u: Tensor) -> Tensor:
        """The lowest value ``l`` with ``P(x <= l) >= u``, bit by bit: ``l`` is large while ``P(x > l - 1) > 1 - u``."""
        # Components come first in memory: a sum over them then runs over the pixels, not over a few numbers at a time.
        parts = (self.log_pi.exp(), self.mu, (-self.log_scale).exp())
        pi, mu, inverse = (part.movedim(1, 0).contiguous() for part in parts)
        value, least = torch.zeros_like(mu[0]), 1 - u
        for bit in reversed(range((self.n_values - 1).bit_length())):
            edge = self._point(value + (2**bit - 1)) + self.half
            above = (mu - edge).mul_(inverse).sigmoid_().mul_(pi).sum(0)
            value += (above > least) * 2**bit
        return self._point(value.clamp(max=self.n_values - 1))

    def mean(self) -> Tensor:
        """``E[x] = sum_l P(value > l)`` on the scale of the pixel values, exact: ``n_values - 1`` evaluations."""
        total = torch.zeros_like(self.mu[:, 0])
        for value in range(self.n_values - 1):
            total += self.exceeds(self.mu.new_tensor(float(value)))
        return self._point(total)


# --- heads -----------------------------------------------------------------------------------------------------------


class Head(Part, ABC):
    """Turns a network's values into an observation model of one example."""

    @property
    def measure(self) -> Measure | None:
        """The base measure, of masses or of densities. ``None`` if it is unknown."""
        return None

    @property
    @abstractmethod
    def values(self) -> int:
        """The number of values that the network has to give for each scalar of an example."""

    @abstractmethod
    def __call__(self, h: Tensor) -> Observation:
        """The observation model of ``h``: ``(B, values · C, *)`` for an event ``(C, *)``."""


@final
@dataclass(frozen=True)
class GaussianHead(Head):
    """A mean and a scale for each value. Scales stay above ``floor``, so the density is bounded."""

    measure = Measure.LEBESGUE
    floor: float = 1e-3

    @property
    def values(self) -> int:
        return 2

    def __call__(self, h: Tensor) -> Gaussians:
        mu, raw = h.chunk(2, 1)
        return Gaussians(mu, torch.log(self.floor + F.softplus(raw)))


@final
@dataclass(frozen=True)
class LogisticHead(Head):
    """``components`` logistics for each pixel, discretised to ``n_values``. Scales stay above ``exp(floor)``."""

    measure = Measure.COUNTING
    n_values: int = 256
    components: int = 2
    floor: float = -6.0

    @property
    def values(self) -> int:
        return 3 * self.components

    def __call__(self, h: Tensor) -> DiscretisedLogistics:
        logits, mu, raw = h.reshape(len(h), 3, self.components, -1, *h.shape[2:]).unbind(1)
        spread = torch.linspace(-1.0, 1.0, 2 * self.components + 1, device=h.device)[1::2]
        mu = mu + spread.reshape(-1, *(1,) * (mu.ndim - 2))
        return DiscretisedLogistics(logits, mu, self.floor + F.softplus(raw - 1 - self.floor), self.n_values)


# --- ways to show one example -----------------------------------------------------------------------------------------


class Observe(ABC):
    """A way to show ``p(x | z)`` as one example: a frozen dataclass."""

    summary: ClassVar[str]
    """The example shown, as a noun in plain English."""
    formula: ClassVar[str]
    """The same as a formula."""

    @abstractmethod
    def __call__(self, observation: Observation, noise: Noise) -> Tensor:
        """One example for each row."""


@final
@dataclass(frozen=True)
class AsDraw(Observe):
    """A draw ``x ~ p(x | z)``, with the decoder's independent noise in every value: a sample of the model."""

    summary: ClassVar[str] = "a draw given the code"
    formula: ClassVar[str] = "x ~ p_θ(· | u)"

    def __call__(self, observation: Observation, noise: Noise) -> Tensor:
        return observation.draw(noise)


@final
@dataclass(frozen=True)
class AsMean(Observe):
    """``E[x | z]``, without the decoder's noise: often shown, but not a sample of ``p(x)``."""

    summary: ClassVar[str] = "the mean given the code, which is not a draw (AsDraw gives one)"
    formula: ClassVar[str] = "x = E_θ[x | u]"

    def __call__(self, observation: Observation, noise: Noise) -> Tensor:
        return observation.mean()


@final
@dataclass(frozen=True)
class AsMedian(Observe):
    """The median of every value given ``z``, without the decoder's noise: exact where one pixel value dominates.

    Raises:
        TypeError: for an observation model without a median.
    """

    summary: ClassVar[str] = "the median of each value given the code, which is not a draw (AsDraw gives one)"
    formula: ClassVar[str] = "x_i = median p_θ(x_i | u)"

    def __call__(self, observation: Observation, noise: Noise) -> Tensor:
        return located(observation).median()
