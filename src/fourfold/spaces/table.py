"""Tables of mixed columns: categories, numbers, dates, and missing values."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from fourfold.core import Picture, Rows, Space
from fourfold.core.quality import DRAWS_SHOWN
from fourfold.machine.libraries import pandas as pd
from fourfold.metrics.coordinates import RowPoints
from fourfold.metrics.floor import Draws
from fourfold.metrics.references import References
from fourfold.metrics.rows import Columns, byte_digests, digests
from fourfold.metrics.score import Measurement
from fourfold.metrics.tables import by_rows
from fourfold.output.printable import plural, shortened
from fourfold.spaces.columns import MISSING, UNSEEN, Categorical, Codes, Column, FreeText, Graded, Modelled
from fourfold.spaces.composites import Composite
from fourfold.spaces.modelled import ModelledColumns
from fourfold.spaces.rules import FreeRows, TableRule
from fourfold.spaces.table_pictures import details, panels, rows_of
from fourfold.spaces.written import WrittenRows

__all__ = ["Table"]

RULES = "samples keep these rules"
"""The beginning of the note on rules."""
SHOWN = 8
"""Columns, or rows, of a picture."""
MIXING = 0x1E3779B97F4A7C15
"""An odd number whose multiples tell the places of equal rows apart."""
MEASURED = 200_000
"""Training rows that samples are measured against, at most. Copies are looked for among all of them."""


@dataclass(frozen=True)
class Table(WrittenRows):
    """Rows of a table: raw batches are int64 ``(B, C)``, the codes of the ``C`` modelled columns.

    A categorical value is the index of its category, a number or time its place on the grid of its column, a missing
    value :data:`~fourfold.spaces.columns.MISSING`. Codes are counted, so every row has a mass, whatever models it.

    Attributes:
        schema: all columns in the order of the file. Identifiers and constants among them are not modelled.
        target: the column that models are judged by predicting, or ``None``. With labels, these are predicted.
        observed: how many rows the data has, or ``None``. Presets for few rows are coarser.
        rules: those that every row keeps, see :mod:`fourfold.spaces.rules`. A row that breaks one has no mass.
    """

    mixed: ClassVar[bool] = True
    schema: tuple[Column, ...]
    target: str | None = None
    observed: int | None = field(default=None, compare=False)
    rules: tuple[TableRule, ...] = ()

    def __post_init__(self) -> None:
        if not self.modelled:
            raise ValueError(
                "a table must have a column that varies, got constants and identifiers alone; add one, or say by a "
                "schema that an identifier is a number or a category"
            )
        names = [column.name for column in self.schema]
        twice = sorted(name for name, times in Counter(names).items() if times > 1)
        if twice:
            raise ValueError(f"names of columns must differ, got {twice[0]!r} twice; rename one")
        if self.target is not None and self.target not in self.columns:
            raise ValueError(f"target must be one of {shortened(self.columns)}, got {self.target!r}")
        _ = self.free_rows  # refuses rules that do not fit the columns

    @cached_property
    def free_rows(self) -> FreeRows:
        """Rows without the parts that rules decide."""
        return FreeRows(self.modelled, self.rules)

    @cached_property
    def free(self) -> Table:
        """The table of :attr:`free_rows`, of which every row keeps all rules. The table itself if it has none."""
        if not self.rules:
            return self
        columns = self.free_rows.columns
        place = None if self.target is None else self.free_rows.place(self.target)
        return replace(self, schema=columns, rules=(), target=None if place is None else columns[place].name)

    @cached_property
    def modelled(self) -> tuple[Modelled, ...]:
        """The columns that are coordinates of raw examples, in order."""
        return tuple(column for column in self.schema if isinstance(column, Modelled))

    @property
    def columns(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the modelled columns."""
        return tuple(column.name for column in self.modelled)

    def __str__(self) -> str:
        return f"rows of {plural(len(self.modelled), 'column')} ({shortened(self.columns, 6)})"

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.modelled),)

    @property
    def unit(self) -> str:
        return "nats"

    def check(self, x: Tensor) -> None:
        self.check_shape(x)
        if x.dtype != torch.int64:
            raise ValueError(f"codes of a table must be int64, got {x.dtype}; read them with Table.codes")
        wrong = self.wrong_code(x)
        if wrong is not None:
            row, column, fault = wrong
            raise ValueError(f"row {row}, column {column}: {fault}: give a row of the model's schema")

    def wrong_code(self, x: Tensor) -> tuple[int, str, str] | None:
        """Row, column and fault of the first code that its column does not hold. ``None`` if all fit."""
        for i, column in enumerate(self.modelled):
            missing, unseen = x[:, i] == MISSING, x[:, i] == UNSEEN
            bad = missing & (not column.missing)
            if isinstance(column, Categorical):
                bad |= ~missing & ~unseen & ((x[:, i] < 0) | (x[:, i] >= len(column.categories)))
            if bad.any():
                row = int(bad.nonzero()[0])
                fault = (
                    "is missing, as in no row of the data" if missing[row] else f"has no category {x[row, i].item()}"
                )
                return row, column.name, fault
        return None

    def foreign(self, x: Tensor) -> Tensor:
        """Which codes their column does not have, bool ``(B, C)``: a new category, or a gap."""
        return torch.stack([self._foreign(i, x[:, i]) for i in range(len(self.modelled))], 1)

    def _foreign(self, i: int, codes: Tensor) -> Tensor:
        if not isinstance(self.modelled[i], Graded):
            return codes == UNSEEN
        least, most = self.free_rows.limits(i)
        return (codes != MISSING) & ((codes < least) | (codes > most))

    def beyond(self, x: Tensor) -> Tensor:
        """Which codes lie in a tail: outside the range of the training data, and not :meth:`foreign`, ``(B, C)``."""
        spans = torch.tensor([c.span if isinstance(c, Graded) else (MISSING, -MISSING - 1) for c in self.modelled])
        outer = (x != MISSING) & ((x < spans[:, 0]) | (x > spans[:, 1]))
        return outer & ~self.foreign(x)

    def winsorised(self, x: Tensor) -> Tensor:
        """Rows whose quantities beyond the range of the training data lie at its ends, ``(B, C)``."""
        spans = torch.tensor([c.span if isinstance(c, Graded) else (UNSEEN, -MISSING - 1) for c in self.modelled])
        return torch.where(x == MISSING, x, x.maximum(spans[:, 0]).minimum(spans[:, 1]))

    def outside(self, x: Tensor) -> Tensor:
        return self.foreign(x).any(1) | self.broken(x)

    def broken(self, x: Tensor) -> Tensor:
        """Which rows break a rule, bool ``(B,)``, or hold a value without mass."""
        return self.free.foreign(self.reduce(x)).any(1)

    def examples(self, n: int, generator: torch.Generator) -> Tensor:
        if self.rules:
            return self.expand(self.free.examples(n, generator))
        columns = []
        for column in self.modelled:
            codes = torch.randint(column.span[0], column.span[1] + 1, (n,), generator=generator)
            gap = torch.rand(n, generator=generator) < (0.2 if column.missing else 0.0)
            columns.append(torch.where(gap, MISSING, codes))
        return torch.stack(columns, 1)

    def support(self, points: int, reach: float) -> tuple[Tensor, float]:
        ends = [self.free_rows.limits(i) for i in range(len(self.modelled))]
        rows = math.prod(most - least + 1 + c.missing for c, (least, most) in zip(self.modelled, ends, strict=True))
        if rows > 1e5:
            raise ValueError(f"rows must be at most 100,000 to be enumerated, got {rows:.0e} different ones")
        gap = torch.tensor([MISSING])
        codes = [torch.arange(least, most + 1) for least, most in ends]
        axes = [torch.cat([code, gap[: c.missing]]) for c, code in zip(self.modelled, codes, strict=True)]
        return torch.cartesian_prod(*axes).reshape(-1, len(axes)), 1.0

    def measures(self, x: Tensor, references: References, features: str | None = None) -> Iterator[Measurement]:
        self.check_features(features)
        train, every = references.train, references.all_train
        in_numbers = References(
            Draws(self.numbers(train.pool), train.rows),
            self.numbers(references.test),
            references.cond,
            self.numbers(references.fresh),
            self.numbers(self.some(every)),
        )
        train_digests = np.concatenate([digests(self.numbers(part)) for part in torch.split(every, 65_536)])
        yield from by_rows(self.numbers(x), in_numbers, self.meaning, train_digests=train_digests)

    def coordinates(self, data: Tensor) -> RowPoints:
        return RowPoints(self.numbers, data, self.meaning)

    def quantities(self, x: Tensor) -> tuple[tuple[str, ...], Tensor]:
        places = self.meaning.quantities
        return tuple(self.columns[i] for i in places), self.numbers(x)[:, places]

    @staticmethod
    def some(x: Tensor) -> Tensor:
        """Evenly spaced rows, :data:`MEASURED` at most: measures hold them as float64, whatever the data's size."""
        return x[:: -(-len(x) // MEASURED)]

    def picture(self, x: Tensor, references: References | None = None, columns: int | None = None) -> Picture:
        if references is None:
            return rows_of(self.table(x[:SHOWN]))
        return panels(self._modelled, x, None if x is references.test else references.test, SHOWN)

    def picture_of_draws(self, draws: Tensor, truth: Tensor, data: Tensor) -> Rows:
        rows = rows_of(self.table(torch.cat([truth[None], draws[:DRAWS_SHOWN]])))
        titles = ("truth", *(f"draw {i + 1}" for i in range(len(rows.rows) - 1)))
        return Rows(("", *rows.head), tuple((title, *row) for title, row in zip(titles, rows.rows, strict=True)))

    def details(self, x: Tensor, references: References) -> Sequence[tuple[str, Picture]]:
        return details(self._modelled, x, self.some(references.all_train), references)

    @cached_property
    def _modelled(self) -> ModelledColumns:
        return ModelledColumns(self.modelled, self.target)

    @property
    def meaning(self) -> Columns:
        """The meaning of the values of :meth:`numbers`."""
        return self._modelled.meaning

    def numbers(self, x: Tensor) -> Tensor:
        """Raw examples as float64 ``(B, C)``: quantities in their unit, categories as their index, gaps as NaN.

        A category that the schema lacks is -1, and a gap in a column without gaps is NaN as well.
        """
        return self._modelled.numbers(x)

    def fits(self, other: Space) -> bool:
        return isinstance(other, Table) and other.schema == self.schema

    def notes(self, x: Tensor) -> tuple[str, ...]:
        texts = shortened([rule.text for rule in self.rules], 6, 28)
        writers = [(c.name, c.writer) for c in self.schema if isinstance(c, FreeText) and c.writer is not None]
        notes = [
            f"the texts of {name}, no part of the likelihood, are written by {writer.words}" for name, writer in writers
        ]
        return (*([f"{RULES}: {texts}"] if self.rules else []), *notes)

    def reduce(self, x: Tensor) -> Tensor:
        return self.free_rows.reduce(x)

    def expand(self, x: Tensor) -> Tensor:
        return self.free_rows.expand(x)

    def confirmed(self, x: Tensor) -> Table:
        rules = tuple(rule for rule in self.rules if not bool(self.breaks(rule, x).any()))
        return self if len(rules) == len(self.rules) else replace(self, rules=rules)

    def breaks(self, rule: TableRule, x: Tensor) -> Tensor:
        """Which rows break a rule, bool ``(B,)``. Those with a category that the schema lacks do not."""
        alone = FreeRows(self.modelled, (rule,)).reduce(x)
        return (alone == UNSEEN).any(1) & ~(x == UNSEEN).any(1)

    def codes(self, frame: pd.DataFrame) -> Tensor:
        """The raw examples ``(N, C)`` that the rows of a data frame are, found by the names of the columns.

        Raises:
            ValueError: for a column that is not there, or a value that no code can hold.
        """
        wholes = [column for column in self.schema if isinstance(column, Composite) and column.name in frame]
        frame = pd.concat([frame, *(whole.apart(frame[whole.name]) for whole in wholes)], axis=1) if wholes else frame
        missing = [name for name in self.columns if name not in frame.columns]
        if missing:
            raise ValueError(f"must have the column {missing[0]!r} of the model, got {shortened(frame.columns)}")
        codes = torch.from_numpy(np.stack([self.in_schema(c, c.codes(frame[c.name])) for c in self.modelled], 1))
        if not self.rules:
            return codes
        pairs = ((column, pd.factorize(frame[column.name])) for column in self.modelled)
        replaced = [c.replaced(inverse, pd.Series(distinct)) for c, (inverse, distinct) in pairs]
        return self.free_rows.settled(codes, torch.from_numpy(np.stack(replaced, 1)))

    @staticmethod
    def in_schema(column: Modelled, codes: Codes) -> Codes:
        """Codes as a model of the schema takes them: a gap in a column without gaps is :data:`UNSEEN`."""
        return codes if column.missing else np.where(codes == MISSING, UNSEEN, codes)

    def table(self, x: Tensor, beside: pd.DataFrame | None = None) -> pd.DataFrame:
        """The data frame of raw examples: all columns of the file, in its order, with its dtypes."""
        texts = self._texts(x, beside)
        parts = {c.name: c.values(codes) for c, codes in self._by_column(x)}
        parts |= {name: text.replace("", None).astype("str") for name, text in texts.items()}
        parts |= {
            name: text.astype("category" if isinstance(parts[name].dtype, pd.CategoricalDtype) else "str")
            for name, text in self._numbered_pools(x, parts)
        }
        return pd.DataFrame(self._whole(x, parts, texts, as_text=False))

    def text(self, x: Tensor, beside: pd.DataFrame | None = None) -> pd.DataFrame:
        """As :meth:`table`, but every value is a text as the file writes it: with its decimals, format and gaps."""
        texts = self._texts(x, beside)
        parts = {c.name: c.text(codes) for c, codes in self._by_column(x)} | texts
        parts |= dict(self._numbered_pools(x, parts))
        return pd.DataFrame(self._whole(x, parts, texts, as_text=True))

    def _numbered_pools(self, x: Tensor, parts: dict[str, pd.Series]) -> Iterator[tuple[str, pd.Series]]:
        """The columns whose pools of rare categories have numbers, with these, as ``other 2``."""
        for i, number in self.free_rows.pool_numbers(x).items():
            column = parts[self.columns[i]].astype(object)
            numbered = column.astype(str) + " " + pd.Series(number.cpu().numpy(), column.index).astype(str)
            yield self.columns[i], column.where(number.cpu().numpy() < 2, numbered)

    def _whole(
        self, x: Tensor, columns: dict[str, pd.Series], texts: dict[str, pd.Series], as_text: bool
    ) -> dict[str, pd.Series]:
        """Columns with those that were taken apart put together again.

        Args:
            x: the rows.
            columns: all columns.
            texts: those that are drawn letter by letter.
            as_text: whether values are texts, as in a file.
        """
        wholes = [column for column in self.schema if isinstance(column, Composite)]
        if not wholes:
            return columns
        codes = {column.name: (column, codes) for column, codes in self._by_column(x)}
        result = dict(columns)
        for whole in wholes:
            parts = []
            for name in whole.parts:
                column, rows = codes[name]
                text = texts.get(name, column.text(rows))
                parts.append(text.where((rows != MISSING) & (text != ""), None).tolist())
                del result[name]
            values = [whole.joined(row) for row in zip(*parts, strict=True)]
            values = [value or "" for value in values] if as_text else [whole.value(value) for value in values]
            result[whole.name] = pd.Series(values, dtype=object)
            if not as_text and whole.dtype != "object":
                result[whole.name] = result[whole.name].astype("str")
        return result

    def _texts(self, x: Tensor, beside: pd.DataFrame | None) -> dict[str, pd.Series]:
        """The texts of columns that are not modelled: functions of the row, its place and what stands beside it."""
        columns = [
            c for c in self.schema if isinstance(c, FreeText) and (c.spelling is not None or c.writer is not None)
        ]
        if not columns or not len(x):
            return {}
        seeds = (byte_digests(x.cpu()) + torch.arange(len(x)) * MIXING).numpy()
        places = {name: i for i, name in enumerate(self.columns)}
        levels = {c.name: None if c.source not in places else x[:, places[c.source]].cpu().numpy() for c in columns}
        rows = self.row_texts(x, beside) if any(c.writer is not None for c in columns) else pd.DataFrame()
        return {
            c.name: c.drawn(seeds ^ k, levels[c.name]) if c.writer is None else c.written(seeds ^ k, rows)
            for k, c in enumerate(columns)
        }

    def row_texts(self, x: Tensor, beside: pd.DataFrame | None = None) -> pd.DataFrame:
        """The modelled columns of rows as texts, behind what stands beside them."""
        rows = pd.DataFrame({c.name: c.text(codes) for c, codes in self._by_column(x) if isinstance(c, Modelled)})
        if beside is None:
            return rows
        return pd.concat([beside.astype(object).where(beside.notna(), "").astype(str), rows], axis=1)

    def _by_column(self, x: Tensor) -> Iterator[tuple[Column, Codes]]:
        """All columns of the file with their codes. Those that are not modelled have none, so zeros stand there."""
        rows = x.cpu().numpy()
        modelled, blank = iter(rows.T), np.zeros(len(rows), dtype=np.int64)
        return ((c, next(modelled) if isinstance(c, Modelled) else blank) for c in self.schema)
