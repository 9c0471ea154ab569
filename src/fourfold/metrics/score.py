"""A score with its protocol, interval and floor, and the two ways to compute an interval."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from fourfold.uncertainty import student_t
from fourfold.vocabulary import Kind

__all__ = ["GROUPS", "Floor", "Measurement", "bootstrap", "jackknife", "jackknives", "mean_interval", "t_quantile"]

GROUPS = 10
"""The number of groups of a jackknife."""


class Floor(NamedTuple):
    """The score of examples of the data, with the ends of an interval; NaN where unknown."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan


@final
@dataclass(frozen=True)
class Measurement:
    """One measured number and everything needed to read it.

    Attributes:
        name: the measured quantity, with the feature space in brackets.
        value: the score; NaN if it could not be measured (the protocol then says why).
        low, high: a 95 % interval; the protocol says how it was computed, and over which draws.
        floor: the same score of training examples against test examples at the same ``n``; NaN if there is none.
        n: number of samples or examples behind the score.
        protocol: features, references, estimator and interval, in words.
        unit: unit of ``value``, if it has one.
        better: ``"lower"``, ``"higher"``, ``"nearer"`` to the floor, which is then perfect, or ``""`` (none is).
        kind: the kind of a likelihood; ``None`` for other scores.
        floor_low, floor_high: the interval that holds the score of ``n`` new examples of the data in 95 % of cases; NaN
            where the floor was drawn once. A score in it, or beyond it on the better side, is as good as the data's
            own.
        references: number of examples of the data, where the score is a share of these or of samples.
        share: whether the score is a share or a probability: then the ends of intervals lie in [0, 1].
    """

    name: str
    value: float
    low: float = math.nan
    high: float = math.nan
    floor: float = math.nan
    n: int = 0
    protocol: str = ""
    unit: str = ""
    better: str = ""
    kind: Kind | None = None
    floor_low: float = math.nan
    floor_high: float = math.nan
    references: int = 0
    share: bool = False

    def __post_init__(self) -> None:
        for name in ("low", "high", "floor_low", "floor_high") if self.share else ():
            value = getattr(self, name)
            object.__setattr__(self, name, value if math.isnan(value) else min(max(value, 0.0), 1.0))

    @property
    def direction(self) -> str:
        """What is better, in words; empty where nothing is."""
        target = "the floor" if math.isnan(self.floor) else f"{self.floor:.3g}"
        aim = f"nearer {target}" if self.better == "nearer" else self.better
        return f"{aim} is better" if aim else ""

    def ranked(self) -> Measurement:
        """The score as one that is better where it is lower or higher: ``"nearer"`` becomes the distance to the floor.

        Its interval holds the distances of all values in the interval of the score.
        """
        if self.better != "nearer":
            return self
        low, high = self.low - self.floor, self.high - self.floor
        within = max(self.floor_high - self.floor, self.floor - self.floor_low)
        return dataclasses.replace(
            self,
            value=abs(self.value - self.floor),
            low=max(low, -high, 0.0) if math.isfinite(low) and math.isfinite(high) else math.nan,
            high=max(high, -low) if math.isfinite(low) and math.isfinite(high) else math.nan,
            floor=0.0,
            floor_low=0.0 if math.isfinite(within) else math.nan,
            floor_high=within,
            better="lower",
        )

    def __str__(self) -> str:
        interval = f" [{self.low:.4g}, {self.high:.4g}]" if math.isfinite(self.low) else ""
        spread = f" [{self.floor_low:.4g}, {self.floor_high:.4g}]" if math.isfinite(self.floor_low) else ""
        floor = f", floor {self.floor:.4g}{spread}" if math.isfinite(self.floor) else ""
        kind = f" ({self.kind.words})" if self.kind is not None else ""
        against = f", {self.references} references" if self.references else ""
        counted = f" (n = {self.n}{against})" if self.n else ""
        if math.isnan(self.value):
            return f"{self.name}: not known{counted}"
        return f"{self.name} = {self.value:.4g}{interval} {self.unit}{kind}".rstrip() + f"{floor}{counted}"

    def beside(self, floor: Floor) -> Measurement:
        """The same score with a floor."""
        return dataclasses.replace(self, floor=floor.value, floor_low=floor.low, floor_high=floor.high)

    def record(self) -> dict[str, Any]:
        """A JSON value; numbers that are not finite become ``None``."""
        pairs = dataclasses.asdict(self).items()
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in pairs}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Measurement:
        """Read the value that :meth:`record` wrote.

        Raises:
            TypeError, ValueError: for a record that :meth:`record` did not write.
        """
        numbers = ("value", "low", "high", "floor", "floor_low", "floor_high")
        known: dict[str, Any] = {**record, **{k: math.nan for k in numbers if record.get(k) is None}}
        score = cls(**{**known, "kind": None if record.get("kind") is None else Kind(record["kind"])})
        plain = all(type(getattr(score, k)) in (int, float) for k in (*numbers, "n", "references"))
        if not plain or not all(type(getattr(score, k)) is str for k in ("name", "protocol", "unit", "better")):
            raise ValueError(f"not the record of a score: {str(record)[:80]}")
        return score


