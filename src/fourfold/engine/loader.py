"""Batches as a function of the step: rows of one tensor, or of files, which worker processes read ahead."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from fourfold.core import Batch, Space
from fourfold.data import DataError, Split
from fourfold.tasks.examples import raw_examples

if TYPE_CHECKING:
    from fourfold.data.stored import Streamed

__all__ = ["Ahead", "Batches", "FileLoader", "Loader", "Stream", "free_workers"]

Batches = Callable[[int], Batch]
"""Maps the index of a step to a raw batch. Training sees nothing else of the data."""


@final
class Loader:
    """Random batches of raw examples, so that the position in the data is a function of the step.

    Epoch ``e`` is a permutation drawn from ``(seed, e)``, cut into batches, the ragged last one dropped. For a stream,
    such as a text, the batch of step ``i`` consists of windows whose starts are drawn from ``(seed, i)``.

    Args:
        split: raw examples and labels.
        space: the space of the examples.
        batch_size: examples in one step, over all processes.
        seed: seed of the order.
        rank, world: this process takes part ``rank`` of the ``world`` equal parts of every batch.
        parts: parts into which a batch is divided in all. By default ``world``.

    Raises:
        ValueError: if the batch cannot be divided among the processes, or a text is shorter than a window.
    """

    def __init__(
        self, split: Split, space: Space, batch_size: int, seed: int, rank: int = 0, world: int = 1, parts: int = 0
    ) -> None:
        self.split, self.window, self.seed = split, space.window, seed
        self.starts = None if self.window is None else space.starts(split.x)
        self.examples = len(split.x) - (self.window or 1) + 1 if self.starts is None else len(self.starts)
        if self.examples < 1:
            raise ValueError(
                f"data must have at least {self.window} {space.item_name}, a window, got {len(split.x)}; shorten length"
            )
        parts = parts or world
        self.batch_size = _divisible(batch_size, self.examples if self.window is None else batch_size * parts, parts)
        share = self.batch_size // world
        self._part = slice(rank * share, (rank + 1) * share)
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.long)

    @property
    def steps_per_epoch(self) -> int:
        """Steps in one pass over the data."""
        if self.window is not None:
            return max(len(self.split.x) // (self.batch_size * self.window), 1)
        return self.examples // self.batch_size

    def __call__(self, step: int) -> Batch:
        """The raw batch of a step."""
        if self.window is not None:
            starts = torch.randint(self.examples, (self.batch_size,), generator=_generator(self.seed, step))
            starts = starts if self.starts is None else self.starts[starts]
            return Batch(self.split.x[starts[self._part, None] + torch.arange(self.window)].long())
        rows = self._rows(*divmod(step, self.steps_per_epoch))
        return Batch(self.split.x[rows], None if self.split.cond is None else self.split.cond[rows])

    def _rows(self, epoch: int, index: int) -> Tensor:
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = torch.randperm(self.examples, generator=_generator(self.seed, epoch))
        return self._order[index * self.batch_size : (index + 1) * self.batch_size][self._part]


def _divisible(batch_size: int, examples: int, parts: int) -> int:
    """A batch of at most all examples that can be divided into equal parts.

    Raises:
        ValueError: if there is none.
    """
    most = min(batch_size, examples // parts * parts)
    if most < 1 or most % parts:
        raise ValueError(f"batch_size must be divisible into {parts} equal parts, got {batch_size}; give a multiple")
    return most


@final
class FileLoader:
    """Random batches of examples that stay in their files. The position in the data is a function of the step.

    Args:
        streamed: the training examples.
        batch_size: examples in one step, over all processes.
        seed: seed of the order.
        rank, world: this process reads part ``rank`` of the ``world`` equal parts of every batch.
        conditional: whether batches have the labels or captions of the examples.
        parts: parts into which a batch is divided in all. By default ``world``.

    Raises:
        ValueError: if the batch cannot be divided among the processes.
    """

    def __init__(
        self,
        streamed: Streamed,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        conditional: bool = False,
        parts: int = 0,
    ) -> None:
        self.streamed, self.seed, self.conditional = streamed, seed, conditional
        self.batch_size = _divisible(batch_size, len(streamed), parts or world)
        self._share = self.batch_size // world
        self._first = rank * self._share

    @property
    def steps_per_epoch(self) -> int:
        """Steps in one pass over the data."""
        return len(self.streamed) // self.batch_size

    def __call__(self, step: int) -> Batch:
        """The raw batch of a step.

        Raises:
            DataError: for an example that cannot be read, with its file and place.
        """
        epoch, index = divmod(step, self.steps_per_epoch)
        start = index * self.batch_size + self._first
        batch = self.streamed.batch(self.streamed.rows(self.seed, epoch, start, start + self._share))
        return batch if self.conditional else Batch(batch.x)


@final
class Ahead:
    """Batches that worker processes prepare while the step computes.

    The batch of a step does not depend on them: a step out of turn, such as a trial, is read here.

    Args:
        batches: a loader, which every worker gets a copy of.
        workers: how many processes. With none, every batch is read when its step comes.
        each: how many batches each of them is ahead.
    """

    def __init__(self, batches: Batches, workers: int, each: int = 2) -> None:
        self.batches, self.workers, self.each = batches, workers, each
        self._latest, self._rest = -2, iter(())  # type: tuple[int, Iterator[Batch | DataError]]
        self._next = -1

    def __call__(self, step: int) -> Batch:
        """The raw batch of a step.

        Raises:
            DataError: for an example that cannot be read, with its file and place.
        """
        if step != self._next and step == self._latest + 1 and self.workers:
            self._rest, self._next = iter(self._loader(step)), step
        self._latest = step
        if step != self._next:
            return self.batches(step)
        self._next += 1
        batch = next(self._rest)
        if isinstance(batch, DataError):
            raise batch
        return batch

    def _loader(self, step: int) -> DataLoader[Batch | DataError]:
        """Batches from a step on. It has a generator of its own, since torch's global one belongs to the step."""
        return DataLoader(
            _Steps(self.batches),
            batch_size=None,
            sampler=itertools.count(step),
            num_workers=self.workers,
            prefetch_factor=self.each,
            generator=torch.Generator(),
        )


