"""MAUVE: the area under the frontier of two divergences, of samples and of references that are put into clusters."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fourfold.machine.libraries import sklearn
from fourfold.metrics.floor import Draws, floor_of
from fourfold.metrics.score import Measurement, jackknife_of_both

__all__ = ["frontier_area", "mauve"]

KEPT = 0.9
"""The share of variance that the principal components keep in which examples are put into clusters."""
WEIGHTS = 25
"""Mixtures along the frontier."""


def mauve(
    x: Tensor,
    y: Tensor,
    *,
    features: str,
    train: Tensor | Draws | None = None,
    clusters: int | None = None,
    scale: float = 5.0,
    seed: int = 0,
) -> Measurement:
    """Compare features of samples with those of references, between 0 and 1, where 1 is best.

    Unit vectors of both are put into clusters by k-means, which gives the shares ``p`` and ``q``. See
    :func:`frontier_area`. The score grows with fewer clusters, so compare only at one number of samples. The interval
    is over samples and references within fixed clusters, by a jackknife of each.

    Args:
        x: features of samples, ``(n, D)``.
        y: features of references, ``(m, D)``.
        features: the name of the feature space.
        train: features of training examples for the floor: several draws, or one, whose first ``n`` are used.
        clusters: the number of clusters. By default a tenth of the smaller of ``n`` and ``m``, at least 2.
        scale: ``c`` of :func:`frontier_area`.
        seed: seed of k-means.

    Reference: Pillutla et al. 2021, MAUVE: Measuring the Gap Between Neural Text and Human Text using Divergence
    Frontiers, https://arxiv.org/abs/2102.01454
    """
    count = max(2, round(min(len(x), len(y)) / 10)) if clusters is None else clusters

    def area(samples: Tensor, references: Tensor) -> float:
        p, q = (torch.bincount(each, minlength=count).double() / len(each) for each in (samples, references))
        return frontier_area(p, q, scale)

    of_x, of_y = _clusters(x, y, count, seed)
    estimate = jackknife_of_both(lambda rows, tests: area(of_x[rows], of_y[tests]), len(x), len(y))
    floor = floor_of(train, len(x), lambda base: area(*_clusters(base, y, count, seed)))
    words = (
        f"{features}; {count} clusters of unit vectors, scale {scale:g}; {len(x)} samples against {len(y)} references; "
        "interval over samples and references in fixed clusters: jackknife of each"
    )
    score = Measurement(f"mauve[{features}]", estimate.value, n=len(x), protocol=words, better="higher", share=True)
    return score.within(estimate).beside(floor)


def frontier_area(p: Tensor, q: Tensor, scale: float = 5.0) -> float:
    """The area under the divergence frontier of two discrete distributions ``(K,)``: 1 if they are equal.

    The frontier has the points ``(exp(-c KL(q | r)), exp(-c KL(p | r)))`` with ``r = λ p + (1-λ) q`` for ``0 < λ < 1``,
    and ends on both axes.
    """
    weights = torch.linspace(1e-6, 1 - 1e-6, WEIGHTS, dtype=torch.float64)[:, None]
    mixtures = weights * p + (1 - weights) * q
    points = torch.stack([(-scale * _divergence(each, mixtures)).exp() for each in (q, p)], 1)
    ends = torch.tensor([[0.0, 1.0]], dtype=torch.float64), torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    abscissae, ordinates = torch.cat([ends[1], points, ends[0]]).T
    return abs(torch.trapezoid(ordinates, abscissae).item())


def _divergence(a: Tensor, mixtures: Tensor) -> Tensor:
    """``KL(a | r)`` of each mixture ``r``, ``(W,)``. Mixtures are positive where ``a`` is."""
    return (torch.special.xlogy(a, a) - torch.special.xlogy(a, mixtures)).sum(1)


def _clusters(x: Tensor, y: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """The cluster of each sample and of each reference."""
    both = torch.nn.functional.normalize(torch.cat([x, y]).double(), dim=1).numpy()
    projected = sklearn.decomposition.PCA(random_state=seed).fit(both)
    rank = int(np.argmax(projected.explained_variance_ratio_.cumsum() >= KEPT)) + 1
    labels = sklearn.cluster.KMeans(count, n_init=5, random_state=seed).fit_predict(projected.transform(both)[:, :rank])
    clusters = torch.from_numpy(labels.astype(np.int64))
    return clusters[: len(x)], clusters[len(x) :]
