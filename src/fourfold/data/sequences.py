"""Rows of a table as sequences: grouped by a key, sorted by a column, and cut to one length."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fourfold.data.errors import DataError, option
from fourfold.data.memory import require
from fourfold.data.schema import GAPS, Coded, Hint, Inferred, as_numbers, infer
from fourfold.data.schema.tails import ends_of
from fourfold.data.schema.times import AS_TIME
from fourfold.data.splits import FEWEST, OF_ROWS, fractions_of
from fourfold.output.printable import one_of
from fourfold.settings.data import DataOptions, names_of
from fourfold.spaces import Sequences, Table
from fourfold.spaces.columns import MISSING, UNSEEN, Codes, Column, DateTime, Graded
from fourfold.spaces.sequences import ABSENT

__all__ = [
    "arranged",
    "check_named",
    "in_order",
    "key_of",
    "keys_of",
    "numbered_windows",
    "order_of",
    "resemblance",
    "rows_of",
    "sequences_of",
    "windows_of",
    "within",
]

LONGEST = 256
"""Rows of a sequence, where nothing else is asked for."""
WINDOW = (4, 64)
"""The shortest and the longest window that is chosen for a series."""


SEVERAL = (5, 3)
"""Rows look like sequences from so many keys on, of so many rows each."""
PLACES = re.compile(r"(year|month|week|day|hour|visit|wave|round|period)s?$|^t$", re.IGNORECASE)
"""Names of columns, beside those of times, whose numbers may order rows."""


def resemblance(columns: Sequence[Coded], inferred: Sequence[Inferred]) -> tuple[str, ...]:
    """A note if the rows of a table look like sequences: by the first column of times that grows as theirs do.

    Either the rows of every key stand together and their times grow, or the times of all rows grow in equal steps.
    """
    for coded, item in zip(columns, inferred, strict=True):
        places = _places(coded, item)
        if places is None:
            continue
        steps = np.diff(places)
        key = next((column for column in columns if column is not coded and _grow_within(column.inverse, steps)), None)
        if key is not None:
            many = len(key.distinct)
            setting = "series" if many < FEWEST or len(steps) > many * LONGEST else "group"
            ways = f"{option(setting, key.name)} and {option('order', coded.name)}"
            return (f"the rows look like sequences, and are modelled one by one: {ways} model them in their order",)
        if len(steps) and (steps > 0).all() and (np.abs(steps / np.median(steps) - 1) < 0.15).mean() > 0.95:
            way = option("order", coded.name)
            return (f"the rows look like a series, and are modelled one by one: {way} models them in their order",)
    return ()


def _places(coded: Coded, item: Inferred) -> npt.NDArray[Any] | None:
    """The times of all rows, or the numbers of a column that is named like times. ``None`` for any other column."""
    if item.missing:
        return None
    if isinstance(item.column, DateTime):
        return item.column.codes_of(coded.inverse, coded.distinct)
    like_time = AS_TIME.search(coded.name) or PLACES.search(coded.name)
    numbers = as_numbers(coded.distinct.astype(str)) if like_time else np.full(1, np.nan)
    return None if np.isnan(numbers).any() else numbers[coded.inverse]


def _grow_within(inverse: npt.NDArray[np.int32], steps: npt.NDArray[Any]) -> bool:
    """True if rows of one key stand together, and grow."""
    same = inverse[1:] == inverse[:-1]
    keys, (least, rows) = len(np.unique(inverse)), SEVERAL
    together = len(inverse) - int(same.sum()) == keys and least <= keys <= len(inverse) / rows
    return together and bool((steps[same] > 0).all())


def in_order(options: DataOptions) -> bool:
    """Whether rows are asked for in an order."""
    return any(name is not None for name in (options.order, options.group, options.series))


def check_named(where: str, names: Sequence[str], options: DataOptions) -> None:
    """Refuse a key or an order column that is not there, and options that sequences do not have.

    Raises:
        DataError: with the way out.
    """
    settings = {
        setting: name for setting in ("group", "series", "order") if (name := getattr(options, setting)) is not None
    }
    if options.order is None:
        first = option(*next(iter(settings.items())))
        raise DataError(
            f"{where}: {first} must stand beside a column that orders rows, got none; give {option('order')}"
        )
    for setting, name in settings.items():
        if name not in names:
            raise DataError(f"{where}: {option(setting)} must be {one_of(name, names)}")
    if options.group is not None and options.series is not None:
        raise DataError(
            f"{where}: group must be left out beside series, got {options.group!r}: series is for long ones, of which "
            "windows are the examples, and group for short ones, which are examples"
        )
    if len({*settings.values()}) < len(settings):
        raise DataError(f"{where}: {' and '.join(settings)} must be different columns, got {[*settings.values()]}")
    for setting in ("labels", "target"):
        if getattr(options, setting) is not None:
            raise DataError(f"{where}: {setting} must be left out for sequences, got {option(setting)}")
    if options.length is not None and options.length < 2:
        raise DataError(f"length must be at least 2 rows, got {options.length}; give {option('length', 16)}")


def key_of(where: str, coded: Coded, options: DataOptions) -> Inferred:
    """The column whose values name the sequences: an identifier, of which samples get fresh ones.

    That of series is a category of their rows.
    """
    if options.series is not None:
        inferred = infer(coded, {"kind": "category"})
        return dataclasses.replace(inferred, reason="names the series, in which windows lie")
    numbers = np.unique(coded.inverse)
    alone = dataclasses.replace(
        coded,
        inverse=np.arange(len(numbers), dtype=np.int32),
        distinct=coded.distinct.iloc[numbers].reset_index(drop=True),
    )
    inferred = infer(alone, {"kind": "identifier"})
    if len(numbers) == len(coded.inverse) and len(numbers) > 1:
        raise DataError(
            f"{where}, column {coded.name}: must name several rows at a time, got another value in each: "
            f"choose another, or leave out {option('group')} for one long series"
        )
    return dataclasses.replace(inferred, reason=f"names {len(numbers):,} sequences; not modelled")


def keys_of(where: str, coded: Coded) -> npt.NDArray[np.int64]:
    """The number of each row's sequence, in the order in which they begin in the file.

    Raises:
        DataError: for a row without a key.
    """
    gaps = np.append(coded.distinct.astype(str).str.strip().isin(GAPS).to_numpy(dtype=bool), True)[coded.inverse]
    if gaps.any():
        raise DataError(
            f"{where}, row {int(gaps.argmax()) + 1}, column {coded.name}: must name its sequence, got a missing value: "
            "correct it, or drop the row"
        )
    _, first, place = np.unique(coded.inverse, return_index=True, return_inverse=True)
    return first.argsort().argsort()[place]


def order_of(where: str, coded: Coded, hint: Hint) -> Inferred:
    """The column that orders rows: a number or a time that every row has.

    Raises:
        DataError: for another kind of column, or a row without a value.
    """
    kinds: tuple[Mapping[str, Any], ...] = ({}, {"kind": "number"}, {"kind": "time"})
    for attempt in (hint,) if "kind" in hint else tuple({**hint, **kind} for kind in kinds):
        try:
            inferred = infer(coded, attempt)
        except DataError:
            continue
        if isinstance(inferred.column, Graded):
            if inferred.column.missing and inferred.missing:
                _refuse_gap(where, coded, inferred.column)
            return dataclasses.replace(
                inferred,
                column=dataclasses.replace(inferred.column, missing=False),
                reason=f"orders the rows; {inferred.reason}",
            )
    raise DataError(
        f"{where}, column {coded.name}: must hold different numbers or times to order rows, got others: choose "
        f"another column, or say its format in a schema ({option('schema')})"
    )


def rows_of(
    places: Codes,
    keys: npt.NDArray[np.int64] | None,
    train: npt.NDArray[np.int64],
    options: DataOptions,
    season: int | None = None,
) -> npt.NDArray[np.int64]:
    """The rows of a file that belong to training examples.

    Args:
        places: the code of the order column in each row.
        keys: the number of each row's sequence or series, or ``None`` for one series.
        train: the numbers of training sequences, or those of rows in the stream of :func:`arranged`.
        options: with the names of the columns, and perhaps the length.
        season: of series, in rows.
    """
    if options.group is not None and keys is not None:
        return np.flatnonzero(np.isin(keys, train))
    series = np.zeros(len(places), dtype=np.int64) if keys is None else keys
    place = np.lexsort((np.arange(len(places)), places, series))
    lengths = np.bincount(series)
    first = np.cumsum(lengths) - lengths
    return np.sort(place[np.append(first, _stream(lengths, options, season)[0][train])])


def within(order: Inferred, places: Codes) -> Inferred:
    """The order column with the range of some rows."""
    codes, counts = np.unique(places, return_counts=True)
    assert isinstance(order.column, Graded)
    return dataclasses.replace(order, column=dataclasses.replace(order.column, **ends_of(codes, counts)))


def _refuse_gap(where: str, coded: Coded, column: Column) -> None:
    row = int((column.codes_of(coded.inverse, coded.distinct, coded.rows) == MISSING).argmax())
    raise DataError(
        f"{where}, row {row + 1}, column {coded.name}: must have a value to order rows, got none: drop the row"
    )


# --- rows in their order ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Sorted:
    """Rows in the order of their sequences.

    Attributes:
        codes: ``(N, C)``.
        starts: the place of the first row of each sequence, ``(S,)``.
        notes: the changes that sorting made.
    """

    codes: Codes
    starts: npt.NDArray[np.int64]
    notes: tuple[str, ...]

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        return np.diff(np.append(self.starts, len(self.codes)))


def _sorted(where: str, codes: Codes, keys: npt.NDArray[np.int64], at: int, order: str, group: str | None) -> _Sorted:
    """Rows by key and order. Rows of one place keep the order of the file, if the file is in order.

    Raises:
        DataError: for two rows of one place where the file is not in order, so that nobody knows which comes first.
    """
    place = np.lexsort((np.arange(len(codes)), codes[:, at], keys))
    by_key = np.argsort(keys, kind="stable")
    same = np.append(False, keys[by_key][1:] == keys[by_key][:-1])
    back = same & (np.diff(codes[by_key, at], prepend=0) < 0)
    sorted_keys, sorted_codes = keys[place], codes[place]
    tied = np.append(False, (sorted_keys[1:] == sorted_keys[:-1]) & (sorted_codes[1:, at] == sorted_codes[:-1, at]))
    unsorted = np.isin(keys, np.unique(keys[by_key[back]]))
    wrong = tied & unsorted[place]
    if wrong.any():
        i = int(wrong.argmax())
        owner = "" if group is None else f" of one {group}"
        raise DataError(
            f"{where}, rows {place[i - 1] + 1} and {place[i] + 1}{owner}: must differ in {order} in a file "
            "that is not sorted, got the same: sort the file, or choose a column without ties"
        )
    notes = [f"rows were sorted by {order}: {int(back.sum()):,} stood before an earlier one"] if back.any() else []
    if tied.any():
        notes.append(f"{int(tied.sum()):,} rows have the same {order} as the row before: they keep the file's order")
    first = np.flatnonzero(np.append(True, sorted_keys[1:] != sorted_keys[:-1]))
    return _Sorted(sorted_codes, first, tuple(notes))


def arranged(
    where: str,
    table: Table,
    codes: Codes,
    keys: npt.NDArray[np.int64] | None,
    options: DataOptions,
    train: npt.NDArray[np.int64] | None = None,
    season: int | None = None,
) -> tuple[Sequences, Tensor, tuple[str, ...], tuple[int, ...] | None]:
    """The space of new sequences, its raw set, the changes that sorting made, and the sizes of the parts of series.

    Args:
        where: the file, for messages.
        table: of the rows.
        codes: of the rows, ``(N, C)``, in the order of the file.
        keys: the number of each row's sequence or series, or ``None`` for one series.
        options: with the names of the columns, and perhaps the length.
        train: the numbers of training sequences, or of training rows of a series. ``None``: all are.
        season: of series, in rows.
    """
    assert options.order is not None
    at = table.columns.index(options.order)
    series = np.zeros(len(codes), dtype=np.int64) if keys is None else keys
    rows = _sorted(where, codes, series, at, options.order, options.group or options.series)
    steps = _steps(rows, at)
    if options.group is None:
        stream, parts, length, note = _stream(rows.lengths, options, season)
        ahead = {*names_of(options.given)}
        windowed = steps[stream]
        space = Sequences(
            table.schema,
            options.order,
            length=length,
            origin=int(rows.codes[:, at].max()),
            series=options.series,
            season=season,
            observed=table.observed,
            covariates=tuple(name for name in table.columns if name in ahead),
            **_range(windowed[slice(None) if train is None else train, at]),
        )
        return space, torch.from_numpy(windowed), (*rows.notes, note), parts
    later = np.ones(len(steps), dtype=bool)
    later[rows.starts] = False
    if train is not None:
        later &= np.isin(_sequence(rows), train)
    length = max(min(int(rows.lengths.max()), options.length or LONGEST), 1)
    later &= _within(rows) < length
    space = Sequences(
        table.schema,
        options.order,
        length=length,
        key=options.group,
        observed=table.observed,
        rules=table.rules,
        **_range(steps[later, at]),
    )
    x, notes = _padded(where, space, rows, steps)
    return space, x, (*rows.notes, *notes), None


def _range(steps: Codes) -> dict[str, Any]:
    """The arguments of a space that say which steps there are, and how likely others."""
    if not len(steps):
        return {"steps": (0, 1)}
    codes, counts = np.unique(steps, return_counts=True)
    ends = ends_of(codes, counts)
    return {"steps": (ends["low"], ends["high"]), "beyond": ends["beyond"], "scale": ends["scale"]}


def windows_of(where: str, space: Sequences, codes: Codes) -> tuple[Tensor, tuple[str, ...]]:
    """Series for a model of windows: all rows but the first of each, which only says where the steps begin."""
    keys = np.zeros(len(codes), dtype=np.int64) if space.series is None else codes[:, space.columns.index(space.series)]
    rows = _sorted(where, codes, keys, space.at, space.order, space.series)
    later = np.ones(len(codes), dtype=bool)
    later[rows.starts] = False
    return torch.from_numpy(_steps(rows, space.at)[later]), rows.notes


def numbered_windows(
    where: str, space: Sequences, codes: Codes, numbers: npt.NDArray[np.int64]
) -> tuple[Tensor, tuple[str, ...]]:
    """The windows of a file of samples, one after the other, each as long as those of the space or a multiple.

    They go on from the last row of the data, so that the first step begins there. One that no row of the data makes is
    taken for the usual step of its window.

    Raises:
        DataError: if no window is long enough.
    """
    rows = _sorted(where, codes, numbers, space.at, space.order, space.numbering)
    steps = _steps(rows, space.at)
    origins = np.asarray(space.origin).flatten()
    first = steps[rows.starts, space.at] - origins[np.arange(len(rows.starts)).clip(max=len(origins) - 1)]
    low, high = space.steps
    for i in np.flatnonzero((first < low) | (first > high)):
        own = steps[rows.starts[i] + 1 : rows.starts[i] + rows.lengths[i], space.at]
        first[i] = np.sort(own)[len(own) // 2] if len(own) else high
    steps[rows.starts, space.at] = first
    whole = _within(rows) < np.repeat(rows.lengths // space.length * space.length, rows.lengths)
    if not whole.any():
        longest = int(rows.lengths.max())
        raise DataError(f"{where}: must hold windows of {space.length} rows, got at most {longest}; draw longer ones")
    left = len(whole) - int(whole.sum())
    notes = (f"{left:,} rows that are no whole window of {space.length} are left out",) if left else ()
    return torch.from_numpy(steps[whole]), (*rows.notes, *notes)


def sequences_of(
    where: str, space: Sequences, codes: Codes, keys: npt.NDArray[np.int64]
) -> tuple[Tensor, tuple[str, ...]]:
    """Sequences for a model: the first rows of each."""
    rows = _sorted(where, codes, keys, space.at, space.order, space.key)
    x, notes = _padded(where, space, rows, _steps(rows, space.at))
    return x, (*rows.notes, *notes)


def _steps(rows: _Sorted, at: int) -> Codes:
    """The rows, with the step from the row before in the order column. Where a sequence starts, the place itself."""
    steps = rows.codes.copy()
    steps[1:, at] -= rows.codes[:-1, at]
    steps[rows.starts, at] = rows.codes[rows.starts, at]
    gaps = np.isin(rows.codes[:, at], (MISSING, UNSEEN))
    steps[gaps, at] = UNSEEN
    return steps


def _within(rows: _Sorted) -> npt.NDArray[np.int64]:
    """The place of each row in its sequence, from 0."""
    return np.arange(len(rows.codes)) - np.repeat(rows.starts, rows.lengths)


def _sequence(rows: _Sorted) -> npt.NDArray[np.int64]:
    """The number of each row's sequence."""
    return np.repeat(np.arange(len(rows.starts)), rows.lengths)


