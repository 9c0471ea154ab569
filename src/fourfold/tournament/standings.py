"""The standings of a race: its candidates in order after each round, by scores of validation examples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, final

from torch import Tensor

from fourfold.core import GenerativeModel
from fourfold.data import Dataset
from fourfold.metrics import Measurement
from fourfold.tasks.evaluation import draw, examples, headline, likelihood, quality
from fourfold.tournament.ranking import lead
from fourfold.vocabulary import Kind

__all__ = ["AIMS", "Draft", "Standing", "drafted", "in_order", "judged"]

AIMS = ("distance", "likelihood", "coverage", "speed")
"""The scores by which a race may be decided."""
SAMPLES = 512
"""The most samples and the most scored examples of a candidate."""


@final
@dataclass(frozen=True)
class Standing:
    """A candidate at the end of a round.

    Attributes:
        name: its name.
        size: its size.
        steps, seconds: its training so far.
        scores: its scores of validation examples: those of :data:`AIMS` that it has.
        failure: the reason, if it failed.
    """

    name: str
    size: str = ""
    steps: int = 0
    seconds: float = 0.0
    scores: Mapping[str, Measurement] = field(default_factory=dict)
    failure: str = ""

    def record(self) -> dict[str, Any]:
        """The standing as a JSON value."""
        return {**vars(self), "scores": {name: score.record() for name, score in self.scores.items()}}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Standing:
        """Read the value that :meth:`record` wrote."""
        scores = {name: Measurement.from_record(score) for name, score in record["scores"].items()}
        return cls(**{**record, "scores": scores})

    def line(self) -> str:
        """The standing in one line of at most 80 characters."""
        if self.failure:
            return f"{self.name[:25]:<25} failed: {self.failure[:45]}"
        distance, likelihood, speed = (_words(self.scores.get(name)) for name in ("distance", "likelihood", "speed"))
        return _row(self.name, self.size, f"{self.steps:,}", distance, likelihood, speed)


def _row(name: str, size: str, steps: str, distance: str, likelihood: str, speed: str) -> str:
    """A line of a table of standings."""
    return f"{name[:25]:<25} {size:>5} {steps:>7} {distance:>9} {likelihood:>22} {speed:>7}"


HEAD = _row("candidate", "size", "steps", "distance", "likelihood", "ms each")
"""The head of the lines of a round."""


def _words(score: Measurement | None) -> str:
    """A score in few characters, a likelihood with its kind."""
    if score is None or not math.isfinite(score.value):
        return "-"
    return f"{score.value:.3g}" if score.kind is None else f"{score.value:.4g} {score.kind.words}"


@final
@dataclass(frozen=True)
class Draft:
    """A candidate with its samples, before all candidates are measured by equally many.

    Attributes:
        standing: without scores of samples.
        x: raw samples.
    """

    standing: Standing
    x: Tensor


def drafted(standing: Standing, model: GenerativeModel, dataset: Dataset, patience: float, seed: int) -> Draft:
    """Draw samples of a candidate and score examples, each within ``patience`` seconds.

    Args:
        standing: name, size and training of the candidate.
        model: the candidate.
        dataset: whose test split holds the examples that judge.
        patience: seconds after which no new batch begins.
        seed: of the samples.
    """
    references = examples(dataset, SAMPLES)
    samples = draw(model, len(references.test), seed, references.cond, patience)
    score = likelihood(model, dataset, SAMPLES, seed, patience)
    scores = {"likelihood": score, "speed": samples.scores()[1]}
    return Draft(replace(standing, scores={k: v for k, v in scores.items() if math.isfinite(v.value)}), samples.x)


def judged(drafts: Sequence[Draft], dataset: Dataset, aim: str) -> list[Standing]:
    """The standings of candidates with the scores of their samples: as many of each as the one with the fewest has.

    Coverage is measured where it is the aim: the other measures take longer than the headline.
    """
    n = min((len(draft.x) for draft in drafts), default=0)
    if not n:
        return [draft.standing for draft in drafts]
    references = examples(dataset, n)
    standings = []
    for draft in drafts:
        scores = {**draft.standing.scores, "distance": headline(draft.x[:n], dataset, references)}
        every = quality(draft.x[:n], dataset, references) if aim == "coverage" else []
        for coverage in [measure for measure in every if measure.name.startswith("coverage[")][:1]:
            scores["coverage"] = coverage
        standings.append(replace(draft.standing, scores=scores))
    return standings


def in_order(standings: Sequence[Standing], aim: str) -> list[Standing]:
    """The standings from the best to the worst, those that failed last.

    ``distance``: by the headline of quality. Among candidates that do not differ significantly from the best, those
    with the kind of likelihood that the best has come first, by that likelihood. ``speed``: those that do not differ
    significantly in distance come first, by their time of a sample. ``coverage``: by that score. ``likelihood``: by
    likelihood, the strongest kind first, since kinds are not ranked against each other. Likelihood decides too where
    examples are too few for the score of the aim or its interval.
    """
    able = [standing for standing in standings if not standing.failure]
    return sorted(able, key=_key(able, deciding_score(able, aim))) + [
        standing for standing in standings if standing.failure
    ]


def deciding_score(standings: Sequence[Standing], aim: str) -> str:
    """The aim, or likelihood where no candidate has the score of the aim, or one has it without an interval.

    Fifteen examples give a distance that says nothing, and no interval. They give a likelihood that does.
    """
    name = "coverage" if aim == "coverage" else "distance"
    scores = [standing.scores[name] for standing in standings if math.isfinite(_loss(standing, name))]
    return aim if scores and all(math.isfinite(score.low) for score in scores) else "likelihood"


def _key(able: Sequence[Standing], aim: str) -> Any:
    """The function by which standings are sorted."""
    kinds = list(Kind)
    if aim == "likelihood":
        return lambda s: (kinds.index(_kind(s)), _loss(s, "likelihood"))
    if aim == "coverage":
        return lambda s: _loss(s, "coverage")
    distances = {s.name: s.scores["distance"] for s in able if "distance" in s.scores}
    order = sorted(able, key=lambda s: _loss(s, "distance"))
    first = order[0] if order else Standing("")
    result = lead(distances)
    level = {first.name, *result.leaders, *result.near}
    if aim == "speed":
        return lambda s: (s.name not in level, _loss(s, "speed" if s.name in level else "distance"))
    level = {s.name for s in able if s.name in level and _kind(s) is _kind(first) is not Kind.NONE} | {first.name}
    return lambda s: (s.name not in level, _loss(s, "likelihood" if s.name in level else "distance"))


def _kind(standing: Standing) -> Kind:
    """The kind of a candidate's likelihood."""
    score = standing.scores.get("likelihood")
    return Kind.NONE if score is None or score.kind is None else score.kind


def _loss(standing: Standing, name: str) -> float:
    """A score as a number that is better where it is lower. Infinite where it is missing."""
    score = standing.scores.get(name)
    if score is None:
        return math.inf
    score = score.ranked()
    return -score.value if score.better == "higher" else score.value
