"""The squared maximum mean discrepancy, unbiased, with a Gaussian kernel."""

from __future__ import annotations

import torch
from torch import Tensor

from fourfold.metrics.floor import Draws, floor_of
from fourfold.metrics.score import Measurement, of_influences

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
    paired: bool = False,
) -> Measurement:
    """The unbiased estimate of the squared maximum mean discrepancy. It may be negative.

    ``MMD² = mean_{i≠j} k(x_i, x_j) + mean_{i≠j} k(y_i, y_j) - 2 mean_{ij} k(x_i, y_j)`` with ``k(a, b) = mean_h exp(-|a
    - b|² / 2 h²)``. The interval is over samples and references, by the influence of each: that of a sample is ``2
    (mean_{j≠i} k(x_i, x_j) - mean_j k(x_i, y_j))`` less its mean. A bootstrap would draw examples twice and compare
    them with themselves.

    Args:
        x: features of samples, ``(n, D)``, n at least 2.
        y: features of references, ``(m, D)``, m at least 2.
        features: the name of the feature space.
        train: features of training examples for the floor: several draws, or one, whose first ``n`` are used.
        bandwidths: each ``h``. By default 1/4, 1/2 and 1 times :func:`median_bandwidth` of the references.
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
    xx, xy, yy = _kernel(x, x, h), _kernel(x, y, h), _kernel(y, y, h)
    own, shared = _row_means(xx) - _row_means(xy, paired), _row_means(yy) - _row_means(xy.T, paired)
    estimate = of_influences(_squared(xx, xy, yy, paired), 2 * own, 2 * shared)
    floor = floor_of(train, len(x), lambda base: _squared(_kernel(base, base, h), _kernel(base, y, h), yy))
    rule = "1/4, 1/2 and 1 times the median distance of references" if bandwidths is None else "given"
    widths = ", ".join(f"{value:.4g}" for value in h)
    words = (
        f"{features}; unbiased MMD², mean of Gaussian kernels of bandwidth {widths} ({rule}); {len(x)} samples "
        f"against {len(y)} references; interval over samples and references: influence of each"
    )
    name = f"mmd²[{features}, gaussian]"
    score = Measurement(name, estimate.value, n=len(x), protocol=words, better="lower")
    return score.within(estimate).beside(floor)


def _squared(xx: Tensor, xy: Tensor, yy: Tensor, paired: bool = False) -> float:
    """MMD² from the kernels of all pairs."""
    shared = xy.diagonal() * float(paired)
    cross = (xy.sum() - shared.sum()) / (xy.numel() - len(shared) * paired)
    return (_row_means(xx).mean() + _row_means(yy).mean() - 2 * cross).item()


def _kernel(a: Tensor, b: Tensor, bandwidths: tuple[float, ...]) -> Tensor:
    centre = b.double().mean(0)
    squares = torch.cdist(a.double() - centre, b.double() - centre).square()
    return torch.stack([(squares / (-2 * h * h)).exp() for h in bandwidths]).mean(0)


def _row_means(kernel: Tensor, leave: bool = True) -> Tensor:
    """The mean of each row. The diagonal may be left out."""
    sums, counts = kernel.sum(1), torch.full((len(kernel),), kernel.shape[1], dtype=torch.float64)
    if leave:
        sums[: kernel.shape[1]] -= kernel.diagonal()
        counts[: kernel.shape[1]] -= 1
    return sums / counts
