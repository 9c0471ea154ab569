"""The source of a table: its columns are inferred, or are those of a model."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from fourfold.data.coded_columns import Batches, coded_columns, codes_of, named_column, schema_of
from fourfold.data.columns import checked_texts
from fourfold.data.errors import DataError, option
from fourfold.data.labels import alike, encode_labels
from fourfold.data.layout import Layout, plain
from fourfold.data.model_rows import for_space, not_constant
from fourfold.data.numeric import continuous_vectors, vectors_of
from fourfold.data.pairing import columns_named, paired
from fourfold.data.private import private_table
from fourfold.data.schema import (
    GAPS,
    Coded,
    Hint,
    Inferred,
    as_numbers,
    infer,
    read_schema,
    taken_apart,
    taken_apart_as,
    unknown_columns,
)
from fourfold.data.schema.rules import ruled
from fourfold.data.schema.spelling import spelled
from fourfold.data.seasons import season_of
from fourfold.data.sequences import (
    arranged,
    check_named,
    in_order,
    key_of,
    keys_of,
    order_of,
    resemblance,
    rows_of,
    within,
)
from fourfold.data.source import Source
from fourfold.data.splits import OF_ROWS, fractions_of
from fourfold.data.texts import learns
from fourfold.machine.libraries import pandas as pd
from fourfold.output.printable import shortened
from fourfold.settings.data import ConditionOptions, DataOptions, conditions_in
from fourfold.spaces import Categories, Lines, Sequences, Table, Vectors
from fourfold.spaces.columns import UNSEEN, Categorical, Constant, FreeText, Modelled
from fourfold.spaces.registry import space_named

__all__ = ["table_of"]


def table_of(
    where: str,
    batches: Batches,
    options: DataOptions,
    layout: Layout | None = None,
    frame: Any = None,
    typed: bool = True,
) -> Source:
    """The source of a table, as vectors or as rows of mixed columns.

    A model decides it, or the space that ``options`` names, or an option that only one of them has. Otherwise columns
    that are all continuous and free of ties are vectors, and all others a table.

    Args:
        where: the file, for messages.
        batches: its rows.
        options: may name the label column, a schema file, the space of a model.
        layout: of a CSV file, whose cells are texts.
        frame: the data frame that the rows are of, for its dtypes.
        typed: whether columns have types. Otherwise their values are texts, whatever they mean.

    Raises:
        DataError: for a value that is of another kind than its column, with row, column and way out.
    """
    looking = next((name for name in LOOKING if options.private and name in options.changed()), None)
    if looking is not None:
        way = "declare what is public instead (--public)" if looking == "schema" else "leave it out"
        raise DataError(f"{where}: {looking} must be left out with private, whose guarantee does not cover it: {way}")
    names = None if layout is None else layout.names
    headless = layout is not None and not layout.header
    ordered = in_order(options)
    rowwise = not ordered and (options.model is None or len(options.model.shape) == 1)  # an example is one row
    reading = options if rowwise else dataclasses.replace(options, limit=None)
    columns = coded_columns(where, batches, reading, names, "." if layout is None else layout.decimal, typed)
    notes = _notes(where, names, columns)
    if isinstance(frame, pd.DataFrame):
        columns = [_with_dtype(item, str(dtype)) for item, dtype in zip(columns, frame.dtypes, strict=True)]
    first = columns[0]
    if len(columns) > 1 and _counts_rows(first, names):
        columns, where_read = columns[1:], f"file {where}, without its index column"
    else:
        where_read = f"file {where}"
    columns, apart = _taken_apart(columns, options)
    notes = (*notes, *apart)
    labels, given = None, None
    by_name = {column.name: column for column in columns}
    if options.labels is not None and (options.model is None or str(options.labels) in by_name):
        labels, given = _labels(where, columns, str(options.labels))
        columns = [column for column in columns if column.name != str(options.labels)]
    hint = f"name its label column: {option('labels')}"
    bare = Source(torch.empty(0), Vectors(1), where_read, labels, given, hint=hint, notes=notes)
    if options.schema is not None:
        unknown_columns(where, read_schema(options.schema), [column.name for column in columns])
    if isinstance(options, ConditionOptions) and options.index is not None:
        index = named_column(where, columns, options.index)
        bare, columns = dataclasses.replace(bare, keys=_texts(index)), [part for part in columns if part is not index]
    bare = _with_keys(bare, where, columns, options)
    names_given = _columns_given(where, columns, options)
    wholes = [column.whole for column in columns if column.whole is not None and column.name in names_given]
    names_given = (*names_given, *(part for whole in wholes for part in whole.parts))
    if not names_given:
        return _of_columns(bare, where, columns, options, headless)
    target, conditions = _split_options(options, names_given)
    rest = [column for column in columns if column.name not in names_given]
    condition_columns = [column for column in columns if column.name in names_given]
    if not rowwise and _key(options) is None:
        _check_covariates(where, names_given, options)
        places = (options.order, options.series)
        columns = [
            *(c for c in rest if c.name in places),
            *condition_columns,
            *(c for c in rest if c.name not in places),
        ]
        return _of_columns(bare, where, columns, dataclasses.replace(target, given=names_given), headless)
    if not rowwise:
        condition_columns = _once_each(where, condition_columns, columns, options)
    empty = dataclasses.replace(bare, cond=None, given=None)
    part = _of_columns(empty, where, condition_columns, conditions, headless)
    return paired(_of_columns(bare, where, rest, target, headless), {_label(options, names_given): part})


def _taken_apart(columns: Sequence[Coded], options: DataOptions) -> tuple[list[Coded], tuple[str, ...]]:
    """Columns that hold several values, followed by these: as a model has them, or as they are found. And notes."""
    if options.model is not None:
        return taken_apart_as(schema_of(options.model), columns), ()
    kind = space_named(options.space) if isinstance(options.space, str) else None
    if options.private is not None or not (kind is None or kind.mixed):
        return [*columns], ()
    hints: dict[str, Hint] = {} if options.schema is None else read_schema(options.schema)
    index = options.index if isinstance(options, ConditionOptions) else None
    skip = {options.labels, options.target, options.group, options.series, options.order, index}
    return taken_apart(columns, hints, {str(name) for name in skip if name is not None}, options.support)


def _texts(column: Coded) -> pd.Series:
    """The value of each row as a text."""
    texts = column.distinct.astype("str")
    quoted = texts.str.startswith("'")
    texts = texts.mask(quoted, texts[quoted].map(plain)) if quoted.any() else texts
    return pd.concat([texts, pd.Series([""], dtype="str")]).take(column.inverse).reset_index(drop=True)


def _key(options: DataOptions) -> str | None:
    """The column that names sequences, of new ones or of a model."""
    return options.group if options.model is None else getattr(options.model, "key", None)


def _with_keys(bare: Source, where: str, columns: Sequence[Coded], options: DataOptions) -> Source:
    """A source with the key of each sequence, where there are some."""
    key = _key(options)
    if key is None or key not in {column.name for column in columns}:
        return bare
    column = named_column(where, columns, key)
    first = np.unique(keys_of(where, column), return_index=True)[1]
    return dataclasses.replace(bare, key=key, keys=_texts(column.among(first)))


def _check_covariates(where: str, names: Sequence[str], options: DataOptions) -> None:
    """Refuse the column that orders the rows of a series, or names the series, among those known beforehand.

    Raises:
        DataError: with the way out.
    """
    if own := {options.order, options.series} & {*names}:
        raise DataError(
            f"{where}: given must be other columns than order and series, whose next rows are known, got "
            f"{min(map(str, own))!r}: leave it out of given"
        )


def _once_each(where: str, conditions: Sequence[Coded], columns: Sequence[Coded], options: DataOptions) -> list[Coded]:
    """The columns of conditions with one row for each sequence, whose rows all hold the same.

    Raises:
        DataError: for the key or the order among the conditions, or a sequence with two values of a column.
    """
    key = str(_key(options))
    if double := {key, options.order} & {*_names(conditions)}:
        raise DataError(f"{where}: given must be other columns than group and order, got {min(map(str, double))!r}")
    keys = keys_of(where, named_column(where, columns, key))
    first = np.unique(keys, return_index=True)[1]
    for column in conditions:
        value = np.append(pd.factorize(column.distinct.astype(str))[0], -1)[column.inverse]
        other = np.flatnonzero(value != value[first][keys])
        if len(other):
            texts, row = _texts(column), int(other[0])
            raise DataError(
                f"{where}, row {row + 1}, column {column.name}: must be {texts[first[keys[row]]][:40]!r} as in row "
                f"{first[keys[row]] + 1} of the same {key}, got {texts[row][:40]!r}: correct it, or leave the column "
                "out of given, so that every row has its own"
            )
    return [column.among(first) for column in conditions]


def _names(columns: Sequence[Coded]) -> Iterator[str]:
    return (column.name for column in columns)


def _label(options: DataOptions, columns: Sequence[str]) -> str:
    """The name of conditions that are columns, among several: that of the model, or of the setting."""
    space = None if options.model is None else options.model.given
    of_model = [] if space is None else [*zip(space.labels, space.parts, strict=False)]
    own = [label for label, part in of_model if columns[0] in part.columns]
    labels = [label for label, item in conditions_in(options.given).items() if columns[0] in str(item)]
    return next(iter((*own, *labels)), "columns")


def _columns_given(where: str, columns: Sequence[Coded], options: DataOptions) -> tuple[str, ...]:
    """The columns that are conditions: those that are asked for, or those of the conditions of a model.

    Raises:
        DataError: for a column that is not there.
    """
    names = [column.name for column in columns]
    given = None if options.model is None else options.model.given
    if given is None or (options.given is not None and not given.parts):
        return columns_named(where, options.given, names, options.target)
    of_model = next((part.columns for part in given.parts or (given,) if part.columns), ())
    present = [name for name in of_model if name in names]
    missing = next((name for name in of_model if name not in names), None)
    if present and missing is not None:
        raise DataError(
            f"{where}: must have the column {missing[:80]!r} of the model's conditions, got none: "
            f"{alike(missing, names)}"
        )
    return tuple(present)


def _split_options(options: DataOptions, columns: Sequence[str]) -> tuple[DataOptions, DataOptions]:
    """The settings by which columns of examples are read, and those of conditions, for a model or for new ones."""
    space = None if options.model is None else options.model.given
    if space is not None and space.parts:
        space = next(part for part in space.parts if columns[0] in part.columns)
    target = dataclasses.replace(options, given=None)
    conditions = ConditionOptions.beside(target)
    return target, dataclasses.replace(
        conditions, target=None, labels=None, space=space, group=None, series=None, order=None
    )


LOOKING = ("given", "labels", "schema", "deduplicate", "group", "series", "order", "space", "text_model")
"""Settings under which reading a table looks at its rows, which a guarantee of privacy does not cover."""


def _of_columns(bare: Source, where: str, columns: Sequence[Coded], options: DataOptions, headless: bool) -> Source:
    """The source of some columns."""
    if options.private is not None:
        return private_table(bare, where, columns, options.private, options.target)
    ordered = in_order(options)
    if options.line_by_line:
        return _texts_of_column(bare, where, columns, options)
    kind = space_named(options.space) if isinstance(options.space, str) else None
    if options.model is not None or not (kind is None or kind.mixed or ordered):
        return _as_asked(bare, where, columns, options, headless)
    source = _with_schema(bare, where, columns, options)
    as_table = ordered or kind is not None or options.schema is not None or options.target is not None
    if not as_table and (vectors := continuous_vectors(where, columns, source.columns)) is not None:
        space, x = vectors
        return dataclasses.replace(source, space=space, x=x, columns=(), schema=None)
    return source


def _as_asked(bare: Source, where: str, columns: Sequence[Coded], options: DataOptions, headless: bool) -> Source:
    """A source in the space of a model, or as vectors: nothing is inferred."""
    if options.model is None:
        vectors, x = vectors_of(where, columns)
        return dataclasses.replace(bare, space=vectors, x=x)
    space, x, notes = for_space(options.model, where, columns, headless, type(options))
    return dataclasses.replace(bare, space=space, x=x, notes=(*bare.notes, *notes))


def _texts_of_column(
    bare: Source, where: str, columns: Sequence[Coded], options: DataOptions, train: Tensor | None = None
) -> Source:
    """A source of short texts, those of one column: of the one that is named, or of the only one that holds texts.

    Subwords are learned from the training rows. At first, from all.
    """
    if options.text is None:
        texts = [column for column in columns if len(columns) == 1 or infer(column).kind == "text"]
        if len(texts) != 1:
            names = [column.name for column in texts or columns]
            raise DataError(
                f"{where}: must have one column of texts, got {shortened(names)}; name it with {option('text')}"
            )
        column = texts[0]
    else:
        column = named_column(where, columns, options.text, "holds the texts")
    distinct, inverse = checked_texts(where, column), torch.from_numpy(column.inverse).long()
    try:
        training_texts = None if train is None else [distinct[k] for k in inverse[train].tolist()]
        space = Lines.of_texts(distinct, options.tokens, column.name, training_texts)
    except ValueError as error:
        raise DataError(f"{where}: {error}") from None
    spare = [other.name for other in columns if other is not column]
    notes = (f"columns that are neither texts nor conditions, left out: {shortened(spare)}",) if spare else ()
    return dataclasses.replace(
        bare,
        space=space,
        x=space.parse(distinct)[inverse],
        notes=(*bare.notes, *notes),
        schema=(lambda rows: _texts_of_column(bare, where, columns, options, rows)) if learns(options) else None,
    )


def _with_schema(
    bare: Source,
    where: str,
    columns: Sequence[Coded],
    options: DataOptions,
    train: Tensor | None = None,
    of_file: Sequence[Inferred] = (),
) -> Source:
    """A source with the schema of its training examples. At first, with that of all, which describes the file.

    All rows decide whether a column is text or names its rows, and which texts mean a missing value.
    """
    file = {item.column.name: item for item in of_file}
    learn = _in_order if in_order(options) else _inferred
    inferred, space, x, notes, parts = learn(where, columns, options, train, file)
    notes = (*bare.notes, *notes, *not_constant([item.column for item in inferred], columns))
    descriptions = tuple(map(_description, of_file or inferred, inferred))
    alike_rows = () if isinstance(space, Sequences) else resemblance(columns, of_file or inferred)  # a table may be one
    return dataclasses.replace(
        bare,
        x=x,
        space=space,
        parts=parts,
        notes=(
            *notes,
            *_remarks([item for item in descriptions if item.column.name != options.group], options.support),
            *alike_rows,
        ),
        columns=descriptions,
        schema=lambda rows: _with_schema(bare, where, columns, options, rows, inferred),
    )


def _with_dtype(column: Coded, dtype: str) -> Coded:
    """A column of a data frame with the dtype that it has there."""
    if dtype != "object" and not dtype.startswith("Sparse"):
        column = dataclasses.replace(column, dtype="bool" if dtype == "boolean" else dtype)
    return column


def _notes(where: str, names: Sequence[str] | None, columns: Sequence[Coded]) -> tuple[str, ...]:
    """Notes on changes by reading: of names, and of blanks around cells."""
    notes = []
    twice = sorted(name for name, times in Counter(names or ()).items() if name and times > 1)
    if twice:
        notes.append(f"columns that share a name have a number now: {shortened(twice)}")
    blank = [column.name for column in columns if column.padded is not None]
    notes += [f"blanks around cells do not count, as those of {shortened(blank, 3)}"] if blank else []
    return tuple(notes)


def _counts_rows(column: Coded, names: Sequence[str] | None) -> bool:
    """True if a nameless column merely counts the rows, as pandas writes it."""
    nameless = column.name.startswith("Unnamed: ") or (names is not None and not names[0])
    if not nameless or len(column.distinct) < len(column.inverse):
        return False
    numbers = as_numbers(column.distinct.astype(str))
    rows = np.arange(len(column.inverse)) if column.rows is None else column.rows
    return bool((numbers[column.inverse] == rows).all())


def _labels(where: str, columns: Sequence[Coded], name: str) -> tuple[Tensor, Categories]:
    """The classes of the rows."""
    column = named_column(where, columns, name, "holds the labels")
    if len(columns) == 1:
        raise DataError(f"{where}: must have columns beside the labels {name!r}, got none: add those to be modelled")
    values: Any = column.distinct.to_numpy(dtype=object)
    if column.dtype is None:
        words = column.distinct.astype(str).map(plain)
        values = words.where(~words.isin(GAPS), None).to_numpy(dtype=object)
    numbers = as_numbers(column.distinct.astype(str))
    if (column.inverse < 0).any() or np.isnan(numbers).any():
        values = np.append(values, np.array([None], dtype=object))
    else:
        values = numbers
    return encode_labels(values[column.inverse], len(column.inverse), f"{where}, column {name}")


class _Learned(NamedTuple):
    """The columns of a file that no model was trained on, their space, its raw set, notes, and the sizes of parts."""

    columns: tuple[Inferred, ...]
    space: Table | Sequences
    x: Tensor
    notes: tuple[str, ...] = ()
    parts: tuple[int, ...] | None = None


def _in_order(
    where: str, columns: Sequence[Coded], options: DataOptions, train: Tensor | None, of_file: Mapping[str, Inferred]
) -> _Learned:
    """The columns, the space and the raw set of sequences.

    Kind and resolution of the order column are those of all rows, since these say which rows are training rows.
    """
    by_name = {column.name: column for column in columns}
    check_named(where, list(by_name), options)
    assert options.order is not None
    hints: dict[str, Hint] = {} if options.schema is None else read_schema(options.schema)
    order = order_of(where, by_name[options.order], hints.get(options.order, {}))
    name = options.group or options.series
    key = None if name is None else by_name[name]
    keys = None if key is None else keys_of(where, key)
    places, season, rows = codes_of(where, order.column, by_name[options.order]), None, None
    if options.group is None:
        others = [column for column in columns if column.name not in (options.order, options.series)]
        series = np.zeros(len(places), dtype=np.int64) if keys is None else keys
        used = min(options.limit or len(places), len(places)) / max(len(places), 1)
        season = season_of(others, places, series, used * fractions_of(options, OF_ROWS)[0])
    if train is not None:
        rows = torch.from_numpy(rows_of(places, keys, train.numpy(), options, season))
        order = within(order, places[rows])
    settled = {options.order: order} | ({} if key is None else {key.name: key_of(where, key, options)})
    inferred = _inferred(where, columns, options, rows, of_file, settled)
    table, numbers = cast("Table", inferred.space), None if train is None else train.numpy()
    return _Learned(inferred.columns, *arranged(where, table, inferred.x.numpy(), keys, options, numbers, season))


def _inferred(
    where: str,
    columns: Sequence[Coded],
    options: DataOptions,
    train: Tensor | None,
    of_file: Mapping[str, Inferred],
    settled: Mapping[str, Inferred] | None = None,
) -> _Learned:
    """The columns, the space and the codes of a table. Some columns are settled.

    Other rows than training rows may hold values that no column has. With ``None``, all rows are training rows.
    """
    hints: dict[str, Hint] = {} if options.schema is None else read_schema(options.schema)
    settled = settled or {}
    inferred = tuple(
        settled.get(column.name) or _column(column, hints.get(column.name), train, of_file.get(column.name), options)
        for column in columns
    )
    try:
        schema = tuple(item.column for item in inferred if item.kind != "drop")
        space = Table(schema, target=options.target, observed=len(columns[0].inverse))
    except ValueError as error:
        texts = [item.column.name for item in inferred if item.kind == "text"]
        words = f"{option('text', *texts[:1])} and {option('space', 'lines')}"
        way = f"; or model its texts, each by itself, with {words}" if texts else ""
        raise DataError(f"{where}: {error}{way}") from None
    codes = np.empty((len(columns[0].inverse), len(space.modelled)), dtype=np.int64)
    place = 0
    for coded, item in zip(columns, inferred, strict=True):
        if isinstance(item.column, Modelled):
            codes[:, place] = space.in_schema(item.column, codes_of(where, item.column, coded))
            outside = codes[:, place] == UNSEEN
            if outside.any() and train is None:
                row = int(outside.argmax())
                place_in_file = row if coded.rows is None else int(coded.rows[row])
                value = coded.distinct.iloc[coded.inverse[row]] if coded.inverse[row] >= 0 else "nothing"
                raise DataError(
                    f"{where}, row {place_in_file + 1}, column {coded.name}: must be of the schema, got "
                    f"{str(value)[:40]!r}: add it to the categories, or to the texts that mean a missing value"
                )
            place += 1
    x = torch.from_numpy(codes)
    if train is not None:
        space = spelled(space, columns, x, train, options.text_model, options.text_rows)
    if train is not None and options.rules and options.series is None and (options.group or options.order is None):
        whole = _with_rare(inferred, columns, x)
        space = ruled(space, x[train], whole[train], options.support, options.order)
        x = space.free_rows.settled(x, x != whole)
    return _Learned(inferred, space, x)


def _column(
    coded: Coded, hint: Hint | None, train: Tensor | None, of_file: Inferred | None, options: DataOptions
) -> Inferred:
    """A column, inferred from training rows or from all rows. See :func:`_with_schema`."""
    support = 1 if (hint or {}).get("kind") == "category" else options.support  # a schema's word keeps all categories
    if train is None or of_file is None:
        return infer(coded, hint, support)
    if not isinstance(of_file.column, (Modelled, Constant)):
        return of_file
    inferred = infer(coded.among(train.numpy()), hint, support)
    if isinstance(inferred.column, FreeText) and isinstance(of_file.column, Categorical):  # all rows decide
        inferred = infer(coded.among(train.numpy()), {**(hint or {}), "kind": "category"}, support)
    if not isinstance(inferred.column, Modelled) or not isinstance(of_file.column, Modelled):
        return inferred
    return dataclasses.replace(inferred, column=dataclasses.replace(inferred.column, gaps=of_file.column.gaps))


def _with_rare(inferred: Sequence[Inferred], columns: Sequence[Coded], x: Tensor) -> Tensor:
    """The rows in which each category that is pooled or replaced has a code of its own, behind those of its column.

    A rule may hold among these codes and not among those of the rows.
    """
    pairs = zip(inferred, columns, strict=True)
    whole = x.clone()
    for place, (column, coded) in enumerate((i.column, c) for i, c in pairs if isinstance(i.column, Modelled)):
        rows = column.replaced(coded.inverse, coded.distinct)
        whole[rows, place] = torch.from_numpy(coded.inverse[rows]).long() + column.span[1] + 1
    return whole


def _description(of_file: Inferred, of_training: Inferred) -> Inferred:
    """The sentence on a column: its kind in the file, unless training rows are of another kind."""
    return of_file if of_file.kind == of_training.kind else of_training


def _remarks(inferred: Sequence[Inferred], support: int) -> tuple[str, ...]:
    """Remarks on columns: of their inference, on rare values, and on those that are not modelled."""
    unmodelled = {
        "identifier": "identifiers, not modelled; samples get fresh ones",
        "text": "texts, no part of the likelihood; samples get new ones",
        "constant": "constant or empty, not modelled; samples get them back",
        "drop": "left out of the model and of samples",
    }
    lines = [note for item in inferred for note in item.notes]
    for kind, remark in unmodelled.items():
        names = [item.column.name for item in inferred if item.kind == kind]
        lines += [f"{remark}: {shortened(names)}"] if names else []
    rare = [item for item in inferred if item.rare]
    if rare:
        count, columns = sum(item.rare for item in rare), shortened([item.column.name for item in rare], 3)
        verb = "categories are" if count > 1 else "category is"
        lines.append(
            f"{count:,} {verb} pooled or replaced, in fewer than {support} rows each: {columns}; "
            f"{option('keep_rare', True)} keeps all"
        )
    return tuple(lines)
