"""Autoregressive models: a product of conditionals, learned by maximum likelihood and sampled token by token.

    log p(x) = sum_i log p(x_i | x_<i)

Text is modelled by a transformer over tokens, and vectors by a transformer over coordinates with mixtures of normals
and logistics. :mod:`fourfold.paradigms.pixels` models images and clips. The likelihood is exact for all of them.
Sampling caches what later tokens need from earlier ones, so the cost of a sample is proportional to its length.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor

from fourfold.core import (
    Batch,
    Codec,
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
from fourfold.estimands import Conditionals, StepwiseConditionals
from fourfold.maths.categorical import categorical
from fourfold.maths.normal import log_phi
from fourfold.nn.regression import Regression
from fourfold.nn.transformer import NextToken, TokenTransformer, ValueTransformer
from fourfold.nn.vector_mixtures import VectorMixtures
from fourfold.vocabulary import Cost, Kind, Principle

__all__ = [
    "Ancestral",
    "ChainRule",
    "Drawing",
    "LineConditionals",
    "MaximumLikelihood",
    "TokenConditionals",
    "VectorConditionals",
]

LOGISTIC = math.pi / math.sqrt(3)
"""The standard deviation of the logistic distribution of scale 1."""


# --- drawing ----------------------------------------------------------------------------------------------------------


@final
class Uniforms:
    """Uniform numbers for one token after the other, taken from a :class:`Noise` in chunks of fixed size."""

    CHUNK: ClassVar[int] = 64

    def __init__(self, noise: Noise, numbers: int) -> None:
        self._noise, self._numbers = noise, numbers
        self._chunk: list[Tensor] = []

    def next(self) -> Tensor:
        """``(numbers, B)`` for the next token."""
        if not self._chunk:
            chunk = self._noise.uniform(self.CHUNK, self._numbers)
            self._chunk = list(chunk.permute(1, 2, 0).flip(0).unbind(0))
        return self._chunk.pop()


@dataclass
class Drawing:
    """The state of a batch of examples being drawn."""

    cache: Any
    cond: Tensor | None
    last: Tensor
    past: list[Tensor] = field(default_factory=list)
    uniforms: Uniforms | None = None

    def next_uniforms(self, noise: Noise, numbers: int = 1) -> Tensor:
        """``(numbers, B)`` from the stream, opened at the first token."""
        if self.uniforms is None:
            self.uniforms = Uniforms(noise, numbers)
        return self.uniforms.next()


LOGITS = 1 << 28
"""Logits that are held at once outside of training, at most: a vocabulary may have 262,144 tokens."""


# --- the conditionals -------------------------------------------------------------------------------------------------


@final
class TokenConditionals(StepwiseConditionals):
    """``softmax(net(start, x_1, ..., x_{i-1}))`` over tokens.

    A text longer than the network's context is scored in windows that overlap by half. Each but the first counts only
    its new half. Drawing follows the same rule: a full cache is refilled from its last half.

    Args:
        net: gives the logits of the next token. Every window begins with its first start symbol, which
            holds the condition.
        length: number of tokens of one example.
    """

    measure = Measure.COUNTING

    def __init__(self, net: NextToken, length: int) -> None:
        super().__init__()
        self.net = net
        self.event = (length,)

    @property
    def summary(self) -> str:
        return super().summary + self.net.remark

    def fit(self, x: Tensor, cond: Tensor | None, codec: Codec) -> None:
        self.net.fit(x)

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        """``log p(x_i | x_<i)`` of ids of any length, ``(B, L)`` to ``(B, L)``, float32."""
        context = self.net.length
        half = context - context // 2
        parts = [self._window(x[:, :context], cond)]
        for end in range(context + half, x.shape[1] + half, half):
            start = end - context
            parts.append(self._window(x[:, start:end], cond)[:, context - half :])
        return torch.cat(parts, 1)

    def _window(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        """Log-probabilities within one window, ``(B, L)``, in batches whose logits fit into memory."""
        rows = max(LOGITS // (x.shape[1] * self.net.tokens), 1)
        if len(x) > rows and not torch.is_grad_enabled():
            conds = [None] * len(x) if cond is None else torch.split(cond, rows)
            return torch.cat([self._window(part, c) for part, c in zip(torch.split(x, rows), conds, strict=False)])
        ids = torch.cat([self._start(len(x), x.device), x[:, :-1]], 1)
        logits = self.net(ids) if cond is None else self.net(ids, None, cond)
        return -F.cross_entropy(logits.flatten(0, 1), x.flatten(), reduction="none").view(x.shape)

    def _start(self, batch: int, device: torch.device) -> Tensor:
        return torch.full((batch, 1), self.net.tokens, dtype=torch.long, device=device)

    def begin(self, batch: int, cond: Tensor | None = None) -> Drawing:
        start = self._start(batch, next(self.net.parameters()).device)
        cache = self.net.cache(batch) if cond is None else self.net.cache(batch, cond)  # type: ignore[call-arg]
        return Drawing(cache, cond, start, [start])

    def prompt(self, state: Drawing, ids: Tensor) -> Drawing:
        """Feed given tokens ``(B, T)``, T > 0, to a state that has drawn nothing. The next draws continue them."""
        count = self.window(ids.shape[1])
        state.past = [state.past[0], *ids[:, ids.shape[1] - count :].unbind(1)]
        state.past[1:] = [token.unsqueeze(1) for token in state.past[1:]]
        if count:
            self.net.read(torch.cat(state.past[:-1], 1), state.cache)
        state.last = state.past[-1]
        return state

    def read(self, state: Drawing, ids: Tensor) -> None:
        """Feed given tokens ``(B, T)`` to a state, T > 0, as if it had drawn them. They fit into :meth:`room`."""
        self.net.read(torch.cat([state.last, ids[:, :-1]], 1), state.cache)
        state.past += [token.unsqueeze(1) for token in ids.unbind(1)]
        state.last = state.past[-1]

    def window(self, count: int) -> int:
        """The number of the ``count`` earlier tokens that are in the window of the next one."""
        context = self.net.length
        half = context - context // 2
        return count if count < context else context // 2 + (count - context) % half

    def logits(self, state: Drawing) -> Tensor:
        if state.cache.position == self.net.length:
            self._refill(state)
        logits: Tensor = self.net(state.last, state.cache)[:, -1]
        return logits

    def take(self, state: Drawing, token: Tensor) -> None:
        state.last = token.unsqueeze(1)
        state.past.append(state.last)

    def room(self, state: Drawing) -> int:
        """The number of tokens that still fit into the window. A full window is refilled from its last half."""
        if state.cache.position == self.net.length:
            self._refill(state)
        return self.net.length - state.cache.position - 1

    def ahead(self, state: Drawing, tokens: Tensor) -> Tensor:
        """Logits of the next token and of those after each of ``(B, k)`` tokens, ``(B, k + 1, V)``, in one evaluation.

        The ``k`` tokens fit into :meth:`room`. ``state.cache.forget`` and :meth:`take` must follow, for those that are
        not part of the text and for those that are.
        """
        logits: Tensor = self.net(torch.cat([state.last, tokens], 1), state.cache)
        return logits

    def replace(self, state: Drawing, count: int, token: Tensor) -> None:
        """Put ``(B,)`` in the place of the newest ``count`` > 0 tokens, which were taken one after the other."""
        state.cache.forget(count - 1)
        del state.past[len(state.past) - count :]
        self.take(state, token)

    def draw(self, state: Drawing, noise: Noise, temperature: float = 1.0) -> tuple[Tensor, Drawing]:
        token = categorical(self.logits(state) / temperature, state.next_uniforms(noise)[0])
        self.take(state, token)
        return token, state

    def _refill(self, state: Drawing) -> None:
        """Start a new window with the last half of the old one. Its newest token is still to be fed."""
        half = self.net.length // 2
        state.past = [state.past[0], *state.past[len(state.past) - half :]]
        state.cache.clear()
        state.last = state.past[-1]
        if half:
            self.net(torch.cat(state.past[:-1], 1), state.cache)


@final
class LineConditionals(Conditionals):
    """``softmax(net(start, x_1, ..., x_{i-1}, c))`` over tokens up to the end of a text, and only ends behind it.

        log p(x) = sum_{i <= n} log p(x_i | x_<i, c)    for a text of n tokens, its end included

    Args:
        net: gives the logits of the next token. Its start symbol holds the condition.
        length: the most tokens of a text, its end included.
        end: the id that ends a text.
    """

    measure = Measure.COUNTING

    def __init__(self, net: TokenTransformer, length: int, end: int) -> None:
        super().__init__()
        self.net, self.event, self.end = net, (length,), end

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        """``log p(x_i | x_<i, c)``, ``(B, L)``. 0 behind the end of a text."""
        up_to_end = F.pad(x[:, :-1] != self.end, (1, 0), value=True)
        ids = x[:, : int(up_to_end.sum(1).max())]
        logits = self.net(F.pad(ids[:, :-1], (1, 0), value=self.net.tokens), None, cond)
        nats = -F.cross_entropy(logits.flatten(0, 1), ids.flatten(), reduction="none").view(ids.shape)
        return F.pad(nats, (0, x.shape[1] - ids.shape[1])).masked_fill(~up_to_end, 0.0)

    def begin(self, batch: int, cond: Tensor | None = None) -> Drawing:
        start = torch.full((batch, 1), self.net.tokens, dtype=torch.long, device=self.net.head.weight.device)
        return Drawing(self.net.cache(batch, cond), cond, start)

    def draw(self, state: Drawing, noise: Noise, temperature: float = 1.0) -> tuple[Tensor, Drawing]:
        logits = self.net(state.last, state.cache)[:, -1]
        token = categorical(logits / temperature, state.next_uniforms(noise)[0])
        token = torch.where(state.last[:, 0] == self.end, self.end, token)
        state.last = token.unsqueeze(1)
        return token, state


@final
class VectorConditionals(Conditionals):
    """``p(x_i | x_<i, c) = sum_k w_k f_k((x_i - m_k) / s_k) / s_k``, a mixture per coordinate.

    ``f_k`` is the standard normal for even ``k``, and the logistic density of the same variance for odd ``k``. Thus the
    network chooses between narrow and heavy tails.

    Args:
        net: gives three numbers per component and coordinate: log-weight, mean, log-scale.
        dim: length of the vectors.
        components: number of components.
        regression: where there is one, ``x`` above are its residuals.
        mixtures: where there are some, their components stand beside those of the network.
    """

    measure = Measure.LEBESGUE

    def __init__(
        self,
        net: ValueTransformer,
        dim: int,
        components: int,
        regression: Regression | None = None,
        mixtures: VectorMixtures | None = None,
    ) -> None:
        super().__init__()
        self.net, self.components, self.regression, self.mixtures = net, components, regression, mixtures
        self.event = (dim,)

    @property
    def summary(self) -> str:
        beside = "" if self.mixtures is None else ": mixtures of Gaussians beside a network"
        return super().summary + beside

    def fit(self, x: Tensor, cond: Tensor | None, codec: Codec) -> None:
        z = codec.encode(x)[0]
        if self.regression is not None:
            self.regression.fit(z, cond)
        if self.mixtures is not None:
            self.mixtures.fit(z)

    def _mixture(self, parameters: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, means and log-scales, each ``(B, T, K)``, of the last of the values ``(B, D)``.

        Args:
            parameters: the network's numbers for these values, ``(B, T, 3 * components)``.
            x: all values up to them. The last one has no part in its own distribution.
        """
        logits, means, scales = parameters.chunk(3, -1)
        grid = torch.linspace(-2, 2, self.components, device=means.device) if self.components > 1 else 0.0
        means, log_scales = grid + means, (scales - 0.9).clamp(-7, 5)
        if self.mixtures is None:
            return logits, means, log_scales
        share, beside = self.mixtures(x)
        logits = logits.log_softmax(-1) + share[-logits.shape[1] :].unsqueeze(1)
        own, last = (logits, means, log_scales), slice(-logits.shape[1], None)
        logits, means, log_scales = (torch.cat([a, b[:, last]], 2) for a, b in zip(own, beside, strict=True))
        return logits, means, log_scales

    def _normal(self, like: Tensor) -> Tensor:
        """Whether a component is normal, ``(K,)``: every second one of the network, and those beside it."""
        k = torch.arange(like.shape[-1], device=like.device)
        return (k % 2 == 0) | (k >= self.components)

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        """``log p(x_i | x_<i, c)`` of ``(B, D)``, ``(B, D)``, float32."""
        x, log_slopes = (x, 0.0) if self.regression is None else self.regression.residuals(x, cond)
        logits, means, log_scales = self._mixture(self.net(F.pad(x[:, :-1], (1, 0)), cond), x)
        z = (x.unsqueeze(-1) - means) * (-log_scales).exp()
        logistic = math.log(LOGISTIC) - LOGISTIC * z - 2 * F.softplus(-LOGISTIC * z)
        log_density = torch.where(self._normal(z), log_phi(z), logistic) - log_scales
        return (logits.log_softmax(-1) + log_density).logsumexp(-1) + log_slopes

    def begin(self, batch: int, cond: Tensor | None = None) -> Drawing:
        return Drawing(self.net.cache(batch, cond), cond, torch.zeros(batch, device=self.net.head.weight.device))

    def draw(self, state: Drawing, noise: Noise, temperature: float = 1.0) -> tuple[Tensor, Drawing]:
        """One coordinate. A temperature divides the log-weights and multiplies the scales."""
        parameters = self.net(state.last.unsqueeze(1), state.cond, state.cache)
        x = F.pad(torch.stack([*state.past, state.last], 1)[:, 1:], (0, 1))
        logits, means, log_scales = (part[:, 0] for part in self._mixture(parameters, x))
        u = state.next_uniforms(noise, 2)
        component = categorical(logits / temperature, u[0])
        normal, logistic = torch.special.ndtri(u[1].clamp(1e-7, 1 - 1e-7)), torch.logit(u[1], eps=1e-7) / LOGISTIC
        quantile = torch.where(self._normal(logits)[component], normal, logistic)
        scale = temperature * log_scales.gather(1, component.unsqueeze(1)).squeeze(1).exp()
        state.past.append(state.last)
        state.last = means.gather(1, component.unsqueeze(1)).squeeze(1) + scale * quantile
        return self._restored(state), state

    def _restored(self, state: Drawing) -> Tensor:
        """The coordinate whose residual was drawn last, ``(B,)``."""
        if self.regression is None:
            return state.last
        y = torch.stack([*state.past, state.last], 1)[:, 1:]
        whole = F.pad(y, (0, self.event[0] - y.shape[1]))
        return self.regression.restored(whole, state.cond)[:, y.shape[1] - 1]


