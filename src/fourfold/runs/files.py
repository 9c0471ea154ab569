"""Writes the files of a run folder so that a process may die or a disk fill at any moment."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

__all__ = ["amend_line", "append_line", "sweep", "write_bytes", "write_json", "write_lines"]

_TEMPORARY = re.compile(r"\..+\.[0-9]+\.tmp")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that after a crash it is either the old or the new one, never half of either.

    Raises:
        OSError: naming the file, if the disk is full or may not be written to. The old file is whole.
    """
    write_lines(path, [content])


def write_lines(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write a file as :func:`write_bytes` does, from parts that need not be in memory together."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with _naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.writelines(parts)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    _keep_name(path.parent)


def _keep_name(folder: Path) -> None:
    """Make the new name of a file survive a loss of power, where the system can."""
    with contextlib.suppress(OSError):
        file = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically. Bytes of file names that are not text are escaped."""
    write_bytes(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode(errors="backslashreplace"))


def append_line(path: Path, line: str) -> None:
    """Add a line to a text file.

    Raises:
        OSError: naming the file, if the disk is full or may not be written to.
    """
    with _naming(path), path.open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


def amend_line(path: Path, last: str, line: str) -> None:
    """Replace the last line of a text file.

    Raises:
        OSError: naming the file, if the disk is full or may not be written to.
    """
    with _naming(path), path.open("r+b") as file:
        file.seek(-len(f"{last}\n".encode()), os.SEEK_END)
        file.write(f"{line}\n".encode())
        file.truncate()


def sweep(folder: Path) -> None:
    """Remove the unfinished files of processes that died while writing. Only the holder of the lock may call this."""
    for path in [*folder.glob(".*.tmp"), *folder.glob("resume/.*.tmp")]:
        if _TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Add the name of the file to errors of the system that lack it, such as those of writing."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise
