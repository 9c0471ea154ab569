"""Latent variables: a bound on the likelihood of a decoder, trained through an encoder.

    log p(x) >= E_q(u|x)[ log p(x | u) + log p(u) - log q(u | x) ]

(Kingma, Welling 2014, https://arxiv.org/abs/1312.6114; Rezende, Mohamed, Wierstra 2014,
https://arxiv.org/abs/1401.4082). The prior of the code ``u`` is itself learned: the image of ``z ~ N(0, I)`` under an
invertible map (Chen et al. 2017, https://arxiv.org/abs/1611.02731), so that the codes it draws are the codes the encoder
gives. Sampling is "draw z from the prior, decode it", once.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from fourfold.codecs import Centred, Standardised
from fourfold.core import (
    Batch,
    GenerativeModel,
    Likelihood,
    LogProb,
    Noise,
    Objective,
    Part,
    Sampler,
    Space,
    Term,
    Training,
)
from fourfold.estimands import Decoder, Observation
from fourfold.nn.coupling import Couplings
from fourfold.nn.ladder import LadderDecoder, LadderEncoder
from fourfold.nn.resnet import ResMLP, ResNetDecoder, ResNetEncoder
from fourfold.spaces import Images, Vectors
from fourfold.vocabulary import Card, Kind, Paradigm, Principle

__all__ = [
    "CARD",
    "AsDraw",
    "AsMean",
    "AsMedian",
    "CodeDecoder",
    "DiscretisedLogistics",
    "Elbo",
    "GaussianHead",
    "Gaussians",
    "Head",
    "ImportanceWeighted",
    "LogisticHead",
    "Observe",
    "PriorThenDecode",
    "VariationalBound",
]

Normal = Callable[..., Tensor]
"""``normal(*event)``: standard normal draws for every row of a batch."""

# --- observation models -----------------------------------------------------------------------------------------------


@final
class Gaussians(Observation):
    """``p(x | z) = prod_i N(x_i; mu_i, exp(log_scale_i)^2)``, for ``mu, log_scale`` of shape ``(B, *event)``."""

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
        """The median of each value, here its mean."""
        return self.mu


@final
class DiscretisedLogistics(Observation):
    """Each pixel a mixture of logistics, integrated over the bins of its levels (Salimans et al. 2017).

        P(x = l) = sum_k pi_k [ F((x + d - mu_k) / s_k) - F((x - d - mu_k) / s_k) ],   F(a) = 1 / (1 + exp(-a)),

    for levels at the points ``2 l / (levels - 1) - 1`` and half-width ``d = 1 / (levels - 1)``; the lowest and the highest
    level take all that lies beyond them, so the masses sum to 1. Pixels and channels are independent given ``z``.
    Differences are taken in logarithms, by ``F(b) - F(a) = F(b) F(-a) (1 - exp(a - b))``, so no mass underflows.

    Reference: Salimans, Karpathy, Chen, Kingma 2017, PixelCNN++ (https://arxiv.org/abs/1701.05517).

    Args:
        logits, mu, log_scale: mixture parameters, ``(B, K, *event)``.
        levels: number of levels.
    """

    def __init__(self, logits: Tensor, mu: Tensor, log_scale: Tensor, levels: int) -> None:
        self.log_pi, self.mu, self.log_scale = functional.log_softmax(logits, 1), mu, log_scale
        self.levels, self.half = levels, 1 / (levels - 1)

    def log_prob(self, x: Tensor) -> Tensor:
        return self.log_masses(x).flatten(1).sum(1)

    def log_masses(self, x: Tensor) -> Tensor:
        """``log P(x_i)`` of every pixel, ``(B, *event)``."""
        x = x[:, None]
        inverse = (-self.log_scale).exp()
        centred = (x - self.mu) * inverse
        step = self.half * inverse
        log_below = functional.logsigmoid(centred + step)
        log_above = functional.logsigmoid(step - centred)
        first, last = x < -1 + self.half, x > 1 - self.half
        inner = log_below + log_above + torch.log(-torch.expm1(-2 * step))
        parts = torch.where(first, log_below, torch.where(last, log_above, inner))
        return torch.logsumexp(self.log_pi + parts, 1)

    def _point(self, level: Tensor) -> Tensor:
        return 2 * self.half * level - 1

    def exceeds(self, level: Tensor) -> Tensor:
        """``P(x > level)`` of every pixel, for levels that broadcast to ``(B, *event)``."""
        edge = (self._point(level) + self.half)[:, None] if level.ndim else self._point(level) + self.half
        return (self.log_pi + functional.logsigmoid((self.mu - edge) * (-self.log_scale).exp())).exp().sum(1)

    def draw(self, noise: Noise) -> Tensor:
        return self._quantile(noise.uniform(*self.mu.shape[2:]))

    def median(self) -> Tensor:
        """The lowest level of each pixel with at least half of the mass at or below it."""
        return self._quantile(self.mu.new_full((), 0.5))

    def _quantile(self, u: Tensor) -> Tensor:
        """The lowest level ``l`` with ``P(x <= l) >= u``, by bisection: one evaluation for each bit of a level."""
        low = torch.zeros_like(self.mu[:, 0])
        high = torch.full_like(low, self.levels - 1)
        for _ in range((self.levels - 1).bit_length()):
            middle = ((low + high) / 2).floor()
            beyond = self.exceeds(middle) > 1 - u
            low, high = torch.where(beyond, (middle + 1).minimum(high), low), torch.where(beyond, high, middle)
        return self._point(low)

    def mean(self) -> Tensor:
        """``E[x] = sum_l P(level > l)`` on the scale of the levels, exact: ``levels - 1`` evaluations."""
        total = torch.zeros_like(self.mu[:, 0])
        for level in range(self.levels - 1):
            total += self.exceeds(self.mu.new_tensor(float(level)))
        return self._point(total)


class Head(Part, ABC):
    """Turns a network's values into an observation model of one example."""

    @property
    @abstractmethod
    def values(self) -> int:
        """How many values for each scalar of an example the network has to give."""

    @abstractmethod
    def __call__(self, h: Tensor) -> Observation:
        """The observation model of ``h``: ``(B, values · C, *)`` for an event ``(C, *)``."""


@final
@dataclass(frozen=True)
class GaussianHead(Head):
    """A mean and a scale for each value; scales stay above ``floor``, so no single point draws unbounded density."""

    floor: float = 1e-3

    @property
    def values(self) -> int:
        return 2

    def __call__(self, h: Tensor) -> Gaussians:
        mu, raw = h.chunk(2, 1)
        return Gaussians(mu, torch.log(self.floor + functional.softplus(raw)))


@final
@dataclass(frozen=True)
class LogisticHead(Head):
    """``components`` logistics for each pixel, discretised to ``levels``; scales stay above ``exp(floor)``."""

    levels: int = 256
    components: int = 2
    floor: float = -6.0

    @property
    def values(self) -> int:
        return 3 * self.components

    def __call__(self, h: Tensor) -> DiscretisedLogistics:
        logits, mu, raw = h.reshape(len(h), 3, self.components, -1, *h.shape[2:]).unbind(1)
        spread = torch.linspace(-1.0, 1.0, 2 * self.components + 1, device=h.device)[1::2]
        mu = mu + spread.reshape(-1, *(1,) * (mu.ndim - 2))
        return DiscretisedLogistics(logits, mu, self.floor + functional.softplus(raw - 1 - self.floor), self.levels)


# --- the estimands ----------------------------------------------------------------------------------------------------


class Explanation(NamedTuple):
    """One draw of an example's code from the encoder's posterior, and what it is worth."""

    observation: Observation
    """``p(x | code)``."""
    log_ratio: Tensor
    """``log q(code | x) - log p(code)`` at the draw, ``(B,)``."""
    divergences: list[Tensor]
    """The divergence from the prior of each part of the code, ``(B,)`` each; in expectation they sum to ``log_ratio``."""
    means: list[Tensor]
    """The posterior means of each part, ``(B, *)``."""


class CodedDecoder(Decoder):
    """A decoder whose code an encoder can infer, so that a bound on ``log p(x)`` can be computed."""

    @abstractmethod
    def explain(self, evidence: Any, encoder: nn.Module, cond: Tensor | None, normal: Normal) -> Explanation:
        """Draw a code from ``q(· | x)``, given ``evidence = encoder(x, cond)``; ``normal(*event)`` draws for each row."""


@final
class CodeDecoder(CodedDecoder):
    """``p(x | z)`` through a vector: ``u = prior(z)``, ``x ~ head(net(u))``.

    ``z ~ N(0, I)`` as for every pushforward; the invertible ``prior`` (none: the identity) makes of it the codes the
    encoder gives, with density ``log p(u) = log N(prior^-1(u)) + log |det d prior^-1 / du|``.

    Args:
        net: codes (and labels) to the head's values.
        head: values to an observation model.
        event: shape of an encoded example.
        codes: length of a code.
        prior: the map from noise to codes.
    """

    def __init__(
        self, net: nn.Module, head: Head, event: tuple[int, ...], codes: int, prior: Couplings | None = None
    ) -> None:
        super().__init__()
        self.net, self.head, self.event, self.latent, self.prior = net, head, tuple(event), (codes,), prior

    def forward(self, z: Tensor, cond: Tensor | None = None) -> Observation:
        return self.head(self.net(z if self.prior is None else self.prior(z, cond), cond))

    def explain(self, evidence: Tensor, encoder: nn.Module, cond: Tensor | None, normal: Normal) -> Explanation:
        q, u = _posterior(evidence, normal)
        log_ratio = q.log_prob(u) - _log_prior(self.prior, u, cond)
        return Explanation(self.head(self.net(u, cond)), log_ratio, [log_ratio], [q.mu])


@final
class RungDecoder(CodedDecoder):
    """``p(x | z)`` through a vector and the noises of a top-down network: ``z = (z_u, eps_1, ..., eps_L)``.

    ``u = prior(z_u)``, ``x ~ head(net(u; eps))``. The posterior of ``eps_l`` given ``x`` and all that is above it is
    ``N(m_l, diag exp(s_l)^2)``, whose divergence from its prior ``N(0, I)`` is taken in closed form.

    Args:
        net: the top-down network.
        head: values to an observation model.
        event: shape of an encoded example.
        codes: length of the vector.
        prior: the map from noise to vectors.
    """

    def __init__(
        self, net: LadderDecoder, head: Head, event: tuple[int, ...], codes: int, prior: Couplings | None = None
    ) -> None:
        super().__init__()
        self.net, self.head, self.event, self.codes, self.prior = net, head, tuple(event), codes, prior
        self.latent = (codes + sum(math.prod(noise) for noise in net.noises),)

    def forward(self, z: Tensor, cond: Tensor | None = None) -> Observation:
        sizes = [self.codes, *(math.prod(noise) for noise in self.net.noises)]
        z_u, *parts = torch.split(z, sizes, 1)
        eps = [part.reshape(-1, *noise) for part, noise in zip(parts, self.net.noises, strict=True)]
        u = z_u if self.prior is None else self.prior(z_u, cond)
        return self.head(self.net(u, cond, lambda rung, h: eps[rung]))

    def explain(
        self, evidence: tuple[Tensor, list[Tensor]], encoder: nn.Module, cond: Tensor | None, normal: Normal
    ) -> Explanation:
        assert isinstance(encoder, LadderEncoder)
        top, maps = evidence
        q, u = _posterior(top, normal)
        log_ratio = q.log_prob(u) - _log_prior(self.prior, u, cond)
        ratios, divergences, means = [log_ratio], [log_ratio], [q.mu]

        def infer(rung: int, h: Tensor) -> Tensor:
            m, s = encoder.infer(rung, maps, h)
            n = normal(*self.net.noises[rung])
            eps = m + s.exp() * n
            ratios.append(((eps.square() - n.square()) / 2 - s).flatten(1).sum(1))
            divergences.append(((m.square() + (2 * s).exp() - 1) / 2 - s).flatten(1).sum(1))
            means.append(m)
            return eps

        observation = self.head(self.net(u, cond, infer))
        return Explanation(observation, torch.stack(ratios).sum(0), divergences, means)


def _posterior(evidence: Tensor, normal: Normal) -> tuple[Gaussians, Tensor]:
    """``q(u | x)``, with scales between ``exp(-7)`` and ``exp(2)``, and a draw of it."""
    mu, raw = evidence.chunk(2, 1)
    q = Gaussians(mu, 4.5 * torch.tanh(raw / 4.5) - 2.5)
    return q, mu + q.log_scale.exp() * normal(*mu.shape[1:])


def _log_prior(prior: Couplings | None, u: Tensor, cond: Tensor | None) -> Tensor:
    """``log p(u)``, ``(B,)``."""
    eps, log_det = (u, u.new_zeros(len(u))) if prior is None else prior.inverse(u, cond)
    return log_det - (eps.square() + math.log(2 * math.pi)).sum(1) / 2


# --- the objective ----------------------------------------------------------------------------------------------------


@final
class VariationalBound(Objective):
    """``-E_q(u|x)[log p(x | u)] + beta · sum_l max(KL_l, free_nats)``, one draw of the code for each example.

    Below ``free_nats`` the divergence of a part of the code costs nothing, which keeps it from collapsing before it is
    used (Kingma et al. 2016, https://arxiv.org/abs/1606.04934). ``beta`` other than 1 trains another trade between code
    and reconstruction (Higgins et al. 2017); the bound that is reported is always the plain one.

    Args:
        encoder: examples (and labels) to the evidence that the decoder explains.
        free_nats: divergence of each part of the code of each example that costs nothing.
        beta: weight of the divergence.
        drop: share of labels hidden while training, so that the model can also be asked without one.
    """

    learns = CodedDecoder
    principle = Principle.BOUND

    def __init__(self, encoder: nn.Module, free_nats: float = 1.0, beta: float = 1.0, drop: float = 0.1) -> None:
        super().__init__()
        self.encoder, self.free_nats, self.beta, self.drop = encoder, free_nats, beta, drop

    def terms(self, estimand: CodedDecoder) -> Mapping[str, Term]:
        return {"bound": BoundTerm(estimand, self.encoder, self.free_nats, self.beta, self.drop)}


@final
class BoundTerm(Term):
    """The one term of :class:`VariationalBound`; watches ``kl``, ``reconstruction`` (nats) and ``active_units``.

    A unit is active when its posterior mean varies by more than 0.01 across the batch (Burda, Grosse, Salakhutdinov
    2016, section 5.2, https://arxiv.org/abs/1509.00519).
    """

    def __init__(self, decoder: CodedDecoder, encoder: nn.Module, free_nats: float, beta: float, drop: float) -> None:
        super().__init__([decoder, encoder])
        self.decoder, self.encoder = decoder, encoder
        self.free_nats, self.beta, self.drop = free_nats, beta, drop

    def forward(self, batch: Batch) -> Tensor:
        x, cond = batch.x, _hidden(batch.cond, self.drop if self.training else 0.0)
        evidence = self.encoder(x, cond)
        found = self.decoder.explain(evidence, self.encoder, cond, lambda *s: torch.randn(len(x), *s, device=x.device))
        log_likelihood = found.observation.log_prob(x)
        kl = torch.stack(found.divergences)
        active = torch.stack([(m.detach().var(0, correction=0) > 0.01).sum() for m in found.means]).sum()
        self.watched = {
            "kl": kl.detach().sum(0).mean(),
            "reconstruction": log_likelihood.detach().mean(),
            "active_units": active.float(),
        }
        return self.beta * kl.clamp(min=self.free_nats).sum(0) - log_likelihood


def _hidden(cond: Tensor | None, share: float) -> Tensor | None:
    """The labels with a random share of them replaced by -1."""
    if cond is None or share == 0:
        return cond
    return torch.where(torch.rand(cond.shape, device=cond.device) < share, -1, cond)


# --- sampling ---------------------------------------------------------------------------------------------------------


class Observe(ABC):
    """What to show of ``p(x | z)``."""

    @abstractmethod
    def __call__(self, observation: Observation, noise: Noise) -> Tensor:
        """One example for each row."""


@final
@dataclass(frozen=True)
class AsDraw(Observe):
    """A draw ``x ~ p(x | z)``: what the model means by a sample, its independent noise in every value included."""

    def __call__(self, observation: Observation, noise: Noise) -> Tensor:
        return observation.draw(noise)


@final
@dataclass(frozen=True)
class AsMean(Observe):
    """``E[x | z]``: without the decoder's noise, so not a sample of ``p(x)``, but what is usually shown of one."""

    def __call__(self, observation: Observation, noise: Noise) -> Tensor:
        return observation.mean()


@final
@dataclass(frozen=True)
class AsMedian(Observe):
    """The median of every pixel given ``z``: without the decoder's noise like the mean, and exact where a level dominates.

    Raises:
        TypeError: for an observation model without a median.
    """

    def __call__(self, observation: Observation, noise: Noise) -> Tensor:
        if not isinstance(observation, (Gaussians, DiscretisedLogistics)):
            raise TypeError(f"{type(observation).__name__} has no median: observe it AsMean() or AsDraw()")
        return observation.median()


@final
@dataclass(frozen=True)
class PriorThenDecode(Sampler):
    """``z ~ N(0, I)``, then ``x`` from ``p(x | z)``, in the way ``observe`` says."""

    needs = Decoder
    observe: Observe = field(default_factory=AsDraw)

    def __call__(self, estimand: Decoder, noise: Noise, cond: Tensor | None = None) -> Tensor:
        z = noise.normal(*estimand.latent)
        return self.observe(estimand(z, cond), noise)


# --- likelihood -------------------------------------------------------------------------------------------------------


@torch.no_grad()
def _log_weights(decoder: CodedDecoder, batch: Batch, noise: Noise, objective: Objective, draws: int) -> Tensor:
    """``log p(x, u) - log q(u | x)`` for ``draws`` codes of every example, ``(draws, B)``."""
    if not isinstance(objective, VariationalBound):
        raise TypeError(f"a bound needs the encoder of a VariationalBound, not a {type(objective).__name__}")
    evidence = objective.encoder(batch.x, batch.cond)
    found = (decoder.explain(evidence, objective.encoder, batch.cond, noise.normal) for _ in range(draws))
    return torch.stack([one.observation.log_prob(batch.x) - one.log_ratio for one in found])


@final
@dataclass(frozen=True)
class Elbo(Likelihood):
    """``E_q[log p(x, u) - log q(u | x)] <= log p(x)``, averaged over ``draws`` codes; one draw has no standard error."""

    needs = CodedDecoder
    draws: int = 2

    def __call__(self, estimand: CodedDecoder, batch: Batch, noise: Noise, objective: Objective) -> LogProb:
        w = _log_weights(estimand, batch, noise, objective, self.draws)
        error = w.std(0) / math.sqrt(self.draws) if self.draws > 1 else torch.full_like(w[0], math.nan)
        note = f"evidence lower bound, {self.draws} draw{'s' * (self.draws > 1)} of the code per example"
        return LogProb(w.mean(0), Kind.LOWER_BOUND, std_error=error, draws=self.draws, note=note)


@final
@dataclass(frozen=True)
class ImportanceWeighted(Likelihood):
    """``log (1/K) sum_k p(x, u_k) / q(u_k | x)``: in expectation below ``log p(x)``, and tighter as K grows.

    The standard error is the delta method's: that of the mean weight, relative to it.

    Reference: Burda, Grosse, Salakhutdinov 2016, Importance Weighted Autoencoders (https://arxiv.org/abs/1509.00519).
    """

    needs = CodedDecoder
    K: int = 64

    def __call__(self, estimand: CodedDecoder, batch: Batch, noise: Noise, objective: Objective) -> LogProb:
        w = _log_weights(estimand, batch, noise, objective, self.K)
        nats = torch.logsumexp(w, 0) - math.log(self.K)
        relative = (w - nats).exp()
        error = relative.std(0) / math.sqrt(self.K) if self.K > 1 else torch.full_like(nats, math.nan)
        note = f"importance weighted bound, K = {self.K} codes per example"
        return LogProb(nats, Kind.LOWER_BOUND, std_error=error, draws=self.K, note=note)


# --- presets ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Size:
    """Channels, residual blocks, code length, and the width of the prior's networks."""

    width: int
    blocks: int
    codes: int
    prior: int
    layers: int
    rungs: int = 1
    channels: int = 4


_IMAGES: Mapping[str, _Size] = {
    "xs": _Size(32, 1, 32, 128, 4),
    "s": _Size(64, 1, 64, 256, 6),
    "m": _Size(96, 2, 128, 512, 8),
}
_VECTORS: Mapping[str, _Size] = {
    "xs": _Size(64, 2, 8, 64, 4),
    "s": _Size(128, 2, 16, 64, 6),
    "m": _Size(256, 4, 32, 128, 8),
}


def convolutional(space: Space, size: str) -> GenerativeModel:
    """A variational autoencoder: residual convolutions for images, residual perceptrons for vectors.

    Raises:
        TypeError: for a space that is neither images nor vectors.
    """
    if isinstance(space, Vectors):
        return _vectors(space, _VECTORS[size])
    if not isinstance(space, Images):
        raise TypeError(f"the latent-variable model is of images or vectors, not of {type(space).__name__}")
    chosen, head, shape = _IMAGES[size], LogisticHead(space.levels), (space.channels, space.height, space.width)
    width, blocks, codes, classes = chosen.width, chosen.blocks, chosen.codes, space.classes
    net = ResNetDecoder(codes, shape, head.values * space.channels, width, blocks, classes)
    encoder = ResNetEncoder(shape, 2 * codes, width, blocks, classes)
    prior = Couplings(codes, chosen.prior, 1, chosen.layers, classes)
    return _model_of(space, CodeDecoder(net, head, space.shape, codes, prior), encoder)


def ladder(space: Space, size: str) -> GenerativeModel:
    """A variational autoencoder of images with noise of its own at every stage of the decoder.

    Raises:
        TypeError: for a space other than images.
    """
    if not isinstance(space, Images):
        raise TypeError(f"the ladder is of images, not of {type(space).__name__}: use latent-variable")
    chosen, head, shape = _IMAGES[size], LogisticHead(space.levels), (space.channels, space.height, space.width)
    codes, classes, rest = chosen.codes, space.classes, (chosen.width, chosen.rungs, chosen.channels, space.classes)
    net = LadderDecoder(codes, shape, head.values * space.channels, *rest)
    prior = Couplings(codes, chosen.prior, 1, chosen.layers, classes)
    return _model_of(space, RungDecoder(net, head, space.shape, codes, prior), LadderEncoder(shape, 2 * codes, *rest))


def _model_of(space: Images, decoder: CodedDecoder, encoder: nn.Module) -> GenerativeModel:
    """The model of images around a decoder and its encoder."""
    return GenerativeModel(
        space,
        Centred(space),
        decoder,
        VariationalBound(encoder, beta=0.3),
        PriorThenDecode(AsMedian()),
        Elbo(),
        Training(batch_size=64, learning_rate=2e-3, muon_rate=3e-2, warmup=0.1),
    )


def _vectors(space: Vectors, size: _Size) -> GenerativeModel:
    codes = min(max(2, space.dim), size.codes)
    head, classes = GaussianHead(), space.classes
    net = ResMLP(codes, head.values * space.dim, size.width, size.blocks, classes)
    encoder = ResMLP(space.dim, 2 * codes, size.width, size.blocks, classes)
    prior = Couplings(codes, size.prior, 1, size.layers, classes)
    return GenerativeModel(
        space,
        Standardised(space),
        CodeDecoder(net, head, space.shape, codes, prior),
        VariationalBound(encoder),
        PriorThenDecode(AsDraw()),
        Elbo(),
        Training(batch_size=256, learning_rate=2e-3, warmup=0.1),
    )


CARD = Card(
    name="latent-variable",
    paradigm=Paradigm.LATENT_VARIABLE,
    recipes={"convolutional": convolutional, "ladder": ladder},
    summary="A variational autoencoder with a learned prior and a discrete likelihood of pixels.",
)
