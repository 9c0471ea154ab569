"""Columns of words: constants, categories, and identifiers and free text, which are not modelled."""

from __future__ import annotations

import dataclasses
import re

import numpy as np

from fourfold.data.errors import option
from fourfold.data.schema.values import Inferred, Values, answer, as_numbers
from fourfold.machine.libraries import pandas as pd
from fourfold.machine.libraries import pyarrow
from fourfold.spaces.columns import POOL, Categorical, Constant, FreeText, Identifier
from fourfold.spaces.formats import UUID, format_of_all, formats_of

__all__ = ["NAMED", "POOL", "boolean", "category", "constant", "drop", "fresh", "identifier", "own_categories", "text"]

UNIQUE = 0.95
"""A column of words of which at least this share differ names its rows."""
RARE = 10
"""A category in fewer rows than this is rare: little is learned of it, and samples may give a person away."""
SOME, MANY = 100, 1000
"""A column of more categories than SOME is warned of if most are rare. Of more than MANY, the rare ones are pooled.

In fewer rows than SOME, categories of mostly rare ones are pooled, since nobody can learn how they are spelled.
"""
NAMED = re.compile(r"(^|[_\W])(id|ids|uuid|guid|key|index|rownames|row|no|nr)$|[a-z](Id|ID)$", re.IGNORECASE)
"""Names of columns that name their rows."""
DIGITS = 0.2
"""The share of digits among the letters of names, at most."""
OFTEN = 2
"""Rows of a name or a code, on average: one with fewer is a text."""
ROOM = 10**12
"""Fresh numbers that must be left above those of the data. Else they count from 1."""


def constant(values: Values) -> Inferred | None:
    name = values.coded.name
    if not len(values.text):
        only = next((gap for gap in values.gaps if gap), None)
        dtype = values.coded.dtype or ("object" if only is None else "str")
        return Inferred(Constant(name, dtype, only), "constant", "empty", "no row has a value", 1.0)
    if len(values.text) > 1 or values.gap_rows or "categories" in values.hint:
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
    categories = tuple(sorted(values.text, key=str.lower))
    return answer(values, values.column(Categorical, "bool", categories=categories), "category", "true and false")


def own_categories(values: Values) -> Inferred | None:
    """The categories that a data frame or a schema file says."""
    if "categories" in values.hint or values.coded.dtype == "category":
        return category(values)
    return None


def category(values: Values) -> Inferred:
    if "categories" in values.hint:
        return _category(values, tuple(values.hint["categories"]), 0, values.hint.get("other"))
    rare = values.counts < RARE
    count, few, free = len(values.text), int(rare.sum()), values.hint.get("kind") != "category"
    if free and (names := _names(values)) is not None:
        return names
    if count > MANY and few and free:
        common = dataclasses.replace(values, text=values.text[~rare], counts=values.counts[~rare])
        categories = tuple(dict.fromkeys((*_categories(common), POOL)))
        return _with_note(
            _category(values, categories, 0, POOL), values, f'are pooled as {POOL!r}: kind = "category"', few
        )
    if (values.counts < values.support).any() and not (count == 2 and _numeric(values)):  # 0 and 1 name nobody
        return _supported(values)
    inferred = _category(values, _categories(values), few, None)
    if count > SOME and few > count / 2:
        return _with_note(inferred, values, 'samples repeat them: kind = "text", "identifier" or "drop"', few)
    return inferred


def _names(values: Values) -> Inferred | None:
    """A column of texts or an identifier, if most rows have a value that is rare."""

    def most(least: int) -> str | None:
        rare = values.counts < least
        few = f"of which {int(rare.sum()):,} are in fewer than {least} rows each"
        return few if values.counts[rare].sum() > values.rows / 2 else None

    count, often = len(values.text), max(values.rows / OFTEN, SOME)
    if (few := most(RARE)) is not None and count > min(often, MANY) and _are_names(values):
        return _text(values, f"{count:,} different texts, {few}")
    if few is not None and count > MANY:
        return _identifier(values, f"{count:,} categories, {few}")
    if (few := most(values.support)) is not None and values.rows >= SOME:
        return _text(values, f"{count:,} different texts, {few}")
    return None


