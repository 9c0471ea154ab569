"""The Frechet distance between Gaussians fitted to samples and to references, in a named feature space."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from fourfold.metrics.floor import Draws, floor_of
from fourfold.metrics.score import Measurement, of_influences

__all__ = ["frechet_difference", "frechet_distance", "gaussian_distance"]


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
    protocol: str = "",
) -> Measurement:
    """The squared Frechet distance of features of samples and of references. It is biased upwards by about ``1/n``.

    The interval is over samples and references, by the influence of each. That of a sample, with the root ``R = (z Σ_b
    zᵀ)^½`` of the centred samples ``z_i = (x_i - μ_a) / sqrt(n-1)``, is

    ``2 (μ_a - μ_b) (x_i - μ_a) + n (|z_i|² - R_ii)`` less its mean, and ``d² = |μ_a - μ_b|² + Σ |z_i|² + tr Σ_b - 2
    tr R``.

    A reference has the same with both sides changed.

    Args:
        x: features of samples, ``(n, D)``. ``n < D`` is allowed.
        y: features of references, ``(m, D)``.
        features: the name of the feature space. Only ``inception`` makes it the FID of the literature.
        train: features of training examples for the floor: several draws, or one, whose first ``n`` are used.
        protocol: the feature space in words.

    Reference: Heusel et al. 2017, GANs Trained by a Two Time-Scale Update Rule, https://arxiv.org/abs/1706.08500
    """
    _check(x, y)
    samples, references = _Side(x), _Side(y)
    own, shared = samples.influences(references), references.influences(samples)
    estimate = of_influences(samples.distance(references), own, shared)
    score = Measurement(
        "FID[inception]" if features == "inception" else f"frechet_distance[{features}]",
        estimate.value,
        n=len(x),
        protocol=f"{protocol or features}; {len(x)} samples against {len(y)} references; float64; "
        "interval over samples and references: influence of each",
        better="lower",
    )
    floor = floor_of(train, len(x), lambda base: _Side(base).distance(references))
    return score.within(estimate).beside(floor)


def frechet_difference(x: Tensor, y: Tensor, truth: Tensor) -> tuple[float, float]:
    """``d²(x, truth) - d²(y, truth)`` of two systems given the same conditions, and its standard error.

    Row ``i`` of each is of condition ``i``. A condition has one influence, of its draws and of its true example. So an
    error that both systems share cancels in the difference.

    Args:
        x: features of one draw of the first system for each condition, ``(n, D)``.
        y: those of the second system, ``(n, D)``.
        truth: features of the true examples, ``(n, D)``.

    Raises:
        ValueError: if the lengths differ, or as :func:`frechet_distance`.
    """
    _check(x, truth)
    _check(y, truth)
    if not len(x) == len(y) == len(truth):
        raise ValueError(f"rows must be one a condition on each side, got {len(x)}, {len(y)} and {len(truth)}")
    (first, second), references = (_Side(x), _Side(y)), _Side(truth)
    of_conditions = [side.influences(references) + references.influences(side) for side in (first, second)]
    error = (of_conditions[0] - of_conditions[1]).std().item() / math.sqrt(len(x))
    return first.distance(references) - second.distance(references), error


class _Side:
    """One side of a distance: its mean, its centred rows over ``sqrt(n-1)``, and the root of their covariance."""

    def __init__(self, x: Tensor) -> None:
        x = x.double()
        self.mean = x.mean(0)
        self.z = (x - self.mean) / math.sqrt(len(x) - 1)

    @functools.cached_property
    def cov(self) -> Tensor:
        return self.z.T @ self.z

    @functools.cached_property
    def root(self) -> Tensor:
        return _root(self.cov)

    def distance(self, other: _Side) -> float:
        means, traces = (self.mean - other.mean).square().sum(), self.z.square().sum() + other.z.square().sum()
        return (means + traces - 2 * _trace_of_root(self._cross(other))).item()

    def influences(self, other: _Side) -> Tensor:
        """The influence of each row on the distance, ``(n,)``, of mean 0."""
        n = len(self.z)
        quadratic = n * (self.z.square().sum(1) - self._diagonal_of_root(other))
        return 2 * math.sqrt(n - 1) * self.z @ (self.mean - other.mean) + quadratic - quadratic.mean()

    def _cross(self, other: _Side) -> Tensor:
        """``z Σ_b zᵀ``, or ``Σ_b^½ Σ_a Σ_b^½`` where that is smaller: their eigenvalues are the same but for zeros."""
        if len(self.z) < self.z.shape[1]:
            return self.z @ other.cov @ self.z.T
        half = self.z @ other.root
        return half.T @ half

    def _diagonal_of_root(self, other: _Side) -> Tensor:
        """The diagonal of ``(z Σ_b zᵀ)^½``, ``(n,)``."""
        cross = self._cross(other)
        values, vectors = torch.linalg.eigh((cross + cross.T) / 2)
        if len(cross) == len(self.z) < self.z.shape[1]:
            return vectors.square() @ values.clamp(min=0).sqrt()
        positive = values > values.max() * len(values) * torch.finfo(torch.float64).eps
        projected = self.z @ other.root @ vectors[:, positive]
        return projected.square() @ values[positive].rsqrt()


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
