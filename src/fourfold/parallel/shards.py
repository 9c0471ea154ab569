"""Tensors of which several processes hold some rows each. This room alone asks whether a tensor is one of them.

Every function takes tensors of either sort, and leaves those that a process holds whole as they are.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh

from fourfold.machine.libraries import checkpoint, fsdp
from fourfold.parallel.processes import Processes

__all__ = [
    "is_sharded",
    "like",
    "local",
    "memory",
    "read_shards",
    "rows_for",
    "rows_of",
    "shard",
    "shard_module",
    "whole",
    "write_shards",
]


def is_sharded(tensor: Tensor) -> bool:
    """Whether processes share the rows of a tensor."""
    return hasattr(tensor, "to_local")


def local(tensor: Tensor) -> Tensor:
    """The rows of a tensor that this process holds."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def shard(parameter: Tensor) -> Tensor | None:
    """The rows of a parameter that this process holds. ``None`` if it holds all, and its data may be exchanged."""
    return local(parameter.data) if is_sharded(parameter) else None


@torch.no_grad()
def whole(tensor: Tensor) -> Tensor:
    """All rows of a tensor. If processes share them, all processes must ask together."""
    mesh = getattr(tensor, "device_mesh", None)
    if mesh is None:
        return tensor.detach()
    rows, world = local(tensor.detach()), mesh.size()
    part = rows.new_zeros(-(-len(tensor) // world), *tensor.shape[1:])
    part[: len(rows)] = rows
    parts = [torch.empty_like(part) for _ in range(world)]
    dist.all_gather(parts, part, mesh.get_group())
    return torch.cat(parts)[: len(tensor)]


def like(parameter: Tensor, rows: Tensor) -> Tensor:
    """Rows as this process's part of a tensor that is divided as a parameter is. They share their memory."""
    if not is_sharded(parameter):
        return rows
    sharded: Any = parameter.data
    size = {"shape": sharded.shape, "stride": sharded.stride()}
    return type(sharded).from_local(rows, sharded.device_mesh, sharded.placements, run_check=False, **size)


def rows_for(tensor: Tensor, values: Tensor) -> Tensor:
    """The rows of ``values``, which are whole, that belong to this process's part of a tensor."""
    mesh = getattr(tensor, "device_mesh", None)
    return values if mesh is None else values[slice(*rows_of(len(values), mesh.get_local_rank(), mesh.size()))]


def rows_of(rows: int, rank: int, world: int) -> tuple[int, int]:
    """The half-open range of ``rows`` that a process holds: equal parts, of which the last ones may be short or empty.

    This is how ``torch.chunk``, and with it ``fully_shard``, divides the first dimension.
    """
    part = -(-rows // world)
    return min(rank * part, rows), min((rank + 1) * part, rows)


def memory(tensor: Tensor) -> object:
    """An object that is equal for tensors in the same memory. Shards, which may be empty, are equal to themselves."""
    if is_sharded(tensor):
        return id(tensor)
    return tensor.untyped_storage().data_ptr(), tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype


def shard_module(module: nn.Module, processes: Processes, low: bool, ignored: set[nn.Parameter] | None = None) -> None:
    """Divide the parameters of a module, unless that is done: see :class:`~fourfold.parallel.wrappers.Sharded`."""
    if isinstance(module, fsdp.FSDPModule):
        return
    device = next((p.device.type for p in module.parameters()), "cpu")
    dtypes = {"param_dtype": torch.bfloat16, "reduce_dtype": torch.float32} if low else {}
    policy = fsdp.MixedPrecisionPolicy(**dtypes, cast_forward_inputs=False)
    mesh = init_device_mesh(device, (processes.world,))
    fsdp.fully_shard(module, mesh=mesh, mp_policy=policy, ignored_params=ignored)


def write_shards(tensors: Mapping[str, Tensor], folder: Path) -> dict[str, Tensor]:
    """Write the rows of each process to a safetensors file of its own. All processes must ask together.

    Returns:
        The tensors that every process holds whole, which are not written.
    """
    parts = {name: tensor for name, tensor in tensors.items() if is_sharded(tensor)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        writer = checkpoint.hf_storage.HuggingFaceStorageWriter(str(folder), save_distributed=True)
        checkpoint.state_dict_saver.save(parts, storage_writer=writer)
    return {name: tensor for name, tensor in tensors.items() if name not in parts}


def read_shards(tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Fill tensors, whole or not, from the files of :func:`write_shards`. Processes that share rows ask together."""
    alone = not any(map(is_sharded, tensors.values()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that one process loads alone
        reader = checkpoint.hf_storage.HuggingFaceStorageReader(str(folder))
        checkpoint.state_dict_loader.load(dict(tensors), storage_reader=reader, no_dist=alone)
