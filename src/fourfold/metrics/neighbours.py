"""Measures by nearest neighbours in a feature space: precision, recall, density, coverage, memorisation."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from fourfold.metrics.floor import Draws, floor_of
from fourfold.metrics.score import GROUPS, Floor, Measurement, bootstrap, t_quantile

__all__ = ["coverage", "density", "memorisation_ratio", "precision", "recall"]

SPLITS = 20
"""The number of random splits of samples and references into halves for an interval over both."""
_PLUS_FOUR = torch.tensor([[0.0], [0.0], [1.0], [1.0]], dtype=torch.float64)


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
    floor = floor_of(train, len(x), lambda base: _part(_inside(base, y, k)))
    hits = _inside(x, y, k)
    value, (low, high) = _part(hits), _plus_four(hits)
    words = f"{_words(x, y, k, 'samples')}: bootstrap with two hits and two misses added (Agresti, Coull 1998)"
    return _share(f"precision[{features}]", value, low, high, len(x), len(y), words, floor)


def recall(x: Tensor, y: Tensor, *, features: str, train: Tensor | Draws | None = None, k: int = 3) -> Measurement:
    """The share of references within the k-th-neighbour ball of some sample; arguments are those of :func:`precision`.

    One sample's ball may hold many references: the interval is over samples and references (:func:`_of_references`).

    Reference: Kynkaanniemi, Karras, Laine, Lehtinen, Aila 2019, https://arxiv.org/abs/1904.06991
    """
    floor = floor_of(train, len(x), lambda base: _part(_inside(y, base, k)))
    _require(x, k)
    among, between = _distances(x, x), _distances(y, x)

    def hits(samples: Tensor, references: Tensor) -> Tensor:
        return (between[references][:, samples] <= _kth(among[samples][:, samples], k)).any(1)

    return _of_references(f"recall[{features}]", hits, x, y, k, floor)


def density(x: Tensor, y: Tensor, *, features: str, train: Tensor | Draws | None = None, k: int = 5) -> Measurement:
    """The mean number of reference balls around a sample, divided by ``k``: precision that one outlier cannot raise.

    ``1/(k n) Σ_j Σ_i 1[|x_j - y_i| ≤ r_k(y_i)]``; it may exceed 1. Arguments are those of :func:`precision`.

    Reference: Naeem, Oh, Uh, Choi, Yoo 2020, https://arxiv.org/abs/2002.09797
    """
    value, low, high = bootstrap(_mean, _depth(x, y, k))
    words = f"{_words(x, y, k, 'samples')}: bootstrap"
    score = Measurement(f"density[{features}]", value, low, high, n=len(x), protocol=words, better="higher")
    return score.beside(floor_of(train, len(x), lambda base: _depth(base, y, k).mean().item()))


def coverage(x: Tensor, y: Tensor, *, features: str, train: Tensor | Draws | None = None, k: int = 5) -> Measurement:
    """The share of references whose k-th-neighbour ball holds a sample; arguments are those of :func:`precision`.

    The interval is over samples and references (:func:`_of_references`).

    Reference: Naeem, Oh, Uh, Choi, Yoo 2020, https://arxiv.org/abs/2002.09797
    """
    floor = floor_of(train, len(x), lambda base: _part(_covered(base, y, k)))
    _require(y, k)
    among, between = _distances(y, y), _distances(x, y)

    def hits(samples: Tensor, references: Tensor) -> Tensor:
        return between[samples][:, references].amin(0) <= _kth(among[references][:, references], k)

    return _of_references(f"coverage[{features}]", hits, x, y, k, floor)


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


def _part(hits: Tensor) -> float:
    """The share of hits."""
    return hits.double().mean().item()


def _plus_four(hits: Tensor) -> tuple[float, float]:
    """A bootstrap interval of a share; two hits and two misses are added, so that a share of 0 or 1 has one too."""
    _, low, high = bootstrap(_mean, torch.cat([hits.double()[:, None], _PLUS_FOUR]))
    return low, high


def _of_references(
    name: str, hits: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor, k: int, floor: Floor
) -> Measurement:
    """A share ``θ`` of references, with an interval over the draws of samples and of references.

    Both are cut in halves at random, ``A`` and ``B``, whose shares are independent: ``Var θ = mean (θ(A) - θ(B))² /
    4``. The ratio of both numbers is the same in the halves, so the variance is that of the same regime. The interval
    is ``θ ± t_9 sd``, and never narrower than the bootstrap over references (:func:`_plus_four`).

    Args:
        name: name of the score.
        hits: maps rows of samples and rows of references to booleans: the references that are hit.
        x: features of samples, ``(n, D)``.
        y: features of references, ``(m, D)``.
        k: number of the neighbour.
        floor: floor of the score.

    Reference: McCarthy 1969, Pseudo-Replication: Half Samples, https://doi.org/10.2307/1402116
    """
    n, m = len(x), len(y)
    every = hits(torch.arange(n), torch.arange(m))
    value, (low, high) = _part(every), _plus_four(every)
    over = "references (too few samples for more)"
    if min(n, m) // 2 > k:
        half = t_quantile(GROUPS) * _half_sample_error(hits, n, m)
        low, high, over = min(low, value - half), max(high, value + half), "samples and references: half-samples"
    words = (
        f"k = {k}; {n} samples against {m} references; interval over {over}, and at least the bootstrap over references"
    )
    return _share(
        name, value, low, high, n, m, f"{words} with two hits and two misses added (Agresti, Coull 1998)", floor
    )


def _half_sample_error(hits: Callable[[Tensor, Tensor], Tensor], n: int, m: int) -> float:
    """The standard deviation of a share of references over draws of ``n`` samples and ``m`` references."""
    generator, squares = torch.Generator().manual_seed(0), []
    for _ in range(SPLITS):
        a, b = torch.randperm(n, generator=generator), torch.randperm(m, generator=generator)
        first, second = (_part(hits(a[i::2][: n // 2], b[i::2][: m // 2])) for i in (0, 1))
        squares.append((first - second) ** 2)
    return math.sqrt(sum(squares) / (4 * SPLITS))


def _share(name: str, value: float, low: float, high: float, n: int, m: int, words: str, floor: Floor) -> Measurement:
    """A share of ``n`` samples or ``m`` references; its interval is cut to [0, 1]."""
    low, high = max(min(low, value), 0.0), min(max(high, value), 1.0)
    score = Measurement(name, value, low, high, n=n, protocol=words, better="higher", references=m, share=True)
    return score.beside(Floor(floor.value, max(floor.low, 0.0), min(floor.high, 1.0)))


def _words(x: Tensor, y: Tensor, k: int, over: str) -> str:
    return f"k = {k}; {len(x)} samples against {len(y)} references; interval over {over}, the others fixed"


def _mean(means: Tensor) -> Tensor:
    return means[:, 0]


def _ratio(means: Tensor) -> Tensor:
    return means[:, 0] / means[:, 1].clamp(min=1e-12)


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances ``(len(a), len(b))``, in float64 and about the mean of ``b``, against cancellation."""
    centre = b.double().mean(0)
    return torch.cdist(a.double() - centre, b.double() - centre)


