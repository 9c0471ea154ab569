"""Only regular files are opened: a pipe or a device may never end."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["SETTINGS", "json_object", "open_regular", "text_of"]

SETTINGS = 1 << 24
"""The most bytes of a file of settings."""


def open_regular(path: Path) -> BinaryIO:
    """A regular file, open for reading.

    Raises:
        OSError: if it is a pipe, a device or a folder, or cannot be opened.
    """
    _check(os.stat(path), path)
    # a file that takes its place in between must not block, nor may a regular file that waits, such as a kernel log
    file = os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb")
    try:
        _check(os.fstat(file.fileno()), path)
    except OSError:
        file.close()
        raise
    return file


def _check(about: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(about.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))


def text_of(path: Path, most: int = SETTINGS) -> str:
    """The text of a regular file in UTF-8.

    Raises:
        OSError: if it is not a regular file, cannot be read, or has more than ``most`` bytes.
        UnicodeDecodeError: if it is not UTF-8.
    """
    with open_regular(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"larger than {most:,} bytes", str(path))
    return content.decode("utf-8")


def json_object(path: Path) -> dict[str, Any]:
    """The JSON object in a regular file, empty where it is missing or damaged."""
    try:
        value = json.loads(text_of(path))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
