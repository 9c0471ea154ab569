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
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from fourfold.core import (
    Batch,
    Likelihood,
    LogProb,
    Noise,
    Objective,
    Part,
    Sampler,
    Term,
    forgetful,
)
from fourfold.estimands import Decoder, Observation
from fourfold.nn.autoencoder import PatchCritic
from fourfold.nn.ladder import LadderDecoder, LadderEncoder
from fourfold.nn.prior import IndependentCodes, Prior, standard_log_prob
from fourfold.nn.quantise import Quantiser, perplexity
from fourfold.vocabulary import Cost, Kind, Principle

__all__ = [
    "AsDraw",
    "AsMean",
    "AsMedian",
    "CodeBound",
    "CodeDecoder",
    "DiscretisedLogistics",
    "Elbo",
    "GaussianHead",
    "Gaussians",
    "Head",
    "ImportanceWeighted",
    "Inference",
    "LogisticHead",
    "Observe",
    "PerceptualBound",
    "PriorThenDecode",
    "QuantisedDecoder",
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

    def centre(self) -> Tensor:
        """The mean, differentiable."""
        return self.mu


@final
class DiscretisedLogistics(Observation):
    """Each pixel a mixture of logistics, integrated over the bins of its levels (Salimans et al. 2017).

        P(x = l) = sum_k pi_k [ F((x + d - mu_k) / s_k) - F((x - d - mu_k) / s_k) ],   F(a) = 1 / (1 + exp(-a)),

    for levels at the points ``2 l / (levels - 1) - 1`` and half-width ``d = 1 / (levels - 1)``; the lowest and the highest
    level take all that lies beyond them, so the masses sum to 1. Pixels and channels are independent given ``z``.
    Differences are taken in logarithms, by ``F(b) - F(a) = F(b) F(-a) (1 - exp(a - b))``, so no mass underflows.

    Paper: Salimans, Karpathy, Chen, Kingma 2017, PixelCNN++ (https://arxiv.org/abs/1701.05517).

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

    def centre(self) -> Tensor:
        """``sum_k pi_k clamp(mu_k, -1, 1)``: near the mean, differentiable, and one pass."""
        return (self.log_pi.exp() * self.mu.clamp(-1, 1)).sum(1)

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
    penalty: Tensor | None = None
    """What training adds to its loss, ``(B,)``."""
    codes: Tensor | None = None
    """The numbers of a quantised code, ``(B, h, w)`` int64."""


class CodedDecoder(Decoder):
    """A decoder whose code an encoder can infer, so that a bound on ``log p(x)`` can be computed."""

    prior: Prior | None

    @property
    def summary(self) -> str:
        prior = "a standard normal prior" if self.prior is None else f"a learned prior ({self.prior.summary})"
        return f"{prior} over codes, and a decoder from codes to a distribution over examples"

    @abstractmethod
    def explain(self, evidence: Any, encoder: nn.Module, cond: Tensor | None, normal: Normal) -> Explanation:
        """Draw a code from ``q(· | x)``, given ``evidence = encoder(x, cond)``; ``normal(*event)`` draws for each row."""


@final
class CodeDecoder(CodedDecoder):
    """``p(x | z)`` through a vector or a map: ``u = prior(z)``, ``x ~ head(net(u))``.

    ``z ~ N(0, I)`` as for every pushforward; the ``prior`` (none: the identity) makes of it the codes the encoder gives,
    with a density ``log p(u)`` of its own.

    Args:
        net: codes (and labels) to the head's values.
        head: values to an observation model.
        event: shape of an encoded example.
        codes: length of a code that is a vector, or ``(channels, h, w)`` of one that is a map.
        prior: the map from noise to codes.
    """

    def __init__(
        self,
        net: nn.Module,
        head: Head,
        event: tuple[int, ...],
        codes: int | tuple[int, ...],
        prior: Prior | None = None,
    ) -> None:
        super().__init__()
        self.net, self.head, self.event, self.prior = net, head, tuple(event), prior
        self.codes = (codes,) if isinstance(codes, int) else tuple(codes)
        self.latent = self.codes if prior is None else prior.noise

    def forward(self, z: Tensor, cond: Tensor | None = None) -> Observation:
        return self.decode(z if self.prior is None else self.prior(z, cond), cond)

    def posterior(self, evidence: Tensor) -> Gaussians:
        """``q(u | x)`` of an encoder's ``evidence``: its ``mu`` and ``log_scale`` have the shape ``(B, *codes)``."""
        return _posterior(evidence)

    def decode(self, u: Tensor, cond: Tensor | None = None) -> Observation:
        """``p(x | u)`` of codes ``(B, *codes)``."""
        return self.head(self.net(u, cond))

    def explain(self, evidence: Tensor, encoder: nn.Module, cond: Tensor | None, normal: Normal) -> Explanation:
        q, u = _drawn(evidence, normal)
        log_ratio = q.log_prob(u) - _log_prior(self.prior, u, cond)
        return Explanation(self.decode(u, cond), log_ratio, [log_ratio], [q.mu])


@final
class QuantisedDecoder(CodedDecoder):
    """``p(x | k)`` through a map of whole numbers ``k``: ``k = prior(z)``, ``x ~ head(net(quantiser.embed(k)))``.

    The posterior is all on one map, that of the quantised evidence, so that

        log p(x) = log sum_k P(k) p(x | k) >= log P(k(x)) + log p(x | k(x)),

    with ``log P(k) = -h w log size`` as long as the prior has learned nothing (van den Oord, Vinyals, Kavukcuoglu 2017,
    https://arxiv.org/abs/1711.00937).

    Args:
        net: maps of vectors (and labels) to the head's values.
        head: values to an observation model.
        event: shape of an encoded example.
        quantiser: vectors to numbers and back.
        prior: the map from noise to maps of numbers ``(h, w)``.
    """

    prior: IndependentCodes

    def __init__(
        self, net: nn.Module, head: Head, event: tuple[int, ...], quantiser: Quantiser, prior: IndependentCodes
    ) -> None:
        super().__init__()
        self.net, self.head, self.event, self.quantiser, self.prior = net, head, tuple(event), quantiser, prior
        self.latent, self.size = prior.noise, quantiser.size

    def forward(self, z: Tensor, cond: Tensor | None = None) -> Observation:
        return self.decode(self.prior(z, cond), cond)

    @property
    def summary(self) -> str:
        prior = f"a learned prior ({self.prior.summary})"
        return f"{prior} over numbered codes ({self.quantiser.summary}), and a decoder to a distribution over examples"

    def codes(self, evidence: Tensor) -> Tensor:
        """The numbers of an encoder's ``evidence``: ``(B, h, w)`` int64 in ``[0, size)``."""
        return self.quantiser(evidence).codes

    def decode(self, codes: Tensor, cond: Tensor | None = None) -> Observation:
        """``p(x | k)`` of numbers ``(B, h, w)``."""
        return self.head(self.net(self.quantiser.embed(codes), cond))

    def explain(self, evidence: Tensor, encoder: nn.Module, cond: Tensor | None, normal: Normal) -> Explanation:
        values, codes, penalty = self.quantiser(evidence)
        log_ratio = -self.prior.log_prob(codes, cond)
        return Explanation(self.head(self.net(values, cond)), log_ratio, [log_ratio], [values], penalty, codes)


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
        self, net: LadderDecoder, head: Head, event: tuple[int, ...], codes: int, prior: Prior | None = None
    ) -> None:
        super().__init__()
        self.net, self.head, self.event, self.codes, self.prior = net, head, tuple(event), codes, prior
        self.top = codes if prior is None else prior.noise[0]
        self.latent = (self.top + sum(math.prod(noise) for noise in net.noises),)

    def forward(self, z: Tensor, cond: Tensor | None = None) -> Observation:
        sizes = [self.top, *(math.prod(noise) for noise in self.net.noises)]
        z_u, *parts = torch.split(z, sizes, 1)
        eps = [part.reshape(-1, *noise) for part, noise in zip(parts, self.net.noises, strict=True)]
        u = z_u if self.prior is None else self.prior(z_u, cond)
        return self.head(self.net(u, cond, lambda rung, h: eps[rung]))

    def explain(
        self, evidence: tuple[Tensor, list[Tensor]], encoder: nn.Module, cond: Tensor | None, normal: Normal
    ) -> Explanation:
        assert isinstance(encoder, LadderEncoder)
        top, maps = evidence
        q, u = _drawn(top, normal)
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


