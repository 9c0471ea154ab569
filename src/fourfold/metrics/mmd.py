"""The squared maximum mean discrepancy, unbiased, with a Gaussian kernel."""

from __future__ import annotations

import torch
from torch import Tensor

from fourfold.metrics.floor import Draws, floor_of
from fourfold.metrics.score import GROUPS, Measurement, jackknife_of_both

__all__ = ["median_bandwidth", "mmd"]


def median_bandwidth(y: Tensor) -> float:
    """The median distance between two different references ``(m, D)``: a rule that no model influences.

    Reference: Gretton et al. 2012, A Kernel Two-Sample Test, section 8, https://jmlr.org/papers/v13/gretton12a.html
    """
    distances = torch.pdist(y.double())
    return distances.median().item() or distances.mean().item() or 1.0


def mmd(
    x: Tensor,
    y: Tensor,
    *,
    features: str,
    train: Tensor | Draws | None = None,
    bandwidths: tuple[float, ...] | None = None,
    groups: int = GROUPS,
    paired: bool = False,
) -> Measurement:
    """The unbiased estimate of the squared maximum mean discrepancy. It may be negative.

    ``MMD² = mean_{i≠j} k(x_i, x_j) + mean_{i≠j} k(y_i, y_j) - 2 mean_{ij} k(x_i, y_j)`` with ``k(a, b) = mean_h exp(-|a
    - b|² / 2 h²)``. The interval is over samples and references, by a jackknife of each: a bootstrap would draw
    examples twice and compare them with themselves in the first mean.

    Args:
        x: features of samples, ``(n, D)``, n at least 2.
        y: features of references, ``(m, D)``, m at least 2.
        features: the name of the feature space.
        train: features of training examples for the floor: several draws, or one, whose first ``n`` are used.
        bandwidths: each ``h``. By default 1/4, 1/2 and 1 times :func:`median_bandwidth` of the references.
        groups: number of groups of the jackknife.
        paired: whether sample ``i`` and reference ``i`` share something, such as a condition. The last mean is then
            over ``i≠j`` too.

    Reference: Gretton et al. 2012, A Kernel Two-Sample Test, https://jmlr.org/papers/v13/gretton12a.html

    Raises:
        ValueError: for fewer than 2 samples or 2 references.
    """
    if min(len(x), len(y)) < 2:
        raise ValueError(f"samples and references must be at least 2 each, got {len(x)} and {len(y)}; draw more")
    median = median_bandwidth(y)
    h = (median / 4, median / 2, median) if bandwidths is None else bandwidths
    inner = _kernel(y, y, h)
    estimate = jackknife_of_both(_Discrepancy(x, y, h, inner, paired), len(x), len(y), groups)
    floor = floor_of(train, len(x), lambda base: _Discrepancy(base, y, h, inner).of_all())
    rule = "1/4, 1/2 and 1 times the median distance of references" if bandwidths is None else "given"
    widths = ", ".join(f"{value:.4g}" for value in h)
    words = (
        f"{features}; unbiased MMD², mean of Gaussian kernels of bandwidth {widths} ({rule}); {len(x)} samples "
        f"against {len(y)} references; interval over samples and references: jackknife of {groups} groups of each"
    )
    name = f"mmd²[{features}, gaussian]"
    score = Measurement(name, estimate.value, n=len(x), protocol=words, better="lower")
    return score.within(estimate).beside(floor)


class _Discrepancy:
    """MMD² of any subset of the samples and of the references, from kernel matrices computed once."""

    def __init__(self, x: Tensor, y: Tensor, h: tuple[float, ...], inner: Tensor, paired: bool = False) -> None:
        self.xx, self.xy, self.yy = _kernel(x, x, h), _kernel(x, y, h), inner
        self.diagonal, self.paired = self.xy.diagonal(), float(paired)

    def __call__(self, samples: Tensor, references: Tensor) -> float:
        a, b = samples.double(), references.double()
        shared = (a[: len(self.diagonal)] * b[: len(self.diagonal)]) * self.paired
        cross = ((a @ self.xy @ b - shared @ self.diagonal) / (a.sum() * b.sum() - shared.sum())).item()
        return _off_diagonal(self.xx, a) + _off_diagonal(self.yy, b) - 2 * cross

    def of_all(self) -> float:
        """MMD² of all samples and references."""
        return self(torch.ones(len(self.xx)), torch.ones(len(self.yy)))


def _kernel(a: Tensor, b: Tensor, bandwidths: tuple[float, ...]) -> Tensor:
    centre = b.double().mean(0)
    squares = torch.cdist(a.double() - centre, b.double() - centre).square()
    return torch.stack([(squares / (-2 * h * h)).exp() for h in bandwidths]).mean(0)


def _off_diagonal(kernel: Tensor, rows: Tensor) -> float:
    """The mean over pairs of different rows, of which those with a 1 count."""
    n = rows.sum()
    return ((rows @ kernel @ rows - rows @ kernel.diagonal()) / (n * (n - 1))).item()
