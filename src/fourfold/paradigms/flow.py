"""Normalizing flows: an invertible map between noise and data, trained by the likelihood that the change of variables gives.

    log p(x) = log N(g^-1(x); 0, I) + log |det d g^-1(x) / dx|

(Papamakarios et al. 2021, https://arxiv.org/abs/1912.02762). Vectors are mapped one coordinate after the other
(:class:`AutoregressiveFlow`: best densities, one evaluation per coordinate to sample) or half by half
(:class:`CouplingFlow`: one evaluation each way).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from fourfold.codecs import Standardised
from fourfold.core import (
    Batch,
    Estimand,
    GenerativeModel,
    Likelihood,
    LogProb,
    Noise,
    Objective,
    Sampler,
    Space,
    Term,
    Training,
)
from fourfold.estimands import Bijection
from fourfold.nn.coupling_stack import CouplingStack
from fourfold.nn.made import MaskedStack
from fourfold.nn.monotone import Affine, LogisticMixture, Monotone, Spline
from fourfold.spaces import Vectors
from fourfold.vocabulary import Card, Cost, Kind, Paradigm, Principle

__all__ = [
    "CARD",
    "AutoregressiveFlow",
    "CouplingFlow",
    "ExactDensity",
    "MaximumLikelihood",
    "NoiseThenMap",
]


# --- estimands --------------------------------------------------------------------------------------------------------


@final
class AutoregressiveFlow(Bijection):
    """``z_i = f(x_i; net(x_<i))`` in each layer, with the order of the coordinates reversed from layer to layer.

    Towards the noise a layer is one network evaluation, towards the data one per coordinate (Papamakarios, Pavlakou,
    Murray 2017, https://arxiv.org/abs/1705.07057).

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

    def inverse(self, x: Tensor, cond: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z, log_det = self.net(x, cond, True)
        return z, log_det

    def forward(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.net(z, cond, False)[0]


# --- the objective ----------------------------------------------------------------------------------------------------


def log_density(bijection: Bijection, x: Tensor, cond: Tensor | None = None) -> Tensor:
    """``log N(z; 0, I) + log |det dz/dx|`` with ``z = g^-1(x)``, ``(B,)``."""
    z, log_det = bijection.inverse(x, cond)
    return log_det - (z.square() + math.log(2 * math.pi)).flatten(1).sum(1) / 2


@torch.no_grad()
def inverse_error(bijection: Bijection, x: Tensor, cond: Tensor | None = None) -> Tensor:
    """The root mean square of ``g(g^-1(x)) - x``, a scalar; without dropout."""
    was = bijection.training
    bijection.eval()
    z, _ = bijection.inverse(x, cond)
    error = (bijection(z, cond) - x).square().mean().sqrt()
    bijection.train(was)
    return error


@final
class LikelihoodTerm(Term):
    """The one term of :class:`MaximumLikelihood`; every so often it watches ``inverse_error`` on a few examples."""

    EVERY: ClassVar[int] = 500
    FEW: ClassVar[int] = 4

    def __init__(self, estimand: Bijection, hidden: float) -> None:
        super().__init__([estimand])
        self.estimand, self.hidden, self._calls = estimand, hidden, 0

    def forward(self, batch: Batch) -> Tensor:
        cond = batch.cond
        if cond is not None and self.hidden:
            cond = torch.where(torch.rand(len(cond), device=cond.device) < self.hidden, -1, cond)
        self._watch(batch.x, cond)
        return -log_density(self.estimand, batch.x, cond) / math.prod(self.estimand.event)

    def _watch(self, x: Tensor, cond: Tensor | None) -> None:
        if self._calls % self.EVERY == 0:
            few = None if cond is None else cond[: self.FEW]
            self.watched = {"inverse_error": inverse_error(self.estimand, x[: self.FEW], few)}
        self._calls += 1


@final
class MaximumLikelihood(Objective):
    """``min -E log p(x | c) / dims``, in nats per dimension.

    Args:
        hidden: share of labels hidden in training, so that the model can also be asked without one.
    """

    learns: ClassVar[type[Estimand]] = Bijection
    principle: ClassVar[Principle] = Principle.LIKELIHOOD

    def __init__(self, hidden: float = 0.1) -> None:
        super().__init__()
        self.hidden = hidden

    def terms(self, estimand: Bijection) -> Mapping[str, Term]:
        return {"likelihood": LikelihoodTerm(estimand, self.hidden)}


# --- sampling and likelihood ------------------------------------------------------------------------------------------


@final
@dataclass(frozen=True)
class NoiseThenMap(Sampler):
    """``x = g(temperature · z)`` with ``z ~ N(0, I)``.

    Raises:
        ValueError: for a temperature that is not positive.
    """

    needs: ClassVar[type[Estimand]] = Bijection
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature must be positive, not {self.temperature}")

    def __call__(self, estimand: Bijection, noise: Noise, cond: Tensor | None = None) -> Tensor:
        x: Tensor = estimand(self.temperature * noise.normal(*estimand.latent), cond)
        return x


@final
@dataclass(frozen=True)
class ExactDensity(Likelihood):
    """``log p(x) = log N(z; 0, I) + log |det dz/dx|``: exact for reals."""

    needs: ClassVar[type[Estimand]] = Bijection

    @torch.no_grad()
    def __call__(self, estimand: Bijection, batch: Batch, noise: Noise, objective: Objective) -> LogProb:
        return LogProb(log_density(estimand, batch.x, batch.cond), Kind.EXACT, note="change of variables")


# --- presets ----------------------------------------------------------------------------------------------------------


def _only_vectors(space: Space, least: int, what: str) -> Vectors:
    """The space, if it is one of vectors that are long enough.

    Raises:
        TypeError: if not.
    """
    if not isinstance(space, Vectors) or space.dim < least:
        raise TypeError(f"{what} models vectors of at least {least} columns, not {space}")
    return space


def _vectors(space: Vectors, estimand: Bijection, training: Training) -> GenerativeModel:
    """The parts that all flows of vectors share."""
    return GenerativeModel(
        space, Standardised(space), estimand, MaximumLikelihood(), NoiseThenMap(), ExactDensity(), training
    )


def _autoregressive(space: Vectors, map: Monotone, size: tuple[int, int, int], waves: int, drop: float) -> Bijection:
    width, blocks, layers = size
    net = MaskedStack(space.dim, map.values, width, blocks, layers, waves, space.classes, drop)
    return AutoregressiveFlow(net, map, space.dim)


def mixture(space: Space, size: str) -> GenerativeModel:
    """One autoregressive layer whose maps are mixtures of logistics, as in Flow++ (Ho et al. 2019)."""
    space = _only_vectors(space, 1, "this flow")
    shape, components = {"xs": ((48, 1, 1), 8), "s": ((384, 2, 1), 32), "m": ((640, 3, 1), 48)}[size]
    estimand = _autoregressive(space, LogisticMixture(components), shape, 6, 0.0)
    return _vectors(space, estimand, Training(batch_size=512, learning_rate=2e-3))


def spline(space: Space, size: str) -> GenerativeModel:
    """Autoregressive neural spline flow (Durkan et al. 2019)."""
    space = _only_vectors(space, 1, "this flow")
    shape, bins = {"xs": ((32, 1, 2), 8), "s": ((256, 2, 2), 16), "m": ((384, 2, 3), 24)}[size]
    return _vectors(
        space, _autoregressive(space, Spline(bins), shape, 6, 0.0), Training(batch_size=512, learning_rate=2e-3)
    )


def maf(space: Space, size: str) -> GenerativeModel:
    """Masked autoregressive flow: affine maps (Papamakarios, Pavlakou, Murray 2017)."""
    space = _only_vectors(space, 1, "this flow")
    shape = {"xs": (32, 1, 2), "s": (256, 1, 5), "m": (384, 1, 6)}[size]
    return _vectors(
        space, _autoregressive(space, Affine(), shape, 0, 0.0), Training(batch_size=512, learning_rate=1e-3)
    )


def coupling(space: Space, size: str) -> GenerativeModel:
    """Neural spline flow of couplings: samples in one evaluation (Durkan et al. 2019)."""
    space = _only_vectors(space, 2, "a coupling flow")
    bins, width, layers = {"xs": (8, 32, 4), "s": (16, 192, 8), "m": (24, 320, 8)}[size]
    net = CouplingStack(space.dim, Spline(bins), width, 2, layers, space.classes)
    return _vectors(space, CouplingFlow(net, space.shape), Training(batch_size=512, learning_rate=2e-3))


def realnvp(space: Space, size: str) -> GenerativeModel:
    """Real NVP: affine couplings (Dinh, Sohl-Dickstein, Bengio 2017)."""
    space = _only_vectors(space, 2, "a coupling flow")
    width, layers = {"xs": (32, 4), "s": (192, 12), "m": (320, 12)}[size]
    net = CouplingStack(space.dim, Affine(), width, 2, layers, space.classes)
    return _vectors(space, CouplingFlow(net, space.shape), Training(batch_size=512, learning_rate=1e-3))


_PRESETS: Mapping[type, Callable[[Any, str], GenerativeModel]] = {Vectors: spline}


def _preset(space: Space, size: str) -> GenerativeModel:
    """The default recipe of a space.

    Raises:
        TypeError: for a space that flows do not model.
    """
    if type(space) not in _PRESETS:
        raise TypeError(f"flows model vectors and images, not {type(space).__name__}")
    return _PRESETS[type(space)](space, size)


CARD = Card(
    name="flow",
    paradigm=Paradigm.FLOW,
    recipes={"likelihood": _preset, "mixture": mixture, "maf": maf, "coupling": coupling, "realnvp": realnvp},
    summary="An invertible map between noise and data, trained by its exact likelihood.",
)