def jackknife(statistic: Callable[[Tensor], float], n: int, groups: int = GROUPS) -> tuple[float, float, float]:
    """A statistic of ``n`` examples and its 95 % interval by the delete-a-group jackknife.

    ``se² = (G-1)/G Σ_g (θ_(-g) - mean)²`` and the interval is ``θ ± t_{G-1} se``. Resampling with replacement would
    bias every statistic that is sensitive to duplicates (a Frechet distance, a kernel's diagonal, a nearest neighbour);
    leaving out a group shifts all ``θ_(-g)`` equally, and the shift cancels.

    Args:
        statistic: maps a boolean mask of the kept rows, ``(n,)``, to a number.
        n: number of examples, taken to be in random order.
        groups: ``G``; every G-th example forms a group.

    Returns:
        The statistic, and the lower and upper end; ends are NaN with fewer than ``2 G`` examples.

    Reference: Efron, Stein 1981, The Jackknife Estimate of Variance, https://doi.org/10.1214/aos/1176345462
    """
    value, low, high = jackknives(lambda keep: torch.tensor([statistic(keep)], dtype=torch.float64), n, groups)[0]
    return value, low, high


def jackknives(statistic: Callable[[Tensor], Tensor], n: int, groups: int = GROUPS) -> list[tuple[float, float, float]]:
    """:func:`jackknife` of several statistics ``(S,)`` that are computed together."""
    values = statistic(torch.ones(n, dtype=torch.bool)).double()
    if n < 2 * groups:
        return [(value, math.nan, math.nan) for value in values.tolist()]
    member = torch.arange(n) % groups
    left = torch.stack([statistic(member != g).double() for g in range(groups)])
    half = t_quantile(groups) * ((left - left.mean(0)).square().sum(0) * (groups - 1) / groups).sqrt()
    return list(zip(values.tolist(), (values - half).tolist(), (values + half).tolist(), strict=True))


def mean_interval(values: Tensor, share: bool = False) -> tuple[float, float, float]:
    """The mean of many independent values and its 95 % interval, ``mean ± 1.96 s / sqrt(n)``.

    Args:
        values: ``(n,)``.
        share: whether they are hits and misses. Two of each are then added for the interval, so that a share of 0 or 1
            has one too.

    Reference: Agresti, Coull 1998, https://doi.org/10.1080/00031305.1998.10480550
    """
    values = values.double()
    mean, n = values.mean().item(), len(values)
    if not share:
        half = 1.96 * values.std().item() / math.sqrt(n) if n > 1 else math.nan
        return mean, mean - half, mean + half
    centre = (n * mean + 2) / (n + 4)
    half = 1.96 * math.sqrt(centre * (1 - centre) / (n + 4))
    return mean, max(min(centre - half, mean), 0.0), min(max(centre + half, mean), 1.0)


def t_quantile(groups: int) -> float:
    """The 97.5 % point of Student's t with ``groups - 1`` degrees of freedom."""
    return student_t(groups - 1)


def bootstrap(
    statistic: Callable[[Tensor], Tensor], terms: Tensor, draws: int = 1000, seed: int = 0
) -> tuple[float, float, float]:
    """A smooth function of the mean of per-example terms, and its 95 % percentile bootstrap interval.

    Args:
        statistic: maps means ``(draws, columns)`` to ``(draws,)``.
        terms: ``(n, columns)`` float64; independent rows given everything they were compared with.
        draws: number of bootstrap samples.
        seed: seed of the resampling.

    Reference: Efron 1979, Bootstrap Methods, https://doi.org/10.1214/aos/1176344552
    """
    n = len(terms)
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(n, (draws, n), generator=generator)
    counts = torch.zeros(draws, n, dtype=torch.float64).scatter_add_(1, rows, torch.ones(draws, n, dtype=torch.float64))
    ends = statistic(counts @ terms / n).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64))
    return statistic(terms.mean(0, keepdim=True)).item(), ends[0].item(), ends[1].item()
