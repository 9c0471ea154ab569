"""The schema of a table: the kind of each column, inferred with a reason in words, or read from a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from fourfold.data.errors import DataError
from fourfold.data.schema.files import read_schema, schema_text, unknown_columns
from fourfold.data.schema.numbers import number
from fourfold.data.schema.times import time
from fourfold.data.schema.values import GAPS, Coded, Hint, Inferred, Values, as_numbers, values_of
from fourfold.data.schema.words import boolean, category, constant, drop, identifier, own_categories, text

__all__ = ["GAPS", "Coded", "Hint", "Inferred", "as_numbers", "infer", "read_schema", "schema_text", "unknown_columns"]


def infer(coded: Coded, hint: Hint | None = None, support: int = 1) -> Inferred:
    """Infer the kind of a column.

    A column is, in this order: empty or constant; true and false; numbers; times; an identifier, if nearly every value
    differs; free text, if most values have three words and few occur again; or a category. Numbers are a category if at
    most ten differ, or if they are whole, at most a hundred differ, and their frequencies jump from one to the next, as
    those of codes do, and an identifier if each occurs once and they count up or their name says so. At most five cells
    in a hundred of another kind count as missing. Beyond a thousand categories, those in fewer than ten rows are
    pooled. If most rows have one of these, the column is an identifier.

    Args:
        coded: the column as it was read.
        hint: the settings of a schema file. The rest is inferred.
        support: the least rows of a category. Others are pooled or replaced, and as many extreme numbers are smoothed.

    Raises:
        DataError: for a hint that the values contradict, with row and way out.
    """
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
