"""The schema of a table: the kind of each column, inferred with a reason in words, or read from a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from fourfold.data.errors import DataError
from fourfold.data.schema.composites import apart, nested, patterned
from fourfold.data.schema.files import read_schema, schema_text, unknown_columns
from fourfold.data.schema.numbers import number
from fourfold.data.schema.times import time
from fourfold.data.schema.values import GAPS, Coded, Hint, Inferred, Values, as_numbers, values_of
from fourfold.data.schema.words import NAMED, boolean, category, constant, drop, identifier, own_categories, text
from fourfold.output.printable import shortened
from fourfold.spaces.columns import Categorical, Column, FreeText, Identifier
from fourfold.spaces.composites import Composite, Patterned

__all__ = [
    "GAPS",
    "Coded",
    "Hint",
    "Inferred",
    "as_numbers",
    "infer",
    "read_schema",
    "schema_text",
    "taken_apart",
    "taken_apart_as",
    "unknown_columns",
]


FEW = 100
"""A column of so few categories is left whole, though its texts may hold several values."""


def infer(coded: Coded, hint: Hint | None = None, support: int = 1) -> Inferred:
    """Infer the kind of a column.

    A column is, in this order: empty or constant; true and false; numbers; times; an identifier, if nearly every value
    differs; free text, if most values have three words and few occur again; or a category. Numbers such as 20210228 are
    times if all are days. Numbers are a category if at
    most ten differ, or if they are whole, at most a hundred differ, and their frequencies jump from one to the next, as
    those of codes do, and an identifier if each occurs once and they count up or their name says so. At most five cells
    in a hundred of another kind count as missing. Beyond a thousand categories, those in fewer than ten rows are
    pooled. If most rows have one of these, the column is an identifier. See :func:`taken_apart` for columns that hold
    several values.

    Args:
        coded: the column as it was read.
        hint: the settings of a schema file. The rest is inferred.
        support: the least rows of a category. Others are pooled or replaced, and as many extreme numbers are smoothed.

    Raises:
        DataError: for a hint that the values contradict, with row and way out.
    """
    if coded.whole is not None:
        return _parts(coded, coded.whole)
    values = values_of(coded, hint or {}, support)
    kind = values.hint.get("kind")
    builders: dict[str, Callable[[Values], Inferred | None]] = {
        "constant": constant,
        "category": category,
        "number": number,
        "time": time,
        "identifier": identifier,
        "text": text,
        "drop": drop,
    }
    if kind is not None:
        inferred = builders[kind](values)
        if inferred is None:
            raise DataError(f"{coded.where}, column {coded.name}: kind must fit its values, got {kind}; choose another")
        reason = "the schema says so" + "".join(f"; {part}" for part in inferred.reason.split("; ")[1:])
        return dataclasses.replace(inferred, reason=reason)
    order = (constant, boolean, own_categories, number, time, identifier, text, category)
    inferred = next(inferred for build in order if (inferred := build(values)) is not None)
    return inferred


def _parts(coded: Coded, column: Composite) -> Inferred:
    """The answer for a column that is taken apart."""
    names = [part.removeprefix(f"{column.name}.") for part in column.parts]
    kind = "texts of a few patterns" if isinstance(column, Patterned) else "objects or lists"
    missing = float((coded.inverse < 0).mean())
    return Inferred(column, "parts", shortened(names, 6, 60), f"{kind}: its values are the columns below", missing)


def taken_apart(
    columns: Sequence[Coded], hints: Mapping[str, Hint], skip: Collection[str], support: int
) -> tuple[list[Coded], tuple[str, ...]]:
    """The columns of a table, those that hold several values followed by these, and notes on others of them.

    A column is taken apart if it would be no category, number or time as it stands.

    Args:
        columns: as they were read.
        hints: of a schema file: a column of another kind than ``parts`` is left whole.
        skip: names of columns that are left whole.
        support: the least rows of a key of objects.
    """
    result: list[Coded] = []
    notes: list[str] = []
    names = {column.name for column in columns}
    for coded in columns:
        whole, remark = _whole(coded, hints.get(coded.name, {}).get("kind"), support)
        separable = whole is not None and coded.name not in skip and names.isdisjoint(whole.parts)
        result += apart(whole, coded) if whole is not None and separable else [coded]
        notes += [f"column {coded.name}: {remark}"] if remark else []
    return result, tuple(notes)


def taken_apart_as(schema: Collection[Column], columns: Sequence[Coded]) -> list[Coded]:
    """The columns of a table, taken apart as those of a schema are."""
    wholes = {column.name: column for column in schema if isinstance(column, Composite)}
    parts = (apart(wholes[coded.name], coded) if coded.name in wholes else [coded] for coded in columns)
    return [part for several in parts for part in several]


def _whole(coded: Coded, kind: str | None, support: int) -> tuple[Composite | None, str]:
    """How a column is taken apart, ``None`` for one that is not, and a remark."""
    if coded.dtype == "object" and kind in (None, "parts"):  # objects and lists of a data frame
        return nested(coded, support)
    some = coded.distinct[:20].astype(str)
    words = coded.dtype in (None, "str", "string") and some.str.contains(r"[\d\[{]").any()
    if kind not in (None, "parts") or not words or len(coded.distinct) < 2 or not np.isnan(as_numbers(some)).any():
        return None, ""
    column = infer(coded, None, support).column
    few = isinstance(column, Categorical) and column.other is None and len(column.categories) <= FEW
    if not isinstance(column, (Categorical, FreeText, Identifier)) or (kind is None and few):
        return None, ""
    whole, remark = nested(coded, support)
    if whole is not None or remark or NAMED.search(coded.name):
        return whole, remark
    return patterned(coded, decimals=isinstance(column, Identifier)), ""
