"""The run folder: written atomically, read without unpickling anything.

``model.json`` holds the constructor arguments of every part, ``weights.safetensors`` the averaged weights, ``resume/``
the state that training continues from, ``log.jsonl`` one line per logged step, and ``card.json`` the record of the run:
its model, data, settings, versions and duration.

A checkpoint is one file, ``resume/state.safetensors``, or, where processes hold shards, a folder
``resume/shards-STEP`` (see :mod:`fourfold.runs.shards`). Together with ``model.json`` it suffices to continue. Weights
and card are written after it and follow from it, so a process that dies between two files loses nothing. Until the
stages of a model are trained, its initial weights are in ``resume/start.safetensors``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import torch
from safetensors import safe_open
from torch import Tensor

from fourfold.core import GenerativeModel
from fourfold.core.header import TooLarge, read_header
from fourfold.parallel.models import channels_last
from fourfold.parallel.processes import ALONE, Processes
from fourfold.parallel.shards import memory, whole
from fourfold.runs.blueprint import build
from fourfold.runs.budget import Progress
from fourfold.runs.files import write_json, write_lines
from fourfold.runs.shards import REST, Shards, newest, remove_shards, save_shards

__all__ = [
    "TWO_RUNS",
    "BrokenRun",
    "Checkpoint",
    "check_vacant",
    "has_start",
    "has_state",
    "has_weights",
    "last_checkpoint",
    "load_checkpoint",
    "load_model",
    "load_weights",
    "read_json",
    "recorded_secret",
    "resumable",
    "save_checkpoint",
    "save_model",
    "save_start",
    "undefined",
    "untrained_model",
]


class BrokenRun(ValueError):  # noqa: N818 (what it is)
    """A run folder that cannot be used. The message is one line that names the file and the way out."""


LONGEST = 1 << 24
"""Bytes of a JSON file, at most."""


def read_json(path: Path) -> Any:
    """Read a JSON file of a run folder.

    Raises:
        BrokenRun: if the file is missing, too long, or not JSON.
    """
    if not path.exists():
        raise BrokenRun(f"{path} is missing: is {path.parent} the folder of a run?")
    try:
        _require_file(path, LONGEST)
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise BrokenRun(f"{path} cannot be read ({_line(error)}): restore it from a copy, or train again") from None


def _require_file(path: Path, longest: float = float("inf")) -> None:
    """Refuse a path that is not a regular file, or is a file that is too long."""
    if not path.is_file():
        raise ValueError("it is not a regular file")
    if path.stat().st_size > longest:
        raise ValueError(f"it has {path.stat().st_size:,} bytes, more than {longest:,}")


def _line(error: Exception) -> str:
    """The first line of an error, cut to a readable length."""
    lines = str(error).splitlines()
    return lines[0][:300] if lines else type(error).__name__


@contextmanager
def _tensors(path: Path) -> Iterator[None]:
    """Inside, whatever a damaged file of tensors raises becomes a one-line :class:`BrokenRun`."""
    if not path.exists():
        raise BrokenRun(f"{path} is missing: was the run stopped before its first checkpoint?")
    try:
        _require_file(path)
        yield
    except Exception as error:  # from the reader, from the system, or from the content of the metadata
        raise BrokenRun(f"{path} is damaged ({_line(error)}): restore it from a copy, or train again") from None


def _read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a safetensors file."""
    with _tensors(path), safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118


def save_model(model: GenerativeModel, folder: Path | str, writes: bool = True) -> None:
    """Write ``model.json`` and ``weights.safetensors``. Tensors that several parts share are written once.

    Args:
        model: the model. If processes share its weights, all must call this together.
        folder: the run folder.
        writes: whether this process writes.
    """
    folder = Path(folder)
    if writes:
        write_json(folder / "model.json", model.configuration())
    _save_weights(model, folder / "weights.safetensors", writes)


_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def _save_weights(model: GenerativeModel, path: Path, writes: bool = True) -> None:
    """Write the state of a model. Tensors that several parts share are written once."""
    state = model.state_dict(keep_vars=True)
    shared = _shared(state)
    _write({k: v for k, v in state.items() if k not in shared}, {"shared": json.dumps(shared)}, path, writes)