def _posterior(evidence: Tensor) -> Gaussians:
    """``q(u | x)``, with scales between ``exp(-7)`` and ``exp(2)``."""
    mu, raw = evidence.chunk(2, 1)
    return Gaussians(mu, 4.5 * torch.tanh(raw / 4.5) - 2.5)


def _drawn(evidence: Tensor, normal: Normal) -> tuple[Gaussians, Tensor]:
    """``q(u | x)`` and a draw of it."""
    q = _posterior(evidence)
    return q, q.mu + q.log_scale.exp() * normal(*q.mu.shape[1:])


def _log_prior(prior: Prior | None, u: Tensor, cond: Tensor | None) -> Tensor:
    """``log p(u)``, ``(B,)``."""
    return standard_log_prob(u) if prior is None else prior.log_prob(u, cond)


# --- the objective ----------------------------------------------------------------------------------------------------


def _nats(number: float) -> str:
    return f"{number:g} nat{'s' * (number != 1)}"


class Inference(Objective):
    """An objective with an encoder, which a bound needs."""

    learns = CodedDecoder
    principle = Principle.BOUND
    encoder: nn.Module
    """Examples (and labels) to the evidence that the decoder explains."""


@final
class VariationalBound(Inference):
    """``-E_q(u|x)[log p(x | u)] + beta_n · sum_l max(KL_l, free_nats)``, one draw of the code for each example.

    The weight at step ``n`` is ``beta_n = beta · min(1, n / warm)``: a code that costs little at first is not given up
    before the decoder has learned to read it (Bowman et al. 2016, https://arxiv.org/abs/1511.06349; Sonderby et al. 2016).
    Below ``free_nats`` the divergence of a part of the code costs nothing (Kingma et al. 2016,
    https://arxiv.org/abs/1606.04934). ``beta`` other than 1 trains another trade between code and reconstruction (Higgins
    et al. 2017); the bound that is reported is always the plain one.

    Args:
        encoder: examples (and labels) to the evidence that the decoder explains.
        free_nats: divergence of each part of the code of each example that costs nothing.
        beta: weight of the divergence.
        label_dropout: share of labels hidden while training, so that the model can also be asked without one.
        warm: steps in which the weight rises.
    """

    steps: Tensor

    @property
    def summary(self) -> str:
        free = f", with {_nats(self.free_nats)} of it free for each part of the code" if self.free_nats else ""
        if self.beta == 1:
            return f"maximise the evidence lower bound, reconstruction less the KL term{free}"
        only = "; only at weight 1 is that a lower bound on log p(x)"
        return f"maximise reconstruction less {self.beta:g} times the KL term{free}{only}"

    @property
    def formula(self) -> str:
        beta = "" if self.beta == 1 else f"{self.beta:g}·"
        kl = f"Σ_l max(KL_l, {self.free_nats:g})" if self.free_nats else "KL(q_φ(u | x) ‖ p_θ(u))"
        return f"max_θ,φ E_q_φ(u|x)[log p_θ(x | u)] − {beta}{kl}"

    def __init__(
        self, encoder: nn.Module, free_nats: float = 1.0, beta: float = 1.0, label_dropout: float = 0.1, warm: int = 0
    ) -> None:
        super().__init__()
        self.encoder, self.free_nats, self.beta, self.label_dropout, self.warm = (
            encoder,
            free_nats,
            beta,
            label_dropout,
            warm,
        )
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def terms(self, estimand: CodedDecoder) -> Mapping[str, Term]:
        return {"bound": BoundTerm(estimand, self)}

    def weight(self) -> float:
        """Count a step of training and return its ``beta_n``; outside training, ``beta``."""
        if not self.training:
            return self.beta
        self.steps += 1
        return self.beta * min(1.0, int(self.steps) / self.warm) if self.warm else self.beta


