"""Sequences of rows: events of one user, measurements of one station, or windows of one long series."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from fourfold.core import Picture, Space
from fourfold.core.quality import DRAWS_SHOWN
from fourfold.machine.libraries import pandas as pd
from fourfold.metrics.coordinates import RowPoints
from fourfold.metrics.floor import Draws
from fourfold.metrics.references import References
from fourfold.metrics.rows import Columns
from fourfold.metrics.score import Measurement
from fourfold.metrics.sequences import by_sequences
from fourfold.output.printable import plural, shortened
from fourfold.spaces.columns import MISSING, UNSEEN, Categorical, Column, Graded, Identifier, Modelled, Numeric
from fourfold.spaces.rules import TableRule
from fourfold.spaces.sequence_pictures import charts, details
from fourfold.spaces.table import Table
from fourfold.spaces.written import WrittenRows

__all__ = ["ABSENT", "Sequences"]

ABSENT = MISSING + 3
"""The code of a row that is not there, behind the end of a sequence."""
MOST = 100_000
"""The most sequences that are enumerated."""
SHOWN = 3
"""Sequences in a picture."""


@dataclass(frozen=True)
class Sequences(WrittenRows):
    """Rows of a table in an order: raw batches are int64 ``(B, length, C)``, the codes of the ``C`` modelled columns.

    Rows with one key make a sequence, whose length varies up to ``length``. Behind its end, codes are :data:`ABSENT`.
    Without a key there is one long series, or several, and an example is a window of exactly ``length`` rows of one.

    Codes are those of :class:`~fourfold.spaces.Table`, but that of the order column is the step from the row before. In
    the first row of a keyed sequence, it is where the sequence starts. A window starts anywhere. Codes are counted, so
    every sequence has a mass, whatever models it.

    Attributes:
        schema: all columns in the order of the file. The key is an identifier among them.
        order: name of the column that orders the rows, a quantity.
        steps: the smallest and the largest step of the data, in codes of that column.
        length: the most rows of a sequence. A longer one is known by its first rows.
        key: name of the column whose values name the sequences, or ``None``.
        origin: the code of the order column from which samples of a series go on, by default the end of the data.
            Several are those of the first windows that are written to a file. The others go on from the last.
        series: name of the column whose values name several series, or ``None``. A window lies within one.
        season: after how many rows the rows of a series are alike, or ``None``.
        keys: names of the first sequences that are written to a file. Others get fresh ones.
        observed: how many rows the data has, or ``None``. Presets for few rows drop units in training.
        beyond: the probability of a step below the smallest, and of one above the largest.
        scale: how far such steps lie outside, in steps of the resolution.
        covariates: columns that a forecast may know beforehand, such as a promotion of next week. They are the first
            columns of a row beside that of the order, so every other value of the row is given them.
        rules: those that every row keeps, see :mod:`fourfold.spaces.rules`. The order column may bound others, at its
            place in the file, and none computes it.

    Raises:
        ValueError: for an order that is not a quantity, a key that is not an identifier, or an impossible length.
    """

    mixed: ClassVar[bool] = True
    schema: tuple[Column, ...]
    order: str
    steps: tuple[int, int] = (0, 1)
    length: int = 256
    key: str | None = None
    origin: int | tuple[int, ...] = 0
    series: str | None = None
    season: int | None = None
    keys: tuple[str, ...] = ()
    observed: int | None = field(default=None, compare=False)
    beyond: tuple[float, float] = (0.0, 0.0)
    scale: tuple[float, float] = (1.0, 1.0)
    covariates: tuple[str, ...] = ()
    rules: tuple[TableRule, ...] = ()
    classes: None = None

    def __post_init__(self) -> None:
        if not isinstance(self.start, Graded) or self.start.missing:
            raise ValueError(f"order must be a column with a number or a time in every row, got {self.order!r}")
        if self.key is not None and not isinstance(self.named(self.key), Identifier):
            raise ValueError(f"key must be a column of identifiers, got {self.key!r}")
        if self.series is not None and (
            self.key is not None or not isinstance(self.named(self.series), Categorical) or self.series == self.order
        ):
            raise ValueError(f"series must be a column of categories, without a key, got {self.series!r}")
        if self.season is not None and (self.key is not None or self.season < 2):
            raise ValueError(f"season must be at least 2 rows of a series, without a key, got {self.season}")
        others = [name for name in self.columns if name not in (self.order, self.series)]
        if others[: len(self.covariates)] != [*self.covariates] or (self.covariates and self.key is not None):
            raise ValueError(
                f"covariates must be the first columns of a series, without a key, got {shortened(self.covariates)}"
            )
        if self.length < (1 if self.key is not None else 2) or not 0 <= self.steps[0] <= self.steps[1]:
            raise ValueError(
                f"length must be positive (a window has 2 rows), and steps (low, high) with 0 <= low <= high, got "
                f"{self.length} and {self.steps}"
            )

    def named(self, name: str) -> Column:
        """The column of a name.

        Raises:
            ValueError: if there is none.
        """
        match = next((column for column in self.schema if column.name == name), None)
        if match is None:
            raise ValueError(
                f"columns must be among {shortened([column.name for column in self.schema])}, got {name!r}"
            )
        return match

    @cached_property
    def start(self) -> Graded:
        """The order column, as the file has it: what the first row of a keyed sequence holds."""
        return self.named(self.order)  # type: ignore[return-value]

    @cached_property
    def file_table(self) -> Table:
        """The rows as the file has them."""
        return Table(self.schema, rules=self.rules)

    @cached_property
    def row(self) -> Table:
        """The rows as they are modelled: the order column holds steps."""
        low, high = self.steps
        step = Numeric(
            self.order,
            "int64",
            resolution=self.start.resolution,
            low=low,
            high=high,
            beyond=self.beyond,
            scale=self.scale,
            decimals=6,
        )
        return Table(tuple(step if column.name == self.order else column for column in self.schema), rules=self.rules)

    @cached_property
    def free(self) -> Sequences:
        """The sequences of :attr:`Table.free_rows`, or these themselves if there are no rules."""
        if not self.rules:
            return self
        key = () if self.key is None else (self.named(self.key),)
        return dataclasses.replace(self, schema=(*key, *self.file_table.free.modelled), rules=())

    def reduce(self, x: Tensor) -> Tensor:
        return self._changed(x, self.file_table.reduce, self.free) if self.rules else x

    def expand(self, x: Tensor) -> Tensor:
        return self.free._changed(x, self.file_table.expand, self) if self.rules else x

    def confirmed(self, x: Tensor) -> Sequences:
        rules = self.file_table.confirmed(self._placed(x)[self.present(x)]).rules
        return self if len(rules) == len(self.rules) else dataclasses.replace(self, rules=rules)

    def _changed(self, x: Tensor, change: Callable[[Tensor], Tensor], other: Sequences) -> Tensor:
        """These sequences as those of another space, whose rows ``change`` makes of rows with their places."""
        there = (x != ABSENT).all(2)
        changed = x.new_full((*x.shape[:2], len(other.columns)), ABSENT)
        changed[there] = change(self._placed(x)[there])
        broken = changed[..., other.at] == UNSEEN
        changed[..., other.at] = torch.where(broken, UNSEEN, x[..., self.at])
        return changed

    def _placed(self, x: Tensor) -> Tensor:
        """Sequences with the place of each row in the order column, not the step to it. Behind a gap it is unknown."""
        step = x[..., self.at]
        place = step.masked_fill(step <= ABSENT, 0).cumsum(1)
        gap = ((step <= UNSEEN).cumsum(1) > 0) & (step != ABSENT)
        x = x.clone()
        x[..., self.at] = torch.where(gap, UNSEEN, torch.where(step == ABSENT, ABSENT, place))
        return x

    @property
    def modelled(self) -> tuple[Modelled, ...]:
        """The columns that are coordinates of rows, in order. The order column as steps."""
        return self.row.modelled

    @property
    def columns(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the modelled columns."""
        return self.row.columns

    @cached_property
    def at(self) -> int:
        """The place of the order column."""
        return self.columns.index(self.order)

    def __str__(self) -> str:
        noun = f"rows of {plural(len(self.columns), 'column')} ({shortened(self.columns, 6)})"
        if self.key is None:
            each = "" if self.series is None else f", each of one {self.series}"
            ahead = f", {shortened(self.covariates, 3)} known beforehand" if self.covariates else ""
            return f"windows of {self.length} {noun} in the order of {self.order}{each}{ahead}"
        return f"sequences of up to {self.length} {noun} by {self.key} in the order of {self.order}"

    @property
    def item_name(self) -> str:  # type: ignore[override]
        return "rows" if self.key is None else "sequences"

    @property
    def shape(self) -> tuple[int, ...]:
        return self.length, len(self.columns)

    @property
    def window(self) -> int | None:
        return self.length if self.key is None else None

    def starts(self, x: Tensor) -> Tensor | None:
        if self.series is None:
            return None
        series = x[:, self.columns.index(self.series)]
        same = torch.cat([series.new_zeros(1, dtype=torch.bool), series[1:] == series[:-1]])
        same &= x[:, self.at] >= 0
        borders = (~same).cumsum(0)
        return (borders[: len(x) - self.length + 1] == borders[self.length - 1 :]).nonzero()[:, 0]

    @property
    def bytewise(self) -> bool:
        return False

    @property
    def unit(self) -> str:
        return "nats"

    def row_counts(self, x: Tensor) -> Tensor:
        return self.present(x).sum(1)

    def present(self, x: Tensor) -> Tensor:
        """Which rows are there, bool ``(B, length)``."""
        return x[..., self.at] != ABSENT

    def check(self, x: Tensor) -> None:
        self.check_shape(x)
        if x.dtype != torch.int64:
            raise ValueError(f"codes of sequences must be int64, got {x.dtype}; read them with fourfold.load")
        there = self.present(x)
        partly = ((x == ABSENT).any(2) & there) | ((x != ABSENT).any(2) & ~there)
        broken = partly.any(1) | ~there[:, 0] | (~there[:, :-1] & there[:, 1:]).any(1)
        broken |= (~there).any(1) if self.key is None else torch.zeros_like(broken)
        if broken.any():
            whole = f"all {self.length} rows" if self.key is None else "at least one row, and no row behind its end"
            raise ValueError(f"sequence {int(broken.nonzero()[0])}: must have {whole}, got one that is cut")
        back = there[:, 1:] & (x[:, 1:, self.at] < 0)
        if back.any():
            i, t = back.nonzero()[0].tolist()
            raise ValueError(
                f"sequence {i}, row {t + 1}, column {self.order}: must not fall, got a smaller value: sort the rows"
            )
        wrong = self.row.wrong_code(x[there])
        if wrong is not None:
            flat, column, fault = wrong
            i, t = there.nonzero()[flat].tolist()
            raise ValueError(f"sequence {i}, row {t}, column {column}: {fault}: give rows of the model's schema")

    def outside(self, x: Tensor) -> Tensor:
        if self.rules:
            return self.free.outside(self.reduce(x))
        row, start = self.row.foreign(x.flatten(0, 1)).view(x.shape), torch.zeros(len(x), dtype=torch.bool)
        if self.key is not None:
            start = Table((self.start,)).outside(x[:, 0, self.at, None])
            row[:, 0, self.at] = False
        return (row & self.present(x)[..., None]).flatten(1).any(1) | start

    def examples(self, n: int, generator: torch.Generator) -> Tensor:
        if self.rules:
            return self.expand(self.free.examples(n, generator))
        x = self.row.examples(n * self.length, generator).view(n, *self.shape)
        if self.key is None:
            return x
        low, high = self.start.span
        x[:, 0, self.at] = torch.randint(low, high + 1, (n,), generator=generator)
        rows = torch.randint(1, self.length + 1, (n, 1), generator=generator)
        return x.masked_fill((torch.arange(self.length) >= rows)[..., None], ABSENT)

    def support(self, points: int, reach: float) -> tuple[Tensor, float]:
        if self.rules:
            free, width = self.free.support(points, reach)
            return self.expand(free), width
        later = self.row.support(points, reach)[0]
        first = later if self.key is None else Table((self.start, *self._other_columns)).support(points, reach)[0]
        if self.key is not None:
            first = torch.cat([first[:, 1 : self.at + 1], first[:, :1], first[:, self.at + 1 :]], 1)
        if len(first) * len(later) ** (self.length - 1) > MOST:
            raise ValueError(f"sequences must be at most {MOST:,} to be enumerated, got more of {self}")
        parts = []
        for n in range(1 if self.key is not None else self.length, self.length + 1):
            rows = [first, *[later] * (n - 1)]
            places = itertools.product(*(range(len(options)) for options in rows))
            whole = [torch.stack([options[i] for options, i in zip(rows, at, strict=True)]) for at in places]
            padded = torch.full((len(whole), *self.shape), ABSENT)
            padded[:, :n] = torch.stack(whole)
            parts.append(padded)
        return torch.cat(parts), 1.0

    @property
    def _other_columns(self) -> tuple[Modelled, ...]:
        return tuple(column for column in self.modelled if column.name != self.order)

    # --- sets of examples, and files ----------------------------------------------------------------------------------

    @classmethod
    def of(cls, space: Space, x: Tensor) -> Space:
        if not isinstance(space, cls):
            raise ValueError(f"holds {space}: name the column that orders its rows (--order, in Python order=)")
        return space

    def fits(self, other: Space) -> bool:
        if not isinstance(other, Sequences):
            return False
        return dataclasses.replace(other, origin=self.origin, keys=self.keys) == self

    def after(self, *origin: int) -> Sequences:
        """The same series, of which samples go on from other codes of the order column."""
        return dataclasses.replace(self, origin=origin)

    def with_keys(self, keys: Sequence[str]) -> Self:
        return dataclasses.replace(self, keys=tuple(keys))

    @property
    def numbering(self) -> str:
        """The column that numbers several windows in a file of them."""
        return "sample (number)" if any(column.name == "sample" for column in self.schema) else "sample"

    def table(self, x: Tensor, beside: pd.DataFrame | None = None) -> pd.DataFrame:
        """The data frame of all rows: the columns of the file, in its order, with its dtypes, one fresh key a sequence.

        Several windows of a series have a column ``sample`` that numbers them, since each goes on from the same row.
        """
        return self._framed(x, self.file_table.table(self._flat(x), self._each(x, beside)), as_text=False)

    def text(self, x: Tensor, beside: pd.DataFrame | None = None) -> pd.DataFrame:
        """As :meth:`table`, but every value is a text as the file writes it."""
        return self._framed(x, self.file_table.text(self._flat(x), self._each(x, beside)), as_text=True)

    def _each(self, x: Tensor, beside: pd.DataFrame | None) -> pd.DataFrame | None:
        """A row for each row of the sequences, of one for each sequence."""
        return None if beside is None else beside.iloc[self.present(x).nonzero()[:, 0].numpy()].reset_index(drop=True)

    def _flat(self, x: Tensor) -> Tensor:
        """All rows ``(N, C)``, with the order column as in the file."""
        there, x = self.present(x), x.clone()
        x[..., self.at] = x[..., self.at].masked_fill(~there, 0).cumsum(1)
        if self.key is None:
            origins = torch.as_tensor(self.origin).flatten()
            x[..., self.at] += origins[torch.arange(len(x)).clamp(max=len(origins) - 1), None]
        return x[there]

    def _framed(self, x: Tensor, frame: pd.DataFrame, as_text: bool) -> pd.DataFrame:
        """A frame of all rows with its keys."""
        sequence = self.present(x).nonzero()[:, 0].numpy()
        if self.key is None:
            if len(x) > 1:
                frame.insert(0, self.numbering, sequence + 1)
            return frame
        column, fresh = self.named(self.key), np.zeros(len(x), dtype=np.int64)
        keys = column.text(fresh[len(self.keys) :]) if as_text or self.keys else column.values(fresh)
        if self.keys:
            keys = pd.Series([*self.keys[: len(x)], *keys], dtype=object)
            keys = keys if as_text else _as(keys, column.dtype)
        frame[self.key] = keys.iloc[sequence].to_numpy() if as_text else keys.iloc[sequence].reset_index(drop=True)
        return frame

    # --- measures and pictures ----------------------------------------------------------------------------------------

    @cached_property
    def meaning(self) -> Columns:
        """The meaning of the values of :meth:`numbers`."""
        columns = self.row.meaning
        if self.key is None:
            return columns
        start = f"start of {self.order}"
        return Columns((*columns.names, start), (*columns.categorical, False), (*columns.units, "time"))

    def numbers(self, x: Tensor) -> Tensor:
        """Raw examples as float64 ``(B, length, C)``: as :meth:`Table.numbers`, and infinite behind the end.

        Of keyed sequences, the start is a further column, which has a value in the first row only. The first row then
        has no step.
        """
        there = self.present(x)
        values = torch.full((*x.shape[:2], len(self.columns)), torch.inf, dtype=torch.float64)
        values[there] = self.row.numbers(x[there])
        if self.key is None:
            return values
        start = torch.where(there, torch.nan, torch.inf).double()
        start[:, 0] = x[:, 0, self.at].double() * self.start.resolution
        values[:, 0, self.at] = torch.nan
        return torch.cat([values, start[..., None]], 2)

    def measures(self, x: Tensor, references: References, features: str | None = None) -> Iterator[Measurement]:
        self.check_features(features)
        train = references.train
        in_numbers = References(
            Draws(self.numbers(train.pool), train.rows),
            self.numbers(references.test),
            None,
            self.numbers(references.fresh),
            self.numbers(self.rows(references.all_train)),
        )
        yield from by_sequences(self.numbers(x), in_numbers, self.meaning, varying=self.key is not None)

    def coordinates(self, data: Tensor) -> RowPoints:
        return RowPoints(self.numbers, data, self.meaning)

    def quantities(self, x: Tensor) -> tuple[tuple[str, ...], Tensor]:
        """The quantities of each row. Those behind the end are missing."""
        numbers, places = self.numbers(x), self.meaning.quantities
        names = tuple(f"{self.meaning.names[i]}, row {row + 1}" for row in range(numbers.shape[1]) for i in places)
        return names, numbers[..., places].masked_fill(numbers[..., places].isinf(), torch.nan).flatten(1)

    def picture(self, x: Tensor, references: References | None = None, columns: int | None = None) -> Picture:
        data = None if references is None or x is references.test else references.test[:SHOWN]
        return charts(self._chart_columns, self.numbers(x[:SHOWN]), None if data is None else self.numbers(data))

    def picture_of_draws(self, draws: Tensor, truth: Tensor, data: Tensor) -> Picture:
        """Draws, and the true sequence in grey behind the last."""
        return charts(self._chart_columns, self.numbers(draws[:DRAWS_SHOWN]), self.numbers(truth[None]))

    def details(self, x: Tensor, references: References) -> Sequence[tuple[str, Picture]]:
        numbers = self.numbers(x), self.numbers(references.test)
        return details(self._chart_columns, self.meaning, *numbers, keyed=self.key is not None)

    @property
    def _chart_columns(self) -> dict[int, Modelled]:
        """The columns of pictures by their place: all but that of the order, which is drawn where it is alone."""
        columns = {i: column for i, column in enumerate(self.modelled) if i != self.at}
        return columns or {self.at: self.modelled[self.at]}


def _as(values: pd.Series, dtype: str) -> pd.Series:
    """Keys with the dtype of their column, or as text where one cannot have it."""
    if dtype[0] not in "iuIU":
        return values.astype("str")
    whole = values.str.fullmatch(r"[+-]?\d{1,18}").all()
    return values.astype("int64").astype(dtype) if whole else values.astype("str")  # type: ignore[call-overload]
