"""The settings that a run recorded, which a continued run takes, and the data that it was trained on."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from fourfold.data import IN_MEMORY, Data, DataError, Dataset, load, names
from fourfold.data.text import LENGTH
from fourfold.parallel.processes import under_torchrun
from fourfold.privacy import Protection, parse_guarantee
from fourfold.runs.budget import parse_budget
from fourfold.runs.card import ELSEWHERE, training_of
from fourfold.runs.checkpoint import BrokenRun
from fourfold.runs.settings import FitSettings
from fourfold.settings.data import recorded as recorded_conditions
from fourfold.vocabulary import AUTO

if TYPE_CHECKING:
    from fourfold.core import Space
    from fourfold.settings.data import DataKeywords

__all__ = ["check_agrees", "load_own", "settings_of"]


def load_own(
    card: Mapping[str, Any],
    folder: Path | None,
    data: Data | None = None,
    protection: Protection | None = None,
    space: Space | None = None,
) -> Dataset:
    """Load the data that a run was trained on, from its recorded place, or other data in the same way.

    Raises:
        DataError: if it is missing, with the places where it was looked for and the way to give it, or if it cannot be
            read.
    """
    record = card["data"]
    place = record.get("path", record["name"]) if data is None else data
    options: dict[str, Any] = {**_options(record), "private": protection}
    options |= {} if space is None else {"space": space}
    try:
        dataset = load(place, **options)
        if dataset.digest == record.get("digest") or "space" in options or protection is not None:
            return dataset
        with contextlib.suppress(DataError):  # whole numbers were vectors once, whatever asked for them
            vectors = load(place, **options, space="vectors")
            dataset = vectors if vectors.digest == record.get("digest") else dataset
        return dataset
    except DataError:
        if data is not None or place in (*names(), IN_MEMORY) or Path(str(place)).expanduser().exists():
            raise
        raise DataError(
            f"{place}, the data of {folder or 'this run'}, is not there: put it back, or name it where it is now, "
            "as in 'fourfold score RUN DATA' or 'fourfold fit PARADIGM DATA --resume RUN'"
        ) from None


def _options(record: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of loading that a run recorded. What was streamed is streamed again, wherever it goes on."""
    return {**record["options"], **({"stream": True} if record.get("streamed") else {})}


def settings_of(card: Mapping[str, Any], folder: Path) -> FitSettings:
    """The settings of a run, as its card records them.

    Raises:
        BrokenRun: if a recorded setting is not one, or there is no training to go on with.
    """
    if card.get("trained") == ELSEWHERE:
        raise BrokenRun(
            f"{folder} was trained elsewhere, so there is no training to resume: train Run.load(folder).model on in "
            "your own loop, or give it to fit with another folder"
        )
    try:
        request = card.get("asked", {})
        return FitSettings(
            budget=parse_budget(card["budget"]),
            size=card["size"],
            seed=card["seed"],
            training=training_of(card, folder),
            data_options=cast("DataKeywords", {k: v for k, v in _options(card["data"]).items() if k != "seed"}),
            precision=request.get("precision"),
            compile=request.get("compile"),
            device=str(request.get("device", FitSettings.device)),
            checkpoint_every=request.get("checkpoint_every", FitSettings.checkpoint_every),
            choose=bool(card.get("choice", {}).get("on", FitSettings.choose)),
            parallel=card.get("parallel", AUTO) if under_torchrun() and card.get("parallel") != "none" else AUTO,
            accumulate=request.get("accumulate", FitSettings.accumulate),
            recompute=request.get("recompute"),
            **_private(card),
        )
    except BrokenRun:
        raise
    except (AttributeError, TypeError, ValueError) as error:
        raise BrokenRun(f"{folder / 'card.json'}: its settings are of another version ({error})") from None


def _private(card: Mapping[str, Any]) -> dict[str, Any]:
    """The recorded guarantee of privacy, and what was declared public."""
    if "private" not in card:
        return {}
    record = card["private"]
    return {"private": parse_guarantee(record["guarantee"]), "public": record["public"]}


def check_agrees(settings: FitSettings, card: Mapping[str, Any], folder: Path, paradigm: str | None) -> None:
    """Refuse to continue a run under settings that contradict it.

    Budget, precision, compiling, device, checkpoints, the choice of weights and the processes may change. All else may
    not.

    Args:
        settings: the settings of the continued run: those given, else those of the run.
        card: the card of the run.
        folder: the folder of the run.
        paradigm: the name that was given.

    Raises:
        ValueError: naming the first setting that differs, both values and the way out.
    """
    for name, was, now in _pairs(settings, card, folder, paradigm):
        if _plain(was) != _plain(now):
            was, now = ("the default" if value is None else value for value in (was, now))
            raise ValueError(
                f"{name.replace('_', ' ')} must be {was}, as in {folder}, got {now}; leave it out, or begin another run"
            )


def _pairs(
    settings: FitSettings, card: Mapping[str, Any], folder: Path, paradigm: str | None
) -> Iterator[tuple[str, Any, Any]]:
    """Everything that must not change: the name, the run's value and the given value."""
    if paradigm not in (None, card.get("recipe")):
        yield "paradigm", card["paradigm"], paradigm
    yield "size", card["size"], settings.size
    yield "seed", card["seed"], settings.seed
    yield "private", card.get("private", {}).get("guarantee"), settings.private and str(settings.private)
    training = training_of(card, folder)
    current = asdict(settings.applied_to(training))
    yield from ((name, was, current[name]) for name, was in asdict(training).items())
    recorded, defaults = _options(card["data"]), inspect.signature(load).parameters
    options = {**settings.data_options}
    if options.get("given") is not None:
        options["given"] = recorded_conditions(options["given"])
    for name, value in options.items():
        if not hasattr(value, "__array__"):  # labels in memory are not recorded: the digest of the data covers them
            default = LENGTH if name == "length" else defaults[name].default if name in defaults else None
            was, now = (None if item == default else item for item in (recorded.get(name), value))
            yield ("image_size" if name == "size" else name), was, now


def _plain(value: Any) -> Any:
    """A value as JSON has it, a path as its text."""
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
