"""One paradigm in a comparison: its runs, and their scores at the number of samples that all entries have."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import torch

from fourfold.maths.uncertainty import satterthwaite
from fourfold.metrics import Measurement
from fourfold.metrics.score import Floor, UncertainValue, t_quantile
from fourfold.tournament.health import Health, health_of
from fourfold.tournament.jobs import Outcome
from fourfold.vocabulary import ONE_TOKENISATION, Kind

__all__ = ["Entry", "combine", "mark", "merged", "of_tokens", "pool"]

_MARKS = {
    Kind.EXACT: "=",
    Kind.LOWER_BOUND: "≤",
    Kind.ESTIMATE: "≈",
    Kind.ESTIMATED_BOUND: "≲",
    Kind.UNNORMALISED: "~",
}
_HIGHER = {"≤": "≥", "≲": "≳"}
"""A lower bound on log p is an upper bound on a unit in which lower is better, such as bits per dimension."""


def of_tokens(likelihood: Measurement) -> bool:
    """True if a likelihood is exact for the tokens of its space, so that two of one space can be ranked."""
    return likelihood.kind is Kind.EXACT or ONE_TOKENISATION in likelihood.protocol


@final
@dataclass(frozen=True)
class Entry:
    """One paradigm in a comparison.

    Attributes:
        name: the name that :func:`fourfold.build` takes.
        outcomes: the outcome of each seed, finished or failed.
        scores: the scores of all finished seeds, combined by :func:`combine`. Scores of samples are at one number of
            samples for all entries.
        sweeps: the scores of the first finished seed at other numbers of sampling steps, at the same number of samples.
        draws: the scores of random draws, if ``scores`` are those of medians or means. Otherwise empty.
        elsewhere: the runs on other hardware than most runs of the comparison, in words.
    """

    name: str
    outcomes: tuple[Outcome, ...] = ()
    scores: tuple[Measurement, ...] = ()
    sweeps: tuple[dict[str, Any], ...] = ()
    draws: tuple[Measurement, ...] = ()
    elsewhere: tuple[str, ...] = ()

    @property
    def results(self) -> list[dict[str, Any]]:
        """The results of the finished runs."""
        return [o.result for o in self.outcomes if o.result is not None]

    @property
    def failures(self) -> list[dict[str, Any]]:
        """The failures of the failed runs."""
        return [{"seed": o.job.seed, **o.failure} for o in self.outcomes if o.failure is not None]

    @property
    def has_scores(self) -> bool:
        """True if at least one seed has a result, or a model in closed form has its scores."""
        return bool(self.results or self.scores)

    @property
    def health(self) -> list[Health]:
        """The health of each finished training."""
        return [health_of(o.result, o.job.budget) for o in self.outcomes if o.result is not None]

    @property
    def marks(self) -> list[str]:
        """The reasons why its scores say nothing about it, each once, with its seed if there are several."""
        several = len(self.health) > 1
        seeds = [o.job.seed for o in self.outcomes if o.result is not None]
        by_seed = [
            f"seed {seed}: {mark}" if several else mark
            for seed, health in zip(seeds, self.health, strict=True)
            for mark in health.marks
        ]
        return [*dict.fromkeys(by_seed), *self.elsewhere]

    def score(self, name: str) -> Measurement | None:
        """The score of a name, which is given without the brackets."""
        return next((s for s in self.scores if s.name.partition("[")[0] == name), None)

    def of_draws(self, score: Measurement | None) -> Measurement | None:
        """The same score of random draws, if the model shows medians or means."""
        return next((s for s in self.draws if score is not None and s.name == score.name), None)

    @property
    def likelihood(self) -> Measurement | None:
        """The likelihood, even if its kind is ``none``."""
        return self.score("likelihood")

    @property
    def headline(self) -> Measurement | None:
        """The first measure of quality."""
        return self.scores[1] if len(self.scores) > 1 else None

    def record(self) -> dict[str, Any]:
        """The entry as a JSON value. Each run holds its scores at its own number of samples."""
        healths = iter(self.health)
        runs = [
            {**o.result, "folder": str(o.folder), "health": next(healths).record()}
            for o in self.outcomes
            if o.result is not None
        ]
        scores = [score.record() for score in self.scores]
        draws = [score.record() for score in self.draws]
        about = {"name": self.name, "marks": self.marks, "scores": scores, "draws": draws}
        return {**about, "runs": runs, "failures": self.failures}


def mark(p: Measurement) -> str:
    """The mark of a likelihood's kind: ``=``, ``≤``, ``≈``, ``≲`` or ``~``. Bounds are mirrored if lower is better."""
    sign = "" if p.kind is None else _MARKS.get(p.kind, "")
    return _HIGHER.get(sign, sign) if p.better == "higher" else sign


def merged(
    results: Sequence[Sequence[Measurement]], merge: Callable[[Sequence[Measurement]], Measurement]
) -> tuple[Measurement, ...]:
    """The scores that all results have, each merged over them. A busy machine may skip a score in one of them."""
    names = [{score.name for score in scores} for scores in results]
    common = [score.name for score in results[0] if all(score.name in of_run for of_run in names)] if results else []
    return tuple(merge([s for scores in results for s in scores if s.name == name]) for name in common)