@final
class _Steps(TorchDataset[Batch | DataError]):
    """The batches as a data set of torch. Errors of the data are handed over, since torch would wrap them."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches

    def __getitem__(self, step: int) -> Batch | DataError:
        try:
            return self.batches(step)
        except DataError as error:
            return error


def free_workers(device: torch.device, processes: int) -> int:
    """The number of processes that read ahead for one that trains: one beside a CPU, up to eight beside a GPU."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 1 if device.type == "cpu" else max(min(cores // processes - 1, 8), 1)


@final
class Stream:
    """Batches in the order of an iterable that can be iterated again, such as a torch ``DataLoader`` or a list.

    The position is not a function of the step, so a run on a stream cannot be resumed to the bit.

    Args:
        batches: raw examples, or pairs of examples and labels, as tensors or arrays. At its end it begins again.
        space: the space of the examples. If it has no classes, labels are left out.

    Raises:
        TypeError: if ``batches`` cannot be iterated, or only once, or yields something other than examples.
    """

    FIRST = 10_000
    """Examples from which a codec takes its statistics, at most."""

    def __init__(self, batches: Iterable[Any], space: Space) -> None:
        if not isinstance(batches, Iterable) or isinstance(batches, (str, bytes, Iterator)):
            raise TypeError(
                "data must be a data set, a tensor or array of raw examples, batches that can be iterated again (a "
                f"DataLoader, a list), or a function from the step to a Batch, got {type(batches).__name__}"
            )
        self.batches, self.space = batches, space
        self._rest = iter(batches)

    @property
    def steps_per_epoch(self) -> int:
        """Steps in one pass. 1 if their number is unknown."""
        return len(self.batches) if isinstance(self.batches, Sized) else 1

    def first(self) -> Batch:
        """The first examples, for the statistics of codec and estimand."""
        parts: list[Batch] = []
        for batch in self.batches:
            parts.append(self._raw(batch))
            if sum(len(part.x) for part in parts) >= self.FIRST:
                break
        if not parts:
            raise TypeError("data must hold at least one batch, got none")
        conds = [part.cond for part in parts if part.cond is not None]
        return Batch(torch.cat([part.x for part in parts]), torch.cat(conds) if conds else None)

    def __call__(self, step: int) -> Batch:
        """The next raw batch. The number of the step is ignored."""
        batch = next(self._rest, None)
        if batch is None:
            self._rest = iter(self.batches)
            batch = next(self._rest)
        return self._raw(batch)

    def _raw(self, batch: Any) -> Batch:
        x, cond = batch if isinstance(batch, (tuple, list)) and len(batch) == 2 else (batch, None)
        if isinstance(batch, (tuple, list)) and len(batch) == 1:
            x = batch[0]
        raw = raw_examples(x, self.space)
        if cond is None or self.space.given is None:
            return Batch(raw)
        return Batch(raw, self.space.given.conditions(cond, len(raw)))


def _generator(seed: int, index: int) -> torch.Generator:
    """A generator of a seed and an index. Odd constants keep neighbouring pairs apart."""
    return torch.Generator().manual_seed((seed * 0x9E3779B97F4A7C15 + index * 0xD1B54A32D192ED03 + 1) % 2**63)
