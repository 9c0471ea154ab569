"""Classifier-free guidance of tokens and of energies: estimands that extrapolate from ``p(x)`` through ``p(x | c)``.

With a weight ``w`` the logarithms of masses and densities are extrapolated, ``l_u + w (l_c - l_u)``, where ``l_u`` is
that of an unknown condition: 0 is unconditional, 1 conditional, more exaggerates the condition. For noised examples,
see :mod:`fourfold.estimands.guidance`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from fourfold.core import Measure, Noise, unknown_like
from fourfold.estimands.base import (
    AnyOrderConditionals,
    MixedDenoiser,
    NoisedEnergy,
    StepwiseConditionals,
    TiltedReference,
    TokenwiseDenoiser,
)
from fourfold.maths.categorical import categorical

__all__ = ["GuidedColumns", "GuidedConditionals", "GuidedMixture", "GuidedNoisedEnergy", "GuidedTilt", "GuidedTokens"]


def both(cond: Tensor) -> Tensor:
    """Unknown conditions, then the conditions themselves."""
    return torch.cat([unknown_like(cond), cond])


def extrapolated(doubled: Tensor, scale: float) -> Tensor:
    """``l_u + w (l_c - l_u)`` of logarithms whose first half is ``l_u``. What has no mass given ``c`` gets none."""
    unconditional, conditional = doubled.chunk(2)
    finite = unconditional.isfinite() & conditional.isfinite()
    return torch.where(finite, unconditional + scale * (conditional - unconditional), conditional)


def _log_masses(doubled: Tensor, scale: float) -> Tensor:
    """Extrapolated log-masses of tokens ``(2 B, V)``, normalised."""
    return extrapolated(doubled.log_softmax(-1), scale).log_softmax(-1)


@dataclass
class _Drawing:
    """Examples being drawn, with twice as many rows where they have a condition."""

    inner: Any
    guided: bool


@final
class GuidedConditionals(StepwiseConditionals):
    """``p_w(x_i | x_<i, c)`` with the logits ``l_u + w (l_c - l_u)`` of each token.

    Each conditional is normalised, so that the likelihood of guided samples is exact. It takes one evaluation a token.
    Sanchez et al. 2023, Stay on Topic with Classifier-Free Guidance (https://arxiv.org/abs/2306.17806).

    Args:
        conditionals: trained with dropped conditions.
        scale: ``w``.
    """

    def __init__(self, conditionals: StepwiseConditionals, scale: float = 2.0) -> None:
        super().__init__()
        self.conditionals, self.scale, self.event = conditionals, scale, conditionals.event

    @property
    def measure(self) -> Measure | None:
        return self.conditionals.measure

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        if cond is None:
            return self.conditionals(x)
        state, nats = self.begin(len(x), cond), []
        for token in x.flatten(1).unbind(1):
            nats.append(self.logits(state).gather(1, token[:, None].long()).float())
            self.take(state, token)
        return torch.cat(nats, 1)

    def begin(self, batch: int, cond: Tensor | None = None) -> _Drawing:
        if cond is None:
            return _Drawing(self.conditionals.begin(batch), False)
        return _Drawing(self.conditionals.begin(2 * batch, both(cond)), True)

    def logits(self, state: _Drawing) -> Tensor:
        logits = self.conditionals.logits(state.inner)
        return _log_masses(logits, self.scale) if state.guided else logits

    def take(self, state: _Drawing, token: Tensor) -> None:
        self.conditionals.take(state.inner, token.repeat(2) if state.guided else token)

    def draw(self, state: _Drawing, noise: Noise, temperature: float = 1.0) -> tuple[Tensor, _Drawing]:
        token = categorical(self.logits(state) / temperature, noise.uniform())
        self.take(state, token)
        return token, state


@final
class GuidedColumns(AnyOrderConditionals):
    """``p_w(x_i | x_S, c)`` with the logits ``l_u + w (l_c - l_u)`` of each value, in any order.

    Args:
        conditionals: trained with dropped conditions.
        scale: ``w``.
    """

    def __init__(self, conditionals: AnyOrderConditionals, scale: float = 2.0) -> None:
        super().__init__()
        self.conditionals, self.scale, self.event = conditionals, scale, conditionals.event

    @property
    def measure(self) -> Measure | None:
        return self.conditionals.measure

    def in_order(self, x: Tensor, order: Tensor, cond: Tensor | None = None) -> Tensor:
        nats, observed_mask = torch.zeros(x.shape, device=x.device), torch.zeros_like(x, dtype=torch.bool)
        for i in order.tolist():
            nats[:, i] = self.conditional(x, observed_mask, i, cond).gather(1, x[:, i, None]).squeeze(1)
            observed_mask[:, i] = True
        return nats

    def conditional(self, x: Tensor, observed_mask: Tensor, position: int, cond: Tensor | None = None) -> Tensor:
        if cond is None:
            return self.conditionals.conditional(x, observed_mask, position)
        rows = x.repeat(2, 1), observed_mask.repeat(2, 1)
        return _log_masses(self.conditionals.conditional(*rows, position, both(cond)), self.scale)


@final
class GuidedTokens(TokenwiseDenoiser):
    """``p_w(x_i | x_S, c)`` of each masked token with the logits ``l_u + w (l_c - l_u)``.

    Args:
        denoiser: trained with dropped conditions.
        scale: ``w``.
    """

    def __init__(self, denoiser: TokenwiseDenoiser, scale: float = 2.0) -> None:
        super().__init__()
        self.denoiser, self.scale, self.event = denoiser, scale, denoiser.event

    def log_masses(
        self, x: Tensor, observed_mask: Tensor, positions: Sequence[int], cond: Tensor | None = None
    ) -> Sequence[Tensor]:
        if cond is None:
            return self.denoiser.log_masses(x, observed_mask, positions)
        rows = x.repeat(2, 1), observed_mask.repeat(2, 1)
        return [_log_masses(part, self.scale) for part in self.denoiser.log_masses(*rows, positions, both(cond))]

    def forward(self, x: Tensor, observed_mask: Tensor, cond: Tensor | None = None) -> Tensor:
        parts = self.log_masses(x, observed_mask, range(x.shape[1]), cond)
        return torch.cat([part.gather(1, x[:, [i]]) for i, part in enumerate(parts)], 1)

    def draw(
        self, x: Tensor, observed_mask: Tensor, target_mask: Tensor, u: Tensor, cond: Tensor | None = None
    ) -> Tensor:
        z, positions = x.clone(), target_mask.any(0).nonzero().flatten().tolist()
        for i, log_p in zip(positions, self.log_masses(x, observed_mask, positions, cond), strict=True):
            z[:, i] = torch.where(target_mask[:, i], categorical(log_p, u[:, i]), z[:, i])
        return z


@final
class GuidedMixture(MixedDenoiser):
    """Log-masses of masked tokens and denoised reals of a row, each ``f_u + w (f_c - f_u)``.

    Args:
        denoiser: trained with dropped conditions.
        scale: ``w``.
    """

    def __init__(self, denoiser: MixedDenoiser, scale: float = 2.0) -> None:
        super().__init__()
        self.denoiser, self.scale, self.event = denoiser, scale, denoiser.event
        self.sizes, self.groups, self.reals, self.path = denoiser.sizes, denoiser.groups, denoiser.reals, denoiser.path

    def forward(
        self, k: Tensor, observed_mask: Tensor, z_t: Tensor, t: Tensor, cond: Tensor | None = None
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        if cond is None:
            return self.denoiser(k, observed_mask, z_t, t)
        log_p, reals = self.denoiser(*(torch.cat([part, part]) for part in (k, observed_mask, z_t, t)), both(cond))
        return tuple(_log_masses(part, self.scale) for part in log_p), extrapolated(reals, self.scale)


@final
class GuidedTilt(TiltedReference):
    """``E_w(x, c) = -log q(x) - f(x) - w (f(x, c) - f(x))``, where ``f(x)`` has an unknown condition.

    Up to a constant it is ``(1 - w) E(x) + w E(x, c)``: the energy of ``p(x)^(1 - w) p(x | c)^w``. Du, Li, Mordatch
    2020, Compositional Visual Generation with Energy Based Models (https://arxiv.org/abs/2004.06030).

    Args:
        energy: trained with dropped conditions.
        scale: ``w``.
    """

    def __init__(self, energy: TiltedReference, scale: float = 2.0) -> None:
        super().__init__()
        self.energy, self.scale, self.event = energy, scale, energy.event
        self.net, self.reference = energy.net, energy.reference

    def tilt(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        if cond is None:
            return self.energy.tilt(x)
        return extrapolated(self.energy.tilt(torch.cat([x, x]), both(cond)), self.scale)


@final
class GuidedNoisedEnergy(NoisedEnergy):
    """``E_w(x_t, t, c) = E(x_t, t) + w (E(x_t, t, c) - E(x_t, t))``: :class:`GuidedTilt` at each noise level.

    Args:
        energy: trained with dropped conditions.
        scale: ``w``.
    """

    def __init__(self, energy: NoisedEnergy, scale: float = 2.0) -> None:
        super().__init__()
        self.energy, self.scale, self.event, self.path = energy, scale, energy.event, energy.path
        self.net, self.reference = energy.net, energy.reference

    def at(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        if cond is None:
            return self.energy.at(x_t, t)
        return extrapolated(self.energy.at(torch.cat([x_t, x_t]), torch.cat([t, t]), both(cond)), self.scale)