@final
class BoundTerm(Term):
    """The one term of :class:`VariationalBound`; watches ``kl``, ``reconstruction`` (nats) and ``active_units``.

    A unit is active when its posterior mean varies by more than 0.01 across the batch (Burda, Grosse, Salakhutdinov
    2016, section 5.2, https://arxiv.org/abs/1509.00519). Where codes are quantised, ``perplexity`` says how many are used.
    """

    judges: ClassVar[bool] = True

    def __init__(self, decoder: CodedDecoder, objective: VariationalBound) -> None:
        super().__init__([decoder, objective.encoder])
        self.decoder, self.objective = decoder, objective

    def forward(self, batch: Batch) -> Tensor:
        found = _explained(self.decoder, self.objective.encoder, batch, self.objective.label_dropout)
        log_likelihood = found.observation.log_prob(batch.x)
        self.watched = _watched(self.decoder, found, log_likelihood)
        return _negative_bound(found, log_likelihood, self.objective.weight(), self.objective.free_nats)


def _explained(decoder: CodedDecoder, encoder: nn.Module, batch: Batch, label_dropout: float) -> Explanation:
    """A draw of every example's code, a share of the labels hidden."""
    x, cond = batch.x, forgetful(batch.cond, label_dropout)
    return decoder.explain(encoder(x, cond), encoder, cond, lambda *s: torch.randn(len(x), *s, device=x.device))


