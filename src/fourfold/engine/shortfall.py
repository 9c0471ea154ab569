"""Says that a training in a budget of seconds was short: too few steps, or a busy machine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from fourfold.machine.threads import spinning
from fourfold.machine.usage import LEAST_SHARE
from fourfold.runs.budget import parse_budget

__all__ = ["few_steps", "slowed"]

FEWEST = 20
"""A model with fewer steps is hardly trained."""


def few_steps(card: Mapping[str, Any]) -> str | None:
    """A line where a clock ended a training, or one of its stages, after fewer than :data:`FEWEST` steps."""
    for part in card.get("stages") or [{"name": "", **card}]:
        budget = parse_budget(part["budget"])
        if math.isfinite(budget.seconds) and part["steps"] < min(FEWEST, budget.steps):
            stage = f"stage {part['name']}: " if part["name"] else ""
            steps = f"{part['steps']} step{'s' * (part['steps'] != 1)}"
            return f"{stage}{steps} in {budget.words}: the model is hardly trained; give a longer budget"
    return None


def slowed(card: Mapping[str, Any], share: float, resumed: bool) -> str | None:
    """A line where others had much of the processor while a clock ran.

    Args:
        card: the card of the run.
        share: the share of the processor, see :class:`~fourfold.machine.usage.Usage`.
        resumed: whether earlier processes took some of the steps, so that the share is not that of all.
    """
    if share >= LEAST_SHARE or math.isinf(parse_budget(card["budget"]).seconds):
        return None
    expected = 0 if resumed else card.get("sizing", {}).get("steps", 0)
    steps = f"{card['steps']:,} steps" + (f" of {expected:,} expected" if expected > card["steps"] else "")
    way = "; its threads spin while they wait: set OMP_WAIT_POLICY=PASSIVE, or import fourfold before torch"
    spins = spinning() and torch.get_num_threads() > 1
    return f"{steps}: the machine gave {share:.0%} of the processor{way if spins else ''}"
