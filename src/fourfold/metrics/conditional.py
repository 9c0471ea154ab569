"""Proper scores of several draws for each condition: the energy score, and CRPS of each number."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from fourfold.metrics.score import PARTS, Measurement, UncertainValue, means_left_out

__all__ = ["crps", "crps_of_columns", "distances_between", "energy", "energy_score", "over_conditions"]

MOST = 8
"""The most columns whose CRPS are scores of their own."""


def over_conditions(
    name: str, values: Tensor, protocol: str, better: str = "lower", unit: str = "", share: bool = False
) -> Measurement:
    """The mean of a score of each condition ``(m,)``, with a 95 % interval over conditions.

    The interval is a jackknife of at most :data:`~fourfold.metrics.score.PARTS` groups of conditions. All models have
    the same conditions, so that two are compared condition by condition.
    """
    m = len(values)
    deviations = means_left_out(values.double(), torch.ones(m).double(), min(m, PARTS)) if m > 1 else ()
    words = f"{protocol}; interval over {m} test conditions: jackknife"
    score = Measurement(name, values.mean().item(), n=m, protocol=words, unit=unit, better=better, share=share)
    error = 0.0 if deviations else math.nan
    return score.within(UncertainValue(values.double().mean().item(), error, deviations))


def distances_between(draws: Tensor) -> Tensor:
    """The mean distance of two different draws ``(m, k, D)`` given one condition, ``(m,)`` float64."""
    k = draws.shape[1]
    distances = torch.cdist(draws, draws, compute_mode="donot_use_mm_for_euclid_dist")
    return distances.double().sum((1, 2)) / (k * (k - 1))


def energy(draws: Tensor, truth: Tensor) -> Tensor:
    """The energy score of each condition, ``(m,)`` float64: ``E |X - x| - E |X - X'| / 2``, estimated without bias.

    Args:
        draws: ``(m, k, D)``, ``k`` draws for each condition.
        truth: ``(m, D)``.

    Raises:
        ValueError: for fewer than two draws.
    """
    if draws.shape[1] < 2:
        raise ValueError(f"draws must be at least 2 for each condition, got {draws.shape[1]}; draw more")
    apart = (draws - truth[:, None]).norm(dim=2).double().mean(1)
    return apart - distances_between(draws) / 2


def energy_score(
    draws: Tensor, truth: Tensor, *, features: str, protocol: str = "", data: Tensor | None = None
) -> Measurement:
    """The mean energy score of draws for each condition: a proper score, least where the draws are of ``p(x | c)``.

    Args:
        draws: features of ``k`` draws for each of ``m`` conditions, ``(m, k, D)``.
        truth: features of the example of each condition, ``(m, D)``.
        features: the name of the feature space.
        protocol: the feature space in words.
        data: features of training examples, ``(N, D)``. The protocol names their score as draws for any condition.

    Reference: Gneiting, Raftery 2007, Strictly Proper Scoring Rules, Prediction, and Estimation,
    https://doi.org/10.1198/016214506000001437
    """
    m, k = draws.shape[:2]
    words = f"{protocol or features}; E |X - x| - E |X - X'| / 2, {k} draws for each condition"
    if data is not None and len(data) >= k:
        rows = torch.randint(len(data), (m, k), generator=torch.Generator().manual_seed(0))
        words += f"; training examples in the place of draws have {energy(data[rows], truth).mean():.4g}"
    return over_conditions(f"energy_score[{features}]", energy(draws, truth), words)


def crps(draws: Tensor, truth: Tensor) -> Tensor:
    """The continuous ranked probability score of each number, ``(m, Q)`` float64, estimated without bias.

    ``E |X - x| - E |X - X'| / 2``: the energy score in one dimension. Draws that are NaN, the gaps of a table, are left
    out. NaN where the truth is, or fewer than two draws are left.

    Args:
        draws: ``(m, k, Q)``, ``k`` draws for each condition.
        truth: ``(m, Q)``.

    Reference: Gneiting, Raftery 2007, https://doi.org/10.1198/016214506000001437
    """
    draws, truth = draws.double(), truth.double()
    count = (~draws.isnan()).sum(1)
    apart = (draws - truth[:, None]).abs().nanmean(1)
    weights = 2 * torch.arange(draws.shape[1])[:, None] - (count[:, None] - 1)  # sum over i < j of x_(j) - x_(i)
    between = 2 * (draws.sort(1).values * weights).nansum(1) / (count * (count - 1))  # NaN is sorted to the end
    return (apart - between / 2).masked_fill(count < 2, torch.nan)


def crps_of_columns(draws: Tensor, truth: Tensor, names: Sequence[str], scale: Tensor) -> Iterator[Measurement]:
    """The mean CRPS over columns in standard deviations of the data and, of a few columns, each in its own unit.

    Args:
        draws: ``(m, k, Q)``.
        truth: ``(m, Q)``. Gaps are left out.
        names: of the columns.
        scale: the standard deviation of each column in the data, ``(Q,)``.
    """
    scores = crps(draws, truth)
    words = f"{draws.shape[1]} draws for each condition"
    if len(names) > 1:
        standardised = scores / scale.double().clamp(min=1e-12)
        complete = ~standardised.isnan().all(1)
        if complete.any():
            mean = standardised[complete].nanmean(1)
            yield over_conditions("crps[standardised]", mean, f"mean of {len(names)} columns; {words}")
    for name, column in zip(names, scores.T, strict=True) if len(names) <= MOST else ():
        present = ~column.isnan()
        if present.any():
            yield over_conditions(f"crps[{name}]", column[present], f"in the unit of the column; {words}")
