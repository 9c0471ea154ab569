"""Columns that are taken apart: JSON objects and lists, and texts of a few patterns around numbers."""

from __future__ import annotations

import ast
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias, final

from fourfold.machine.libraries import pandas as pd
from fourfold.spaces.columns import Codes, Unmodelled

__all__ = ["LENGTH", "Composite", "Nested", "Parts", "Path", "Patterned", "leaves_of", "read_nested", "text_of"]

Parts: TypeAlias = tuple[str | None, ...]
"""The texts of the parts of one value, ``None`` for one that is not there."""
Path: TypeAlias = tuple[str | int, ...]
"""The keys and places that lead to a value of an object or a list."""
LENGTH = -1
"""Stands at the end of a path for the number of items of the list there."""
STYLES = ("spaced", "compact", "python")
"""The ways to write objects and lists: JSON with and without blanks, and as Python does."""
SPECIFICATION = re.compile(r",?(\.\d{1,2})?")
"""How a number is written: with commas between groups of digits, with so many decimals."""


@dataclass(frozen=True)
class Composite(Unmodelled, ABC):
    """A column whose values are made of those of other columns, which follow it in the schema and are modelled.

    Attributes:
        parts: the names of these columns.
    """

    parts: tuple[str, ...] = ()

    @abstractmethod
    def split(self, text: str) -> Parts:
        """The parts of one value. A text of another form has no parts: all are ``None``."""

    @abstractmethod
    def joined(self, parts: Parts) -> str | None:
        """The value that parts make. ``None`` for no value."""

    def value(self, text: str | None) -> Any:
        """The value in a data frame that a text stands for."""
        return text

    def apart(self, values: pd.Series) -> pd.DataFrame:
        """The columns of the parts of values, as a file or a data frame holds them."""
        texts = [value if isinstance(value, str) else json.dumps(value, default=str) for value in values]
        rows = [self.split(text) for text in texts]
        return pd.DataFrame(rows, columns=[*self.parts], index=values.index, dtype=object)

    def text(self, codes: Codes) -> pd.Series:
        return pd.Series([""] * len(codes), dtype=object)

    def values(self, codes: Codes) -> pd.Series:
        return pd.Series([None] * len(codes), dtype=object)


