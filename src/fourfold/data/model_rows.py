"""The rows of a table as raw examples of a model's space, and remarks on values that the model does not expect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import singledispatch

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fourfold.core import Space
from fourfold.data.coded_columns import codes_of, named_column
from fourfold.data.columns import checked_texts
from fourfold.data.errors import DataError
from fourfold.data.labels import alike
from fourfold.data.numeric import vectors_for
from fourfold.data.schema import Coded
from fourfold.data.sequences import keys_of, numbered_windows, sequences_of, windows_of
from fourfold.output.printable import shortened
from fourfold.settings.data import ConditionOptions, DataOptions, SampleOptions
from fourfold.spaces import Lines, Sequences, Table
from fourfold.spaces.columns import UNREADABLE, UNSEEN, Categorical, Column, Constant, Graded
from fourfold.spaces.vectors import numbered

__all__ = ["IMPOSSIBLE", "IMPROBABLE", "NEW", "OTHER_KIND", "RARE", "for_space", "not_constant"]


@singledispatch
def for_space(
    space: Space, where: str, columns: Sequence[Coded], headless: bool, kind: type[DataOptions] = DataOptions
) -> tuple[Space, Tensor, tuple[str, ...]]:
    """The space and the raw set that a table is for a model of a space, and remarks. By default vectors.

    Args:
        space: of the model.
        where: the file, for messages.
        columns: of the table. Found by name, or by place where a file has no header.
        headless: whether it has none.
        kind: the class of the settings: the rows are examples, conditions, which have no probability, or samples of
            another system, whose values may be of another kind than their column.

    Raises:
        DataError: for a column that is not there, or a value that the space does not hold.
    """
    return vectors_for(space, where, columns, headless)


@for_space.register
def _(
    space: Lines, where: str, columns: Sequence[Coded], headless: bool, kind: type[DataOptions] = DataOptions
) -> tuple[Space, Tensor, tuple[str, ...]]:
    column = (
        columns[0] if len(columns) == 1 else named_column(where, columns, space.column, "holds the texts of the model")
    )
    try:
        x = space.parse(checked_texts(where, column))
    except ValueError as error:
        raise DataError(f"{where}, column {column.name}: {error}") from None
    return space, x[torch.from_numpy(column.inverse).long()], ()


@for_space.register
def _(
    space: Sequences, where: str, columns: Sequence[Coded], headless: bool, kind: type[DataOptions] = DataOptions
) -> tuple[Space, Tensor, tuple[str, ...]]:
    numbering = next((column for column in columns if column.name == space.numbering), None)
    columns = [column for column in columns if column is not numbering]
    codes, notes, coded = _matched(space.file_table, where, columns, headless, kind)
    notes = (*notes, *_new_values(space.file_table, codes, coded, issubclass(kind, ConditionOptions), by_row=False))
    gaps = (codes[:, space.at] == UNSEEN).nonzero()
    if len(gaps):
        raise DataError(
            f"{where}, row {int(gaps[0]) + 1}, column {space.order}: must have a value to order rows, got none: "
            "correct it, or drop the row"
        )
    if space.key is None and numbering is not None:
        x, more = numbered_windows(where, space, codes.numpy(), keys_of(where, numbering))
    elif space.key is None:
        x, more = windows_of(where, space, codes.numpy())
    else:
        x, more = sequences_of(where, space, codes.numpy(), keys_of(where, named_column(where, columns, space.key)))
    return space, x, (*notes, *more)


@for_space.register
def _(
    space: Table, where: str, columns: Sequence[Coded], headless: bool, kind: type[DataOptions] = DataOptions
) -> tuple[Space, Tensor, tuple[str, ...]]:
    codes, notes, coded = _matched(space, where, columns, headless, kind)
    return space, codes, (*notes, *_new_values(space, codes, coded, issubclass(kind, ConditionOptions)))


def _matched(
    space: Table, where: str, columns: Sequence[Coded], headless: bool, kind: type[DataOptions]
) -> tuple[Tensor, tuple[str, ...], list[Coded]]:
    """The codes of a table in the columns of a model, remarks, and the columns of the file that they are."""
    by_name = {column.name: column for column in columns}
    schema = [column.name for column in space.schema]
    if headless and schema != list(numbered(len(schema))) and len(columns) == len(schema):
        by_name = dict(zip(schema, columns, strict=True))
    missing = [name for name in space.columns if name not in by_name]
    if missing:
        raise DataError(
            f"{where}: must have the column {missing[0]!r} of the model, got none: {alike(missing[0], by_name)}"
        )
    spare = [name for name in by_name if name not in schema]
    notes = [f"columns that the model does not use: {shortened(spare)}"] if spare else []
    notes += not_constant(space.schema, list(by_name.values()))
    coded = [by_name[name] for name in space.columns]
    coder = codes_of
    if issubclass(kind, SampleOptions):
        coder = _codes_of_samples
        notes += [line for pair in zip(space.modelled, coded, strict=True) for line in _wrong_values(*pair)]
    pairs = zip(space.modelled, coded, strict=True)
    codes = np.stack([space.in_schema(column, coder(where, column, values)) for column, values in pairs], 1)
    if not space.rules:
        return torch.from_numpy(codes), tuple(notes), coded
    pairs = zip(space.modelled, coded, strict=True)
    replaced = np.stack([column.replaced(values.inverse, values.distinct) for column, values in pairs], 1)
    return space.free_rows.settled(torch.from_numpy(codes), torch.from_numpy(replaced)), tuple(notes), coded


OTHER_KIND = "are judged as wrong ones"
"""The remark of notes on values of samples that are of another kind than their column, or in no real row."""


def _codes_of_samples(where: str, column: Column, coded: Coded) -> npt.NDArray[np.int64]:
    """As :func:`codes_of`, but a value of another kind becomes :data:`UNSEEN` instead of an error."""
    codes = np.append(column.read(coded.distinct), column.blank)[coded.inverse]
    return np.where(codes == UNREADABLE, UNSEEN, codes)


def _wrong_values(column: Column, coded: Coded) -> Iterator[str]:
    """Lines on the values of a column of samples that are of another kind, or in no real row, with their number."""
    codes = torch.from_numpy(np.append(column.read(coded.distinct), column.blank)[coded.inverse])
    for code, words in ((UNREADABLE, f"is not {column.description}"), (UNSEEN, "is in no real row")):
        count = f"{int((codes == code).sum()):,} of {len(codes):,} values"
        yield from _line(column, coded, codes == code, f"{words}: {count} {OTHER_KIND}")


IMPOSSIBLE, IMPROBABLE = "its probability is 0", "it is improbable"
"""The remarks of notes on examples with values that a model does not expect."""
NEW, RARE = "is a value that the model never saw", "is in few training rows or none"
"""The beginnings of notes on categories that training rows lack, and on those that a column pools."""
GUESS, EXTRAPOLATED = "a result given it is a guess", "a result given it is extrapolated"
"""The remarks of notes on conditions with such values."""
SHOWN = 3
"""New values of a column that are shown."""


def _new_values(
    space: Table, codes: Tensor, coded: Sequence[Coded], conditions: bool, by_row: bool = True
) -> Iterator[str]:
    """Lines on the values of each column that training rows did not have, that are pooled, or lie beyond their range.

    An example with a new value is impossible or improbable. A condition has no probability.

    Args:
        space: of the rows.
        codes: of the rows, ``(N, C)``.
        coded: the columns.
        conditions: whether the rows are conditions.
        by_row: whether lines name rows by their place, which those of sequences may have lost.
    """
    foreign, beyond = space.foreign(codes), space.beyond(codes)
    new, outer = (GUESS, EXTRAPOLATED) if conditions else (IMPOSSIBLE, IMPROBABLE)
    for i, (column, values) in enumerate(zip(space.modelled, coded, strict=True)):
        yield from _line(column, values, foreign[:, i], f"{NEW}: {new}", by_row)
        if isinstance(column, Categorical) and column.instead is not None:
            rare = torch.from_numpy(column.unlisted(values.inverse, values.distinct)) & ~foreign[:, i]
            yield from _line(column, values, rare, f"{RARE}: it counts as {column.instead}", by_row)
        if isinstance(column, Graded):
            low, high = column.text(np.array(column.span, dtype=np.int64))
            remark = f"is beyond {low} to {high}, as in training: {outer}"
            yield from _line(column, values, beyond[:, i], remark, by_row)


def not_constant(schema: Sequence[Column], columns: Sequence[Coded]) -> Iterator[str]:
    """A line on each column that is constant in training, so no model knows it, and has another value here."""
    coded = {column.name: column for column in columns}
    for column in schema:
        if isinstance(column, Constant) and column.name in coded:
            values = coded[column.name]
            differs = torch.from_numpy(column.codes_of(values.inverse, values.distinct) == UNSEEN)
            usual = "empty" if column.value is None else repr(column.value)
            yield from _line(
                column, values, differs, f"is not {usual}, as in all training rows: the column is not modelled"
            )


def _line(column: Column, coded: Coded, mask: Tensor, remark: str, by_row: bool = True) -> Iterator[str]:
    """A line on the values of some rows, if there are any: with their rows, or with the number of rows."""
    rows = mask.nonzero().flatten().tolist()
    if not rows:
        return
    if not by_row:
        values = coded.distinct.reindex(np.unique(coded.inverse[rows])).fillna("")
        first, *others = [repr(str(value)[:40]) for value in values]
        more = f"; likewise {shortened(others, SHOWN - 1)}" if others else ""
        yield f"{len(rows):,} of {len(mask):,} rows, column {column.name}: {first} {remark}{more}"
        return
    texts = [coded.distinct.iloc[coded.inverse[row]] if coded.inverse[row] >= 0 else "" for row in rows[:SHOWN]]
    places = rows if coded.rows is None else coded.rows[rows].tolist()
    words = [f"row {place + 1}: {str(text)[:40]!r}" for place, text in zip(places, texts, strict=False)]
    rest = [*words[1:], *([f"{len(rows) - SHOWN:,} more"] if len(rows) > SHOWN else [])]
    more = f"; likewise {', '.join(rest)}" if rest else ""
    yield f"row {places[0] + 1}, column {column.name}: {str(texts[0])[:40]!r} {remark}{more}"
