"""Data: built-in sets and one's own files, checked, split by a seed and named by a digest."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from torch import Tensor

from fourfold.core import Space
from fourfold.data.arrays import as_array, of_array
from fourfold.data.assembly import assemble
from fourfold.data.builtin import BUILTIN
from fourfold.data.dataset import Dataset, describe, describe_record
from fourfold.data.densities import Checkerboard, GaussianMixture
from fourfold.data.errors import DataError
from fourfold.data.matching import examples_of, matched, options_for, read_as, stream_for
from fourfold.data.oracles import GaussianDenoiser, GaussianTransport, MixtureDenoiser
from fourfold.data.readers import read
from fourfold.data.source import Density, Options, Source
from fourfold.data.splits import Split, chosen_rows
from fourfold.data.stored import Stored
from fourfold.spaces.registry import space_named

if TYPE_CHECKING:
    import pandas as pd

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
    "describe",
    "describe_record",
    "examples_of",
    "load",
    "names",
    "read_all",
    "read_raw",
    "summaries",
]

Data: TypeAlias = "str | os.PathLike[str] | np.ndarray | Tensor | Sequence[Sequence[float]] | pd.DataFrame"
"""Data that :func:`load` reads: a name, a path, or an array, tensor, list of rows or table in memory."""
IN_MEMORY = "<data in memory>"
"""The name of data that has neither a name nor a path."""


def names() -> list[str]:
    """The names of the built-in sets."""
    return list(BUILTIN)


def summaries() -> dict[str, str]:
    """One line on each built-in set: its size and kind."""
    return {name: (make.__doc__ or "").partition("\n")[0].rstrip(".") for name, make in BUILTIN.items()}


def load(
    data: Data,
    *,
    seed: int = 0,
    data_dir: str | os.PathLike[str] | None = None,
    conditional: bool = False,
    skip_bad: bool = False,
    limit: int | None = None,
    labels: str | os.PathLike[str] | np.ndarray | Tensor | None = None,
    length: int | None = None,
    fractions: tuple[float, ...] | None = None,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    rate: int | None = None,
    seconds: float | None = None,
    levels: int | None = None,
    tokens: str | os.PathLike[str] | None = None,
    text: str | None = None,
    space: Space | str | None = None,
    schema: str | os.PathLike[str] | None = None,
    header: bool | None = None,
    query: str | None = None,
    target: str | None = None,
    stream: bool | None = None,
    group: str | None = None,
    order: str | None = None,
) -> Dataset:
    """Load a built-in set, a file, a folder or an array; refuse it with one clear line if it cannot be trained on.

    Args:
        data: a name of :func:`names`; a text file; a folder of PNG, JPEG or WebP images (sub-folders are classes);
            ``.npy`` or ``.npz`` (images uint8 ``(N, H, W)``, ``(N, H, W, C)`` or ``(N, C, H, W)``; vectors ``(N, D)``);
            a table as ``.csv``, ``.tsv``, ``.parquet`` or ``.feather``, or in a ``.sqlite`` or ``.duckdb`` database;
            a recording, or a folder of WAV, FLAC, OGG or MP3 files (sub-folders are classes); documents as a folder of
            ``.txt`` or as a ``.jsonl``; images in ``.tar`` shards (as WebDataset writes them), Parquet files or a
            folder that the library ``datasets`` saved; or such an array, tensor or list of lists in memory, or a data
            frame of pandas or polars.
        seed: draws sampled sets and splits.
        data_dir: where the files of Fashion-MNIST are.
        conditional: give the splits their labels and the space its classes; or captions, where examples have those.
        skip_bad: leave out images and sounds that cannot be read, and list them in ``dataset.skipped``.
        limit: use at most this many examples, or the first so many tokens of a text; of an ``.npy``, a table or a text
            no more than that is kept in memory.
        labels: the label column of a table, the label array of an ``.npz``, the label file of an ``.npy``, or the
            labels of an array in memory.
        length: tokens in a window of text (256), or the most rows of a sequence.
        fractions: shares of train, validation and test; two shares make validation and test the same examples. By
            default 0.8, 0.1, 0.1 drawn by the seed, and for text 0.9, 0.05, 0.05 by position. An official test set
            stays the test set.
        size: resize images to this height and width (the shorter side is scaled, the rest is cut off evenly). By
            default images of several sizes become one size, and ``dataset.notes`` says which.
        channels: convert images to grey (1) or colour (3).
        rate: resample sounds to so many samples in a second. By default the rate of most files, at most 8,000.
        seconds: length of a clip of sound. Longer files are cut into pieces, or left out where they have transcripts;
            shorter ones are padded. By default the length of the longest file, at most 2 s without transcripts.
        levels: how many values a pixel of an array takes, if fewer than 256.
        tokens: the tokens of a text: ``"chars"``, ``"bytes"``, ``"bpe:4096"`` (so many pieces of words, learned from
            the training part), or the path of a published ``tokenizer.json``. By default characters where at most 256
            differ, else bytes.
        text: the field of a ``.jsonl``, or the column of a table, that holds a document.
        space: the name of the space to read the data as, such as that of an installed space; or the space of a trained
            model that the data is for: columns are found by name, classes keep its numbers, and images and text become
            what it knows. By default a file or frame whose columns are all continuous and free of ties is
            ``"vectors"``, and any other, such as one of whole numbers, words, dates or gaps, is a ``"table"``.
        schema: a file that says what columns are, where that should not be inferred: see
            :func:`fourfold.data.schema.read_schema`.
        header: whether the first row of a CSV file names its columns, if looking at it errs.
        query: a query, or the name of a table, of a database that holds several.
        target: the column of a table of mixed columns that models are judged by predicting.
        stream: leave the training examples of an ``.npy`` or of a folder of images (however deep) in their files, and
            read them while a model is trained; ``Dataset.train`` is then a sample of them. By default an ``.npy`` that
            does not fit into memory is streamed, and images in shards always are.
        group: the column of a table whose values name sequences; rows with one key, in the order of ``order``, are one
            example, a sequence of varying length.
        order: the column, of numbers or times, that orders rows. Without ``group`` the table is one long series, and an
            example is a window of it; splits are then cut by position.

    Raises:
        DataError: naming the file, row, column or argument, and the way out.
    """
    again = _recordable(locals())
    kind = _named(space) if isinstance(space, str) else None  # a space by name, or a space
    as_table = None if kind is None else kind.mixed
    options = _options({**locals(), "space": None if kind else space})
    name = _name(data)
    source = _source(data, name, options if kind is None else options.without(kind.settings))
    if not isinstance(source, Source):
        if kind is not None and not isinstance(source.space, kind):  # the kind that the user named
            raise DataError(
                f"{name}: holds {source.space}, which cannot be streamed as {kind.__name__}: leave out space"
            )
    elif kind is not None:
        source = read_as(name, source, kind, options)
    if isinstance(source, Source) and source.sounds is not None:  # they are read as conditions alone
        options = dataclasses.replace(options, conditional=True)
    return dataclasses.replace(assemble(name, source, options), options=again)


def _recordable(given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of :func:`load` that differ from their defaults and that JSON can hold, but for name and seed."""
    defaults = {name: one.default for name, one in inspect.signature(load).parameters.items()}
    values = {name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in given.items()}
    plain = {name: value for name, value in values.items() if isinstance(value, (bool, int, float, str, tuple))}
    return {name: value for name, value in plain.items() if name not in ("data", "seed") and value != defaults[name]}


def read_all(
    data: Data,
    space: Space,
    *,
    limit: int | None = None,
    labels: str | os.PathLike[str] | np.ndarray | Tensor | None = None,
    skip_bad: bool = False,
    data_dir: str | os.PathLike[str] | None = None,
    seed: int = 0,
    short: bool = False,
) -> tuple[Split, tuple[str, ...]]:
    """All examples of a file, few as they may be, for a model of a space; and notes on what reading changed.

    Args:
        data: as for :func:`load`.
        space: the space of the model. A stream, such as a text, is cut into windows.
        limit: read at most this many examples.
        labels: as for :func:`load`; a table without that column is read without labels.
        skip_bad: leave out images and sounds that cannot be read.
        data_dir: as for :func:`load`.
        seed: draws sampled sets.
        short: whether a stream that is shorter than a window is one example, for a model that tells its mass.

    Raises:
        DataError: naming the file, row, column or argument, and the way out.
    """
    many = None if limit is None else limit * (space.window or 1)
    given = {"seed": seed, "data_dir": data_dir, "skip_bad": skip_bad, "labels": labels, "space": space, "limit": many}
    raw, notes = _read_set(data, _options(given))
    x = examples_of(_name(data), raw.x, space, short)
    return Split(x[:limit], None if raw.cond is None else raw.cond[:limit]), notes


def read_raw(
    data: Data,
    space: Space,
    *,
    labels: str | os.PathLike[str] | np.ndarray | Tensor | None = None,
    skip_bad: bool = False,
) -> tuple[Split, tuple[str, ...]]:
    """The raw set of a file for a model of a space: all examples, or the whole of a stream; and notes.

    Args:
        data: as for :func:`load`.
        space: the space of the model.
        labels: as for :func:`read_all`.
        skip_bad: as for :func:`load`.

    Raises:
        DataError: naming the file, row, column or argument, and the way out.
    """
    return _read_set(data, _options({"space": space, "labels": labels, "skip_bad": skip_bad}))


