"""Keys and links without the name of a key: values that differ in every row of one table, and that others repeat.

Numbers and times show none, unless they are named after their table: the numbers of 1,000 rows hold those of any other
1,000, and days are the same everywhere.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from fourfold.data.errors import DataError
from fourfold.data.schema import Coded, infer
from fourfold_databases.reading import Frames, keys_in, places_in

__all__ = ["Column", "columns_of", "names_by_codes", "repeated_key", "singular"]

FEWEST = 5
"""The fewest rows of a table that show such a key."""
SOME = 2000
"""About so many rows tell the kind of a column."""
MANY = 100_000
"""About so many rows are looked up first."""
CODE = r"[A-Z]{1,5}|[a-z]{2,3}|(?=.*\d)[\w./-]{2,20}"
"""Texts that are short names by agreement, such as ``JFK``, ``de`` and ``N10156``."""
NEARLY = 0.95
"""The least share of values, where nearly all must be of a kind, or keys."""
HALF = 0.5
"""The least share of values that are keys, where names say so, too."""
CHANCE = 1e-3
"""Codes that are keys by chance with a higher probability show no link."""
CLASSES = (("[A-Z]", "A", 26), ("[a-z]", "a", 26), (r"\d", "0", 10))
"""Classes of characters: a pattern, the sign that stands for each of them, and their number."""


def singular(name: str) -> str:
    """A name without case, marks and the ending of a plural."""
    word = re.sub(r"[\W_]", "", name).lower()
    if word.endswith("ies"):
        return f"{word[:-3]}y"
    return re.sub(r"(?<=[sxz])es$|(?<=[cs]h)es$|(?<=[^s])s$", "", word)


@dataclass(frozen=True, eq=False)
class Column:
    """A column of a table, and what its values look like.

    Attributes:
        table: whose column it is.
        name: its name.
        values: as they were read.
        place: the numbers of its table and of itself, from 0.
    """

    table: str
    name: str
    values: pd.Series
    place: tuple[int, int]

    @cached_property
    def texts(self) -> pd.Series:
        """The values as texts."""
        return keys_in(f"{self.table}, column {self.name}", self.values, skip_bad=True)

    @cached_property
    def some(self) -> pd.Series:
        """The texts of some rows, but for gaps."""
        values = self.values.iloc[:: max(len(self.values) // MANY, 1)]
        return keys_in(f"{self.table}, column {self.name}", values, skip_bad=True).dropna()

    @cached_property
    def distinct(self) -> pd.Series:
        """Those of them that differ."""
        return self.some.drop_duplicates()

    @cached_property
    def words(self) -> bool:
        """Whether the values are neither numbers nor times."""
        values = self.values.iloc[:: max(len(self.values) // SOME, 1)]
        if not (values.dtype in (object, "category") or pd.api.types.is_string_dtype(values)):
            return False
        inverse, distinct = pd.factorize(values.astype("str"))
        coded = Coded(self.name, inverse.astype(np.int32), pd.Series(distinct, dtype="str"))
        try:
            kind = infer(coded).kind
        except DataError:
            return False
        numbers = pd.to_numeric(coded.distinct, errors="coerce").notna().mean()
        return kind in ("category", "identifier", "text") and numbers < NEARLY

    @cached_property
    def codes(self) -> bool:
        """Whether nearly all values are short names by agreement."""
        return self.words and bool(self.distinct.str.fullmatch(CODE).mean() >= NEARLY)

    @cached_property
    def unique(self) -> bool:
        """Whether each row has a value, and another one."""
        if not self.some.is_unique or pd.api.types.is_float_dtype(self.values):
            return False
        return bool(self.texts.notna().all() and self.texts.is_unique)

    def share_in(self, key: Column) -> float:
        """The share of its values that a key holds."""
        return float((places_in(key.texts, self.some) >= 0).mean()) if len(self.some) else 0.0

    def precedes(self, other: Column) -> bool:
        """Whether it is the key of the two, if both have another value in every row: it has more, or comes earlier."""
        return not other.unique or (-len(self.values), self.place) < (-len(other.values), other.place)


def columns_of(frames: Frames) -> list[Column]:
    """The columns of all tables."""
    return [
        Column(table, str(name), column, (i, j))
        for i, (table, frame) in enumerate(frames.items())
        for j, (name, column) in enumerate(frame.items())
    ]


def repeated_key(table: str, columns: Sequence[Column]) -> tuple[Column, Column] | None:
    """The column that names the rows of a table, and one that repeats it. ``None`` where there is none.

    Its values differ. It is named after its table (``countries.country``), holds codes, or is the first. Columns that
    repeat it have its name, or that of the table, or hold its codes under another name.

    Args:
        table: that has no key with the name of one.
        columns: of all tables.
    """
    own = [c for c in columns if c.table == table and len(c.values) >= FEWEST and c.unique]
    others = [column for column in columns if column.table != table]
    pairs = [(rank, c, other) for c in own for other in others if (rank := _rank(c, other)) is not None]
    return min(pairs, key=lambda pair: pair[0])[1:] if pairs else None


def _rank(key: Column, other: Column) -> int | None:
    """How well another column shows that one is a key, from 0. ``None`` if it does not."""
    same, first = key.name.lower() == other.name.lower(), key.place[1] == 0
    after_table = singular(key.name) == singular(key.table)
    evidence = (
        (same and after_table, HALF),
        (same and key.codes and other.words, HALF),
        (first and key.words and singular(other.name) == singular(key.table), HALF),
        (same and first and key.words and other.words, NEARLY),
    )
    least = next(((rank, least) for rank, (shows, least) in enumerate(evidence) if shows), None)
    if least is not None:
        return least[0] if other.share_in(key) >= least[1] and key.precedes(other) else None
    return len(evidence) if first and names_by_codes(other, key) is not None else None


def names_by_codes(column: Column, key: Column) -> float | None:
    """The share of the codes of a column that a key of codes holds. ``None`` if that is no link.

    A code is a key by chance with the density of the keys among all texts of its shape. So the 249 codes of countries
    hold those of three states of a federation, and this shows nothing.
    """
    if not (column.codes and key.codes) or column.distinct.str.len().min() < 2 or column.unique:
        return None
    share = column.share_in(key)
    if share < NEARLY:
        return None
    texts = column.distinct[places_in(key.texts, column.distinct) >= 0]
    counts = Counter(_shapes(key.texts.dropna()))
    density = {shape: min(count / _texts_of(shape), 1.0) for shape, count in counts.items()}
    logs = (math.log(density[shape]) for shape in _shapes(texts))
    return share if sum(logs) <= math.log(CHANCE) else None


def _shapes(texts: pd.Series) -> pd.Series:
    """Texts with the sign of its class in the place of each character: ``N10156`` is ``A00000``."""
    for pattern, sign, _ in CLASSES:
        texts = texts.str.replace(pattern, sign, regex=True)
    return texts


def _texts_of(shape: str) -> int:
    """The number of texts of a shape."""
    sizes = {sign: size for _, sign, size in CLASSES}
    return math.prod(sizes.get(sign, 1) for sign in shape)
