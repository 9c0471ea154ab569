"""The run folder: written atomically, read without unpickling anything.

``model.json`` holds the constructor arguments of every part, ``weights.safetensors`` the averaged weights,
``resume/`` what training needs to go on, ``log.jsonl`` one line per logged step and ``card.json`` what was trained, on
what, with what and for how long.

A checkpoint is one file, ``resume/state.safetensors``: with ``model.json`` it is all that training goes on from. Weights
and card are written after it and follow from it, so a process that dies between two files loses nothing. Before the
stages of a model are trained, its weights are in ``resume/start.safetensors``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fourfold.core import GenerativeModel
from fourfold.engine.budget import Progress
from fourfold.engine.files import write_bytes, write_json

__all__ = [
    "BrokenRun",
    "Checkpoint",
    "has_start",
    "has_state",
    "has_weights",
    "load_checkpoint",
    "load_model",
    "load_start",
    "read_json",
    "resumable",
    "save_checkpoint",
    "save_model",
    "save_start",
    "write_json",
]


class BrokenRun(ValueError):  # noqa: N818 (what it is)
    """A run folder that cannot be used: one line with the file and the way out."""


def read_json(path: Path) -> Any:
    """Read a JSON file of a run folder.

    Raises:
        BrokenRun: if it is missing or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BrokenRun(f"{path} is missing: is {path.parent} the folder of a run?") from None
    except (ValueError, OSError) as error:
        raise BrokenRun(f"{path} cannot be read ({error}): restore it from a copy, or train again") from None


def _read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a safetensors file."""
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except FileNotFoundError:
        raise BrokenRun(f"{path} is missing: was the run stopped before its first checkpoint?") from None
    except (SafetensorError, OSError) as error:
        raise BrokenRun(f"{path} is damaged ({error}): restore it from a copy, or train again") from None


def save_model(model: GenerativeModel, folder: Path | str) -> None:
    """Write ``model.json`` and ``weights.safetensors``; what several parts share is written once."""
    folder = Path(folder)
    write_json(folder / "model.json", model.configuration())
    _save_weights(model, folder / "weights.safetensors")


def _save_weights(model: GenerativeModel, path: Path) -> None:
    state = model.state_dict()
    shared = _shared(state)
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in state.items() if k not in shared}
    write_bytes(path, save(tensors, {"shared": json.dumps(shared)}))


def _shared(state: Mapping[str, Tensor]) -> dict[str, str]:
    """The names of tensors that lie where an earlier one does, each with that one's name."""
    first: dict[tuple[object, ...], str] = {}
    places = {
        key: (v.untyped_storage().data_ptr(), v.storage_offset(), v.shape, v.stride(), v.dtype)
        for key, v in state.items()
        if v.numel()
    }
    owners = {key: first.setdefault(place, key) for key, place in places.items()}
    return {key: owner for key, owner in owners.items() if key != owner}


def load_model(folder: Path | str) -> GenerativeModel:
    """The trained model of a run folder, in evaluation mode.

    Raises:
        BrokenRun: naming the file that is missing, damaged, or does not fit the others.
    """
    folder = Path(folder)
    model = untrained_model(folder)
    path = folder / "weights.safetensors"
    if not path.exists() and resumable(folder):
        raise BrokenRun(f"{path} is missing: training has not come to its first checkpoint; go on with --resume")
    _load_weights(model, path)
    return model.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]


def _load_weights(model: GenerativeModel, path: Path) -> None:
    """Give a model all its parameters and buffers from a file."""
    tensors, metadata = _read_tensors(path)
    shared: dict[str, str] = json.loads(metadata.get("shared", "{}"))
    try:
        model.load_state_dict(tensors | {key: tensors[owner] for key, owner in shared.items() if owner in tensors})
    except RuntimeError as error:
        raise BrokenRun(f"{path} does not fit model.json ({_second_line(error)}): they are of two runs") from None


def untrained_model(folder: Path) -> GenerativeModel:
    """The model that ``model.json`` describes, untrained."""
    value = read_json(folder / "model.json")
    try:
        with torch.random.fork_rng(devices=[]):
            return GenerativeModel.from_configuration(value)
    except (TypeError, KeyError, ValueError, AttributeError, ImportError) as error:
        raise BrokenRun(f"{folder / 'model.json'} does not describe a model of this version: {error}") from None


def _second_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    return (lines[1] if len(lines) > 1 else lines[0])[:120]


# --- checkpoints ------------------------------------------------------------------------------------------------------


@final
@dataclass(frozen=True)
class Checkpoint:
    """What training goes on from: the tensors of :meth:`fourfold.engine.loop.Loop.state`, and where it was."""

    state: Mapping[str, Tensor]
    progress: Progress


def _state(folder: Path) -> Path:
    return folder / "resume" / "state.safetensors"


def _start(folder: Path) -> Path:
    return folder / "resume" / "start.safetensors"


def has_weights(folder: Path) -> bool:
    """Whether the folder holds weights to draw samples with."""
    return (folder / "weights.safetensors").exists()


def has_state(folder: Path) -> bool:
    """Whether the folder holds a checkpoint of its own training, not only of earlier stages."""
    return _state(folder).exists()


def has_start(folder: Path) -> bool:
    """Whether the folder holds the weights that its model has before its stages are trained."""
    return _start(folder).exists()


def resumable(folder: Path) -> bool:
    """Whether the folder holds a run, at whatever stage, that can go on."""
    begun = has_state(folder) or has_start(folder) or (folder / "stages").exists()
    return begun and (folder / "card.json").exists()


def save_start(model: GenerativeModel, folder: Path) -> None:
    """Write ``resume/start.safetensors``: the weights before the model's stages are trained."""
    _save_weights(model, _start(folder))


def load_start(model: GenerativeModel, folder: Path) -> None:
    """Give a model the weights that :func:`save_start` wrote.

    Raises:
        BrokenRun: if they are damaged or of another model.
    """
    _load_weights(model, _start(folder))


def save_checkpoint(checkpoint: Checkpoint, folder: Path) -> None:
    """Write ``resume/state.safetensors``: one file, so that it is whole or old."""
    metadata = {"progress": json.dumps(asdict(checkpoint.progress)), "fixed": "yes"}
    write_bytes(_state(folder), save({key: value.cpu() for key, value in checkpoint.state.items()}, metadata))
    _start(folder).unlink(missing_ok=True)


def load_checkpoint(model: GenerativeModel, folder: Path) -> Checkpoint:
    """What :func:`save_checkpoint` wrote; the model gets its buffers and every parameter that training leaves as it is.

    Raises:
        BrokenRun: if the checkpoint is damaged or of another model.
    """
    path = _state(folder)
    tensors, metadata = _read_tensors(path)
    if "progress" not in metadata:
        raise BrokenRun(f"{path} does not say where training was: start again without --resume")
    if "fixed" not in metadata:  # a run before 0.2 has these in its weights alone
        _load_weights(model, folder / "weights.safetensors")
    given = {key.partition(".")[2]: value for key, value in tensors.items() if key.startswith(("buffer.", "fixed."))}
    known = {name for name, _ in (*model.named_parameters(), *model.named_buffers())}
    if not given.keys() <= known:
        raise BrokenRun(f"{path} does not fit model.json (it holds {min(given.keys() - known)}): they are of two runs")
    try:
        model.load_state_dict(given, strict=False)
    except RuntimeError as error:
        raise BrokenRun(f"{path} does not fit model.json ({_second_line(error)}): they are of two runs") from None
    return Checkpoint(tensors, Progress(**json.loads(metadata["progress"])))
