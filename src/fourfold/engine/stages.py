"""Splits the budget, the data and the progress bar between the stages of a model that is trained in several."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import torch

from fourfold.core import GenerativeModel, Stage
from fourfold.data import Dataset, Split
from fourfold.engine.step import Step
from fourfold.runs.budget import Budget
from fourfold.runs.card import read_card
from fourfold.runs.checkpoint import load_weights

__all__ = [
    "LAST",
    "Planned",
    "StagePlan",
    "data_of",
    "folder_of",
    "in_time",
    "make_ready",
    "plan_of",
    "record_of",
    "take_over",
    "watched",
]

LAST = "model"
"""The name of the model itself, which is trained last, among the records of stages."""


@final
@dataclass(frozen=True)
class Planned:
    """A stage, its part of the budget, and the fraction of the whole budget that is used when it begins."""

    stage: Stage
    budget: Budget
    start: float


@final
@dataclass(frozen=True)
class StagePlan:
    """The split of a budget between the stages and the model itself.

    Attributes:
        stages: the stages, in order.
        model_budget: the part of the model itself.
        start: the fraction of the whole budget that the stages take.
    """

    stages: Sequence[Planned]
    model_budget: Budget
    start: float


def plan_of(model: GenerativeModel, budget: Budget) -> StagePlan:
    """Split a budget between the stages of a model and the model itself.

    Raises:
        ValueError: if the stages leave nothing to the model, or two stages have the same name.
    """
    stages, start, planned = model.stages(), 0.0, []
    if len({stage.name for stage in stages}) != len(stages):
        raise ValueError(f"stages must have different names, got {[stage.name for stage in stages]}; rename one")
    for stage in stages:
        planned.append(Planned(stage, budget.part(stage.share), start))
        start += stage.share
    if not all(0 < stage.share < 1 for stage in stages) or start >= 1:
        shares = [stage.share for stage in stages]
        raise ValueError(f"shares must be positive and below 1 in all, got {shares}; leave the model a part")
    return StagePlan(planned, budget.part(1 - start) if stages else budget, start)


def in_time(part: Budget, share: float, start: float, whole: Budget, seconds: float) -> Budget:
    """The part of a stage that begins after some seconds of training. A delay shortens all later stages.

    Args:
        part: the stage's part of the whole budget.
        share: the same as a fraction.
        start: the fraction that is due when the stage begins.
        whole: the budget of all stages.
        seconds: those of training before the stage begins.
    """
    if not math.isfinite(whole.seconds):
        return part
    late = max(seconds - start * whole.seconds, 0.0)
    return part.less(late * share / (1 - start))


def data_of(dataset: Dataset, model: GenerativeModel) -> Dataset:
    """The data for a stage: the same raw examples, without the labels or captions that its model does not use."""
    space = model.space
    if space == dataset.space:
        return dataset
    splits = (dataset.train, dataset.validation, dataset.test)
    train, validation, test = (Split(part.x, part.cond if space.conditional else None) for part in splits)
    return replace(dataset, space=space, train=train, validation=validation, test=test, density=None)


def folder_of(folder: Path | None, stage: Stage) -> Path | None:
    """The run folder of a stage, inside the folder of the whole run."""
    return None if folder is None else folder / "stages" / stage.name


def watched(
    observe: Callable[[Step], bool | None] | None, name: str, start: float, share: float
) -> Callable[[Step], bool | None] | None:
    """An observer that passes on the steps of one stage with its name and the used fraction of the whole budget."""
    if observe is None:
        return None
    pass_on = observe

    def pass_step(step: Step) -> bool | None:
        label = "/".join(part for part in (name, step.stage) if part)
        return pass_on(replace(step, stage=label, used=start + share * step.used))

    return pass_step


def record_of(stage: Stage, budget: Budget, card: dict[str, Any]) -> dict[str, Any]:
    """The record of a trained stage in the card of the whole run."""
    names = ("steps", "seconds", "parameters", "precision", "training", "choice")  # older cards have no choice
    values = {key: card[key] for key in names if key in card}
    return {"name": stage.name, "share": stage.share, "budget": str(budget), **values}


def take_over(stage: Stage, folder: Path | None) -> dict[str, Any] | None:
    """Load a stage that an earlier run finished, and return its card. ``None`` if there is none."""
    if folder is None or not (folder / "card.json").exists():
        return None
    card = read_card(folder)
    if not card["done"]:
        return None
    load_weights(stage.model, folder / "weights.safetensors")
    stage.model.eval()
    return card


def make_ready(model: GenerativeModel, seed: int) -> None:
    """Mark the stages of a model's parts as trained. The seed fixes their draws."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for part in model.staged():
            part.ready(model.estimand)
