"""Failure modes: their measurements, and a verdict (``fine``, ``watch``, ``bad``) if a threshold is known."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from fourfold.metrics import Measurement
from fourfold.pictures.charts import number
from fourfold.tournament.entries import Entry
from fourfold.tournament.words import interval, label
from fourfold.vocabulary import FailureMode, Judged
from fourfold.vocabulary.rules import BAD, FINE, WATCH

__all__ = ["Judged", "Measured", "from_log", "from_scores", "from_sweep", "held_out", "read_log", "worst"]

_ORDER = {"": 0, FINE: 1, WATCH: 2, BAD: 3}


@final
@dataclass(frozen=True)
class Measured:
    """One measurement of a failure mode.

    Attributes:
        name: the measured quantity, in words.
        before: the text before the number that counts.
        value: that number.
        after: the text after it: interval, unit, floor.
        course: the number in the course of training, for a small chart. May be empty.
        judged: the verdict.
    """

    name: str
    value: str
    before: str = ""
    after: str = ""
    course: Sequence[float] = ()
    judged: Judged = field(default=Judged())


def worst(measured: Sequence[Measured]) -> str:
    """The worst verdict of several measurements. Empty if no threshold is known."""
    return max((m.judged.word for m in measured), key=_ORDER.__getitem__, default="")


# --- logs of training -------------------------------------------------------------------------------------------------


def from_log(mode: FailureMode, log: Sequence[Mapping[str, Any]], best_step: int | None = None) -> list[Measured]:
    """The measurements of a failure mode in the log of its monitor.

    Args:
        mode: a failure mode with a monitor.
        log: the log of the training.
        best_step: the step of the chosen weights, if they are not the last. A held-out loss that rose later does not
            count.
    """
    keys = dict.fromkeys(key for line in log for key in line if mode.monitor and key.rpartition("/")[2] == mode.monitor)
    measurements = []
    for key in keys:
        values = _values(log, key)
        if values:
            judged = Judged() if mode.rule is None else mode.rule(values)
            name = mode.monitor.replace("_", " ")
            measurements.append(
                Measured(name, number(values[-1]), f"{number(values[0])} → ", "", _smooth(values), judged)
            )
        if mode.monitor == "gap":
            until = [line for line in log if best_step is None or line.get("step", 0) <= best_step]
            measurements += held_out(until, key.rpartition("/")[0])
    return measurements


def held_out(log: Sequence[Mapping[str, Any]], term: str) -> list[Measured]:
    """The held-out loss: the part of its fall that it has risen again."""
    values = _values(log, f"{term}/held_out")
    if len(values) < 3:
        return []
    least = min(values)
    fallen, risen = values[0] - least, values[-1] - least
    share = risen / fallen if fallen > 0 else math.inf if risen > 0 else 0.0
    word = BAD if share > 0.5 else WATCH if share > 0.1 else FINE
    rule = "risen from its least by a part of what it had fallen: watch above 10 %, bad above 50 %"
    before, after = f"{number(values[0])} → least {number(least)} → ", ""
    return [Measured("held-out loss", number(values[-1]), before, after, _smooth(values), Judged(word, rule))]


def _values(log: Sequence[Mapping[str, Any]], key: str) -> list[float]:
    values = [line[key] for line in log if type(line.get(key)) in (int, float)]
    return [value for value in values if math.isfinite(value)]


def _smooth(values: Sequence[float], parts: int = 40) -> list[float]:
    """Averages of ``values`` in at most ``parts`` consecutive chunks."""
    step = max(1, math.ceil(len(values) / parts))
    return [sum(values[i : i + step]) / len(values[i : i + step]) for i in range(0, len(values), step)]


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log, without those that a crash cut off or damaged."""
    if not path.exists():
        return []
    lines = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            lines.append(value)
    return lines


# --- samples ----------------------------------------------------------------------------------------------------------


def from_scores(mode: FailureMode, entry: Entry) -> list[Measured]:
    """The scores that reveal a failure mode, each against its floor."""
    scores = [entry.score(name) for name in mode.scores]
    return [_against_floor(score) for score in scores if score is not None]


def _against_floor(score: Measurement) -> Measured:
    floor = f", floor {number(score.floor)}" if math.isfinite(score.floor) else ""
    unit = f" {score.unit}" if score.unit else ""
    return Measured(label(score.name), number(score.value), "", f"{interval(score)}{unit}{floor}", (), judge(score))


def judge(score: Measurement) -> Judged:
    """The verdict on a score of samples: against the interval of its floor or, for a difference, against zero."""
    rule = _SCORES.get(score.name.partition("[")[0])
    return Judged() if rule is None else rule(score)


def _about_zero(score: Measurement) -> Judged:
    if not math.isfinite(score.low):
        return Judged("", "no interval is known")
    return Judged(FINE if score.low <= 0 <= score.high else WATCH, "watch if the interval does not include 0")


def _as_high_as_floor(score: Measurement) -> Judged:
    word = FINE if score.value >= score.floor_low else WATCH if score.value >= score.floor / 2 else BAD
    return _spread(score, word, "watch below the floor's interval, bad below half the floor")


def _as_low_as_floor(score: Measurement) -> Judged:
    high = max(score.floor_high, 1e-3)
    word = FINE if score.value <= high else WATCH if score.value <= 2 * high else BAD
    return _spread(score, word, "watch above the floor's interval, bad above twice that")


def _like_floor(score: Measurement) -> Judged:
    inside = score.floor_low <= score.value <= score.floor_high
    word = FINE if inside else WATCH if score.floor / 2 <= score.value <= 2 * score.floor else BAD
    return _spread(score, word, "watch outside the floor's interval, bad below half or above twice the floor")


def _spread(score: Measurement, word: str, rule: str) -> Judged:
    """The verdict, if the interval of the floor is known."""
    return Judged(word, rule) if math.isfinite(score.floor_low) else Judged("", "the floor's interval is not known")


_SCORES: Mapping[str, Callable[[Measurement], Judged]] = {
    "drift": _about_zero,
    "likelihood_gap": _about_zero,
    "precision": _as_high_as_floor,
    "recall": _as_high_as_floor,
    "coverage": _as_high_as_floor,
    "memorisation_ratio": _as_high_as_floor,
    "repetition": _as_low_as_floor,
    "copied": _as_low_as_floor,
    "detail_ratio": _like_floor,
}


def from_sweep(mode: FailureMode, entry: Entry) -> list[Measured]:
    """Quality by network evaluations: whether more steps would improve it."""
    head, cost = entry.headline, entry.score("evaluations_per_sample")
    if not mode.sweep or not entry.sweeps or head is None or cost is None:
        return []
    sweep = [(record["evaluations"], Measurement.from_record(record["score"])) for record in entry.sweeps]
    rows = sorted([*sweep, (cost.value, head)], key=lambda row: row[0])
    words = ", ".join(f"{number(score.value)} at {number(evaluations)}" for evaluations, score in rows)
    more = [score for evaluations, score in sweep if evaluations > cost.value]
    judged = Judged("", "more steps were not measured in time")
    if more and math.isfinite(head.low) and math.isfinite(more[-1].high):
        now, last = head.ranked(), more[-1].ranked()
        better = last.high < now.low if now.better == "lower" else last.low > now.high
        judged = Judged(WATCH if better else FINE, "watch if more steps are better by more than the intervals")
    return [Measured(f"{label(head.name)} by network evaluations", "", words, "", (), judged)]
