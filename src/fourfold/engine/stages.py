"""The stages of a model that holds models trained before it: which part of the budget, of the data and of the bar is whose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import torch

from fourfold.core import GenerativeModel, Stage
from fourfold.data import Dataset, Split
from fourfold.engine.budget import Budget
from fourfold.engine.card import read_card
from fourfold.engine.checkpoint import load_weights
from fourfold.engine.loop import Step

__all__ = [
    "LAST",
    "Planned",
    "StagePlan",
    "data_of",
    "folder_of",
    "make_ready",
    "plan_of",
    "record_of",
    "take_over",
    "watched",
]

LAST = "model"
"""The name under which a record of stages calls the model itself, which is trained last."""


@final
@dataclass(frozen=True)
class Planned:
    """A stage with its part of the budget, and the fraction of the whole that is used when it begins."""

    stage: Stage
    budget: Budget
    start: float


@final
@dataclass(frozen=True)
class StagePlan:
    """How a budget is split: what each stage gets, and what is left for the model itself.

    Attributes:
        stages: in their order.
        own: the model's own part.
        start: the fraction of the whole that the stages take.
    """

    stages: Sequence[Planned]
    own: Budget
    start: float


def plan_of(model: GenerativeModel, budget: Budget) -> StagePlan:
    """Split a budget between the stages of a model and itself.

    Raises:
        ValueError: if the stages leave nothing to the model, or two have one name.
    """
    stages, start, planned = model.stages(), 0.0, []
    if len({stage.name for stage in stages}) != len(stages):
        raise ValueError(f"two stages have one name among {[stage.name for stage in stages]}: name them apart")
    for stage in stages:
        planned.append(Planned(stage, budget.part(stage.share), start))
        start += stage.share
    if not all(0 < stage.share < 1 for stage in stages) or start >= 1:
        raise ValueError(f"stages take {[stage.share for stage in stages]} of the budget: leave a part to the model")
    return StagePlan(planned, budget.part(1 - start) if stages else budget, start)


def data_of(dataset: Dataset, model: GenerativeModel) -> Dataset:
    """The data as a stage's model sees it: the same raw examples, without labels or captions that it knows nothing of."""
    space: Any = model.space
    if space == dataset.space:
        return dataset
    splits = (dataset.train, dataset.validation, dataset.test)
    known = space.classes is not None or space.caption is not None
    train, validation, test = (Split(part.x, part.cond if known else None) for part in splits)
    return replace(dataset, space=space, train=train, validation=validation, test=test, density=None)


def folder_of(folder: Path | None, stage: Stage) -> Path | None:
    """Where a stage of the run in ``folder`` is kept: a run folder of its own."""
    return None if folder is None else folder / "stages" / stage.name


def watched(
    observe: Callable[[Step], None] | None, name: str, start: float, share: float
) -> Callable[[Step], None] | None:
    """An observer of one stage's steps that passes them on, named, with the fraction of the whole budget."""
    if observe is None:
        return None
    pass_on = observe

    def seen(step: Step) -> None:
        label = "/".join(part for part in (name, step.stage) if part)
        pass_on(replace(step, stage=label, used=start + share * step.used))

    return seen


def record_of(stage: Stage, budget: Budget, card: dict[str, Any]) -> dict[str, Any]:
    """What the card of the whole run says of a trained stage."""
    kept = ("steps", "seconds", "parameters", "precision", "training", "choice")  # older cards tell of no choice
    told = {key: card[key] for key in kept if key in card}
    return {"name": stage.name, "share": stage.share, "budget": str(budget), **told}


def take_over(stage: Stage, folder: Path | None) -> dict[str, Any] | None:
    """The card of a stage that an earlier attempt has finished, with whose weights it then is; else ``None``."""
    if folder is None or not (folder / "card.json").exists():
        return None
    card = read_card(folder)
    if not card["done"]:
        return None
    load_weights(stage.model, folder / "weights.safetensors")
    stage.model.eval()
    return card


def make_ready(model: GenerativeModel, seed: int) -> None:
    """Tell the parts that hold stages that these are trained; what they draw is fixed by the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for part in model.staged():
            part.ready(model.estimand)
