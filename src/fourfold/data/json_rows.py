"""JSON lines and lists of JSON objects: the keys are columns, an object is a row."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fourfold.data.coded_columns import Batches, batches_of_frame
from fourfold.data.errors import DataError
from fourfold.data.files import content_of, decoded, decoded_parts, parts_of
from fourfold.machine.libraries import pandas as pd

__all__ = ["batches_of_json", "first_object", "json_lines"]

BYTES = 20.0
"""Bytes of memory that one byte of JSON takes as objects."""


def json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """The values of a file of JSON lines, each with its line from 1. Empty lines are left out.

    Raises:
        DataError: naming a line that is not JSON.
    """
    for number, line in enumerate(_lines(decoded_parts(path, parts_of(path))), 1):
        if line.strip():
            yield number, _value(line, f"{path}, line {number}")


def first_object(path: Path) -> Mapping[str, Any]:
    """The object on the first line of a file of JSON lines, empty where there is none."""
    value = next((value for _, value in json_lines(path)), None)
    return value if isinstance(value, dict) else {}


def batches_of_json(path: Path) -> Batches:
    """The rows of a file of JSON lines, or of a list of JSON objects (``.json``). A key that a row lacks is a gap.

    Raises:
        DataError: naming the line or item that is not an object.
    """
    if path.suffix.lower() == ".json":
        content = _value(decoded(path, content_of(path, per_byte=BYTES)), str(path))
        if not isinstance(content, list):
            raise DataError(
                f"{path}: must hold a list of objects, one for each row, got {_kind(content)}; write it so, or name a "
                "text .txt"
            )
        rows = [_row(value, f"{path}, item {place}") for place, value in enumerate(content, 1)]
    else:
        rows = [_row(value, f"{path}, line {number}") for number, value in json_lines(path)]
    return batches_of_frame(pd.DataFrame(rows)) if rows else []


def _value(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, json.JSONDecodeError) else "it is nested too deep"
        raise DataError(f"{where}: must be JSON, got an error ({reason}); correct it, or remove it") from None


def _row(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        raise DataError(f"{where}: must be an object with a key for each column, got {_kind(value)}; write it so")
    return value


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _lines(parts: Iterable[str]) -> Iterator[str]:
    """The lines of a text that comes in parts."""
    rest = ""
    for part in parts:
        *lines, rest = (rest + part).split("\n")
        yield from lines
    yield rest
