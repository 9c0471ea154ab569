"""``--size auto``: the size and the batch that suit this machine, the data and a budget in seconds.

A wide network is better than a narrow one after equally many steps, and takes fewer of them in equal time. The file
``sizes.json`` says for recipes and kinds of data after how many steps a size has overtaken the next narrower one in
equal time; ``benchmarks/sizes.py rule`` writes it from what was measured. :func:`choose_size` times a few steps of the
narrowest size and climbs, as long as the next size can take its steps within the budget. Where even that takes few
steps, smaller batches make more of them, if their steps are shorter.

A budget that no clock ends, such as 400 steps, gets :data:`FALLBACK` on every machine. So do trees and other models
that are fitted before the first step.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, final

import torch

from fourfold.core import GenerativeModel
from fourfold.data import Dataset, Split
from fourfold.engine.kernels import multiplies_bf16
from fourfold.engine.stages import data_of, make_ready
from fourfold.engine.training import begin
from fourfold.machine.hardware import find_device
from fourfold.paradigms import build_recipe
from fourfold.runs.budget import Budget
from fourfold.runs.precision import PRECISIONS

__all__ = ["FALLBACK", "Need", "Sizing", "choose_size", "needs_of"]

FALLBACK = "s"
SIZES = ("s/8", "s/4", "s/2", "s", "m")
"""The sizes from narrow to wide."""
RULE = Path(__file__).with_name("sizes.json")
"""The steps that sizes need, by recipe and class of the space."""
POWER = 8
"""Quality grows with about the seventh root of the steps, so needs grow with a high power of the time of a step."""
ENOUGH = 200
"""With fewer steps than these, a smaller batch is better."""
PARTS = 4
"""The largest divisor of a preset's batch."""
WORTH = 0.75
"""Half a batch is taken where its step takes at most this part of the time of a whole one."""
TIMED = 5
"""Steps that are timed, at most. Their median counts without the first, which prepares kernels."""
SHARE = 0.1
"""The most of the budget that timing may take."""
TRAINED = 0.9
"""The part of the budget that is left for steps: looks at held-out examples and checkpoints take the rest."""
GROWTH = 1.2
"""Steps of a size take at least this multiple of the time of the next narrower one."""


