"""Columns of words: constants, categories, and identifiers, which are not modelled."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pandas as pd

from fourfold.data.schema.values import Inferred, Values, answer, as_numbers
from fourfold.spaces.columns import Categorical, Constant, Identifier

__all__ = ["boolean", "category", "constant", "fresh", "identifier", "own_levels"]

UNIQUE = 0.95
"""A column of words of which at least this share differ names its rows."""


def constant(values: Values) -> Inferred | None:
    name = values.coded.name
    if not len(values.text):
        only = next((gap for gap in values.gaps if gap), None)
        dtype = values.coded.dtype or ("object" if only is None else "str")
        return Inferred(Constant(name, dtype, only), "constant", "empty", "no row has a value", 1.0)
    if len(values.text) > 1 or values.gone or "levels" in values.hint:
        return None
    value = str(values.text.iloc[0])
    dtype = plain_dtype(values.text)
    column = values.column(Constant, dtype, value=value)
    return Inferred(column, "constant", repr(value), "every row has this value")


def plain_dtype(text: pd.Series) -> str:
    """The dtype that pandas gives texts: whole numbers, numbers, or words."""
    if np.isnan(as_numbers(text)).any() or text.str.match(r"[+-]?0\d").any():
        return "str"
    return "int64" if text.str.fullmatch(r"[+-]?\d{1,18}").all() else "float64"


def boolean(values: Values) -> Inferred | None:
    if len(values.text) > 2 or set(values.text.str.lower()) != {"true", "false"}:
        return None
    levels = tuple(sorted(values.text, key=str.lower))
    return answer(values, values.column(Categorical, "bool", levels=levels), "category", "true and false")


def own_levels(values: Values) -> Inferred | None:
    """The levels that a data frame or a schema file says."""
    if "levels" in values.hint or values.coded.dtype == "category":
        return category(values)
    return None


def category(values: Values) -> Inferred:
    numbers = as_numbers(values.text)
    if "levels" in values.hint:
        levels = tuple(values.hint["levels"])
    elif np.isnan(numbers).any():
        levels = tuple(sorted(values.text))
    else:
        _, first = np.unique(numbers, return_index=True)  # 0 and -0.0 are one level
        levels = tuple(values.text.iloc[first])
    dtype = "bool" if {level.lower() for level in levels} == {"true", "false"} else plain_dtype(values.text)
    rare = int((values.counts < 10).sum()) if len(levels) == len(values.counts) else 0
    told = ["words that occur again" if dtype in ("str", "bool") else f"{len(levels):,} different numbers"]
    told += [f"{rare:,} of them in fewer than 10 rows"] if rare and values.rows > 100 else []
    told += amounts(values.text)
    column = values.column(Categorical, dtype, levels=levels, ordered=dtype not in ("str", "bool"))
    return answer(values, column, "category", "; ".join(told))


_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def identifier(values: Values) -> Inferred | None:
    text = values.text
    asked = values.hint.get("kind") == "identifier"
    if not asked and (values.rows < 20 or len(text) < UNIQUE * values.rows or values.coded.dtype == "category"):
        return None
    pattern, width, first = f"{values.coded.name} {{}}", 0, 1
    parts = text.str.extract(r"^(\D*)(\d{1,18})(\D*)$")
    if len(parts) and parts.notna().all(axis=None) and len(parts[[0, 2]].drop_duplicates()) == 1:
        lengths = parts[1].str.len()
        pattern = f"{parts[0].iloc[0]}{{}}{parts[2].iloc[0]}"
        width, first = (int(lengths.max()) if lengths.nunique() == 1 else 0), int(parts[1].astype("int64").max()) + 1
    elif len(text) and text.str.fullmatch(_UUID.pattern).all():
        pattern = "uuid"
    differ = "; ".join([f"{len(text):,} of {values.rows:,} values differ", *amounts(text)])
    dtype = "int64" if pattern == "{}" and width == 0 else "str"
    return fresh(values, dtype, values.hint.get("pattern", pattern), width, first, f"names its row: {differ}")


def amounts(text: pd.Series) -> list[str]:
    """A remark on words that are amounts with a sign, such as ``$1,200.50`` or ``45 %``."""
    signed = text.str.contains(r"[$€£¥%]").all() and text.str.fullmatch(r"[$€£¥]?\s*-?[\d.,]+\s*[$€£¥%]?").all()
    return ["amounts with a sign are words: write plain numbers to have quantities"] if len(text) and signed else []


def fresh(values: Values, dtype: str, pattern: str, width: int, first: int, reason: str) -> Inferred:
    """A column that is not modelled: samples get fresh values."""
    column: Identifier = values.column(Identifier, dtype, pattern=pattern, width=width, first=first)
    if column.dtype[0] not in "iuIU" or pattern != "{}":
        column = dataclasses.replace(column, dtype="str" if values.coded.dtype is None else column.dtype)
    example = column.text(np.zeros(1, dtype=np.int64)).iloc[0]
    return Inferred(column, "identifier", f"fresh ones from {example}", f"{reason}; not modelled", values.share)
