"""Standard errors of estimates: Student's t, and variances pooled over examples."""

from __future__ import annotations

import math

from torch import Tensor

from fourfold.machine.libraries import scipy

__all__ = ["pooled_error", "student_t"]


def student_t(freedom: float, level: float = 0.95) -> float:
    """The point of Student's t that ``level`` of its mass lies within on both sides of 0. A normal one for ``inf``.

    Raises:
        ValueError: for less than one degree of freedom.
    """
    if not freedom >= 1:
        raise ValueError(f"freedom must be at least 1 for Student's t, got {freedom}")
    return float(scipy.special.stdtrit(freedom, (1 + level) / 2))


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
