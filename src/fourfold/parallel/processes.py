"""Several processes that train one model: how they meet, and how they exchange numbers. ``torchrun`` starts them.

Either each process holds all weights and PyTorch's ``DistributedDataParallel`` averages the gradients, or each holds
its shard of every parameter and ``fully_shard`` (FSDP2) brings the rows together where they are needed: see
:mod:`fourfold.parallel.wrappers`.
"""

from __future__ import annotations

import atexit
import contextlib
import datetime
import os
import re
import signal
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, final

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

T = TypeVar("T")

__all__ = [
    "ALONE",
    "LostProcess",
    "Processes",
    "join",
    "losing",
    "restarted",
    "under_torchrun",
]

PATIENCE = datetime.timedelta(minutes=10)
"""The longest wait for another process that still answers. One that dies is noticed at once."""


class LostProcess(RuntimeError):  # noqa: N818 (what happened)
    """Another process of the training is gone, so this one cannot go on."""


@final
@dataclass(frozen=True)
class Processes:
    """The ``rank`` of this process among ``world`` processes.

    Attributes:
        rank, world: as above.
        sharded: whether each process holds a shard of every parameter, instead of all parameters. Only this room asks.
    """

    rank: int = 0
    world: int = 1
    sharded: bool = False

    def sharing(self, sharded: bool) -> Processes:
        """The same processes, with or without shards."""
        return replace(self, sharded=sharded)

    # --- abilities ----------------------------------------------------------------------------------------------------

    @property
    def way(self) -> str:
        """How the processes share a training: ``none``, ``ddp`` or ``fsdp``."""
        return "none" if self.world == 1 else "fsdp" if self.sharded else "ddp"

    @property
    def copies(self) -> bool:
        """Whether a process can copy its model, to try something on the copy."""
        return not self.sharded

    @property
    def mixes_dtypes(self) -> bool:
        """Whether parameters of one term may have several dtypes: shards are brought together in one."""
        return not self.sharded

    @property
    def saves_alone(self) -> bool:
        """Whether a process holds everything that a checkpoint needs."""
        return not self.sharded

    # --- numbers and objects ------------------------------------------------------------------------------------------

    def total(self, tensor: Tensor) -> None:
        """Replace a tensor by its sum over all processes, in place."""
        if self.world > 1:
            dist.all_reduce(tensor)

    def average(self, tensor: Tensor) -> None:
        """Replace a tensor by its mean over all processes, in place."""
        if self.world > 1:
            dist.all_reduce(tensor)
            tensor.div_(self.world)

    def broadcast(self, tensor: Tensor) -> None:
        """Replace a tensor by that of the first process, in place."""
        if self.world > 1:
            dist.broadcast(tensor, 0)

    def exchange(self, parts: Sequence[Tensor], sizes: Sequence[int]) -> list[Tensor]:
        """Send the ``i``-th tensor to process ``i``. Return the tensors that this process received, flat.

        Args:
            parts: a flat tensor for each process.
            sizes: the number of elements that each process sends to this one.
        """
        received = parts[0].new_empty(sum(sizes))
        dist.all_to_all_single(received, torch.cat(list(parts)), list(sizes), [part.numel() for part in parts])
        return list(torch.split(received, list(sizes)))

    def norm(self, parts: Sequence[Tensor], common: Iterable[Tensor]) -> float:
        """The norm of a vector over all processes.

        Args:
            parts: the elements that this process holds.
            common: those of them that every process holds, which count once. They are read from shards alone.
        """
        norm = torch.stack([part.norm() for part in parts]).norm()
        if not self.sharded:
            return float(norm)
        norms = [part.norm() for part in common]
        once = torch.stack(norms).square().sum() if norms else torch.zeros_like(norm)
        squared = norm.square() - once
        self.total(squared)
        return float((squared + once).sqrt())

    def largest(self, number: int) -> int:
        """The maximum over all processes."""
        if self.world == 1:
            return number
        maximum = torch.tensor(number)
        dist.all_reduce(maximum, dist.ReduceOp.MAX)
        return int(maximum)

    def smallest(self, number: int) -> int:
        """The minimum over all processes."""
        return -self.largest(-number)

    def wait(self) -> None:
        """Return when every process has called this."""
        self.largest(0)

    def agreed(self, due: bool) -> bool:
        """Whether to do now what is ``due`` by the clock of this process, or, if all must do it, of the first."""
        return due if self.saves_alone else self.same(due)

    def same(self, value: T) -> T:
        """The object of the first process, in every process."""
        if self.world == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, 0)
        return box[0]

    def all(self, value: T) -> list[T]:
        """The objects of all processes, by rank, in every process."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value)
        return values

    def gather(self, part: Tensor) -> Tensor:
        """The parts of all processes, concatenated by rank, in every process."""
        return torch.cat(self.all(part)) if self.world > 1 else part

    def share(self, n: int) -> tuple[int, int]:
        """The half-open range of indices out of ``n`` that this process works on."""
        return n * self.rank // self.world, n * (self.rank + 1) // self.world


ALONE = Processes()
"""A process that trains alone."""


def under_torchrun() -> bool:
    """Whether ``torchrun`` started this process together with others."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def restarted() -> bool:
    """Whether ``torchrun`` started the processes again, after one of the first was lost. All must ask together.

    Only the machine that lost a process counts the restart.
    """
    return join().largest(int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))) > 0


