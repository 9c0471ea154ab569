"""Data for a trained model: its columns, classes and vocabulary decide how a file is read, not the file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fourfold.core import Pairs, Space
from fourfold.core.conditions import as_condition
from fourfold.data.coded_columns import batches_of_frame
from fourfold.data.errors import DataError
from fourfold.data.files import content_of
from fourfold.data.formats import formats
from fourfold.data.mixed import table_of
from fourfold.data.source import Source
from fourfold.data.text import corpus_of, ids_of
from fourfold.machine.libraries import pandas as pd
from fourfold.settings.data import DataOptions
from fourfold.spaces import Table, Text, Vectors
from fourfold.spaces.vectors import numbered

__all__ = ["check_kind", "examples_of", "matched", "options_for", "read_as", "stream_for"]

SHARDS = (".tar", ".parquet")
"""Endings of files that hold many images."""


def options_for(space: Space, path: Path, options: DataOptions) -> DataOptions:
    """The options that read a file for a model: those of its space, where such a file has them."""
    settings = {name: value for name, value in space.reading().items() if _is_read_with(name, path)}
    return dataclasses.replace(options, **settings)


def _is_read_with(setting: str, path: Path) -> bool:
    """True if a file is read with a setting. Those of images and of formats are for folders and for files of theirs."""
    of_files = [(("size", "channels"), SHARDS), *((form.settings, form.suffixes) for form in formats())]
    suffixes = [suffix for settings, several in of_files if setting in settings for suffix in several]
    return not suffixes or path.is_dir() or path.suffix.lower() in suffixes


def stream_for(space: Space, path: Path, options: DataOptions) -> Source:
    """A file, or its first ``options.limit`` tokens, as the stream of ids that a model expects.

    Raises:
        DataError: for values outside the space, such as a character outside the vocabulary.
    """
    try:
        if isinstance(space, Text):  # is read by portions
            corpus = corpus_of(path, options, options.limit if space.tokenizer is None else None)
            x = torch.from_numpy(np.concatenate([np.empty(0, space.dtype), *ids_of(corpus, space, options.limit)]))
        else:
            x = space.parse_bytes(content_of(path), options.limit)
    except ValueError as error:
        raise error if isinstance(error, DataError) else DataError(f"{path}: {error}") from None
    return Source(x, space, f"text file {path}")


def examples_of(name: str, x: Tensor, space: Space, short: bool = False) -> Tensor:
    """The examples of a raw set, see :meth:`fourfold.core.Space.rows`.

    Args:
        name: in messages.
        x: the raw set.
        space: the space of an example.
        short: take a stream that is shorter than a window as one example of its own length.

    Raises:
        DataError: for a stream without one full window.
    """
    if short and 0 < len(x) < (space.window or 0):
        return x[None]
    try:
        return space.rows(x)
    except ValueError as error:
        raise DataError(f"{name}: {error}") from None


def matched(name: str, source: Source, space: Space, conditions: bool = False) -> Source:
    """A source in the space of a model, without its classes, but with labels numbered as the model numbers them.

    Args:
        name: of the data, for messages.
        source: the data as it was read.
        space: of the model.
        conditions: whether the examples are conditions, of which parts may be unknown.

    Raises:
        DataError: for data of another kind or size, other columns, or a class that the model does not have.
    """
    try:
        pairs = space.from_conditions(Pairs(source.space.conditioned_on(source.given), source.x, source.cond))
        if pairs is not None:  # the conditions become the examples
            return dataclasses.replace(source, x=pairs.x, space=pairs.space, cond=pairs.cond, given=pairs.space.given)
        x = space.conform(source.x, source.space)
        if conditions:
            x = space.conditions(x, len(x))
        elif space.window is None:
            space.check(x)
    except ValueError as error:
        raise DataError(f"{name}: {error}") from None
    given, cond = space.given, None
    if source.cond is not None and given is not None and isinstance(source.given, type(given)):
        try:
            cond = as_condition(given.conform(source.cond, source.given))
        except ValueError as error:
            raise DataError(f"{name}: {error}") from None
    bare = space.conditioned_on(None)
    return dataclasses.replace(source, x=x, space=bare, cond=cond, given=None if cond is None else given)


def read_as(name: str, source: Source, kind: type[Space], options: DataOptions) -> Source:
    """A source in a space of another kind, which was chosen by its name.

    Raises:
        DataError: for data that is not of this kind.
    """
    try:
        settings = {setting: getattr(options, setting) for setting in kind.settings}
        space = kind.of_conditions(Pairs(source.space.conditioned_on(source.given), source.x, source.cond), settings)
    except ValueError as error:
        raise DataError(f"{name}: {error}") from None
    if space is not None:
        return matched(name, source, space)
    if kind is Table and isinstance(source.space, Vectors):  # an array, or a built-in set
        return _tabulated(name, source, source.space, options)
    try:
        space = kind.of(source.space, source.x)
        x = space.conform(source.x, source.space)
        if space.window is None:
            space.check(x)
    except ValueError as error:
        raise DataError(f"{name}: {error}") from None
    density = source.density if torch.equal(x, source.x) else None
    schema = source.schema if space == source.space else None
    return dataclasses.replace(source, x=x, space=space, density=density, schema=schema)


def _tabulated(name: str, source: Source, space: Vectors, options: DataOptions) -> Source:
    """Vectors as rows of a table, with the labels and the official test set that they have."""
    frame = pd.DataFrame(source.x.numpy(), columns=list(space.columns or numbered(space.dim)))
    only = DataOptions(seed=options.seed, space="table", schema=options.schema, target=options.target)
    table = table_of(name, batches_of_frame(frame), only)
    notes = (*source.notes, *table.notes)
    return dataclasses.replace(source, x=table.x, space=table.space, columns=table.columns, density=None, notes=notes)


def check_kind(name: str, data_space: Space, space: Space) -> None:
    """Refuse data of another kind, size, order of columns or vocabulary than a model expects.

    Raises:
        DataError: with both in words.
    """
    try:
        space.require(data_space)
    except ValueError as error:
        raise DataError(f"{name}: {error}") from None
