"""Columns that are taken apart: those that hold JSON, and texts of a few patterns around numbers."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fourfold.data.errors import option
from fourfold.data.schema.values import GAPS, Coded
from fourfold.machine.libraries import pandas as pd
from fourfold.output.printable import plural
from fourfold.spaces.composites import (
    LENGTH,
    NUMBER,
    Composite,
    Nested,
    Path,
    Patterned,
    leaves_of,
    read_nested,
    text_of,
)

__all__ = ["apart", "names_a_code", "nested", "patterned"]

MOST = 64
"""Parts of a column, at most."""
ITEMS = 16
"""Items of a list that is taken apart, at most."""
PATTERNS = 12
"""Patterns of a column, at most."""
LEAST = 5
"""Rows of a pattern, at least."""


def apart(column: Composite, coded: Coded) -> list[Coded]:
    """A composite column and its parts, each as it would have been read."""
    texts = coded.distinct.astype(str).tolist()
    rows = [column.split(text) for text in texts] or [(None,) * len(column.parts)]
    columns = [dataclasses.replace(coded, whole=column)]
    for name, values in zip(column.parts, zip(*rows, strict=True), strict=True):
        codes, distinct = pd.factorize(np.array(values, dtype=object))
        inverse = np.append(codes, -1)[coded.inverse].astype(np.int32)
        part = dataclasses.replace(coded, name=name, inverse=inverse, distinct=pd.Series(distinct, dtype=object))
        columns.append(dataclasses.replace(part, dtype=None, padded=None))
    return columns


# --- objects and lists ------------------------------------------------------------------------------------------------


def nested(coded: Coded, support: int) -> tuple[Nested | None, str]:
    """A column of objects or lists, ``None`` if it cannot be taken apart, and a remark.

    Args:
        coded: the column.
        support: the least rows of a key. Rarer ones are left out.
    """
    texts = _texts(coded)
    if not texts or any(text[:1] + text[-1:] not in ("{}", "[]") for text in texts):
        return None, ""
    try:
        style = _style(texts)
        rows = [dict(leaves_of(read_nested(text, style))) for text in texts]
    except ValueError:
        return None, "holds brackets, but no JSON: write objects and lists as JSON to have their values modelled"
    counts = coded.counts[[text not in GAPS for text in coded.distinct.astype(str)]]
    there: Counter[Path] = Counter()
    values: dict[Path, list[Any]] = defaultdict(list)
    children: dict[Path, dict[Path, None]] = defaultdict(dict)
    for row, count in zip(rows, counts.tolist(), strict=True):
        paths = dict.fromkeys(path[:i] for path in row for i in range(len(path) + 1))
        there.update(dict.fromkeys(paths, count))
        for path in paths:
            if path:
                children[path[:-1]].setdefault(path)
        for path, value in row.items():
            values[path].append(value)
    longest = max((max(items) for path, items in values.items() if path[-1:] == (LENGTH,)), default=0)
    every = [path for path in _in_order((), children) if any(value is not None for value in values[path])]
    leaves = [path for path in every if there[path] >= support]
    if longest > ITEMS or len(leaves) > MOST:
        size = f"lists of up to {longest:,} items" if longest > ITEMS else f"{len(leaves):,} values"
        return None, f"holds {size}, more than are taken apart: write them as rows of a table of their own"
    if not leaves or any(path in children for path in leaves):
        return None, "holds objects of too many shapes to be taken apart: write one shape, or a column for each value"
    inside = {path[:i] for path in leaves for i in range(len(path))}
    empty_too = {path for path in inside if there[path] == (there[path[:-1]] if path else coded.counts.sum())}
    nulls = [path for path in dict.fromkeys([*leaves, *inside]) if _as_null(path, there, values)]
    present = [[item for item in values[path] if item is not None] for path in leaves]
    words = tuple(all(isinstance(item, str) and item not in GAPS for item in items) for items in present)
    column = Nested(
        coded.name,
        coded.dtype or "str",
        parts=tuple(f"{coded.name}.{_name(path)}" for path in leaves),
        leaves=tuple(leaves),
        texts=words,
        nulls=tuple(nulls),
        required=tuple(sorted(empty_too - set(nulls), key=str)),
        style=style,
    )
    rare = len(every) - len(leaves)
    remedy = f"in fewer than {support} rows each: {option('keep_rare', True)} keeps all"
    return column, f"without {plural(rare, 'rare key')} of its objects, {remedy}" if rare else ""


def _texts(coded: Coded) -> list[str]:
    """The different texts of a column that stand for a value."""
    return [text for text in coded.distinct.astype(str).tolist() if text not in GAPS]


def _style(texts: Sequence[str]) -> str:
    """How objects are written: as most of them are.

    Raises:
        ValueError: for a text that cannot be read.
    """
    try:
        values = [read_nested(text, "spaced") for text in texts]
    except ValueError:
        _ = [read_nested(text, "python") for text in texts]
        return "python"
    compact = sum(text_of(value, "compact") == text for value, text in zip(values, texts, strict=True))
    return "compact" if compact > len(texts) / 2 else "spaced"


def _in_order(path: Path, children: Mapping[Path, Iterable[Path]]) -> list[Path]:
    """The paths of leaves, those of one object or list beside each other."""
    if path not in children:
        return [path]
    return list(itertools.chain.from_iterable(_in_order(child, children) for child in children[path]))


def _as_null(path: Path, there: Mapping[Path, int], values: Mapping[Path, Sequence[Any]]) -> bool:
    """Whether nothing is written as null: more often than its key is left out, if it has one."""
    missing = there[path[:-1]] - there[path] if path else 0
    return sum(value is None for value in values.get(path, ())) > missing


def _name(path: Path) -> str:
    """The name of a part: keys and places, counted from 1."""
    return ".".join("length" if key == LENGTH else str(key + 1) if isinstance(key, int) else key for key in path)


# --- patterns around numbers ------------------------------------------------------------------------------------------


def patterned(coded: Coded, decimals: bool) -> Patterned | None:
    """A column of a few patterns around numbers. ``None`` for other texts, and for codes and versions.

    Args:
        coded: the column.
        decimals: whether some number must have digits behind a point, as those of names and codes do not.
    """
    texts = _texts(coded)
    number = re.compile(NUMBER)
    forms: dict[tuple[str, ...], list[tuple[str, ...]]] = defaultdict(list)
    rows: Counter[tuple[str, ...]] = Counter()
    counts = coded.counts[[text not in GAPS for text in coded.distinct.astype(str)]]
    for text, count in zip(texts, counts.tolist(), strict=True):
        around = number.split(text)
        forms[tuple(around[::2])].append(tuple(around[1::2]))
        rows[tuple(around[::2])] += count
        if len(forms) > PATTERNS:
            return None
    numbers = [word for lists in forms.values() for row in lists for word in row]
    most = max(map(len, forms), default=1) - 1
    codes = any(re.match(r"-?0\d", word) for word in numbers)
    versions = any("." in form[1:-1] for form in forms)
    codes |= any(len(form) == 2 and names_a_code(form[0].strip("(-")) for form in forms)
    few = min(rows.values(), default=0) < LEAST or not 0 < most <= PATTERNS or (most == 1 and len(forms) == 1)
    if codes or versions or few or (decimals and not any("." in word for word in numbers)):
        return None
    patterns = tuple(_pattern(form, forms[form]) for form, _ in rows.most_common())
    names = [f"{coded.name}.{i + 1}" for i in range(most)] if most > 1 else [f"{coded.name}.number"]
    several = [f"{coded.name}.pattern"] if len(forms) > 1 else []
    return Patterned(coded.name, coded.dtype or "str", parts=(*several, *names), patterns=patterns)


def names_a_code(prefix: str) -> bool:
    """Whether letters before a number are no unit, as in ``Item 3``. Codes of currencies, such as ``EUR``, are."""
    word = prefix.strip()
    return any(letter.isalpha() for letter in word) and not re.fullmatch(r"[A-Z]{1,3}?[$€£¥]|[A-Z]{3}", word)


def _pattern(form: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The texts of a pattern with the way to write each number between them."""
    ways = [_way(numbers) for numbers in zip(*rows, strict=True)]
    return tuple(part for pair in zip(form, [*ways, ""], strict=True) for part in pair)[:-1]


def _way(numbers: Sequence[str]) -> str:
    """How numbers are written: with commas if one is, and with decimals if all have as many."""
    comma = "," if any("," in number for number in numbers) else ""
    digits = {len(number.partition(".")[2]) for number in numbers}
    return f"{comma}.{min(max(digits), 15)}" if comma or len(digits) == 1 else ""