@final
@dataclass(frozen=True)
class Patterned(Composite):
    """Texts of a few patterns around numbers, such as ``59.91, 10.75`` or ``2.5 kg`` beside ``400 g``.

    The first part is the pattern, if there are several, and the others are the numbers.

    Attributes:
        patterns: each as the texts around its numbers and, between these, how the number is written.
    """

    patterns: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        wrong = [form for pattern in self.patterns for form in pattern[1::2] if not SPECIFICATION.fullmatch(form)]
        if wrong:
            raise ValueError(f"numbers must be written like ',.2', got {wrong[0]!r}; name commas and decimals")

    @cached_property
    def _expressions(self) -> tuple[re.Pattern[str], ...]:
        return tuple(re.compile(NUMBER.join(map(re.escape, pattern[::2]))) for pattern in self.patterns)

    @property
    def labels(self) -> tuple[str, ...]:
        """The patterns in words: ``#`` stands for a number."""
        return tuple("#".join(pattern[::2]) for pattern in self.patterns)

    def split(self, text: str) -> Parts:
        several = len(self.patterns) > 1
        for label, expression in zip(self.labels, self._expressions, strict=True):
            if (match := expression.fullmatch(text)) is not None:
                numbers = [number.replace(",", "") for number in match.groups()]
                row = [label, *numbers] if several else numbers
                return (*row, *[None] * (len(self.parts) - len(row)))
        return (None,) * len(self.parts)

    def joined(self, parts: Parts) -> str | None:
        several = len(self.patterns) > 1
        if several and parts[0] not in self.labels:
            return None
        pattern = self.patterns[self.labels.index(str(parts[0])) if several else 0]
        numbers = parts[several:][: len(pattern) // 2]
        if None in numbers:
            return None
        words = [_number(str(number), form) for number, form in zip(numbers, pattern[1::2], strict=True)]
        return "".join(text + word for text, word in zip(pattern[::2], [*words, ""], strict=True))


NUMBER = r"((?:(?<![\w)])-)?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?)"
"""A number in a pattern, as a regular expression."""


def _number(text: str, form: str) -> str:
    return f"{float(text):{form}f}" if form.lstrip(",") else f"{int(float(text)):{form}}" if form else text


@final
@dataclass(frozen=True)
class Nested(Composite):
    """Objects and lists, as JSON or Python writes them: each value inside is a part, and so is a list's length.

    Attributes:
        leaves: the path of each part. That of the length of a list ends in :data:`LENGTH`.
        texts: whether each part is a text. Others are numbers, truth values or words of JSON.
        nulls: the paths at which nothing is written as ``null``. Elsewhere the key is left out.
        required: the paths of objects and lists that are there even if they are empty.
        style: one of :data:`STYLES`.
    """

    leaves: tuple[Path, ...] = ()
    texts: tuple[bool, ...] = ()
    nulls: tuple[Path, ...] = ()
    required: tuple[Path, ...] = ()
    style: str = "spaced"

    def split(self, text: str) -> Parts:
        try:
            leaves = dict(leaves_of(read_nested(text, self.style)))
        except ValueError:
            return (None,) * len(self.leaves)
        pairs = zip(self.leaves, self.texts, strict=True)
        return tuple(_part(leaves.get(path), plain) for path, plain in pairs)

    def joined(self, parts: Parts) -> str | None:
        value = self._value((), self._tree, parts)
        return None if value is NOTHING else text_of(value, self.style)

    def value(self, text: str | None) -> Any:
        return text if text is None or self.dtype != "object" else read_nested(text, self.style)

    @cached_property
    def _tree(self) -> dict[str | int, Any]:
        """The place of each part, by the keys of its path one inside the other."""
        tree: dict[str | int, Any] = {}
        for place, path in enumerate(self.leaves):
            node = tree
            for key in path[:-1]:
                node = node.setdefault(key, {})
            node[path[-1]] = place
        return tree

    def _value(self, path: Path, node: Any, parts: Parts) -> Any:
        """The value at a path, :data:`NOTHING` for one that is not there."""
        if isinstance(node, int):
            text = parts[node]
            return self._nothing(path) if text is None else text if self.texts[node] else _literal(text)
        inside = {key: self._value((*path, key), item, parts) for key, item in node.items() if key != LENGTH}
        if LENGTH in node:
            length = parts[node[LENGTH]]
            if length is None:
                return [] if path in self.required else self._nothing(path)
            items = [inside[place] for place in sorted(inside)][: round(float(length))]
            return [item for item in items if item is not NOTHING]
        there = {key: item for key, item in inside.items() if item is not NOTHING}
        empty = all(item is None for item in there.values()) and path not in self.required
        return self._nothing(path) if empty else there

    def _nothing(self, path: Path) -> Any:
        return None if path in self.nulls else NOTHING


NOTHING = object()
"""Stands for a value that is not there."""


def read_nested(text: str, style: str) -> Any:
    """The object or list that a text holds.

    Raises:
        ValueError: for a text that holds none.
    """
    try:
        value = ast.literal_eval(text) if style == "python" else json.loads(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        raise ValueError("must hold an object or a list") from None
    if not isinstance(value, (dict, list)):
        raise ValueError("must hold an object or a list")
    return value


def text_of(value: Any, style: str) -> str:
    """An object or a list as a text."""
    if style == "python":
        return repr(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":") if style == "compact" else None)


def leaves_of(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """The values inside an object or a list, each with its path, and the length of each list.

    Raises:
        ValueError: for a key that is no text.
    """
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ValueError(f"keys must be texts, got {key!r}")
            yield from leaves_of(item, (*path, key))
    elif isinstance(value, list):
        yield (*path, LENGTH), len(value)
        for place, item in enumerate(value):
            yield from leaves_of(item, (*path, place))
    else:
        yield path, value


def _part(value: Any, plain: bool) -> str | None:
    """A value inside as a text of its column."""
    return None if value is None else str(value) if plain else json.dumps(value, ensure_ascii=False, default=str)


def _literal(text: str) -> Any:
    """The value that a text of a column stands for. A text that is not JSON stands for itself."""
    try:
        return json.loads(text.lower() if text in ("True", "False") else text)
    except (ValueError, RecursionError):
        return text
