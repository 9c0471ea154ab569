"""The accountant: which epsilon noised counts and noised gradients spend together.

The library ``dp-accounting`` composes privacy loss distributions (Koskela, Jälkö, Honkela 2020,
https://arxiv.org/abs/1906.03049; Doroshenko et al. 2022, https://arxiv.org/abs/2207.04380). Its answer is an upper
bound.
"""

from __future__ import annotations

import functools
import importlib
from dataclasses import dataclass, replace
from typing import Any, final

from fourfold.privacy.guarantee import Guarantee

__all__ = ["Spending", "gaussian_multiplier", "multiplier_for", "require_accountant"]

GRID = 1e-3
"""Distance of the values of a privacy loss that are told apart."""
FINENESS = 1e-3
"""Relative width at which the search for a multiplier ends."""


@final
@dataclass(frozen=True)
class Spending:
    """The releases of a training: noised counts, once, and the noised sums of clipped gradients of random batches.

    Attributes:
        counts: noise of the counts over the most that a row changes them, in the 2-norm. 0: nothing is counted.
        rate: probability with which a row is in a batch.
        multiplier: noise of a sum over the largest norm of one row's gradients. 0: nothing is released.
        steps: how many sums.
        beside: the releases of other trainings on the same rows, within the same guarantee.
    """

    counts: float = 0.0
    rate: float = 1.0
    multiplier: float = 0.0
    steps: int = 0
    beside: tuple[Spending, ...] = ()

    def epsilon(self, delta: float) -> float:
        """The epsilon that is spent, for a delta."""
        return _epsilon(self, delta)


@functools.lru_cache(maxsize=1024)
def _epsilon(spending: Spending, delta: float) -> float:
    library = require_accountant()
    accountant = library.pld.PLDAccountant(value_discretization_interval=GRID)
    for part in (spending, *spending.beside):
        if part.counts:
            accountant.compose(library.GaussianDpEvent(part.counts))
        if part.steps and part.multiplier:
            step = library.PoissonSampledDpEvent(part.rate, library.GaussianDpEvent(part.multiplier))
            accountant.compose(library.SelfComposedDpEvent(step, part.steps))
    return float(accountant.get_epsilon(delta))


def require_accountant() -> Any:
    """The library ``dp_accounting``.

    Raises:
        ModuleNotFoundError: naming the extra that installs it.
    """
    try:
        importlib.import_module("dp_accounting.pld")
        return importlib.import_module("dp_accounting")
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "dp-accounting must be installed for --private: pip install '.[private]' in its clone"
        ) from None


def gaussian_multiplier(guarantee: Guarantee) -> float:
    """The least noise of a single release of sensitivity 1 that keeps a guarantee."""
    return _least(Spending(rate=1.0, steps=1), guarantee)


def multiplier_for(
    guarantee: Guarantee, counts: float, rate: float, steps: int, beside: tuple[Spending, ...] = ()
) -> float:
    """The least noise multiplier with which so many steps keep a guarantee.

    Args:
        guarantee: with its delta.
        counts: noise of what was counted before, as of :class:`Spending`.
        rate: probability with which a row is in a batch.
        steps: of training.
        beside: the releases of other trainings within the guarantee.
    """
    return _least(Spending(counts=counts, rate=rate, steps=steps, beside=beside), guarantee)


def _least(spending: Spending, guarantee: Guarantee) -> float:
    """The least multiplier of a spending that keeps a guarantee, rounded up."""
    assert guarantee.delta is not None

    def keeps(multiplier: float) -> bool:
        return replace(spending, multiplier=multiplier).epsilon(guarantee.delta or 0.0) <= guarantee.epsilon

    high = 1.0
    while not keeps(high):
        high *= 2
    low = high / 2
    while low > 0.02 and keeps(low):
        low, high = low / 2, low
    while high - low > FINENESS * high:
        middle = (low + high) / 2
        low, high = (low, middle) if keeps(middle) else (middle, high)
    return high
