"""Bounded reading: sizes, counts and depths have limits, and errors name binary or broken input."""

from __future__ import annotations

import errno
import json
import os
import re
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from fourfold.machine import regular

__all__ = [
    "UnreadableError",
    "files_below",
    "gguf_header",
    "load_json",
    "open_regular",
    "read_bytes",
    "read_text",
    "safetensors_names",
]

TEXT_BYTES = 400_000
HEADER_BYTES = 8_000_000
#: pictures are kept in them
NOTEBOOK_BYTES = 8_000_000
MAX_KEYS = 20_000
MAX_FILES = 4_000
MAX_DEPTH = 4
MAX_NESTING = 60


_BRACKET = re.compile(r'"(?:[^"\\\n]|\\.)*"|([\[\]{}])')


class UnreadableError(ValueError):
    """Input that cannot be read. The message says which, why, and the way out."""


def open_regular(path: Path) -> BinaryIO:
    """A regular file, open for reading. A pipe, a device or a folder is never opened.

    Raises:
        UnreadableError: not a regular file, or not readable.
    """
    try:
        return regular.open_regular(path)
    except (OSError, ValueError) as error:
        odd = getattr(error, "errno", None) == errno.EINVAL
        way = "give a text, Python or JSON file, or a folder" if odd else "check its name and permissions"
        raise UnreadableError(f"{path}: {_why(error)}; {way}") from error


def read_bytes(path: Path, limit: int) -> bytes:
    """The first ``limit`` bytes of a regular file.

    Raises:
        UnreadableError: not a regular file, or not readable.
    """
    with open_regular(path) as stream:
        try:
            return stream.read(limit) or b""
        except OSError as error:
            raise UnreadableError(f"{path}: {_why(error)}; check its permissions") from error


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def read_text(path: Path, limit: int = TEXT_BYTES) -> str:
    """The first ``limit`` bytes of a text file.

    Raises:
        UnreadableError: not a regular file, not readable, or binary.
    """
    return decode(read_bytes(path, limit), str(path))


def decode(raw: bytes, name: str) -> str:
    """Bytes as text. Binary is refused by its zero bytes and control characters."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16", errors="replace")
    text = raw.decode("utf-8", errors="replace")
    bad = sum(text.count(sign) for sign in ("\x00", "\x01", "\x02", "\x03", "\ufffd"))
    if bad > 4 + len(text) // 50:
        raise UnreadableError(f"{name}: must be text, got binary data: give a model card, configuration files or code")
    return text.replace("\x00", " ")


def nesting(text: str) -> int:
    """The deepest bracket nesting of a JSON text, strings left out."""
    deepest = depth = 0
    for bracket in filter(None, (match.group(1) for match in _BRACKET.finditer(text))):
        depth += 1 if bracket in "{[" else -1
        deepest = max(deepest, depth)
    return deepest


def load_json(text: str, name: str) -> Any:
    """A JSON value from text.

    Raises:
        UnreadableError: broken, or nested deeper than any configuration is.
    """
    if text.count("[") + text.count("{") > MAX_NESTING and nesting(text) > MAX_NESTING:
        raise UnreadableError(f"{name}: JSON must be nested at most {MAX_NESTING} deep, got more: correct the file")
    try:
        return json.loads(text, parse_int=_integer)
    except ValueError:
        loose = re.sub(r",(\s*[}\]])", r"\1", without_json_comments(text))
    except RecursionError as error:
        raise UnreadableError(f"{name}: must be JSON, got an error ({str(error)[:60]}); correct the file") from error
    try:
        return json.loads(loose, parse_int=_integer)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"{name}: must be JSON, got an error ({str(error)[:60]}); correct the file") from error


_STRING_OR_COMMENT = re.compile(r'("(?:\\.|[^"\\\n])*")|//[^\n]*|/\*[\s\S]*?\*/')


def without_json_comments(text: str) -> str:
    """JSON without the comments that some programs allow in it: ``// ...`` and ``/* ... */`` outside of strings."""
    return _STRING_OR_COMMENT.sub(lambda match: match.group(1) or "", text)


def _integer(digits: str) -> float | int:
    return int(digits) if len(digits) < 100 else float("inf")


