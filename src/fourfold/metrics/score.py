"""A score with its protocol, interval and floor, and the ways to compute an interval."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from fourfold.maths.uncertainty import satterthwaite, student_t
from fourfold.output import notebook
from fourfold.vocabulary import Kind

__all__ = [
    "GROUPS",
    "PARTS",
    "Floor",
    "Measurement",
    "Measurements",
    "UncertainValue",
    "bootstrap",
    "half_width",
    "jackknife",
    "jackknife_of_both",
    "jackknives",
    "left_out",
    "mean_interval",
    "means_left_out",
    "of_influences",
    "share_interval",
    "spread",
    "t_quantile",
    "total_error",
    "wilson_interval",
]

GROUPS = 10
"""The number of groups of a jackknife."""
PARTS = 50
"""The most groups of test examples in the jackknife of a mean."""


class Floor(NamedTuple):
    """The score of examples of the data, with the ends of an interval. NaN where unknown."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan


class UncertainValue(NamedTuple):
    """A score and its uncertainty in two parts: what each model and seed has anew, and what all of them share.

    Attributes:
        value: the score.
        error: the standard error of what is drawn anew: samples and, over several seeds, trainings.
        deviations: of the score over the examples that all share, each with some of them left out, the same ones for
            every model and seed. The sum of their squares is a variance, so those of a mean or of a difference of
            scores are the mean or the difference of theirs. Where samples are left out beside them, they are over both.
        freedom: degrees of freedom of ``error``.
    """

    value: float
    error: float
    deviations: tuple[float, ...] = ()
    freedom: float = math.inf


