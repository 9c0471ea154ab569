"""Standard errors and tests of estimates: Student's t, several comparisons at once, variances pooled over examples."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from fourfold.machine.libraries import scipy

__all__ = ["adjusted", "p_value", "pooled_error", "satterthwaite", "student_t"]


def student_t(freedom: float, level: float = 0.95) -> float:
    """The point of Student's t that ``level`` of its mass lies within on both sides of 0. A normal one for ``inf``.

    Raises:
        ValueError: for less than one degree of freedom.
    """
    if not freedom >= 1:
        raise ValueError(f"freedom must be at least 1 for Student's t, got {freedom}")
    return float(scipy.special.stdtrit(freedom, (1 + level) / 2))


def satterthwaite(variances: Sequence[float], freedoms: Sequence[float]) -> float:
    """The degrees of freedom of a sum of independent variances: ``(Σ v_i)² / Σ (v_i² / f_i)``. ``inf`` for no variance.

    Reference: Satterthwaite 1946, https://doi.org/10.2307/3002019
    """
    parts = sum(variance**2 / freedom for variance, freedom in zip(variances, freedoms, strict=True))
    return sum(variances) ** 2 / parts if parts > 0 else math.inf


def p_value(value: float, error: float, freedom: float) -> float:
    """The two-sided p-value of ``value`` under the hypothesis that it is 0, by Student's t. NaN if either is NaN."""
    if error == 0:
        return math.nan if math.isnan(value) else float(value == 0)
    return float(2 * scipy.special.stdtr(min(freedom, 1e9), -abs(value) / error))


def adjusted(p_values: Tensor, effects: Tensor, draws: int = 10_000) -> Tensor:
    """P-values ``(m,)`` adjusted for each other: with probability ``1 - a`` none of those below ``a`` is a false alarm.

    Each p-value is that of a normal figure with two sides, ``z_i = |Φ^-1(p_i / 2)|``. The figures that hypotheses would
    give if all were true are drawn with the correlations of ``effects``, and the ``i``-th smallest p-value becomes

        max_{j <= i} P(max_{k >= j} |Z_k| >= z_j)

    so that figures that tell of the same are not counted twice. The probability of any error over all hypotheses is
    held, whichever of them are true.

    Args:
        p_values: float64 ``(m,)``. NaN counts as 1.
        effects: ``(m, r)``, the effect of each of ``r`` independent sources of error on each figure. NaN where unknown.
        draws: number of draws, of one seed.

    Reference: Westfall, Young 1993, Resampling-Based Multiple Testing, algorithm 2.8; Romano, Wolf 2005,
    https://doi.org/10.1198/016214504000000539
    """
    order = p_values.nan_to_num(1.0).argsort()
    z = -torch.special.ndtri(p_values.nan_to_num(1.0)[order].clamp(min=1e-300) / 2)
    u, s, _ = torch.linalg.svd(
        torch.nn.functional.normalize(effects[order].nan_to_num(0.0), dim=1), full_matrices=False
    )
    sources = (u * s)[:, s > 1e-6 * s[0]].float()  # as few as tell of all correlations
    noise = torch.randn(sources.shape[1], draws, generator=torch.Generator().manual_seed(0))
    largest = (sources @ noise).abs_()
    for row in range(len(largest) - 2, -1, -1):
        torch.maximum(largest[row], largest[row + 1], out=largest[row])
    steps = ((largest >= z[:, None]).sum(1).double() + 1) / (draws + 1)
    return torch.empty_like(p_values).index_copy_(0, order, steps.cummax(0).values)


def pooled_error(variance: Tensor, freedom: float) -> Tensor:
    """Standard errors ``(B,)``, two of which hold 95 %, although each variance ``v_i`` is itself an estimate.

    A variance from two draws is a poor estimate, so the variances of all examples are combined. The true variances are
    assumed to follow an inverse gamma law with mean ``m`` and ``f_0`` degrees of freedom. Each estimate has ``f``:

        f_0 = 4 + 4 / c,   c = mean(v^2) / ((1 + 2 / f) m^2) - 1
        s_i^2 = ((f_0 - 2) m + f v_i) / (f_0 + f)
        error_i = s_i t(F) / t(inf),   F = min(f_0 + f, B f)

    with the 97.5 % point ``t`` of Student's distribution. For a single example ``s = v`` and ``F = f``. For many equal
    ones ``s = m``, and ``F`` grows to infinity. For normal draws ``c`` would be the squared coefficient of variation of
    the true variances, and ``f_0 = 4 + 2 / c``. Half of ``c`` is attributed to heavier tails instead, because this
    gives the best coverage in ``benchmarks/known.py``.

    Args:
        variance: ``(B,)`` unbiased estimates of the variance of each figure. NaN where unknown.
        freedom: degrees of freedom of each. ``inf`` where variances are known.

    Reference: Smyth 2004, Linear Models and Empirical Bayes Methods for Assessing Differential Expression,
    https://doi.org/10.2202/1544-6115.1027 (there by moments of log v, which a pair of equal draws would spoil).
    """
    v, finite = variance.double(), variance.double()[variance.isfinite()]
    if math.isinf(freedom) or not float(finite.sum()) > 0:
        return variance.sqrt()
    if len(finite) == 1:
        return (v.sqrt() * (student_t(freedom) / student_t(math.inf))).to(variance)
    m = finite.mean()
    spread = float(finite.square().mean() / ((1 + 2 / freedom) * m.square())) - 1
    prior = 4 + 4 / max(spread, 1e-9)
    total = min(prior + freedom, len(finite) * freedom)
    pooled = ((prior - 2) * m + freedom * v) / (prior + freedom)
    return (pooled.sqrt() * (student_t(total) / student_t(math.inf))).to(variance)
