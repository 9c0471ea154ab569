"""Every setting of a comparison in one place: its default, its words on a command line, its words in Python."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypedDict, Unpack, final

from fourfold.output.printable import plural
from fourfold.runs.budget import Budget, parse_budget
from fourfold.settings.data import DataKeywords, words_of
from fourfold.settings.declaration import (
    BUDGET,
    COMPILE,
    DEVICE,
    FEATURES,
    MACHINES_PANEL,
    MEASURING_PANEL,
    PRECISION,
    SEED,
    SIZE,
    Option,
    check_precision,
    options_of,
    setting,
)
from fourfold.vocabulary import AUTO, parse_size

__all__ = ["CompareKeywords", "Protocol", "Settings"]

EVERY = 1 << 30
"""More test examples than there are: in a cross-validation all are scored, as far as the time allows."""
START = 8.0
"""Seconds that a run takes to start, to read its data and to end."""


@final
@dataclass(frozen=True)
class Protocol:
    """The measurement of a trained model.

    Attributes:
        n: the most samples and references.
        features: feature space of images, see :func:`fourfold.tasks.evaluation.evaluate`.
        likelihood_examples: the most test examples that are scored.
        sweep: whether quality is also measured at other numbers of sampling steps.
        patience: the most seconds for sampling, and the most for scoring.
    """

    n: int
    features: str | None
    likelihood_examples: int
    sweep: bool
    patience: float


class CompareKeywords(TypedDict, total=False):
    """The keywords of :func:`fourfold.compare` that are fields of :class:`Settings`, for editors and type checkers."""

    budget: str | float | Budget
    paradigms: Sequence[str] | None
    seeds: int
    folds: int
    seed: int
    size: str
    out: str | os.PathLike[str] | None
    runs_dir: str | os.PathLike[str]
    resume: bool
    device: str
    executor: str | None
    features: str | None
    precision: str | None
    compile: bool | None
    n: int
    likelihood_examples: int
    patience: float | None
    sweep: bool
    samples: Mapping[str, str | os.PathLike[str]] | Sequence[str] | None
    data_options: DataKeywords | None


@final
@dataclass(frozen=True)
class Settings:
    """The settings of :func:`fourfold.compare`, beside its data.

    Each is declared here alone, with its option of the command line.

    Attributes:
        budget: the budget of each run: ``30s``, ``10m``, ``1h30m``, ``2000 steps``, ``5 epochs``, ``1e15 flops``, or
            seconds.
        paradigms: names of paradigms or recipes, each once. By default every paradigm that models this kind of data.
            For text, also paths of published models: they are measured on the same windows and shown beside the
            others, but not ranked, since they were not trained for this.
        seeds: number of runs of each paradigm. With several, intervals are over seeds.
        folds: number of parts for cross-validation: each part is judged by models that are trained on the others, so
            that every example is judged once, and small data decide more. With 1, a tenth of the data is judged.
        seed: the first seed. It also splits the data, in the same way for all runs.
        size: size of the models, as :func:`fourfold.fit` takes it. ``auto`` chooses for each paradigm.
        out: the file of the report. Its numbers are written beside it (``results.json`` for ``report.html``).
        runs_dir: the folder of all runs.
        resume: whether runs of earlier calls are continued. Otherwise they are moved to ``NAME.old``.
        n: the most samples and references.
        features: feature space of images, see :func:`fourfold.tasks.evaluation.evaluate`.
        likelihood_examples: the most test examples that are scored.
        patience: the most seconds for sampling in one run, and the most for scoring. If they are over, fewer examples
            are used. By default half the seconds of the budget, but at least 5, and 120 for other budgets.
        sweep: whether quality is also measured at other numbers of sampling steps.
        samples: files or folders with samples of other systems, by name, or as ``NAME=PATH``. They are measured as the
            samples of models are and shown beside these, but not ranked, since their budget is not known.
        precision: precision of the steps, see :func:`fourfold.fit`.
        compile: whether steps are compiled, see :func:`fourfold.fit`.
        device: device of all runs, see :func:`fourfold.fit`.
        executor: where the runs are made: an installed executor, as ``NAME`` or ``NAME:SETTING=VALUE,...``, see
            :mod:`fourfold.tournament.executors`. By default they are made here, one after the other. Runs on unlike
            hardware are marked, and then no winner is named.
        data_options: further arguments of :func:`fourfold.load`.
    """

    budget: str = setting("1m", BUDGET)
    paradigms: tuple[str, ...] | None = setting(
        None,
        Option(
            str,
            "Paradigms or recipes, separated by commas; for text also the paths of published models.",
            ("--paradigms", "--models"),
            show_default="all that model the data",
        ),
    )
    seeds: int = setting(1, Option(int, "Number of runs of each paradigm.", min=1, metavar="N"))
    folds: int = setting(
        1,
        Option(int, "Cross-validate in N parts: every example is judged once.", min=1, metavar="N"),
    )
    seed: int = setting(0, SEED)
    size: str = setting(AUTO, SIZE)
    out: str | None = None
    runs_dir: str = "runs"
    resume: bool = setting(
        True, Option(bool, "Continue earlier runs, or move them to NAME.old.", ("--resume/--fresh",))
    )
    device: str = setting("auto", DEVICE)
    executor: str | None = setting(
        None,
        Option(
            str,
            "Make the runs elsewhere, by an installed executor: NAME, or NAME:SETTING=VALUE,...",
            panel=MACHINES_PANEL,
            show_default="here, one after the other",
        ),
    )
    features: str | None = setting(None, FEATURES)
    precision: str | None = setting(None, PRECISION)
    compile: bool | None = setting(None, COMPILE)
    n: int = setting(
        2000, Option(int, "The most samples and references.", ("-n", "--n"), MEASURING_PANEL, min=16, metavar="N")
    )
    likelihood_examples: int = setting(
        1024, Option(int, "The most test examples to score.", panel=MEASURING_PANEL, min=2, metavar="N")
    )
    patience: float | None = setting(
        None,
        Option(
            float,
            "The most seconds to sample a run, and again to score it.",
            panel=MEASURING_PANEL,
            metavar="X",
            show_default="half the budget, at least 5",
        ),
    )
    sweep: bool = setting(
        True,
        Option(bool, "Also measure other numbers of sampling steps.", ("--sweep/--no-sweep",), MEASURING_PANEL),
    )
    samples: tuple[str, ...] | None = setting(
        None,
        Option(
            list[str],
            "Samples of another system, to stand beside the models: NAME=PATH. Can be repeated.",
            panel=MEASURING_PANEL,
            metavar="NAME=PATH",
        ),
    )
    data_options: DataKeywords | None = None

    def __post_init__(self) -> None:
        parse_budget(self.budget)
        if self.size != AUTO:
            parse_size(self.size)
        check_precision(self.precision or "float32", bool(self.compile))
        least = {"seeds": 1, "folds": 1, "n": 16, "likelihood_examples": 2}
        for name, limit in least.items():
            if getattr(self, name) < limit:
                raise ValueError(f"{name} must be at least {limit}, got {getattr(self, name)}")
        if self.patience is not None and not self.patience > 0:
            raise ValueError(f"patience must be above 0 s, got {self.patience:g}")

    @classmethod
    def of(cls, **keywords: Unpack[CompareKeywords]) -> Settings:
        """The settings for the keywords of a caller, each in the form of its field."""
        values: dict[str, Any] = dict(keywords)
        if not isinstance(values.get("budget", ""), str):
            values["budget"] = str(parse_budget(values["budget"]))
        paths = {name: os.fspath(values[name]) for name in ("out", "runs_dir") if values.get(name) is not None}
        samples = values.get("samples") or ()
        if isinstance(samples, str):
            samples = [samples]
        elif isinstance(samples, Mapping):
            samples = [f"{name}={os.fspath(path)}" for name, path in samples.items()]
        sequences = {"paradigms": tuple(values.get("paradigms") or ()) or None, "samples": tuple(samples) or None}
        return cls(**{**values, **paths, **sequences, "data_options": values.get("data_options") or None})

    @property
    def seconds(self) -> float:
        """The patience in seconds. By default half a budget in seconds, but at least 5, and 120 for other budgets."""
        if self.patience is not None:
            return self.patience
        limit = parse_budget(self.budget).seconds
        return max(5.0, limit / 2) if math.isfinite(limit) else 120.0

    def time(self, runs: int) -> str:
        """The time that some runs take one after the other, in words. Only measuring has a limit without a clock.

        A run starts, trains for its budget, and measures: at most :attr:`seconds` for sampling, as long for scoring,
        and half of it for other numbers of sampling steps.
        """
        training = parse_budget(self.budget).seconds
        measuring = (2.5 if self.sweep else 2.0) * self.seconds
        each = plural(runs, "run")
        if not math.isfinite(training):
            return f"{each} of {self.budget}, and at most {_span(runs * (START + measuring))} to measure them"
        least = runs * (START + training)
        low, high = _span(least), _span(least + runs * measuring)
        return f"{each} of {self.budget}: about {low} to {high}, one after the other"

    @property
    def numbers(self) -> range:
        """The seeds."""
        return range(self.seed, self.seed + self.seeds)

    @property
    def protocol(self) -> Protocol:
        """The measurement of the trained models."""
        rows = self.likelihood_examples if self.folds == 1 else EVERY
        return Protocol(self.n, self.features, rows, self.sweep, self.seconds)

    def changes(self) -> dict[str, Any]:
        """Every field that differs from its default, in the order of the fields."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {f.name: values[f.name] for f in fields(self) if values[f.name] != f.default}

    def command(self, data: str) -> str:
        """The command line with these settings. Empty if only Python can express them."""
        options = [words_of(name, value) for name, value in (self.data_options or {}).items() if value is not None]
        if None in options:
            return ""
        words, options_by_field = ["fourfold", "compare", data], options_of(Settings)
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name in self.changes() and f.name != "data_options":
                words += (
                    options_by_field[f.name].words(f.name, value) or []
                    if f.name in options_by_field
                    else [_flag(f.name), str(value)]
                )
        for option in options:
            words += option or []
        return shlex.join(words)

    def call(self, data: str) -> str:
        """The call in Python with these settings. ``data`` is an expression."""
        return (
            f"fourfold.compare({', '.join([data, *(f'{name}={value!r}' for name, value in self.changes().items())])})"
        )


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _span(seconds: float) -> str:
    """A duration in words."""
    minutes = seconds / 60
    return f"{seconds:.0f} s" if seconds < 100 else f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"
