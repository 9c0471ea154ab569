"""Autoregressive models of clips of sound, sample by sample: a network corrects linear prediction. Exact masses.

    P(x_t | x_<t) = sum_k w_k(x_<t) [F((x_t + 1/2 - m_k) / s_k) - F((x_t - 1/2 - m_k) / s_k)],  F(a) = 1 / (1 + exp(-a))

Weights, means and scales are those of :class:`~fourfold_speech.baselines.PredictedSamples` where the network gives
zeros, as it does before training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import Batch, Codec, Estimand, Measure, Noise, Part, Reading, SingleLoss, Uncompiled, forgetful
from fourfold.distributions.observations import DiscretisedLogistics
from fourfold.estimands import Conditionals
from fourfold.maths.categorical import categorical
from fourfold.nn.entry import ConditionEntry, Passed, read
from fourfold.nn.layers import linear, zeroed
from fourfold.paradigms.autoregressive import Uniforms
from fourfold.vocabulary import Principle
from fourfold_speech.baselines import BINS, PredictedSamples
from fourfold_speech.codecs import CentredSamples
from fourfold_speech.prediction import (
    BLOCK,
    FAR,
    ORDER,
    RELATIVE,
    SCALES,
    WINDOW,
    filters,
    mean_size,
    predicted,
    scales,
    sizes,
)

__all__ = ["Correction", "SampleConditionals", "SampleLikelihood"]

PARTS = len(SCALES) + len(RELATIVE)
"""Logistics of a mixture."""
ERRORS, SAMPLES = 160, 32
"""Errors of predictions, and samples, that the network sees: 20 and 4 ms at 8,000 Hz."""
MOST = 8.0
"""The most by which the network changes the logarithm of a scale."""
AT_ONCE = 1 << 14
"""Samples that are scored at once, at most: a multiple of a block."""
DEPENDS = -(-(WINDOW + ERRORS + max(FAR, ORDER)) // BLOCK) * BLOCK
"""The most samples before one on which its law depends, in whole blocks."""
STRETCH = 2048
"""Samples from which those of a clip are drawn that a step scores, about."""
POINTS = CentredSamples.n_values - 1
SILENCE = 1 / POINTS
"""The code of a sample of 0."""


class Past(NamedTuple):
    """The past of some samples: they are ``(N,)``, and all parts float64."""

    mu: Tensor
    """Linear predictions, ``(N,)``."""
    size: Tensor
    """The size of the errors before, ``(N,)``."""
    errors: Tensor
    """The last :data:`ERRORS` errors, ``(N, ERRORS)``."""
    samples: Tensor
    """The last :data:`SAMPLES` samples, ``(N, SAMPLES)``."""


@final
class Correction(Part, nn.Module):
    """The past of a sample to three numbers for each logistic of its law, ``(N, 3, PARTS)`` float32: 0 at first.

    A residual perceptron sees the last errors, as multiples of their size, the last samples, as multiples of theirs,
    and both sizes. So it knows nothing of how loud a clip is but by two of its inputs.

    Args:
        width: length of the residual stream.
        depth: number of residual blocks.
        reading: reads the condition, or ``None``.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("entry", "exit")

    def __init__(self, width: int, depth: int, reading: Reading | None = None) -> None:
        super().__init__()
        self.reading = reading
        self.given = ConditionEntry.of(Passed.of(reading), width)
        self.entry = linear(ERRORS + SAMPLES + 4, width)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(depth))
        self.exit = zeroed(nn.Linear(width, 3 * PARTS))

    def condition(self, cond: Tensor | None, batch: int) -> Tensor | None:
        """The vectors of conditions, ``(B, width)``. ``None`` for a network without them."""
        return read(self.reading, cond, batch)

    def forward(self, past: Past, c: Tensor | None = None) -> Tensor:
        h = self.entry(_features(past).to(self.entry.weight.dtype))
        if self.given is not None and c is not None:
            h = h + self.given.share(c)
        for block in self.blocks:
            h = block(h)
        return self.exit(F.silu(h)).float().unflatten(1, (3, PARTS))