def _negative_bound(found: Explanation, log_likelihood: Tensor, beta: float, free_nats: float) -> Tensor:
    """``beta · sum_l max(KL_l, free_nats) - log p(x | u)`` and what the code asks for, ``(B,)``."""
    loss = beta * torch.stack(found.divergences).clamp(min=free_nats).sum(0) - log_likelihood
    return loss if found.penalty is None else loss + found.penalty


def _watched(decoder: CodedDecoder, found: Explanation, log_likelihood: Tensor) -> dict[str, Tensor]:
    """What every bound watches."""
    active = torch.stack([(m.detach().var(0, correction=0) > 0.01).sum() for m in found.means]).sum()
    watched = {
        "kl": torch.stack(found.divergences).detach().sum(0).mean(),
        "reconstruction": log_likelihood.detach().mean(),
        "active_units": active.float(),
    }
    if found.codes is not None and isinstance(decoder, QuantisedDecoder):
        watched["perplexity"] = perplexity(found.codes, decoder.size)
    return watched


@final
class PerceptualBound(Inference):
    """The bound, and a critic of patches that makes reconstructions look like data, from step ``start`` on.

        bound   beta · KL - log p(x | u) + lambda · [ -D(x^) + feature · sum_l ||f_l(x^) - f_l(x)||^2 / E ||f_l||^2 ]
        critic  max(0, 1 - D(x)) + max(0, 1 + D(x^)) + gamma · (D(x) - D(x + noise))^2

    for the reconstruction ``x^``, the centre of ``p(x | u)``, and the critic's own features ``f_l``, which need no
    weights from elsewhere (Larsen et al. 2016, https://arxiv.org/abs/1512.09300). ``lambda`` is ``adversarial`` times the
    ratio of the two gradients' norms at the reconstruction, so that neither part drowns the other (Esser, Rombach, Ommer
    2021, https://arxiv.org/abs/2012.09841). The third part of the critic's loss approximates the penalty R1.

    Paper: Rombach, Blattmann, Lorenz, Esser, Ommer 2022, High-Resolution Image Synthesis with Latent Diffusion Models
    (https://arxiv.org/abs/2112.10752).

    Args:
        encoder: examples (and labels) to the evidence that the decoder explains.
        critic: images to numbers of patches and features.
        beta, free_nats, label_dropout: as in :class:`VariationalBound`.
        adversarial: the weight of critic and features against the likelihood, as a ratio of gradients.
        feature: weight of the features against the critic's numbers.
        gamma: weight of the critic's penalty.
        start: steps before critic and features count.
    """

    steps: Tensor

    @property
    def summary(self) -> str:
        kl = "the KL term" if self.beta == 1 else f"{self.beta:g} times the KL term"
        return f"maximise reconstruction less {kl}, and make reconstructions look real to a critic of patches"

    @property
    def formula(self) -> str:
        beta = "" if self.beta == 1 else f"{self.beta:g}·"
        looks = f"λ·(D(x̂) − {self.feature:g}·Σ_l ‖f_l(x̂) − f_l(x)‖² / E‖f_l(x)‖²)"
        return f"max_θ,φ E_q_φ(u|x)[log p_θ(x | u)] − {beta}KL + {looks}"

    def __init__(
        self,
        encoder: nn.Module,
        critic: PatchCritic,
        beta: float = 0.1,
        free_nats: float = 0.0,
        label_dropout: float = 0.1,
        adversarial: float = 0.3,
        feature: float = 3.0,
        gamma: float = 10.0,
        start: int = 300,
    ) -> None:
        super().__init__()
        self.encoder, self.critic, self.beta, self.free_nats, self.label_dropout = (
            encoder,
            critic,
            beta,
            free_nats,
            label_dropout,
        )
        self.adversarial, self.feature, self.gamma, self.start = adversarial, feature, gamma, start
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def terms(self, estimand: CodedDecoder) -> Mapping[str, Term]:
        bound = PerceptualTerm(estimand, self)
        return {"bound": bound, "critic": PatchTerm(bound, self)}


