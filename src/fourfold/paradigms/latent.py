"""Latent-variable models: a bound on the likelihood of a decoder, trained through an encoder.

    log p(x) >= E_q(u|x)[ log p(x | u) + log p(u) - log q(u | x) ]

(Kingma, Welling 2014, https://arxiv.org/abs/1312.6114; Rezende, Mohamed, Wierstra 2014,
https://arxiv.org/abs/1401.4082). The prior of the code ``u`` is learned too: it is the image of ``z ~ N(0, I)``
under a map with a density (Chen et al. 2017, https://arxiv.org/abs/1611.02731), so that it draws codes like those of
the encoder. To sample, draw ``z``, map it to a code and decode the code, once.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple, final

import torch
from torch import Tensor, nn

from fourfold.core import (
    Batch,
    Estimand,
    Likelihood,
    LogProb,
    Measure,
    Noise,
    Objective,
    Sampler,
    SingleLoss,
    forgetful,
)
from fourfold.distributions.observations import AsDraw, AsMean, AsMedian, Gaussians, Head, Observe
from fourfold.estimands import Decoder, Observation
from fourfold.maths.normal import standard_log_prob
from fourfold.nn.ladder import LadderDecoder, LadderEncoder
from fourfold.nn.prior import IndependentCodes, Prior
from fourfold.nn.quantise import Quantiser, perplexity
from fourfold.vocabulary import Cost, Kind, Principle

__all__ = [
    "CodeBound",
    "CodeDecoder",
    "CodedDecoder",
    "Elbo",
    "ImportanceWeighted",
    "Inference",
    "PosteriorSample",
    "PriorThenDecode",
    "QuantisedDecoder",
    "RungDecoder",
    "VariationalBound",
]

Normal = Callable[..., Tensor]
"""``normal(*event)``: standard normal draws for every row of a batch."""


# --- the estimands ----------------------------------------------------------------------------------------------------


class PosteriorSample(NamedTuple):
    """One draw of the code of every example from the encoder's posterior."""

    observation: Observation
    """``p(x | code)``."""
    log_ratio: Tensor
    """``log q(code | x) - log p(code)`` at the draw, ``(B,)``."""
    divergences: list[Tensor]
    """The divergence of each part of the code from its prior, ``(B,)``. In expectation they sum to ``log_ratio``."""
    means: list[Tensor]
    """The posterior means of each part, ``(B, *)``."""
    penalty: Tensor | None = None
    """An addition to the loss of training, ``(B,)``."""
    perplexity: Tensor | None = None
    """The effective number of numbers that a quantised code uses. A scalar."""

    def negative_bound(self, log_likelihood: Tensor, beta: float, free_nats: float) -> Tensor:
        """``beta · sum_l max(KL_l, free_nats) - log p(x | u)`` and the penalty, ``(B,)``."""
        loss = beta * torch.stack(self.divergences).clamp(min=free_nats).sum(0) - log_likelihood
        return loss if self.penalty is None else loss + self.penalty

    def watched(self, log_likelihood: Tensor) -> dict[str, Tensor]:
        """``kl`` and ``reconstruction`` (nats), ``active_units``, and the ``perplexity`` of quantised codes.

        A unit is active when its posterior mean varies by more than 0.01 across the batch (Burda, Grosse, Salakhutdinov
        2016, section 5.2, https://arxiv.org/abs/1509.00519).
        """
        active = torch.stack([(m.detach().var(0, correction=0) > 0.01).sum() for m in self.means]).sum()
        watched = {
            "kl": torch.stack(self.divergences).detach().sum(0).mean(),
            "reconstruction": log_likelihood.detach().mean(),
            "active_units": active.float(),
        }
        return watched if self.perplexity is None else {**watched, "perplexity": self.perplexity}


class CodedDecoder(Decoder):
    """A decoder whose code an encoder can infer, so that a bound on ``log p(x)`` can be computed."""

    head: Head
    prior: Prior | None

    @property
    def measure(self) -> Measure | None:
        return self.head.measure

    @property
    def summary(self) -> str:
        prior = "a standard normal prior" if self.prior is None else f"a learned prior ({self.prior.summary})"
        return f"{prior} over codes, and a decoder from codes to a distribution over examples"

    @abstractmethod
    def infer(self, parameters: Any, encoder: nn.Module, cond: Tensor | None, normal: Normal) -> PosteriorSample:
        """Draw a code from ``q(· | x)``.

        Args:
            parameters: the parameters of the posterior, ``encoder(x, cond)``.
            encoder: gives the parameters of those parts of a code that depend on other parts.
            cond: labels.
            normal: draws the noise, ``(B, *event)``.
        """


@final
class CodeDecoder(CodedDecoder):
    """``p(x | z)`` through a vector or a map: ``u = prior(z)``, ``x ~ head(net(u))``.

    ``z ~ N(0, I)`` as for every pushforward. The ``prior`` maps it to codes and has a density ``log p(u)``. Without a
    prior, the code is the noise.

    Args:
        net: maps codes (and labels) to the head's values.
        head: maps values to an observation model.
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

    def posterior(self, parameters: Tensor) -> Gaussians:
        """``q(u | x)`` given the output of an encoder. ``mu`` and ``log_scale`` have the shape ``(B, *codes)``."""
        return gaussian_posterior(parameters)

    def decode(self, u: Tensor, cond: Tensor | None = None) -> Observation:
        """``p(x | u)`` of codes ``(B, *codes)``."""
        return self.head(self.net(u, cond))

    def infer(self, parameters: Tensor, encoder: nn.Module, cond: Tensor | None, normal: Normal) -> PosteriorSample:
        q = self.posterior(parameters)
        u = q.mu + q.log_scale.exp() * normal(*q.mu.shape[1:])
        log_prior = standard_log_prob(u) if self.prior is None else self.prior.log_prob(u, cond)
        log_ratio = q.log_prob(u) - log_prior
        return PosteriorSample(self.decode(u, cond), log_ratio, [log_ratio], [q.mu])


def gaussian_posterior(parameters: Tensor) -> Gaussians:
    """``q(u | x)`` given an encoder's output: means beside scales, which are squashed to ``exp(-7) .. exp(2)``."""
    mu, raw = parameters.chunk(2, 1)
    return Gaussians(mu, 4.5 * torch.tanh(raw / 4.5) - 2.5)


