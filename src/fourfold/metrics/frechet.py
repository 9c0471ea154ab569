"""The Frechet distance between Gaussians fitted to samples and to references, in a named feature space."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fourfold.metrics.floor import Draws, floor_of
from fourfold.metrics.score import GROUPS, Measurement, jackknife_of_both

__all__ = ["frechet_distance", "gaussian_distance"]


def gaussian_distance(mean_a: Tensor, cov_a: Tensor, mean_b: Tensor, cov_b: Tensor) -> float:
    """The squared Frechet (2-Wasserstein) distance of two Gaussians.

    ``d² = |μ_a - μ_b|² + tr(Σ_a + Σ_b - 2 (Σ_b^½ Σ_a Σ_b^½)^½)``, in float64.

    Reference: Dowson, Landau 1982, https://doi.org/10.1016/0047-259X(82)90077-X
    """
    mean_a, cov_a, mean_b, cov_b = (value.double() for value in (mean_a, cov_a, mean_b, cov_b))
    root = _root(cov_b)
    traces = cov_a.trace() + cov_b.trace() - 2 * _trace_of_root(root @ cov_a @ root)
    return ((mean_a - mean_b).square().sum() + traces).item()


def frechet_distance(
    x: Tensor,
    y: Tensor,
    *,
    features: str,
    train: Tensor | Draws | None = None,
    groups: int = GROUPS,
    protocol: str = "",
) -> Measurement:
    """The squared Frechet distance of features of samples and of references. It is biased upwards by about ``1/n``.

    The interval is over samples and references, by a jackknife of each with ``groups``: drawing with replacement would
    shrink the covariances' rank and move the whole interval upwards.

    Args:
        x: features of samples, ``(n, D)``. ``n < D`` is allowed.
        y: features of references, ``(m, D)``.
        features: the name of the feature space. Only ``inception`` makes it the FID of the literature.
        train: features of training examples for the floor: several draws, or one, whose first ``n`` are used.
        groups: number of groups of the jackknife.
        protocol: the feature space in words.

    Reference: Heusel et al. 2017, GANs Trained by a Two Time-Scale Update Rule, https://arxiv.org/abs/1706.08500
    """
    _check(x, y)
    reference, sample = _Reference(y), _Reference(x)

    def distance(samples: Tensor, references: Tensor) -> float:
        return reference.distance(x[samples]) if bool(references.all()) else sample.distance(y[references])

    estimate = jackknife_of_both(distance, len(x), len(y), groups)
    score = Measurement(
        "FID[inception]" if features == "inception" else f"frechet_distance[{features}]",
        estimate.value,
        n=len(x),
        protocol=f"{protocol or features}; {len(x)} samples against {len(y)} references; float64; "
        f"interval over samples and references: jackknife of {groups} groups of each",
        better="lower",
    )
    return score.within(estimate).beside(floor_of(train, len(x), reference.distance))


class _Reference:
    """The Gaussian of one side, with the root of its covariance, which is computed once."""

    def __init__(self, y: Tensor) -> None:
        y = y.double()
        self.mean = y.mean(0)
        self.cov = torch.cov(y.T).reshape(y.shape[1], y.shape[1])
        self.root: Tensor | None = None

    def distance(self, x: Tensor) -> float:
        x = x.double()
        mean = x.mean(0)
        z = (x - mean) / math.sqrt(len(x) - 1)
        cross = z @ self.cov @ z.T if len(z) < z.shape[1] else self._inner(z)
        return (
            (mean - self.mean).square().sum() + z.square().sum() + self.cov.trace() - 2 * _trace_of_root(cross)
        ).item()

    def _inner(self, z: Tensor) -> Tensor:
        """``Σ_b^½ Σ_a Σ_b^½``: the same non-zero eigenvalues as ``z Σ_b zᵀ``, and smaller where n > D."""
        self.root = _root(self.cov) if self.root is None else self.root
        half = z @ self.root
        return half.T @ half


def _root(cov: Tensor) -> Tensor:
    """The symmetric square root of a positive semi-definite matrix."""
    values, vectors = torch.linalg.eigh(cov)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T


def _trace_of_root(symmetric: Tensor) -> Tensor:
    """The sum of the square roots of the eigenvalues of a positive semi-definite matrix."""
    return torch.linalg.eigvalsh((symmetric + symmetric.T) / 2).clamp(min=0).sqrt().sum()


def _check(x: Tensor, y: Tensor) -> None:
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(
            f"features must be (n, D) with one D, got {tuple(x.shape)} and {tuple(y.shape)}; flatten them first"
        )
    if min(len(x), len(y)) < 2:
        raise ValueError(f"samples and references must be at least 2 each, got {len(x)} and {len(y)}; draw more")
    for name, value in (("samples", x), ("references", y)):
        if not bool(torch.isfinite(value).all()):
            raise ValueError(f"features of {name} must be finite, got some that are not; did training diverge?")
