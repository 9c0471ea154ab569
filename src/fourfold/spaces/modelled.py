"""The modelled columns of a table: the numbers and values that rows of codes stand for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from torch import Tensor

from fourfold.machine.libraries import pandas as pd
from fourfold.metrics.rows import Columns
from fourfold.spaces.columns import COORDINATE, MISSING, UNSEEN, Categorical, DateTime, Graded, Modelled, Numeric

__all__ = ["ModelledColumns"]


@final
@dataclass(frozen=True)
class ModelledColumns:
    """The columns that are coordinates of rows of codes ``(B, C)``.

    Attributes:
        columns: in order.
        target: name of the column that is predicted from the others, or ``None``.
    """

    columns: tuple[Modelled, ...]
    target: str | None = None

    def __iter__(self) -> Iterator[Modelled]:
        return iter(self.columns)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def meaning(self) -> Columns:
        """The meaning of the values of :meth:`numbers`."""
        units = tuple(map(_unit, self.columns))
        categorical = tuple(isinstance(column, Categorical) for column in self.columns)
        target = self.names.index(self.target) if self.target is not None else None
        return Columns(self.names, categorical, units, target)

    def numbers(self, x: Tensor) -> Tensor:
        """Codes as float64 ``(B, C)``: quantities in their unit, categories as their index, gaps as NaN.

        A number on a grid of logarithms is its power of ten, by which measures and pictures compare it.

        A category that the schema lacks is -1, and a gap in a column without gaps is NaN as well.
        """
        numbers = x.double()
        for i, column in enumerate(self.columns):
            if isinstance(column, Graded):
                numbers[:, i] *= column.resolution
            if isinstance(column, Numeric) and not column.logarithmic:
                numbers[:, i] = numbers[:, i].round(decimals=column.decimals)
        categorical = torch.tensor([isinstance(column, Categorical) for column in self.columns])
        return (
            numbers.masked_fill(x == UNSEEN, torch.nan)
            .masked_fill((x == UNSEEN) & categorical, -1)
            .masked_fill(x == MISSING, torch.nan)
        )

    def frame(self, x: Tensor) -> pd.DataFrame:
        """The data frame of codes, with the dtypes of the columns."""
        codes = x.cpu().numpy()
        return pd.DataFrame({column.name: column.values(codes[:, i]) for i, column in enumerate(self.columns)})


def _unit(column: Modelled) -> str:
    """The unit of a column. Only quantities of one unit are compared. Latitude and longitude are two units."""
    if isinstance(column, Numeric):
        if column.logarithmic:
            return f"powers of {column.name}"
        axis = COORDINATE.search(column.name)
        return axis[0].lower() if axis else f"number {column.prefix}{column.suffix}".strip()
    return "time" if isinstance(column, DateTime) else "number"
