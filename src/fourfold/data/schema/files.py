"""Schema files: the columns of a table as TOML, which can be edited and read again."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fourfold.data.errors import DataError
from fourfold.data.labels import alike
from fourfold.data.schema.values import Hint, Inferred, section
from fourfold.machine.regular import text_of
from fourfold.output.printable import one_of

__all__ = ["checked_hint", "read_schema", "schema_text", "unknown_columns"]

KEYS: Mapping[str, Mapping[str, type | tuple[type, ...]]] = {
    "number": {"resolution": (int, float), "decimals": int, "logarithmic": bool},
    "category": {"categories": list, "ordered": bool, "other": str, "nearest": bool},
    "time": {"format": str, "resolution": (int, float)},
    "identifier": {"pattern": str},
    "constant": {},
    "parts": {},
    "text": {},
    "drop": {},
}
"""The settings that a schema file may give for each kind of column, beside ``missing``."""
BOUNDS: Mapping[str, tuple[float, float]] = {"decimals": (0, 15), "resolution": (1e-300, 1e300)}
"""The least and the largest number of a setting."""
_TYPES: Mapping[Any, str] = {
    str: "a text",
    list: "a list of texts",
    bool: "true or false",
    int: "a whole number",
    (int, float): "a number",
}
"""The types of settings in words."""


def read_schema(path: Path | str, more: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Hint]:
    """Read the settings of columns from a schema file, by their names. Columns that it does not name are inferred.

    Args:
        path: of the file.
        more: further settings of each kind, with their types.

    Raises:
        DataError: for a file that is not TOML, an unknown kind or key, or a value of another type.
    """
    path = Path(path).expanduser()
    try:
        content = tomllib.loads(text_of(path))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}): 'fourfold data' writes one") from None
    except ValueError as error:
        raise DataError(f"{path}: must be TOML, got an error: {error}") from None
    except RecursionError:
        raise DataError(
            f"{path}: must be a flat file, got deep nesting; 'fourfold data' writes a valid example"
        ) from None
    return {name: checked_hint(f"{path}, [{name}]", hint, more or {}) for name, hint in content.items()}


def checked_hint(where: str, hint: Any, more: Mapping[str, Mapping[str, Any]]) -> Hint:
    """The settings of one column, as :func:`read_schema` takes them.

    Raises:
        DataError: for an unknown kind or key, or a value of another type.
    """
    if not isinstance(hint, dict):
        raise DataError(
            f"{where}: must be a section, got {str(hint)[:40]!r}; write the settings of a column below its [name]"
        )
    kind = hint.get("kind")
    if kind is not None and kind not in KEYS:
        raise DataError(f"{where}: kind must be one of {', '.join(KEYS)}, got {kind!r}")
    types: dict[str, Any] = {"kind": str, "missing": list}
    for name in [kind] if kind else KEYS:
        types |= {**KEYS[name], **more.get(name, {})}
    for key, value in hint.items():
        if key not in types:
            raise DataError(f"{where}: key must be {one_of(key, types)}")
        if not isinstance(value, types[key]) or (isinstance(value, bool) and types[key] is not bool):
            raise DataError(
                f"{where}: {key} must be {_TYPES[types[key]]}, got {value!r}; "
                "run 'fourfold data FILE --schema new.toml' for a valid example"
            )
        if isinstance(value, list) and not all(isinstance(item, str) for item in value):
            raise DataError(f"{where}: {key} must be a list of texts, got {value!r}; write each in quotation marks")
        low, high = BOUNDS.get(key, (value, value))
        if not low <= value <= high:
            raise DataError(f"{where}: {key} must be from {low:g} to {high:g}, got {str(value)[:40]}")
    if "categories" in hint and len(set(hint["categories"])) < max(len(hint["categories"]), 1):
        raise DataError(f"{where}: categories must be different texts, at least one: write each once")
    if "other" in hint and hint["other"] not in hint.get("categories", ()):
        raise DataError(
            f"{where}: other must be one of the categories, got {hint['other']!r}; write it among the categories too"
        )
    return hint


def schema_text(columns: Sequence[Inferred], head: str) -> str:
    """The schema file of columns: it can be edited and read again."""
    lines = [f"# {head}"]
    for item in columns:
        lines += ["", f"# {item.detail}: {item.reason}", f"[{section(item.column.name)}]", f'kind = "{item.kind}"']
        for key in ("missing", *KEYS[item.kind]):
            value = getattr(item.column, "gaps", None) if getattr(item.column, "missing", False) else None
            value = getattr(item.column, key) if key != "missing" else value
            if value is not None and value is not False:
                lines.append(f"{key} = {_toml(value)}")
    return "\n".join(_plain(line) for line in lines) + "\n"


def _plain(line: str) -> str:
    """A comment in one line."""
    return " ".join(line.splitlines()) if line.startswith("#") else line


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        words = [_toml(item) for item in value]
        return f"[{', '.join(words)}]" if sum(map(len, words)) < 100 else "[\n  " + ",\n  ".join(words) + ",\n]"
    if isinstance(value, float) and value == int(value):
        return str(int(value))
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def unknown_columns(where: str, hints: Iterable[str], names: Sequence[str]) -> None:
    """Refuse a schema that names a column which the table does not have."""
    for name in hints:
        if name not in names:
            raise DataError(f"{where}: must have the column {name!r} of the schema, got none: {alike(name, names)}")