def _supported(values: Values) -> Inferred:
    """A column without the categories that too few rows have.

    A rare number counts as the nearest one that is frequent. Rare words are pooled, or count as the most frequent word
    where all of them together are rare.
    """
    rare, numeric = values.counts < values.support, _numeric(values)
    if numeric and rare.all():
        rare = values.counts < values.counts.max()
    common = dataclasses.replace(values, text=values.text[~rare], counts=values.counts[~rare])
    pooled = rare.all() or values.counts[rare].sum() >= values.support
    other = POOL if pooled else str(values.text.iloc[int(values.counts.argmax())])
    if numeric:
        common = dataclasses.replace(common, hint={**values.hint, "nearest": True})
        inferred = _category(common, _categories(common), 0, None)
    else:
        inferred = _category(common, tuple(dict.fromkeys((*_categories(common), other))), 0, other)
    return dataclasses.replace(inferred, rare=int(rare.sum()))


def _numeric(values: Values) -> bool:
    """True for categories that are numbers, though a data frame may hold them as texts."""
    return plain_dtype(values.text) != "str" and values.coded.dtype != "category"


def _categories(values: Values) -> tuple[str, ...]:
    """The distinct values in order. 0 and -0.0 are one."""
    numbers = as_numbers(values.text)
    if np.isnan(numbers).any():
        return tuple(sorted(values.text))
    return tuple(values.text.iloc[np.unique(numbers, return_index=True)[1]])


def _category(values: Values, categories: tuple[str, ...], few: int, pool: str | None) -> Inferred:
    """A categorical column of these categories, of which a few are rare."""
    dtype = "bool" if {category.lower() for category in categories} == {"true", "false"} else plain_dtype(values.text)
    dtype = "str" if pool is not None else dtype
    remarks = ["words that occur again" if dtype in ("str", "bool") else f"{len(categories):,} different numbers"]
    remarks += [f"{few:,} of them in fewer than {RARE} rows"] if few and values.rows > 100 else []
    remarks += amounts(values.text)
    column = values.column(Categorical, dtype, categories=categories, ordered=dtype not in ("str", "bool"), other=pool)
    if pool is not None and column.dtype != "category":
        column = dataclasses.replace(column, dtype="str")
    if column.dtype == "str":
        column = dataclasses.replace(column, spellings=values.coded.spellings(column.categories))
    return answer(values, column, "category", "; ".join(remarks))


def _with_note(inferred: Inferred, values: Values, remark: str, few: int) -> Inferred:
    """The same with a note on rare categories."""
    note = (
        f"column {values.coded.name}: {few:,} of its {len(values.text):,} values are in fewer than {RARE} rows each, "
        f"and {remark} in a {option('schema')} changes it"
    )
    return dataclasses.replace(inferred, notes=(*inferred.notes, note))


def text(values: Values) -> Inferred | None:
    by_hint = values.hint.get("kind") == "text"
    if not by_hint and (len(values.text) < values.rows / 2 or not _sentences(values)):
        return None
    return _text(values, "most values have three words or more, and few occur again")


def _text(values: Values, reason: str) -> Inferred:
    """A column of texts. Their spelling is counted once it is known which rows are training rows."""
    column = values.column(FreeText, "str", distinct=len(values.text) == values.rows)
    return Inferred(column, "text", "new ones in samples", reason, values.share)


