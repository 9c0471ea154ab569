"""Judges whether a model was trained long enough, and undisturbed, so that its scores say something about it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from fourfold.machine.usage import LEAST_SHARE
from fourfold.runs.budget import Budget, Seconds, parse_budget

__all__ = ["Health", "advice", "causes", "health_of"]

FEWEST_STEPS = 50
"""A model with fewer steps has not been trained."""
MOST_OF_BUDGET = 1.2
"""A run that used more than this multiple of its budget had an advantage over the others."""
ENOUGH = 4
"""A longer budget should buy this multiple of the fewest steps."""
_TIMES = (
    *((15, "15s"), (30, "30s"), (60, "1m"), (120, "2m"), (300, "5m"), (600, "10m"), (1200, "20m"), (1800, "30m")),
    *((3600, "1h"), (7200, "2h"), (18000, "5h"), (36000, "10h")),
)


@final
@dataclass(frozen=True)
class Health:
    """The circumstances of one training.

    Attributes:
        steps: steps of the stage that had the fewest.
        epochs: passes over the training data in the last stage, which is that of the model itself.
        seconds: seconds of training, in all stages together.
        share: share of the processor, see :class:`~fourfold.machine.usage.Usage`. NaN if it was not recorded.
        few: whether its steps were too few. They never are for a model that counts and trees make before the first one.
        marks: the reasons why the scores say nothing about the model, each in a few words. Empty if there are none.
    """

    steps: int
    epochs: float
    seconds: float
    share: float
    few: bool
    marks: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """The same as a JSON value."""
        share = None if math.isnan(self.share) else self.share
        amounts = {"steps": self.steps, "epochs": round(self.epochs, 4), "seconds": self.seconds}
        return {**amounts, "share": share, "marks": list(self.marks)}


def health_of(result: Mapping[str, Any], budget: str) -> Health:
    """Judge a finished run by its result and its budget."""
    stages = result["stages"]
    steps = min([stage["steps"] for stage in stages] or [result["steps"]])
    share = result["usage"].get("share")
    share = math.nan if share is None else float(share)
    seconds, limit = float(result["seconds"]), parse_budget(budget)
    timed, marks = isinstance(limit, Seconds), []
    few = steps < FEWEST_STEPS and not result.get("fitted", False)
    if few:
        marks.append(f"{steps} step{'' if steps == 1 else 's'}")
    if timed and seconds > MOST_OF_BUDGET * limit.amount:
        marks.append(f"{seconds:.0f} s of training for {limit.amount:g} s")
    if timed and share < LEAST_SHARE:
        marks.append(f"{share:.0%} of the processor")
    return Health(steps, float(result["epochs"]), seconds, share, few, tuple(marks))


def causes(health: list[Health], budget: str) -> list[str]:
    """The rules that at least one training broke."""
    limit = parse_budget(budget)
    timed = isinstance(limit, Seconds)
    rules = {
        f"fewer than {FEWEST_STEPS} steps": any(h.few for h in health),
        f"more than {MOST_OF_BUDGET:g} times the budget": timed and any(_over(h, limit) for h in health),
        f"less than {LEAST_SHARE:.0%} of the processor": timed and any(h.share < LEAST_SHARE for h in health),
    }
    return [words for words, broken in rules.items() if broken]


def _over(health: Health, limit: Budget) -> bool:
    return health.seconds > MOST_OF_BUDGET * limit.amount


def advice(health: list[Health], budget: str) -> tuple[str, str]:
    """A budget that should suffice for all, empty if this one does, and the way out in words."""
    limit = parse_budget(budget)
    factor = max((ENOUGH * FEWEST_STEPS / max(h.steps, 1) for h in health if h.few), default=1.0)
    timed = isinstance(limit, Seconds)
    if timed:
        factor = max([factor, *(h.seconds / limit.amount for h in health if _over(h, limit))])
    disturbed = timed and any(h.share < LEAST_SHARE for h in health)
    longer = _longer(limit, factor) if factor > 1 else ""
    ways = [f"give --budget {_quoted(longer)}"] if longer else []
    ways += ["use a quiet machine"] if disturbed else []
    return longer, " and ".join(ways)


def _quoted(budget: str) -> str:
    return f"'{budget}'" if " " in budget else budget


def _longer(budget: Budget, factor: float) -> str:
    """A round budget of at least ``factor`` times another."""
    amount = factor * budget.amount
    if not isinstance(budget, Seconds):
        digits = 10 ** max(math.floor(math.log10(amount)), 0)
        return str(budget.part(math.ceil(amount / digits) * digits / budget.amount))
    return next((text for seconds, text in _TIMES if amount <= seconds), f"{math.ceil(amount / 3600)}h")