def _require(points: Tensor, k: int) -> None:
    if len(points) <= k:
        raise ValueError(
            f"the {k}-th neighbour needs more than {k} examples, not {len(points)}: use more, or a smaller k"
        )


def _kth(distances: Tensor, k: int) -> Tensor:
    """The distance of each point to its k-th neighbour, itself left out, from a copy of the distances between all."""
    return distances.fill_diagonal_(0).kthvalue(k + 1, dim=1).values


def _radii(points: Tensor, k: int) -> Tensor:
    """The distance of each point to its k-th neighbour, itself left out."""
    _require(points, k)
    return _kth(_distances(points, points), k)


def _inside(a: Tensor, b: Tensor, k: int) -> Tensor:
    """Whether each of ``a`` lies in some ball of ``b``, ``(len(a),)``."""
    return (_distances(a, b) <= _radii(b, k)).any(1)


def _depth(x: Tensor, y: Tensor, k: int) -> Tensor:
    """The number of balls of ``y`` in which each of ``x`` lies, over ``k``: ``(n, 1)``."""
    return (_distances(x, y) <= _radii(y, k)).double().sum(1, keepdim=True) / k


def _covered(x: Tensor, y: Tensor, k: int) -> Tensor:
    """Whether the ball of each of ``y`` holds one of ``x``, ``(m,)``."""
    return _distances(x, y).amin(0) <= _radii(y, k)


def _nearest_pair(x: Tensor, train: Tensor, held_out: Tensor) -> Tensor:
    """Distances to the nearest of each set, ``(n, 2)`` float64."""
    return torch.stack([_nearest(x, train), _nearest(x, held_out)], 1)


def _nearest(x: Tensor, others: Tensor) -> Tensor:
    """Distances to the nearest of many others, ``(n,)``: candidates found in float32, then measured in float64."""
    centre = others.mean(0)
    parts = [torch.cdist(x - centre, part - centre).min(1) for part in torch.split(others, 8192)]
    which = torch.stack([part.values for part in parts]).argmin(0)
    rows = torch.stack([part.indices for part in parts])[which, torch.arange(len(x))] + 8192 * which
    return (x.double() - others[rows].double()).norm(dim=1)
