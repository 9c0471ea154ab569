"""A data set whose training examples, references and held-out examples lie in separate files."""

from __future__ import annotations

import dataclasses

import torch

from fourfold.data.dataset import Dataset
from fourfold.data.errors import DataError
from fourfold.data.splits import Split

__all__ = ["cut", "joined", "separate"]

YARDSTICK = 0.2
"""The share of held-out examples that stand in the place of samples, for the floors of copies."""


def joined(dataset: Dataset) -> Split:
    """All examples of a data set as one split. A stream is whole again."""
    parts = (dataset.train, dataset.validation, dataset.test)
    cond = [part.cond for part in parts if part.cond is not None]
    return Split(torch.cat([part.x for part in parts]), torch.cat(cond) if len(cond) == len(parts) else None)


def cut(name: str, part: Split, dataset: Dataset) -> tuple[Split, Split]:
    """Examples in two: the larger part, and :data:`YARDSTICK` of them. A seed draws them; a stream is cut by position.

    Raises:
        DataError: for fewer than two examples in either.
    """
    window = dataset.space.window
    n = len(part) // (window or 1)
    first = n - round(YARDSTICK * n)
    if min(first, n - first) < 2:
        items = dataset.space.item_name if window is None else f"windows of {window} {dataset.space.item_name}"
        raise DataError(f"{name}: {items} must be at least 8 to be references, got {n}; give more")
    order = torch.randperm(n, generator=torch.Generator().manual_seed(dataset.seed))
    if window is not None:
        return Split(part.x[: first * window]), Split(part.x[first * window :])
    sides = (order[:first], order[first:])
    larger, smaller = (Split(part.x[rows], None if part.cond is None else part.cond[rows]) for rows in sides)
    return larger, smaller


def separate(training: Dataset, references: Split, held_out: Split, name: str, notes: tuple[str, ...]) -> Dataset:
    """A data set of three sources: all examples of the first are training examples.

    Args:
        training: whose splits are joined.
        references: the test split.
        held_out: the validation split.
        name: that of the references.
        notes: what reading the other two changed.
    """
    return dataclasses.replace(
        training,
        name=name,
        train=joined(training),
        test=references,
        validation=held_out,
        notes=(*training.notes, *notes),
        density=None,
        streamed=None,
    )
