"""Delimited files that are packed, such as ``orders.csv.gz``, or ``orders.zip`` that holds one of them."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

from fourfold.data.errors import DataError
from fourfold.machine.regular import open_regular

__all__ = ["DELIMITED", "is_delimited", "is_packed", "kind_of", "opened", "stem_of", "write_text"]

DELIMITED = (".csv", ".tsv")
"""Endings of delimited files."""
OPENERS: Mapping[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
"""What opens a packed file, by its ending."""
BROKEN = (OSError, EOFError, RuntimeError, NotImplementedError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)
"""Errors of files that cannot be unpacked."""


def is_packed(path: Path) -> bool:
    """Whether a name is that of a packed file."""
    return path.suffix.lower() in (*OPENERS, ".zip")


def kind_of(path: Path) -> str:
    """The ending of a file in lower case. Of a packed delimited file it is ``.csv`` or ``.tsv``."""
    ending = path.suffix.lower()
    if not is_packed(path):
        return ending
    inside = Path(path.stem).suffix.lower()
    if ending == ".zip" and inside not in DELIMITED and path.is_file():
        with contextlib.suppress(*BROKEN), open_regular(path) as file, zipfile.ZipFile(file) as archive:
            names = _members(archive)
            inside = Path(names[0]).suffix.lower() if len(names) == 1 else ""
    return inside if inside in DELIMITED else ending


def is_delimited(path: Path) -> bool:
    """Whether a file is delimited, by its name, packed or not."""
    return kind_of(path) in DELIMITED


def stem_of(path: Path) -> str:
    """The name of a file without its endings: ``orders`` of ``orders.csv.gz``."""
    return Path(path.stem).stem if is_packed(path) and Path(path.stem).suffix.lower() in DELIMITED else path.stem


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a regular file, unpacked.

    Raises:
        OSError: for a file that is not packed, and cannot be opened.
        DataError: for one that cannot be unpacked, or an archive of several files.
    """
    if not is_packed(path):
        with open_regular(path) as file:
            yield file
        return
    try:
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(open_regular(path))
            if path.suffix.lower() == ".zip":
                archive = stack.enter_context(zipfile.ZipFile(file))
                names = _members(archive)
                if len(names) != 1:
                    raise DataError(f"{path}: must hold one table, got {len(names)} files: unpack it into a folder")
                yield cast("BinaryIO", stack.enter_context(archive.open(names[0])))
            else:
                yield cast("BinaryIO", stack.enter_context(OPENERS[path.suffix.lower()](file)))
    except BROKEN as error:
        reason = " ".join(str(error).split())[:150] or type(error).__name__
        raise DataError(f"{path}: cannot be unpacked ({reason}); pack it again, or give it unpacked") from None


def _members(archive: zipfile.ZipFile) -> list[str]:
    """The files of an archive, but for those that macOS adds."""
    return [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX")]


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8, packed if the file is named so."""
    if path.suffix.lower() == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(path.stem, text)
    elif is_packed(path):
        with OPENERS[path.suffix.lower()](path, "wb") as file:
            file.write(text.encode())
    else:
        path.write_text(text, encoding="utf-8")