@final
class QuantisedDecoder(CodedDecoder):
    """``p(x | k)`` through a map of whole numbers ``k``: ``k = prior(z)``, ``x ~ head(net(quantiser.embed(k)))``.

    All of the posterior is on one map, the quantised output of the encoder, so that

        log p(x) = log sum_k P(k) p(x | k) >= log P(k(x)) + log p(x | k(x)),

    with ``log P(k) = -h w log size`` as long as the prior has learned nothing (van den Oord, Vinyals, Kavukcuoglu 2017,
    https://arxiv.org/abs/1711.00937).

    Args:
        net: maps grids of vectors (and labels) to the head's values.
        head: maps values to an observation model.
        event: shape of an encoded example.
        quantiser: maps vectors to numbers and back.
        prior: maps noise to grids of numbers ``(h, w)``.
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

    def codes(self, parameters: Tensor) -> Tensor:
        """The numbers of the output of an encoder, ``(B, h, w)`` int64 in ``[0, size)``."""
        return self.quantiser(parameters).codes

    def decode(self, codes: Tensor, cond: Tensor | None = None) -> Observation:
        """``p(x | k)`` of numbers ``(B, h, w)``."""
        return self.head(self.net(self.quantiser.embed(codes), cond))

    def infer(self, parameters: Tensor, encoder: nn.Module, cond: Tensor | None, normal: Normal) -> PosteriorSample:
        values, codes, penalty = self.quantiser(parameters)
        log_ratio = -self.prior.log_prob(codes, cond)
        observation, code_perplexity = self.head(self.net(values, cond)), perplexity(codes, self.size)
        return PosteriorSample(observation, log_ratio, [log_ratio], [values], penalty, code_perplexity)


@final
class RungDecoder(CodedDecoder):
    """``p(x | z)`` through a vector and the noises of a top-down network: ``z = (z_u, eps_1, ..., eps_L)``.

    ``u = prior(z_u)``, ``x ~ head(net(u; eps))``. The posterior of ``eps_l`` given ``x`` and the layers above is
    ``N(m_l, diag exp(s_l)^2)``, whose divergence from its prior ``N(0, I)`` has a closed form.

    Args:
        net: the top-down network.
        head: maps values to an observation model.
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

    def infer(
        self, parameters: tuple[Tensor, list[Tensor]], encoder: nn.Module, cond: Tensor | None, normal: Normal
    ) -> PosteriorSample:
        assert isinstance(encoder, LadderEncoder)
        top, maps = parameters
        q = gaussian_posterior(top)
        u = q.mu + q.log_scale.exp() * normal(*q.mu.shape[1:])
        log_prior = standard_log_prob(u) if self.prior is None else self.prior.log_prob(u, cond)
        log_ratio = q.log_prob(u) - log_prior
        ratios, divergences, means = [log_ratio], [log_ratio], [q.mu]

        def rung_noise(rung: int, h: Tensor) -> Tensor:
            m, s = encoder.infer(rung, maps, h)
            n = normal(*self.net.noises[rung])
            eps = m + s.exp() * n
            ratios.append(((eps.square() - n.square()) / 2 - s).flatten(1).sum(1))
            divergences.append(((m.square() + (2 * s).exp() - 1) / 2 - s).flatten(1).sum(1))
            means.append(m)
            return eps

        observation = self.head(self.net(u, cond, rung_noise))
        return PosteriorSample(observation, torch.stack(ratios).sum(0), divergences, means)


# --- the bound --------------------------------------------------------------------------------------------------------


class Inference(Objective):
    """An objective with an encoder, which a bound needs."""

    learns: ClassVar[type[Estimand]] = CodedDecoder
    principle = Principle.BOUND
    encoder: nn.Module
    """Maps examples (and labels) to the parameters of the posterior."""
    label_dropout: float

    def infer(self, decoder: CodedDecoder, batch: Batch) -> PosteriorSample:
        """A draw of the code of every example, while a share of the labels is hidden."""
        x, cond = batch.x, forgetful(batch.cond, self.label_dropout)
        parameters = self.encoder(x, cond)
        return decoder.infer(parameters, self.encoder, cond, lambda *s: torch.randn(len(x), *s, device=x.device))


