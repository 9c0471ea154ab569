"""The request of a training, and the content of ``card.json`` that follows from it."""

from __future__ import annotations

import importlib.metadata
import platform
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from fourfold.core import GenerativeModel, Staged, Training
from fourfold.data import Dataset, names
from fourfold.engine.auto import Sizing
from fourfold.engine.distributed import ALONE, Processes
from fourfold.engine.hardware import machine
from fourfold.engine.settings import FitSettings
from fourfold.engine.step import Step
from fourfold.paradigms import cards

__all__ = ["Request", "describe", "parameters"]


ASKED = ("precision", "compile", "device", "checkpoint_every", "accumulate", "recompute")
"""The settings that a card records as they were asked for."""


@final
@dataclass(frozen=True, kw_only=True)
class Request:
    """The parsed arguments of :func:`fourfold.fit`, or of the training of one stage.

    Attributes:
        paradigm: the name of a preset, or a model; ``None``: the model of the run folder.
        dataset: the data set.
        settings: the settings of training.
        folder: the run folder, if there is one.
        resume: whether the folder holds a run that goes on.
        trust: the caller's own classes in the recorded model.
        observe: a function that is called with each step.
        say: a function that is called with each message.
        stage: the name of the stage, after those of the stages that hold it; empty for the whole run.
        sizing: the choice of the size, unless the size was given.
        spent: seconds of training before this training begins.
        processes: the processes that share the training.
    """

    paradigm: str | GenerativeModel | None
    dataset: Dataset
    settings: FitSettings
    folder: Path | None
    resume: bool
    trust: Sequence[type]
    observe: Callable[[Step], None] | None
    say: Callable[[str], None]
    stage: str = ""
    sizing: Sizing | None = None
    spent: float = 0.0
    processes: Processes = ALONE


def parameters(model: GenerativeModel) -> int:
    """The number of parameters that sampling needs: those of the estimand, and of the estimands in a learned codec."""
    codec = model.codec
    held = [stage.model for stage in codec.stages()] if isinstance(codec, Staged) else []
    return sum(p.numel() for p in model.estimand.parameters()) + sum(parameters(one) for one in held)


def describe(request: Request, name: str, recipe: str, model: GenerativeModel, training: Training) -> dict[str, Any]:
    """The content of ``card.json`` before the model itself is trained.

    Args:
        request: the training.
        name: name of the paradigm, or of the objective of a given model.
        recipe: the full name of the preset; empty for a model that was given.
        model: the model with its initial weights.
        training: its settings of training.
    """
    settings = request.settings
    options = {key: value for key, value in settings.data_options.items() if not hasattr(value, "__array__")}
    packages = ("fourfold", "torch", "numpy", "safetensors")
    return {
        "paradigm": name,
        "recipe": recipe,
        "facts": _facts(name, model),
        "size": settings.size,
        **({} if request.sizing is None else {"sizing": request.sizing.record()}),
        "parameters": parameters(model),
        "data": {**request.dataset.record(), **_place(request), "options": {"seed": request.dataset.seed} | options},
        "seed": settings.seed,
        "budget": str(settings.budget),
        "training": asdict(training),
        "choice": {"on": settings.choose},
        "asked": {key: getattr(settings, key) for key in ASKED},
        "parallel": request.processes.way,
        "hardware": {**machine(), "device": str(model.device), "processes": request.processes.world},
        "versions": {"python": platform.python_version()} | {p: importlib.metadata.version(p) for p in packages},
        "command": shlex.join(sys.argv),
        "steps": 0,
        "seconds": 0.0,
        "done": False,
    }


def _place(request: Request) -> dict[str, str]:
    """The absolute path of the data, if it is a file or a folder, since a run is also used from other folders."""
    path = Path(request.dataset.name).expanduser()
    return {"path": str(path.absolute())} if request.dataset.name not in names() and path.exists() else {}


def _facts(name: str, model: GenerativeModel) -> dict[str, Any] | None:
    """The facts of a model, in the words of its parts and of its card; ``None`` for parts of no known paradigm."""
    card = cards().get(name.partition("/")[0])
    try:
        facts = model.facts if card is None else card.facts(model.facts)
    except LookupError:
        return None
    return facts.record(model.paradigm)