# --- the two answers --------------------------------------------------------------------------------------------------


@final
class MaximumLikelihood(SingleLoss):
    """``min_theta -E log p_theta(x | c) / L``, in nats per token."""

    learns: ClassVar[type[Estimand]] = Conditionals
    principle = Principle.LIKELIHOOD
    summary = "maximise the log-likelihood of each token given the earlier ones"
    formula = "min_θ −Σ_i log p_θ(x_i | x_<i)"
    term, judges = "likelihood", True

    def separate(self, estimand: Conditionals) -> bool:
        return estimand.separate

    def loss(self, estimand: Conditionals, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        return -estimand(batch.x, forgetful(batch.cond, self.label_dropout)).mean(1), {}


@final
@dataclass(frozen=True)
class Ancestral(Sampler):
    """``x_i ~ p(. | x_<i, c)`` for ``i = 1 .. L``, each at a temperature (1: the model's own distribution).

    Raises:
        ValueError: for a temperature that is not positive.
    """

    needs: ClassVar[type[Estimand]] = Conditionals
    formula = "x_i ~ p_θ(· | x_<i),  i = 1 … L"
    cost = Cost.LENGTH
    temperature: float = 1.0

    @property
    def summary(self) -> str:
        heat = "" if self.temperature == 1 else f", at temperature {self.temperature:g}"
        return f"draw the tokens one after the other, each given the tokens already drawn{heat}"

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}: a small one is nearly greedy")

    def __call__(self, estimand: Conditionals, noise: Noise, cond: Tensor | None = None) -> Tensor:
        state, values = estimand.begin(len(noise), cond), []
        for _ in range(math.prod(estimand.event)):
            value, state = estimand.draw(state, noise, self.temperature)
            values.append(value)
        return torch.stack(values, 1).view(len(noise), *estimand.event)


@final
@dataclass(frozen=True)
class ChainRule(Likelihood):
    """``log p(x) = sum_i log p(x_i | x_<i)``: exact, in one parallel evaluation."""

    needs: ClassVar[type[Estimand]] = Conditionals
    kind = Kind.EXACT
    summary = "the chain rule makes log p(x) a sum over the tokens"

    def __call__(self, estimand: Conditionals, batch: Batch, noise: Noise, objective: Objective) -> LogProb:
        with torch.no_grad():
            nats = estimand(batch.x, batch.cond).sum(1)
        return LogProb(nats, Kind.EXACT, note="chain rule over all tokens")