@final
class _Block(nn.Module):
    """``h + W_2 phi(W_1 norm(h))`` with ``phi`` = SiLU. Silent at the start."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.first, self.second = linear(width, width), zeroed(nn.Linear(width, width))

    def forward(self, h: Tensor) -> Tensor:
        update: Tensor = self.second(F.silu(self.first(self.norm(h))))
        return h + update


def _features(past: Past) -> Tensor:
    """The input of the network, ``(N, ERRORS + SAMPLES + 4)`` float32, of order one."""
    mu, size, errors, samples = (part.float() for part in past)
    mu, size, loud = mu.unsqueeze(1), size.unsqueeze(1), samples.abs().mean(1, keepdim=True) + 0.5
    last = torch.asinh((mu - samples[:, -1:]) / size) / 3
    levels = [(size.log() - 3) / 3, (loud.log() - 5) / 3, (size / loud).log() / 3, last]
    return torch.cat([torch.asinh(errors / size) / 2, samples / loud / 2, *levels], 1)


@dataclass
class _Drawing:
    """The state of clips that are drawn: samples, from the window before the first on, and errors of predictions."""

    samples: Tensor
    errors: Tensor
    c: Tensor | None
    filters: Tensor
    uniforms: Uniforms | None = None
    count: int = 0


@final
class SampleConditionals(Conditionals):
    """``P(x_t | x_<t, c)``: mixtures of logistics about linear predictions, which a network corrects.

    The network adds to the logarithms of weights and scales, and multiples of the size of errors to means. It is silent
    where all samples that it sees are 0, so silence is that of the prediction. The prediction's own weights, which
    depend on the size of the errors before, are fitted before the first step.

    Args:
        net: gives the corrections.
        length: samples of a clip.
    """

    measure = Measure.COUNTING
    ends: Tensor
    log_weights: Tensor

    def __init__(self, net: Correction, length: int) -> None:
        super().__init__()
        self.net, self.length, self.event = net, length, (1, length)
        self.register_buffer("ends", torch.full((BINS - 1,), torch.inf, dtype=torch.float64))
        self.register_buffer("log_weights", torch.zeros(BINS, PARTS, dtype=torch.float64))
        self.predicted = Uncompiled(_predictions)

    @property
    def summary(self) -> str:
        return f"{super().summary}: linear predictions, corrected by a network"

    @torch.no_grad()
    def fit(self, x: Tensor, cond: Tensor | None, codec: Codec) -> None:
        """Take the closed form's distribution of errors from clips ``(N, L)``."""
        assert isinstance(codec, CentredSamples)  # the codec of these models
        baseline = PredictedSamples.fit(codec.space, x.cpu())
        self.ends.fill_(torch.inf)[: len(baseline.ends)] = baseline.ends.to(self.ends)
        self.log_weights.zero_()[: len(baseline.ends) + 1] = baseline.residuals.weights.log().to(self.ends)

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        few = max(AT_ONCE // self.length, 1)
        conds = [None] * len(x) if cond is None else torch.split(cond, few)
        return torch.cat([self._whole(part, c) for part, c in zip(torch.split(x, few), conds, strict=False)])

    def _whole(self, x: Tensor, cond: Tensor | None) -> Tensor:
        """The same of a few clips, in stretches behind the past that they depend on: long clips need little memory."""
        padded = F.pad(x, (DEPENDS, 0), value=SILENCE)
        stretches = [padded[:, :, start : start + DEPENDS + AT_ONCE] for start in range(0, self.length, AT_ONCE)]
        places = [torch.arange(DEPENDS, part.shape[2], device=x.device).expand(len(x), -1) for part in stretches]
        return torch.cat([self.at(part, at, cond) for part, at in zip(stretches, places, strict=True)], 1)

    def at(self, x: Tensor, places: Tensor, cond: Tensor | None = None) -> Tensor:
        """``log P(x_t | x_<t, c)`` at places ``(B, k)`` of clips ``(B, 1, L)``, ``(B, k)`` float32."""
        values = ((x[:, 0].double() * POINTS - 1) / 2).round()
        mu, errors, size = self.predicted(values).unbind(0)
        rows = torch.arange(len(x), device=x.device)[:, None].expand_as(places)
        before = [
            F.pad(part, (count, 0)).unfold(1, count, 1)[rows, places].flatten(0, 1)
            for part, count in ((errors, ERRORS), (values, SAMPLES))
        ]
        c = self.net.condition(cond, len(x))
        c = None if c is None else c.repeat_interleave(places.shape[1], 0)
        law = self.law(Past(mu[rows, places].flatten(), size[rows, places].flatten(), *before), c)
        return law.log_masses(x[:, 0].gather(1, places).flatten().double()).float().view(places.shape)

    def law(self, past: Past, c: Tensor | None = None) -> DiscretisedLogistics:
        """The law of the next samples, ``(N,)``, given their past and the vectors of their conditions."""
        correction = self.net(past, c).double() * (past.samples.any(1) | past.errors.any(1))[:, None, None]
        weights, shift, growth = correction.unbind(1)
        weights = weights + self.log_weights[torch.bucketize(past.size, self.ends, right=True)]
        mu = past.mu.unsqueeze(1) + past.size.unsqueeze(1) * shift
        log_scale = scales(past.size).log() + growth.clamp(-MOST, MOST) + math.log(2 / POINTS)
        return DiscretisedLogistics(weights, (2 * mu + 1) / POINTS, log_scale, CentredSamples.n_values)

    # --- drawing ------------------------------------------------------------------------------------------------------

    def begin(self, batch: int, cond: Tensor | None = None) -> _Drawing:
        samples, errors = (self.ends.new_zeros(batch, count + self.length) for count in (WINDOW, ERRORS))
        return _Drawing(samples, errors, self.net.condition(cond, batch), self.ends.new_zeros(batch, ORDER))

    def draw(self, state: _Drawing, noise: Noise, temperature: float = 1.0) -> tuple[Tensor, _Drawing]:
        """One sample. A temperature divides the log-weights and multiplies the scales."""
        t, state.uniforms = state.count, state.uniforms or Uniforms(noise, 2)
        window, errors = state.samples[:, t : t + WINDOW], state.errors[:, t : t + ERRORS]
        if t % BLOCK == 0:
            state.filters = filters(window)
        mu, size = (window[:, -ORDER:] * state.filters).sum(1), mean_size(errors[:, -FAR:].abs())
        law = self.law(Past(mu, size, errors, window[:, -SAMPLES:]), state.c)
        u = state.uniforms.next()
        part = categorical(law.log_pi.float() / temperature, u[0]).unsqueeze(1)
        mean, scale = (value.gather(1, part).squeeze(1) for value in (law.mu, law.log_scale.exp()))
        point = mean + temperature * scale * torch.logit(u[1].double(), eps=1e-12)
        value = (
            ((point * POINTS - 1) / 2).round().clamp(-CentredSamples.n_values // 2, CentredSamples.n_values // 2 - 1)
        )
        state.samples[:, t + WINDOW], state.errors[:, t + ERRORS] = value, value - mu
        state.count += 1
        return ((2 * value + 1) / POINTS).float(), state


@torch.no_grad()
def _predictions(values: Tensor) -> Tensor:
    """Linear predictions, their errors and the sizes of those before, ``(3, B, L)`` float64."""
    mu = predicted(values)
    return torch.stack([mu, values - mu, sizes(values - mu)])


@final
class SampleLikelihood(SingleLoss):
    """``min_theta -E log P(x_t | x_<t, c)``, in nats per sample, of a few places of each clip.

    Places are drawn anew in each step. Neighbours teach nearly the same, so a few of many clips are worth more.

    Args:
        places: samples of a clip that are scored.
        label_dropout: share of conditions that training hides.
    """

    learns: ClassVar[type[Estimand]] = SampleConditionals
    principle = Principle.LIKELIHOOD
    summary = "maximise the log-likelihood of samples given the earlier ones, at a few places of each clip"
    formula = "min_θ −E_t log p_θ(x_t | x_<t)"
    term, judges = "likelihood", True

    def __init__(self, places: int = 256, label_dropout: float = 0.1) -> None:
        super().__init__(label_dropout)
        self.places = places

    def loss(self, estimand: SampleConditionals, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        x, places = self._stretches(batch.x)
        return -estimand.at(x, places, forgetful(batch.cond, self.label_dropout)).mean(1), {}

    def _stretches(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """A stretch of each clip ``(B, 1, L)`` behind the past that it depends on, and places in it, ``(B, places)``.

        A stretch is drawn by one place of it, so all places of a clip are equally likely.
        """
        (batch, _, length), device = x.shape, x.device
        count = -(-length // STRETCH)
        span = -(-length // (count * BLOCK)) * BLOCK
        start = torch.randint(length, (batch, 1), device=device) // span * span
        there = (length - start).clamp(max=span)
        places = (torch.rand(batch, self.places, device=device) * there).long().minimum(there - 1)
        at = start + torch.arange(DEPENDS + span, device=device)
        return F.pad(x[:, 0], (DEPENDS, span), value=SILENCE).gather(1, at).unsqueeze(1), DEPENDS + places
