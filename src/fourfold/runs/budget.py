"""Budgets: the amount of training, and the fraction of it that is used. Torch-free."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import final

__all__ = ["Budget", "Epochs", "FirstOf", "Flops", "Progress", "Seconds", "Steps", "parse_budget"]


@dataclass(frozen=True)
class Progress:
    """The amount of training done so far.

    Attributes:
        steps: steps done.
        seconds: of training: steps and, in :func:`fourfold.fit`, what was measured before the first, looks at held-out
            examples, checkpoints and the log.
        last: seconds of the latest step.
        per_epoch: steps in one epoch.
        flops: floating-point operations of one step. Counted only for a budget of such operations.
        trainings: how often training has begun: once, and again after each early stop that was not the end.
        steps_before, seconds_before: steps and seconds until the present training began.
    """

    steps: int = 0
    seconds: float = 0.0
    last: float = 0.0
    per_epoch: int = 1
    flops: float = 0.0
    trainings: int = 1
    steps_before: int = 0
    seconds_before: float = 0.0

    @property
    def before(self) -> Progress:
        """The progress at which the present training began."""
        return replace(self, steps=self.steps_before, seconds=self.seconds_before)

    @property
    def steps_of_training(self) -> int:
        """Steps of the present training."""
        return self.steps - self.steps_before

    def again(self) -> Progress:
        """The same progress, at which another training begins."""
        return replace(self, trainings=self.trainings + 1, steps_before=self.steps, seconds_before=self.seconds)


class Budget(ABC):
    """An amount of training. Concrete budgets are frozen dataclasses."""

    amount: float

    @property
    def seconds(self) -> float:
        """The most seconds that it allows. Infinite for a budget without a clock."""
        return math.inf

    @property
    def operations(self) -> float:
        """The most floating-point operations that it allows. Infinite for a budget that does not count them."""
        return math.inf

    @property
    def steps(self) -> float:
        """The most steps it allows. Infinite where it does not count them."""
        return math.inf

    @property
    def words(self) -> str:
        """The budget in few digits, for messages."""
        return str(self)

    @abstractmethod
    def fraction(self, progress: Progress) -> float:
        """The fraction of the budget that is used, 0 to 1."""

    @abstractmethod
    def share(self, progress: Progress) -> float:
        """The fraction of the budget that the next step is expected to use."""

    def next_fraction(self, progress: Progress) -> float:
        """The used fraction in the middle of the next step, 0 to 1, of what there was when the training began."""
        before = self.fraction(progress.before)
        return min((self.fraction(progress) + self.share(progress) / 2 - before) / (1 - before), 1.0)

    @abstractmethod
    def part(self, share: float) -> Budget:
        """A part of this budget, for one of several stages of training."""

    def less(self, seconds: float) -> Budget:
        """This budget without some seconds, but with a tenth of its own at least. Itself where it has no clock."""
        return self

    def is_over(self, progress: Progress) -> bool:
        """True if one more step would exceed the budget by more than half of that step. Never before the first step."""
        return progress.steps > 0 and self.fraction(progress) + self.share(progress) / 2 >= 1

    def overshot(self, progress: Progress) -> bool:
        """True if more than 1.2 times the budget was used, since no step is cut short."""
        return self.fraction(progress) > 1.2


@final
@dataclass(frozen=True)
class Seconds(Budget):
    """Seconds of training."""

    amount: float

    @property
    def seconds(self) -> float:
        return self.amount

    def fraction(self, progress: Progress) -> float:
        return progress.seconds / self.amount

    def share(self, progress: Progress) -> float:
        return progress.last / self.amount

    def part(self, share: float) -> Seconds:
        return Seconds(share * self.amount)

    def less(self, seconds: float) -> Seconds:
        return Seconds(max(self.amount - seconds, self.amount / 10))

    @property
    def words(self) -> str:
        return f"{self.amount:.3g}s"

    def __str__(self) -> str:
        return f"{_exactly(self.amount)}s"


@final
@dataclass(frozen=True)
class Steps(Budget):
    """Optimizer steps."""

    amount: float

    @property
    def steps(self) -> float:
        return self.amount

    def fraction(self, progress: Progress) -> float:
        return progress.steps / self.amount

    def share(self, progress: Progress) -> float:
        return 1 / self.amount

    def part(self, share: float) -> Steps:
        return Steps(max(round(share * self.amount), 1))

    def __str__(self) -> str:
        return f"{_exactly(self.amount)} steps"


@final
@dataclass(frozen=True)
class Epochs(Budget):
    """Passes over the training data."""

    amount: float

    def fraction(self, progress: Progress) -> float:
        return progress.steps / (self.amount * progress.per_epoch)

    def share(self, progress: Progress) -> float:
        return 1 / (self.amount * progress.per_epoch)

    def part(self, share: float) -> Epochs:
        return Epochs(share * self.amount)

    def __str__(self) -> str:
        return f"{_exactly(self.amount)} epochs"


@final
@dataclass(frozen=True)
class Flops(Budget):
    """Floating-point operations, counted over one step (matrix products and convolutions, forward and backward)."""

    amount: float

    @property
    def operations(self) -> float:
        return self.amount

    def fraction(self, progress: Progress) -> float:
        return progress.steps * progress.flops / self.amount

    def share(self, progress: Progress) -> float:
        return progress.flops / self.amount

    def part(self, share: float) -> Flops:
        return Flops(share * self.amount)

    def __str__(self) -> str:
        return f"{_exactly(self.amount)} flops"


@final
@dataclass(frozen=True)
class FirstOf(Budget):
    """Several budgets. The first that is used up ends the training: ``400 steps or 30s``."""

    budgets: tuple[Budget, ...]

    @property
    def amount(self) -> float:  # type: ignore[override]
        """The amount of the first budget."""
        return self.budgets[0].amount

    @property
    def seconds(self) -> float:
        return min(budget.seconds for budget in self.budgets)

    @property
    def operations(self) -> float:
        return min(budget.operations for budget in self.budgets)

    @property
    def steps(self) -> float:
        return min(budget.steps for budget in self.budgets)

    def fraction(self, progress: Progress) -> float:
        return self._nearest(progress).fraction(progress)

    def share(self, progress: Progress) -> float:
        return self._nearest(progress).share(progress)

    def part(self, share: float) -> FirstOf:
        return FirstOf(tuple(budget.part(share) for budget in self.budgets))

    def less(self, seconds: float) -> FirstOf:
        return FirstOf(tuple(budget.less(seconds) for budget in self.budgets))

    def _nearest(self, progress: Progress) -> Budget:
        return max(self.budgets, key=lambda budget: budget.fraction(progress) + budget.share(progress) / 2)

    @property
    def words(self) -> str:
        return " or ".join(budget.words for budget in self.budgets)

    def __str__(self) -> str:
        return " or ".join(map(str, self.budgets))


def _exactly(amount: float) -> str:
    """The number in the fewest digits that are read back exactly, so that a resumed run has the same budget."""
    short = f"{amount:g}"
    return short if float(short) == amount else repr(float(amount)).removesuffix(".0")


_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_COUNTS: dict[str, type[Steps | Epochs | Flops]] = {"step": Steps, "epoch": Epochs, "flop": Flops}
_LONG = {
    "ms": ("millisecond", "msec"),
    "s": ("second", "sec"),
    "m": ("minute", "min"),
    "h": ("hour", "hr"),
    "d": ("day",),
}
_UNITS = {name: unit for unit, names in _LONG.items() for name in (unit, *names)} | {name: name for name in _COUNTS}
_PART = r"([0-9][0-9_,]*(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)\s*([a-z]+)\s*"


def parse_budget(text: str | float | Budget) -> Budget:
    """Read ``30s``, ``10 minutes``, ``1h30m``, ``2000 steps``, ``5 epochs`` or ``1e15 flops``. A number means seconds.

    ``400 steps or 30s`` ends with the first of several budgets.

    Raises:
        ValueError: if the text is not understood, or the amount is not positive and finite.
    """
    if isinstance(text, Budget):
        return text
    if isinstance(text, (int, float)):
        return Seconds(_positive(text, float(text)))
    if " or " in text:
        return FirstOf(tuple(parse_budget(part) for part in text.split(" or ")))
    if re.fullmatch(r"\s*[0-9._,]+\s*", text):
        number = text.strip()
        raise ValueError(
            f"budget must have a unit, got {text!r}: give {number}s, {number}m, '{number} steps' or '{number} epochs'"
        )
    parts = re.findall(_PART, text.lower())
    units = [_UNITS.get(unit if unit in _UNITS else unit.removesuffix("s")) for _, unit in parts]
    timed = all(unit in _SECONDS for unit in units)
    if None in units or not re.fullmatch(rf"\s*(?:{_PART})+", text.lower()) or not (timed or len(units) == 1):
        raise ValueError(f"budget must be like 30s, 10m, 1h30m, 2000 steps, 5 epochs or 1e15 flops, got {text!r}")
    numbers = [float(number.replace(",", "").replace("_", "")) for number, _ in parts]
    if timed:
        return Seconds(_positive(text, sum(n * _SECONDS[str(unit)] for n, unit in zip(numbers, units, strict=True))))
    return _COUNTS[str(units[0])](_positive(text, numbers[0]))


def _positive(text: str | float, amount: float) -> float:
    if not 0 < amount < math.inf:
        raise ValueError(f"budget must be positive and finite, got {text!r}")
    return amount
