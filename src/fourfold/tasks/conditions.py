"""The condition of samples, and values that columns of the samples must have: the two sides of what a user gives."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor

from fourfold.core import Condition, Space
from fourfold.data.tables import raw_frame
from fourfold.machine.libraries import pandas as pd
from fourfold.output.printable import shortened
from fourfold.spaces import Table
from fourfold.tasks.examples import raw_conditions
from fourfold.tasks.given import Given, code_of, parse_given

__all__ = ["Conditioning", "conditioning", "numbered_keys"]


@final
@dataclass(frozen=True)
class Conditioning:
    """The condition ``c`` of ``p(x | c)``, and what columns of ``x`` must hold.

    Attributes:
        condition: in any form that the space of conditions takes, or ``None``.
        restrictions: values of columns of the samples.
        keys: the key of each condition, where a table of them has the column that names the samples.
    """

    condition: Condition = None
    restrictions: Given = field(default_factory=dict)
    keys: tuple[str, ...] = ()

    def named(self, space: Space, n: int = 1) -> Space:
        """The space of ``n`` samples for each condition, under the keys of these."""
        return space.with_keys(numbered_keys(self.keys, n)) if self.keys else space


def numbered_keys(keys: Sequence[str], n: int) -> list[str]:
    """The keys of ``n`` samples for each: a number stands behind them if there are several."""
    return [key if n == 1 else f"{key}#{i + 1}" for key in keys for i in range(n)]


def conditioning(space: Space, given: Any, label: str | None = None) -> Conditioning:
    """Divide what a user gives into the condition of a model and values of columns of its samples.

    Args:
        space: of the model.
        given: a condition in any form of its space; the path of a file or folder of conditions; a data frame of them; a
            mapping of columns of the condition or of the samples to values; texts ``column=value`` for such columns; or
            several texts or paths.
        label: the name of the column of classes, if the data has one.

    Raises:
        ValueError: for a column or a value that the model does not have, or a condition of a model without one.
        DataError: for a file that cannot be read as conditions.
    """
    if given is None:
        return Conditioning()
    if isinstance(given, Mapping):
        return _by_column(space, given, label)
    items = [given] if isinstance(given, (str, os.PathLike)) else given
    if isinstance(items, Sequence) and items and all(isinstance(item, (str, os.PathLike)) for item in items):
        return _by_text(space, items, label, given)
    if hasattr(given, "columns"):
        return _read(space, given)
    return Conditioning(given)


def given_space(space: Space) -> Space:
    """The space of the conditions of a model.

    Raises:
        ValueError: for a model without conditions.
    """
    if space.given is None:
        raise ValueError(f"given must be left out, since this model of {space} is unconditional: train with conditions")
    return space.given


def _own_columns(space: Space, label: str | None) -> tuple[str, ...]:
    """The names by which values of the condition are given."""
    if space.given is None:
        return ()
    return ((label,) if label else ()) if space.given.names else space.given.columns


def _target_columns(space: Space) -> tuple[str, ...]:
    """The names of columns of samples that can have given values."""
    return space.columns if space.mixed else ()


def _restrictions(space: Space, texts: Sequence[str]) -> Given:
    """Values of columns of samples from texts."""
    return parse_given(texts, space) if texts else {}  # type: ignore[arg-type]  # columns are those of a table


def _by_text(space: Space, items: Sequence[str | os.PathLike[str]], label: str | None, given: Any) -> Conditioning:
    """Texts ``column=value``, and others, which are paths or conditions."""
    own = _own_columns(space, label)
    every = (*own, *_target_columns(space))
    assigned = [str(item) for item in items if isinstance(item, str) and _column(item, every)]
    rest = [item for item in items if item not in assigned]
    if space.mixed and space.given is None:
        return Conditioning(None, _restrictions(space, [str(item) for item in items]))
    if not assigned:
        paths = [item for item in rest if isinstance(item, os.PathLike)]
        if paths and len(paths) < len(items):
            other = next(item for item in items if item not in paths)
            raise ValueError(f"given must be files or conditions, got {paths[0]} and {other!r}: leave one out")
        if not paths:
            return Conditioning(given)
        parts = [_read(space, path) for path in paths]
        return Conditioning(torch.cat([part.condition for part in parts]), keys=sum((part.keys for part in parts), ()))
    row: dict[str, list[str]] = {}
    for text in assigned:
        if name := _column(text, own):
            row.setdefault(name, []).append(text[len(name) + 1 :])
    if row and rest:
        raise ValueError(
            f"given must be columns or conditions, got {assigned[0]!r} and {str(rest[0])!r}: leave one out"
        )
    restrictions = [text for text in assigned if not _column(text, own)]
    condition = _row(space, row, label) if row else _by_text(space, rest, label, rest).condition if rest else None
    return Conditioning(condition, _restrictions(space, restrictions))


def _column(text: str, names: Sequence[str]) -> str:
    """The column that a text ``column=value`` names. Empty if it names none."""
    return max((name for name in names if text.startswith(f"{name}=")), key=len, default="")


def _read(space: Space, given: Any) -> Conditioning:
    """The conditions in a file, a folder or a data frame, with the keys of the samples where it names them."""
    keys = _keys(space, given)
    index = getattr(space, "key", None) if keys else None
    return Conditioning(raw_conditions(given, given_space(space), index), keys=keys)


def _keys(space: Space, given: Any) -> tuple[str, ...]:
    """The keys in a table of conditions, if it has the column that names examples of the space."""
    key = getattr(space, "key", None)
    if key is None or not given_space(space).columns:
        return ()
    frame, _ = raw_frame(given)
    return tuple(frame[key].astype(str).str.strip()) if key in frame else ()


def _by_column(space: Space, given: Mapping[str, Any], label: str | None) -> Conditioning:
    """Values of columns of the condition and of the samples."""
    own = _own_columns(space, label)
    if space.given is not None and not own:  # a space of conditions may take mappings itself
        names = _target_columns(space)
        rest = {name: value for name, value in given.items() if name not in names}
        return Conditioning(rest or None, {name: value for name, value in given.items() if name in names})
    row = {name: value for name, value in given.items() if name in own}
    restrictions = {name: value for name, value in given.items() if name not in own}
    if own and restrictions and not space.mixed:
        raise ValueError(f"given must be of the columns {shortened(own)}, got {min(restrictions)!r}: leave it out")
    return Conditioning(_row(space, row, label) if row else None, restrictions)


def _row(space: Space, row: Mapping[str, Any], label: str | None) -> Condition:
    """The condition of values of its columns: one value of each, or a list with one for each sample."""
    given = given_space(space)
    columns = {name: value if isinstance(value, list) else [value] for name, value in row.items()}
    if given.names:
        values = columns[str(label)]
        return values[0] if len(values) == 1 else values
    absent = [name for name in given.columns if name not in columns]
    if absent:
        raise ValueError(f"given must have every column of the condition, got none of {shortened(absent)}: add it")
    count = max(map(len, columns.values()))
    uneven = [name for name, values in columns.items() if len(values) not in (1, count)]
    if uneven:
        raise ValueError(f"column {uneven[0]} must have {count} values, as others have, got {len(columns[uneven[0]])}")
    x = _encoded(given, {name: values * (count // len(values)) for name, values in columns.items()})
    return x[0] if count == 1 else x


def _encoded(given: Space, columns: Mapping[str, list[Any]]) -> Tensor:
    """Raw examples of a space from values of its columns."""
    if isinstance(given, Table):  # values of a table are categories, dates and numbers
        codes = [[code_of(column, value) for value in columns[column.name]] for column in given.modelled]
        return torch.tensor(codes).T
    return raw_conditions(
        pd.DataFrame({name: pd.to_numeric(pd.Series(columns[name])) for name in given.columns}), given
    )
