"""Checks of objectives: terms, gradients, and stationarity at the truth."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, final

import torch
from torch import Tensor, nn

from fourfold.checks.base import raw_examples, require
from fourfold.core import Batch, Estimand, GenerativeModel, Objective, Term
from fourfold.estimands import AverageVelocity, Denoiser, NoisePredictor, Score, VectorField, Velocity

__all__ = ["check_gradients", "check_loss", "check_stationary"]


def check_loss(model: GenerativeModel) -> None:
    """Each term returns a finite float32 loss of shape ``(B,)``."""
    x, cond = raw_examples(model)
    batch = model.encode(x, cond)
    terms = model.terms()
    require(len(terms) > 0, "the objective has no terms")
    for name, term in terms.items():
        loss = term(batch)
        require(loss.shape == (len(x),), f"term {name}: loss has shape {tuple(loss.shape)}, not ({len(x)},)")
        require(loss.dtype == torch.float32, f"term {name}: loss is {loss.dtype}, not float32")
        require(bool(torch.isfinite(loss).all()), f"term {name}: loss is not finite")


def check_gradients(model: GenerativeModel, batches: int = 3) -> None:
    """Every parameter that a term updates gets a finite gradient from it, and some term updates each of the estimand's.

    A zero gradient is allowed (zero-initialised layers start there); a missing one is not.
    """
    updated: set[nn.Parameter] = set()
    for name, term in model.terms().items():
        _backward(model, term, batches)
        updated |= _finite_gradients(name, term)
    missing = [name for name, p in model.estimand.named_parameters() if p.requires_grad and p not in updated]
    require(not missing, f"no term updates {', '.join(missing[:5])}")


def _backward(model: GenerativeModel, term: Term, batches: int) -> None:
    model.zero_grad(set_to_none=True)
    for seed in range(batches):
        term(model.encode(*raw_examples(model, seed=seed))).mean().backward()


def _finite_gradients(name: str, term: Term) -> set[nn.Parameter]:
    for key, p in term.updates.named_parameters():
        require(p.grad is not None or not p.requires_grad, f"term {name}: {key} gets no gradient")
        finite = p.grad is None or bool(torch.isfinite(p.grad).all())
        require(finite, f"term {name}: the gradient of {key} is not finite")
    return set(term.trainable())


def check_stationary(
    objective: Objective, oracle: Estimand, draw: Callable[[int], Tensor], batches: int = 64, directions: int = 8
) -> None:
    """At the true estimand the expected loss is stationary: its derivative along random directions is zero.

    The derivative is taken in the oracle's parameters, or, if it has none, in the coefficient of a random affine change
    of its output. It must be within 5 standard errors of zero over ``batches`` batches.

    Args:
        objective: the objective.
        oracle: the exact estimand of the distribution that ``draw`` samples.
        draw: maps a seed to an encoded batch ``(B, *event)``.
        batches: number of batches over which the slope is averaged.
        directions: number of random directions.
    """
    for direction in range(directions):
        slopes = torch.tensor([_slope(objective, oracle, draw(seed), seed, direction) for seed in range(batches)])
        error = slopes.std() / math.sqrt(batches)
        require(
            bool(slopes.mean().abs() <= 5 * error + 1e-7),
            f"{type(objective).__name__}: slope {slopes.mean():.3g} ± {error:.2g} at the true estimand, direction "
            f"{direction}",
        )


def _slope(objective: Objective, oracle: Estimand, x: Tensor, seed: int, direction: int) -> float:
    perturbed = _perturbed(oracle, direction)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        loss = torch.stack([term(Batch(x)).mean() for term in objective.terms(perturbed).values()]).sum()
    (slope,) = torch.autograd.grad(loss, perturbed.epsilon)
    return float(slope)


def _perturbed(oracle: Estimand, direction: int) -> Any:
    """The oracle in a one-parameter family, whose parameter is ``epsilon``."""
    families: Mapping[type[Estimand], Callable[[Any, int], Estimand]] = {
        Denoiser: PerturbedDenoiser,
        NoisePredictor: PerturbedNoisePredictor,
        Velocity: PerturbedVelocity,
        VectorField: PerturbedField,
        Score: PerturbedScore,
        AverageVelocity: PerturbedAverage,
    }
    for kind, family in families.items():
        if isinstance(oracle, kind):
            return family(oracle, direction)
    known = ", ".join(kind.__name__ for kind in families)
    raise TypeError(f"no perturbation is known for {type(oracle).__name__}: give one of {known}")


def _affine(x_t: Tensor, t: Tensor, direction: int) -> Tensor:
    """A fixed random smooth function of ``x_t`` and ``t``, of the shape of ``x_t``."""
    generator = torch.Generator().manual_seed(direction)
    d = x_t[0].numel()
    weight, bias, rate = (
        torch.randn(d, d, generator=generator),
        torch.randn(d, generator=generator),
        torch.randn(d, generator=generator),
    )
    flat = torch.tanh(x_t.flatten(1) @ weight.to(x_t) / math.sqrt(d)) + bias.to(x_t) * torch.cos(
        rate.to(x_t) * t[:, None]
    )
    return flat.reshape(x_t.shape)


@final
class PerturbedDenoiser(Denoiser):
    """``D + epsilon · f`` with a fixed random ``f``: a one-parameter family through an exact denoiser."""

    def __init__(self, denoiser: Denoiser, direction: int) -> None:
        super().__init__()
        self.denoiser, self.direction, self.path, self.event = denoiser, direction, denoiser.path, denoiser.event
        self.epsilon = nn.Parameter(torch.zeros(()))

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.denoiser(x_t, t, cond) + self.epsilon * _affine(x_t, t, self.direction)


@final
class PerturbedVelocity(Velocity):
    """``v + epsilon · f`` with a fixed random ``f``: a one-parameter family through an exact velocity."""

    def __init__(self, velocity: Velocity, direction: int) -> None:
        super().__init__()
        self.velocity, self.direction, self.path, self.event = velocity, direction, velocity.path, velocity.event
        self.epsilon = nn.Parameter(torch.zeros(()))

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.velocity(x_t, t, cond) + self.epsilon * _affine(x_t, t, self.direction)


@final
class PerturbedField(VectorField):
    """``v + epsilon · f`` with a fixed random ``f``: a one-parameter family through an exact vector field."""

    def __init__(self, field: VectorField, direction: int) -> None:
        super().__init__()
        self.field, self.direction, self.path, self.event = field, direction, field.path, field.event
        self.epsilon = nn.Parameter(torch.zeros(()))

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.field(x_t, t, cond) + self.epsilon * _affine(x_t, t, self.direction)


@final
class PerturbedNoisePredictor(NoisePredictor):
    """``eps_hat + epsilon · f`` with a fixed random ``f``: a one-parameter family through an exact noise predictor."""

    def __init__(self, noise: NoisePredictor, direction: int) -> None:
        super().__init__()
        self.noise, self.direction, self.path, self.event = noise, direction, noise.path, noise.event
        self.epsilon = nn.Parameter(torch.zeros(()))

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.noise(x_t, t, cond) + self.epsilon * _affine(x_t, t, self.direction)


@final
class PerturbedScore(Score):
    """``s + epsilon · f`` with a fixed random ``f``: a one-parameter family through an exact score."""

    def __init__(self, score: Score, direction: int) -> None:
        super().__init__()
        self.score, self.direction, self.path, self.event = score, direction, score.path, score.event
        self.epsilon = nn.Parameter(torch.zeros(()))

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.score(x_t, t, cond) + self.epsilon * _affine(x_t, t, self.direction)


@final
class PerturbedAverage(AverageVelocity):
    """``u + epsilon · f`` with a fixed random ``f``: a one-parameter family through an exact average velocity."""

    def __init__(self, average: AverageVelocity, direction: int) -> None:
        super().__init__()
        self.average, self.direction, self.path, self.event = average, direction, average.path, average.event
        self.epsilon = nn.Parameter(torch.zeros(()))

    def forward(self, x_t: Tensor, t: Tensor, s: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.average(x_t, t, s, cond) + self.epsilon * _affine(x_t, t + 2 * s, self.direction)
