"""Reads ``card.json``, which may come from anywhere: every value that is used has the type it should have."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fourfold.core import Training
from fourfold.engine.checkpoint import BrokenRun, read_json

__all__ = ["read_card", "training_of"]

_DATA = {"name": str, "digest": str, "seed": int, "train": int, "validation": int, "test": int, "options": dict}
_FORM: Mapping[str, Any] = {
    "paradigm": str,
    "size": str,
    "parameters": int,
    "data": _DATA,
    "seed": int,
    "budget": str,
    "training": dict,
    "hardware": dict,
    "versions": dict,
    "command": str,
    "steps": int,
    "seconds": float,
    "done": bool,
}
"""The keys of every card, each with the type of its value."""
_STAGE = {"name": str, "share": float, "budget": str, "parameters": int}
_LATER: dict[str, Any] = {"precision": {"name": str, "compiled": bool}, "stages": [_STAGE], "recipe": str}
_LATER |= {"sizing": {"size": str, "part": int, "why": str, "seconds": float}}
"""Keys that only newer cards hold, or that a card gets in the course of training."""
_WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", dict: "an object"}


def read_card(folder: Path) -> dict[str, Any]:
    """Read the card of a run.

    Raises:
        BrokenRun: naming the file, and the value that is missing or has another type.
    """
    path = folder / "card.json"
    card = read_json(path)
    wrong = _wrong(card, _FORM, "it") or next(
        filter(None, (_wrong(card[k], v, k) for k, v in _LATER.items() if k in card)), ""
    )
    if wrong:
        raise BrokenRun(f"{path} is not the card of a run ({wrong}): restore it from a copy, or train again")
    return dict(card)


def _wrong(value: Any, form: Any, name: str) -> str:
    """The first place where a value does not have a form, in words; empty if there is none."""
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
    known = (int, float) if form is float else form
    right = isinstance(value, known) and (form is bool or not isinstance(value, bool))
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