def _write(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], path: Path, writes: bool = True) -> None:
    """Write a safetensors file, with a copy of one whole tensor in memory at a time."""
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))  # larger numbers first: aligned
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name in names:
        start, end = end, end + tensors[name].numel() * tensors[name].element_size()
        entry = {"dtype": _DTYPES[tensors[name].dtype], "shape": list(tensors[name].shape)}
        header[name] = {**entry, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)

    def parts() -> Iterator[bytes | memoryview]:
        yield len(text).to_bytes(8, "little") + text
        for name in names:
            value = whole(tensors[name].detach())
            yield value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data if writes else b""

    if writes:
        write_lines(path, parts())
    else:
        for _ in parts():
            pass


def _shared(state: Mapping[str, Tensor]) -> dict[str, str]:
    """The names of tensors that share their memory with an earlier one, each with the name of that one."""
    first: dict[object, str] = {}
    owners = {key: first.setdefault(memory(v), key) for key, v in state.items() if v.numel()}
    return {key: owner for key, owner in owners.items() if key != owner}


def load_model(folder: Path | str, trust: Sequence[type] = ()) -> GenerativeModel:
    """The trained model of a run folder, in evaluation mode.

    Args:
        folder: may come from anywhere: nothing in it is executed, and it cannot ask for more memory than it has.
        trust: classes of your own that the model consists of, see :func:`fourfold.core.construct`.

    Raises:
        BrokenRun: naming the file that is missing, is damaged, or does not fit the others.
    """
    folder = Path(folder)
    path = folder / "weights.safetensors"
    if not path.exists() and resumable(folder):
        raise BrokenRun(f"{path} is missing: training has not reached its first checkpoint; go on with --resume")
    model = untrained_model(folder, path, trust)
    load_weights(model, path)
    channels_last(model)
    return model.eval()


def load_weights(model: GenerativeModel, path: Path) -> None:
    """Load all parameters and buffers of a model from a file.

    Raises:
        BrokenRun: if the file is damaged, belongs to another model, or holds NaN.
    """
    tensors, metadata = _read_tensors(path)
    with _tensors(path):
        shared = json.loads(metadata.get("shared", "{}"))
        tensors |= {key: tensors[owner] for key, owner in shared.items()}
    _give(model, tensors, path)


