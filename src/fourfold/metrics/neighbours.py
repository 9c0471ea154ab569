"""Measures by nearest neighbours in a feature space: precision, recall, density, coverage, memorisation."""

from __future__ import annotations

import torch
from torch import Tensor

from fourfold.metrics.floor import Draws, floor_of
from fourfold.metrics.score import Floor, Score, bootstrap

__all__ = ["coverage", "density", "memorisation_ratio", "precision", "recall"]

_PLUS_FOUR = torch.tensor([[0.0], [0.0], [1.0], [1.0]], dtype=torch.float64)


def precision(x: Tensor, y: Tensor, *, features: str, train: Tensor | Draws | None = None, k: int = 3) -> Score:
    """The share of samples that lie within the k-th-neighbour ball of some reference.

    Args:
        x: features of samples, ``(n, D)``.
        y: features of references, ``(m, D)``, ``m > k``.
        features: the name of the feature space.
        train: features of training examples for the floor: several draws, or one, whose first ``n`` are used.
        k: which neighbour sets a ball's radius.

    Reference: Kynkaanniemi, Karras, Laine, Lehtinen, Aila 2019, https://arxiv.org/abs/1904.06991
    """
    floor = floor_of(train, len(x), lambda base: _part(_inside(base, y, k)))
    return _share(f"precision[{features}]", _inside(x, y, k), _words(x, y, k, "samples"), floor)


def recall(x: Tensor, y: Tensor, *, features: str, train: Tensor | Draws | None = None, k: int = 3) -> Score:
    """The share of references that lie within the k-th-neighbour ball of some sample; arguments as in :func:`precision`.

    Reference: Kynkaanniemi, Karras, Laine, Lehtinen, Aila 2019, https://arxiv.org/abs/1904.06991
    """
    floor = floor_of(train, len(x), lambda base: _part(_inside(y, base, k)))
    return _share(f"recall[{features}]", _inside(y, x, k), _words(x, y, k, "references"), floor)


def density(x: Tensor, y: Tensor, *, features: str, train: Tensor | Draws | None = None, k: int = 5) -> Score:
    """How many reference balls a sample lies in, divided by ``k``: precision that one outlier cannot raise.

    ``1/(k n) Σ_j Σ_i 1[|x_j - y_i| ≤ r_k(y_i)]``; it may exceed 1. Arguments as in :func:`precision`.

    Reference: Naeem, Oh, Uh, Choi, Yoo 2020, https://arxiv.org/abs/2002.09797
    """
    value, low, high = bootstrap(_mean, _depth(x, y, k))
    words = f"{_words(x, y, k, 'samples')}: bootstrap"
    score = Score(f"density[{features}]", value, low, high, n=len(x), protocol=words, better="higher")
    return score.beside(floor_of(train, len(x), lambda base: _depth(base, y, k).mean().item()))


def coverage(x: Tensor, y: Tensor, *, features: str, train: Tensor | Draws | None = None, k: int = 5) -> Score:
    """The share of references whose k-th-neighbour ball (among references) holds a sample; arguments as before.

    Reference: Naeem, Oh, Uh, Choi, Yoo 2020, https://arxiv.org/abs/2002.09797
    """
    floor = floor_of(train, len(x), lambda base: _part(_covered(base, y, k)))
    return _share(f"coverage[{features}]", _covered(x, y, k), _words(x, y, k, "references"), floor)


def memorisation_ratio(
    x: Tensor, train: Tensor, held_out: Tensor, *, features: str, fresh: Tensor | None = None
) -> Score:
    """How far samples lie from their nearest training example, against their nearest held-out example.

    ``Σ_j min_i |x_j - train_i| / Σ_j min_i |x_j - held_out_i|``: 0 where every sample is a copy. New examples of the data
    are the yardstick: their own ratio is the floor (below 1 where the training set is the denser one), and samples well
    below it are nearer to the training set than new examples are.

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
    return Score(f"memorisation_ratio[{features}]", value, low, high, n=len(x), protocol=words).beside(floor)


def _part(hits: Tensor) -> float:
    """The share of hits."""
    return hits.double().mean().item()


def _share(name: str, hits: Tensor, words: str, floor: Floor) -> Score:
    """A share of points; two hits and two misses are added for its interval, so that a share of 0 or 1 has one too."""
    terms = hits.double()[:, None]
    _, low, high = bootstrap(_mean, torch.cat([terms, _PLUS_FOUR]))
    value = _part(hits)
    words = f"{words}: bootstrap with two hits and two misses added (Agresti, Coull 1998)"
    score = Score(name, value, min(low, value), max(high, value), n=len(hits), protocol=words, better="higher")
    return score.beside(Floor(floor.value, max(floor.low, 0.0), min(floor.high, 1.0)))


def _words(x: Tensor, y: Tensor, k: int, over: str) -> str:
    return f"k = {k}; {len(x)} samples against {len(y)} references; interval over {over}, the others fixed"


def _mean(means: Tensor) -> Tensor:
    return means[:, 0]


def _ratio(means: Tensor) -> Tensor:
    return means[:, 0] / means[:, 1].clamp(min=1e-12)


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances ``(len(a), len(b))``, in float64 and about the mean of ``b``, so that little cancels."""
    centre = b.double().mean(0)
    return torch.cdist(a.double() - centre, b.double() - centre)


def _radii(points: Tensor, k: int) -> Tensor:
    """The distance of each point to its k-th neighbour, itself left out."""
    if len(points) <= k:
        raise ValueError(
            f"the {k}-th neighbour needs more than {k} examples, not {len(points)}: use more, or a smaller k"
        )
    return _distances(points, points).fill_diagonal_(0).kthvalue(k + 1, dim=1).values


def _inside(a: Tensor, b: Tensor, k: int) -> Tensor:
    """For each of ``a``: does it lie in some ball of ``b``? ``(len(a),)``."""
    return (_distances(a, b) <= _radii(b, k)).any(1)


def _depth(x: Tensor, y: Tensor, k: int) -> Tensor:
    """In how many balls of ``y`` each of ``x`` lies, over ``k``: ``(n, 1)``."""
    return (_distances(x, y) <= _radii(y, k)).double().sum(1, keepdim=True) / k


def _covered(x: Tensor, y: Tensor, k: int) -> Tensor:
    """For each of ``y``: does its ball hold one of ``x``? ``(m,)``."""
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