def _are_names(values: Values) -> bool:
    """True for names and texts of a format, such as postcodes, which need not differ from row to row."""
    numbers = not np.isnan(as_numbers(values.text)).any() and not values.text.str.match(r"0\d").any()
    if values.rows < 20 or NAMED.search(values.coded.name) or values.coded.dtype == "category" or numbers:
        return False
    letters = "".join(values.text.iloc[:: max(len(values.text) // 1000, 1)])
    digits = sum(map(str.isdigit, letters)) / max(len(letters), 1)
    formats = formats_of(values.text.tolist())
    return digits < DIGITS or (bool(formats) and all("+" not in form.replace("\\+", "") for form, _ in formats))


def _sentences(values: Values) -> bool:
    """True if most rows hold three words or more."""
    long = values.text.str.count(r"\S\s+(?=\S)").to_numpy() >= 2
    return values.rows >= 20 and values.coded.dtype != "category" and values.counts[long].sum() > values.rows / 2


def drop(values: Values) -> Inferred:
    column = values.column(FreeText, "str")
    return Inferred(column, "drop", "not in samples", "left out of the model and of samples", values.share)


_COUNTED = r"^(?P<head>\D*)(?P<digits>\d{1,18})(?P<tail>\D*)$"
"""Keys that count, such as ``A-007``."""


def identifier(values: Values) -> Inferred | None:
    text = values.text
    by_hint = values.hint.get("kind") == "identifier"
    if not by_hint and (values.rows < 20 or len(text) < UNIQUE * values.rows or values.coded.dtype == "category"):
        return None
    differ = "; ".join([f"{len(text):,} of {values.rows:,} values differ", *amounts(text)])
    inferred = _identifier(values, f"names its row: {differ}")
    if by_hint:
        return inferred
    has_counter = _counter(text) is not None or (
        isinstance(inferred.column, Identifier) and inferred.column.pattern == UUID
    )
    if not has_counter and _are_names(values):
        return _text(values, f"texts of which few occur again: {differ}")
    if has_counter and len(text) < values.rows and values.rows >= 100 and _are_names(values):  # such as postcodes
        return _text(values, f"texts of a format that occur again: {differ}")
    return inferred if has_counter or not _sentences(values) else None


def _identifier(values: Values, reason: str) -> Inferred:
    """An identifier whose fresh values look like those of the data, if these are alike."""
    if (count := _counter(values.text) or _large_counter(values)) is None:
        count = format_of_all(values.text.tolist()) or f"{values.coded.name} {{}}", 0, 1
    pattern, width, first = count
    dtype = "int64" if pattern == "{}" and width == 0 else "str"
    return fresh(values, dtype, values.hint.get("pattern", pattern), width, first, reason)


def _counter(text: pd.Series) -> tuple[str, int, int] | None:
    """Pattern, width and next number of keys that count, such as ``A-007``. ``None`` for others."""
    parts = pyarrow.compute.extract_regex(pyarrow.array(text, pyarrow.string()), _COUNTED)
    head, digits, tail = parts.flatten()
    if not len(text) or parts.null_count or not len(head.unique()) == len(tail.unique()) == 1:
        return None
    lengths = pyarrow.compute.min_max(pyarrow.compute.utf8_length(digits)).as_py()
    width = lengths["max"] if lengths["min"] == lengths["max"] else 0
    return f"{head[0]}{{}}{tail[0]}", width, pyarrow.compute.max(digits.cast("int64")).as_py() + 1


def _large_counter(values: Values) -> tuple[str, int, int] | None:
    """The same for numbers of a data frame that have a sign or more than 18 digits. ``None`` for words."""
    dtype = (values.coded.dtype or "str").lower()
    if not len(values.text) or not dtype.startswith(("int", "uint")):
        return None
    largest = max(map(int, values.text))
    return "{}", 0, largest + 1 if np.iinfo(dtype).max - largest > ROOM else 1


def amounts(text: pd.Series) -> list[str]:
    """A remark on words that are amounts with a sign, such as ``$1,200.50`` or ``45 %``."""
    signed = text.str.contains(r"[$€£¥%]").all() and text.str.fullmatch(r"[$€£¥]?\s*-?[\d.,]+\s*[$€£¥%]?").all()
    return ["amounts with a sign are words: write plain numbers to have quantities"] if len(text) and signed else []


def fresh(values: Values, dtype: str, pattern: str, width: int, first: int, reason: str) -> Inferred:
    """A column that is not modelled: samples get fresh values."""
    column: Identifier = values.column(Identifier, dtype, pattern=pattern, width=width, first=first)
    if column.dtype[0] not in "iuIU" or pattern != "{}":
        column = dataclasses.replace(column, dtype="str")
    example = column.text(np.zeros(1, dtype=np.int64)).iloc[0]
    return Inferred(column, "identifier", f"fresh ones from {example}", f"{reason}; not modelled", values.share)
