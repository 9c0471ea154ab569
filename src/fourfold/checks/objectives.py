"""Checks of objectives: terms, gradients, and stationarity at the truth."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn

from fourfold.checks.base import raw_examples, require
from fourfold.core import Batch, Estimand, GenerativeModel, Objective, Term, unknown_like
from fourfold.estimands import AlongPath, AverageVelocity, Denoiser, NoisePredictor, Score, VectorField, Velocity

__all__ = ["check_gradients", "check_loss", "check_stationary"]


def check_loss(model: GenerativeModel) -> None:
    """Each term returns a finite float32 loss of shape ``(B,)``, also where a condition is unknown."""
    batch, terms = _examples(model), model.terms()
    shape = (len(batch.x),)
    require(len(terms) > 0, "the objective has no terms")
    for name, term in terms.items():
        loss = term(batch)
        require(loss.shape == shape, f"term {name}: loss has shape {tuple(loss.shape)}, not {shape}")
        require(loss.dtype == torch.float32, f"term {name}: loss is {loss.dtype}, not float32")
        require(bool(torch.isfinite(loss).all()), f"term {name}: loss is not finite")


def check_gradients(model: GenerativeModel, batches: int = 3) -> None:
    """Every parameter that a term updates gets a finite gradient from it, and some term updates each of the estimand's.

    A zero gradient is allowed (zero-initialised layers start there). A missing one is not. One condition is unknown.
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
        term(_examples(model, seed)).mean().backward()


def _examples(model: GenerativeModel, seed: int = 0) -> Batch:
    """Encoded examples with conditions, of which the first is unknown."""
    x, cond = raw_examples(model, seed=seed)
    if cond is not None:
        cond[0] = unknown_like(cond[0])
    return model.encode(x, cond)


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

    The derivatives are taken in the coefficients of random smooth changes of its output, all from one gradient a batch.
    They must be within 5 standard errors of zero over ``batches`` batches.

    Args:
        objective: the objective.
        oracle: the exact estimand of the distribution that ``draw`` samples.
        draw: maps a seed to an encoded batch ``(B, *event)``.
        batches: number of batches over which the slope is averaged.
        directions: number of random directions.
    """
    perturbed = _perturbed(oracle, directions)
    slopes = torch.stack([_slopes(objective, perturbed, draw(seed), seed) for seed in range(batches)])
    for direction, (mean, spread) in enumerate(zip(slopes.mean(0), slopes.std(0), strict=True)):
        error = spread / math.sqrt(batches)
        require(
            bool(mean.abs() <= 5 * error + 1e-7),
            f"{type(objective).__name__}: slope {mean:.3g} ± {error:.2g} at the true estimand, direction {direction}",
        )


def _slopes(objective: Objective, perturbed: Any, x: Tensor, seed: int) -> Tensor:
    """The derivatives of the loss of one batch along the directions, ``(directions,)``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        loss = torch.stack([term(Batch(x)).mean() for term in objective.terms(perturbed).values()]).sum()
    (slopes,) = torch.autograd.grad(loss, perturbed.change.epsilon)
    return slopes


def _perturbed(oracle: Any, directions: int) -> Any:
    """The oracle in the family of its changes along random directions."""
    families: Mapping[type[Estimand], Callable[[Any, Change], Estimand]] = {
        Denoiser: PerturbedDenoiser,
        NoisePredictor: PerturbedNoisePredictor,
        Velocity: PerturbedVelocity,
        VectorField: PerturbedField,
        Score: PerturbedScore,
        AverageVelocity: PerturbedAverage,
    }
    for kind, family in families.items():
        if isinstance(oracle, kind):
            return family(oracle, Change(oracle.event, directions))
    names = ", ".join(kind.__name__ for kind in families)
    raise TypeError(f"oracle must be one of {names}, got {type(oracle).__name__}")


@final
class Change(nn.Module):
    """``sum_k epsilon_k f_k(x_t, t)`` with fixed random smooth ``f_k``, and ``epsilon = 0``.

    Args:
        event: shape of one encoded example.
        directions: number of terms.
    """

    def __init__(self, event: Sequence[int], directions: int) -> None:
        super().__init__()
        d = math.prod(event)
        generators = [torch.Generator().manual_seed(k) for k in range(directions)]
        self.weight = torch.stack([torch.randn(d, d, generator=g) for g in generators]) / math.sqrt(d)
        self.bias, self.rate = (torch.stack([torch.randn(d, generator=g) for g in generators]) for _ in range(2))
        self.epsilon = nn.Parameter(torch.zeros(directions))

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        x = x_t.flatten(1)
        f = torch.tanh(torch.einsum("bi,kij->bkj", x, self.weight.to(x)))
        f = f + self.bias.to(x) * torch.cos(self.rate.to(x) * t[:, None, None])
        return torch.einsum("k,bkj->bj", self.epsilon.to(x), f).reshape(x_t.shape)


class _Perturbed(Estimand):
    """An exact estimand of an example and its time, and the family of :class:`Change` through it."""

    def __init__(self, oracle: AlongPath, change: Change) -> None:
        super().__init__()
        self.oracle, self.change, self.path, self.event = oracle, change, oracle.path, oracle.event

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.oracle(x_t, t, cond) + self.change(x_t, t)


@final
class PerturbedDenoiser(_Perturbed, Denoiser):
    """``D + change``: the family of :class:`Change` through an exact denoiser."""


@final
class PerturbedVelocity(_Perturbed, Velocity):
    """``v + change``: the family of :class:`Change` through an exact velocity."""


@final
class PerturbedField(_Perturbed, VectorField):
    """``v + change``: the family of :class:`Change` through an exact vector field."""


@final
class PerturbedNoisePredictor(_Perturbed, NoisePredictor):
    """``eps_hat + change``: the family of :class:`Change` through an exact noise predictor."""


@final
class PerturbedScore(_Perturbed, Score):
    """``s + change``: the family of :class:`Change` through an exact score."""


@final
class PerturbedAverage(AverageVelocity):
    """``u + change``: the family of :class:`Change` through an exact average velocity."""

    def __init__(self, average: AverageVelocity, change: Change) -> None:
        super().__init__()
        self.average, self.change, self.path, self.event = average, change, average.path, average.event

    def forward(self, x_t: Tensor, t: Tensor, s: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.average(x_t, t, s, cond) + self.change(x_t, t + 2 * s)
