"""Tables whose schema is counted with noise, so that it gives no single row away.

Everything that a schema says of the values follows from noised histograms of each column: of the forms in which values
are written (a gap, a word, a date, a number with so many decimals), of its values, and, for quantities, of cells on a
grid that no data has changed, which say the range, and of parts of that range. Names and order of the columns and the
number of rows are public, and so is what the user declares.

A value that only some data have is shown if its noised count passes a threshold, which a value of one row alone does
with a probability below the part of delta that is kept for it (Korolova et al. 2009,
https://doi.org/10.1145/1526709.1526733; Balle, Wang 2018, https://arxiv.org/abs/1805.06530, for the noise).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch

from fourfold.core import Batch
from fourfold.data.schema import GAPS, Coded, Hint, Inferred, as_numbers, unknown_columns
from fourfold.data.schema.files import checked_hint, read_schema
from fourfold.data.schema.words import NAMED, POOL
from fourfold.data.source import Source
from fourfold.machine.libraries import pandas as pd
from fourfold.machine.libraries import scipy
from fourfold.maths.categorical import quantile
from fourfold.output.printable import shortened
from fourfold.privacy import Protection
from fourfold.spaces import Table
from fourfold.spaces.columns import (
    FARTHEST,
    MISSING,
    UNREADABLE,
    Categorical,
    Column,
    Constant,
    DateTime,
    FreeText,
    Graded,
    Identifier,
    Modelled,
    Numeric,
)

__all__ = [
    "LENGTHS",
    "Counting",
    "Masses",
    "counted_columns",
    "noised",
    "private_table",
    "public_columns",
    "read_public",
]

Counts = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

FORMS = 4.0
"""The histogram of forms has so many times the noise of all counts together: it only tells kinds apart."""
MOST = 0.95
"""A column is of numbers or times if this share of the values that are there is written so."""
DECIMALS = 6
"""The most digits behind the point that are told apart."""
SURE = 4.0
"""Standard deviations of the noise that a count must have to say that something is there."""
PARTITION, EVEN = 256, 16
"""The most parts of the range of a quantity, and the fewest cells of the grid that serve as such."""
EXACT, PARTS, OCTAVES = 16, 8, 58
"""Cells of the grid: whole numbers below ``EXACT``, then ``PARTS`` of each power of two up to 2^62, of both signs."""
UNITS: Mapping[str, tuple[str, float]] = {"day": ("%Y-%m-%d", 86400.0), "second": ("%Y-%m-%d %H:%M:%S", 1.0)}
"""Forms of times that are told without a declaration: their format and resolution."""
GAP_TEXTS = ("", *sorted(GAPS - {""}))
FORM_NAMES = (*(f"gap {text}" for text in GAP_TEXTS), "word", *UNITS, *(f"decimals {d}" for d in range(DECIMALS + 1)))
GAP_FORMS = len(GAP_TEXTS)
WORD = GAP_FORMS


ENDS: Mapping[str, Mapping[str, Any]] = {
    "number": {"low": (int, float), "high": (int, float)},
    "time": {"low": str, "high": str},
}
"""The settings that public facts may give for a kind of column, beside those of a schema file."""


def read_public(path: Path | str) -> dict[str, Hint]:
    """The public facts of columns that a schema file declares. Numbers and times may have ``low`` and ``high``.

    Raises:
        DataError: as :func:`fourfold.data.schema.read_schema` does.
    """
    return read_schema(path, ENDS)


def public_columns(where: str, hints: Mapping[str, Any]) -> dict[str, Hint]:
    """The same for columns that a file on several tables declares.

    Raises:
        DataError: as :func:`read_public` does.
    """
    return {name: checked_hint(f"{where}, [{name}]", hint, ENDS) for name, hint in hints.items()}


# --- noise ------------------------------------------------------------------------------------------------------------


@final
@dataclass(frozen=True)
class _Noise:
    """Noise of one release, in which a row changes so many counts by one."""

    protection: Protection
    name: str
    deviation: float

    @classmethod
    def of(cls, protection: Protection, name: str, multiplier: float, changes: int) -> _Noise:
        return cls(protection, name, multiplier * math.sqrt(max(changes, 1)))

    def added(self, column: str, counts: Counts, part: str = "") -> Counts:
        """The counts of something of a column with noise."""
        return counts + self.deviation * self.protection.stream(self.name, column, part).standard_normal(len(counts))

    def threshold(self, delta: float, columns: int) -> float:
        """The count that a value of one row alone passes with probability ``delta`` in all columns together."""
        return 1.0 - self.deviation * float(scipy.special.ndtri(delta / max(columns, 1)))


# --- forms ------------------------------------------------------------------------------------------------------------


def _forms(text: pd.Series) -> Codes:
    """The form of each text, by its place in :data:`FORM_NAMES`."""
    forms = np.full(len(text), WORD, dtype=np.int64)
    numbers = as_numbers(text)
    plain = np.isfinite(numbers) & ~text.str.match(r"[+-]?0\d").to_numpy(dtype=bool)
    digits = text.str.extract(r"\.(\d*?)0*$", expand=False).fillna("").str.len().to_numpy(dtype=np.int64)
    digits = np.where(text.str.contains("[eE]").to_numpy(dtype=bool), DECIMALS, np.minimum(digits, DECIMALS))
    forms[plain] = FORM_NAMES.index("decimals 0") + digits[plain]
    for name, (form, _) in UNITS.items():
        shaped = text.str.len().to_numpy() == (10 if name == "day" else 19)
        if shaped.any():
            times = DateTime.times(text[shaped], form)
            forms[np.flatnonzero(shaped)[times.notna().to_numpy()]] = FORM_NAMES.index(name)
    place = {gap: i for i, gap in enumerate(GAP_TEXTS)}
    gaps = text.map(place)
    forms[gaps.notna().to_numpy()] = gaps.dropna().to_numpy(dtype=np.int64)
    return forms


def _histogram(places: Codes, counts: Counts, length: int) -> Counts:
    return np.bincount(places, weights=counts, minlength=length).astype(np.float64)


@final
@dataclass(frozen=True)
class _Sight:
    """A column as it was read: its texts, the weight of the rows in which each stands, and of those without a value."""

    coded: Coded
    text: pd.Series
    counts: Counts
    empty: float

    @classmethod
    def of(cls, coded: Coded, weights: Counts | None = None) -> _Sight:
        weights = np.ones(len(coded.inverse)) if weights is None else weights
        places = np.where(coded.inverse < 0, len(coded.distinct), coded.inverse)
        counts = _histogram(places.astype(np.int64), weights, len(coded.distinct) + 1)
        return cls(coded, coded.distinct.astype(str), counts[:-1], float(counts[-1]))

    def forms(self) -> Counts:
        counts = _histogram(_forms(self.text), self.counts, len(FORM_NAMES))
        counts[0] += self.empty
        return counts


def _kind(forms: Counts, noise: _Noise, rows: int) -> Hint:
    """The kind of a column by its noised forms, as a schema file would say it."""
    sure = SURE * noise.deviation
    gaps = [GAP_TEXTS[i] for i in np.argsort(-forms[:GAP_FORMS], kind="stable") if forms[i] > sure]
    hint: dict[str, Any] = {"missing": gaps} if gaps else {}
    present = max(rows - float(forms[:GAP_FORMS][forms[:GAP_FORMS] > sure].sum()), 1.0)
    decimals = forms[FORM_NAMES.index("decimals 0") :]
    rows_of = {"number": float(decimals.sum()), **{name: forms[FORM_NAMES.index(name)] for name in ("word", *UNITS)}}
    likely = max(rows_of, key=lambda name: rows_of[name])
    others = sum(rows_of.values()) - rows_of[likely]
    if others > (1 - MOST) * present + sure * math.sqrt(len(forms) - GAP_FORMS):  # surely, not by noise alone
        likely = "word"
    if likely == "number":
        beyond = decimals[::-1].cumsum()[::-1]  # rows with so many decimals or more
        most = max((d for d in range(DECIMALS + 1) if beyond[d] > max(sure, 0.01 * present)), default=0)
        return {"kind": "number", "decimals": most, **hint}
    if likely in UNITS:
        form, resolution = UNITS[likely]
        return {"kind": "time", "format": form, "resolution": resolution, **hint}
    return {"kind": "category", **hint}


# --- the grid ---------------------------------------------------------------------------------------------------------

HALF = EXACT + OCTAVES * PARTS


def _cells(codes: Codes) -> Codes:
    """The cell of each code, from 0 to ``2 HALF - 2``, ascending."""
    size = np.abs(codes)
    octave = np.frexp(np.maximum(size, 1).astype(np.float64))[1] - 1
    octave = np.where((size >> np.minimum(octave, 62)) > 1, octave + 1, octave)  # rounding to float may lower it
    octave = np.where((size >> np.minimum(octave, 62)) < 1, octave - 1, octave)
    base = int(math.log2(EXACT))
    part = (size >> np.maximum(octave - 3, 0)) - PARTS
    cell = np.where(size < EXACT, size, EXACT + (octave - base) * PARTS + part)
    return HALF - 1 + np.sign(codes) * np.minimum(cell, HALF - 1)


def _edges(cell: int) -> tuple[int, int]:
    """The first and the last code of a cell."""
    place = abs(cell - HALF + 1)
    if place < EXACT:
        first = last = place
    else:
        octave, part = divmod(place - EXACT, PARTS)
        width = 1 << (octave + int(math.log2(EXACT)) - 3)
        first = (PARTS + part) * width
        last = first + width - 1
    return (first, last) if cell >= HALF - 1 else (-last, -first)


# --- columns ----------------------------------------------------------------------------------------------------------


@final
@dataclass(frozen=True)
class Masses:
    """The noised masses of a column: of ranges of codes, alike within, and of gaps."""

    first: Codes
    last: Codes
    mass: Counts
    gap: float = 0.0

    def draw(self, rows: int, stream: np.random.Generator) -> Codes:
        """Codes of so many rows."""
        mass = np.append(np.maximum(self.mass, 0), max(self.gap, 0.0))
        mass = mass if mass.sum() > 0 else np.ones(len(mass))
        place = quantile(torch.from_numpy(mass.cumsum()), torch.from_numpy(stream.random(rows))).numpy()
        low, high = np.append(self.first, 0)[place], np.append(self.last, 0)[place]
        codes = low + np.floor(stream.random(rows) * (high - low + 1)).astype(np.int64)
        return np.where(place == len(self.mass), MISSING, np.minimum(codes, high))

    @property
    def usual(self) -> int:
        """A code of the largest mass."""
        place = int(self.mass.argmax())
        return int(self.first[place] + self.last[place]) // 2


@final
@dataclass(frozen=True)
class _Counter:
    """Counts the values of columns with noise.

    Attributes:
        values: noise of the histograms of values and cells.
        threshold: the noised count from which a value shows.
        rows: how many there are.
    """

    values: _Noise
    threshold: float
    rows: int

    def column(self, sight: _Sight, hint: Hint) -> tuple[Inferred, Masses | None]:
        """The column that a hint describes, and its masses. ``None`` where it is not modelled."""
        kind, name = hint.get("kind", "category"), sight.coded.name
        if kind in ("text", "drop"):
            return Inferred(FreeText(name), kind, "empty in samples", "not modelled"), None
        if kind == "identifier" or (kind == "number" and NAMED.search(name) is not None and "low" not in hint):
            column = Identifier(name, pattern=hint.get("pattern", f"{name} {{}}"))
            return Inferred(column, "identifier", "fresh ones", "the name says so; not modelled"), None
        if kind == "constant":
            return Inferred(Constant(name, value=None), "constant", "empty in samples", "declared public"), None
        return self._graded(sight, hint) if kind in ("number", "time") else self._category(sight, hint)

    def _modelled(self, sight: _Sight, hint: Hint, gap: float) -> dict[str, Any]:
        """The fields of a modelled column."""
        missing = "missing" in hint or gap > SURE * self.values.deviation
        return {"name": sight.coded.name, "missing": missing, "gaps": tuple(hint.get("missing", ())) or ("",)}

    def _category(self, sight: _Sight, hint: Hint) -> tuple[Inferred, Masses | None]:
        """Categories: the public ones, or those of enough rows, and one of all the others."""
        gaps = hint.get("missing", ())
        gap = sight.text.isin(gaps).to_numpy(dtype=bool)
        words, counts = sight.text[~gap].to_numpy(dtype=object), sight.counts[~gap]
        order = np.argsort(words.astype(str), kind="stable")  # not that in which rows hold them
        words, counts = words[order], counts[order]
        names: list[str] = list(hint.get("categories", ()))
        if names:
            present = dict(zip(words, counts, strict=True))
            counts = np.array([present.get(name, 0.0) for name in names])
        noised = self.values.added(sight.coded.name, np.append(counts, sight.empty + sight.counts[gap].sum()))
        noised, gap_rows = noised[:-1], float(noised[-1])
        if not names:
            shows = noised > self.threshold
            names, noised = [str(word) for word in words[shows]], noised[shows]
        rest = self.rows - gap_rows * ("missing" in hint) - float(noised.sum())
        other: str | None = hint.get("other")
        if not names:
            return Inferred(FreeText(sight.coded.name), "text", "empty in samples", "no value is frequent"), None
        if "categories" not in hint and rest > SURE * self.values.deviation * math.sqrt(len(names) + 1):
            other = POOL
            names, noised = (names, noised) if POOL in names else ([*names, POOL], np.append(noised, rest))
        fields = self._modelled(sight, hint, gap_rows)
        column = Categorical(**fields, categories=tuple(names), other=other, ordered=bool(hint.get("ordered", False)))
        place = np.arange(len(names), dtype=np.int64)
        detail = f"{len(names):,} categories: {shortened(names, 5, 60)}"
        return self._inferred(column, "category", detail, Masses(place, place, noised, gap_rows * column.missing))

    def _graded(self, sight: _Sight, hint: Hint) -> tuple[Inferred, Masses | None]:
        """A quantity: its ends, frequent values, and masses of cells."""
        bare, kind = self._unbounded(sight, hint), hint["kind"]
        codes = np.append(bare.read(sight.text), MISSING)
        counts = np.append(sight.counts, sight.empty)
        codes, counts = _gathered(np.where(codes <= UNREADABLE, MISSING, codes), counts)
        there = codes > UNREADABLE
        gap_rows = counts[~there].sum()
        codes, counts = np.clip(codes[there], -FARTHEST, FARTHEST), counts[there]
        ends = self._declared(bare, hint)
        codes = np.clip(codes, *ends)
        cells = _histogram(_cells(codes), counts, 2 * HALF - 1)
        noised = self.values.added(sight.coded.name, np.append(cells, gap_rows), "cells")
        cells, gap_rows = noised[:-1], float(noised[-1])
        levels = self.values.added(sight.coded.name, counts)
        shows = levels > self.threshold
        sure = SURE * self.values.deviation
        low, high = _ends(cells, codes[shows], ends, sure)
        most = int(np.clip(self.rows / (4 * sure), EVEN, PARTITION))
        edges = _partition(low, high, most)
        inside = _histogram(np.searchsorted(edges, np.clip(codes, low, high), side="right") - 1, counts, PARTITION)
        inside = self.values.added(sight.coded.name, inside, "parts")
        masses = _quantity(edges, inside[: len(edges) - 1], codes[shows], levels[shows], ends, sure)
        if masses is None:
            return Inferred(FreeText(sight.coded.name), "text", "empty in samples", "too few rows to say more"), None
        missing = bare.missing or gap_rows > SURE * self.values.deviation
        low = int(masses.first.min()) if "low" not in hint else ends[0]
        high = int(masses.last.max()) if "high" not in hint else ends[1]
        column = dataclasses.replace(bare, low=low, high=high, missing=missing)
        words = column.text(np.array([low, high], dtype=np.int64))
        masses = dataclasses.replace(masses, gap=gap_rows * missing)
        return self._inferred(column, kind, f"{words.iloc[0]} to {words.iloc[1]}", masses)

    def _unbounded(self, sight: _Sight, hint: Hint) -> Graded:
        """The column of a hint without its ends."""
        fields = self._modelled(sight, hint, 0.0)
        if hint["kind"] == "time":
            resolution = float(hint.get("resolution", 86400.0))
            return DateTime(**fields, resolution=resolution, format=str(hint.get("format", "%Y-%m-%d")))
        decimals = int(hint.get("decimals", 0))
        resolution = float(hint.get("resolution", 10.0**-decimals))
        whole = decimals == 0 and resolution == int(resolution)
        dtype = sight.coded.dtype or ("int64" if whole else "float64")
        return Numeric(**fields, dtype=dtype, resolution=resolution, decimals=decimals)

    @staticmethod
    def _declared(column: Graded, hint: Hint) -> tuple[int, int]:
        """The ends that are declared public, as codes."""
        ends = pd.Series([str(hint.get(side, "")) for side in ("low", "high")])
        low, high = (int(column.read(ends[[i]])[0]) if ends[i] else None for i in range(2))
        return -FARTHEST if low is None else low, FARTHEST if high is None else high

    def _inferred(self, column: Modelled, kind: str, detail: str, masses: Masses) -> tuple[Inferred, Masses]:
        return Inferred(column, kind, detail, "counted with noise", round(max(masses.gap, 0) / self.rows, 3)), masses


def _gathered(codes: Codes, counts: Counts) -> tuple[Codes, Counts]:
    """Different codes with the sums of their counts."""
    codes, place = np.unique(codes, return_inverse=True)
    return codes, _histogram(place, counts, len(codes))


def _ends(cells: Counts, levels: Codes, ends: tuple[int, int], sure: float) -> tuple[int, int]:
    """The outer edges of the cells that surely have rows, within the declared ends."""
    first, last = _cells(np.array(ends, dtype=np.int64))
    within = np.flatnonzero(cells[first : last + 1] > sure) + first  # noise may fill a cell beyond the declared ends
    filled = np.union1d(within, _cells(levels))
    if not len(filled):
        return max(0, ends[0]), max(0, ends[0])
    low, high = _edges(int(filled[0]))[0], _edges(int(filled[-1]))[1]
    return max(low, ends[0]), min(high, ends[1])


def _partition(low: int, high: int, most: int) -> Codes:
    """The first codes of parts of a range, and the code behind the last.

    They are the cells of the grid, which suit quantities of many magnitudes, or, where these are few, ``most`` parts of
    one width.
    """
    first, last = (int(_cells(np.array([end], dtype=np.int64))[0]) for end in (low, high))
    if EVEN <= last - first <= PARTITION - 1:
        starts = [low, *(_edges(cell)[0] for cell in range(first + 1, last + 1))]
    else:
        count = min(most, high - low + 1)
        starts = [low + (high - low + 1) * k // count for k in range(count)]
    return np.array([*starts, high + 1], dtype=np.int64)


def _quantity(
    edges: Codes, inside: Counts, levels: Codes, counts: Counts, ends: tuple[int, int], sure: float
) -> Masses | None:
    """The masses of frequent values, and of the rest of each part between the outermost that surely have rows."""
    rest = inside - _histogram(np.searchsorted(edges, levels, side="right") - 1, counts, len(inside))
    filled = np.flatnonzero(rest > sure)
    if not len(filled) and not len(levels):  # too few rows to tell parts apart
        alike = max(float(rest.sum()), 0.0)
        declared = ends[0] > -FARTHEST and ends[1] < FARTHEST
        whole = Masses(edges[:1], edges[-1:] - 1, np.array([alike]))
        return whole if declared or alike > sure * math.sqrt(len(rest)) else None
    outer = [*levels, *edges[filled[:1]], *(edges[filled[-1:] + 1] - 1)]
    low, high = (min(outer) if ends[0] == -FARTHEST else ends[0]), (max(outer) if ends[1] == FARTHEST else ends[1])
    first, last = np.maximum(edges[:-1], low), np.minimum(edges[1:] - 1, high)
    ordered = first <= last
    return Masses(
        np.append(first[ordered], levels),
        np.append(last[ordered], levels),
        np.append(np.maximum(rest[ordered], 0), counts),
    )


# --- the table --------------------------------------------------------------------------------------------------------


@final
@dataclass(frozen=True)
class Counting:
    """How the rows of a table are counted: each with a weight, and with noise.

    The weights of the rows of a unit sum to at most 1. So the unit changes a histogram by at most 1, in the 2-norm too.

    Attributes:
        protection: how units are protected.
        units: how many there are, which is public.
        rows: the sum of the weights of all rows, public, or counted with noise.
        weights: of the rows. ``None``: each is a unit.
        most: the most rows that a unit has.
        spent: the part of the budget of counts, by squares of the noise, that other counts of the table have.
    """

    protection: Protection
    units: int
    rows: int
    weights: Counts | None = None
    most: int = 1
    spent: float = 0.0


LENGTHS = 4.0
"""A histogram of numbers of rows has so many times the noise of all counts of its table together."""


def noised(protection: Protection, units: int, name: str, counts: Counts) -> tuple[Counts, float]:
    """A histogram of which a unit changes at most 1, with the noise of :data:`LENGTHS`, and its standard deviation."""
    noise = _Noise.of(protection, name, LENGTHS * protection.counts(units), 1)
    return noise.added("", counts), noise.deviation


def private_table(
    bare: Source, where: str, columns: Sequence[Coded], protection: Protection, target: str | None
) -> Source:
    """The source of a table in a schema that is counted with noise. Values that it does not hold become some it does.

    Args:
        bare: the source without its examples.
        where: the file, for messages.
        columns: as they were read.
        protection: how the rows are protected.
        target: the column that models are judged by.
    """
    rows = len(columns[0].inverse)
    inferred, codes, masses = counted_columns(where, columns, Counting(protection, rows, rows))
    space = Table(tuple(item.column for item in inferred if item.kind != "drop"), target=target, observed=rows)
    codes_of_columns = [part.draw(rows, protection.stream("rows", name)) for name, part in masses.items()]
    return dataclasses.replace(
        bare,
        x=torch.from_numpy(codes),
        space=space,
        columns=inferred,
        statistics=Batch(torch.from_numpy(np.stack(codes_of_columns, 1))),
    )


def counted_columns(
    where: str, columns: Sequence[Coded], counting: Counting
) -> tuple[tuple[Inferred, ...], Codes, dict[str, Masses]]:
    """Columns whose schema is counted with noise, the codes ``(N, C)`` of those that are modelled, and their masses."""
    protection = counting.protection
    unknown_columns(where, protection.public, [column.name for column in columns])
    sights = [_Sight.of(column, counting.weights) for column in columns]
    hints = _kinds(sights, counting)
    total = sum(_counts_of(hint) for hint in hints)
    whole = protection.counts(counting.units)
    values = _Noise.of(protection, "values", whole / math.sqrt(1 - FORMS**-2 - counting.spent), total)
    threshold = values.threshold(protection.level_delta(counting.units), total * counting.most)
    counter = _Counter(values, threshold, counting.rows)
    answers = [counter.column(sight, hint) for sight, hint in zip(sights, hints, strict=True)]
    inferred = tuple(item for item, _ in answers)
    modelled = [(sight, item.column, part) for sight, (item, part) in zip(sights, answers, strict=True) if part]
    codes = [_within(sight, column, part) for sight, column, part in modelled]
    whole_codes = np.stack(codes, 1) if codes else np.empty((len(columns[0].inverse), 0), dtype=np.int64)
    return inferred, whole_codes, {column.name: part for _, column, part in modelled}


def _kinds(sights: Sequence[_Sight], counting: Counting) -> list[Hint]:
    """The settings of each column: the public ones, else those that noised forms say."""
    protection, rows = counting.protection, counting.rows
    public = protection.public
    unknown = [sight for sight in sights if "kind" not in public.get(sight.coded.name, {})]
    noise = _Noise.of(protection, "forms", FORMS * protection.counts(counting.units), len(unknown))
    kinds = {sight.coded.name: _kind(noise.added(sight.coded.name, sight.forms()), noise, rows) for sight in unknown}
    return [{**kinds.get(s.coded.name, {}), **public.get(s.coded.name, {})} for s in sights]


def _counts_of(hint: Hint) -> int:
    """How many counts of values a row changes in a column of a kind."""
    return {"number": 3, "time": 3, "category": 1}.get(hint["kind"], 0)


def _within(sight: _Sight, column: Column, masses: Masses) -> Codes:
    """The codes of all rows. Values beyond the ends become the ends, and those that have no place a gap or the mode."""
    assert isinstance(column, Modelled)
    codes = np.append(column.read(sight.text), MISSING)
    foreign = codes <= UNREADABLE
    if isinstance(column, Graded):
        codes = np.where(foreign, codes, np.clip(codes, *column.span))
    codes = np.where(foreign, MISSING if column.missing else masses.usual, codes)
    return codes[sight.coded.inverse]
