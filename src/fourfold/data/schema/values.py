"""The values of a column as they were read, and a schema's settings of it, for all kinds of columns."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fourfold.data.errors import DataError, option
from fourfold.machine.libraries import pandas as pd
from fourfold.machine.libraries import pyarrow
from fourfold.output.printable import shortened
from fourfold.spaces.columns import Categorical, Column, Graded, Modelled
from fourfold.spaces.composites import Composite

__all__ = [
    "GAPS",
    "Coded",
    "Hint",
    "Inferred",
    "Values",
    "answer",
    "as_numbers",
    "refuse",
    "section",
    "values_of",
    "without",
]

GAPS = frozenset({"", "NA", "N/A", "n/a", "na", "NaN", "nan", "null", "NULL", "Null", "None", "none", "NONE", "?"})
GAPS |= {"<NA>", "#N/A", "NaT"}
"""Texts that mean a missing value in any column."""
NUMBER_GAPS = frozenset({"-", "--", "."})
"""Texts that mean a missing value among numbers and times."""
ODD = 0.05
"""If at most this share of the cells of a column of numbers or times are something else, they count as missing."""

Hint = Mapping[str, Any]
"""The settings that a schema file gives for one column."""


@dataclass(frozen=True)
class Coded:
    """A column as it was read: its distinct values, and the number of the one that each row holds.

    Attributes:
        name: of the column.
        inverse: ``(N,)``, -1 where a data frame or a database has no value.
        distinct: texts of a file, or values of a type.
        dtype: of the values in a data frame. ``None`` for a file of text, which has no types.
        where: the file, for messages.
        rows: the place of each row in its file, from 0, where only some rows were read.
        padded: the distinct values of a file with the blanks around them. ``None``: there are none.
        whole: the column itself, if it is taken apart into those that follow it.
    """

    name: str
    inverse: npt.NDArray[np.int32]
    distinct: pd.Series
    dtype: str | None = None
    where: str = ""
    rows: npt.NDArray[np.int64] | None = None
    padded: pd.Series | None = None
    whole: Composite | None = None

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """The number of rows that hold each distinct value."""
        return np.bincount(self.inverse[self.inverse >= 0], minlength=len(self.distinct)).astype(np.int64)

    def among(self, rows: npt.NDArray[np.int64]) -> Coded:
        """The column of some rows, with the values that they hold."""
        inverse = self.inverse[rows]
        numbers = np.unique(inverse[inverse >= 0])
        number = np.full(len(self.distinct) + 1, -1, dtype=np.int32)  # the last one is that of no value
        number[numbers] = np.arange(len(numbers))
        distinct = self.distinct.iloc[numbers].reset_index(drop=True)
        places = rows if self.rows is None else self.rows[rows]
        padded = None if self.padded is None else self.padded.iloc[numbers].reset_index(drop=True)
        return dataclasses.replace(self, inverse=number[inverse], distinct=distinct, rows=places, padded=padded)

    def spellings(self, words: Sequence[str]) -> tuple[str, ...]:
        """Words as most rows write them, with the blanks around them. Empty where there are no blanks."""
        if self.padded is None:
            return ()
        often = self.counts.argsort(kind="stable")  # the last of a word counts
        spelling = dict(zip(self.distinct.astype(str).iloc[often], self.padded.astype(str).iloc[often], strict=True))
        spelled = tuple(spelling.get(word, word) for word in words)
        return spelled if spelled != tuple(words) else ()

    def place(self, mask: npt.NDArray[np.bool_]) -> str:
        """The first row that holds one of the chosen distinct values, and the value."""
        row = int(np.append(mask, False)[self.inverse].argmax())
        value = str(self.distinct.iloc[self.inverse[row]])[:40]
        return f"{value!r} in row {1 + (row if self.rows is None else int(self.rows[row]))}"


@dataclass(frozen=True)
class Inferred:
    """A column as it was inferred, and the reason.

    Attributes:
        column: the column.
        kind: its name in a schema file.
        detail: its values, in short.
        reason: why it is of this kind, as a clause.
        missing: the share of rows without a value.
        continuous: true for numbers whose digits a grid cannot keep.
        notes: what the user should know before anything is trained.
        rare: how many categories are pooled or replaced, since few rows have them.
    """

    column: Column
    kind: str
    detail: str
    reason: str
    missing: float = 0.0
    continuous: bool = False
    notes: tuple[str, ...] = ()
    rare: int = 0

    def record(self) -> dict[str, Any]:
        """The same as a JSON value."""
        about = {"name": self.column.name, "kind": self.kind, "values": self.detail, "why": self.reason}
        return {**about, "missing": self.missing, "dtype": self.column.dtype}


@dataclass(frozen=True)
class Values:
    """The values of a column that are there: texts, each with the number of its rows.

    A value of fewer rows than ``support`` is rare.
    """

    coded: Coded
    text: pd.Series
    counts: npt.NDArray[np.int64]
    gaps: tuple[str, ...]
    gap_rows: int
    remarks: tuple[str, ...]
    hint: Hint
    notes: tuple[str, ...] = ()
    support: int = 1

    @property
    def rows(self) -> int:
        return int(self.counts.sum())

    @property
    def missing(self) -> bool:
        return self.gap_rows > 0 or "missing" in self.hint

    @property
    def share(self) -> float:
        return self.gap_rows / max(self.rows + self.gap_rows, 1)

    def column(self, kind: type[Column], dtype: str, **fields: Any) -> Any:
        """A column of a kind, with the name, gaps and dtype of these values."""
        hint = dict(self.hint)
        hint = {key: hint[key] for key in hint.keys() & {"ordered", "other", "nearest"} if kind is Categorical}
        modelled = {"missing": self.missing, "gaps": self.gaps} if issubclass(kind, Modelled) else {}
        return kind(**{"name": self.coded.name, "dtype": self.coded.dtype or dtype, **modelled, **fields, **hint})


def values_of(coded: Coded, hint: Hint, support: int = 1) -> Values:
    """The values of a column without its gaps."""
    counts = coded.counts
    typed = coded.dtype is not None and not pd.api.types.is_string_dtype(coded.distinct.dtype)
    text = coded.distinct.astype(str)
    gap = _gaps(text, hint) & (counts > 0)
    mask = ~gap & (counts > 0)
    gap_rows = len(coded.inverse) - int(counts[mask].sum())
    gap_texts = text[gap].iloc[(-counts[gap]).argsort(kind="stable")] if gap.any() and not typed else ()
    gaps = tuple(map(str, hint.get("missing") or dict.fromkeys(gap_texts))) or ("",)
    remarks = (f"{shortened(map(repr, gaps), 4)} is missing",) if gap_rows and gaps != ("",) else ()
    text, counts = text[mask], counts[mask]
    if coded.padded is not None and text.duplicated().any():  # blanks around a word do not make another word
        sums = pd.Series(counts, index=text).groupby(level=0).sum()
        text, counts = pd.Series(sums.index.astype(str)), sums.to_numpy()
    return Values(coded, text.reset_index(drop=True), counts, gaps, gap_rows, remarks, hint, support=support)


def _gaps(text: pd.Series, hint: Hint) -> npt.NDArray[np.bool_]:
    """The texts that mean a missing value. Dashes and points do among numbers alone."""
    if "missing" in hint:
        return text.isin(hint["missing"]).to_numpy(dtype=bool)
    gap = text.isin(GAPS | NUMBER_GAPS).to_numpy(dtype=bool, copy=True)
    dashes = text[gap].isin(NUMBER_GAPS).to_numpy(dtype=bool)
    if dashes.any() and not gap.all() and np.isnan(as_numbers(text[~gap])).mean() > 0.1:
        gap[gap] = ~dashes
    return gap


def as_numbers(text: pd.Series) -> npt.NDArray[np.float64]:
    """Texts as numbers, NaN where one is none."""
    try:
        numbers = pyarrow.compute.cast(pyarrow.array(text, pyarrow.string()), pyarrow.float64())
        return numbers.to_numpy(zero_copy_only=False)
    except pyarrow.ArrowInvalid:
        return pd.to_numeric(text, errors="coerce").to_numpy(np.float64, na_value=np.nan)


def without(values: Values, odd: npt.NDArray[np.bool_], form: str) -> Values:
    """Values of which a few odd ones count as missing, as ``rotary`` among numbers does. A note names them."""
    if not odd.any():
        return values
    words, times = values.text[odd], int(values.counts[odd].sum())
    coded = values.coded
    place = coded.place(coded.distinct.astype(str).isin(words).to_numpy(dtype=bool))
    more = f" and {times - 1:,} more" if times > 1 else ""
    note = (
        f"column {coded.name}: {place}{more} is not {form} and counts as missing: correct it, or write "
        f'[{section(coded.name)}] kind = "category" into a {option("schema")}'
    )
    gaps = tuple(map(str, words))
    return dataclasses.replace(
        values,
        text=values.text[~odd].reset_index(drop=True),
        counts=values.counts[~odd],
        gaps=(*values.gaps, *gaps) if values.gap_rows else (*gaps, *values.gaps),  # samples have the first
        gap_rows=values.gap_rows + times,
        remarks=(*values.remarks, f"{shortened(list(map(repr, gaps)), 4)} counts as missing"),
        notes=(*values.notes, note),
    )


def refuse(values: Values, wrong: npt.NDArray[np.bool_], form: str) -> None:
    """Refuse values that are wrong, with the first row that has one."""
    if wrong.any():
        coded = values.coded
        words = values.text[wrong]
        texts = coded.distinct.astype(str)
        name, first = section(coded.name), json.dumps(str(words.iloc[0])[:40], ensure_ascii=False)
        place = coded.place(texts.isin(words).to_numpy(dtype=bool))
        raise DataError(
            f"{coded.where}, column {coded.name}: must be {form}, got {place}; "
            f"correct it, or give {option('schema')} a file that says so: [{name}] missing = [{first}], "
            f'or [{name}] kind = "category"'
        )


def section(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name, ensure_ascii=False)


def answer(values: Values, column: Column, kind: str, reason: str) -> Inferred:
    """The answer for a modelled column: its values in short, and the reason with a remark on gaps."""
    if isinstance(column, Categorical):
        detail = f"{len(column.categories):,} categories: {shortened(column.categories, 5, 60)}"
    else:
        assert isinstance(column, Graded)
        ends = column.text(np.array(column.span, dtype=np.int64))
        detail = f"{ends.iloc[0]} to {ends.iloc[1]}"
    return Inferred(column, kind, detail, "; ".join([reason, *values.remarks]), values.share, notes=values.notes)
