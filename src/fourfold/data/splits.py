"""Three splits of the examples of a source: drawn by a seed, or cut by position where examples are windows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from fourfold.data.errors import DataError, option
from fourfold.data.source import Source
from fourfold.settings.data import DataOptions

__all__ = ["FEWEST", "Split", "chosen_rows", "fractions_of", "reorder", "split"]

FEWEST = 20
"""Fewer examples than this cannot be split and learned from."""
OF_ROWS, OF_TEXT = (0.8, 0.1, 0.1), (0.9, 0.05, 0.05)
"""Shares of training, validation and test, where nothing else is asked for."""
LARGE = 1 << 26
"""From so many bytes on, data is reordered in place rather than copied."""


@dataclass(frozen=True)
class Split:
    """Raw examples ``(N, *shape)`` with labels ``(N,)`` or the bytes of captions ``(N, L)``.

    For a text, ``x`` is its stream of ids, ``(N,)``, in the smallest type of integers. That of a large text is a mapped
    file. For a series that is cut into windows, ``x`` has all of its rows.
    """

    x: Tensor
    cond: Tensor | None = None

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        """The size, never values: they may be those of people."""
        conditions = "" if self.cond is None else f", conditions {tuple(self.cond.shape)}"
        return f"Split(x {tuple(self.x.shape)} {self.x.dtype}{conditions})"


def split(
    name: str, source: Source, options: DataOptions, fold: tuple[int, int] | None = None
) -> tuple[Source, Sequence[Split]]:
    """A source with the schema of its training examples, which held-out ones must not influence, and its splits.

    Args:
        name: of the data.
        source: of its examples.
        options: shares and seed.
        fold: the place of the part that is the test split, and the number of equal parts. By default one of a share.
    """
    if source.space.window is None:
        rows = _by_seed(name, source, options, fold)
        source = source if source.schema is None else source.schema(rows[0])
        splits = _take(source, rows, options.conditional)
        source = replace(source, space=source.space.confirmed(splits[1].x))
    else:
        parts = _by_position(name, source, options)
        source = source if source.schema is None else source.schema(torch.arange(parts[0].stop))
        splits = [Split(source.x[part]) for part in parts]
    return source, (splits[0], splits[1], splits[-1])


def fractions_of(options: DataOptions, default: tuple[float, ...]) -> tuple[float, ...]:
    """The shares of train, validation and test. Two shares mean that validation and test are the same examples."""
    shares = tuple(options.fractions or default)
    if len(shares) not in (2, 3) or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
        raise DataError(
            f"fractions must be two or three positive shares that add up to 1, such as (0.8, 0.1, 0.1), got {shares}"
        )
    return shares


def _ranges(n: int, shares: Sequence[float]) -> list[slice]:
    """Slices of ``range(n)`` for the shares, cut at whole numbers of examples. Each at least one long if possible."""
    edges = [0, *(math.floor(n * sum(shares[:i]) + 1e-9) for i in range(1, len(shares))), n]
    for i in range(len(shares) - 1, 0, -1):
        edges[i] = max(min(edges[i], edges[i + 1] - 1), 0)
    return [slice(a, b) for a, b in itertools.pairwise(edges)]


def _by_position(name: str, source: Source, options: DataOptions) -> list[slice]:
    """Cut a stream by position: held-out parts come after the training part."""
    n = len(source.x[: options.limit])
    if source.parts is None:
        parts = _ranges(n, fractions_of(options, OF_TEXT if source.space.bytewise else OF_ROWS))
    else:
        parts = [
            slice(end - size, end) for size, end in zip(source.parts, itertools.accumulate(source.parts), strict=True)
        ]
    shortest = min(part.stop - part.start for part in parts)
    window = source.space.window or 1
    if shortest < window:
        few = f"each split must have a window of {window} {source.space.item_name}, got {shortest} of {n}"
        kind = "text" if source.space.bytewise else "series"
        raise DataError(f"{name}: {few}; give a longer {kind} or a smaller length")
    return parts


def _by_seed(name: str, source: Source, options: DataOptions, fold: tuple[int, int] | None = None) -> list[Tensor]:
    """Draw the rows of the splits: every class keeps its share in each. An official test set stays as it is."""
    generator = torch.Generator().manual_seed(options.seed)
    pool = len(source.x) - source.test
    keep = 1.0 if options.limit is None else min(options.limit / len(source.x), 1.0)
    labels = None if source.labels is None else source.labels[:pool]
    groups = None if source.groups is None else source.groups[:pool]
    order = _stratified(pool, labels, generator) if groups is None else _together(groups, generator)
    order = order[: round(pool * keep)]
    if len(order) < FEWEST:
        long = "" if source.key is None else f": give more, or {option('series', source.key)} for windows of long ones"
        raise DataError(f"{name}: {source.space.item_name} must be at least {FEWEST}, got {len(order)}{long}")
    if fold is not None:
        return [_shuffled(rows, generator) for rows in _of_fold(name, order, groups, *fold)]
    shares = fractions_of(options, OF_ROWS)
    if source.test:
        share = shares[1] / (shares[0] + shares[1]) if options.fractions else source.held_out
        shares = (1 - share, share)
    parts = _ranges(len(order), shares)
    parts = parts if groups is None else _at_borders(name, parts, groups[order])
    rows = [_shuffled(order[part], generator) for part in parts]
    if source.test:
        rest = torch.randperm(source.test, generator=generator)[: max(round(source.test * keep), 1)]
        rows.append(pool + (rest if options.limit is not None else torch.arange(source.test)))
    return rows


def _of_fold(name: str, order: Tensor, groups: Tensor | None, place: int, count: int) -> list[Tensor]:
    """The training, validation and test rows if one of equal parts of an order is the test split."""

    def cut(rows: Tensor, shares: Sequence[float]) -> list[Tensor]:
        parts = _ranges(len(rows), shares)
        return [rows[part] for part in (parts if groups is None else _at_borders(name, parts, groups[rows]))]

    parts = cut(order, [1 / count] * count)
    rest = torch.cat([*parts[place + 1 :], *parts[:place]])
    return [*cut(rest, (0.9, 0.1)), parts[place]]


def chosen_rows(n: int, options: DataOptions, labels: Tensor | None = None) -> np.ndarray:
    """The places of ``options.limit`` of ``n`` examples, ascending. The seed draws them, each class in proportion."""
    generator = torch.Generator().manual_seed(options.seed)
    return _stratified(n, labels, generator)[: options.limit].sort().values.numpy()


def _stratified(n: int, labels: Tensor | None, generator: torch.Generator) -> Tensor:
    """An order of ``range(n)`` in which every contiguous part holds each class in its share."""
    order = torch.randperm(n, generator=generator)
    if labels is None:
        return order
    place = torch.empty(n, dtype=torch.float64)
    for label in torch.unique(labels).tolist():
        members = order[labels[order] == label]
        offset = torch.rand((), generator=generator, dtype=torch.float64)
        place[members] = (torch.arange(len(members), dtype=torch.float64) + offset) / len(members)
    return place.argsort(stable=True)


def _together(groups: Tensor, generator: torch.Generator) -> Tensor:
    """An order of all examples in which groups follow one another at random, each whole."""
    _, ids = torch.unique(groups, return_inverse=True)
    place = torch.randperm(int(ids.max()) + 1, generator=generator)
    return place[ids].argsort(stable=True)


def _at_borders(name: str, parts: Sequence[slice], groups: Tensor) -> list[slice]:
    """Move every inner edge of the parts to the nearest border between two groups that leaves each part one."""
    borders = [*((groups[1:] != groups[:-1]).nonzero().flatten() + 1).tolist(), len(groups)]
    if len(borders) < len(parts):
        raise DataError(
            f"{name}: groups of variants must be at least {len(parts)}, one for each split, got {len(borders)}"
        )
    edges, first = [0], 0
    for i, part in enumerate(parts[:-1], 2):
        choice = borders[first : len(borders) - len(parts) + i - 1]
        edges.append(min(choice, key=lambda border, stop=part.stop: abs(border - stop)))  # type: ignore[misc]
        first = borders.index(edges[-1]) + 1
    return [slice(a, b) for a, b in itertools.pairwise([*edges, len(groups)])]


def _shuffled(rows: Tensor, generator: torch.Generator) -> Tensor:
    return rows[torch.randperm(len(rows), generator=generator)]


def _take(source: Source, rows: Sequence[Tensor], conditional: bool) -> list[Split]:
    """The splits: copies of their rows, or, where the data is large and all of it is used, views of it reordered."""
    order = torch.cat(list(rows))
    conditions = source.cond[order] if conditional and source.cond is not None else None
    sizes = [len(part) for part in rows]
    cond: Sequence[Tensor | None] = [None] * len(sizes) if conditions is None else torch.split(conditions, sizes)
    large = len(order) == len(source.x) and source.x.nbytes > LARGE
    memory = _in_memory(source.x.numpy()) if large else None
    if memory is not None:
        reorder(memory, order.numpy())
        return [Split(x, c) for x, c in zip(torch.split(source.x, sizes), cond, strict=True)]
    return [Split(source.x[part], c) for part, c in zip(rows, cond, strict=True)]


def _in_memory(x: np.ndarray) -> np.ndarray | None:
    """A view of examples as rows of memory ``(N, D)``, or ``None`` where one does not lie whole after the other."""
    axes = np.argsort([-stride for stride in x.strides], kind="stable")  # channels may be last in memory
    laid = x.transpose(axes)
    return laid.reshape(len(x), -1) if axes[0] == 0 and laid.flags.c_contiguous else None


def reorder(rows: np.ndarray, order: np.ndarray) -> None:
    """``rows[:] = rows[order]`` for a permutation of ``(N, D)``, so many columns at once that a copy stays small."""
    width = max(LARGE // max(rows[:, :1].nbytes, 1), 1)
    for start in range(0, rows.shape[1], width):
        rows[:, start : start + width] = rows[order, start : start + width]