def _padded(where: str, space: Sequences, rows: _Sorted, steps: Codes) -> tuple[Tensor, tuple[str, ...]]:
    """Sequences ``(S, length, C)``, and a note on those that are longer."""
    count = len(rows.starts)
    require(8.0 * count * space.length * steps.shape[1], where)
    place, sequence = _within(rows), _sequence(rows)
    inside = place < space.length
    x = np.full((count, *space.shape), ABSENT, dtype=np.int64)
    x[sequence[inside], place[inside]] = steps[inside]
    longer = int((rows.lengths > space.length).sum())
    notes = (
        f"{longer:,} of {count:,} sequences have more than {space.length} rows and are known by their first ones: "
        f"{option('length')} changes it"
    )
    return torch.from_numpy(x), (notes,) if longer else ()


def _stream(
    lengths: npt.NDArray[np.int64], options: DataOptions, season: int | None = None
) -> tuple[npt.NDArray[np.int64], tuple[int, ...], int, str]:
    """The order of rows in a stream, the sizes of its parts, the length of windows, and a note.

    The stream holds the first rows of each series for training, then those for validation, and then those for the
    test. A held-out part has at least a window. One of several series that has less than four windows is for training
    alone.

    Args:
        lengths: the rows of each series, which stand one after the other.
        options: with the length, the shares of the parts, and the most rows, which are the first of each series.
        season: in rows. A window holds two.
    """
    place, rows = np.arange(int(lengths.sum())), int(lengths.sum()) - len(lengths)
    several = options.series is not None
    length = options.length or _window(min(rows / 80, float(np.median(lengths)) / 8), season)
    series = np.repeat(np.arange(len(lengths)), lengths)
    row = place - np.repeat(np.cumsum(lengths) - lengths, lengths)
    lengths = lengths if options.limit is None else np.minimum(lengths, lengths * options.limit // max(rows, 1))
    shares = fractions_of(options, OF_ROWS)
    sizes = np.maximum(np.floor(np.outer(shares[1:], lengths)).astype(np.int64), length)
    sizes[:, (lengths < 4 * length) & several] = 0
    ends = lengths - np.cumsum(sizes[::-1], 0)[::-1]  # where validation and test begin in each series
    part = (row >= ends[:, series]).sum(0)
    stream = np.argsort(part, kind="stable")
    stream = stream[(row > 0)[stream] & (row < lengths[series])[stream]]
    no_names = f"no {option('group')} and no {option('series')}, so the file is one series, and"
    example = (
        f"an example is a window of {length} rows of one of {len(lengths):,} series"
        if several
        else f"{no_names} an example is a window of {length} rows of it"
    )
    parts = np.bincount(part[stream], minlength=len(shares))
    return stream, tuple(parts.tolist()), length, _note(example, options, season)


def _window(longest: float, season: int | None) -> int:
    """The length of windows: the power of two that is at most this, within :data:`WINDOW`, but at least two seasons.

    Half of a window, from which a forecast goes on, then reaches one season back from the row before.
    """
    least, most = WINDOW
    return max(min(max(1 << int(np.log2(max(longest, 1))), least), most), 0 if season is None else 2 * (season + 1))


def _note(example: str, options: DataOptions, season: int | None) -> str:
    seasons = "" if season is None else f"; rows are alike after each {season}"
    return f"{example}{seasons}" if options.length else f"{example}{seasons}: {option('length')} changes it"
