"""Examples that stay in their files: read by number, split by a seed, shuffled as a function of the step."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from fourfold.core import Batch, Space
from fourfold.data.errors import DataError
from fourfold.data.memory import require
from fourfold.data.source import Source
from fourfold.spaces import Images

__all__ = ["Stored", "Streamed", "edges_within", "example_bytes", "random_rows"]

POOL = 1 << 26
"""Bytes of blocks that are mixed with each other in an epoch."""
TOUCHED = 1 << 28
"""Bytes of blocks from which held-out examples and the sample of statistics are drawn, at most."""


class Stored(ABC):
    """Raw examples that stay in files.

    Attributes:
        name: the file or folder, for messages.
        space: their space, unconditional.
        edges: ``(blocks + 1,)``, the first example of each block. The examples of a block lie together.
        block_bytes: the bytes of a block in its file, on average.
        official: how many examples at the end are an official test set.
        cond: the condition of each example, where these are in memory.
        given: the space of the conditions, or ``None``.
        where: where the examples come from, in words.
        notes: what reading changes.
        hint: the way out if conditions are needed and missing.
        columns: the names of columns beside the examples, where they are rows of tables.
        names: the name of each example, where each has a file.
    """

    name: str
    space: Space
    edges: np.ndarray
    block_bytes: float
    official: int = 0
    cond: Tensor | None = None
    given: Space | None = None
    where: str = ""
    notes: tuple[str, ...] = ()
    hint: str = "load it without given"
    columns: Sequence[str] = ()
    names: Sequence[str] = ()

    def batches(self, names: Sequence[str]) -> Iterable[Any]:
        """Some of the columns, for all examples, as batches of Arrow."""
        return ()

    def __len__(self) -> int:
        return int(self.edges[-1])

    @abstractmethod
    def select(self, rows: np.ndarray) -> tuple[Tensor, dict[int, str]]:
        """Raw examples ``(B, *shape)``, and the places in the batch of those that are skipped, each with its reason.

        Raises:
            DataError: for an example that cannot be read and is not skipped, with its file and place.
        """

    @abstractmethod
    def digest(self) -> str:
        """SHA-256 of sizes, names and a sample of the content, in hexadecimal."""

    def conditions(self, rows: np.ndarray) -> Tensor | None:
        """The conditions of examples, if they have some."""
        return None if self.cond is None else self.cond[torch.from_numpy(rows)]

    def examples(
        self, rows: np.ndarray, way: str = "give --limit, or a smaller file"
    ) -> tuple[Tensor, np.ndarray, tuple[str, ...]]:
        """Examples in memory, their rows without those that are skipped, and a line on each of the latter.

        They are read in the order of the files, by two threads.

        Args:
            rows: their numbers.
            way: the way out if they do not fit into memory.

        Raises:
            DataError: as :meth:`select` does, and if they do not fit or not one of them can be read.
        """
        require(2 * len(rows) * example_bytes(self.space), self.name, way)
        order = np.argsort(rows)
        with ThreadPoolExecutor(2) as threads:
            parts = list(threads.map(self.select, np.array_split(rows[order], max(len(rows) // 64, 1))))
        x = torch.cat([part for part, _ in parts])[torch.from_numpy(np.argsort(order))]
        starts = np.cumsum([0, *(len(part) for part, _ in parts)])
        reasons = dict[int, str]()
        for start, (_, skipped) in zip(starts.tolist(), parts, strict=False):
            reasons |= {int(order[start + i]): reason for i, reason in skipped.items()}
        if len(reasons) == len(rows):
            first = next(iter(reasons.values()))
            raise DataError(f"{self.name}: must have examples that can be read, got {len(rows)} others ({first})")
        good = np.setdiff1d(np.arange(len(rows)), list(reasons))
        return (x[torch.from_numpy(good)] if reasons else x), rows[good], tuple(reasons.values())

    def source(self, x: Tensor, cond: Tensor | None, skipped: tuple[str, ...], test: int = 0) -> Source:
        """Examples in memory as any other reader gives them.

        Args:
            x: the examples.
            cond: their conditions.
            skipped: a line on each example that was left out.
            test: how many at the end are an official test set.
        """
        return Source(
            x,
            self.space,
            self.where,
            cond=cond,
            given=self.given,
            test=test,
            skipped=skipped,
            notes=self.notes,
            hint=self.hint,
        )

    def source_of(self, rows: np.ndarray) -> Source:
        """Some examples, by their numbers in ascending order, as any other reader gives them."""
        x, rows, skipped = self.examples(rows)
        official = int((rows >= len(self) - self.official).sum())
        return self.source(x, self.conditions(rows), skipped, official if official < len(rows) else 0)


def example_bytes(space: Space) -> int:
    """Bytes of a raw example."""
    return math.prod(space.shape) * (1 if isinstance(space, Images) else 4)  # pixel values are bytes


def random_rows(stored: Stored, edges: np.ndarray, generator: np.random.Generator, least: int) -> np.ndarray:
    """Examples of randomly chosen blocks in random order: of as many blocks as :data:`TOUCHED` bytes hold, or more."""
    order = generator.permutation(len(edges) - 1)
    enough = int(np.searchsorted(np.cumsum(np.diff(edges)[order]), least)) + 1
    blocks = order[: max(enough, int(TOUCHED / max(stored.block_bytes, 1)), 2)]
    return generator.permutation(np.concatenate([np.arange(edges[i], edges[i + 1]) for i in blocks.tolist()]))


@final
class Streamed:
    """The training examples of stored data, each epoch in another order.

    An epoch takes the blocks in random order and mixes the examples of about :data:`POOL` bytes of blocks at a time, so
    that files are read in long parts. Its order is a function of seed and epoch: nothing needs to be kept to resume.

    Args:
        stored: the examples.
        held_out: the examples that are not trained on, ascending.
        conditional: whether batches have conditions.
        spare: training examples that stand in for those that are skipped, since they cannot be read.
        options: the arguments of :func:`fourfold.load` with which another process reads the same.
    """

    def __init__(
        self, stored: Stored, held_out: np.ndarray, conditional: bool, spare: Batch, options: Mapping[str, Any]
    ) -> None:
        self.stored, self.held_out, self.conditional = stored, held_out, conditional
        self.spare, self.options = spare, options
        self.edges = edges_within(stored.edges, 0, len(stored) - stored.official)
        self._counts = np.diff(self.edges) - np.histogram(held_out, self.edges)[0]
        self._pooled = max(int(POOL / max(stored.block_bytes, 1)), 2)
        self._plan: tuple[tuple[int, int], np.ndarray, np.ndarray] | None = None
        self._pools: dict[tuple[int, int, int], np.ndarray] = {}

    def __len__(self) -> int:
        return int(self._counts.sum())

    def rows(self, seed: int, epoch: int, start: int, stop: int) -> np.ndarray:
        """The examples from ``start`` to ``stop`` in the order of an epoch."""
        if self._plan is None or self._plan[0] != (seed, epoch):
            order = np.random.default_rng((seed, epoch)).permutation(len(self._counts))
            ends = np.cumsum(self._counts[order])
            first = np.concatenate([[0], ends[self._pooled - 1 : -1 : self._pooled], ends[-1:]])
            self._plan = (seed, epoch), order, first
        _, order, first = self._plan
        parts = []
        for pool in range(int(np.searchsorted(first, start, side="right")) - 1, len(first) - 1):
            if first[pool] >= stop:
                break
            mixed = self._mixed(seed, epoch, pool, order)
            parts.append(mixed[max(start - first[pool], 0) : stop - first[pool]])
        return np.concatenate(parts)

    def _mixed(self, seed: int, epoch: int, pool: int, order: np.ndarray) -> np.ndarray:
        """The examples of a pool in random order. Those of the last two pools are kept."""
        key = seed, epoch, pool
        if key not in self._pools:
            blocks = order[pool * self._pooled : (pool + 1) * self._pooled].tolist()
            rows = np.concatenate([np.arange(self.edges[i], self.edges[i + 1]) for i in blocks])
            rows = rows[~np.isin(rows, self.held_out)]
            self._pools[key] = np.random.default_rng((seed, epoch, pool)).permutation(rows)
            if len(self._pools) > 2:
                self._pools.pop(next(iter(self._pools)))
        return self._pools[key]

    def batch(self, rows: np.ndarray) -> Batch:
        """Raw examples, with their conditions if those are used."""
        x, skipped = self.stored.select(rows)
        cond = self.stored.conditions(rows) if self.conditional else None
        for i in skipped:
            j = int(rows[i]) % len(self.spare.x)
            x[i] = self.spare.x[j]
            if cond is not None and self.spare.cond is not None:
                cond[i] = self.spare.cond[j]
        return Batch(x, cond)


def edges_within(edges: np.ndarray, low: int, high: int) -> np.ndarray:
    """The edges of the blocks between two examples, which are edges too."""
    return np.unique(np.clip(edges, low, high))
