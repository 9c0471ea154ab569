"""The layout of a CSV file, found by looking at its first rows: separator, header, decimal comma, comments."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fourfold.data.errors import DataError
from fourfold.data.files import check_regular, not_utf8
from fourfold.data.packed import kind_of, opened
from fourfold.spaces.vectors import numbered

__all__ = ["LONGEST", "Layout", "layout_of", "plain"]

LONGEST = 1 << 20
"""Characters of the first lines of a table, at most: whatever has more in one line is not a table."""
_COMMA = re.compile(r"[-+]?\d+,\d+(e[-+]?\d+)?", re.IGNORECASE)
_YEAR = re.compile(r"(1[5-9]|20|21)\d\d")


@dataclass(frozen=True)
class Layout:
    r"""The layout of a CSV file.

    Attributes:
        separator: between cells. ``\s+`` stands for white space.
        names: of the columns. ``column 1``, ``column 2`` and so on without a header.
        header: whether the first row holds the names.
        comments: how many lines come before the table.
        decimal: the mark before the digits behind the point.
        longest: characters of the longest of the first lines.
        blank_before_quote: whether blanks stand between a separator and a quotation mark.
    """

    separator: str
    names: tuple[str, ...]
    header: bool
    comments: int
    decimal: str = "."
    longest: int = 0
    blank_before_quote: bool = False

    @property
    def width(self) -> int:
        """The number of columns."""
        return len(self.names)


def layout_of(path: Path, header: bool | None = None) -> Layout:
    """Look at the first rows of a file.

    A first row of words above words is a header unless its cells occur again below. One with a number is none, unless
    a column has a word above numbers, or its numbers are years, or they count the columns from 0 or 1 above decimals
    or words that occur again.

    Args:
        path: the file.
        header: whether the first row is a header, if that is known.

    Raises:
        DataError: for a file that is not regular or not UTF-8, or has a line that is too long.
    """
    comments, lines = _first_lines(path)
    separator = "\t" if kind_of(path) == ".tsv" else _separator(lines)
    rows = [line.split() for line in lines] if separator == r"\s+" else list(_cells(lines, separator))
    comma = separator != "," and any(_COMMA.fullmatch(cell.strip()) for row in rows for cell in row)
    if comma:
        rows = [[cell.replace(",", ".") if _COMMA.fullmatch(cell.strip()) else cell for cell in row] for row in rows]
    first = [cell.strip() for cell in rows[0]] if rows else []
    header = _is_header(first, rows[1:]) if header is None else header
    names = tuple(plain(name) for name in first) if header else numbered(len(first))
    blank = separator != r"\s+" and any(re.search(re.escape(separator) + r' +"', line) for line in lines)
    longest = max(map(len, lines), default=0)
    return Layout(separator, names, header, comments, "," if comma else ".", longest, blank)


def _is_header(first: list[str], rest: list[list[str]]) -> bool:
    words = [bool(cell) and not _is_number(cell) for cell in first]
    counted = _counts_columns(first)
    if not any(words) and not counted:
        return False
    below = [[row[i].strip() for row in rest if i < len(row)] for i in range(len(first))]
    numeric = [any(cells) and all(_is_number(cell) for cell in cells if cell) for cells in below]
    if counted:
        whole = [any(re.fullmatch(r"[-+]?\d+", cell) for cell in cells) for cells in below]
        repeats = [len({*cells}) < len(cells) for cells in below]
        pairs = zip(numeric, repeats, strict=True)
        return any(cell and not here and any(pair) for cell, here, pair in zip(first, whole, pairs, strict=True))
    if any(word and number for word, number in zip(words, numeric, strict=True)):
        return True
    numbers = [cell for cell, word in zip(first, words, strict=True) if cell and not word]
    if any(not _YEAR.fullmatch(cell) for cell in numbers):
        return False
    again = sum(cell in cells for cell, cells in zip(first, below, strict=True) if cell)
    return again <= len(first) / 2


def _counts_columns(first: list[str]) -> bool:
    """Whether cells are 0, 1, 2 or 1, 2, 3 and so on, as libraries name columns, behind an empty one of row numbers."""
    numbers = first[1:] if first[:1] == [""] else first
    return len(numbers) > 1 and any(numbers == [str(start + i) for i in range(len(numbers))] for start in (0, 1))


def plain(name: str) -> str:
    """A name without the apostrophe that keeps spreadsheets from running it as a formula."""
    return name[1:] if name.startswith("'") and name[1:2] in tuple("=+-@") else name


def _separator(lines: list[str]) -> str:
    """The first of tab, semicolon, bar that most lines hold equally often, else a comma, else white space."""
    for mark in "\t;|":
        counts = [len(row) - 1 for row in _cells(lines, mark)]
        if counts and counts[0] and counts.count(counts[0]) > 0.8 * len(counts):
            return mark
    spaced = bool(lines) and not any("," in line for line in lines) and len(lines[0].split()) > 1
    widths = {len(line.split()) for line in lines if line.strip()}
    return r"\s+" if spaced and len(widths) == 1 else ","


def _first_lines(path: Path, most: int = 20) -> tuple[int, list[str]]:
    """The number of leading comments and empty lines, and the lines after them."""
    check_regular(path)
    lines: list[str] = []
    try:
        with opened(path) as content, io.TextIOWrapper(content, encoding="utf-8-sig", newline="") as file:
            while len(lines) < 1000 and (line := file.readline(LONGEST)):
                lines.append(line)
                if len(line) >= LONGEST:
                    raise DataError(
                        f"{path}, line {len(lines)}: must have at most {LONGEST:,} characters, got more: "
                        "write a table so wide as .npy, and texts so long as .jsonl"
                    )
    except UnicodeDecodeError as error:
        raise DataError(f"{path}, byte {error.start}: {not_utf8(error)}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}): check its permissions") from None
    comments = next((i for i, line in enumerate(lines) if line.strip() and not line.startswith("#")), len(lines))
    return comments, lines[comments : comments + most]


def _cells(lines: Iterable[str], separator: str) -> Iterator[list[str]]:
    """The rows of the first lines. A quoted cell may go on over several of them."""
    lines = list(lines)
    try:
        yield from csv.reader(lines, delimiter=separator, skipinitialspace=True)
    except csv.Error:
        yield from (line.split(separator) for line in lines)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return cell.strip().lower() in ("na", "n/a", "null", "none")
    return True
