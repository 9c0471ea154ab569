"""Raw examples as files: the formats that every space has, and those that a space adds."""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from fourfold.core import ALONE, Beside, Space
from fourfold.data.packed import kind_of, write_text
from fourfold.machine.libraries import pandas as pd

__all__ = ["as_lines", "usual_suffix", "write_examples", "write_json_lines", "write_workbook"]


def _npy(path: Path, x: Tensor, space: Space, beside: Beside) -> None:
    with path.open("wb") as file:
        np.save(file, x.numpy())


def _npz(path: Path, x: Tensor, space: Space, beside: Beside) -> None:
    arrays: dict[str, Any] = {"x": x.numpy()}
    if beside.labels:
        arrays["y"] = np.array(list(beside.labels))
    elif beside.table is not None:
        columns = {str(name): np.array(list(values)) for name, values in beside.table.items()}
        arrays = {name: a if a.dtype != object else a.astype(str) for name, a in columns.items()} | arrays
    with path.open("wb") as file:
        np.savez(file, **arrays)


def _csv(path: Path, x: Tensor, space: Space, beside: Beside) -> None:
    write_text(path, _as_csv(x, space, beside))


def _as_csv(x: Tensor, space: Space, beside: Beside) -> str:
    """A table as CSV that can be read again, and in which no name or class runs as a formula of a spreadsheet."""
    if beside.table is None and type(space).table is Space.table and x.is_floating_point():
        return _numbers(x.flatten(1), space.column_names)
    table = _frame(x, space, beside)
    for name in table.columns[len(table.columns) - (0 if beside.table is None else beside.table.shape[1]) :]:
        table[name] = [_inert(value) if isinstance(value, str) else value for value in table[name]]
    table.columns = [_inert(name) for name in table.columns]
    text: str = table.to_csv(index=False, float_format="%.9g", lineterminator="\n")
    return text


def _numbers(x: Tensor, names: Sequence[str]) -> str:
    """The same for numbers alone: without pandas, which takes as long to import as small samples to draw."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(map(_inert, names))
    for row in x.tolist():
        text.write(",".join(["" if math.isnan(value) else f"{value:.9g}" for value in row]) + "\n")
    return text.getvalue()


def _inert(text: str) -> str:
    """A text that a spreadsheet would run as a formula, behind an apostrophe, which the reader takes away."""
    try:
        float(text)
    except ValueError:
        return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
    return text


def _frame(x: Tensor, space: Space, beside: Beside) -> pd.DataFrame:
    return beside.after(space.table(x), space.row_counts(x))


def _parquet(path: Path, x: Tensor, space: Space, beside: Beside) -> None:
    _frame(x, space, beside).to_parquet(path, index=False)


def _json_lines(path: Path, x: Tensor, space: Space, beside: Beside) -> None:
    write_json_lines(path, _frame(x, space, beside))


def write_json_lines(path: Path, frame: pd.DataFrame) -> None:
    """Write a table as lines of JSON objects."""
    frame.to_json(path, orient="records", lines=True, date_format="iso", force_ascii=False)


def _workbook(path: Path, x: Tensor, space: Space, beside: Beside) -> None:
    write_workbook(path, _frame(x, space, beside))


def write_workbook(path: Path, frame: pd.DataFrame, header: bool = True) -> None:
    """Write a table as the sheet of an Excel workbook, in which no text runs as a formula.

    Raises:
        ValueError: if openpyxl is not installed.
    """
    try:
        with pd.ExcelWriter(path, engine="openpyxl") as book:
            frame.to_excel(book, index=False, header=header)
            for cell in itertools.chain(*next(iter(book.sheets.values())).iter_rows()):
                if cell.data_type == "f":  # a text that begins with "=" runs as no formula
                    cell.data_type = "s"
    except ImportError:
        raise ValueError(
            f"{path}: openpyxl must be installed: pip install '.[tables]' in its clone, or write .csv"
        ) from None


_COMMON: Mapping[str, Callable[[Path, Tensor, Space, Beside], None]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".csv": _csv,
    ".parquet": _parquet,
    ".jsonl": _json_lines,
    ".xlsx": _workbook,
}
"""The formats of every space, by suffix."""


def usual_suffix(space: Space) -> str:
    """The ending of the file that examples are written to where none is named."""
    return next(iter(space.writers()), ".csv")


def _choices(space: Space) -> str:
    """The formats that suit a space."""
    space_writers = space.writers()
    suffixes = dict.fromkeys([*filter(None, space_writers), *_COMMON])
    return f"a name that ends in {', '.join(suffixes)}{', or a folder' if '' in space_writers else ''}"


def write_examples(path: Path | str, x: Tensor, space: Space, beside: Beside = ALONE) -> Path:
    """Write raw examples in the format that the file's name ends in. For images, a name without a suffix is a folder.

    ``.npy`` holds the array, ``.npz`` its conditions too. ``.csv``, ``.xlsx``, ``.jsonl`` and ``.parquet`` have the
    columns of the conditions behind those of the examples. ``.csv.gz`` is packed. A space may add formats
    (:meth:`fourfold.core.Space.writers`): images have a ``.png`` grid, with the prompts below their images, and a
    folder of PNGs for each class. Text has ``.txt``.

    Raises:
        ValueError: for an ending that the space does not have, or a file that cannot be written.
    """
    path = Path(path)
    suffix = "" if path.is_dir() else kind_of(path)
    space_writer, common = space.writers().get(suffix), _COMMON.get(suffix)
    if space_writer is None and common is None:
        kind, form = type(space).__name__, suffix or "a folder"
        raise ValueError(f"{path}: must be {_choices(space)} for {kind}, got {form}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if space_writer is not None:
            space_writer(path, x.cpu(), beside)
        elif common is not None:
            common(path, x.cpu(), space, beside)
    except OSError as error:
        raise ValueError(f"{path}: cannot be written ({error.strerror or error}): choose another name") from None
    return path


def as_lines(x: Tensor, space: Space, beside: Beside = ALONE) -> str:
    """Raw examples for standard output: a text as it is, anything else as CSV."""
    lines = space.lines(x.cpu(), beside)
    return _as_csv(x.cpu(), space, beside).rstrip("\n") if lines is None else lines
