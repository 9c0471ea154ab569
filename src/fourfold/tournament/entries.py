"""One paradigm in a comparison: its runs, and their scores at the number of samples that all entries have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import torch

from fourfold.metrics import Measurement
from fourfold.metrics.score import t_quantile
from fourfold.tournament.health import Health, health_of
from fourfold.tournament.jobs import Outcome
from fourfold.vocabulary import Kind

__all__ = ["Entry", "combine", "mark"]

_MARKS = {
    Kind.EXACT: "=",
    Kind.LOWER_BOUND: "≤",
    Kind.ESTIMATE: "≈",
    Kind.ESTIMATED_BOUND: "≲",
    Kind.UNNORMALISED: "~",
}
_HIGHER = {"≤": "≥", "≲": "≳"}
"""A lower bound on log p is an upper bound on a unit in which lower is better, such as bits per dimension."""


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
        draws: the scores of random draws, if ``scores`` are those of medians or means; otherwise empty.
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
    def finished(self) -> bool:
        """Whether at least one seed has a result, or a model in closed form has its scores."""
        return bool(self.results or self.scores)

    @property
    def health(self) -> list[Health]:
        """The health of each finished training."""
        return [health_of(o.result, o.job.budget) for o in self.outcomes if o.result is not None]

    @property
    def marks(self) -> list[str]:
        """The reasons why its scores say nothing about it, each with its seed if there are several."""
        several = len(self.health) > 1
        seeds = [o.job.seed for o in self.outcomes if o.result is not None]
        own = [
            f"seed {seed}: {mark}" if several else mark
            for seed, health in zip(seeds, self.health, strict=True)
            for mark in health.marks
        ]
        return [*own, *self.elsewhere]

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
        """The entry as a JSON value; each run holds its scores at its own number of samples."""
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
    """The mark of a likelihood's kind: ``=``, ``≤``, ``≈``, ``≲`` or ``~``; bounds are mirrored if lower is better."""
    sign = "" if p.kind is None else _MARKS.get(p.kind, "")
    return _HIGHER.get(sign, sign) if p.better == "higher" else sign


def combine(scores: Sequence[Measurement]) -> Measurement:
    """Combine the scores of several seeds: their mean, and its 95 % interval by Student's t.

    Few seeds may agree by luck, so the half-width is never less than the intervals of the seeds imply:
    ``max(t_{S-1} s, sqrt(mean h²)) / sqrt(S)``, where ``s`` is the standard deviation over ``S`` seeds and ``h`` the
    half-width of each. It is NaN if neither is known. The score of a single seed is returned as it is.

    Raises:
        ValueError: if the scores have different names or kinds.
    """
    first = scores[0]
    if len({(score.name, score.kind) for score in scores}) != 1:
        raise ValueError(f"{first.name}: scores of several names or kinds are not averaged")
    if len(scores) == 1:
        return first
    values = torch.tensor([score.value for score in scores], dtype=torch.float64)
    halves = torch.tensor([(score.high - score.low) / 2 for score in scores], dtype=torch.float64)
    spread = t_quantile(len(scores)) * values.std().item()
    within = halves.square().mean().sqrt().item()
    half = max(spread, 0.0 if math.isnan(within) else within) / math.sqrt(len(scores))
    half = half if half > 0 else math.nan
    mean, counts = values.mean().item(), sorted({score.n for score in scores})
    floors = [sum(getattr(s, name) for s in scores) / len(scores) for name in ("floor", "floor_low", "floor_high")]
    differ = f" (n = {', '.join(map(str, counts))})" if len(counts) > 1 else ""
    protocol = f"mean of {len(scores)} seeds{differ}, interval over seeds (Student's t); each: {first.protocol}"
    return replace(
        first,
        value=mean,
        low=mean - half,
        high=mean + half,
        floor=floors[0],
        floor_low=floors[1],
        floor_high=floors[2],
        n=counts[0],
        protocol=protocol,
    )