def files_below(folder: Path) -> Iterator[Path]:
    """Regular files of a folder, nearest first. Bounded in number and depth, links to folders not followed."""
    level, count = [folder], 0
    for _ in range(MAX_DEPTH):
        below: list[Path] = []
        for here in level:
            for entry in _entries(here):
                count += 1
                if count > MAX_FILES:
                    return
                if entry.is_dir(follow_symlinks=False):
                    below.append(Path(entry.path))
                elif _regular(entry):
                    yield Path(entry.path)
        level = [path for path in below if not path.name.startswith((".", "__"))]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            first = [entry for entry, _ in zip(entries, range(MAX_FILES), strict=False)]
    except OSError:
        return []
    return sorted(first, key=lambda entry: entry.name)


def _regular(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


Shapes = Mapping[str, tuple[int, ...]]

_NO_HEADER = "none that can be read; fetch the file again"


def safetensors_names(path: Path) -> Shapes:
    """Names and shapes in a safetensors header. The weights are never read.

    Raises:
        UnreadableError: no regular file, or no valid header.
    """
    head = read_bytes(path, 8)
    size = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
    if not 2 <= size <= min(HEADER_BYTES, max(path.stat().st_size - 8, 0)):
        raise UnreadableError(f"{path}: must have a safetensors header, got {_NO_HEADER}")
    value = load_json(decode(read_bytes(path, 8 + size)[8:], str(path)), str(path))
    if not isinstance(value, dict):
        raise UnreadableError(f"{path}: must have a safetensors header, got {_NO_HEADER}")
    rows = {name: row.get("shape") for name, row in value.items() if isinstance(row, dict)}
    return {
        name: tuple(s for s in shape if isinstance(s, int)) for name, shape in rows.items() if isinstance(shape, list)
    }


#: bytes of the fixed-size values of a GGUF file, by the number of their type: integers, floats, booleans
_GGUF_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_GGUF_STRING, _GGUF_ARRAY = 8, 9


class _Bytes:
    """A cursor over little-endian bytes."""

    def __init__(self, raw: bytes) -> None:
        self.raw, self.at = raw, 0

    def take(self, count: int) -> bytes:
        if count > len(self.raw) - self.at:
            raise EOFError
        self.at += count
        return self.raw[self.at - count : self.at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def text(self) -> str:
        return self.take(self.number(8)).decode("utf-8", "replace")

    def value(self, kind: int) -> str | int | None:
        """One metadata value. The cursor steps over an array."""
        if kind == _GGUF_STRING:
            return self.text()
        if kind in _GGUF_SIZES:
            return self.number(_GGUF_SIZES[kind])
        inner, count = (self.number(4), self.number(8)) if kind == _GGUF_ARRAY else (kind, 0)
        if inner in _GGUF_SIZES:
            self.take(_GGUF_SIZES[inner] * count)
        elif inner != _GGUF_STRING:
            raise EOFError
        for _ in range(count if inner == _GGUF_STRING else 0):
            self.text()
        return None


def gguf_header(path: Path) -> tuple[Mapping[str, str | int], Shapes]:
    """The metadata (arrays left out) of a GGUF file, and its tensors' names and shapes. Weights are never read.

    A header longer than ``HEADER_BYTES`` is cut: only the entries in its first bytes are returned.

    Raises:
        UnreadableError: no regular file, or no GGUF header of version 2 or later.
    """
    cursor = _Bytes(read_bytes(path, HEADER_BYTES))
    metadata: dict[str, str | int] = {}
    tensors: dict[str, tuple[int, ...]] = {}
    try:
        magic, version = cursor.take(4), cursor.number(4)
        if magic != b"GGUF" or not 2 <= version <= 9:
            raise UnreadableError(f"{path}: must have a GGUF header, got {_NO_HEADER}")
        count, keys = cursor.number(8), cursor.number(8)
        for _ in range(min(keys, MAX_KEYS)):
            name, value = cursor.text(), cursor.value(cursor.number(4))
            if value is not None:
                metadata[name] = value
        for _ in range(min(count, MAX_KEYS)):
            name, axes = cursor.text(), cursor.number(4)
            tensors[name] = tuple(cursor.number(8) for _ in range(min(axes, 8)))
            cursor.take(4 + 8)
    except EOFError:
        if not metadata:
            raise UnreadableError(f"{path}: must have a GGUF header, got {_NO_HEADER}") from None
    return metadata, tensors