def join() -> Processes:
    """Join the other processes that ``torchrun`` started, if it did. Each then uses the GPU of its number.

    A process whose ``torchrun`` is killed saves and ends, as it does after SIGTERM.

    Raises:
        LostProcess: if the processes cannot meet, with the address and the reason.
    """
    if not under_torchrun():
        return ALONE
    if not dist.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
        with _meeting():
            _meet()
        atexit.register(_part)
        if "TORCHELASTIC_RUN_ID" in os.environ:
            threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    return Processes(dist.get_rank(), dist.get_world_size())


def _meet() -> None:
    """Start the process group under the number of this start."""
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    store, rank, world = next(rendezvous("env://", timeout=PATIENCE))
    start_store = dist.PrefixStore(f"start-{_start(store, rank, world)}", store)  # type: ignore[attr-defined]
    dist.init_process_group(backend, store=start_store, rank=rank, world_size=world, timeout=PATIENCE)


@contextlib.contextmanager
def _meeting() -> Iterator[None]:
    """Inside, a start that fails says in one line where the processes were to meet, and why they did not.

    Raises:
        LostProcess: if the processes cannot meet.
    """
    try:
        yield
    except LostProcess:
        raise
    except (RuntimeError, ValueError) as error:
        rank, world = os.environ.get("RANK", "?"), os.environ["WORLD_SIZE"]
        address = ":".join(os.environ.get(name, "?") for name in ("MASTER_ADDR", "MASTER_PORT"))
        raise LostProcess(
            f"process {rank} of {world} cannot meet the others at {address} ({_first_line(error)}): start them again, "
            "or on another port with torchrun --master-port=PORT; GLOO_SOCKET_IFNAME names the network interface"
        ) from None


def _part() -> None:
    """Leave the others: threads of gloo that outlive the interpreter may abort a process that has done its work."""
    if dist.is_initialized():
        with contextlib.suppress(RuntimeError):
            dist.destroy_process_group()


def _end_with(parent: int) -> None:
    """Wait until the process ``parent`` is gone, then ask this one to save and end."""
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


def _first_line(error: BaseException) -> str:
    """The first line of an error of a library, without the place in its source."""
    return (str(error).splitlines() or [type(error).__name__])[0].rpartition("] ")[2][:160]


def _start(store: Any, rank: int, world: int) -> str:
    """The number of this start, drawn by the first process and told to each of the others that lives.

    ``torchrun`` keeps one store over all restarts, with the addresses of processes that are gone, and agents of several
    machines count restarts differently. So each process asks under a name of its own, and the first answers all who
    ask until all of this start have heard it.
    """
    if rank:
        name = uuid.uuid4().hex
        store.set(f"asks/{rank}", name)
        number: str = store.get(f"start-of/{name}").decode()
        store.set(f"heard/{number}/{rank}", "")
        return number
    number, ranks, until = str(store.add("starts", 1)), range(1, world), time.monotonic() + PATIENCE.total_seconds()
    while not store.check([f"heard/{number}/{r}" for r in ranks]):
        for r in ranks:
            if store.check([f"asks/{r}"]):
                store.set(f"start-of/{store.get(f'asks/{r}').decode()}", number)
        if time.monotonic() > until:
            raise LostProcess(f"process 0 of {world} waited {PATIENCE} for the others to start: see their messages")
        time.sleep(0.02)
    return number


_LOST = re.compile(r"gloo|nccl|peer|connection|timed out|timeout|broken pipe|socket|store", re.IGNORECASE)


@contextlib.contextmanager
def losing() -> Iterator[None]:
    """Inside, the error of a collective operation becomes one line that says what happened and how to go on.

    Raises:
        LostProcess: if another process is gone or does not answer.
    """
    try:
        yield
    except RuntimeError as error:
        if not under_torchrun() or isinstance(error, LostProcess) or not _LOST.search(str(error)):
            raise
        rank, world = os.environ.get("RANK", "?"), os.environ["WORLD_SIZE"]
        raise LostProcess(
            f"process {rank} of {world} stops, because another one is gone ({_first_line(error)}): "
            "go on from the last checkpoint with --resume; torchrun --max-restarts=N does it by itself"
        ) from None
