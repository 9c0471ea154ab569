"""The error of data that cannot be used: a line with the file and, as the way out, often an argument."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from fourfold.output.printable import printable
from fourfold.settings.data import DataOptions, words_of
from fourfold.spaces.registry import space_named

__all__ = ["DataError", "option", "readable", "refuse_other"]

FAULTS: tuple[type[Exception], ...] = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    TypeError,
    SyntaxError,
    RuntimeError,
    OverflowError,
)
"""Errors that libraries raise for a damaged file, or for one of another kind."""


class DataError(ValueError):
    """Data that cannot be used: one line with the file, the row or column, and the way out.

    Control characters of names and cells are written as escapes.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


@contextlib.contextmanager
def readable(
    path: Path,
    description: str = "",
    way: str = "write it again",
    smaller: str = "give --limit, or a smaller file",
    also: tuple[type[Exception], ...] = (),
) -> Iterator[None]:
    """Inside, an error of the library that reads a file becomes one line with the file and the way out.

    Args:
        path: the file.
        description: the format it is read as, such as ``"as Parquet"``.
        way: the way out of a file that cannot be read.
        smaller: the way out of one that does not fit into memory.
        also: kinds of errors that only this library has.
    """
    try:
        yield
    except DataError:
        raise
    except MemoryError:
        raise DataError(f"{path}: must fit into memory, got too much: {smaller}") from None
    except FAULTS + also as error:
        reason = " ".join(str(error).split())[:150] or type(error).__name__
        raise DataError(f"{path}: cannot be read{description and f' {description}'} ({reason}): {way}") from None


def option(name: str, value: object = None) -> str:
    """An argument of :func:`fourfold.data.load` as it is written on the command line and in Python."""
    words = words_of(name, value)
    python = f"{name}={'...' if value is None else repr(value)}"
    return python if words is None else f"{' '.join(words)} (in Python: {python})"


def refuse_other(options: DataOptions, description: str, *names: str) -> None:
    """Refuse settings that were given and mean nothing for this kind of data, beside those that have these names.

    Raises:
        DataError: naming the first, or the space of the model that such data is not for.
    """
    kind = space_named(options.space) if isinstance(options.space, str) else None
    allowed = _GENERAL.union(names, () if kind is None else kind.settings)
    for name, value in options.changed().items():
        if name in allowed or value is False:
            continue
        if options.model is not None and name in options.model.reading():  # which the user did not give
            raise DataError(f"{description}: data must be {options.model}; give data of the same kind")
        raise DataError(f"{name} must be left out for {description}, got {option(name, value)}")


OF_TABLES = (
    *("labels", "schema", "target", "group", "series", "order", "rare"),
    *("text", "text_model", "text_rows", "private"),
)
"""Settings that mean something for tables."""
_GENERAL = frozenset(
    [
        *("seed", "given", "limit", "length", "skip_bad", "deduplicate", "fractions", "space"),
        *("data_dir", "index", "keep_rare"),
    ]
)
"""Settings that mean something for every kind of data, or are checked where they are used."""