@final
@dataclass(frozen=True)
class Sizing:
    """A size and a batch, and the reason.

    Attributes:
        size: size for :func:`fourfold.build`.
        part: divisor of the batches of the preset.
        why: reason in words.
        seconds: seconds of timing. They count in the budget.
        steps: how many steps are expected.
    """

    size: str
    part: int = 1
    why: str = ""
    seconds: float = 0.0
    steps: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.steps, int):
            raise TypeError(f"steps must be a whole number, got {self.steps!r}")
        if self.part < 1:
            raise ValueError(f"part must be at least 1, got {self.part}")

    def applied_to(self, model: GenerativeModel) -> None:
        """Divide the batches of a model and of its stages."""
        for part, _ in _parts(model):
            training = part.training_defaults
            part.training_defaults = replace(training, batch_size=max(training.batch_size // self.part, 1))

    def record(self) -> dict[str, Any]:
        """The same as ``card.json`` records it."""
        return asdict(self) | {"seconds": round(self.seconds, 3)}

    def __str__(self) -> str:
        batch = "" if self.part == 1 else f", batches of 1/{self.part}"
        return f"size {self.size}{batch}: {self.why}"


@final
@dataclass(frozen=True)
class _Timed:
    """A size that was timed.

    Attributes:
        size: name of the size.
        step: seconds of a step, divided by the share of the budget that is for such steps.
        parameters: number of parameters of the model and its stages.
    """

    size: str
    step: float
    parameters: int

    def steps(self, budget: Budget) -> float:
        """The steps within a budget."""
        return min(TRAINED * budget.seconds / self.step, budget.steps)

    def wider(self, size: str, parameters: int) -> _Timed:
        """A wider size by the ratio of parameters, which is the most by which it takes longer."""
        ratio = max(parameters / max(self.parameters, 1), 1.0)
        return _Timed(size, ratio * self.step, parameters)


def choose_size(name: str, dataset: Dataset, budget: Budget, device: str, seed: int = 0) -> Sizing:
    """The size for a recipe on this machine.

    Timing takes at most about :data:`SHARE` of the budget: a size is timed only if that can be afforded and it is not
    hopeless, by the time of the size before and the ratio of parameters.

    Args:
        name: name of the recipe.
        dataset: data to train on.
        budget: budget of the whole training.
        device: device for :func:`fourfold.fit`.
        seed: seed of the weights of the timed models.
    """
    if why := _untimed(name, dataset, budget, device, seed):
        return Sizing(FALLBACK, why=why)
    start, best, limit, needs = time.monotonic(), None, "", dict[str, Need]()
    for size in SIZES:
        least = _least(needs, size, budget)
        if best is not None and best.step * GROWTH * least > TRAINED * budget.seconds:
            limit = f"{size} needs {least:g} of its own"
            break
        preset = _preset(name, dataset, size, device, seed)
        if preset is None:
            continue
        full, model = preset
        needs = needs or needs_of(full, type(dataset.space).__name__)
        if size == "m" and _count(model) > math.prod(dataset.train.x.shape[1:]) * dataset.examples:
            limit = f"too few data for {size}"
            break
        candidate = None if best is None else best.wider(size, _count(model))
        # An estimate is an upper bound and would choose too small a model, so time a real step where there is time.
        if candidate is None or time.monotonic() - start + 2 * candidate.step <= SHARE * budget.seconds:
            candidate = _timed(size, model, dataset, seed, SHARE * budget.seconds)
            if best is not None and (ratio := needs[size].ratio) is not None:
                least = min(least * (candidate.step / best.step / ratio) ** POWER, budget.steps)
        elif candidate.steps(budget) < least:
            limit = f"{size} would take too long to time"
            break
        if best is not None and candidate.steps(budget) < least:
            limit = f"{size} would take {candidate.steps(budget):.0f} of {float(f'{least:.2g}'):,.0f}"
            break
        best = candidate
    if best is None:
        return Sizing(FALLBACK, why="the recipe has none of the sizes")
    part = 1
    while part < PARTS and best.steps(budget) < min(ENOUGH, budget.steps):
        smaller = _smaller(name, best, 2 * part, dataset, budget, device, seed)
        if smaller.step > WORTH * best.step:
            break
        part, best = 2 * part, smaller
    steps = int(float(f"{best.steps(budget):.2g}"))
    why = f"about {steps:,} steps in {budget.seconds:g}s" + (f"; {limit}" if limit else "")
    return Sizing(best.size, part, why, time.monotonic() - start, steps)


def _untimed(name: str, dataset: Dataset, budget: Budget, device: str, seed: int) -> str:
    """Why no step is timed, in words. Empty if some are."""
    if not math.isfinite(budget.seconds):
        return "the size for budgets without seconds"
    preset = _preset(name, dataset, FALLBACK, device, seed)
    fitted = preset is not None and preset[1].estimand.fitted  # a step would be timed after a whole fit
    return "steps only refine what was fitted" if fitted else ""


def _smaller(name: str, best: _Timed, part: int, dataset: Dataset, budget: Budget, device: str, seed: int) -> _Timed:
    """The same size with smaller batches. Where a step takes long, half the examples take half the time."""
    if 2 * best.step > SHARE * budget.seconds:
        return replace(best, step=best.step / 2)
    preset = _preset(name, dataset, best.size, device, seed)
    assert preset is not None, "the size was timed before"
    _, model = preset
    Sizing(best.size, part).applied_to(model)
    return _timed(best.size, model, dataset, seed, SHARE * budget.seconds)


@final
@dataclass(frozen=True)
class Need:
    """From how many steps a size is better than the next narrower one, in equal time.

    Attributes:
        steps: steps of this size.
        ratio: the multiple of the time of a step at the next narrower size for which this holds. Where a step takes
            longer, the need grows with a power of the ratio. ``None``: it does not.
    """

    steps: int
    ratio: float | None = None


@functools.cache
def _rule() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(RULE.read_text(encoding="utf-8"))["needs"]
    return rows


def needs_of(recipe: str, data: str) -> dict[str, Need]:
    """The needs of each size but the narrowest. Those that were not measured are the largest of all: narrower models.

    Args:
        recipe: full name of the recipe.
        data: class of the space.
    """

    def need(size: str) -> Need:
        rows = [row for row in _rule() if row["size"] == size]
        own = [row for row in rows if (row["recipe"], row["data"]) == (recipe, data)]
        row = max(own or rows, key=lambda row: row["steps"])
        return Need(row["steps"], row.get("ratio") if own else None)

    return {size: need(size) for size in SIZES[1:]}


def _least(needs: Mapping[str, Need], size: str, budget: Budget) -> float:
    """The steps that a size needs within a budget. The narrowest needs none."""
    return min(needs[size].steps, budget.steps) if size in needs else 0


def _preset(name: str, dataset: Dataset, size: str, device: str, seed: int) -> tuple[str, GenerativeModel] | None:
    """The full name and a throw-away model. ``None`` for a recipe with presets of its own that lacks the size."""
    with torch.random.fork_rng(devices=[]), contextlib.suppress(LookupError):
        torch.manual_seed(seed)
        full, model = build_recipe(name, dataset.space, size)
        return full, model.to(find_device(device))
    return None


def _count(model: GenerativeModel) -> int:
    """The parameters of a model and of its stages."""
    return sum(p.numel() for p in {p for part, _ in _parts(model) for p in part.parameters()})


def _parts(model: GenerativeModel, share: float = 1.0) -> Iterator[tuple[GenerativeModel, float]]:
    """The models that are trained one after the other, each with its share of the budget."""
    stages = model.stages()
    for stage in stages:
        yield from _parts(stage.model, share * stage.share)
    yield model, share * (1 - sum(stage.share for stage in stages))


def _timed(size: str, model: GenerativeModel, dataset: Dataset, seed: int, most: float) -> _Timed:
    """Take a few steps of every stage on a few examples, within ``most`` seconds if they allow. The slowest counts."""
    make_ready(model, seed)
    steps = [(_steps(part, data_of(dataset, part), seed, share * most), share) for part, share in _parts(model)]
    slowest = max(statistics.median(times) / share for times, share in steps)
    return _Timed(size, slowest, _count(model))


def _steps(model: GenerativeModel, dataset: Dataset, seed: int, most: float) -> list[float]:
    """The seconds of one to four steps after the first, which prepares kernels and may solve or fill something.

    Where the first alone takes more than ``most`` seconds, the machine is too busy for another: it counts.
    """
    precision = PRECISIONS["bf16" if multiplies_bf16(model.device) else "float32"]
    rows = 2 * model.training_defaults.batch_size * (dataset.space.window or 1)
    x, cond = dataset.train.x[:rows], dataset.train.cond
    few = Split(x, None if cond is None else cond[: len(x)])
    try:
        loop = begin(model, few, model.training_defaults, seed, precision)
    except ValueError:  # a column may be constant in these rows alone
        loop = begin(model, dataset.train, model.training_defaults, seed, precision)
    times = [loop.step(0.0).seconds]
    while len(times) < TIMED and sum(times) < (most if len(times) == 1 else most / 4):
        times.append(loop.step(0.0).seconds)
    return times[1:] or times