@final
@dataclass(frozen=True)
class Measurement:
    """One measured number and everything needed to read it.

    Attributes:
        name: the measured quantity, with the feature space in brackets.
        value: the score. NaN if it could not be measured (the protocol then says why).
        low, high: a 95 % interval. The protocol says how it was computed, and over which draws.
        floor: the same score of training examples against test examples at the same ``n``. NaN if there is none.
        n: number of samples or examples behind the score.
        protocol: features, references, estimator and interval, in words.
        unit: unit of ``value``, if it has one.
        better: ``"lower"``, ``"higher"``, ``"nearer"`` to the floor, which is then perfect, or ``""`` (none is).
        kind: the kind of a likelihood. ``None`` for other scores.
        floor_low, floor_high: the interval that holds the score of ``n`` new examples of the data in 95 % of cases. NaN
            where the floor was drawn once. A score in it, or beyond it on the better side, is as good as the data's
            own.
        references: number of examples of the data, where the score is a share of these or of samples.
        share: whether the score is a share, their mean, or a probability: then the ends of intervals lie in [0, 1].
        error, deviations, freedom: see :class:`UncertainValue`. The error is NaN where the parts are unknown.
        outside: number of examples that a likelihood leaves out, since they hold values that no training row has.
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
    error: float = math.nan
    deviations: tuple[float, ...] = ()
    freedom: float = math.inf
    outside: int = 0

    def __post_init__(self) -> None:
        for name in ("low", "high", "floor_low", "floor_high") if self.share else ():
            value = getattr(self, name)
            object.__setattr__(self, name, value if math.isnan(value) else min(max(value, 0.0), 1.0))

    @property
    def direction(self) -> str:
        """The better direction, in words. Empty where there is none."""
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
            deviations=tuple(math.copysign(1, self.value - self.floor) * part for part in self.deviations),
        )

    def __str__(self) -> str:
        interval = f" [{self.low:.4g}, {self.high:.4g}]" if math.isfinite(self.low) else ""
        spread = f" [{self.floor_low:.4g}, {self.floor_high:.4g}]" if math.isfinite(self.floor_low) else ""
        floor = f", floor {self.floor:.4g}{spread}" if math.isfinite(self.floor) else ""
        kind = f" ({self.kind.words})" if self.kind is not None else ""
        against = f", {self.references} references" if self.references else ""
        of = f" of {self.n + self.outside}, the others with values that are not in training" if self.outside else ""
        numbers = f" (n = {self.n}{of}{against})" if self.n or self.outside else ""
        if math.isnan(self.value):
            return f"{self.name}: not known{numbers}"
        return f"{self.name} = {self.value:.4g}{interval} {self.unit}{kind}".rstrip() + f"{floor}{numbers}"

    def beside(self, floor: Floor) -> Measurement:
        """The same score with a floor."""
        return dataclasses.replace(self, floor=floor.value, floor_low=floor.low, floor_high=floor.high)

    def within(self, estimate: UncertainValue) -> Measurement:
        """The same score with the value and the 95 % interval of an estimate.

        A share ``p`` of variance ``v`` has Wilson's interval of ``n* = p (1 - p) / v`` independent hits and misses,
        since ``p ± t sqrt(v)`` misses a share near 0 or 1 too often on one side.

        Reference: Korn, Graubard 1998, Confidence Intervals for Proportions with Small Expected Number of Positive
        Counts Estimated from Survey Data, Survey Methodology 24, 193-201.
        """
        value, error, deviations, freedom = estimate
        half = half_width(error, deviations, freedom)
        low, high = value - half, value + half
        if self.share and 0 < value < 1 and half > 0:
            deviation = math.sqrt(error**2 + spread(deviations))
            low, high = wilson_interval(value, value * (1 - value) / deviation**2, half / deviation)
        return dataclasses.replace(
            self,
            value=value,
            low=low,
            high=high,
            error=error,
            deviations=deviations,
            freedom=freedom,
        )

    def record(self) -> dict[str, Any]:
        """A JSON value. Numbers that are not finite become ``None``, and infinite degrees of freedom too."""
        pairs = dataclasses.asdict(self).items()
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in pairs}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Measurement:
        """Read the value that :meth:`record` wrote.

        Raises:
            TypeError, ValueError: for a record that :meth:`record` did not write.
        """
        if not isinstance(record, dict):
            raise TypeError(f"record must be that of a score, got {str(record)[:80]}")
        numbers = ("value", "low", "high", "floor", "floor_low", "floor_high", "error", "freedom")
        unknown = {k: math.inf if k == "freedom" else math.nan for k in numbers if record.get(k) is None}
        kind = None if record.get("kind") is None else Kind(record["kind"])
        score = cls(**{**record, **unknown, "kind": kind, "deviations": tuple(record.get("deviations", ()))})
        plain = all(type(getattr(score, k)) in (int, float) for k in (*numbers, "n", "references", "outside"))
        plain = plain and all(type(value) in (int, float) for value in score.deviations)
        if not plain or not all(type(getattr(score, k)) is str for k in ("name", "protocol", "unit", "better")):
            raise ValueError(f"record must be that of a score, got {str(record)[:80]}")
        return score


@final
class Measurements(list[Measurement]):
    """Scores in the order in which they are read: a line each as text, a row each in a notebook."""

    def __repr__(self) -> str:
        return "\n".join(map(str, self))

    def _repr_html_(self) -> str:
        rows = [("score", "value", "floor", "better")]
        rows += [(score.name, *_value_and_floor(score), score.direction) for score in self]
        return notebook.grid(rows, "in brackets 95 % intervals; the floor is what training examples score")


def _value_and_floor(score: Measurement) -> tuple[str, str]:
    """Both with their intervals, as texts."""
    value, _, rest = str(score).partition(" = ")[2].partition(" (n = ")[0].partition(", floor ")
    return value or "not known", rest


def jackknife(statistic: Callable[[Tensor], float], n: int, groups: int = GROUPS) -> tuple[float, float, float]:
    """A statistic of ``n`` examples and its 95 % interval by the delete-a-group jackknife.

    ``se² = (G-1)/G Σ_g (θ_(-g) - mean)²`` and the interval is ``θ ± t_{G-1} se``. Resampling with replacement would
    bias every statistic that is sensitive to duplicates (a Frechet distance, a kernel's diagonal, a nearest neighbour).
    Leaving out a group shifts all ``θ_(-g)`` equally, and the shift cancels.

    Args:
        statistic: maps a boolean mask of the kept rows, ``(n,)``, to a number.
        n: number of examples, taken to be in random order.
        groups: ``G``. Every G-th example forms a group.

    Returns:
        The statistic, and the lower and upper end. Ends are NaN with fewer than ``2 G`` examples.

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
    estimates = torch.stack([statistic(member != g).double() for g in range(groups)])
    half = t_quantile(groups) * ((estimates - estimates.mean(0)).square().sum(0) * (groups - 1) / groups).sqrt()
    return list(zip(values.tolist(), (values - half).tolist(), (values + half).tolist(), strict=True))


def left_out(statistic: Callable[[Tensor], float], n: int, groups: int = GROUPS) -> tuple[float, ...]:
    """Deviations of a statistic of ``n`` examples with each group left out, as the jackknife scales them.

    ``sqrt((G-1)/G) (θ_(-g) - mean)``. Every ``groups``-th example forms a group.
    """
    member = torch.arange(n) % groups
    return _scaled(torch.tensor([statistic(member != g) for g in range(groups)], dtype=torch.float64))


def means_left_out(values: Tensor, weights: Tensor, groups: int) -> tuple[float, ...]:
    """:func:`left_out` of the weighted mean ``Σ w v / Σ w``, both ``(n,)``."""
    member, pairs = torch.arange(len(values)) % groups, torch.stack([weights * values, weights]).double()
    sums = torch.zeros(2, groups, dtype=torch.float64).index_add_(1, member, pairs)
    rest = sums.sum(1, keepdim=True) - sums
    return _scaled(rest[0] / rest[1])


def _scaled(values: Tensor) -> tuple[float, ...]:
    return tuple((math.sqrt((len(values) - 1) / len(values)) * (values - values.mean())).tolist())


def spread(deviations: Sequence[float]) -> float:
    """The variance that deviations stand for: the sum of their squares."""
    return sum(value * value for value in deviations)


def half_width(error: float, deviations: Sequence[float] = (), freedom: float = math.inf, level: float = 0.95) -> float:
    """Half the interval of a score with two independent errors, ``t_f sqrt(error² + spread)``.

    Args:
        error: of what is drawn anew.
        deviations: see :class:`UncertainValue`.
        freedom: degrees of freedom of ``error``.
        level: the probability that the interval holds.
    """
    total, degrees = total_error(error, deviations, freedom)
    return student_t(degrees, level) * total if total > 0 else total


def total_error(error: float, deviations: Sequence[float] = (), freedom: float = math.inf) -> tuple[float, float]:
    """The standard error of a score with two independent errors, ``sqrt(error² + spread)``, and its degrees of freedom.

    These are those of :func:`~fourfold.maths.uncertainty.satterthwaite`. Deviations have one less than there are.
    """
    variances = error**2, spread(deviations)
    return math.sqrt(sum(variances)), satterthwaite(variances, (freedom, max(len(deviations) - 1, 1)))


def jackknife_of_both(
    statistic: Callable[[Tensor, Tensor], float], n: int, m: int, groups: int = GROUPS
) -> UncertainValue:
    """A statistic of ``n`` samples and ``m`` test examples, with the error of each by the delete-a-group jackknife.

    Args:
        statistic: maps masks of the kept samples ``(n,)`` and of the kept test examples ``(m,)`` to a number.
        n: number of samples, in random order.
        m: number of test examples, in random order.
        groups: groups of either.

    Returns:
        The estimate. Its error is NaN with fewer than two examples for each group.

    Reference: Efron, Stein 1981, The Jackknife Estimate of Variance, https://doi.org/10.1214/aos/1176345462
    """
    every, all_tests = torch.ones(n, dtype=torch.bool), torch.ones(m, dtype=torch.bool)
    value = statistic(every, all_tests)
    if min(n, m) < 2 * groups:
        return UncertainValue(value, math.nan)
    sample_variance = spread(left_out(lambda keep: statistic(keep, all_tests), n, groups))
    deviations = left_out(lambda keep: statistic(every, keep), m, groups)
    return UncertainValue(value, math.sqrt(sample_variance), deviations, groups - 1)


def of_influences(value: float, own: Tensor, shared: Tensor) -> UncertainValue:
    """A statistic of samples and of test examples whose first-order influences are known.

    Its variance over ``n`` samples is that of the mean of their influences: the infinitesimal jackknife.

    Args:
        value: the statistic.
        own: influences of samples, ``(n,)``.
        shared: influences of test examples, ``(m,)``.

    Returns:
        The estimate. Its error is NaN with fewer than ``2 GROUPS`` of either.

    Reference: Jaeckel 1972, The Infinitesimal Jackknife, Bell Laboratories memorandum MM 72-1215-11
    """
    n, m = len(own), len(shared)
    if min(n, m) < 2 * GROUPS:
        return UncertainValue(value, math.nan)
    deviations = means_left_out(shared, torch.ones_like(shared), min(PARTS, m))
    return UncertainValue(value, own.std().item() / math.sqrt(n), deviations, n - 1)


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
    return mean, *share_interval(mean, n)


def share_interval(share: float, n: int) -> tuple[float, float]:
    """The ends of the 95 % interval of a share of ``n`` hits and misses that :func:`mean_interval` describes."""
    centre = (n * share + 2) / (n + 4)
    half = 1.96 * math.sqrt(centre * (1 - centre) / (n + 4))
    return max(min(centre - half, share), 0.0), min(max(centre + half, share), 1.0)


def wilson_interval(share: float, n: float, quantile: float) -> tuple[float, float]:
    """The ends of the interval of a share: all ``p`` with ``|share - p| <= quantile sqrt(p (1 - p) / n)``.

    Reference: Wilson 1927, Probable Inference, https://doi.org/10.1080/01621459.1927.10502953
    """
    square = quantile**2 / n
    half = quantile * math.sqrt(share * (1 - share) / n + (square / quantile / 2) ** 2)
    return (share + square / 2 - half) / (1 + square), (share + square / 2 + half) / (1 + square)


def t_quantile(groups: int) -> float:
    """The 97.5 % point of Student's t with ``groups - 1`` degrees of freedom."""
    return student_t(groups - 1)


def bootstrap(
    statistic: Callable[[Tensor], Tensor], terms: Tensor, draws: int = 1000, seed: int = 0
) -> tuple[float, float, float]:
    """A smooth function of the mean of per-example terms, and its 95 % percentile bootstrap interval.

    Args:
        statistic: maps means ``(draws, columns)`` to ``(draws,)``.
        terms: ``(n, columns)`` float64. Independent rows given everything they were compared with.
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
