"""Rows of a series that are to come: those at the end of a file that hold covariates, and no other values."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fourfold.data import DataError
from fourfold.machine.libraries import pandas as pd
from fourfold.spaces import Sequences
from fourfold.spaces.columns import MISSING, Codes

__all__ = ["codes_ahead", "places_ahead", "rows_ahead"]


def places_ahead(space: Sequences) -> list[int]:
    """The columns that are known of rows to come: that of the order, and the covariates."""
    return [space.columns.index(name) for name in (space.order, *space.covariates)]


def rows_ahead(space: Sequences, frame: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Which rows of a file are to come: the last ones of each series that hold nothing but covariates, ``(N,)``."""
    others = [name for name in space.columns if name not in (space.order, space.series, *space.covariates)]
    columns = others if space.series is None else [*others, space.series]
    if not space.covariates or not set(columns) <= set(frame.columns):
        return np.zeros(len(frame), dtype=np.bool_)
    blank = frame[others].apply(lambda values: values.isna() | (values.astype(str).str.strip() == "")).all(axis=1)
    series = np.zeros(len(frame)) if space.series is None else frame[space.series].to_numpy()
    backwards: pd.Series = blank[::-1].astype(int).groupby(series[::-1]).cummin()
    return backwards[::-1].to_numpy(dtype=np.bool_)


def codes_ahead(space: Sequences, frame: pd.DataFrame, after: npt.NDArray[np.bool_]) -> Tensor:
    """The codes of rows to come, ``(S, horizon, C)``, of each series in the order of their codes.

    Columns that are not known have any value.

    Args:
        space: of windows of series.
        frame: rows of the file, also those before the rows to come.
        after: which of them are to come, ``(N,)``.

    Raises:
        DataError: for rows to come before others, unequally many of several series, or a value that no model knows.
    """
    order, series = space.start.codes(frame[space.order]), np.zeros(len(frame), dtype=np.int64)
    if space.series is not None:
        series = space.named(space.series).codes(frame[space.series])
    parts = []
    for name in np.unique(series):
        own = np.flatnonzero(series == name)
        own = own[np.argsort(order[own], kind="stable")]
        if (np.diff(after[own].astype(int)) < 0).any():
            raise DataError(
                f"rows with covariates alone must follow all others in {space.order}, got an earlier one: "
                "fill in its values, or leave it out"
            )
        rows, steps = own[after[own]], np.diff(order[own], prepend=order[own[0]])
        codes = _codes(space, frame, rows, steps[after[own]])
        if space.series is not None:
            codes[:, space.columns.index(space.series)] = name
        parts.append(torch.from_numpy(codes))
    if len({len(part) for part in parts}) > 1:
        raise DataError(
            f"series must have equally many rows with covariates alone, got {min(map(len, parts))} to "
            f"{max(map(len, parts))}: forecast them one by one, or leave out some"
        )
    return torch.stack(parts)


def _codes(space: Sequences, frame: pd.DataFrame, rows: Codes, steps: Codes) -> Codes:
    """The codes of some rows of one series, ``(horizon, C)``.

    Raises:
        DataError: for a value that no model knows.
    """
    codes = np.tile(np.array([column.span[0] for column in space.modelled]), (len(rows), 1))
    codes[:, space.at] = steps
    for name in space.covariates:
        codes[:, space.columns.index(name)] = space.named(name).codes(frame[name].iloc[rows])
    gaps = (codes == MISSING) & [not column.missing for column in space.modelled]
    wrong = space.row.foreign(torch.from_numpy(codes)).numpy() | gaps
    for i in places_ahead(space):
        if wrong[:, i].any():
            row, name = rows[int(wrong[:, i].argmax())], space.columns[i]
            raise DataError(
                f"row {row + 1}, column {name}: must be a value as in training in a row to come, got "
                f"{str(frame[name].iloc[row])[:40]!r}: correct it"
            )
    return codes