def _read_set(data: Data, options: Options) -> tuple[Split, tuple[str, ...]]:
    source = _source(data, _name(data), options)
    assert isinstance(source, Source), "data for a model is read into memory"
    notes = (*source.notes, *source.space.notes(source.x), *(f"skipped: {file}" for file in source.skipped))
    return Split(source.x, source.conditions), notes


def _options(given: dict[str, Any]) -> Options:
    """The arguments as the readers take them."""
    fields = {field.name for field in dataclasses.fields(Options)}
    settings = {key: value for key, value in given.items() if key in fields}
    limit, size, labels = (settings.get(key) for key in ("limit", "size", "labels"))
    if limit is not None and limit < 1:
        raise DataError(f"limit {limit} leaves nothing: give at least 1")
    settings["size"] = (size, size) if isinstance(size, int) else size
    if isinstance(settings.get("tokens"), os.PathLike):
        settings["tokens"] = os.fspath(settings["tokens"])
    if isinstance(labels, os.PathLike):
        settings["labels"] = os.fspath(labels)
    elif labels is not None and not isinstance(labels, str):
        settings["labels"] = np.asarray(labels)
    for name in ("data_dir", "schema"):
        if settings.get(name) is not None:
            settings[name] = os.fspath(settings[name])
    return Options(**settings)


def _named(space: str) -> type[Space]:
    try:
        return space_named(space)
    except (ValueError, TypeError) as error:
        raise DataError(str(error)) from None


def _name(data: Data) -> str:
    return os.fspath(data) if isinstance(data, (str, os.PathLike)) else IN_MEMORY


def _source(data: Data, name: str, options: Options) -> Source | Stored:
    """The source that a name, a path or an object in memory stands for; in the space of a model, if it is for one.

    Streamed data comes into memory if it is read for a model, or limited.
    """
    space, path = options.space, Path(name).expanduser()
    if space is not None and space.bytewise and path.exists():
        return stream_for(space, path, options)
    source = _read(data, name, options if space is None else options_for(space, path, options))
    if not isinstance(source, Source):
        if space is None and options.limit is None:
            return source
        source = source.source_of(chosen_rows(len(source), options, source.labels))
    return source if space is None else matched(name, source, space)


def _read(data: Data, name: str, options: Options) -> Source | Stored:
    if not isinstance(data, (str, os.PathLike)):
        return _of_memory(data, options)
    if name in BUILTIN:
        options.only(f"{name}, a built-in set", *(("tokens",) if name == "python-docs" else ()))
        made, here = BUILTIN[name](options), Path(name)
        note = f"read the built-in set {name}, not what stands here under that name: write ./{name} for it"
        return dataclasses.replace(made, notes=(*made.notes, note)) if here.exists() else made
    path = Path(name).expanduser()
    if path.exists():
        return read(path, options)
    if name == IN_MEMORY:
        raise DataError(f"{name} is not kept anywhere: give the array, tensor or table again")
    if path.suffix or len(path.parts) > 1:
        raise DataError(f"{name}: there is no such file or folder")
    close = difflib.get_close_matches(name.lower().replace("_", "-").replace(" ", "-"), BUILTIN, 1, 0.6)
    guess = f"did you mean {close[0]}? " if close else ""
    raise DataError(f"{name!r} is neither a built-in set nor a file: {guess}Built in are {', '.join(BUILTIN)}")


def _of_memory(data: object, options: Options) -> Source:
    """An array, a tensor or a table."""
    if isinstance(data, (np.ndarray, Tensor, list, tuple)):
        options.only("an array", "labels", "levels")
        if isinstance(options.labels, str):
            raise DataError(f"labels {options.labels!r}: give the labels of an array as an array of their own")
        array = data.detach().cpu().numpy() if isinstance(data, Tensor) else as_array(data)
        hint = "give its labels (labels=)"
        return of_array(IN_MEMORY, array.copy(), options.labels, "labels", options, hint=hint)
    if hasattr(data, "__arrow_c_stream__") or hasattr(data, "columns"):
        from fourfold.data.tables import of_memory  # pandas and pyarrow are loaded for tables alone

        options.only("a table", "labels", "schema", "target", "group", "order")
        return of_memory(IN_MEMORY, data, options)
    raise DataError(
        f"a {type(data).__name__} cannot be loaded: give a name, a path, a NumPy array, a tensor or a data frame"
    )