def undefined(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor that holds NaN, if one does."""
    return next((name for name, value in tensors.items() if value.is_floating_point() and value.isnan().any()), None)


def _give(model: GenerativeModel, tensors: Mapping[str, Tensor], path: Path, strict: bool = True) -> None:
    """Copy tensors into a model by their names."""
    if name := undefined(tensors):
        raise BrokenRun(f"{path} holds NaN ({name}): restore it from a copy, or train again")
    try:
        model.load_state_dict(tensors, strict=strict)
    except RuntimeError as error:
        raise BrokenRun(f"{path} does not fit model.json ({_second_line(error)}): {TWO_RUNS}") from None


def untrained_model(folder: Path, source: Path, trust: Sequence[type] = ()) -> GenerativeModel:
    """The model that ``model.json`` describes, untrained.

    Args:
        folder: the run folder.
        source: the file of the model's tensors. The model may not ask for more than it holds.
        trust: as for :func:`load_model`.

    Raises:
        BrokenRun: naming the file that is missing, is damaged, or does not fit the other.
    """
    path = folder / "model.json"
    value = read_json(path)
    with _tensors(source / REST if source == newest(folder) else source):
        header = read_header(source)
    try:
        return build(value, header, trust)
    except TooLarge as error:
        raise BrokenRun(f"{source} does not fit model.json ({error}): {TWO_RUNS}") from None
    except Exception as error:  # whatever a constructor raises for settings that may come from anywhere
        raise BrokenRun(f"{path} does not describe a model of this version: {_line(error)}") from None


TWO_RUNS = "they are of two runs, or of another version; restore both from one copy, or train again"
"""The cause and the way out where two files of a run do not fit each other."""


def _second_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    return (lines[1] if len(lines) > 1 else lines[0])[:120]


# --- checkpoints ------------------------------------------------------------------------------------------------------


@final
@dataclass(frozen=True)
class Checkpoint:
    """The state that training continues from: tensors of :meth:`fourfold.engine.loop.Loop.state`, and the progress."""

    state: Mapping[str, Tensor]
    progress: Progress


def _state(folder: Path) -> Path:
    return folder / "resume" / "state.safetensors"


def _start(folder: Path) -> Path:
    return folder / "resume" / "start.safetensors"


def has_weights(folder: Path) -> bool:
    """True if the folder holds weights to draw samples with."""
    return (folder / "weights.safetensors").exists()


def has_state(folder: Path) -> bool:
    """True if the folder holds a checkpoint of the model itself, and not only of its stages."""
    return _state(folder).exists() or newest(folder) is not None


def has_start(folder: Path) -> bool:
    """True if the folder holds the initial weights of a model whose stages are trained first."""
    return _start(folder).exists()


def resumable(folder: Path) -> bool:
    """True if the folder holds a run, at whatever stage, that can go on."""
    state = has_state(folder) or has_start(folder) or (folder / "stages").exists()
    return state and (folder / "card.json").exists()


def check_vacant(folder: Path) -> None:
    """Refuse a folder whose run would be overwritten (``ValueError``)."""
    if has_state(folder) or resumable(folder):
        raise ValueError(
            f"folder must be new, got {folder}, which holds a run already: resume it, remove it, or choose another"
        )
    if has_weights(folder):
        raise ValueError(
            f"folder must be new, got {folder}, which holds weights of a trained model: remove it, or choose another"
        )


def save_start(model: GenerativeModel, folder: Path) -> None:
    """Write ``resume/start.safetensors``: the weights before the model's stages are trained."""
    _save_weights(model, _start(folder))


def save_checkpoint(
    live: Mapping[str, Tensor],
    numbers: Mapping[str, Tensor],
    progress: Progress,
    folder: Path,
    processes: Processes = ALONE,
) -> None:
    """Write a checkpoint: one file by the first process, or, if processes hold shards, a folder by all together.

    Args:
        live: the tensors of training.
        numbers: further tensors, which every process holds.
        progress: how far training is.
        folder: the run folder.
        processes: the processes.
    """
    if not processes.saves_alone:
        save_shards(live, numbers, progress, folder, processes)
    elif processes.rank == 0:
        metadata = {"progress": json.dumps(asdict(progress)), "fixed": "yes"}
        _write({**live, **numbers}, metadata, _state(folder))  # one file, so it is either the new or the old one
        remove_shards(folder)
        _start(folder).unlink(missing_ok=True)


def last_checkpoint(folder: Path) -> Path | None:
    """The file or folder of tensors that training continues from, if there is one."""
    places = (newest(folder), _state(folder), _start(folder))
    return next((path for path in places if path is not None and path.exists()), None)


def recorded_secret(folder: Path) -> bytes | None:
    """The secret of a training under a guarantee of privacy. ``None`` before its first checkpoint.

    Raises:
        BrokenRun: if the checkpoint has none. Another one would spend the guarantee twice.
    """
    path = _state(folder)
    if not path.exists():
        return None
    tensors, _ = _read_tensors(path)
    if "privacy.secret" not in tensors:
        raise BrokenRun(f"{path} has no secret to go on under its guarantee of privacy: train again in another folder")
    return bytes(tensors["privacy.secret"].tolist())


def load_checkpoint(model: GenerativeModel, folder: Path) -> Checkpoint:
    """Read what :func:`save_checkpoint` wrote, and give the model its buffers and the parameters that are not trained.

    Raises:
        BrokenRun: if the checkpoint is damaged or belongs to another model.
    """
    path = newest(folder) or _state(folder)
    tensors: Mapping[str, Tensor]
    if path == newest(folder):
        with _tensors(path / REST):
            tensors = Shards(path)
            metadata = tensors.metadata
    else:
        tensors, metadata = _read_tensors(path)
    if "progress" not in metadata:
        raise BrokenRun(f"{path} does not record how far training was: begin again in another folder")
    with _tensors(path / REST if path == newest(folder) else path):
        numbers = json.loads(metadata["progress"])
        if not all(isinstance(number, (int, float)) for number in numbers.values()):
            raise ValueError("its progress does not consist of numbers")
        progress = Progress(**numbers)
    values = {key.partition(".")[2]: value for key, value in tensors.items() if key.startswith(("buffer.", "fixed."))}
    names = {name for name, _ in (*model.named_parameters(), *model.named_buffers())}
    if not values.keys() <= names:
        raise BrokenRun(f"{path} does not fit model.json (it holds {min(values.keys() - names)}): {TWO_RUNS}")
    _give(model, values, path, strict=False)
    return Checkpoint(tensors, progress)
