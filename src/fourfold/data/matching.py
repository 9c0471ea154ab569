"""Data for a trained model: its columns, classes and vocabulary decide how a file is read, not the file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fourfold.core import Space
from fourfold.data.errors import DataError
from fourfold.data.files import content_of
from fourfold.data.folders import SOUNDS
from fourfold.data.source import Options, Source
from fourfold.data.text import corpus_of, ids_of
from fourfold.data.transcripts import as_transcripts
from fourfold.output.printable import shortened
from fourfold.spaces import Audio, Table, Text, Transcripts, Vectors
from fourfold.spaces.vectors import numbered

__all__ = ["check_kind", "examples_of", "matched", "options_for", "read_as", "stream_for"]


def options_for(space: Space, path: Path, options: Options) -> Options:
    """How a file is read for a model: images in its size, sounds in its rate and length, a stream in its windows."""
    # only sounds are read at a rate
    if isinstance(space, Audio) and (path.is_dir() or path.suffix.lower() in SOUNDS):
        return dataclasses.replace(options, rate=space.rate, seconds=space.length / space.rate)
    if isinstance(space, Transcripts) and space.sound is not None and path.is_dir():  # as above
        return dataclasses.replace(options, rate=space.rate, seconds=space.sound / space.rate)
    if len(space.shape) == 3 and (path.is_dir() or path.suffix.lower() in (".tar", ".parquet")):
        channels, height, width = space.shape
        return dataclasses.replace(options, size=(height, width), channels=channels)
    return options if space.window is None else dataclasses.replace(options, length=space.window)


def stream_for(space: Space, path: Path, options: Options) -> Source:
    """A file, or its first ``options.limit`` tokens, as the stream that a model knows.

    Raises:
        DataError: for what the space does not hold, such as a character outside the vocabulary.
    """
    try:
        if isinstance(space, Text):  # is read by portions
            corpus = corpus_of(path, options, options.limit if space.pieces is None else None)
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
        space: what an example is.
        short: whether a stream that is shorter than a window is one example of its own length.

    Raises:
        DataError: for a stream without one full window.
    """
    if short and 0 < len(x) < (space.window or 0):
        return x[None]
    try:
        return space.rows(x)
    except ValueError as error:
        raise DataError(f"{name}: {error}") from None


def matched(name: str, source: Source, space: Space) -> Source:
    """A source in the space of a model, without its classes, but with labels numbered as the model numbers them.

    Raises:
        DataError: for data of another kind or size, other columns, or a class that the model does not know.
    """
    if isinstance(space, Transcripts) and isinstance(source.space, Audio):  # one source has two sides
        return as_transcripts(name, source, Options(), space)
    try:
        x = space.conform(source.x, source.space)
        if space.window is None:
            space.check(x)
    except ValueError as error:
        raise DataError(f"{name}: {error}") from None
    source = dataclasses.replace(source, x=x, space=space.conditioned())
    if source.captions is not None and space.caption is not None:
        return dataclasses.replace(source, captions=_cut(name, source.captions, space.caption))
    if source.labels is not None and space.classes is not None:
        return _classes(name, source, space)
    return dataclasses.replace(source, labels=None, captions=None)


def read_as(name: str, source: Source, kind: type[Space], options: Options) -> Source:
    """A source in a space of another kind, which was chosen by its name.

    Raises:
        DataError: for data that is not of this kind.
    """
    if kind is Transcripts:
        return as_transcripts(name, source, options)
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


def _tabulated(name: str, source: Source, space: Vectors, options: Options) -> Source:
    """Vectors as rows of a table, with the labels and the official test set that they have."""
    import pandas as pd

    from fourfold.data.mixed import batches_of_frame, table_of

    frame = pd.DataFrame(source.x.numpy(), columns=list(space.columns or numbered(space.dim)))
    only = Options(seed=options.seed, as_table=True, schema=options.schema, target=options.target)
    table = table_of(name, batches_of_frame(frame), only)
    notes = (*source.notes, *table.notes)
    return dataclasses.replace(source, x=table.x, space=table.space, columns=table.columns, density=None, notes=notes)


def check_kind(name: str, given: Space, space: Space) -> None:
    """Refuse data of another kind, size, order of columns or vocabulary than a model knows.

    Raises:
        DataError: with both in words.
    """
    try:
        space.require(given)
    except ValueError as error:
        raise DataError(f"{name}: {error}") from None


def _classes(name: str, source: Source, space: Space) -> Source:
    known = space.class_names or tuple(map(str, range(space.classes or 0)))
    foreign = [given for given in source.class_names if given not in known]
    if foreign:
        raise DataError(
            f"{name}: {foreign[0][:80]!r} is not a class of the model, which knows {shortened(known)}: "
            "leave such examples out, or name another label column"
        )
    assert source.labels is not None
    ids = source.labels.new_tensor([known.index(given) for given in source.class_names])
    return dataclasses.replace(source, labels=ids[source.labels], class_names=known)


def _cut(name: str, captions: Tensor, most: int) -> Tensor:
    """Captions as wide as those of the model."""
    if captions.shape[1] > most and bool((captions[:, most:] >= 0).any()):
        raise DataError(f"{name}: a caption has more bytes than the {most} that the model knows: shorten it")
    short = captions.new_full((len(captions), most), -1)
    short[:, : captions.shape[1]] = captions[:, :most]
    return short
