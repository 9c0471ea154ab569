"""Guidance: estimands that wrap another one and push its samples towards a condition.

Every form adds to a denoiser a multiple of a difference of scores. With the multiple 1 all are exact:

* :class:`Guided`, classifier-free: ``D(unknown) + w (D(c) - D(unknown))``, at all noise levels or in an interval.
* :class:`AutoGuided`: ``D_weak + w (D - D_weak)`` with a weaker model of the same data.
* :class:`ClassifierGuided`: ``D + w (sigma^2 / alpha) grad log p(c | x_t)`` with a classifier of noised examples.

:func:`guided` wraps the estimand of a whole model, be it a denoiser, noise, velocity or score. A vector field that is
not a velocity has none of these. :class:`GuidedField` extrapolates the field itself. Tokens and energies are
extrapolated in :mod:`fourfold.estimands.extrapolation`. :func:`classifier_free` chooses among all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, final

import torch
from torch import Tensor, nn

from fourfold.core import Estimand, GenerativeModel, view
from fourfold.estimands import (
    SMALLEST,
    AnyOrderConditionals,
    AverageVelocity,
    Conditionals,
    ConsistencyFunction,
    Denoiser,
    MixedDenoiser,
    NoisedEnergy,
    NoisePredictor,
    Pushforward,
    Score,
    StepwiseConditionals,
    TiltedReference,
    TokenDenoiser,
    TokenwiseDenoiser,
    VectorField,
    Velocity,
)
from fourfold.estimands.extrapolation import (
    GuidedColumns,
    GuidedConditionals,
    GuidedMixture,
    GuidedNoisedEnergy,
    GuidedTilt,
    GuidedTokens,
    both,
)
from fourfold.maths.paths import Path, broadcast

__all__ = ["AutoGuided", "ClassifierGuided", "Guided", "GuidedField", "classifier_free", "guided"]


def _extrapolated(
    estimand: Denoiser | VectorField,
    scale: float,
    interval: tuple[float, float] | None,
    x_t: Tensor,
    t: Tensor,
    cond: Tensor | None,
) -> Tensor:
    """``f(unknown) + w (f(c) - f(unknown))`` by one call with a doubled batch. ``f(c)`` at times without guidance."""
    inside = _inside(estimand.path, interval, t)
    if cond is None or scale == 1 or not bool(inside.any()):
        return estimand(x_t, t, cond)
    doubled = estimand(torch.cat([x_t, x_t]), torch.cat([t, t]), both(cond))
    unconditional, conditional = doubled.chunk(2)
    return torch.where(broadcast(inside, x_t) > 0, unconditional + scale * (conditional - unconditional), conditional)


def _inside(path: Path, interval: tuple[float, float] | None, t: Tensor) -> Tensor:
    """True where the relative noise level ``sigma / alpha`` of each time is within ``(low, high]``, bool ``(B,)``."""
    if interval is None:
        return torch.ones_like(t, dtype=torch.bool)
    low, high = (math.log(level) if level > 0 else -math.inf for level in interval)
    log_rho = -path.log_snr(t)
    return (log_rho > low) & (log_rho <= high)


def _checked(interval: tuple[float, float] | None) -> tuple[float, float] | None:
    """Refuse an empty interval."""
    if interval is not None and not 0 <= interval[0] < interval[1]:
        raise ValueError(f"interval must be (low, high) with 0 <= low < high, got {interval}")
    return None if interval is None else (interval[0], interval[1])


@final
class Guided(Denoiser):
    """``D_w(x_t, t, c) = D(x_t, t, unknown) + w (D(x_t, t, c) - D(x_t, t, unknown))``.

    Ho, Salimans 2022, Classifier-Free Diffusion Guidance (https://arxiv.org/abs/2207.12598). Guidance in an interval of
    noise levels keeps the variety that the noisiest levels decide, and costs nothing outside it (Kynkäänniemi et al.
    2024, https://arxiv.org/abs/2404.07724).

    Args:
        denoiser: a denoiser trained with label dropout.
        scale: ``w``. 0 is unconditional, 1 conditional, more exaggerates the condition.
        interval: relative noise levels ``sigma / alpha``. Those above the first and up to the second are guided, and
            the model is conditional at the others. By default all are guided.
    """

    def __init__(self, denoiser: Denoiser, scale: float = 2.0, interval: tuple[float, float] | None = None) -> None:
        super().__init__()
        self.denoiser, self.scale, self.interval = view(denoiser, Denoiser), scale, _checked(interval)
        self.path, self.event = denoiser.path, denoiser.event

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        return _extrapolated(self.denoiser, self.scale, self.interval, x_t, t, cond)


@final
class GuidedField(VectorField):
    """A vector field guided by its own condition, like :class:`Guided`. It remains a field without a score.

    Args:
        field: a vector field trained with label dropout.
        scale: ``w``.
        interval: as in :class:`Guided`.
    """

    def __init__(self, field: VectorField, scale: float = 2.0, interval: tuple[float, float] | None = None) -> None:
        super().__init__()
        self.field, self.scale, self.path, self.event = view(field, VectorField), scale, field.path, field.event
        self.interval = _checked(interval)

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        return _extrapolated(self.field, self.scale, self.interval, x_t, t, cond)


@final
class AutoGuided(Denoiser):
    """``D_w(x_t, t, c) = D_weak(x_t, t, c) + w (D(x_t, t, c) - D_weak(x_t, t, c))``.

    The weak model makes the errors of the good one, only larger. So their difference points away from the errors and
    towards no class: it sharpens samples without a loss of variety, and needs no labels. Karras et al. 2024, Guiding a
    Diffusion Model with a Bad Version of Itself (https://arxiv.org/abs/2406.02507).

    Args:
        denoiser: the good model.
        weak: a model of the same data along the same path that is smaller or was trained for a shorter time.
        scale: ``w``. 0 is the weak model, 1 the good one.

    Raises:
        ValueError: if the two follow different paths.
    """

    def __init__(
        self, denoiser: Denoiser, weak: Denoiser | NoisePredictor | Velocity | Score, scale: float = 2.0
    ) -> None:
        super().__init__()
        if weak.path != denoiser.path:
            raise ValueError(
                f"the weak model must have the path of the good one, {denoiser.path}, got {weak.path}: train one again"
            )
        self.denoiser, self.weak, self.scale = view(denoiser, Denoiser), view(weak, Denoiser), scale
        self.path, self.event = denoiser.path, denoiser.event

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        if self.scale == 1:
            return self.denoiser(x_t, t, cond)
        weak = self.weak(x_t, t, cond)
        return weak + self.scale * (self.denoiser(x_t, t, cond) - weak)


@final
class ClassifierGuided(Denoiser):
    """``D_w(x_t, t, c) = D(x_t, t) + w (sigma_t^2 / alpha_t) grad log p(c | x_t, t)``.

    With the exact posterior of the classes and ``w = 1`` it is the conditional denoiser (Bayes' rule for scores).
    Dhariwal, Nichol 2021, Diffusion Models Beat GANs on Image Synthesis, section 4 (https://arxiv.org/abs/2105.05233).

    Args:
        denoiser: a denoiser of the data without labels.
        classifier: a :class:`~fourfold.core.Part` that maps ``(x_t, t)`` to logits ``(B, classes)``, trained on noised
            examples.
        scale: ``w``.
    """

    def __init__(self, denoiser: Denoiser, classifier: nn.Module, scale: float = 1.0) -> None:
        super().__init__()
        self.denoiser, self.classifier, self.scale = view(denoiser, Denoiser), classifier, scale
        self.path, self.event = denoiser.path, denoiser.event

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        x_0 = self.denoiser(x_t, t, None)
        if cond is None:
            return x_0
        ratio = self.path.sigma(t) ** 2 / self.path.alpha(t).clamp(min=SMALLEST)
        return x_0 + self.scale * broadcast(ratio, x_t) * self._gradient(x_t, t, cond)

    @torch.enable_grad()
    def _gradient(self, x_t: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        """``grad log p(c | x_t, t)``, ``(B, *event)``. 0 where the label is unknown."""
        x_t = x_t.detach().requires_grad_()
        log_p = self.classifier(x_t, t).log_softmax(1).gather(1, cond.clamp(min=0)[:, None])[:, 0]
        (gradient,) = torch.autograd.grad(torch.where(cond < 0, 0.0, log_p).sum(), x_t)
        return gradient


def guided(model: GenerativeModel, wrap: Callable[[Denoiser], Denoiser]) -> GenerativeModel:
    """The same model under guidance, if its estimand can be seen as a denoiser. Weights are shared.

    Args:
        model: a model whose estimand is a denoiser, a noise predictor, a velocity or a score.
        wrap: maps the denoiser to the guided one: ``lambda d: AutoGuided(d, weak)``.

    Raises:
        TypeError: for a model whose estimand has no view as a denoiser, or the guided denoiser not as the estimand's
            kind.
    """
    return _with_estimand(model, view(wrap(view(model.estimand, Denoiser)), model.objective.learns))


def classifier_free(
    model: GenerativeModel, scale: float = 2.0, interval: tuple[float, float] | None = None
) -> GenerativeModel:
    """The same model under classifier-free guidance of its denoiser, vector field, tokens or energy.

    Args:
        model: a model trained with dropped conditions.
        scale: ``w``.
        interval: as in :class:`Guided`, for a model of noised examples.

    Raises:
        TypeError: for a model of which no extrapolation can be drawn, with the reason.
        ValueError: for an interval of noise levels of a model without.
    """
    estimand = model.estimand
    if isinstance(estimand, VectorField) and not isinstance(estimand, Velocity):
        return _with_estimand(model, GuidedField(estimand, scale, interval))
    for kind, wrap in _EXTRAPOLATED.items():
        if isinstance(estimand, kind):
            if interval is not None:
                raise ValueError(f"interval must be left out for {type(estimand).__name__}, got {interval}")
            return _with_estimand(model, wrap(estimand, scale))
    for kind, reason in _REASONS.items():
        if isinstance(estimand, kind):
            raise TypeError(f"guidance must be left out for {type(estimand).__name__}, since {reason}")
    return guided(model, lambda denoiser: Guided(denoiser, scale, interval))


_EXTRAPOLATED: Mapping[type[Estimand], Callable[[Any, float], Estimand]] = {
    AnyOrderConditionals: GuidedColumns,
    StepwiseConditionals: GuidedConditionals,
    MixedDenoiser: GuidedMixture,
    TokenwiseDenoiser: GuidedTokens,
    TiltedReference: GuidedTilt,
    NoisedEnergy: GuidedNoisedEnergy,
}
"""Estimands whose logarithms of masses or densities are extrapolated."""

_REASONS: Mapping[type[Estimand], str] = {
    Conditionals: "its next value has no logits, and an extrapolated density cannot be drawn from",
    TokenDenoiser: "its tokens are not drawn one by one: the length of a sequence is drawn before its values",
    Pushforward: "it maps noise to examples at once, and has no score or logits to extrapolate",
    AverageVelocity: "its jumps are not linear in the score: guide the model that it was learned from",
    ConsistencyFunction: "its jumps are not linear in the score: guide the model that it was learned from",
}
"""The reasons why other estimands have no guidance."""


def _with_estimand(model: GenerativeModel, estimand: Estimand) -> GenerativeModel:
    """The model with another estimand and the same other parts."""
    parts = (model.space, model.codec, estimand, model.objective, model.sampler, model.likelihood)
    return GenerativeModel(*parts, model.training_defaults).train(model.training)
