"""Classifier-free guidance as an estimand that wraps one.

Ho, Salimans 2022, Classifier-Free Diffusion Guidance (https://arxiv.org/abs/2207.12598): with a model that was trained on
unknown labels too,

    D_w(x_t, t, c) = D(x_t, t, unknown) + w (D(x_t, t, c) - D(x_t, t, unknown))
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from fourfold.estimands import Denoiser, Velocity

__all__ = ["Guided", "GuidedVelocity"]


def _extrapolated(estimand: Denoiser | Velocity, scale: float, x_t: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
    """``f(unknown) + w (f(c) - f(unknown))`` by one call with a doubled batch; as it is without labels."""
    if cond is None or scale == 1:
        return estimand(x_t, t, cond)
    both = torch.cat([torch.full_like(cond, -1), cond])
    unknown, known = estimand(torch.cat([x_t, x_t]), torch.cat([t, t]), both).chunk(2)
    return unknown + scale * (known - unknown)


@final
class Guided(Denoiser):
    """A denoiser guided by its own condition.

    Args:
        denoiser: trained with label dropout.
        scale: ``w``; 0 is unconditional, 1 conditional, more exaggerates the condition.
    """

    def __init__(self, denoiser: Denoiser, scale: float = 2.0) -> None:
        super().__init__()
        self.denoiser, self.scale, self.path, self.event = denoiser, scale, denoiser.path, denoiser.event

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        return _extrapolated(self.denoiser, self.scale, x_t, t, cond)


@final
class GuidedVelocity(Velocity):
    """A velocity guided by its own condition, as :class:`Guided`; the two agree, since the view between them is affine.

    Args:
        velocity: trained with label dropout.
        scale: ``w``.
    """

    def __init__(self, velocity: Velocity, scale: float = 2.0) -> None:
        super().__init__()
        self.velocity, self.scale, self.path, self.event = velocity, scale, velocity.path, velocity.event

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        return _extrapolated(self.velocity, self.scale, x_t, t, cond)
