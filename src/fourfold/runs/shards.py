"""Checkpoints of trainings whose processes hold shards (``fsdp``): each process writes and reads its own rows.

A checkpoint is a folder ``resume/shards-STEP`` of safetensors files, from which any number of processes goes on: one
file per process holds its rows, and ``rest.safetensors`` the tensors that all processes hold. Nothing in it is
unpickled. The folder gets its name when it is complete.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import final

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from fourfold.parallel.processes import Processes
from fourfold.parallel.shards import local, read_shards, rows_for, write_shards
from fourfold.runs.budget import Progress
from fourfold.runs.files import write_bytes

__all__ = ["Shards", "fill", "newest", "remove_shards", "save_shards"]

REST = "rest.safetensors"
_NAME = re.compile(r"shards-([0-9]+)")


@final
class Shards(Mapping[str, Tensor]):
    """The tensors of a checkpoint: those in ``rest.safetensors`` by name, and the names of those in rows.

    Args:
        path: the folder of the checkpoint.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with safe_open(path / REST, framework="pt") as file:
            self.rest = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            self.metadata: Mapping[str, str] = file.metadata() or {}
        self.in_rows: set[str] = set()
        for part in path.glob("shard-*.safetensors"):
            with safe_open(part, framework="pt") as file:
                self.in_rows |= set(file.keys())

    def __getitem__(self, name: str) -> Tensor:
        return self.rest[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.rest)

    def __len__(self) -> int:
        return len(self.rest)

    def __contains__(self, name: object) -> bool:
        return name in self.rest or name in self.in_rows


def fill(live: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    """Copy saved tensors into those of training, by name. Each process takes the rows that it holds.

    Raises:
        ValueError: naming a tensor that the saved state lacks, or holds in another size.
    """
    if missing := min((key for key in live if key not in state), default=""):
        raise ValueError(f"the saved state must have {missing}, got none: resume with the settings of the run")
    in_rows = {key: live[key] for key in live.keys() & state.in_rows} if isinstance(state, Shards) else {}
    for key, value in live.items():
        if key in in_rows:
            continue
        if value.shape != state[key].shape:
            raise ValueError(
                f"{key} must have the shape {tuple(value.shape)}, got {tuple(state[key].shape)}; resume the same run"
            )
        local(value).copy_(rows_for(value, state[key]))
    if isinstance(state, Shards) and in_rows:
        read_shards(in_rows, state.path)


def newest(folder: Path) -> Path | None:
    """The latest complete checkpoint of shards in a run folder, if there is one."""
    paths = {int(match[1]): path for path in folder.glob("resume/shards-*") if (match := _NAME.fullmatch(path.name))}
    return paths[max(paths)] if paths else None


def remove_shards(folder: Path, keep: Path | None = None) -> None:
    """Remove the checkpoints of shards in a run folder, complete or not, but for one."""
    for path in [*folder.glob("resume/shards-*"), *folder.glob("resume/.shards")]:
        if path != keep:
            shutil.rmtree(path, ignore_errors=True)


def save_shards(
    live: Mapping[str, Tensor], numbers: Mapping[str, Tensor], progress: Progress, folder: Path, processes: Processes
) -> None:
    """Write a checkpoint. All processes must take part.

    Args:
        live: the tensors of training.
        numbers: further tensors, which every process holds.
        progress: how far training is.
        folder: the run folder.
        processes: the processes.
    """
    path, temporary = folder / "resume" / f"shards-{progress.steps}", folder / "resume" / ".shards"
    if processes.rank == 0:
        remove_shards(folder, keep=newest(folder))
        temporary.mkdir(parents=True)
    processes.wait()  # no process writes before the folder is there
    rest = write_shards(live, temporary) | dict(numbers)
    if processes.rank == 0:
        tensors = {key: value.detach().cpu().contiguous().clone() for key, value in rest.items()}
        write_bytes(temporary / REST, save(tensors, {"progress": json.dumps(asdict(progress)), "fixed": "yes"}))
        shutil.rmtree(path, ignore_errors=True)
        temporary.rename(path)
        remove_shards(folder, keep=path)
        (folder / "resume" / "state.safetensors").unlink(missing_ok=True)
    processes.wait()  # no process goes on before the checkpoint has its name
