"""Reading without surprises: sizes, counts and depths are bounded, binary and broken input is named."""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["UnreadableError", "files_below", "load_json", "read_text", "safetensors_names"]

TEXT_BYTES = 400_000
JSON_BYTES = 2_000_000
HEADER_BYTES = 8_000_000
MAX_FILES = 4_000
MAX_DEPTH = 4
MAX_NESTING = 60


class UnreadableError(ValueError):
    """Input that cannot be read: says which, why, and the way out."""


def read_text(path: Path, limit: int = TEXT_BYTES) -> str:
    """The first ``limit`` bytes of a text file.

    Raises:
        UnreadableError: not a regular file, not readable, or binary.
    """
    if not path.is_file():
        raise UnreadableError(f"{path}: not a regular file; give a text, Python or JSON file, or a folder")
    try:
        with path.open("rb") as stream:
            raw = stream.read(limit)
    except OSError as error:
        raise UnreadableError(f"{path}: {error.strerror}; check its permissions") from error
    return decode(raw, str(path))


def decode(raw: bytes, name: str) -> str:
    """Bytes as text; binary is refused by its zero bytes and control characters."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16", errors="replace")
    text = raw.decode("utf-8", errors="replace")
    bad = sum(text.count(sign) for sign in ("\x00", "\x01", "\x02", "\x03", "\ufffd"))
    if bad > 4 + len(text) // 50:
        raise UnreadableError(f"{name}: binary where text was expected; give its model card, config files or code")
    return text.replace("\x00", " ")


def nesting(text: str) -> int:
    """The deepest bracket nesting of a JSON text, strings ignored loosely."""
    deepest = depth = 0
    for sign in text:
        if sign in "{[":
            depth += 1
            deepest = max(deepest, depth)
        elif sign in "}]":
            depth -= 1
    return deepest


def load_json(text: str, name: str) -> Any:
    """A JSON value from text.

    Raises:
        UnreadableError: broken, or nested deeper than any configuration is.
    """
    if text.count("[") + text.count("{") > MAX_NESTING and nesting(text) > MAX_NESTING:
        raise UnreadableError(f"{name}: JSON nested deeper than {MAX_NESTING} levels; no configuration is")
    try:
        return json.loads(text, parse_int=_integer)
    except ValueError:
        loose = re.sub(r",(\s*[}\]])", r"\1", text)
    except RecursionError as error:
        raise UnreadableError(f"{name}: broken JSON ({str(error)[:60]}); fix or remove the file") from error
    try:
        return json.loads(loose, parse_int=_integer)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"{name}: broken JSON ({str(error)[:60]}); fix or remove the file") from error


def _integer(digits: str) -> float | int:
    return int(digits) if len(digits) < 100 else float("inf")


def files_below(folder: Path) -> Iterator[Path]:
    """Regular files of a folder, nearest first; bounded in number and depth, links to folders not followed."""
    level, seen = [folder], 0
    for _ in range(MAX_DEPTH):
        below: list[Path] = []
        for here in level:
            for entry in _entries(here):
                seen += 1
                if seen > MAX_FILES:
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


def safetensors_names(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes in a safetensors header; the weights are never read.

    Raises:
        UnreadableError: no valid header.
    """
    with path.open("rb") as stream:
        head = stream.read(8)
        size = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
        if not 2 <= size <= min(HEADER_BYTES, max(path.stat().st_size - 8, 0)):
            raise UnreadableError(f"{path}: no safetensors header")
        text = decode(stream.read(size), str(path))
    value = load_json(text, str(path))
    if not isinstance(value, dict):
        raise UnreadableError(f"{path}: no safetensors header")
    rows = {name: row.get("shape") for name, row in value.items() if isinstance(row, dict)}
    return {
        name: tuple(s for s in shape if isinstance(s, int)) for name, shape in rows.items() if isinstance(shape, list)
    }
