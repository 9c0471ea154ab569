"""Data: built-in sets and one's own files, checked, split by a seed and named by a digest."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias, Unpack, cast

import numpy as np
import torch
from torch import Tensor

from fourfold.core import Space
from fourfold.data.arrays import as_array, of_array
from fourfold.data.assembly import assemble, assemble_folds
from fourfold.data.builtin import builtin_sets
from fourfold.data.dataset import Dataset, Units, describe, describe_record
from fourfold.data.densities import Checkerboard, GaussianMixture
from fourfold.data.errors import OF_TABLES, DataError, option, refuse_other
from fourfold.data.matching import examples_of, matched, options_for, read_as, stream_for
from fourfold.data.mixed import table_of
from fourfold.data.oracles import GaussianDenoiser, GaussianTransport, MixtureDenoiser
from fourfold.data.pairing import aligned, columns_named, paired
from fourfold.data.readers import read
from fourfold.data.source import Density, Source
from fourfold.data.splits import Split, chosen_rows
from fourfold.data.stored import Stored
from fourfold.data.tables import of_memory
from fourfold.data.texts import are_texts, holds_texts, read_texts, texts_of
from fourfold.machine.libraries import pandas as pd
from fourfold.output.printable import one_of
from fourfold.settings.data import (
    IN_MEMORY,
    OWN,
    ConditionOptions,
    DataKeywords,
    DataOptions,
    SampleOptions,
    conditions_in,
    name_of,
    names_of,
    recordable,
    recorded,
    stands_apart,
)
from fourfold.settings.declaration import spelled_out
from fourfold.spaces.registry import space_named

__all__ = [
    "IN_MEMORY",
    "Checkerboard",
    "Data",
    "DataError",
    "Dataset",
    "Density",
    "GaussianDenoiser",
    "GaussianMixture",
    "GaussianTransport",
    "MixtureDenoiser",
    "Split",
    "Units",
    "describe",
    "describe_record",
    "examples_of",
    "folds",
    "load",
    "names",
    "read_all",
    "read_conditions",
    "read_raw",
    "summaries",
]

Data: TypeAlias = "str | os.PathLike[str] | np.ndarray | Tensor | Sequence[Sequence[float]] | pd.DataFrame"
"""Data that :func:`load` reads: a name, a path, or an array, tensor, list of rows or table in memory."""


def names() -> list[str]:
    """The names of the built-in sets."""
    return list(builtin_sets())


def summaries() -> dict[str, str]:
    """One line on each built-in set: its size and kind."""
    return {name: (make.__doc__ or "").partition("\n")[0].rstrip(".") for name, make in builtin_sets().items()}


@spelled_out(DataKeywords, {f.name: f.default for f in dataclasses.fields(DataOptions)})
def load(data: Data, **keywords: Unpack[DataKeywords]) -> Dataset:
    """Load a built-in set, a file, a folder or an array. Refuse it with one clear line if it cannot be trained on.

    Args:
        data: a name of :func:`names`; a text file; a folder of PNG, JPEG or WebP images (sub-folders are classes);
            ``.npy`` or ``.npz`` (images uint8 ``(N, H, W)``, ``(N, H, W, C)`` or ``(N, C, H, W)``; vectors ``(N, D)``);
            a table as ``.csv``, ``.tsv``, ``.xlsx``, ``.parquet``, ``.feather``, JSON lines (``.jsonl``) or a list of
            JSON objects (``.json``), or in a ``.sqlite`` or ``.duckdb`` database; a recording, or a folder of WAV,
            FLAC, OGG or MP3 files (sub-folders are classes); documents as a folder of ``.txt``, or as a ``.jsonl`` with
            the field ``text``; images in ``.tar`` shards (as WebDataset writes them), Parquet files or a folder that
            the library ``datasets`` saved; or such an array, tensor or list of lists in memory, or a data frame of
            pandas or polars.
        keywords: the settings of :class:`~fourfold.settings.data.DataOptions`, such as ``limit`` and ``labels``.

    Raises:
        DataError: naming the file, row, column or argument, and the way out.
    """
    name, source, options, record = _source_and_record(data, keywords)
    return dataclasses.replace(assemble(name, source, options), options=record)


@spelled_out(DataKeywords, {f.name: f.default for f in dataclasses.fields(DataOptions)})
def folds(data: Data, count: int, **keywords: Unpack[DataKeywords]) -> list[Dataset]:
    """Load data for cross-validation: each example is a test example of one data set, and a training one of the others.

    A tenth of the other examples is for validation. The schema of each is that of its own training examples.

    Args:
        data: as for :func:`load`.
        count: number of parts. Classes have their share in each, and groups stay together.
        keywords: as for :func:`load`, without ``fractions``.

    Raises:
        DataError: for data that is cut by position, stays in its files or has an official test set, and as for
            :func:`load`.
    """
    name, source, options, record = _source_and_record(data, keywords)
    return [dataclasses.replace(part, options=record) for part in assemble_folds(name, source, options, count)]


def _source_and_record(data: Data, keywords: DataKeywords) -> tuple[str, Source | Stored, DataOptions, dict[str, Any]]:
    """The name of data, its source, the settings it is split by, and those that load it again."""
    options, name = _options(**keywords), name_of(data)
    if options.text is not None and options.given is not None and options.space is None:
        options = dataclasses.replace(options, space="lines")
    kind = _kind(options.space)
    source = _source(data, name, options)
    if not isinstance(source, Source):
        if kind is not None and not isinstance(source.space, kind):  # the kind that the user named
            raise DataError(f"{name}: space must be left out to stream {source.space}, got {kind.__name__}")
    elif kind is not None:
        source = read_as(name, source, kind, options)
    turned = isinstance(source, Source) and bool(source.conditions or source.space.given is not None)
    if turned and options.given is None:
        options = dataclasses.replace(options, given=OWN[0])
    record = recordable({key: value for key, value in keywords.items() if key != "given"})
    of_conditions = source.space.covariates if source.given is None else source.given.columns
    if keywords.get("given") is not None and (source.given is not None or of_conditions):
        record["given"] = recorded(options.given, of_conditions)
    if source.space.covariates:  # columns of the rows themselves, so examples have no conditions
        options = dataclasses.replace(options, given=None)
    return name, source, options, record


def read_all(
    data: Data,
    space: Space,
    *,
    limit: int | None = None,
    labels: str | os.PathLike[str] | np.ndarray | Tensor | None = None,
    given: Any = None,
    skip_bad: bool = False,
    data_dir: str | os.PathLike[str] | None = None,
    seed: int = 0,
    short: bool = False,
    wrong: bool = False,
) -> tuple[Split, tuple[str, ...]]:
    """All examples of a file for a model of a space, however few, and notes on the changes that reading made.

    Args:
        data: as for :func:`load`.
        space: the space of the model. A stream, such as a text, is cut into windows.
        limit: read at most this many examples.
        labels: as for :func:`load`. A table without that column is read without labels.
        given: the conditions, as for :func:`load`, in the space of the model's conditions. A table that has their
            columns needs none.
        skip_bad: leave out images and sounds that cannot be read.
        data_dir: as for :func:`load`.
        seed: draws sampled sets.
        short: whether a stream that is shorter than a window is one example, for a model that tells its mass.
        wrong: whether a table may hold values of another kind than their column, such as words among numbers. A note
            counts them, and each is a value that the space does not hold.

    Raises:
        DataError: naming the file, row, column or argument, and the way out.
    """
    many = None if limit is None else limit * (space.window or 1)
    reading: DataKeywords = {"seed": seed, "data_dir": data_dir, "skip_bad": skip_bad, "labels": labels}
    options = dataclasses.replace(_options(**reading), given=given, space=space, limit=many)
    options = SampleOptions(**vars(options)) if wrong else options
    raw, notes = _read_set(data, options)
    x = examples_of(name_of(data), raw.x, space, short)
    return Split(x[:limit], None if raw.cond is None else raw.cond[:limit]), notes


def read_conditions(data: Data, space: Space, index: str | None = None) -> tuple[Tensor, tuple[str, ...]]:
    """The conditions in a file, a folder or memory, ``(N, *)``, and notes on the changes that reading made.

    Args:
        data: as for :func:`load`. Pixels of -1 in an array of int16 are unknown.
        space: the space of a model's conditions.
        index: the column of a table whose values tell which example each row belongs to, if it has one.

    Raises:
        DataError: naming the file, row, column or argument, and the way out.
    """
    raw, notes = _read_set(data, ConditionOptions(space=space, index=index))
    return examples_of(name_of(data), raw.x, space), notes


def read_raw(
    data: Data,
    space: Space,
    *,
    labels: str | os.PathLike[str] | np.ndarray | Tensor | None = None,
    given: Any = None,
    skip_bad: bool = False,
) -> tuple[Split, tuple[str, ...]]:
    """The raw set of a file for a model of a space: all examples, or the whole of a stream, and notes.

    Args:
        data: as for :func:`load`.
        space: the space of the model.
        labels: as for :func:`read_all`.
        given: as for :func:`read_all`.
        skip_bad: as for :func:`load`.

    Raises:
        DataError: naming the file, row, column or argument, and the way out.
    """
    return _read_set(data, _options(space=space, labels=labels, given=given, skip_bad=skip_bad))


def _read_set(data: Data, options: DataOptions) -> tuple[Split, tuple[str, ...]]:
    source = _source(data, name_of(data), options)
    assert isinstance(source, Source), "data for a model is read into memory"
    notes = (*source.notes, *source.space.notes(source.x), *(f"skipped: {file}" for file in source.skipped))
    return Split(source.x, source.cond), notes


def _options(**keywords: Unpack[DataKeywords]) -> DataOptions:
    """The settings as the readers take them: labels in memory are an array."""
    labels = keywords.get("labels")
    if labels is not None and not isinstance(labels, (str, os.PathLike)):
        keywords["labels"] = np.asarray(labels)
    try:
        return DataOptions.of(**keywords)
    except ValueError as error:
        raise DataError(str(error)) from None


def _kind(space: Space | str | None) -> type[Space] | None:
    """The kind of space that a caller named."""
    try:
        return space_named(space) if isinstance(space, str) else None
    except (ValueError, TypeError) as error:
        raise DataError(str(error)) from None


def _source(data: Data, name: str, options: DataOptions) -> Source | Stored:
    """The source that data stands for, with the conditions that ``options`` name."""
    if options.given is None:
        return _unpaired(data, name, options)
    space = None if options.model is None else options.model.given
    if options.model is not None and space is None:
        raise DataError(f"{name}: given must be left out for a model without conditions")
    items = conditions_in(options.given)
    own = next((label for label, item in items.items() if isinstance(item, str) and item in OWN), None)
    if own is not None and len(items) == 1:
        return _unpaired(data, name, options)
    reading = options
    if own is not None and options.model is not None and space is not None and space.parts:  # labels are the first part
        reading = dataclasses.replace(options, space=options.model.conditioned_on(space.parts[0]))
    examples = _unpaired(data, name, reading, whole=True)
    if not isinstance(examples, Source) and options.model is None and options.limit is None:
        if own is not None:
            raise DataError(f"{name}: given must be {items[own]!r} alone for examples that stay in their files")
        return _beside(name, examples, options)
    if options.stream:
        raise DataError(f"{name}: stream must be left out with given for data that is read into memory, as this is")
    source = _in_memory(examples)
    items = {label: item for label, item in _elsewhere(source, options.given).items() if label != own}
    source = source if own is None else _with_labels(name, source, own)
    count, most = len(source.conditions) + len(items), 1 if space is None else max(len(space.parts), 1)
    if space is not None and count != most:
        raise DataError(f"{name}: given must be {most} conditions, as the model has ({space}), got {count}")
    for label, item in items.items():
        part = space.parts[len(source.conditions)] if space is not None and space.parts else space
        given, given_name = _conditions(name, item, dataclasses.replace(options, space=part), source.key)
        source = aligned(name, source, given_name, given, options.skip_bad, label)
    return source if space is None else dataclasses.replace(source, given=space)


def _beside(name: str, stored: Stored, options: DataOptions) -> Stored:
    """Examples that stay in their files, with conditions in memory: columns beside them, or data in the same order.

    Raises:
        DataError: for conditions of another number, or of files with other names.
    """
    parts = {}
    for label, item in conditions_in(options.given).items():
        columns = columns_named(name, item, stored.columns) if stored.columns else ()
        if columns:
            part = table_of(name, stored.batches(columns), DataOptions(seed=options.seed))
        else:
            part, _ = _conditions(name, item, options, None)
        if len(part.x) != len(stored) or (
            len(part.names) and len(stored.names) and tuple(part.names) != tuple(stored.names)
        ):
            raise DataError(
                f"{name}: streamed examples must have as many conditions, of the same names in the same order, got "
                f"{len(stored):,} and {len(part.x):,}; correct them, or leave out {option('stream')}"
            )
        parts[label] = part
    pairs = paired(Source(torch.empty(len(stored), 0), stored.space, stored.where), parts)
    stored.cond, stored.given, stored.notes = pairs.cond, pairs.given, (*stored.notes, *pairs.notes)
    return stored


def _with_labels(name: str, source: Source, label: str) -> Source:
    """A source whose labels are one of several conditions.

    Raises:
        DataError: for data without labels, or with conditions that are columns of its own.
    """
    if source.conditions:
        raise DataError(f"{name}: given must name the column of the labels, beside other columns, got {label!r}")
    if source.cond is None or source.given is None:
        raise DataError(f"{name} must have labels to be conditional on, got none: {source.hint}")
    labels = Source(source.cond, source.given, source.where)
    return paired(dataclasses.replace(source, cond=None, given=None), {label: labels})


def _elsewhere(source: Source, given: Any) -> dict[str, Any]:
    """The conditions by their labels, but for columns and arrays of the data, which its reader has paired."""
    items = conditions_in(given)
    columns = [column for part in source.conditions.values() for column in part.space.columns]
    paired_here = source.conditions or source.space.covariates
    own = [name for name in names_of(given) if name in columns or not _exists(name)] if paired_here else []
    return {label: item for label, item in items.items() if not (isinstance(item, str) and item in own)}


def _exists(name: str) -> bool:
    return name in builtin_sets() or stands_apart(name)


def _conditions(name: str, given: Any, options: DataOptions, index: str | None) -> tuple[Source, str]:
    """The source of conditions that lie elsewhere, and its name.

    Args:
        name: the data, for messages.
        given: the conditions.
        options: by which the data is read, but ``options.space`` is that of a model's conditions.
        index: the column of a table that names the examples.

    Raises:
        DataError: for a name of nothing, or conditions that cannot be read.
    """
    names = [os.fspath(given)] if isinstance(given, (str, os.PathLike)) else []
    own: dict[str, Any] = {}
    if isinstance(given, Dataset):
        names, own, given = [given.name], _reading_of(name, given), given.name
    elif names:
        given = names[0]
    elif hasattr(given, "to_frame"):  # a column of a data frame
        given = given.to_frame()
    if names and not _exists(given):
        raise DataError(_nothing(name, given))
    here = {"seed": options.seed, "skip_bad": options.skip_bad, "data_dir": options.data_dir, "index": index}
    keywords = own | here | {"space": options.model or own.get("space")}
    reading = ConditionOptions.of(**cast("DataKeywords", keywords))
    given_name = given if names else "given"
    return _in_memory(_unpaired(given, given_name, reading, whole=True)), given_name


def _reading_of(name: str, given: Dataset) -> dict[str, Any]:
    """The settings by which the source of a data set is read, as conditions: its splits are in another order."""
    if given.name == IN_MEMORY:
        raise DataError(f"{name}: given must be the array itself, got a data set of one, which is shuffled")
    return {name: value for name, value in given.options.items() if name in _READING}


LONGEST_PATH = 4096
"""Letters of a path that a system takes, at most."""
_READING = frozenset(f.name for f in dataclasses.fields(DataOptions)) - {"given", "limit", "fractions"}
"""The settings of a data set by which its source is read, as conditions."""


def _nothing(name: str, given: str) -> str:
    """The message on conditions that are not there."""
    if given == IN_MEMORY:
        return f"{name}: given must be given again, as it is not stored: the array, table or texts"
    kinds = "labels, captions, a file, a folder or columns of a table"
    return f"{name}: given must be {kinds}, got {given!r}, which is none; correct it"


def _in_memory(source: Source | Stored) -> Source:
    return source if isinstance(source, Source) else source.source_of(np.arange(len(source)))


def _unpaired(data: Data, name: str, options: DataOptions, whole: bool = False) -> Source | Stored:
    """The source that a name, a path or an object in memory stands for. In the space of a model, if it is for one.

    Streamed data comes into memory if it is read for a model, or limited. Where all examples are needed ``whole``, for
    their partners, there is no limit, and each line of a text file is one.
    """
    space, path = options.model, Path(name).expanduser()
    if whole and not _names_columns(options.given):
        options = dataclasses.replace(options, limit=None)
    text_file = path.suffix.lower() == ".txt"
    whole = whole or (text_file and (options.line_by_line or (space is not None and not space.bytewise)))
    if (whole or name == IN_MEMORY) and _are_texts(data, path, options):
        source: Source | Stored = _texts(data, path, options)
    elif space is not None and space.bytewise and path.exists():
        return stream_for(space, path, options)
    else:
        source = _source_of(data, name, options if space is None else options_for(space, path, options))
    if not isinstance(source, Source):
        if space is None and options.limit is None:
            return source
        source = source.source_of(chosen_rows(len(source), options, source.cond))
    return source if space is None else matched(name, source, space, isinstance(options, ConditionOptions))


def _names_columns(given: Any) -> bool:
    """True if a setting of conditions has names, none of which is a file."""
    names = names_of(given)
    return bool(names) and not any(map(_exists, names))


def _are_texts(data: Data, path: Path, options: DataOptions) -> bool:
    """True for texts of which each is an example. A table has columns as its conditions, whatever their names."""
    if isinstance(data, (str, os.PathLike)):
        return holds_texts(path) and (options.given is None or path.suffix.lower() != ".csv")
    return are_texts(data)


def _texts(data: Data, path: Path, options: DataOptions) -> Source:
    if isinstance(data, (str, os.PathLike)):
        return read_texts(path, options)
    return texts_of(IN_MEMORY, [str(text) for text in data], options)


def _source_of(data: Data, name: str, options: DataOptions) -> Source | Stored:
    if not isinstance(data, (str, os.PathLike)):
        return _of_memory(data, options)
    if name in builtin_sets():
        own_options = {"python-docs": ("tokens",), "penguins": ("target", "group", "schema", "rare", "rules")}.get(
            name, ()
        )
        refuse_other(options, f"{name}, a built-in set", *own_options)
        source, here = builtin_sets()[name](options), Path(name)
        note = f"read the built-in set {name}, not what stands here under that name: write ./{name} for it"
        return dataclasses.replace(source, notes=(*source.notes, note)) if here.exists() else source
    path = Path(name).expanduser()
    if os.path.exists(path):  # False for a name that no file can have, where Path.exists raises
        return read(path, options)
    if len(name) > LONGEST_PATH or "\n" in name:
        raise DataError(
            f"data must be a name or a path, got a text of {len(name):,} letters; write it in a list: [text]"
        )
    if name == IN_MEMORY:
        raise DataError(f"{name} must be given again, as it is not stored: the array, tensor or table")
    if path.suffix or len(path.parts) > 1:
        raise DataError(f"{name}: must be a file or folder, got a path that does not exist: check its name")
    raise DataError(f"data must be a file or {one_of(name, builtin_sets(), 99)}")


def _of_memory(data: object, options: DataOptions) -> Source:
    """An array, a tensor or a table."""
    if isinstance(data, (np.ndarray, Tensor, list, tuple)):
        refuse_other(options, "an array", "labels", "n_values")
        if isinstance(options.labels, str):
            raise DataError(f"labels of an array must be an array of their own, got {options.labels!r}")
        array = data.detach().cpu().numpy() if isinstance(data, Tensor) else as_array(data)
        hint = "give its labels (labels=)"
        return of_array(IN_MEMORY, array.copy(), options.labels, "labels", options, hint=hint)
    if hasattr(data, "__arrow_c_stream__") or hasattr(data, "columns"):
        refuse_other(options, "a table", *OF_TABLES)
        return of_memory(IN_MEMORY, data, options)
    raise DataError(
        f"data must be a name, a path, a NumPy array, a tensor, a data frame or a list, got {type(data).__name__}; "
        "write it as an array or a data frame"
    )
