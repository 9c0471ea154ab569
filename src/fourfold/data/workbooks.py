"""Sheets of Excel workbooks (``.xlsx``), where openpyxl is installed."""

from __future__ import annotations

import zipfile
from pathlib import Path

from fourfold.data.coded_columns import Batches, batches_of_frame
from fourfold.data.errors import DataError, option
from fourfold.data.memory import require
from fourfold.machine.libraries import pandas as pd
from fourfold.output.printable import shortened

__all__ = ["batches_of_workbook"]

BYTES = 8.0
"""Bytes of memory that one byte of an unpacked sheet takes as cells."""


def batches_of_workbook(path: Path, sheet: str | None, header: bool | None) -> Batches:
    """The rows of a sheet, whose first row names the columns unless ``header`` is false. Empty rows are left out.

    Args:
        path: the workbook.
        sheet: the name of the sheet, ``None`` for the only one that is not empty.
        header: whether the first row names the columns.

    Raises:
        DataError: if openpyxl is not installed, the file is no workbook, or the sheet is not there or not clear.
    """
    try:
        with zipfile.ZipFile(path) as packed:
            require(BYTES * sum(part.file_size for part in packed.infolist()), path)
        sheets = pd.read_excel(
            path,
            sheet_name=None if sheet is None else [sheet],
            header=None if header is False else 0,
            engine="openpyxl",
            dtype=object,  # else a text such as 01234 becomes a number
            keep_default_na=False,
            na_values=[""],
        )
    except ImportError:
        raise DataError(
            f"{path}: openpyxl must be installed: pip install '.[tables]' in its clone, or write the sheet as .csv"
        ) from None
    except (zipfile.BadZipFile, KeyError) as error:
        raise DataError(f"{path}: cannot be read as a workbook ({error}); write it again, or as .csv") from None
    except ValueError as error:
        if sheet is None or sheet not in str(error):
            raise
        raise DataError(f"{path}: the sheet must be one of the workbook's, got {sheet!r}; correct its name") from None
    filled = {name: rows.infer_objects() for name, frame in sheets.items() if len(rows := frame.dropna(how="all"))}
    if len(filled) > 1:
        raise DataError(
            f"{path}: must have one sheet with cells, got {len(filled)} ({shortened(filled)}); choose one with "
            f"{option('query')}"
        )
    return [batch for frame in filled.values() for batch in batches_of_frame(frame)]
