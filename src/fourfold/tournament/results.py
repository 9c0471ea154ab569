"""The results of a comparison: its models, their data and their scores."""

from __future__ import annotations

import importlib.metadata
import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fourfold.data import Dataset
from fourfold.metrics import References
from fourfold.tournament.baselines import Rated
from fourfold.tournament.entries import Entry
from fourfold.tournament.places import places
from fourfold.tournament.settings import Settings

__all__ = ["Results", "described", "versions"]


def described(dataset: Dataset, references: References) -> dict[str, Any]:
    """The record of a data set, with its space, its unit and the number of references."""
    about = {"space": repr(dataset.space), "unit": dataset.space.unit, "references": len(references.test)}
    return {**dataset.record(), **about}


def versions() -> dict[str, str]:
    """The versions of the packages that scores depend on, and of Python."""
    packages = {name: importlib.metadata.version(name) for name in ("fourfold", "torch", "numpy")}
    return {**packages, "python": platform.python_version()}


@dataclass(frozen=True, kw_only=True)
class Results:
    """The data behind the verdict and the report of a comparison. Users hold a ``Comparison``.

    Attributes:
        entries: one for each paradigm, ordered by kind of likelihood, then by likelihood.
        data: the record of the data set, with its space, its unit and the number of test examples used as references.
        settings: the settings of the comparison.
        hardware, versions: the machine and the packages it ran on.
        dataset: the data, for pictures.
        n: the number of samples by which all entries are judged: the largest that every one of them has.
        source: the data as an argument on the command line. Empty if it was given as an object.
        planned: the number of planned runs. If there are fewer outcomes, the comparison was stopped.
        truth: the mean log-density of the test examples under the density they were drawn from, if it is known.
        date: the time of the comparison.
        left_out: the paradigms that do not model this kind of data, each with the reason.
        baselines: models in closed form, with their scores. Some spaces have none.
        published: published models, with their scores. They were not trained under the budget and are not ranked.
        samples: samples of other systems, with their scores. Their budget is not known, and they are not ranked.
    """

    entries: tuple[Entry, ...]
    data: Mapping[str, Any]
    settings: Settings
    hardware: Mapping[str, Any]
    versions: Mapping[str, str]
    dataset: Dataset = field(repr=False)
    n: int = 0
    source: str = ""
    planned: int = 0
    truth: float = math.nan
    date: str = ""
    left_out: Mapping[str, str] = field(default_factory=dict)
    baselines: tuple[Rated, ...] = field(default=(), repr=False)
    published: tuple[Rated, ...] = field(default=(), repr=False)
    samples: tuple[Rated, ...] = field(default=(), repr=False)

    def about(self) -> dict[str, Any]:
        """The part of the record that every kind of results has."""
        return {
            "format": 2,
            "data": self.data,
            "n": self.n,
            "command": self.command,
            "call": self.call,
            "hardware": self.hardware,
            "versions": self.versions,
            "date": self.date,
        }

    @property
    def command(self) -> str:
        """The command line that repeats the comparison. Empty if only Python can."""
        return self.settings.command(self.source) if self.source else ""

    @property
    def call(self) -> str:
        """The call in Python that repeats the comparison."""
        return self.settings.call(repr(self.source) if self.source else "dataset")

    def again(self, settings: Settings) -> str:
        """A comparison of the same data under other settings, as a command line, or as a call if only Python can."""
        words = settings.command(self.source) if self.source else ""
        return words or settings.call(repr(self.source) if self.source else "dataset")

    @property
    def places(self) -> dict[str, list[str]]:
        """The machines, each with the runs that were trained there."""
        return places([outcome for entry in self.entries for outcome in entry.outcomes])

    @property
    def failed(self) -> bool:
        """True if at least one run failed."""
        return any(entry.failures for entry in self.entries)
