"""Measures by nearest neighbours in a feature space: precision, recall, density, coverage, memorisation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias, final

import torch
from torch import Tensor

from fourfold.metrics.floor import Draws, floor_of
from fourfold.metrics.score import GROUPS, Floor, Measurement, UncertainValue, bootstrap, share_interval

__all__ = ["coverage", "density", "memorisation_ratio", "precision", "recall"]

Hits: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""A value for each sample or each reference, of rows of samples and rows of references."""
SPLITS = 20
"""The number of random splits of samples and references into halves."""


def precision(x: Tensor, y: Tensor, *, features: str, train: Tensor | Draws | None = None, k: int = 3) -> Measurement:
    """The share of samples that lie within the k-th-neighbour ball of some reference.

    Args:
        x: features of samples, ``(n, D)``.
        y: features of references, ``(m, D)``, ``m > k``.
        features: the name of the feature space.
        train: features of training examples for the floor: several draws, or one, whose first ``n`` are used.
        k: the radius of a ball is the distance to the ``k``-th neighbour.

    Reference: Kynkaanniemi, Karras, Laine, Lehtinen, Aila 2019, https://arxiv.org/abs/1904.06991
    """

    def inside(base: Tensor) -> Hits:
        balls = _Balls(base, y, k)
        return lambda samples, references: balls(samples, references).any(1)

    return _share(f"precision[{features}]", inside, x, y, k, train)


def recall(x: Tensor, y: Tensor, *, features: str, train: Tensor | Draws | None = None, k: int = 3) -> Measurement:
    """The share of references within the k-th-neighbour ball of some sample. Arguments are those of :func:`precision`.

    The interval is over samples and references, one of which may hold many of the others in its ball.

    Reference: Kynkaanniemi, Karras, Laine, Lehtinen, Aila 2019, https://arxiv.org/abs/1904.06991
    """

    def inside(base: Tensor) -> Hits:
        balls = _Balls(y, base, k)
        return lambda samples, references: balls(references, samples).any(1)

    return _share(f"recall[{features}]", inside, x, y, k, train)


def density(x: Tensor, y: Tensor, *, features: str, train: Tensor | Draws | None = None, k: int = 5) -> Measurement:
    """The mean number of reference balls around a sample, divided by ``k``: precision that one outlier cannot raise.

    ``1/(k n) Σ_j Σ_i 1[|x_j - y_i| ≤ r_k(y_i)]``. It may exceed 1. Arguments are those of :func:`precision`.

    Reference: Naeem, Oh, Uh, Choi, Yoo 2020, https://arxiv.org/abs/2002.09797
    """

    def depth(base: Tensor) -> Hits:
        balls = _Balls(base, y, k)
        return lambda samples, references: balls(samples, references).double().sum(1) / k

    estimate = _estimate(depth(x), len(x), len(y), k)
    score = Measurement(f"density[{features}]", estimate.value, n=len(x), protocol=_words(x, y, k), better="higher")
    return score.within(estimate).beside(floor_of(train, len(x), lambda base: _all(depth(base), len(base), len(y))))


def coverage(x: Tensor, y: Tensor, *, features: str, train: Tensor | Draws | None = None, k: int = 5) -> Measurement:
    """The share of references whose k-th-neighbour ball holds a sample. Arguments are those of :func:`precision`.

    The interval is over samples and references, one of which may hold many of the others in its ball.

    Reference: Naeem, Oh, Uh, Choi, Yoo 2020, https://arxiv.org/abs/2002.09797
    """

    def covered(base: Tensor) -> Hits:
        balls = _Balls(base, y, k)
        return lambda samples, references: balls(samples, references).any(0)

    return _share(f"coverage[{features}]", covered, x, y, k, train)


def memorisation_ratio(
    x: Tensor, train: Tensor, held_out: Tensor, *, features: str, fresh: Tensor | None = None
) -> Measurement:
    """The distance of samples to the nearest training example, relative to that to the nearest held-out example.

    ``Σ_j min_i |x_j - train_i| / Σ_j min_i |x_j - held_out_i|``: 0 where every sample is a copy. The floor is the ratio
    of new examples of the data (below 1 where the training set is the denser one). Samples well below it are nearer to
    the training set than new examples are.

    Args:
        x: features of samples, ``(n, D)``.
        train: features of all training examples.
        held_out: features of held-out examples.
        features: the name of the feature space.
        fresh: features of further held-out examples, whose ratio is the floor.
    """
    value, low, high = bootstrap(_ratio, _nearest_pair(x, train, held_out))
    floor = Floor() if fresh is None else Floor(*bootstrap(_ratio, _nearest_pair(fresh, train, held_out)))
    words = (
        f"{features}; nearest of {len(train)} training against nearest of {len(held_out)} held-out examples; "
        f"floor: fresh held-out examples in the samples' place; interval over samples: bootstrap"
    )
    return Measurement(f"memorisation_ratio[{features}]", value, low, high, n=len(x), protocol=words).beside(floor)


