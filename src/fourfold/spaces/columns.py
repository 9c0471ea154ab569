"""The columns of a table: the integer that numbers a value's cell, and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "MISSING",
    "UNSEEN",
    "Categorical",
    "Cells",
    "Column",
    "Constant",
    "DateTime",
    "Graded",
    "Identifier",
    "Modelled",
    "Numeric",
]

MISSING = -(2**63)
"""The cell of a missing value: whether a value is missing is part of the distribution."""
UNSEEN = MISSING + 1
"""The cell of a value that the schema does not hold: it has no mass, and no sample has it."""

Cells: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Column(ABC):
    """One column of a table.

    Attributes:
        name: as in the file.
        dtype: of its values in a data frame, as pandas writes it.
    """

    name: str
    dtype: str = "str"

    @abstractmethod
    def cells(self, values: pd.Series) -> Cells:
        """The cells ``(N,)`` of values as a file or a data frame holds them; :data:`MISSING` where there is none.

        Raises:
            ValueError: for a value that no cell of this kind can hold, with its row and the way out.
        """

    @abstractmethod
    def values(self, cells: Cells) -> pd.Series:
        """The values of cells, with the dtype of the data."""


@dataclass(frozen=True)
class Modelled(Column, ABC):
    """A column that is a coordinate of raw examples.

    Attributes:
        missing: whether a value may be missing.
    """

    missing: bool = False

    @property
    @abstractmethod
    def span(self) -> tuple[int, int]:
        """The first and the last cell of the data."""


@final
@dataclass(frozen=True)
class Categorical(Modelled):
    """A value out of a list of levels: cell ``k`` is level ``k``.

    Attributes:
        levels: their text in the file.
        ordered: whether the order of the levels means something.
    """

    levels: tuple[str, ...] = ()
    ordered: bool = False

    @property
    def span(self) -> tuple[int, int]:
        return 0, len(self.levels) - 1

    def cells(self, values: pd.Series) -> Cells:
        import pandas as pd

        text = values.where(values.isna(), values.astype(str))
        found = pd.Index(self.levels).get_indexer(pd.Index(text)).astype(np.int64)
        return np.where(values.isna().to_numpy(), MISSING, np.where(found < 0, UNSEEN, found))

    def values(self, cells: Cells) -> pd.Series:
        import pandas as pd

        text = np.array([*self.levels, None], dtype=object)[np.where(cells < 0, len(self.levels), cells)]
        return _typed(pd.Series(text, dtype=object), self)


@dataclass(frozen=True)
class Graded(Modelled, ABC):
    """A quantity on a grid: cell ``k`` is ``resolution * k``.

    Attributes:
        resolution: distance of neighbouring cells.
        low, high: the smallest and the largest cell of the data.
    """

    resolution: float = 1.0
    low: int = 0
    high: int = 0

    @property
    def span(self) -> tuple[int, int]:
        return self.low, self.high


@final
@dataclass(frozen=True)
class Numeric(Graded):
    """A number at its resolution, such as 0.01, 1 or 500: so it has a mass, which models can be compared by.

    Attributes:
        decimals: digits behind the point in the file.
    """

    decimals: int = 0

    def cells(self, values: pd.Series) -> Cells:
        import pandas as pd

        numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        wrong = np.flatnonzero(np.isinf(numbers) | (np.isnan(numbers) & values.notna().to_numpy()))
        if len(wrong):
            row = int(wrong[0])
            raise ValueError(
                f"row {row + 1}, column {self.name}: {str(values.iloc[row])[:40]!r} is not a number: "
                "correct it, or make the column categorical in the schema"
            )
        known = ~np.isnan(numbers)
        cells = np.full(len(numbers), MISSING, dtype=np.int64)
        cells[known] = np.rint(numbers[known] / self.resolution).astype(np.int64)
        return cells

    def values(self, cells: Cells) -> pd.Series:
        import pandas as pd

        numbers = np.where(cells == MISSING, np.nan, np.round(cells * self.resolution, self.decimals))
        return _typed(pd.Series(numbers), self)


@final
@dataclass(frozen=True)
class DateTime(Graded):
    """A date or a time: cell ``k`` is ``resolution * k`` seconds after 1970-01-01 UTC.

    Attributes:
        format: as the file writes it, in the letters of ``strftime``.
    """

    format: str = "%Y-%m-%d"

    def cells(self, values: pd.Series) -> Cells:
        import pandas as pd

        times = pd.to_datetime(values, format=None if values.dtype.kind == "M" else self.format, errors="coerce")
        wrong = np.flatnonzero((times.isna() & values.notna()).to_numpy())
        if len(wrong):
            row = int(wrong[0])
            raise ValueError(
                f"row {row + 1}, column {self.name}: {str(values.iloc[row])[:40]!r} is not a time like "
                f"{self.format}: correct it, or change the column's format in the schema"
            )
        seconds = times.to_numpy(dtype="datetime64[s]").astype(np.int64)
        cells = np.rint(seconds / self.resolution).astype(np.int64)
        return np.where(values.isna().to_numpy(), MISSING, cells)

    def values(self, cells: Cells) -> pd.Series:
        import pandas as pd

        known = cells != MISSING
        seconds = np.where(known, np.rint(cells * self.resolution), 0).astype("datetime64[s]")
        times = pd.Series(seconds).where(pd.Series(known))
        return times if self.dtype.startswith("datetime") else times.dt.strftime(self.format)


@final
@dataclass(frozen=True)
class Identifier(Column):
    """A value that names its row: it is not modelled, and samples get fresh ones.

    Attributes:
        pattern: what a fresh one looks like: each ``{}`` stands for its number.
    """

    pattern: str = "{}"

    def cells(self, values: pd.Series) -> Cells:
        return np.zeros(len(values), dtype=np.int64)

    def values(self, cells: Cells) -> pd.Series:
        import pandas as pd

        fresh = [self.pattern.replace("{}", str(i + 1)) for i in range(len(cells))]
        return _typed(pd.Series(fresh, dtype=object), self)


@final
@dataclass(frozen=True)
class Constant(Column):
    """A column that holds one value everywhere, or none: it is not modelled, and given back.

    Attributes:
        value: its text; ``None``: the column is empty.
    """

    value: str | None = None

    def cells(self, values: pd.Series) -> Cells:
        same = values.isna() if self.value is None else values.astype(str) == self.value
        return np.where(same, 0, UNSEEN).astype(np.int64)

    def values(self, cells: Cells) -> pd.Series:
        import pandas as pd

        return _typed(pd.Series([self.value] * len(cells), dtype=object), self)


def _typed(values: pd.Series, column: Column) -> pd.Series:
    """Values with the dtype of the data where they have no gap that it cannot hold."""
    import pandas as pd

    dtype: Any = column.dtype
    if dtype == "bool":
        values = values.map({"True": True, "False": False, "true": True, "false": False}, na_action="ignore")
    elif not dtype.startswith(("str", "object", "category")) and values.dtype == object:
        values = pd.to_numeric(values)
    if values.isna().any() and dtype.startswith(("int", "uint", "bool")):
        dtype = {"bool": "boolean"}.get(dtype, dtype.replace("int", "Int").replace("uInt", "UInt"))
    return values.astype(dtype)
