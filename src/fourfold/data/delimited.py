"""Delimited files (CSV, TSV): the one place that reads their cells, for tables, numbers, texts and captions.

Arrow reads them. The parser of pandas would be a second one with rules of its own (which texts are gaps, which rows
are too long, the last bit of a number).
"""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
from collections.abc import Iterator
from pathlib import Path

from fourfold.data.errors import DataError
from fourfold.data.files import decoded_parts
from fourfold.data.layout import Layout
from fourfold.data.memory import require
from fourfold.data.packed import is_packed, opened
from fourfold.machine.libraries import pyarrow

__all__ = ["HELD", "cells", "row_line"]

BLOCK = 1 << 24
"""Bytes of a file that are read at once."""
HELD = 3.0
"""Bytes of memory that a byte of a batch takes until it is codes."""
ROWS = 1 << 16
"""Rows that are read at once from a file that only Python's reader knows."""


def cells(path: Path, layout: Layout) -> Iterator[pyarrow.RecordBatch]:
    """The cells of a file as texts, exactly as they stand there, in batches of rows.

    Columns are named by their places: ``0``, ``1`` and so on. A quoted cell may hold separators and line breaks. Empty
    lines are skipped, unless there is only one column.

    Raises:
        DataError: for a row with another number of cells than the first, or a byte that is not UTF-8, with its place.
    """
    try:
        batches = (_of_python if layout.separator == r"\s+" or layout.blank_before_quote else _of_arrow)(path, layout)
        for batch in batches:
            if is_packed(path):  # its size does not tell how much it holds
                require(HELD * batch.nbytes, path)
            yield batch
    except (pyarrow.ArrowInvalid, UnicodeDecodeError, csv.Error) as error:
        if "Empty CSV file" not in str(error):  # a header alone
            raise _fault(path, layout, error) from None


def _names(layout: Layout) -> list[str]:
    return list(map(str, range(layout.width)))


def _of_arrow(path: Path, layout: Layout) -> Iterator[pyarrow.RecordBatch]:
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(opened(path)) if is_packed(path) else path
        yield from pyarrow.csv.open_csv(
            source,
            read_options=pyarrow.csv.ReadOptions(
                column_names=_names(layout),
                skip_rows=layout.comments,
                skip_rows_after_names=int(layout.header),
                block_size=max(BLOCK, min(1 << 30, 200 * layout.longest)),
            ),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=layout.separator, newlines_in_values=True, ignore_empty_lines=layout.width > 1
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(_names(layout), pyarrow.string()), strings_can_be_null=False
            ),
        )


def _of_python(path: Path, layout: Layout) -> Iterator[pyarrow.RecordBatch]:
    """Cells between blanks, or quoted behind a blank, which Arrow does not know. Python's reader takes longer."""
    rows = _rows(path, layout)
    while part := list(itertools.islice(rows, ROWS)):
        if any(len(row) != layout.width for row in part):
            raise csv.Error("rows must have as many cells as the first, got another number")
        columns = [pyarrow.array(column, pyarrow.string()) for column in zip(*part, strict=True)]
        yield pyarrow.RecordBatch.from_arrays(columns, names=_names(layout))


def _rows(path: Path, layout: Layout) -> Iterator[list[str]]:
    """The rows below the header, by Python's reader."""
    return (row for _, row in _numbered_rows(path, layout))


def _numbered_rows(path: Path, layout: Layout) -> Iterator[tuple[int, list[str]]]:
    """The line on which each row ends, and the rows below the header, by Python's reader."""
    with opened(path) as content, io.TextIOWrapper(content, encoding="utf-8-sig", newline="") as file:
        lines: Iterator[str] = itertools.islice(file, layout.comments, None)
        blanks = layout.separator == r"\s+"
        if blanks:
            lines = (" ".join(line.split()) for line in lines)
        rows = csv.reader(lines, delimiter=" " if blanks else layout.separator, skipinitialspace=True)
        full = ((layout.comments + rows.line_num, row or [""]) for row in rows if row or layout.width == 1)
        yield from itertools.islice(full, int(layout.header), None)


def row_line(path: Path, layout: Layout, row: int) -> int:
    """The line on which a row begins, from 1. Rows are counted from 0 below the header."""
    end, cells = next(itertools.islice(_numbered_rows(path, layout), row, None))
    return end - sum(cell.count("\n") for cell in cells)


def _fault(path: Path, layout: Layout, error: Exception) -> DataError:
    """Read a broken file once more, and name its first fault with its row."""
    with opened(path) as file:
        for _ in decoded_parts(path, iter(lambda: file.read(1 << 20), b"")):
            pass
    try:
        for number, row in enumerate(_rows(path, layout), 1):
            if len(row) != layout.width:
                mark = {"\t": "a tab", r"\s+": "a blank"}.get(layout.separator, repr(layout.separator))
                return DataError(
                    f"{path}, row {number}: has {len(row)} cell{'s' * (len(row) != 1)}, and the first line has "
                    f"{layout.width}: give every row the same number of cells, and quote a cell that holds {mark}"
                )
    except csv.Error as other:
        error = other
    reason = " ".join(str(error).split())[:150]
    return DataError(f"{path}: cannot be read as a table ({reason}): write it again, with quoted texts")
