"""``card.json``: what every card says of a model and its data, and the reader of cards.

A card may come from anywhere, so every value that is used has the type it should have. The card of a model that was
trained in a loop of its owner's has no record of a training, and says so.
"""

from __future__ import annotations

import importlib.metadata
import platform
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fourfold.core import GenerativeModel, Staged, Training
from fourfold.data import Dataset, names
from fourfold.paradigms import cards
from fourfold.runs.checkpoint import BrokenRun, read_json

__all__ = ["ELSEWHERE", "card_of_model", "outside_card", "parameters", "read_card", "training_of"]

_DATA = {"name": str, "digest": str, "seed": int, "train": int, "validation": int, "test": int, "options": dict}
_MODEL: Mapping[str, Any] = {"paradigm": str, "parameters": int, "versions": dict, "command": str}
"""The keys of every card, each with the type of its value."""
_TRAINING: Mapping[str, Any] = {
    "size": str,
    "data": _DATA,
    "seed": int,
    "budget": str,
    "training": dict,
    "hardware": dict,
    "steps": int,
    "seconds": float,
    "done": bool,
}
"""The keys of every card of a training by :func:`fourfold.fit`."""
_STAGE = {"name": str, "share": float, "budget": str, "parameters": int}
_LATER: dict[str, Any] = {
    "data": _DATA,
    "precision": {"name": str, "compiled": bool},
    "stages": [_STAGE],
    "recipe": str,
}
_LATER |= {"sizing": {"size": str, "part": int, "why": str, "seconds": float}}
"""Keys that only newer cards hold, or that a card gets in the course of training."""
ELSEWHERE = "elsewhere"
"""Where a model was trained whose card has no record of a training."""
_WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", dict: "an object"}


def card_of_model(model: GenerativeModel, name: str, recipe: str, dataset: Dataset | None) -> dict[str, Any]:
    """The entries of every card: on the model, the data that it learned, and the program that wrote the card.

    Args:
        model: the model.
        name: name of the paradigm, or of the objective of a model that no preset built.
        recipe: the full name of the preset. Empty for a model that no preset built.
        dataset: the data. ``None`` if it is unknown.
    """
    packages = ("fourfold", "torch", "numpy", "safetensors")
    return {
        "paradigm": name,
        "recipe": recipe,
        "facts": _facts(name, model),
        "parameters": parameters(model),
        **({} if dataset is None else {"data": _of_data(dataset)}),
        "versions": {"python": platform.python_version()} | {p: importlib.metadata.version(p) for p in packages},
        "command": shlex.join(sys.argv),
    }


def outside_card(model: GenerativeModel, dataset: Dataset | None) -> dict[str, Any]:
    """The card of a model that was trained in a loop of its owner's, of which there is no record."""
    return card_of_model(model, type(model.objective).__name__, "", dataset) | {"trained": ELSEWHERE}


def parameters(model: GenerativeModel) -> int:
    """The number of parameters that sampling needs: those of the estimand, and of the estimands in a learned codec."""
    codec = model.codec
    models = [stage.model for stage in codec.stages()] if isinstance(codec, Staged) else []
    return sum(p.numel() for p in model.estimand.parameters()) + sum(parameters(inner) for inner in models)


def _of_data(dataset: Dataset) -> dict[str, Any]:
    """The record of the data, and how to load it again.

    Files and folders have their absolute path, since a run is also used from other folders.
    """
    path = Path(dataset.name).expanduser()
    place = {"path": str(path.absolute())} if dataset.name not in names() and path.exists() else {}
    return {**dataset.record(), **place, "options": {"seed": dataset.seed, **dataset.options}}


def _facts(name: str, model: GenerativeModel) -> dict[str, Any] | None:
    """The facts of a model, in the words of its parts and of its card. ``None`` for parts of no known paradigm."""
    card = cards().get(name.partition("/")[0])
    try:
        facts = model.facts if card is None else card.facts(model.facts)
    except LookupError:
        return None
    return facts.record(model.paradigm)


def read_card(folder: Path) -> dict[str, Any]:
    """Read the card of a run.

    Raises:
        BrokenRun: naming the file, and the value that is missing or has another type.
    """
    path = folder / "card.json"
    card = read_json(path)
    recorded = not (isinstance(card, dict) and card.get("trained") == ELSEWHERE)
    wrong = _wrong(card, {**_MODEL, **(_TRAINING if recorded else {})}, "it") or next(
        filter(None, (_wrong(card[k], v, k) for k, v in _LATER.items() if k in card)), ""
    )
    if wrong:
        raise BrokenRun(f"{path} is not the card of a run ({wrong}): restore it from a copy, or train again")
    return dict(card)


def _wrong(value: Any, form: Any, name: str) -> str:
    """The first place where a value does not have a form, in words. Empty if there is none."""
    if isinstance(form, list):
        if not isinstance(value, list):
            return f"{name} is not a list"
        return next(filter(None, (_wrong(item, form[0], f"{name}[{i}]") for i, item in enumerate(value))), "")
    if isinstance(form, Mapping):
        if not isinstance(value, dict):
            return f"{name} is not an object"
        missing = next((key for key in form if key not in value), None)
        if missing is not None:
            return f"{name} has no {missing!r}"
        return next(filter(None, (_wrong(value[key], inner, key) for key, inner in form.items())), "")
    types = (int, float) if form is float else form
    right = isinstance(value, types) and (form is bool or not isinstance(value, bool))
    return "" if right else f"{name} is not {_WORDS[form]}"


def training_of(card: Mapping[str, Any], folder: Path) -> Training:
    """The settings of training in a card.

    Raises:
        BrokenRun: if this version does not understand them.
    """
    try:
        settings: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in card["training"].items()
        }
        flat = [item for value in settings.values() for item in (value if isinstance(value, tuple) else (value,))]
        if not all(item is None or isinstance(item, (int, float)) for item in flat):
            raise TypeError("they are not numbers")
        return Training(**settings)
    except TypeError as error:
        raise BrokenRun(f"{folder / 'card.json'}: its settings of training are of another version ({error})") from None
