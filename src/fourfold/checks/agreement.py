"""Checks that all samplers and likelihoods of a model describe one distribution."""

from __future__ import annotations

import dataclasses
import importlib
import math
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar, final

import torch
from torch import Tensor

import fourfold.paradigms
import fourfold.samplers
from fourfold.checks.base import require
from fourfold.checks.samplers import NotAffine, double, moments
from fourfold.core import Batch, Estimand, GenerativeModel, Likelihood, Noise, Objective, Sampler, Term, view
from fourfold.data.oracles import (
    GaussianAverage,
    GaussianConditionals,
    GaussianDenoiser,
    GaussianEnergy,
    GaussianFlow,
    GaussianNoisedEnergy,
    GaussianTransport,
)
from fourfold.estimands import (
    AverageVelocity,
    Conditionals,
    ConsistencyFunction,
    ContinuousEnergy,
    Decoder,
    Denoiser,
    NoisedEnergy,
    NoisePredictor,
    Pushforward,
    Score,
    VectorField,
    Velocity,
)
from fourfold.spaces import Vectors
from fourfold.vocabulary import Kind

__all__ = ["check_samplers_agree"]


P = TypeVar("P", Sampler, Likelihood)
_MEAN, _COVARIANCE = (0.5, -0.3), ((1.0, 0.6), (0.6, 0.8))


def check_samplers_agree(model: GenerativeModel, n: int = 1000) -> None:
    """Every sampler and likelihood that a model accepts describes one distribution, and no bound exceeds it.

    They are found by walking the concrete classes of fourfold and of the packages that the model's parts come from, but
    not those beside them in a script or a notebook: those whose ``needs`` the estimand meets, by itself or by a
    registered view. They run in many steps or noise levels, where these are a setting.

    First they run on the exact estimand of a correlated Gaussian in the plane that sits in the network's seat, where
    one is known, each with its default settings. Mean and covariance of samples may be off by 0.2 of the data's scale,
    or 0.3 for samplers that declare no order and so a bias. Likelihoods may be off by 0.1 nats on average. A bound may
    not lie above the truth, nor more than 1 nat below, since the model is exact. An unnormalised one may be off by a
    constant.

    Then they run on the model itself, if it models vectors of at most 4 columns. Samples are compared with those of its
    own sampler and may differ by 0.5 of their scale, or 1 for samplers that declare no order. The density that a
    likelihood gives is integrated by importance sampling, unless it is unnormalised: its mean and covariance must be
    those of the samples, its mass 1, and that of a bound no more than 1. The model has to be trained. The samplers of
    an untrained network need not agree.

    Sampling errors, four of them, are allowed on top.

    Args:
        model: the model.
        n: samples of each sampler, and points of each integral.

    Raises:
        CheckFailed: for a sampler or a likelihood of another distribution, with its name and the difference.
    """
    samplers, likelihoods = _accepted(model, model.sampler), _accepted(model, model.likelihood)
    oracle = _oracle(model.estimand)
    if oracle is not None:
        for sampler in samplers:
            _check_sampler(_default(sampler), oracle, n)
        for likelihood in likelihoods:
            _check_nats(_default(likelihood), oracle, n)
    # mean and covariance distinguish distributions of real vectors only
    if isinstance(model.space, Vectors) and model.space.dim <= 4:
        _check_own(model, samplers, likelihoods, n)


_ORACLES: Sequence[tuple[type[Estimand], Callable[[Any], Estimand | None]]] = (
    (Denoiser, lambda e: GaussianDenoiser(e.path, _MEAN, _COVARIANCE)),
    (NoisePredictor, lambda e: view(GaussianDenoiser(e.path, _MEAN, _COVARIANCE), NoisePredictor)),
    (Velocity, lambda e: view(GaussianDenoiser(e.path, _MEAN, _COVARIANCE), Velocity)),
    (Score, lambda e: view(GaussianDenoiser(e.path, _MEAN, _COVARIANCE), Score)),
    (VectorField, lambda e: GaussianTransport(e.path, _MEAN, _COVARIANCE)),
    (AverageVelocity, lambda e: GaussianAverage(e.path, _MEAN, _COVARIANCE)),
    (ConsistencyFunction, lambda e: view(GaussianAverage(e.path, _MEAN, _COVARIANCE), ConsistencyFunction)),
    (NoisedEnergy, lambda e: GaussianNoisedEnergy(e.path, _MEAN, _COVARIANCE)),
    (ContinuousEnergy, lambda e: GaussianEnergy(_MEAN, _COVARIANCE)),
    (Conditionals, lambda e: GaussianConditionals(_MEAN, _COVARIANCE)),
    (Decoder, lambda e: None),
    (Pushforward, lambda e: GaussianFlow(_MEAN, _COVARIANCE)),
)
"""Oracles that can take an estimand's seat: the first entry whose type matches counts."""


