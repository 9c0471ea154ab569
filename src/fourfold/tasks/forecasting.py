"""Forecasts of sequences: draws of ``p(x_>=t | x_<t)``, the rows that follow given rows."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import singledispatch
from pathlib import Path
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor

from fourfold.core import GenerativeModel, Noise, Space
from fourfold.core.evaluations import evaluating
from fourfold.data import Data, DataError, read_raw
from fourfold.data.packed import kind_of
from fourfold.data.tables import raw_frame
from fourfold.estimands import Continuing
from fourfold.machine.libraries import pandas as pd
from fourfold.output.printable import shortened
from fourfold.spaces import Sequences
from fourfold.spaces.sequences import ABSENT
from fourfold.tasks.ahead import codes_ahead, places_ahead, rows_ahead
from fourfold.tasks.conditions import conditioning, numbered_keys

__all__ = ["Forecast", "Prefixes", "forecast", "forecast_prefixes", "holds_rows", "prefixes"]

TABLES = (".csv", ".tsv", ".parquet", ".feather", ".arrow")
"""Endings of the files that rows are read from."""


@final
@dataclass(frozen=True)
class Prefixes:
    """Sequences of which the first rows are given.

    Attributes:
        x: raw examples ``(B, length, C)``. Rows that are not given are ``ABSENT``.
        rows: how many rows of each are given, ``(B,)``.
        space: the model's space, which writes these sequences under their own names, or from their own time on.
        notes: changes that reading made.
        cond: the conditions of the sequences, ``(B, *)``, or ``None``.
        horizon: how many rows of a series follow. ``None``: the rest of a window, or all rows of a sequence to its end.
        ahead: these rows, ``(B, horizon, C)``, with codes of the order column and of covariates, which are known. Other
            codes may be any. ``None``: nothing is known of rows that follow.
    """

    x: Tensor
    rows: Tensor
    space: Sequences
    notes: tuple[str, ...] = ()
    cond: Tensor | None = None
    horizon: int | None = None
    ahead: Tensor | None = None


@final
@dataclass(frozen=True)
class Forecast:
    """Given rows, and the rows that a model drew after them.

    Attributes:
        x: raw examples ``(B, length, C)``, with the given rows first.
        rows: how many rows of each were given, ``(B,)``.
        space: writes them.
        notes: remarks for the user.
        cond: the conditions of the sequences, ``(B, *)``, or ``None``.
    """

    x: Tensor
    rows: Tensor
    space: Sequences
    notes: tuple[str, ...] = ()
    cond: Tensor | None = None

    def table(self) -> pd.DataFrame:
        """All rows as a data frame."""
        return self.space.table(self.x)


def holds_rows(path: Path, space: Space) -> bool:
    """Whether a file is a table with the columns of sequences, and not of their conditions alone."""
    if kind_of(path) not in TABLES or not path.is_file():
        return False
    return set(space.columns) <= set(raw_frame(path)[0].columns)


def forecast(
    model: GenerativeModel, data: Data, n: int = 1, seed: int = 0, *, given: Any = None, horizon: int | None = None
) -> Forecast:
    """Draw the rows that follow those of a file or a data frame, ``n`` times for each sequence.

    The data holds the first rows of sequences, under their keys, or the end of a series. Of a series, a window less the
    rows that follow counts, at least half a window. A longer horizon is drawn in windows that overlap by half.

    If a model has covariates, the last rows of a series may hold these and the order column alone. They are the rows
    that follow, ``p(x_t | x_<t, c_t)`` each. Where there are no such rows, covariates are drawn like other columns.

    Args:
        model: of sequences.
        data: the rows, with the columns of the model.
        n: how many forecasts of each sequence are drawn.
        seed: of the draws.
        given: the condition of the model, see :func:`fourfold.tasks.conditioning`: one for all sequences, or one for
            each in the order of the data. By default the one that the rows hold in columns of their own.
        horizon: how many rows of a series follow. By default those whose covariates the data holds, else half a window.

    Raises:
        TypeError: for a model of anything else than sequences, or one that cannot be conditioned on rows.
        DataError: for rows that do not suit the model.
        ValueError: for conditions that the model does not have, or no horizon.
    """
    if horizon is not None and horizon < 1:
        raise ValueError(f"horizon must be at least 1 row, got {horizon}; leave it out for half a window")
    beginnings = prefixes(model.space, data, n, horizon)
    if given is not None:
        cond = model.space.encode_condition(conditioning(model.space, given).condition, len(beginnings.x) // n)
        beginnings = dataclasses.replace(beginnings, cond=None if cond is None else cond.repeat_interleave(n, 0))
    return forecast_prefixes(model, beginnings, seed)


@singledispatch
def prefixes(space: Space, data: Data, n: int = 1, horizon: int | None = None) -> Prefixes:
    """Rows of a file as the first rows of sequences, each ``n`` times. Another space registers its own function.

    Args:
        space: of the model.
        data: the rows: a file or a data frame with the columns of the model.
        n: how many forecasts of each sequence are drawn.
        horizon: how many rows of a series follow.

    Raises:
        TypeError: for a space without rows.
        DataError: for rows that the model cannot be conditioned on.
    """
    raise TypeError(f"the model must be of sequences to be given rows, got {space}: train with --order")


@prefixes.register(Sequences)
def _(space: Sequences, data: Data, n: int = 1, horizon: int | None = None) -> Prefixes:
    frame = raw_frame(data, space)[0]
    after = rows_ahead(space, frame)
    raw, notes = read_raw(frame[~after] if after.any() else data, space)
    x = raw.x
    if space.key is None:
        ahead = codes_ahead(space, frame, after) if after.any() else None
        return _of_series(space, x, frame[~after], n, notes, horizon, ahead)
    if horizon is not None:
        raise DataError(
            f"the number of rows that follow must be left out for sequences, whose ends are drawn, got {horizon}"
        )
    rows = space.row_counts(x)
    keys = list(dict.fromkeys(frame[space.key].astype(str).str.strip()))
    full = [key for key, count in zip(keys, rows.tolist(), strict=True) if count >= space.length]
    if full:
        raise DataError(
            f"{space.key} {shortened(full, 3)} must have fewer rows than the {space.length} of a sequence of the "
            f"model, got {space.length} or more: give fewer rows, or train with a greater --length"
        )
    named = space.with_keys(numbered_keys(keys, n))
    cond = None if raw.cond is None else raw.cond.repeat_interleave(n, 0)
    return Prefixes(x.repeat_interleave(n, 0), rows.repeat_interleave(n), named, notes, cond)


def _of_series(
    space: Sequences,
    x: Tensor,
    frame: pd.DataFrame,
    n: int,
    notes: tuple[str, ...],
    horizon: int | None,
    ahead: Tensor | None,
) -> Prefixes:
    """The end of each series as the first part of a window."""
    if ahead is not None and (horizon or 0) > ahead.shape[1]:
        raise DataError(
            f"{horizon} rows to follow must have their covariates in the data, got {ahead.shape[1]} of them: add rows "
            "that hold covariates alone, or ask for fewer"
        )
    if ahead is not None:
        horizon = horizon or ahead.shape[1]
    half, places = space.length // 2, torch.as_tensor(space.start.codes(frame[space.order]))
    series, series_of_frame = torch.zeros(len(x)), torch.zeros(len(frame))
    if space.series is not None:
        series = x[:, space.columns.index(space.series)]
        series_of_frame = torch.as_tensor(space.named(space.series).codes(frame[space.series]))
    names, lengths = torch.unique_consecutive(series, return_counts=True)
    if len(names) < len(torch.unique(series_of_frame)) or not len(x):
        raise DataError(f"a series must have at least 2 rows, got 1: give more, {1 + half} for the best forecast")
    count = min(int(lengths.min()), space.length - min(horizon or half, half))
    horizon = horizon or space.length - count
    windows = torch.full((len(names), *space.shape), ABSENT)
    windows[:, :count] = torch.stack([rows[-count:] for rows in torch.split(x, lengths.tolist())])
    last = torch.stack([places[series_of_frame == name].max() for name in names])
    origins = last - windows[:, :count, space.at].sum(1)
    each = f"of {len(x) + 1} rows" if space.series is None else f"rows of each of {len(names)} series"
    note = f"the last {count} {each} are given, and {horizon} follow"
    if space.covariates and ahead is None:
        note += f"; {shortened(space.covariates, 3)} drawn, too: rows that hold them alone would be known"
    rows = torch.full((n * len(names),), count)
    later = space.after(*origins.repeat_interleave(n).tolist())
    ahead = None if ahead is None else ahead[:, :horizon].repeat_interleave(n, 0)
    return Prefixes(windows.repeat_interleave(n, 0), rows, later, (*notes, note), horizon=horizon, ahead=ahead)


@torch.no_grad()
def forecast_prefixes(model: GenerativeModel, prefixes: Prefixes, seed: int = 0, batch_size: int = 256) -> Forecast:
    """Draw the rows that follow the given rows of each sequence, up to its end.

    Args:
        model: of sequences.
        prefixes: the given rows, see :func:`prefixes`.
        seed: of the draws.
        batch_size: sequences per network call.

    Raises:
        TypeError: for a model that cannot be conditioned on rows.
        ValueError: for rows that do not belong to the space.
    """
    if not isinstance(model.estimand, Continuing):
        raise TypeError(
            f"the model must be autoregressive or diffusion to be conditioned on rows, got {model.paradigm}: "
            "train one of these"
        )
    with evaluating(model):
        if prefixes.horizon is None:
            return Forecast(
                _rest(model, prefixes, seed, batch_size),
                prefixes.rows,
                dataclasses.replace(prefixes.space),
                prefixes.notes,
                prefixes.cond,
            )
        count, length = int(prefixes.rows[0]), prefixes.space.length
        x, rows = prefixes.x[:, :count], count + prefixes.horizon
        while (size := x.shape[1]) < rows:
            past = x[:, -(length - min(rows - size, length // 2)) :]
            ahead = None if prefixes.ahead is None else prefixes.ahead[:, size - count :][:, : length - past.shape[1]]
            known = past[:, :0] if ahead is None else ahead
            absent = past.new_full((len(past), length - past.shape[1] - known.shape[1], past.shape[2]), ABSENT)
            part = dataclasses.replace(
                prefixes,
                x=torch.cat([past, known, absent], 1),
                rows=torch.full_like(prefixes.rows, past.shape[1]),
                ahead=ahead,
            )
            later = _rest(model, part, seed, batch_size, size - past.shape[1])[:, past.shape[1] :]
            x = torch.cat([x, later[:, : min(rows - size, length // 2)]], 1)
    space = dataclasses.replace(prefixes.space, length=rows)
    return Forecast(x, prefixes.rows, space, prefixes.notes, prefixes.cond)


def _rest(model: GenerativeModel, prefixes: Prefixes, seed: int, batch_size: int, earlier: int = 0) -> Tensor:
    """Sequences ``(B, length, C)`` whose given rows are followed by drawn ones, where some rows came earlier."""
    codec, x, step = model.codec, prefixes.x.clone(), Noise.whole_blocks(batch_size)
    assert isinstance(model.estimand, Continuing)
    for rows in torch.unique(prefixes.rows).tolist():
        sequences = (prefixes.rows == rows).nonzero().flatten()
        for k, batch in enumerate(torch.split(sequences, step)):
            noise = Noise(seed, k * step, k * step + len(batch), f"after {earlier + rows} rows", model.device)
            prefix = prefixes.x[batch].to(model.device)
            z, log_mass = codec.encode(prefix)
            if not torch.isfinite(log_mass).all():
                sequence = int(batch[int((~torch.isfinite(log_mass)).nonzero()[0])])
                raise ValueError(
                    f"sequence {sequence} must have values of the training data, got a new one: correct it"
                )
            cond = None if prefixes.cond is None else prefixes.cond[batch].to(model.device)
            stays, mask = torch.zeros_like(prefix, dtype=torch.bool), None
            if prefixes.ahead is not None:
                stays[:, rows : rows + prefixes.ahead.shape[1], places_ahead(prefixes.space)] = True
                marks = z[0].numel() // prefix.shape[1] - prefix.shape[2]  # codes before the values of a row
                mask = F.pad(stays, (marks, 0), value=False).flatten(1)
            drawn_rows = codec.decode(model.estimand.go_on(z, rows, noise, cond, mask), noise)
            drawn_rows = torch.where(stays, prefix, drawn_rows)
            drawn_rows[:, :rows] = prefix[:, :rows]
            x[batch] = drawn_rows.cpu()
    return x