def combine(scores: Sequence[Measurement]) -> Measurement:
    """Combine the scores of several seeds: their mean, and a 95 % interval for other trainings and test examples.

    Seeds share their test examples, so only the variance between seeds is divided by their number ``S``:

        variance = J + max(s² - W, mean e_s²) / S,   J = |mean of d_s|²,   W = Σ_s |d_s - mean|² / (S - 1)

    with the variance ``s²`` of the seeds' scores, and the errors ``e_s`` and deviations ``d_s`` of each (see
    :class:`~fourfold.metrics.score.UncertainValue`). ``J`` is the variance from the shared test examples. ``W`` is the
    part of ``s²`` that ``J`` contains already: the interaction of trainings and examples. This is the analysis of
    variance of trainings and examples, both random. The errors ``e_s`` are those of each seed's samples: two seeds that
    agree by chance are no more certain than these. Degrees of freedom are those of Satterthwaite. Scores without
    deviations or an error share an unknown part: see :func:`_cautious`. The score of a single seed is returned as it
    is.

    Raises:
        ValueError: if the scores have different names or kinds.

    Reference: Efron, Stein 1981, https://doi.org/10.1214/aos/1176345462; Satterthwaite 1946,
    https://doi.org/10.2307/3002019
    """
    first = scores[0]
    if len({(score.name, score.kind) for score in scores}) != 1:
        raise ValueError(f"scores must have one name and one kind, got several names or kinds beside {first.name}")
    if len(scores) == 1:
        return first
    counts = sorted({score.n for score in scores})
    floors = Floor(*(sum(getattr(s, k) for s in scores) / len(scores) for k in ("floor", "floor_low", "floor_high")))
    differ = f" (n = {', '.join(map(str, counts))})" if len(counts) > 1 else ""
    protocol = f"mean of {len(scores)} seeds{differ}, interval over seeds too (Student's t); each: {first.protocol}"
    mean = replace(first, n=counts[0], protocol=protocol).beside(floors)
    parted = len(counts) == 1 and len({len(s.deviations) for s in scores}) == 1
    parted = parted and all(math.isfinite(score.error) for score in scores)
    return mean.within(_parted(scores)) if parted else _cautious(mean, scores)


def pool(scores: Sequence[Measurement]) -> Measurement:
    """Pool the scores of a paradigm on the parts of a cross-validation, each of a model that is trained on the others.

    The mean, weighted by the numbers of examples. Parts have no test examples in common, so their errors are
    independent, and the interval is that of other test examples and samples, for the mean of these very models. It says
    nothing of other trainings, of which several seeds tell.

    Raises:
        ValueError: if the scores have different names or kinds.

    Reference: Bayle, Bayle, Janson, Mackey 2020, Cross-validation Confidence Intervals for Test Error,
    https://arxiv.org/abs/2007.12671
    """
    first, total = scores[0], sum(score.n for score in scores)
    if len({(score.name, score.kind) for score in scores}) != 1:
        raise ValueError(f"scores must have one name and one kind, got several names or kinds beside {first.name}")
    if len(scores) == 1:
        return first
    weights = [score.n / total if total else 1 / len(scores) for score in scores]

    def mean(values: Sequence[float]) -> float:
        return sum(w * value for w, value in zip(weights, values, strict=True))

    def error(values: Sequence[float]) -> float:
        return math.hypot(*(w * value for w, value in zip(weights, values, strict=True)))

    floor = mean([s.floor for s in scores])
    below, above = error([s.floor - s.floor_low for s in scores]), error([s.floor_high - s.floor for s in scores])
    whole = replace(
        first,
        value=mean([s.value for s in scores]),
        n=total,
        outside=sum(s.outside for s in scores),
        references=sum(s.references for s in scores),
        protocol=f"mean of {len(scores)} parts, each judged by a model that is trained on the others; {first.protocol}",
    ).beside(Floor(floor, floor - below, floor + above))
    if not all(math.isfinite(score.error) for score in scores):
        half = error([(s.high - s.low) / 2 for s in scores])
        return replace(whole, low=whole.value - half, high=whole.value + half, error=math.nan, deviations=())
    deviations = tuple(w * d for w, s in zip(weights, scores, strict=True) for d in s.deviations)
    variances = [(w * s.error) ** 2 for w, s in zip(weights, scores, strict=True)]
    freedom = satterthwaite(variances, [score.freedom for score in scores])
    return whole.within(UncertainValue(whole.value, math.sqrt(sum(variances)), deviations, freedom))


def _parted(scores: Sequence[Measurement]) -> UncertainValue:
    """The mean of several seeds, with the error of their own samples and the deviations of the shared test examples."""
    count, values = len(scores), torch.tensor([score.value for score in scores], dtype=torch.float64)
    deviations = torch.tensor([score.deviations for score in scores], dtype=torch.float64)
    interaction = (deviations - deviations.mean(0)).square().sum().item() / (count - 1)
    across, within = values.var().item() - interaction, sum(score.error**2 for score in scores) / count
    freedom = count - 1 if across >= within else sum(score.freedom for score in scores)
    error = math.sqrt(max(across, within) / count)
    return UncertainValue(values.mean().item(), error, tuple(deviations.mean(0).tolist()), freedom)


def _cautious(mean: Measurement, scores: Sequence[Measurement]) -> Measurement:
    """The interval where seeds may share all that their half-widths ``h`` are over. NaN if nothing is known.

    ``max(t_{S-1} s / sqrt(S), sqrt(mean h²))``
    """
    values = torch.tensor([score.value for score in scores], dtype=torch.float64)
    halves = torch.tensor([(score.high - score.low) / 2 for score in scores], dtype=torch.float64)
    across = t_quantile(len(scores)) * values.std().item() / math.sqrt(len(scores))
    within = halves.square().mean().sqrt().item()
    half = max(across, 0.0 if math.isnan(within) else within) or math.nan
    value = values.mean().item()
    return replace(mean, value=value, low=value - half, high=value + half, error=math.nan, deviations=())
