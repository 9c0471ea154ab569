"""Two-sample tests of pairs (x, c): of a sample and the condition that it was drawn for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from fourfold.metrics.coordinates import leading
from fourfold.metrics.features import Features
from fourfold.metrics.floor import Draws
from fourfold.metrics.mmd import median_bandwidth, mmd
from fourfold.metrics.rows import Columns
from fourfold.metrics.score import Measurement
from fourfold.metrics.twosample import two_sample_auc

__all__ = ["by_pairs"]

COLUMNS = 12
"""The most coordinates of an example, and of a condition, that trees see: beyond, the leading principal components."""


def by_pairs(
    x: Tensor,
    y: Tensor,
    cond: Tensor,
    train: Draws,
    features: Features,
    features_of_cond: Features,
    cond_of_x: Tensor | None = None,
) -> Iterator[Measurement]:
    """The squared maximum mean discrepancy of pairs, and the accuracy of trees that tell drawn pairs from real ones.

    A pair is a point: the coordinates of its example and those of its condition, each over the median distance of real
    ones, so that both count alike. A model that ignores conditions may pass every test of samples alone, and fails
    this one. The floor is that of real pairs. Trees also see the residuals of a sample from a linear regression of
    training examples on their conditions, since splits along axes find a dependence slowly.

    Args:
        x: raw samples, ``(n, *shape)``. Sample ``i`` was drawn for condition ``i``.
        y: raw test examples, ``(m, *shape)``, each with its condition.
        cond: raw conditions, ``(m, *)``, none of them unknown, ``m >= n``.
        train: draws of training examples with their own conditions, see :attr:`Draws.cond`.
        features: coordinates of examples.
        features_of_cond: coordinates of conditions.
        cond_of_x: the conditions of samples that were not drawn for those of test examples, ``(n, *)``, none of them
            unknown.

    Reference: Lopez-Paz, Oquab 2017, Revisiting Classifier Two-Sample Tests, https://arxiv.org/abs/1610.06545;
    Gretton et al. 2012, A Kernel Two-Sample Test, https://jmlr.org/papers/v13/gretton12a.html
    """
    a, b, c = features(x), features(y), features_of_cond(cond)
    pool = features(train.pool)
    pool_cond = None if train.cond is None else features_of_cond(train.cond)
    scales = median_bandwidth(b), median_bandwidth(c)
    c_of_x, paired = (c[: len(a)], True) if cond_of_x is None else (features_of_cond(cond_of_x), False)

    def side_by_side(points: Tensor, conditions: Tensor) -> Tensor:
        return torch.cat([points.double() / scales[0], conditions.double() / scales[1]], 1)

    name = f"{features.name} and {features_of_cond.name}"
    base = None if pool_cond is None else train.features(side_by_side(pool, pool_cond))
    score = mmd(side_by_side(a, c_of_x), side_by_side(b, c), features=name, train=base, paired=paired)
    words = "pairs of a sample and its condition, each over the median distance of real ones; "
    yield replace(score, name=f"pairs_{score.name}", protocol=words + score.protocol)

    of_x, of_cond = leading(pool, COLUMNS), leading(c if pool_cond is None else pool_cond, COLUMNS)
    data = (b, c) if pool_cond is None else (pool, pool_cond)
    expected = _regression(of_x(data[0]), of_cond(data[1]))
    rows, tests = (_columns(of_x(z), of_cond(given), expected) for z, given in ((a, c_of_x), (b, c)))
    names = tuple(map(str, range(rows.shape[1])))
    score = two_sample_auc(rows, tests, Columns(names, (False,) * len(names), ("number",) * len(names)), paired=paired)
    words = f"at most {COLUMNS} coordinates of a sample and of its condition ({name}), and residuals; "
    yield replace(score, name="pairs_auc[boosted trees]", protocol=words + score.protocol)


def _regression(x: Tensor, cond: Tensor) -> Callable[[Tensor], Tensor]:
    """The linear regression of points ``(N, D)`` on those of conditions ``(N, E)``."""
    constant = torch.ones(len(cond), 1, dtype=torch.float64)
    weights = torch.linalg.lstsq(torch.cat([cond.double(), constant], 1), x.double(), driver="gelsd").solution
    return lambda c: c.double() @ weights[:-1] + weights[-1]


def _columns(x: Tensor, cond: Tensor, expected: Callable[[Tensor], Tensor]) -> Tensor:
    return torch.cat([x.double(), cond.double(), x.double() - expected(cond)], 1)