@final
class PerceptualTerm(Term):
    """The first term of :class:`PerceptualBound`; watches what :class:`BoundTerm` does, and ``perceptual``, the bracket."""

    def __init__(self, decoder: CodedDecoder, objective: PerceptualBound) -> None:
        super().__init__([decoder, objective.encoder])
        self.decoder, self.objective = decoder, objective
        self.latest: tuple[Tensor, Tensor] | None = None

    def forward(self, batch: Batch) -> Tensor:
        found, settings = (
            _explained(self.decoder, self.objective.encoder, batch, self.objective.label_dropout),
            self.objective,
        )
        log_likelihood = found.observation.log_prob(batch.x)
        self.watched = _watched(self.decoder, found, log_likelihood)
        loss = _negative_bound(found, log_likelihood, settings.beta, settings.free_nats)
        shown = _centre(found.observation)
        self.latest = batch.x, shown.detach()
        if settings.training:
            settings.steps += 1
        if int(settings.steps) <= settings.start or not torch.is_grad_enabled():
            return loss
        return loss + self._perceptual(batch.x, shown, found.observation, log_likelihood)

    def _perceptual(self, x: Tensor, shown: Tensor, observation: Observation, log_likelihood: Tensor) -> Tensor:
        """``lambda · [...]``, ``(B,)``: its value, and the gradient ``lambda · g`` at the reconstruction."""
        leaf = shown.detach().requires_grad_()
        value = self._bracket(x, leaf)
        (g,) = torch.autograd.grad(value.sum(), leaf)
        (likelihood,) = torch.autograd.grad(log_likelihood.sum(), _location(observation), retain_graph=True)
        likelihood = likelihood if likelihood.ndim == g.ndim else likelihood.sum(1)
        weight = self.objective.adversarial * likelihood.norm() / g.norm().clamp(min=1e-12)
        self.watched["perceptual"] = value.detach().mean()
        through = (weight * g * shown).flatten(1).sum(1)
        return through + (weight * value - through).detach()

    def _bracket(self, x: Tensor, shown: Tensor) -> Tensor:
        """``-D(x^) + feature · sum_l ...`` of each example, ``(B,)``."""
        with torch.no_grad():
            _, wanted = self.objective.critic(x)
        number, found = self.objective.critic(shown)
        total = -number.flatten(1).mean(1)
        for f, w in zip(found, wanted, strict=True):
            distance = (f - w).float().square().flatten(1).mean(1) / w.float().square().mean().clamp(min=1e-6)
            total = total + self.objective.feature * distance
        return total


