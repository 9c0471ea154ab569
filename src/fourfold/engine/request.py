"""What :func:`fourfold.fit` was asked for, and what ``card.json`` says of it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import torch

from fourfold.core import GenerativeModel, Staged, Training
from fourfold.data import Dataset, names
from fourfold.engine.budget import Budget
from fourfold.engine.distributed import join
from fourfold.engine.loop import Loop, Step
from fourfold.engine.precision import Choice
from fourfold.paradigms import cards, resolve

__all__ = ["Request", "card_of", "describe", "parameters"]


@final
@dataclass(frozen=True, kw_only=True)
class Request:
    """The parsed arguments of :func:`fourfold.fit`, or of one stage of it.

    Attributes:
        options: further arguments of :func:`fourfold.load`, which the card keeps.
        folder: the run folder, if there is one.
        stage: the name of the stage, with those of the stages that hold it; empty for the whole run.
    """

    paradigm: str | GenerativeModel
    dataset: Dataset
    options: Mapping[str, Any]
    budget: Budget
    size: str
    seed: int
    precision: str | None
    compile: bool | None
    folder: Path | None
    resume: bool
    training: Training | None
    device: str
    checkpoint_every: float
    choose: bool | None
    observe: Callable[[Step], None] | None
    say: Callable[[str], None]
    stage: str = ""

    @property
    def name(self) -> str:
        """The name of the paradigm; of a model, that of its objective."""
        return self.paradigm if isinstance(self.paradigm, str) else type(self.paradigm.objective).__name__


def parameters(model: GenerativeModel) -> int:
    """Numbers that sampling needs: those of the estimand, and of the estimands that a learned codec holds."""
    codec = model.codec
    held = [stage.model for stage in codec.stages()] if isinstance(codec, Staged) else []
    return sum(p.numel() for p in model.estimand.parameters()) + sum(parameters(one) for one in held)


def describe(name: str, model: GenerativeModel, asked: Request, training: Training) -> dict[str, Any]:
    """What ``card.json`` holds before the model itself is trained."""
    packages = ("fourfold", "torch", "numpy", "safetensors")
    hardware = {"machine": platform.machine(), "cpus": os.cpu_count(), "threads": torch.get_num_threads()}
    return {
        "paradigm": name,
        "recipe": "" if isinstance(asked.paradigm, GenerativeModel) else resolve(name, asked.dataset.space),
        "facts": _facts(name, model),
        "size": asked.size,
        "parameters": parameters(model),
        "data": {**asked.dataset.record(), **_place(asked), "options": dict(asked.options)},
        "seed": asked.seed,
        "budget": str(asked.budget),
        "training": asdict(training),
        "choice": {"on": asked.choose},
        "asked": {key: getattr(asked, key) for key in ("precision", "compile", "device", "checkpoint_every")},
        "hardware": {**hardware, "device": str(model.device), "processes": join().world},
        "versions": {"python": platform.python_version()} | {p: importlib.metadata.version(p) for p in packages},
        "command": shlex.join(sys.argv),
        "steps": 0,
        "seconds": 0.0,
        "done": False,
    }


def _place(asked: Request) -> dict[str, str]:
    """Where the data is, if it is a file or a folder: a run is also used from elsewhere."""
    path = Path(asked.dataset.name).expanduser()
    return {"path": str(path.absolute())} if asked.dataset.name not in names() and path.exists() else {}


def _facts(name: str, model: GenerativeModel) -> dict[str, Any] | None:
    """What holds for the model, in the words of its parts and of its card; ``None`` for parts of no known paradigm."""
    card = cards().get(name.partition("/")[0])
    try:
        facts = model.facts if card is None else card.facts(model.facts)
    except LookupError:
        return None
    return facts.record(model.paradigm)


def card_of(name: str, loop: Loop, asked: Request, choice: Choice) -> dict[str, Any]:
    """What ``card.json`` holds."""
    return {**describe(name, loop.model, asked, loop.training), "precision": choice.record()}
