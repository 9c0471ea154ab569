"""The run folder: written atomically, read without unpickling anything.

``model.json`` holds the constructor arguments of every part, ``weights.safetensors`` the averaged weights,
``resume/state.safetensors`` everything that training needs to go on, ``log.jsonl`` one line per logged step and
``card.json`` what was trained, on what, with what and for how long.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fourfold.core import GenerativeModel
from fourfold.engine.budget import Progress

__all__ = ["BrokenRun", "has_state", "load_model", "load_state", "resumable", "save_model", "save_state", "write_json"]


class BrokenRun(ValueError):  # noqa: N818 (what it is)
    """A run folder that cannot be used: one line with the file and the way out."""


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that after a crash it is either the old or the new one, never half of either."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically."""
    write_bytes(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


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
    state = model.state_dict()
    shared = _shared(state)
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in state.items() if k not in shared}
    write_bytes(folder / "weights.safetensors", save(tensors, {"shared": json.dumps(shared)}))


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
    tensors, metadata = _read_tensors(folder / "weights.safetensors")
    shared: dict[str, str] = json.loads(metadata.get("shared", "{}"))
    try:
        model.load_state_dict(tensors | {key: tensors[owner] for key, owner in shared.items() if owner in tensors})
    except RuntimeError as error:
        raise BrokenRun(
            f"{folder / 'weights.safetensors'} does not fit model.json ({_second_line(error)}): they are of two runs"
        ) from None
    return model.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]


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


def has_state(folder: Path) -> bool:
    """Whether the folder holds a checkpoint of its own training, not only of earlier stages."""
    return (folder / "resume" / "state.safetensors").exists()


def resumable(folder: Path) -> bool:
    """Whether the folder holds a run, at whatever stage, that can go on."""
    return (folder / "card.json").exists() and (has_state(folder) or (folder / "stages").exists())


def save_state(folder: Path, state: Mapping[str, Tensor], progress: Progress) -> None:
    """Write ``resume/state.safetensors``: one file, so that it is whole or old."""
    metadata = {"progress": json.dumps(asdict(progress))}
    tensors = {key: value.cpu() for key, value in state.items()}
    write_bytes(folder / "resume" / "state.safetensors", save(tensors, metadata))


def load_state(folder: Path) -> tuple[dict[str, Tensor], Progress]:
    """What :func:`save_state` wrote.

    Raises:
        BrokenRun: if it is missing or damaged.
    """
    path = folder / "resume" / "state.safetensors"
    tensors, metadata = _read_tensors(path)
    if "progress" not in metadata:
        raise BrokenRun(f"{path} does not say where training was: start again without --resume")
    return tensors, Progress(**json.loads(metadata["progress"]))
