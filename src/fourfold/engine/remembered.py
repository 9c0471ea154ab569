"""What a run remembers, for those who go on with it: its settings, and where its data is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fourfold.data import IN_MEMORY, DataError, Dataset, load, names
from fourfold.engine.card import read_card

__all__ = ["load_own", "settings_of"]


def load_own(card: Mapping[str, Any], folder: Path | None) -> Dataset:
    """Load the data that a run was trained on, from where it was.

    Raises:
        DataError: if it is not there any more, saying what was looked for and how to give it; or if it cannot be read.
    """
    record = card["data"]
    place = record.get("path", record["name"])
    try:
        return load(place, **record["options"])
    except DataError:
        if place in (*names(), IN_MEMORY) or Path(place).expanduser().exists():
            raise
        raise DataError(
            f"{place}, the data of {folder or 'this run'}, is not there: put it back, or name it where it is now, "
            "as in 'fourfold score RUN DATA' or 'fourfold fit PARADIGM DATA --resume RUN'"
        ) from None


def settings_of(folder: Path, given: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run, for going on with it.

    How and how long it is trained may be given anew (budget, precision, compile, device, checkpoint_every, choose); what
    it is may only be given as it is.

    Args:
        folder: of the run.
        given: settings of :func:`fourfold.fit` that were named, and fields of its training.
        options: arguments of :func:`fourfold.load` that were named; ``None`` stands for the default.

    Raises:
        BrokenRun: if the folder holds no run.
        ValueError: for a setting that contradicts the run, with both values.
    """
    card = read_card(folder)
    asked, recorded = card.get("asked", {}), card["data"]["options"]
    known = {"size": card["size"], "seed": card["seed"], "out": folder}
    known |= {key: value or 0.0 if key == "muon_rate" else value for key, value in card["training"].items()}
    known["paradigm"] = given.get("paradigm") if given.get("paradigm") == card.get("recipe") else card["paradigm"]
    pairs = [(key, known[key], value) for key, value in given.items() if key in known]
    pairs += [(key, recorded.get(key), value) for key, value in options.items()]
    for key, was, value in pairs:
        if was != value:
            was, value = ("the default" if one is None else one for one in (was, value))
            raise ValueError(
                f"{key.replace('_', ' ')} {value} contradicts {folder}, which has {was}: leave it out, or begin another run"
            )
    changeable = {"precision": None, "compile": None, "device": "auto", "checkpoint_every": 60.0}
    return {
        "paradigm": card["paradigm"],
        "size": card["size"],
        "seed": card["seed"],
        "budget": given.get("budget") or card["budget"],
        "choose": given.get("choose"),
        "data_options": {key: value for key, value in recorded.items() if key != "seed"},
        "run_dir": folder,
    } | {key: given.get(key, asked.get(key, default)) for key, default in changeable.items()}