def _oracle(estimand: Estimand) -> Estimand | None:
    """The exact estimand of the Gaussian that can sit in the seat of another. ``None`` where none is known."""
    return next((make(estimand) for kind, make in _ORACLES if isinstance(estimand, kind)), None)


def _accepted(model: GenerativeModel, original: P) -> list[P]:
    """The model's own part, and one of each other class of its sort that it accepts, in order of their names."""
    own_parts: Sequence[object] = (model.estimand, model.objective, model.sampler, model.likelihood)
    homes: set[str] = {type(part).__module__.partition(".")[0] for part in own_parts}
    roots = {"fourfold", *homes} - {"__main__"}  # what else a script defines is not offered to anybody
    for package in (fourfold.samplers, fourfold.paradigms):
        for info in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{package.__name__}.{info.name}")
    kinds = _below(Sampler if isinstance(original, Sampler) else Likelihood) - {type(original)}
    candidates: list[P] = [original]
    for kind in sorted(kinds, key=lambda kind: (kind.__module__, kind.__qualname__)):
        if kind.__module__.partition(".")[0] in roots:
            with suppress(TypeError):  # an interface, settings without a default, or no view
                part = kind()
                view(model.estimand, part.needs)
                candidates += [] if getattr(part, "kind", None) is Kind.NONE else [part]
    return candidates


def _default(part: P) -> P:
    """A part of the same class with the settings it has by default, if it has any."""
    with suppress(TypeError):
        return type(part)()
    return part


@final
class _Unknown(Objective):
    """An objective that left nothing behind, so that a likelihood that needs an encoder refuses it."""

    def terms(self, estimand: Any) -> Mapping[str, Term]:
        return {}


def _below(kind: type) -> set[Any]:
    """All subclasses of a class."""
    direct: set[Any] = set(kind.__subclasses__())
    return direct.union(*(_below(k) for k in direct))


