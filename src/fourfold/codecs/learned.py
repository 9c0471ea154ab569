"""Learned codecs: the encoder and decoder of a model that is trained first."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol, cast, final

import torch
from torch import Tensor

from fourfold.core import CachedCodec, GenerativeModel, Measure, Noise, Stage, Staged
from fourfold.estimands import Observation

__all__ = ["LearnedCodec", "QuantisedCodec"]


class _Posterior(Protocol):
    """``q(u | x)``, a Gaussian with a scale for each number."""

    mu: Tensor
    log_scale: Tensor

    def log_prob(self, x: Tensor) -> Tensor: ...


class _GaussianCodes(Protocol):
    """The estimand of an autoencoder whose codes are real numbers."""

    codes: tuple[int, ...]

    def posterior(self, parameters: Tensor) -> _Posterior: ...

    def decode(self, u: Tensor) -> Observation: ...


class _NumberedCodes(Protocol):
    """The estimand of an autoencoder whose codes are whole numbers below ``size``."""

    size: int

    def codes(self, parameters: Tensor) -> Tensor: ...

    def decode(self, codes: Tensor) -> Observation: ...


class _Autoencoding(CachedCodec, Staged):
    """The encoder and decoder of an autoencoder that is trained first.

    Attributes:
        stage: the name of its training.
        methods: those that its estimand must have.

    Args:
        autoencoder: an unconditional model of the raw space, whose prior the codec does not use.
        share: the autoencoder's share of the budget.

    Raises:
        TypeError: for a model without an encoder, or whose estimand lacks one of the methods.
    """

    stage: ClassVar[str]
    methods: ClassVar[tuple[str, ...]]

    def __init__(self, autoencoder: GenerativeModel, share: float) -> None:
        super().__init__()
        missing = [name for name in self.methods if not hasattr(autoencoder.estimand, name)]
        if missing or not hasattr(autoencoder.objective, "encoder"):
            raise TypeError(
                f"codec must be an objective with an encoder, and an estimand with {', '.join(self.methods)}, got "
                f"{type(autoencoder.objective).__name__} and {type(autoencoder.estimand).__name__}"
            )
        self.autoencoder, self.share = autoencoder, share

    @property
    def _observe(self) -> Any:
        """The way in which the autoencoder's sampler shows ``p(y | u)``, or ``None``."""
        return getattr(self.autoencoder.sampler, "observe", None)

    @property
    def decoding(self) -> str:
        way = "the mean given the code" if self._observe is None else self._observe.summary
        return f"decode the code and show {way}"

    @property
    def faithful(self) -> bool:
        return self.autoencoder.sampler.faithful and self._observe is not None

    def stages(self) -> list[Stage]:
        return [Stage(self.stage, self.autoencoder, self.share)]

    def _posterior_parameters(self, y: Tensor) -> Tensor:
        """The parameters of the posterior of examples that the autoencoder's own codec has encoded."""
        encoder = cast("Callable[..., Tensor]", self.autoencoder.objective.encoder)
        return encoder(y, None)

    def _raw(self, observation: Observation, noise: Noise | None) -> Tensor:
        """Raw examples of ``p(y | u)`` in the way of the autoencoder's sampler. Without noise, the mean."""
        still = noise is None or self._observe is None
        y = observation.mean() if still else self._observe(observation, noise)
        return self.autoencoder.codec.decode(y, noise)


