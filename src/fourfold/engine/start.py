"""The model from which a training starts: a new one, the caller's, or that of a run that is resumed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import torch

from fourfold.core import GenerativeModel, Training
from fourfold.engine.estimate import planned
from fourfold.engine.private import private_training
from fourfold.engine.request import Request
from fourfold.machine.hardware import find_device
from fourfold.paradigms import build_recipe
from fourfold.parallel.models import building
from fourfold.runs.blueprint import check_loadable
from fourfold.runs.card import read_card, training_of
from fourfold.runs.checkpoint import (
    BrokenRun,
    Checkpoint,
    check_vacant,
    has_state,
    has_weights,
    last_checkpoint,
    load_checkpoint,
    load_weights,
    read_json,
    untrained_model,
)

__all__ = ["Start", "fresh", "resumed"]


@final
@dataclass(frozen=True, kw_only=True)
class Start:
    """A run before the steps that this process trains.

    Attributes:
        name: name of its paradigm.
        recipe: the full name of its preset. Empty for a model that was given.
        model: the model with the weights from which it continues.
        training: its settings of training.
        has_card: whether the run folder describes the run already.
        checkpoint: state and progress of the model's own training, if that has begun.
        stages: the records of its stages, if they are all trained.
        precision: the record of the precision that was chosen, if it was.
        parts: the parts of a batch that the run recorded.
    """

    name: str
    recipe: str
    model: GenerativeModel
    training: Training
    has_card: bool = False
    checkpoint: Checkpoint | None = None
    stages: Sequence[Mapping[str, Any]] = ()
    precision: Mapping[str, Any] | None = None
    parts: int = 0


# --- a run that begins ------------------------------------------------------------------------------------------------


def fresh(request: Request) -> Start:
    """A run that begins in an empty folder, or in none.

    Raises:
        ValueError: for a folder whose run would be overwritten.
        TypeError: for a part that cannot be written to model.json.
    """
    folder = request.folder
    if folder is not None:
        check_vacant(folder)
    start = _from_the_beginning(request, request.paradigm)
    for stranger in check_loadable(start.model) if folder is not None and not request.stage else ():
        name = stranger.rpartition(":")[2]
        request.say(f"{stranger} is a class of your own: load this run with Run.load(folder, trust=[{name}])")
    return start


def _from_the_beginning(request: Request, paradigm: str | GenerativeModel | None) -> Start:
    """The untrained model of a preset, its weights drawn by the seed, or the model that was given."""
    settings = request.settings
    if isinstance(paradigm, GenerativeModel):
        name, recipe, model = type(paradigm.objective).__name__, "", paradigm
    else:
        assert paradigm is not None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            preset = (paradigm, request.dataset.space, settings.size)
            with building(request.processes, lambda: planned(*preset).stages(), find_device(settings.device)):
                recipe, model = build_recipe(*preset)
        if request.sizing is not None:
            request.sizing.applied_to(model)
        name = paradigm
    model = model.to(find_device(settings.device))
    training = model.training_defaults if request.protection is None else private_training(model.training_defaults)
    return Start(name=name, recipe=recipe, model=model, training=settings.applied_to(training))


# --- a run that is resumed --------------------------------------------------------------------------------------------


def resumed(request: Request, folder: Path) -> Start:
    """A run that continues from its last checkpoint.

    Raises:
        BrokenRun: if the folder holds no run that can be continued.
        ValueError: for other data.
    """
    card = read_card(folder)
    source = last_checkpoint(folder)
    begins = source is None and request.protection is not None  # with another secret, which is in every digest
    if card["data"]["digest"] != request.dataset.digest and not begins:
        was, now = card["data"]["name"], request.dataset.name
        raise ValueError(f"data must be that of {folder} ({was}), got {now}; resume with the same")
    if source is None:
        return _begun_again(request, card, folder)
    model = _recorded(request, folder, source)
    checkpoint = load_checkpoint(model, folder) if has_state(folder) else None
    if checkpoint is None:
        load_weights(model, source)
    return Start(
        name=card["paradigm"],
        recipe=card.get("recipe", ""),
        model=model.to(find_device(request.settings.device)),
        training=training_of(card, folder),
        has_card=True,
        checkpoint=checkpoint,
        stages=card["stages"][:-1] if checkpoint is not None and "stages" in card else (),
        precision=card.get("precision"),
        parts=card.get("parts", 0),
    )


def _begun_again(request: Request, card: Mapping[str, Any], folder: Path) -> Start:
    """A run that was stopped before it wrote its first checkpoint.

    Raises:
        BrokenRun: if its checkpoint was removed, or if it trained a model of the caller's own, which is needed again.
    """
    if has_weights(folder):
        raise BrokenRun(
            f"{folder} holds weights without the state of their training (resume/ is missing), so it cannot go on: "
            "sample from it, or train again in another folder"
        )
    paradigm = request.paradigm or card.get("recipe")
    if not paradigm:
        raise BrokenRun(f"{folder} was stopped before its first checkpoint: give its model to begin it again")
    request.say("the run was stopped before its first checkpoint; it begins again")
    return replace(_from_the_beginning(request, paradigm), name=card["paradigm"], training=training_of(card, folder))


def _recorded(request: Request, folder: Path, source: Path) -> GenerativeModel:
    """The model of a resumed run, before its weights are loaded: the given one, which must be the same, or a new one.

    Raises:
        ValueError: if another model is given.
    """
    if not isinstance(request.paradigm, GenerativeModel):
        with building(request.processes, lambda: read_card(folder).get("stages")):
            return untrained_model(folder, source, request.trust)
    configuration, recorded = json.loads(json.dumps(request.paradigm.configuration())), read_json(folder / "model.json")
    parts = recorded if isinstance(recorded, dict) else {}
    for name in configuration.keys() - {"training"}:
        if differs := _difference(parts.get(name), configuration[name], name):
            raise ValueError(f"the model must be that of {folder}, got another: {differs}; resume with the same")
    return request.paradigm


def _difference(recorded: Any, value: Any, name: str) -> str:
    """The place where two JSON values differ, in words. Values that an older version did not record do not count."""
    if isinstance(recorded, dict) and isinstance(value, dict):
        inner = (_difference(recorded[key], value[key], f"{name}.{key}") for key in value if key in recorded)
        return next(filter(None, inner), "")
    return "" if recorded == value else f"its {name.replace('.args', '')} is {recorded!r:.60}, not {value!r:.60}"