@final
class VariationalBound(Inference, SingleLoss):
    """``-E_q(u|x)[log p(x | u)] + beta_n · sum_l max(KL_l, free_nats)``, one draw of the code for each example.

    The weight at step ``n`` is ``beta_n = beta · min(1, n / warm)``: a code that costs little at first is not abandoned
    before the decoder has learned to use it (Bowman et al. 2016, https://arxiv.org/abs/1511.06349; Sonderby et al.
    2016, https://arxiv.org/abs/1602.02282). Below ``free_nats`` the divergence of a part of the code costs nothing
    (Kingma et al. 2016, https://arxiv.org/abs/1606.04934). ``beta`` other than 1 trains another trade between code and
    reconstruction (Higgins et al. 2017, https://openreview.net/forum?id=Sy2fzU9gl); the likelihoods always report the
    plain bound. Training watches the quantities of :meth:`PosteriorSample.watched`.

    Args:
        encoder: maps examples (and labels) to the parameters of the posterior.
        free_nats: the divergence, for each part of the code of each example, that costs nothing.
        beta: weight of the divergence.
        label_dropout: share of labels that training hides, so that the model also learns the distribution without one.
        warm: number of steps in which the weight rises.
    """

    term, judges = "bound", True
    steps: Tensor

    @property
    def summary(self) -> str:
        if self.beta == 1:
            return f"maximise the evidence lower bound, reconstruction less the KL term{self._free}"
        return f"{self._trade('the KL term')}; only at weight 1 is that a lower bound on log p(x)"

    @property
    def formula(self) -> str:
        return self._formula("p_θ(u)")

    def summary_of(self, estimand: CodedDecoder) -> str:
        """With a fitted prior, training draws codes to N(0, I), but p(x) has that prior: no weight gives a bound."""
        if estimand.prior is None or not estimand.prior.fitted:
            return self.summary
        trade = self._trade("KL(q ‖ N(0, I))")
        return f"{trade}, and fit the prior to the codes; since p(x) has that prior, it is no bound on log p(x)"

    def formula_of(self, estimand: CodedDecoder) -> str:
        fitted = estimand.prior is not None and estimand.prior.fitted
        return self._formula("N(0, I)") if fitted else self.formula

    @property
    def _free(self) -> str:
        nats = f"{self.free_nats:g} nat{'s' * (self.free_nats != 1)}"
        return f", with {nats} of it free for each part of the code" if self.free_nats else ""

    def _trade(self, divergence: str) -> str:
        return f"maximise reconstruction less {self.beta:g} times {divergence}{self._free}"

    def _formula(self, prior: str) -> str:
        beta = "" if self.beta == 1 else f"{self.beta:g}·"
        kl = f"KL(q_φ(u | x) ‖ {prior})"
        kl = f"Σ_l max({kl.replace('u', 'u_l')}, {self.free_nats:g})" if self.free_nats else kl
        return f"max_θ,φ E_q_φ(u|x)[log p_θ(x | u)] − {beta}{kl}"

    def __init__(
        self, encoder: nn.Module, free_nats: float = 1.0, beta: float = 1.0, label_dropout: float = 0.1, warm: int = 0
    ) -> None:
        super().__init__(label_dropout)
        self.encoder, self.free_nats, self.beta, self.warm = encoder, free_nats, beta, warm
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def updates(self, estimand: CodedDecoder) -> Sequence[nn.Module]:
        return [estimand, self.encoder]

    def loss(self, estimand: CodedDecoder, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        posterior = self.infer(estimand, batch)
        log_likelihood = posterior.observation.log_prob(batch.x)
        loss = posterior.negative_bound(log_likelihood, self.weight(), self.free_nats)
        return loss, posterior.watched(log_likelihood)

    def weight(self) -> float:
        """Count a step of training and return its ``beta_n``. Outside training, ``beta``."""
        if not self.training:
            return self.beta
        self.steps += 1
        return self.beta * min(1.0, int(self.steps) / self.warm) if self.warm else self.beta


# --- sampling and likelihood ------------------------------------------------------------------------------------------


@final
@dataclass(frozen=True)
class PriorThenDecode(Sampler):
    """``z ~ N(0, I)``, then ``x`` from ``p(x | z)``, in the way ``observe`` says.

    Attributes:
        observe: the way to show ``p(x | z)``: by a draw, or by its mean or median, which are not draws.
    """

    needs: ClassVar[type[Estimand]] = Decoder
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
        """The same sampler with each way to observe, by its name."""
        return {type(way).__name__: replace(self, observe=way) for way in (AsDraw(), AsMean(), AsMedian())}

    def __call__(self, estimand: Decoder, noise: Noise, cond: Tensor | None = None) -> Tensor:
        z = noise.normal(*estimand.latent)
        return self.observe(estimand(z, cond), noise)


@torch.no_grad()
def log_weights(decoder: CodedDecoder, batch: Batch, noise: Noise, objective: Objective, draws: int) -> Tensor:
    """``log p(x, u) - log q(u | x)`` for ``draws`` codes of every example, ``(draws, B)``.

    Raises:
        TypeError: for an objective without an encoder.
    """
    if not isinstance(objective, Inference):
        raise TypeError(
            f"objective must be a VariationalBound, whose encoder the bound needs, got {type(objective).__name__}"
        )
    parameters = objective.encoder(batch.x, batch.cond)
    posteriors = (decoder.infer(parameters, objective.encoder, batch.cond, noise.normal) for _ in range(draws))
    return torch.stack([posterior.observation.log_prob(batch.x) - posterior.log_ratio for posterior in posteriors])


def _of_prior(estimand: CodedDecoder) -> str:
    """The model that a bound is of, where training had another prior."""
    return "" if estimand.prior is None or not estimand.prior.fitted else ", of the model with the fitted prior"


@final
@dataclass(frozen=True)
class Elbo(Likelihood):
    """``E_q[log p(x, u) - log q(u | x)] <= log p(x)``, the evidence lower bound.

    Attributes:
        draws: number of codes drawn for each example. With two or more the error of their average is known.
    """

    needs: ClassVar[type[Estimand]] = CodedDecoder
    kind = Kind.LOWER_BOUND
    draws: int = 2

    @property
    def summary(self) -> str:
        return (
            f"the evidence lower bound (ELBO), with the KL term at weight 1, from {self.draws} codes for each example"
        )

    def summary_of(self, estimand: CodedDecoder) -> str:
        return self.summary + _of_prior(estimand)

    def __call__(self, estimand: CodedDecoder, batch: Batch, noise: Noise, objective: Objective) -> LogProb:
        w = log_weights(estimand, batch, noise, objective, self.draws)
        note = f"evidence lower bound, {self.draws} draw{'s' * (self.draws > 1)} of the code per example"
        return LogProb.of_draws(w, Kind.LOWER_BOUND, note)


@final
@dataclass(frozen=True)
class ImportanceWeighted(Likelihood):
    """``log (1/K) sum_k p(x, u_k) / q(u_k | x)``: in expectation below ``log p(x)``, and tighter as ``K`` grows.

    Its variance is that of the mean weight relative to it (the delta method). Burda, Grosse, Salakhutdinov 2016,
    Importance Weighted Autoencoders (https://arxiv.org/abs/1509.00519).

    Attributes:
        K: number of codes drawn for each example.
    """

    needs: ClassVar[type[Estimand]] = CodedDecoder
    kind = Kind.LOWER_BOUND
    K: int = 64

    @property
    def summary(self) -> str:
        return f"the importance weighted bound from {self.K} codes for each example"

    def summary_of(self, estimand: CodedDecoder) -> str:
        return self.summary + _of_prior(estimand)

    def __call__(self, estimand: CodedDecoder, batch: Batch, noise: Noise, objective: Objective) -> LogProb:
        w = log_weights(estimand, batch, noise, objective, self.K)
        nats = torch.logsumexp(w, 0) - math.log(self.K)
        note = f"importance weighted bound, K = {self.K} codes per example"
        relative = LogProb.of_draws((w - nats).exp(), Kind.LOWER_BOUND, note)
        return replace(relative, nats=nats)


@final
@dataclass(frozen=True)
class CodeBound(Likelihood):
    """``log P(k(x)) + log p(x | k(x)) <= log p(x)`` for the quantised code of an example. Nothing is random."""

    needs: ClassVar[type[Estimand]] = QuantisedDecoder
    kind = Kind.LOWER_BOUND
    summary = "the evidence lower bound at the one code of each example"

    def __call__(self, estimand: QuantisedDecoder, batch: Batch, noise: Noise, objective: Objective) -> LogProb:
        w = log_weights(estimand, batch, noise, objective, 1)[0]
        return LogProb(w, Kind.LOWER_BOUND, note="evidence lower bound at the one code of each example")
