"""The result of a reader: all examples of a source, before they are split."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fourfold.core import Batch, Space
from fourfold.machine.libraries import pandas as pd

if TYPE_CHECKING:
    from fourfold.data.schema import Inferred

__all__ = ["Density", "Source"]


class Density(ABC):
    """The exact density a sampled set was drawn from."""

    @abstractmethod
    def log_prob(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        """``log p(x)`` or ``log p(x | cond)`` in nats of the raw example, ``(B,)`` float64."""


@dataclass(frozen=True)
class Source:
    """The result of a reader, before splitting.

    Attributes:
        x: all examples in the order of the source.
        space: their space, unconditional.
        where: where they came from, in words.
        cond: the condition of each example, ``(N, *given.shape)``, or ``None``.
        given: the space of the conditions.
        test: how many examples at the end are an official test set.
        held_out: the validation share of everything else, where there is an official test set.
        skipped: files left out.
        density: exact density, if known.
        hint: the way out if conditions are needed and missing.
        groups: ``(N,)`` int64: examples of one number are variants of one thing and come into one split.
        parts: how many values of a stream belong to training, validation and test, where shares of it do not say so.
        notes: what reading changed.
        columns: what each column of a table was inferred to be, and why.
        digest: the digest of the examples, where it is known already.
        files: the file of each example, relative to the folder, where each example has one.
        key: the column that names the examples, or ``None``.
        keys: the name that it has for each. Conditions are found by these.
        conditions: the sources of the conditions that the setting ``given`` names, by their labels.
        schema: gives the source with the schema of its training examples alone, by their places in ``x``. Examples keep
            their order, and held-out ones may hold values that it does not have. ``None``: nothing is inferred.
        statistics: examples from which a codec and an estimand take their statistics, in the place of training
            examples. ``None``: they take those.
    """

    x: Tensor
    space: Space
    where: str
    cond: Tensor | None = None
    given: Space | None = None
    test: int = 0
    held_out: float = 0.1
    skipped: tuple[str, ...] = ()
    density: Density | None = None
    hint: str = field(default="load it without given")
    groups: Tensor | None = None
    parts: tuple[int, ...] | None = None
    notes: tuple[str, ...] = ()
    columns: tuple[Inferred, ...] = ()
    digest: str = ""
    files: tuple[str, ...] = ()
    key: str | None = None
    keys: pd.Series | tuple[str, ...] = ()
    conditions: Mapping[str, Source] = field(default_factory=dict)
    schema: Callable[[Tensor], Source] | None = None
    statistics: Batch | None = None

    @property
    def names(self) -> pd.Series | tuple[str, ...]:
        """The name of each example, by which it pairs with its condition: its key or its file without an ending."""
        return self.keys if len(self.keys) else tuple(str(PurePosixPath(file).with_suffix("")) for file in self.files)

    def at(self, rows: npt.NDArray[np.int64]) -> Source:
        """The examples at some places, in their order."""
        if np.array_equal(rows, np.arange(len(self.x))):
            return self
        index, schema = torch.from_numpy(rows), self.schema
        return dataclasses.replace(
            self,
            x=self.x[index],
            cond=None if self.cond is None else self.cond[index],
            groups=None if self.groups is None else self.groups[index],
            files=tuple(self.files[row] for row in rows) if self.files else (),
            keys=pd.Series(self.keys, dtype="str").take(rows).reset_index(drop=True) if len(self.keys) else (),
            conditions={label: part.at(rows) for label, part in self.conditions.items()},
            schema=None if schema is None else lambda train: schema(index[train]).at(rows),
            digest="",
        )

    @property
    def labels(self) -> Tensor | None:
        """The class labels of examples, of which every split has its share. ``None`` where there are none."""
        return None if self.given is None or not self.given.names else self.cond
