"""Every setting of a comparison in one place: its default, its words on a command line, its words in Python."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, final

from fourfold.data.errors import flag
from fourfold.engine import parse_budget
from fourfold.machine.hardware import find_device
from fourfold.runs.precision import parse_precision
from fourfold.tournament.words import plural
from fourfold.vocabulary import AUTO, parse_size

__all__ = ["Protocol", "Settings"]

START = 8.0
"""Seconds that a run takes to start, to read its data and to end."""


@final
@dataclass(frozen=True)
class Protocol:
    """How a trained model is measured.

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


@final
@dataclass(frozen=True)
class Settings:
    """The settings of a comparison, beside its data; :func:`fourfold.compare` explains each field.

    A flag names in ``metadata["flags"]`` the words that switch it on and off on the command line.
    """

    budget: str = "1m"
    paradigms: tuple[str, ...] | None = None
    seeds: int = 1
    seed: int = 0
    size: str = AUTO
    n: int = field(default=2000, metadata={"flag": "-n"})
    features: str | None = None
    likelihood_examples: int = 1024
    patience: float | None = None
    sweep: bool = field(default=True, metadata={"flags": ("--sweep", "--no-sweep")})
    precision: str | None = None
    compile: bool | None = field(default=None, metadata={"flags": ("--compile", "--no-compile")})
    device: str = "auto"
    ray: str | None = None
    cpus: int | None = None
    gpus: float = 0.0
    data_options: Mapping[str, Any] | None = None
    out: str | None = None
    runs_dir: str = "runs"
    resume: bool = field(default=True, metadata={"flags": ("--resume", "--fresh")})

    def __post_init__(self) -> None:
        parse_budget(self.budget)
        if self.size != AUTO:
            parse_size(self.size)
        parse_precision(self.precision or "float32", bool(self.compile))
        if self.ray is None:
            find_device(self.device)
        least = {"seeds": 1, "n": 16, "likelihood_examples": 2, "cpus": 1, "gpus": 0}
        for name, value in least.items():
            given = getattr(self, name)
            if given is not None and given < value:
                raise ValueError(f"{name} is {getattr(self, name)}: give {value} or more")
        if self.patience is not None and not self.patience > 0:
            raise ValueError(f"patience is {self.patience:g} s: give more than 0")

    @property
    def seconds(self) -> float:
        """The patience in seconds; by default half a budget in seconds, but at least 5, and 120 for other budgets."""
        if self.patience is not None:
            return self.patience
        allowed = parse_budget(self.budget).seconds
        return max(5.0, allowed / 2) if math.isfinite(allowed) else 120.0

    def time(self, runs: int) -> str:
        """The time that some runs take one after the other, in words; only measuring has a limit without a clock.

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
        """How the trained models are measured."""
        return Protocol(self.n, self.features, self.likelihood_examples, self.sweep, self.seconds)

    def given(self) -> dict[str, Any]:
        """Every field that differs from its default, in the order of the fields."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {f.name: values[f.name] for f in fields(self) if values[f.name] != f.default}

    def command(self, data: str) -> str:
        """The command line with these settings; empty if only Python can express them."""
        options = [flag(name, value) for name, value in (self.data_options or {}).items() if value is not None]
        if None in options:
            return ""
        words = ["fourfold", "compare", data]
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name in self.given() and f.name != "data_options":
                words += self._words(f.metadata, f.name, value)
        for option in options:
            words += option or []
        return shlex.join(words)

    @staticmethod
    def _words(metadata: Mapping[str, Any], name: str, value: Any) -> list[str]:
        """An option as words of a command line."""
        if "flags" in metadata:
            on, off = metadata["flags"]
            return [on if value else off]
        told = ",".join(value) if isinstance(value, tuple) else str(value)
        return [metadata.get("flag", _flag(name)), told]

    def call(self, data: str) -> str:
        """The call in Python with these settings; ``data`` is an expression."""
        return f"fourfold.compare({', '.join([data, *(f'{name}={value!r}' for name, value in self.given().items())])})"


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _span(seconds: float) -> str:
    """A duration in words."""
    minutes = seconds / 60
    return f"{seconds:.0f} s" if seconds < 100 else f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"
