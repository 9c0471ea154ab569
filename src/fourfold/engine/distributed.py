"""Several processes that train one model. No other module knows that there may be more than one.

Every process computes the gradient of its part of a batch, and one collective operation averages the flat gradients.
Two processes hence take the step that one would take with both halves. Start them with ``torchrun``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TypeVar, final

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")

__all__ = ["ALONE", "Processes", "join"]


@final
@dataclass(frozen=True)
class Processes:
    """The ``rank`` of this process among ``world`` processes."""

    rank: int = 0
    world: int = 1

    def average(self, tensor: Tensor) -> None:
        """Replace a tensor by its mean over all processes, in place."""
        if self.world > 1:
            dist.all_reduce(tensor)
            tensor.div_(self.world)

    def broadcast(self, tensor: Tensor) -> None:
        """Replace a tensor by that of the first process, in place."""
        if self.world > 1:
            dist.broadcast(tensor, 0)

    def largest(self, mine: int) -> int:
        """The largest of the numbers that the processes give."""
        if self.world == 1:
            return mine
        number = torch.tensor(mine)
        dist.all_reduce(number, dist.ReduceOp.MAX)
        return int(number)

    def same(self, mine: T) -> T:
        """The object of the first process, in every process."""
        if self.world == 1:
            return mine
        box = [mine]
        dist.broadcast_object_list(box, 0)
        return box[0]

    def gather(self, part: Tensor) -> Tensor:
        """The parts of all processes, concatenated by rank, in every process."""
        if self.world == 1:
            return part
        parts: list[Tensor] = [part] * self.world
        dist.all_gather_object(parts, part)
        return torch.cat(parts)

    def share(self, n: int) -> tuple[int, int]:
        """The half-open range of indices out of ``n`` that this process works on."""
        return n * self.rank // self.world, n * (self.rank + 1) // self.world


ALONE = Processes()
"""A process that trains alone."""


def join() -> Processes:
    """Join the other processes that ``torchrun`` started, if it did."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return ALONE
    if not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return Processes(dist.get_rank(), dist.get_world_size())