def _fine(sampler: Sampler, first: int) -> Sampler:
    """The sampler with ``first`` steps, a sixth of them above first order, or half as many noise levels."""
    order = _order(sampler)
    finer = {} if order is None else {"steps": first if order == 1 else first // 6}
    finer |= {"levels": first // 2} if hasattr(sampler, "levels") else {}
    return dataclasses.replace(sampler, **finer)  # type: ignore[type-var]


def _order(sampler: Sampler) -> int | None:
    order: int | None = getattr(sampler, "order", None) or getattr(sampler, "weak_order", None)
    return order


def _spread(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of rows, in float64."""
    return x.double().mean(0), x.double().T.cov().reshape(x.shape[1], x.shape[1])


def _difference(measured: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> float:
    """The largest difference of two means and covariances, in units of the standard deviations expected."""
    scale = expected[1].diagonal().sqrt()
    mean = (measured[0] - expected[0]).abs() / scale
    covariance = (measured[1] - expected[1]).abs() / torch.outer(scale, scale)
    return float(torch.cat([mean, covariance.flatten()]).max())


def _check_sampler(sampler: Sampler, oracle: Estimand, n: int) -> None:
    """Samples of the oracle have the Gaussian's mean and covariance, exactly if they are affine in the noise."""
    try:
        estimand = view(oracle, sampler.needs)
    except TypeError:  # it needs more than the oracle's kind, as a sampler of one network's inside does
        return
    with torch.no_grad(), double():
        try:
            measured, error = moments(_fine(sampler, 200), estimand), 0.0
        except NotAffine:
            measured, error = _spread(_fine(sampler, 200)(estimand, Noise(0, 0, n))), 4 * math.sqrt(2 / n)
        expected = torch.tensor(_MEAN), torch.tensor(_COVARIANCE)
    gap, tolerance = _difference(measured, expected), (0.3 if _order(sampler) is None else 0.2) + error
    require(
        gap < tolerance,
        f"{type(sampler).__name__} on {type(oracle).__name__}: mean or covariance is off by {gap:.2f} of the "
        f"data's scale; {tolerance:.2f} are allowed",
    )


def _check_nats(likelihood: Likelihood, oracle: Estimand, n: int) -> None:
    """The figures for draws of the Gaussian are their log-densities, or lower bounds."""
    x = GaussianFlow(_MEAN, _COVARIANCE)(Noise(1, 0, n).normal(2))
    try:
        result = likelihood(view(oracle, likelihood.needs), Batch(x), Noise(0, 0, n, "score"), _Unknown())
    except TypeError:  # it needs what another objective leaves behind
        return
    difference = result.nats.double() - GaussianConditionals(_MEAN, _COVARIANCE)(x.double()).sum(1)
    mean, spread = float(difference.mean()), float(difference.std())
    tolerance = 0.1 + 4 * spread / math.sqrt(n)
    low, high = {
        Kind.UNNORMALISED: (-math.inf, math.inf),
        Kind.LOWER_BOUND: (-1 - tolerance, tolerance),
        Kind.NONE: (-math.inf, math.inf),
    }.get(result.kind, (-tolerance, tolerance))
    require(
        low < mean < high or result.kind is Kind.NONE,
        f"{type(likelihood).__name__} on {type(oracle).__name__}: the {result.kind} is off by {mean:.2f} nats",
    )
    require(
        spread < 0.1 or result.kind is not Kind.UNNORMALISED,
        f"{type(likelihood).__name__} on {type(oracle).__name__}: the energy is off by more than a constant "
        f"({spread:.2f} nats)",
    )


def _check_own(model: GenerativeModel, samplers: list[Sampler], likelihoods: list[Likelihood], n: int) -> None:
    """Samples and densities of the model itself have one mean and covariance."""
    error = 4 * math.sqrt(2 / n)
    spread = _spread(model.with_parts(sampler=_fine(samplers[0], 100)).sample(n, batch_size=n))
    for sampler in samplers[1:]:
        gap = _difference(_spread(model.with_parts(sampler=_fine(sampler, 100)).sample(n, batch_size=n)), spread)
        require(
            gap < (1.0 if _order(sampler) is None else 0.5) + 1.5 * error,
            f"{type(sampler).__name__} and {type(samplers[0]).__name__} leave different samples: mean or covariance "
            f"differs by {gap:.2f} of their scale",
        )
    wide = spread[0].tolist(), (2 * spread[1]).tolist()
    x = GaussianFlow(*wide)(Noise(2, 0, n).normal(model.space.dims))
    log_q = GaussianConditionals(*wide)(x.double()).sum(1)
    for likelihood in likelihoods:
        with suppress(TypeError):  # it needs what another objective leaves behind
            _check_density(model, likelihood, x, log_q, spread, error)


def _check_density(
    model: GenerativeModel,
    likelihood: Likelihood,
    x: Tensor,
    log_q: Tensor,
    moments_of_model: tuple[Tensor, Tensor],
    error: float,
) -> None:
    """The integrals of ``p``, ``x p`` and ``x x^T p`` by draws ``x`` of ``q``."""
    result = model.with_parts(likelihood=likelihood).log_prob(x, batch_size=len(x))
    if result.kind in (Kind.NONE, Kind.UNNORMALISED):
        return
    w = (result.nats.double() - log_q).exp()
    mass, tolerance = float(w.mean()), 0.1 + 4 * float(w.std()) / math.sqrt(len(x))
    name = f"{type(likelihood).__name__} ({result.kind})"
    if result.kind is Kind.LOWER_BOUND:
        require(mass < 1 + tolerance, f"{name} is not a bound: its mass is {mass:.2f}")
        return
    require(
        abs(mass - 1) < tolerance,
        f"{name} is not a density: its mass is {mass:.2f}, not 1 ± {tolerance:.2f}",
    )
    share = w / w.sum()
    mean = share @ x.double()
    centred = x.double() - mean
    gap = _difference((mean, (share[:, None] * centred).T @ centred), moments_of_model)
    require(
        gap < 0.3 + 2 * error,
        f"{name} is not the density of the samples: mean or covariance differs by {gap:.2f} of their scale",
    )
