"""Checks of likelihoods."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fourfold.checks.base import raw_examples, require
from fourfold.core import Condition, GenerativeModel
from fourfold.vocabulary import Kind

__all__ = ["check_integrates", "check_known_density", "check_likelihood"]


def check_likelihood(model: GenerativeModel, kind: Kind | None = None) -> None:
    """The likelihood is a typed ``LogProb`` of finite nats (or kind ``none`` with a reason), repeatable by its seed.

    Where another seed gives other numbers, there is a standard error.
    """
    x, cond = raw_examples(model, 4)
    first, again, another_seed = (model.log_prob(x, cond, seed=seed) for seed in (3, 3, 4))
    require(first.nats.shape == (4,), f"nats have shape {tuple(first.nats.shape)}, not (4,)")
    if kind is not None:
        require(first.kind is kind, f"the likelihood is of kind {first.kind}, not {kind}")
    if first.kind is Kind.NONE:
        require(bool(torch.isnan(first.nats).all()) and bool(first.note), "kind none needs NaN and a reason")
        return
    require(bool(torch.isfinite(first.nats).all()), "log-probabilities are not finite")
    require(torch.allclose(first.nats, again.nats), "the same seed scores differently")
    random = not torch.allclose(first.nats, another_seed.nats)
    require(
        not random or first.std_error is not None, "the numbers are random, and no standard error is given with them"
    )
    require(first.dims == math.prod(x.shape[1:]), f"dims is {first.dims}, not {math.prod(x.shape[1:])}")


def check_known_density(
    model: GenerativeModel, x: Tensor, truth: Tensor, bias: float = 0.02, cond: Condition = None
) -> None:
    """Against a known density, exact and estimate agree with it, and a bound stays below it.

    The mean of ``log p(x) - truth`` must be zero within 4 standard errors and ``bias`` (for ``exact`` and
    ``estimate``), or at most that (for ``lower_bound`` and ``estimated_bound``). Errors are taken from the spread of
    the difference over examples.

    Args:
        model: a model with an exact or well trained estimand.
        x: raw examples, ``(B, *shape)``.
        truth: their exact log-densities in nats, ``(B,)``.
        bias: the error that a solver may have, in nats.
        cond: their conditions. ``truth`` is then that given these.

    Raises:
        CheckFailed: if the likelihood's kind is not one that can be checked, or the difference is too large.
    """
    result = model.log_prob(x, cond)
    difference = result.nats.double() - truth.double()
    tolerance = 4 * float(difference.std()) / math.sqrt(len(x)) + bias
    mean = float(difference.mean())
    two_sided, one_sided = (Kind.EXACT, Kind.ESTIMATE), (Kind.LOWER_BOUND, Kind.ESTIMATED_BOUND)
    checked = {**dict.fromkeys(two_sided, abs(mean)), **dict.fromkeys(one_sided, mean)}
    require(result.kind in checked, f"a likelihood of kind {result.kind} cannot be held against a density")
    require(checked[result.kind] <= tolerance, f"{result.kind} is off by {mean:.3g} nats; {tolerance:.2g} are allowed")


def check_integrates(
    model: GenerativeModel, reach: float = 8.0, points: int = 400, tolerance: float = 0.02, cond: Condition = None
) -> None:
    """An exact density of 1- or 2-dimensional vectors integrates to 1, a small table of masses sums to 1.

    Args:
        model: a model of a space that can be covered by points (:meth:`fourfold.core.Space.support`): ``Vectors(1)``,
            ``Vectors(2)``, or images or text with at most 20,000 possible examples.
        reach: half-width of the grid where the space is unbounded.
        points: grid points per axis.
        tolerance: largest deviation from 1.
        cond: the condition, if the density is that given one.

    Raises:
        CheckFailed: if the total is not 1.
        ValueError: for a space that is too large.
    """
    grid, cell = model.space.support(points, reach)
    total = float(model.log_prob(grid, cond, batch_size=8192).nats.double().logsumexp(0).exp()) * cell
    require(abs(total - 1) < tolerance, f"the probability of everything is {total:.4f}, not 1")
