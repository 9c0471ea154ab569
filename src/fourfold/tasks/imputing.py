"""Imputation: the holes of a table are drawn given what stands beside them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fourfold.core import GenerativeModel
from fourfold.data import Data, read_all
from fourfold.spaces import Table
from fourfold.spaces.columns import MISSING, Modelled

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Imputed", "impute"]


@dataclass(frozen=True)
class Imputed:
    """A table without holes.

    Attributes:
        table: the data frame as it was, texts where it was a file of text, with its holes filled.
        filled: how many holes were filled, by column.
        header: whether the file names its columns in its first row.
        notes: what reading changed.
    """

    table: pd.DataFrame
    filled: dict[str, int]
    header: bool = True
    notes: tuple[str, ...] = ()


def impute(model: GenerativeModel, data: Data, seed: int = 0, batch_size: int = 1024) -> Imputed:
    """Fill the missing values of a table by one draw from ``p(missing | known)`` each; nothing else changes.

    A draw, not a mean: so that distributions and correlations of the filled table are those of the data. Several seeds
    give several tables (multiple imputation).

    Args:
        model: of a table.
        data: a file or a data frame with the columns of the model.
        seed: of the draws.
        batch_size: rows per network call.

    Raises:
        DataError: if the data cannot be read in the model's space.
        TypeError: for a model that is of no table, or cannot be conditioned.
    """
    from fourfold.data.tables import raw_frame

    space = model.space
    if not isinstance(space, Table):  # only a table has gaps between its columns
        raise TypeError(f"imputation is for tables, and this model knows {space}: train on a table (--space table)")
    gaps = tuple(
        dataclasses.replace(column, missing=True) if isinstance(column, Modelled) else column for column in space.schema
    )
    split, notes = read_all(data, dataclasses.replace(space, schema=gaps))
    x = complete_holes(model, space, split.x, seed, batch_size)
    table, header = raw_frame(data)
    as_text = isinstance(data, (str, Path)) and str(data).lower().endswith((".csv", ".tsv"))
    drawn = space.text(x) if as_text else space.table(x)
    filled = {}
    for place, name in enumerate(space.columns):
        holes = (split.x[:, place] == MISSING).numpy()
        if holes.any():
            source = table.columns[place_of(table, space, name)]
            table[source] = table[source].where(~holes, drawn[name].set_axis(table.index))
            filled[name] = int(holes.sum())
    return Imputed(table, filled, header, notes)


def place_of(table: pd.DataFrame, space: Table, name: str) -> int:
    """The place of a column in a file: by name, or by its place in the schema where the file has no header."""
    names = [str(column) for column in table.columns]
    return names.index(name) if name in names else [column.name for column in space.schema].index(name)


def complete_holes(model: GenerativeModel, space: Table, x: Tensor, seed: int, batch_size: int) -> Tensor:
    """Rows whose missing cells are drawn among those that are not missing."""
    holes = x == MISSING
    rows = holes.any(1).nonzero().squeeze(1)
    allowed = {
        place: torch.arange(column.span[0], column.span[1] + 1)
        for place, column in enumerate(space.modelled)
        if column.missing and bool(holes[:, place].any())
    }
    full = x.clone()
    if len(rows):
        full[rows] = model.complete(x[rows], ~holes[rows], allowed, seed=seed, batch_size=batch_size).cpu()
    return full
