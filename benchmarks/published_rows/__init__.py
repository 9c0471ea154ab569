"""The rows of ``published.py``, one file each: a description (:class:`Row`), and the code that is particular to it."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import Tensor

__all__ = ["Anchor", "Chosen", "Line", "Missing", "Options", "Row", "Value", "chosen", "interval", "located", "spread"]

Value = float | str | tuple[float, float, float]
"""A figure as it was printed, or with the ends of its interval."""
LONGEST = 60
"""Seconds of the processor: a training that takes more has one seed."""
_S, _R = TypeVar("_S"), TypeVar("_R")


class Missing(SystemExit):
    """A file or package that a row needs is not here."""


@dataclass(frozen=True)
class Anchor:
    """A published figure that needs no training, and ours: they show that data, split and metric are the same."""

    name: str
    published: float
    ours: float
    tolerance: float

    @property
    def agrees(self) -> bool:
        """True if both differ by the tolerance at most."""
        return abs(self.published - self.ours) <= self.tolerance


@dataclass(frozen=True)
class Line:
    """One system on one set.

    Attributes:
        data: the set.
        system: the system, with its setting where it is ours.
        figures: values by the name of the figure.
        kind: whether a likelihood is exact, a bound or an estimate. Empty for other figures.
        seconds: what training cost, in words.
        source: the paper, table or file where a published figure was read. Empty: measured here.
        reference: whether the line is no competitor, such as an oracle or a naive forecast.
        differs: what differs from the row's protocol, beside what :attr:`Row.differs` says.
        seeds: how many trainings the figures are means of.
    """

    data: str
    system: str
    figures: Mapping[str, Value]
    kind: str = ""
    seconds: str = ""
    source: str = ""
    reference: bool = False
    differs: Mapping[str, str] = field(default_factory=dict)
    seeds: int = 0


@dataclass(frozen=True)
class Options:
    """The request of the command line to a row.

    Attributes:
        folder: where the data lies.
        seeds: trainings of each setting.
        judge: the environment of foreign metrics.
        quick: whether few steps are taken, to try the code.
    """

    folder: Path
    seeds: int = 3
    judge: Path | None = None
    quick: bool = False

    def steps(self, count: int) -> str:
        """A budget of so many steps."""
        return f"{20 if self.quick else count} steps"


@dataclass(frozen=True)
class Row:
    """A published table, and how ours is measured.

    Attributes:
        title: data and protocol, for the reader.
        figure: the figure that decides, a key of :attr:`Line.figures`.
        lower: whether lower is better; ``None``: nearer to :attr:`ideals`.
        protocol: data, split and metric.
        source: where the published figures were read.
        data: where the files are from.
        chosen: how settings of ours were chosen.
        interval: what an interval is.
        sets: the sets.
        published: the lines of others, in the order of the page.
        anchors: recomputes the figures of a set that need no training.
        measure: trains and measures ours on a set.
        differs: what differs from the published protocol, by ``data``, ``split`` and ``metric``.
        notes: sentences below the table.
        ideals: the best value of the figure by set, where neither low nor high is best.
    """

    title: str
    figure: str
    lower: bool | None
    protocol: str
    source: str
    data: str
    chosen: str
    interval: str
    sets: Sequence[str]
    published: Sequence[Line]
    anchors: Callable[[str, Options], Iterator[Anchor]]
    measure: Callable[[str, Options], Iterator[Line]]
    differs: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    ideals: Mapping[str, float] = field(default_factory=dict)


def located(options: Options, name: str, origin: str) -> Path:
    """A file of the data folder.

    Raises:
        Missing: with the place that it is from.
    """
    path = options.folder / name
    if not path.exists():
        raise Missing(f"{path} is not here: it is from {origin}")
    return path


def interval(seeds: Sequence[Tensor]) -> Value:
    """The mean of scores of test examples over seeds, and 95 % over examples: ``mean ± 1.96 sd / sqrt(n)``."""
    scores = torch.stack([score.double() for score in seeds]).mean(0)
    mean, error = scores.mean().item(), 1.96 * scores.std().item() / math.sqrt(len(scores))
    return mean, mean - error, mean + error


def spread(seeds: Sequence[float]) -> Value:
    """The mean over seeds, the least and the most. Of equal figures: itself."""
    mean, low, high = map(float, (statistics.mean(seeds), min(seeds), max(seeds)))
    return (mean, low, high) if low < high else low


def together(seeds: Sequence[Mapping[str, float]]) -> dict[str, Value]:
    """The :func:`spread` of each figure."""
    return {name: spread([figures[name] for figures in seeds]) for name in seeds[0]}


@dataclass(frozen=True)
class Chosen(Generic[_S, _R]):
    """The setting that validation data chose, a run of each seed, and what each cost in seconds of the processor."""

    setting: _S
    runs: list[_R]
    seconds: list[float]

    @property
    def cost(self) -> str:
        """Seconds of one training, in words."""
        return f"{statistics.mean(self.seconds):.0f} of the processor"


def chosen(
    candidates: Sequence[_S], train: Callable[[_S, int], _R], validation: Callable[[_R], float], options: Options
) -> Chosen[_S, _R]:
    """Train every candidate with seed 0, and that of the least validation score with the other seeds.

    A training that took more than :data:`LONGEST` is not repeated.
    """
    first = []
    for candidate in candidates:
        start = time.process_time()
        run = train(candidate, 0)
        seconds = time.process_time() - start
        first.append((validation(run) if len(candidates) > 1 else 0.0, seconds, run))
        print(f"  validation {first[-1][0]:.4f} in {seconds:.0f} s: {candidate}", flush=True)
    place = min(range(len(first)), key=lambda i: first[i][0])
    setting, runs, costs = candidates[place], [first[place][2]], [first[place][1]]
    for seed in range(1, options.seeds if costs[0] < LONGEST else 1):
        start = time.process_time()
        runs.append(train(setting, seed))
        costs.append(time.process_time() - start)
    return Chosen(setting, runs, costs)