def _location(observation: Observation) -> Tensor:
    """The means that an observation model was made of."""
    if not isinstance(observation, (Gaussians, DiscretisedLogistics)):
        raise TypeError(f"{type(observation).__name__} has no means to balance gradients at: use VariationalBound")
    return observation.mu


def _centre(observation: Observation) -> Tensor:
    """A differentiable reconstruction."""
    if not isinstance(observation, (Gaussians, DiscretisedLogistics)):
        raise TypeError(f"{type(observation).__name__} has no differentiable centre: use VariationalBound")
    return observation.centre()


@final
class PatchTerm(Term):
    """The critic's term of :class:`PerceptualBound`, on the reconstructions that the first term has just made.

    Watches ``critic_accuracy``, the share of patches ranked rightly.
    """

    def __init__(self, bound: PerceptualTerm, objective: PerceptualBound) -> None:
        super().__init__([objective.critic])
        self.bound, self.objective = bound, objective

    def forward(self, batch: Batch) -> Tensor:
        fake = self._reconstructed(batch)
        n, critic = len(batch.x), self.objective.critic
        noised = batch.x + 0.05 * torch.randn_like(batch.x)
        numbers, _ = critic(torch.cat([batch.x, fake, noised]))
        real, false, near = numbers.flatten(1).split(n)
        self.watched = {"critic_accuracy": (real > false).detach().float().mean()}
        hinge = functional.relu(1 - real) + functional.relu(1 + false)
        return (hinge + self.objective.gamma * (real - near).square()).mean(1)

    @torch.no_grad()
    def _reconstructed(self, batch: Batch) -> Tensor:
        """The reconstructions of this very batch: remembered, or made."""
        if self.bound.latest is not None and self.bound.latest[0] is batch.x:
            return self.bound.latest[1]
        found = _explained(self.bound.decoder, self.objective.encoder, batch, self.objective.label_dropout)
        return _centre(found.observation)


# --- sampling ---------------------------------------------------------------------------------------------------------


class Observe(ABC):
    """What to show of ``p(x | z)``."""

    summary: ClassVar[str]
    """What is shown, as a noun in plain English."""
    formula: ClassVar[str]
    """The same as a formula."""

    @abstractmethod
    def __call__(self, observation: Observation, noise: Noise) -> Tensor:
        """One example for each row."""


@final
@dataclass(frozen=True)
class AsDraw(Observe):
    """A draw ``x ~ p(x | z)``: what the model means by a sample, its independent noise in every value included."""

    summary: ClassVar[str] = "a draw given the code"
    formula: ClassVar[str] = "x ~ p_θ(· | u)"

    def __call__(self, observation: Observation, noise: Noise) -> Tensor:
        return observation.draw(noise)


@final
@dataclass(frozen=True)
class AsMean(Observe):
    """``E[x | z]``: without the decoder's noise, so not a sample of ``p(x)``, but what is usually shown of one."""

    summary: ClassVar[str] = "the mean given the code, which is not a draw (AsDraw gives one)"
    formula: ClassVar[str] = "x = E_θ[x | u]"

    def __call__(self, observation: Observation, noise: Noise) -> Tensor:
        return observation.mean()


@final
@dataclass(frozen=True)
class AsMedian(Observe):
    """The median of every pixel given ``z``: without the decoder's noise like the mean, and exact where a level dominates.

    Raises:
        TypeError: for an observation model without a median.
    """

    summary: ClassVar[str] = "the median of each value given the code, which is not a draw (AsDraw gives one)"
    formula: ClassVar[str] = "x_i = median p_θ(x_i | u)"

    def __call__(self, observation: Observation, noise: Noise) -> Tensor:
        if not isinstance(observation, (Gaussians, DiscretisedLogistics)):
            raise TypeError(f"{type(observation).__name__} has no median: observe it AsMean() or AsDraw()")
        return observation.median()


