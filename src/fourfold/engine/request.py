"""The request of a training, and the content of ``card.json`` that follows from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from fourfold.core import GenerativeModel, Training
from fourfold.data import Dataset
from fourfold.engine.auto import Sizing
from fourfold.engine.step import Step
from fourfold.machine.hardware import machine
from fourfold.parallel.processes import ALONE, Processes
from fourfold.privacy import Protection
from fourfold.runs.card import card_of_model
from fourfold.runs.settings import FitSettings

__all__ = ["Request", "describe"]


ASKED = ("precision", "compile", "device", "checkpoint_every", "accumulate", "recompute")
"""The settings that a card records as they were asked for."""


@final
@dataclass(frozen=True, kw_only=True)
class Request:
    """The parsed arguments of :func:`fourfold.fit`, or of the training of one stage.

    Attributes:
        paradigm: the name of a preset, or a model. ``None``: the model of the run folder.
        dataset: the data set.
        settings: the settings of training.
        folder: the run folder, if there is one.
        resume: whether the folder holds a run that goes on.
        trust: the caller's own classes in the recorded model.
        observe: a function that is called with each step.
        say: a function that is called with each message.
        stage: the name of the stage, after those of the stages that hold it. Empty for the whole run.
        sizing: the choice of the size, unless the size was given.
        seconds: seconds of training before this training begins.
        processes: the processes that share the training.
        protection: how the rows are protected, under a guarantee of privacy.
    """

    paradigm: str | GenerativeModel | None
    dataset: Dataset
    settings: FitSettings
    folder: Path | None
    resume: bool
    trust: Sequence[type]
    observe: Callable[[Step], bool | None] | None
    say: Callable[[str], None]
    stage: str = ""
    sizing: Sizing | None = None
    seconds: float = 0.0
    processes: Processes = ALONE
    protection: Protection | None = None


def describe(request: Request, name: str, recipe: str, model: GenerativeModel, training: Training) -> dict[str, Any]:
    """The content of ``card.json`` before the model itself is trained.

    Args:
        request: the training.
        name: name of the paradigm, or of the objective of a given model.
        recipe: the full name of the preset. Empty for a model that was given.
        model: the model with its initial weights.
        training: its settings of training.
    """
    settings = request.settings
    return {
        **card_of_model(model, name, recipe, request.dataset),
        "size": settings.size,
        **({} if request.sizing is None else {"sizing": request.sizing.record()}),
        "seed": settings.seed,
        "budget": str(settings.budget),
        "training": asdict(training),
        "choice": {"on": settings.choose},
        **({} if request.protection is None else {"private": request.protection.record()}),
        "asked": {key: getattr(settings, key) for key in ASKED},
        "parallel": request.processes.way,
        "hardware": {**machine(), "device": str(model.device), "processes": request.processes.world},
        "steps": 0,
        "seconds": 0.0,
        "done": False,
    }
