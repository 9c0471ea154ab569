"""Normalizing flows: an invertible map between noise and data, trained by maximum likelihood.

    log p(x) = log N(g^-1(x); 0, I) + log |det d g^-1(x) / dx|

(Papamakarios et al. 2021, https://arxiv.org/abs/1912.02762). Vectors are mapped one coordinate after the other
(:class:`AutoregressiveFlow`: best densities, one evaluation per coordinate to sample) or half by half
(:class:`CouplingFlow`: one evaluation each way). Flows in continuous time are in
:mod:`fourfold.paradigms.continuous_flow`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from fourfold.core import (
    Batch,
    Codec,
    Estimand,
    Likelihood,
    LogProb,
    Noise,
    Objective,
    Occasional,
    Sampler,
    Term,
    forgetful,
)
from fourfold.estimands import Bijection
from fourfold.maths.normal import standard_log_prob
from fourfold.nn.made import MaskedStack
from fourfold.nn.monotone import Monotone
from fourfold.nn.regression import Regression
from fourfold.nn.tarflow import PatchStack, from_patches, patches
from fourfold.vocabulary import Cost, Kind, Principle

__all__ = [
    "AutoregressiveFlow",
    "CentredFlow",
    "ChangeOfVariables",
    "CouplingFlow",
    "Denoised",
    "ExactDensity",
    "NoiseThenMap",
    "TransformerFlow",
    "VariationalDequantisation",
    "VariationalLikelihood",
]


# --- estimands --------------------------------------------------------------------------------------------------------


@final
class AutoregressiveFlow(Bijection):
    """``z_i = f(x_i; net(x_<i))`` in each layer, with the order of the coordinates reversed from layer to layer.

    A layer takes one network evaluation towards the noise, and one per coordinate towards the data (Papamakarios,
    Pavlakou, Murray 2017, https://arxiv.org/abs/1705.07057).

    Args:
        net: the networks of the layers.
        map: the increasing map ``f`` of each coordinate.
        dim: length of the vectors.
    """

    cost: ClassVar[Cost | None] = Cost.LENGTH

    def __init__(self, net: MaskedStack, map: Monotone, dim: int) -> None:
        super().__init__()
        self.net, self.map = net, map
        self.event = self.latent = (dim,)

    @property
    def summary(self) -> str:
        inverse = "its inverse, which samples, takes one coordinate after the other"
        return f"an invertible map between noise and data ({self.map.summary}); {inverse}"

    def inverse(self, x: Tensor, cond: Tensor | None = None) -> tuple[Tensor, Tensor]:
        log_det = x.new_zeros(len(x))
        for layer in range(len(self.net.layers)):
            x, log_slope = self.map(x, self.net(x, layer, cond))
            log_det = log_det + log_slope.sum(1)
        return x, log_det

    def forward(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        for layer in reversed(range(len(self.net.layers))):
            z = self._back(z, layer, cond)
        return z

    def _back(self, z: Tensor, layer: int, cond: Tensor | None) -> Tensor:
        """One layer towards the data, coordinate by coordinate in the order of their ranks."""
        x = torch.zeros_like(z)
        for i in range(z.shape[1]) if layer % 2 == 0 else reversed(range(z.shape[1])):
            x_i = self.map.inverse(z[:, i], self.net(x, layer, cond)[:, i])
            x = torch.cat([x[:, :i], x_i[:, None], x[:, i + 1 :]], 1)
        return x


@final
class CouplingFlow(Bijection):
    """A stack of couplings: one network evaluation each way (Dinh, Sohl-Dickstein, Bengio 2017).

    Args:
        net: an invertible network, ``net(h, cond, to_noise) -> (h', log |det|)``.
        event: shape of one encoded example.
    """

    def __init__(self, net: nn.Module, event: tuple[int, ...]) -> None:
        super().__init__()
        self.net = net
        self.event = self.latent = tuple(event)

    @property
    def summary(self) -> str:
        of = f" of {self.net.summary}" if hasattr(self.net, "summary") else ""
        return f"an invertible map between noise and data, made of couplings{of}: one evaluation in each direction"

    def inverse(self, x: Tensor, cond: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z, log_det = self.net(x, cond, True)
        return z, log_det

    def forward(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.net(z, cond, False)[0]


@final
class TransformerFlow(Bijection):
    """``z_n = f(x_n; net(x_<n))`` for patches ``x_n`` of an image, whose order is reversed from layer to layer.

    Towards the noise a layer is one parallel evaluation of a causal transformer. Towards the data the patches are
    computed one after the other, with cached keys and values (Zhai et al. 2024, https://arxiv.org/abs/2412.06329).

    Args:
        net: the transformers of the layers.
        maps: the increasing map ``f`` of the numbers in a patch, for each layer.
        event: shape of one encoded image.
        patch: height and width of a patch. They divide those of the image.

    Raises:
        ValueError: if they do not.
    """

    cost: ClassVar[Cost | None] = Cost.LENGTH
    summary = "an invertible map between noise and images; its inverse, which samples, takes one patch after the other"

    def __init__(
        self, net: PatchStack, maps: Sequence[Monotone], event: tuple[int, ...], patch: tuple[int, int]
    ) -> None:
        super().__init__()
        self.net, self.maps, self.patch = net, tuple(maps), tuple(patch)
        self.event = self.latent = tuple(event)
        if event[1] % patch[0] or event[2] % patch[1]:
            raise ValueError(f"patch must divide the image {event}, got {patch}: an invertible map cannot pad")

    def inverse(self, x: Tensor, cond: Tensor | None = None) -> tuple[Tensor, Tensor]:
        h, log_det, c = patches(x, *self.patch), x.new_zeros(len(x)), self.net.condition(cond, len(x))
        for layer, f in enumerate(self.maps):
            h = h.flip(1) if layer else h
            h, log_slope = f(h, self.net(h, layer, self.net.shares(layer, c)))
            log_det = log_det + log_slope.flatten(1).sum(1)
        return from_patches(h, self.event, *self.patch), log_det

    def forward(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        h, c = patches(z, *self.patch), self.net.condition(cond, len(z))
        for layer in reversed(range(len(self.maps))):
            h = self._back(h, layer, self.net.shares(layer, c))
            h = h.flip(1) if layer else h
        return from_patches(h, self.event, *self.patch)

    def _back(self, z: Tensor, layer: int, shares: Tensor | None) -> Tensor:
        """One layer towards the data, patch by patch."""
        cache, patches_ = self.net.cache(layer, len(z)), [torch.zeros_like(z[:, :1])]
        for n in range(z.shape[1]):
            patches_.append(self.maps[layer].inverse(z[:, n : n + 1], self.net(patches_[-1], layer, shares, cache)))
        return torch.cat(patches_[1:], 1)


@final
class CentredFlow(Bijection):
    """``x = A c + L g(z; c)``: an invertible map to the residuals of a linear regression on the condition.

    Args:
        flow: ``g``.
        regression: ``A`` and ``L``.
    """

    def __init__(self, flow: Bijection, regression: Regression) -> None:
        super().__init__()
        self.flow, self.regression = flow, regression
        self.event, self.latent, self.cost = flow.event, flow.latent, flow.cost  # type: ignore[misc]

    @classmethod
    def of(cls, flow: Bijection, regression: Regression | None) -> Bijection:
        """The flow itself where there is no regression."""
        return flow if regression is None else cls(flow, regression)

    @property
    def summary(self) -> str:
        return f"{self.flow.summary}; it models what {self.regression.summary} leaves"

    def fit(self, x: Tensor, cond: Tensor | None, codec: Codec) -> None:
        self.regression.fit(codec.encode(x)[0], cond)

    def inverse(self, x: Tensor, cond: Tensor | None = None) -> tuple[Tensor, Tensor]:
        y, log_slopes = self.regression.residuals(x, cond)
        z, log_det = self.flow.inverse(y, cond)
        return z, log_det + log_slopes.sum(1)

    def forward(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.regression.restored(self.flow(z, cond), cond)


# --- the objective ----------------------------------------------------------------------------------------------------


def log_density(bijection: Bijection, x: Tensor, cond: Tensor | None = None) -> Tensor:
    """``log N(z; 0, I) + log |det dz/dx|`` with ``z = g^-1(x)``, ``(B,)``."""
    z, log_det = bijection.inverse(x, cond)
    return log_det + standard_log_prob(z)


def few(x: Tensor, cond: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """The first four examples and their labels."""
    return x[:4], None if cond is None else cond[:4]


@torch.no_grad()
def inverse_error(bijection: Bijection, x: Tensor, cond: Tensor | None = None) -> Tensor:
    """The root mean square of ``g(g^-1(x)) - x``, a scalar. Without dropout."""
    was = bijection.training
    bijection.eval()
    z, _ = bijection.inverse(x, cond)
    error = (bijection(z, cond) - x).square().mean().sqrt()
    bijection.train(was)
    return error


@final
class ChangeOfVariablesTerm(Term):
    """The term of :class:`ChangeOfVariables`. It watches ``inverse_error`` on a few examples."""

    judges = True

    def __init__(self, estimand: Bijection, objective: ChangeOfVariables) -> None:
        super().__init__([estimand])
        self.estimand, self.objective = estimand, objective
        self.inverse_error = Occasional(inverse_error)

    def forward(self, batch: Batch) -> Tensor:
        cond, noise = forgetful(batch.cond, self.objective.label_dropout), self.objective.noise
        x = batch.x + noise * torch.randn_like(batch.x) if noise else batch.x
        self.watched = {"inverse_error": self.inverse_error.latest(self.estimand, *few(x, cond))}
        return -log_density(self.estimand, x, cond) / math.prod(self.estimand.event)


@final
class ChangeOfVariables(Objective):
    """``min -E log p(x | c) / dims``, in nats per dimension.

    Args:
        label_dropout: share of labels that training hides, so that the model also learns the distribution without one.
        noise: standard deviation of Gaussian noise that training adds. It improves samples from which :class:`Denoised`
            removes it again, but the learned density is that of noised examples (Zhai et al. 2024).
    """

    learns: ClassVar[type[Estimand]] = Bijection
    principle = Principle.LIKELIHOOD
    formula = "min_θ −log N(f_θ(x); 0, I) − log |det ∂f_θ/∂x|"

    @property
    def summary(self) -> str:
        noised = f", of examples with Gaussian noise of standard deviation {self.noise:g}" if self.noise else ""
        return f"maximise the log-likelihood{noised}, by the change of variables"

    def __init__(self, label_dropout: float = 0.1, noise: float = 0.0) -> None:
        super().__init__()
        self.label_dropout, self.noise = label_dropout, noise

    def terms(self, estimand: Bijection) -> Mapping[str, Term]:
        return {"likelihood": ChangeOfVariablesTerm(estimand, self)}


@final
class VariationalTerm(Term):
    """The term of :class:`VariationalLikelihood`. It watches ``inverse_error`` and ``noise``, ``-log q(u | x)``."""

    judges = True

    def __init__(self, estimand: Bijection, objective: VariationalLikelihood) -> None:
        super().__init__([estimand, objective.dequantiser])
        self.estimand, self.objective = estimand, objective
        self.inverse_error = Occasional(inverse_error)

    def forward(self, batch: Batch) -> Tensor:
        cond = forgetful(batch.cond, self.objective.label_dropout)
        z, log_q = self.objective.requantised(batch.x, torch.randn_like(batch.x))
        error = self.inverse_error.latest(self.estimand, *few(z, cond))
        self.watched = {"inverse_error": error, "noise": -log_q.detach().mean()}
        return (log_q - log_density(self.estimand, z, cond)) / math.prod(self.estimand.event)


@final
class VariationalLikelihood(Objective):
    """``min -E_q(u|x) [log p(x + u) - log q(u | x)]``: the dequantisation noise is learned together with the flow.

    A flow then need not be uniform within each cell, and the bound on the mass of the integers is tighter. The uniform
    noise of the codec is replaced, so it is not modelled. Ho et al. 2019, Flow++ (https://arxiv.org/abs/1902.00275).

    Args:
        dequantiser: maps ``(x, eps)`` to ``(u, log q(u | x))``.
        n_values: number of values of a pixel.
        label_dropout: share of labels that training hides.
    """

    learns: ClassVar[type[Estimand]] = Bijection
    principle = Principle.LIKELIHOOD
    summary = "maximise a lower bound on the log-likelihood of integers, with a learned dequantiser q"
    formula = "max_θ,φ E_q_φ(u|x)[log p_θ(x + u) − log q_φ(u | x)]"

    def __init__(self, dequantiser: nn.Module, n_values: int, label_dropout: float = 0.1) -> None:
        super().__init__()
        self.dequantiser, self.n_values, self.label_dropout = dequantiser, n_values, label_dropout

    def terms(self, estimand: Bijection) -> Mapping[str, Term]:
        return {"likelihood": VariationalTerm(estimand, self)}

    def requantised(self, z: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        """The same pixel values with noise that the dequantiser draws from ``eps``, and ``log q(u | x)``, ``(B,)``.

        The pixel values ``x`` follow from ``z = 2 (x + u) / n_values - 1``, whatever the noise ``u``.
        """
        x = ((z + 1) * (self.n_values / 2)).floor().clamp(0, self.n_values - 1)
        u, log_q = self.dequantiser((2 * x + 1) / self.n_values - 1, eps)
        return (x + u) * (2 / self.n_values) - 1, log_q


# --- sampling and likelihood ------------------------------------------------------------------------------------------


def _scaled(temperature: float) -> str:
    return "" if temperature == 1 else f", scaled by {temperature:g},"


def _squared(temperature: float) -> str:
    return "" if temperature == 1 else f"{temperature:g}² "


@final
@dataclass(frozen=True)
class NoiseThenMap(Sampler):
    """``x = g(temperature · z)`` with ``z ~ N(0, I)``.

    Raises:
        ValueError: for a temperature that is not positive.
    """

    needs: ClassVar[type[Estimand]] = Bijection
    cost = Cost.CONSTANT
    temperature: float = 1.0

    @property
    def summary(self) -> str:
        return f"draw noise{_scaled(self.temperature)} and apply the inverse map"

    @property
    def formula(self) -> str:
        return f"z ~ N(0, {_squared(self.temperature)}I),  x = f_θ⁻¹(z)"

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}")

    def __call__(self, estimand: Bijection, noise: Noise, cond: Tensor | None = None) -> Tensor:
        x: Tensor = estimand(self.temperature * noise.normal(*estimand.latent), cond)
        return x


@final
@dataclass(frozen=True)
class Denoised(Sampler):
    """``x = y + sigma^2 grad log p(y)`` for ``y = g(temperature · z)``: clean examples by a flow of noised ones.

    This is the mean of the clean example given the noised one (Tweedie's formula), with the flow's own score (Zhai et
    al. 2024, section 3.3). It takes one evaluation and its gradient more than :class:`NoiseThenMap`.

    Attributes:
        sigma: standard deviation of the noise that training added.
        temperature: see :class:`NoiseThenMap`.
    """

    needs: ClassVar[type[Estimand]] = Bijection
    cost = Cost.CONSTANT
    sigma: float = 0.05
    temperature: float = 1.0

    @property
    def summary(self) -> str:
        noise = f"draw noise{_scaled(self.temperature)}"
        return f"{noise}, apply the inverse map and take away the noise of training by one step along the flow's score"

    @property
    def formula(self) -> str:
        return f"z ~ N(0, {_squared(self.temperature)}I),  y = f_θ⁻¹(z),  x = y + {self.sigma:g}²·∇ log p_θ(y)"

    def __call__(self, estimand: Bijection, noise: Noise, cond: Tensor | None = None) -> Tensor:
        y = NoiseThenMap(self.temperature)(estimand, noise, cond)
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            (score,) = torch.autograd.grad(log_density(estimand, y, cond).sum(), y)
        return y.detach() + self.sigma**2 * score


@final
@dataclass(frozen=True)
class ExactDensity(Likelihood):
    """``log p(x) = log N(z; 0, I) + log |det dz/dx|``: exact for reals."""

    needs: ClassVar[type[Estimand]] = Bijection
    kind = Kind.EXACT
    summary = "the change of variables"

    @torch.no_grad()
    def __call__(self, estimand: Bijection, batch: Batch, noise: Noise, objective: Objective) -> LogProb:
        return LogProb(log_density(estimand, batch.x, batch.cond), Kind.EXACT, note="change of variables")


@final
@dataclass(frozen=True)
class VariationalDequantisation(Likelihood):
    """``log P(x) >= E_q(u|x) [log p(x + u) - log q(u | x)]`` with the dequantiser of the objective.

    Attributes:
        draws: number of noises drawn for each example. With two or more their error is known.
    """

    needs: ClassVar[type[Estimand]] = Bijection
    kind = Kind.LOWER_BOUND
    draws: int = 2

    @property
    def summary(self) -> str:
        return f"the change of variables, with noise that the learned dequantiser draws {self.draws} times per example"

    @torch.no_grad()
    def __call__(self, estimand: Bijection, batch: Batch, noise: Noise, objective: Objective) -> LogProb:
        if not isinstance(objective, VariationalLikelihood):
            raise TypeError(f"objective must be a VariationalLikelihood for its bound, got {type(objective).__name__}")
        draws = []
        for _ in range(self.draws):
            z, log_q = objective.requantised(batch.x, noise.normal(*batch.x.shape[1:]))
            draws.append(log_density(estimand, z, batch.cond) - log_q)
        return LogProb.of_draws(torch.stack(draws), Kind.LOWER_BOUND, f"learned dequantisation, {self.draws} draws")


NO_DENSITY = "the model is trained on noised examples, so its density is that of noised examples, not that of the data"
"""The reason why these models have no likelihood."""