@final
@dataclass(frozen=True)
class PriorThenDecode(Sampler):
    """``z ~ N(0, I)``, then ``x`` from ``p(x | z)``, in the way ``observe`` says."""

    needs = Decoder
    cost = Cost.CONSTANT
    observe: Observe = field(default_factory=AsDraw)

    @property
    def summary(self) -> str:
        return f"draw noise, map it to a code u and show {self.observe.summary}"

    @property
    def formula(self) -> str:
        return f"z ~ N(0, I),  u = prior(z),  {self.observe.formula}"

    @property
    def faithful(self) -> bool:
        return isinstance(self.observe, AsDraw)

    def variants(self) -> Mapping[str, PriorThenDecode]:
        """By the names of the ways to observe."""
        return {type(way).__name__: replace(self, observe=way) for way in (AsDraw(), AsMean(), AsMedian())}

    def __call__(self, estimand: Decoder, noise: Noise, cond: Tensor | None = None) -> Tensor:
        z = noise.normal(*estimand.latent)
        return self.observe(estimand(z, cond), noise)


# --- likelihood -------------------------------------------------------------------------------------------------------


@torch.no_grad()
def _log_weights(decoder: CodedDecoder, batch: Batch, noise: Noise, objective: Objective, draws: int) -> Tensor:
    """``log p(x, u) - log q(u | x)`` for ``draws`` codes of every example, ``(draws, B)``."""
    if not isinstance(objective, Inference):
        raise TypeError(f"a bound needs the encoder of a VariationalBound, not a {type(objective).__name__}")
    evidence = objective.encoder(batch.x, batch.cond)
    found = (decoder.explain(evidence, objective.encoder, batch.cond, noise.normal) for _ in range(draws))
    return torch.stack([one.observation.log_prob(batch.x) - one.log_ratio for one in found])


@final
@dataclass(frozen=True)
class Elbo(Likelihood):
    """``E_q[log p(x, u) - log q(u | x)] <= log p(x)``, averaged over ``draws`` codes; of one draw the error is unknown."""

    needs = CodedDecoder
    kind = Kind.LOWER_BOUND
    draws: int = 2

    @property
    def summary(self) -> str:
        return (
            f"the evidence lower bound (ELBO), with the KL term at weight 1, from {self.draws} codes for each example"
        )

    def __call__(self, estimand: CodedDecoder, batch: Batch, noise: Noise, objective: Objective) -> LogProb:
        w = _log_weights(estimand, batch, noise, objective, self.draws)
        note = f"evidence lower bound, {self.draws} draw{'s' * (self.draws > 1)} of the code per example"
        return LogProb.of_draws(w, Kind.LOWER_BOUND, note)


@final
@dataclass(frozen=True)
class ImportanceWeighted(Likelihood):
    """``log (1/K) sum_k p(x, u_k) / q(u_k | x)``: in expectation below ``log p(x)``, and tighter as K grows.

    Its variance is the delta method's: that of the mean weight, relative to it.

    Paper: Burda, Grosse, Salakhutdinov 2016, Importance Weighted Autoencoders (https://arxiv.org/abs/1509.00519).
    """

    needs = CodedDecoder
    kind = Kind.LOWER_BOUND
    K: int = 64

    @property
    def summary(self) -> str:
        return f"the importance weighted bound from {self.K} codes for each example"

    def __call__(self, estimand: CodedDecoder, batch: Batch, noise: Noise, objective: Objective) -> LogProb:
        w = _log_weights(estimand, batch, noise, objective, self.K)
        nats = torch.logsumexp(w, 0) - math.log(self.K)
        note = f"importance weighted bound, K = {self.K} codes per example"
        relative = LogProb.of_draws((w - nats).exp(), Kind.LOWER_BOUND, note)
        return replace(relative, nats=nats)


@final
@dataclass(frozen=True)
class CodeBound(Likelihood):
    """``log P(k(x)) + log p(x | k(x)) <= log p(x)`` for the quantised code of an example; nothing random remains."""

    needs = QuantisedDecoder
    kind = Kind.LOWER_BOUND
    summary = "the evidence lower bound at the one code of each example"

    def __call__(self, estimand: QuantisedDecoder, batch: Batch, noise: Noise, objective: Objective) -> LogProb:
        w = _log_weights(estimand, batch, noise, objective, 1)[0]
        return LogProb(w, Kind.LOWER_BOUND, note="evidence lower bound at the one code of each example")
