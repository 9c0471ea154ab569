"""A training that is asked for, and the content of ``card.json`` that follows from it."""

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
from fourfold.engine.distributed import join
from fourfold.engine.hardware import machine
from fourfold.engine.loop import Step
from fourfold.engine.settings import FitSettings
from fourfold.paradigms import cards

__all__ = ["Request", "describe", "parameters"]


@final
@dataclass(frozen=True, kw_only=True)
class Request:
    """One training: of what, on what, where and how; of a whole run, or of one of its stages.

    Attributes:
        paradigm: the name of a preset, or a model; ``None`` goes on with what the run folder holds.
        dataset: what is trained on.
        settings: how.
        folder: the run folder, if there is one.
        resume: whether the folder holds a run that goes on.
        trust: classes of one's own that the recorded model is made of.
        observe: is called with each step.
        say: is called with each line worth telling.
        stage: the name of the stage, behind those of the stages that hold it; empty for the whole run.
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


def parameters(model: GenerativeModel) -> int:
    """Numbers that sampling needs: those of the estimand, and of the estimands that a learned codec holds."""
    codec = model.codec
    held = [stage.model for stage in codec.stages()] if isinstance(codec, Staged) else []
    return sum(p.numel() for p in model.estimand.parameters()) + sum(parameters(one) for one in held)


def describe(request: Request, name: str, recipe: str, model: GenerativeModel, training: Training) -> dict[str, Any]:
    """The content of ``card.json`` before the model itself is trained.

    Args:
        request: what is trained, on what and how.
        name: of the paradigm; of a model that was given, that of its objective.
        recipe: the full name of the preset; empty for a model that was given.
        model: with its weights of the beginning.
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
        "parameters": parameters(model),
        "data": {**request.dataset.record(), **_place(request), "options": {"seed": request.dataset.seed} | options},
        "seed": settings.seed,
        "budget": str(settings.budget),
        "training": asdict(training),
        "choice": {"on": settings.choose},
        "asked": {key: getattr(settings, key) for key in ("precision", "compile", "device", "checkpoint_every")},
        "hardware": {**machine(), "device": str(model.device), "processes": join().world},
        "versions": {"python": platform.python_version()} | {p: importlib.metadata.version(p) for p in packages},
        "command": shlex.join(sys.argv),
        "steps": 0,
        "seconds": 0.0,
        "done": False,
    }


def _place(request: Request) -> dict[str, str]:
    """Where the data is, if it is a file or a folder: a run is also used from elsewhere."""
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
