"""Raw examples as files: the formats that every space has, and those that a space adds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from torch import Tensor

from fourfold.core import Space
from fourfold.machine.libraries import pandas as pd

__all__ = ["Labels", "as_lines", "labelled_table", "usual_suffix", "write_examples"]


@final
@dataclass(frozen=True)
class Labels:
    """The classes of examples.

    Attributes:
        column: the name of their column in a table.
        values: one for each example.
    """

    column: str
    values: Sequence[str]


def _npy(path: Path, x: Tensor, space: Space, labels: Labels | None) -> None:
    with path.open("wb") as file:
        np.save(file, x.numpy())


def _npz(path: Path, x: Tensor, space: Space, labels: Labels | None) -> None:
    arrays: dict[str, Any] = {"x": x.numpy()}
    if labels is not None:
        arrays["y"] = np.array(list(labels.values))
    with path.open("wb") as file:
        np.savez(file, **arrays)


def _csv(path: Path, x: Tensor, space: Space, labels: Labels | None) -> None:
    path.write_text(_as_csv(x, space, labels), encoding="utf-8")


def _as_csv(x: Tensor, space: Space, labels: Labels | None) -> str:
    """A table as CSV that can be read again, and in which no name or class runs as a formula of a spreadsheet."""
    table = labelled_table(x, space, labels)
    if labels is not None:
        table[table.columns[-1]] = [_inert(value) for value in labels.values]
    table.columns = [_inert(name) for name in table.columns]
    text: str = table.to_csv(index=False, float_format="%.9g", lineterminator="\n")
    return text


def _inert(text: str) -> str:
    """A text that a spreadsheet would run as a formula, behind an apostrophe, which the reader takes away."""
    try:
        float(text)
    except ValueError:
        return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
    return text


def _parquet(path: Path, x: Tensor, space: Space, labels: Labels | None) -> None:
    labelled_table(x, space, labels).to_parquet(path, index=False)


def labelled_table(x: Tensor, space: Space, labels: Labels | None) -> pd.DataFrame:
    """The space's table, with the classes as its last column."""
    table = space.table(x)
    if labels is not None:
        name = labels.column
        table[f"{name} (class)" if name in table else name] = list(labels.values)
    return table


_COMMON: Mapping[str, Callable[[Path, Tensor, Space, Labels | None], None]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".csv": _csv,
    ".parquet": _parquet,
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


def write_examples(
    path: Path | str, x: Tensor, space: Space, prompts: Sequence[str] = (), labels: Labels | None = None
) -> Path:
    """Write raw examples in the format that the file's name ends in. For images, a name without a suffix is a folder.

    ``.npy`` holds the array, ``.npz`` its labels too. ``.csv`` and ``.parquet`` have a column of labels. A space may
    add formats (:meth:`fourfold.core.Space.writers`): images have a ``.png`` grid, with ``prompts`` below their images,
    of which there are equally many for each, and a folder of PNGs for each class. Text has ``.txt``.

    Raises:
        ValueError: for an ending that the space does not have, or a file that cannot be written.
    """
    path = Path(path)
    suffix = "" if path.is_dir() else path.suffix.lower()
    space_writer, common = space.writers().get(suffix), _COMMON.get(suffix)
    if space_writer is None and common is None:
        kind, form = type(space).__name__, suffix or "a folder"
        raise ValueError(f"{path}: must be {_choices(space)} for {kind}, got {form}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if space_writer is not None:
            space_writer(path, x.cpu(), () if labels is None else labels.values, prompts)
        elif common is not None:
            common(path, x.cpu(), space, labels)
    except OSError as error:
        raise ValueError(f"{path}: cannot be written ({error.strerror or error}): choose another name") from None
    return path


def as_lines(x: Tensor, space: Space, labels: Labels | None = None) -> str:
    """Raw examples for standard output: a text as it is, anything else as CSV."""
    lines = space.lines(x.cpu())
    return _as_csv(x.cpu(), space, labels).rstrip("\n") if lines is None else lines
