"""Checkpoints of sharded training: each process writes and reads its own rows, by ``torch.distributed.checkpoint``.

A checkpoint is a folder ``resume/shards-STEP`` of safetensors files, from which any number of processes goes on: one
file per process holds its rows, and ``rest.safetensors`` what all processes hold. Nothing in it is unpickled. The
folder gets its name when it is complete.
"""

from __future__ import annotations

import json
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import final

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from fourfold.parallel.processes import Processes, local, rows_of
from fourfold.runs.budget import Progress
from fourfold.runs.files import write_bytes

__all__ = ["Shards", "fill", "newest", "remove_shards", "save_shards"]

REST = "rest.safetensors"
_NAME = re.compile(r"shards-([0-9]+)")


@final
class Shards(Mapping[str, Tensor]):
    """The tensors of a checkpoint: those that are not sharded by name, and the names of the others.

    Args:
        path: the folder of the checkpoint.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with safe_open(path / REST, framework="pt") as file:
            self.rest = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            self.metadata: Mapping[str, str] = file.metadata() or {}
        self.sharded: set[str] = set()
        for part in path.glob("shard-*.safetensors"):
            with safe_open(part, framework="pt") as file:
                self.sharded |= set(file.keys())

    def __getitem__(self, name: str) -> Tensor:
        return self.rest[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.rest)

    def __len__(self) -> int:
        return len(self.rest)

    def __contains__(self, name: object) -> bool:
        return name in self.rest or name in self.sharded

    def load(self, live: Mapping[str, Tensor]) -> None:
        """Fill sharded or whole tensors, in place; processes that hold shards must ask together."""
        from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
        from torch.distributed.checkpoint.state_dict_loader import load

        alone = not any(hasattr(value, "to_local") for value in live.values())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that one process loads alone
            load(dict(live), storage_reader=HuggingFaceStorageReader(str(self.path)), no_dist=alone)


def fill(live: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    """Copy saved tensors into those of training, by name; of a sharded one, the rows that this process holds.

    Raises:
        ValueError: naming a tensor that the saved state lacks, or holds in another size.
    """
    if missing := min((key for key in live if key not in state), default=""):
        raise ValueError(f"the saved state lacks {missing}: resume with what it was started with")
    apart = {key: value for key, value in live.items() if isinstance(state, Shards) and key in state.sharded}
    for key, value in live.items():
        if key in apart:
            continue
        if value.shape != state[key].shape:
            raise ValueError(f"{key} is saved in another size: resume with what it was started with")
        local(value).copy_(_rows(state[key], value))
    if apart:
        assert isinstance(state, Shards)
        state.load(apart)


def _rows(saved: Tensor, value: Tensor) -> Tensor:
    """The rows of a whole tensor that belong to a sharded one."""
    mesh = getattr(value, "device_mesh", None)
    return saved if mesh is None else saved[slice(*rows_of(len(saved), mesh.get_local_rank(), mesh.size()))]


def newest(folder: Path) -> Path | None:
    """The latest complete checkpoint of shards in a run folder, if there is one."""
    found = {int(match[1]): path for path in folder.glob("resume/shards-*") if (match := _NAME.fullmatch(path.name))}
    return found[max(found)] if found else None


def remove_shards(folder: Path, keep: Path | None = None) -> None:
    """Remove the checkpoints of shards in a run folder, complete or not, but for one."""
    for path in [*folder.glob("resume/shards-*"), *folder.glob("resume/.shards")]:
        if path != keep:
            shutil.rmtree(path, ignore_errors=True)


def save_shards(
    live: Mapping[str, Tensor], numbers: Mapping[str, Tensor], progress: Progress, folder: Path, processes: Processes
) -> None:
    """Write a checkpoint; all processes must take part.

    Args:
        live: the tensors of training, of which some are sharded.
        numbers: further tensors, which every process holds.
        progress: how far training is.
        folder: the run folder.
        processes: the processes.
    """
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save as save_rows

    path, temporary = folder / "resume" / f"shards-{progress.steps}", folder / "resume" / ".shards"
    if processes.rank == 0:
        remove_shards(folder, keep=newest(folder))
        temporary.mkdir(parents=True)
    processes.largest(0)  # nobody writes before the folder is there
    sharded = {key: value for key, value in live.items() if hasattr(value, "to_local")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        save_rows(sharded, storage_writer=HuggingFaceStorageWriter(str(temporary), save_distributed=True))
    if processes.rank == 0:
        rest = {key: value for key, value in live.items() if key not in sharded} | dict(numbers)
        tensors = {key: value.detach().cpu().contiguous().clone() for key, value in rest.items()}
        write_bytes(temporary / REST, save(tensors, {"progress": json.dumps(asdict(progress)), "fixed": "yes"}))
        shutil.rmtree(path, ignore_errors=True)
        temporary.rename(path)
        remove_shards(folder, keep=path)
        (folder / "resume" / "state.safetensors").unlink(missing_ok=True)
    processes.largest(0)  # nobody goes on before the checkpoint has its name
