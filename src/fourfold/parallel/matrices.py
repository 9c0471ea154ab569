"""A function of whole matrices, where each process holds some rows of every matrix."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fourfold.parallel.processes import Processes
from fourfold.parallel.shards import rows_of

__all__ = ["on_whole"]


def on_whole(
    function: Callable[[Sequence[Tensor]], list[Tensor]],
    parts: Sequence[Tensor],
    rows: Sequence[int],
    processes: Processes,
) -> list[Tensor]:
    """The rows of this process of ``function(matrices)``, from its rows of every matrix.

    Where processes share the rows, each matrix is sent to one process, which applies the function and sends the rows
    of the result back: every process does a part of the work.

    Args:
        function: maps matrices to matrices of the same shapes, each by itself.
        parts: this process's rows of each matrix, ``(rows, columns)``.
        rows: the rows of each whole matrix.
        processes: the processes.
    """
    if not processes.sharded:
        return function(parts)
    rank, world, ranks = processes.rank, processes.world, range(processes.world)
    shapes = [(n, part.shape[1]) for n, part in zip(rows, parts, strict=True)]
    owners = _owners(shapes, world)
    own_shapes = [shape for shape, owner in zip(shapes, owners, strict=True) if owner == rank]
    sizes = {r: [_count(n, r, world) * columns for n, columns in own_shapes] for r in ranks}
    outgoing = [[part for part, owner in zip(parts, owners, strict=True) if owner == r] for r in ranks]
    incoming = processes.exchange([_flat(group, parts[0]) for group in outgoing], [sum(sizes[r]) for r in ranks])
    blocks = [torch.split(part, sizes[r]) for r, part in enumerate(incoming)]
    matrices = [torch.cat([blocks[r][i].view(-1, columns) for r in ranks]) for i, (_, columns) in enumerate(own_shapes)]
    results = [result.float() for result in function(matrices)]
    back = [_flat([m[slice(*rows_of(len(m), r, world))] for m in results], parts[0]) for r in ranks]
    returned = processes.exchange(back, [sum(part.numel() for part in outgoing[r]) for r in ranks])
    streams = [iter(torch.split(part, [p.numel() for p in outgoing[r]])) for r, part in enumerate(returned)]
    return [next(streams[owner]).view_as(part) for part, owner in zip(parts, owners, strict=True)]


def _count(rows: int, rank: int, world: int) -> int:
    """The number of rows that a process holds."""
    start, stop = rows_of(rows, rank, world)
    return stop - start


def _owners(shapes: Sequence[tuple[int, int]], world: int) -> list[int]:
    """The process that works on each matrix: the largest first, to the one with the least work."""
    work, owners = [0.0] * world, [0] * len(shapes)
    costs = [rows * columns * min(rows, columns) for rows, columns in shapes]
    for i in sorted(range(len(shapes)), key=lambda i: -costs[i]):
        owners[i] = work.index(min(work))
        work[owners[i]] += costs[i]
    return owners


def _flat(parts: Sequence[Tensor], like: Tensor) -> Tensor:
    """The numbers of several tensors in one flat tensor."""
    return torch.cat([part.reshape(-1) for part in parts]) if parts else like.new_empty(0)