@final
class _Balls:
    """The points that lie in the balls that reach to the ``k``-th neighbour of others, for any rows of both.

    Args:
        points: ``(n, D)``.
        centres: ``(m, D)``, ``m > k``.
        k: number of the neighbour, the centre itself left out.
    """

    def __init__(self, points: Tensor, centres: Tensor, k: int) -> None:
        if len(centres) <= k:
            raise ValueError(f"examples must be more than k = {k}, got {len(centres)}; use more, or a smaller k")
        self.between, self.among, self.k = _distances(points, centres), _distances(centres, centres), k

    def __call__(self, points: Tensor, centres: Tensor) -> Tensor:
        among = self.among[centres][:, centres].fill_diagonal_(0)
        return self.between[points][:, centres] <= among.kthvalue(self.k + 1, dim=1).values


def _all(hits: Hits, n: int, m: int) -> float:
    """The mean of the values that all samples and references have."""
    return _part(hits(torch.arange(n), torch.arange(m)))


def _part(hits: Tensor) -> float:
    """The share of hits."""
    return hits.double().mean().item()


def _estimate(hits: Hits, n: int, m: int, k: int) -> UncertainValue:
    """The mean ``θ`` of values of samples or of references, and its variance over both.

    Samples and references are cut in halves at random, ``A`` and ``B``, which are independent: ``Var θ = mean (θ(A) -
    θ(B))² / 4``. The ratio of both numbers is the same in the halves, so the variance is that of the same regime. A
    jackknife would exaggerate it: a share near 1 is that of the last samples in a ball.

    Args:
        hits: maps rows of samples and rows of references to a value for each row of one side.
        n: number of samples.
        m: number of references.
        k: number of the neighbour.

    Reference: McCarthy 1969, Pseudo-Replication: Half Samples, https://doi.org/10.2307/1402116
    """
    value = _all(hits, n, m)
    if min(n, m) < 2 * GROUPS or min(n, m) // 2 <= k:
        return UncertainValue(value, math.nan)
    generator, deviations = torch.Generator().manual_seed(0), []
    for _ in range(SPLITS):
        b, a = (torch.randperm(size, generator=generator) for size in (m, n))
        first, second = (_part(hits(a[i::2][: n // 2], b[i::2][: m // 2])) for i in (0, 1))
        deviations.append((first - second) / math.sqrt(4 * SPLITS))
    return UncertainValue(value, 0.0, tuple(deviations))


def _share(
    name: str, hits: Callable[[Tensor], Hits], x: Tensor, y: Tensor, k: int, train: Tensor | Draws | None
) -> Measurement:
    """A share of samples or of references. Where halves tell nothing, its error is that of independent hits."""
    estimate = _estimate(hits(x), len(x), len(y), k)
    value = estimate.value
    if value in (0, 1) or math.isnan(estimate.error):
        low, high = share_interval(value, min(len(x), len(y)))
        estimate = UncertainValue(value, max(value - low, high - value) / 1.96, estimate.deviations)
    score = Measurement(
        name, estimate.value, n=len(x), protocol=_words(x, y, k), better="higher", references=len(y), share=True
    )
    floor = floor_of(train, len(x), lambda base: _all(hits(base), len(base), len(y)))
    return score.within(estimate).beside(Floor(floor.value, max(floor.low, 0.0), min(floor.high, 1.0)))


def _words(x: Tensor, y: Tensor, k: int) -> str:
    over = f"interval over samples and references: {SPLITS} pairs of half-samples"
    return f"k = {k}; {len(x)} samples against {len(y)} references; {over}"


def _ratio(means: Tensor) -> Tensor:
    return means[:, 0] / means[:, 1].clamp(min=1e-12)


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances ``(len(a), len(b))``, in float64 and about the mean of ``b``, against cancellation."""
    centre = b.double().mean(0)
    return torch.cdist(a.double() - centre, b.double() - centre)


def _nearest_pair(x: Tensor, train: Tensor, held_out: Tensor) -> Tensor:
    """Distances to the nearest of each set, ``(n, 2)`` float64."""
    return torch.stack([_nearest(x, train), _nearest(x, held_out)], 1)


def _nearest(x: Tensor, rows: Tensor) -> Tensor:
    """Distances to the nearest of many others, ``(n,)``: candidates found in float32, then measured in float64."""
    centre = rows.mean(0)
    parts = [torch.cdist(x - centre, part - centre).min(1) for part in torch.split(rows, 8192)]
    chunk = torch.stack([part.values for part in parts]).argmin(0)
    index = torch.stack([part.indices for part in parts])[chunk, torch.arange(len(x))] + 8192 * chunk
    return (x.double() - rows[index].double()).norm(dim=1)