@final
class LearnedCodec(_Autoencoding):
    """The encoder and decoder of a model that is trained first: ``z = (u - mean) / scale`` for ``u ~ q(u | x)``.

    ``log p(x | z) - log q(z | x)`` takes the place of a log-determinant. With it a likelihood of codes becomes

        log p(x) >= E_q[ log p(z) + log p(x | z) - log q(z | x) ],

    the evidence lower bound of the two models together, with equality where ``q`` is the true posterior (Vahdat,
    Kreis, Kautz 2021, https://arxiv.org/abs/2106.05931). ``mean`` and ``scale`` of each channel (of each number, where
    codes are vectors) bring the codes of the training data to mean 0 and variance 1. This is the one place where they
    are scaled (Rombach et al. 2022, https://arxiv.org/abs/2112.10752).

    Args:
        autoencoder: an unconditional model of the raw space, whose prior the codec does not use.
        share: the autoencoder's share of the budget.

    Raises:
        TypeError: for a model without an encoder, or without codes that are real numbers.
    """

    stage, methods = "autoencoder", ("posterior", "decode", "codes")
    measure = Measure.LEBESGUE
    random = True
    bound = "with a code drawn for each example it is, in expectation, a lower bound on log p(x)"
    mean: Tensor
    scale: Tensor

    FITTED = 4096
    """The number of examples from which mean and scale are computed."""

    def __init__(self, autoencoder: GenerativeModel, share: float = 0.4) -> None:
        super().__init__(autoencoder, share)
        self.event = tuple(self._decoder.codes)
        shape = (self.event[0], *(1 for _ in self.event[1:]))
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("scale", torch.ones(shape))

    def variants(self) -> Mapping[str, LearnedCodec]:
        """The same codec with each way to observe ``p(x | z)``, by its name. Weights, mean and scale are shared."""
        codecs = {}
        for name, autoencoder in self.autoencoder.variants().items():
            codecs[name] = LearnedCodec(autoencoder, self.share)
            codecs[name].mean, codecs[name].scale = self.mean, self.scale
        return codecs

    @property
    def _decoder(self) -> _GaussianCodes:
        return cast("_GaussianCodes", self.autoencoder.estimand)

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Set mean and scale to those of the codes of the data, including the spread of the posteriors."""
        sample = x[:: max(len(x) // self.FITTED, 1)][: self.FITTED]
        parameters = torch.cat([self.analyse(part.to(self.mean.device)) for part in torch.split(sample, 256)])
        q, over = self._decoder.posterior(parameters), [0, *range(2, parameters.ndim)]
        variance = q.mu.double().var(over, correction=0) + (2 * q.log_scale.double()).exp().mean(over)
        self.mean.copy_(q.mu.double().mean(over).reshape(self.mean.shape))
        self.scale.copy_(variance.sqrt().reshape(self.scale.shape))

    @torch.no_grad()
    def analyse(self, x: Tensor) -> Tensor:
        return self._posterior_parameters(self.autoencoder.codec.encode(x)[0])

    @torch.no_grad()
    def draw(self, analysis: Tensor) -> Tensor:
        q = self._decoder.posterior(analysis)
        return (q.mu + q.log_scale.exp() * torch.randn_like(q.mu) - self.mean) / self.scale

    @torch.no_grad()
    def encode(self, x: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        y, log_det = self.autoencoder.codec.encode(x, noise)
        q = self._decoder.posterior(self._posterior_parameters(y))
        n = torch.randn_like(q.mu) if noise is None else noise.normal(*self.event)
        u = q.mu + q.log_scale.exp() * n
        # q(z | x) = q(u | x) · |du / dz|
        log_q = q.log_prob(u) + self.scale.log().expand(self.event).sum()
        return (u - self.mean) / self.scale, log_det + self._decoder.decode(u).log_prob(y) - log_q

    def observation(self, z: Tensor) -> Observation:
        """``p(y | z)`` of the examples that the autoencoder's own codec encodes, differentiable in the codes."""
        return self._decoder.decode(z.float() * self.scale + self.mean)

    @torch.no_grad()
    def decode(self, z: Tensor, noise: Noise | None = None) -> Tensor:
        return self._raw(self.observation(z), noise)


@final
class QuantisedCodec(_Autoencoding):
    """Codes that are whole numbers: ``(B, h w)`` tokens in raster order, one sequence ``k(x)`` for each example.

    ``log p(x | k(x))`` takes the place of a log-determinant. With a mass of sequences, ``log p(x) >= log P(k(x)) + log
    p(x | k(x))`` (van den Oord, Vinyals, Kavukcuoglu 2017, https://arxiv.org/abs/1711.00937).

    Args:
        autoencoder: an unconditional model of the raw space, whose prior the codec does not use.
        grid: height and width of a map of codes.
        share: the autoencoder's share of the budget.

    Raises:
        TypeError: for a model without an encoder, or without codes that are numbered.
    """

    stage, methods = "tokenizer", ("codes", "decode", "size")
    measure = Measure.COUNTING
    bound = "with the one code of each example it is a lower bound on log p(x)"

    def __init__(self, autoencoder: GenerativeModel, grid: tuple[int, int], share: float = 0.4) -> None:
        super().__init__(autoencoder, share)
        self.grid, self.size, self.event = tuple(grid), self._decoder.size, (math.prod(grid),)

    def variants(self) -> Mapping[str, QuantisedCodec]:
        """The same codec with each way to observe ``p(x | k)``, by its name. Weights are shared."""
        models = self.autoencoder.variants()
        return {name: QuantisedCodec(model, (self.grid[0], self.grid[1]), self.share) for name, model in models.items()}

    @property
    def _decoder(self) -> _NumberedCodes:
        return cast("_NumberedCodes", self.autoencoder.estimand)

    @property
    def random(self) -> bool:
        """True if the autoencoder's own codec draws. The code is a function of the example."""
        return self.autoencoder.codec.random

    @torch.no_grad()
    def analyse(self, x: Tensor) -> Tensor:
        """The codes, in few bytes."""
        y = self.autoencoder.codec.encode(x)[0]
        return self._decoder.codes(self._posterior_parameters(y)).flatten(1).int()

    def draw(self, analysis: Tensor) -> Tensor:
        """The codes: nothing is drawn."""
        return analysis.long()

    @torch.no_grad()
    def encode(self, x: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        y, log_det = self.autoencoder.codec.encode(x, noise)
        codes = self._decoder.codes(self._posterior_parameters(y))
        return codes.flatten(1), log_det + self._decoder.decode(codes).log_prob(y)

    @torch.no_grad()
    def decode(self, z: Tensor, noise: Noise | None = None) -> Tensor:
        codes = z.clamp(0, self.size - 1).reshape(len(z), *self.grid)
        return self._raw(self._decoder.decode(codes), noise)
