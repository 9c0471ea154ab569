"""Data for a trained model: its columns, classes and vocabulary decide how a file is read, not the file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from torch import Tensor

from fourfold.core import Space
from fourfold.data.dataset import DataError, Options, Source, numbered
from fourfold.data.files import decoded
from fourfold.data.text import beginning
from fourfold.printable import shortened
from fourfold.spaces import Images, Text, Vectors

__all__ = ["check_kind", "matched", "options_for", "text_for"]


def options_for(space: Space, path: Path, options: Options) -> Options:
    """How a file is read for a model: images of a folder in its size and channels, a text in its windows."""
    if isinstance(space, Images) and path.is_dir():
        return dataclasses.replace(options, size=(space.height, space.width), channels=space.channels)
    return dataclasses.replace(options, length=space.length) if isinstance(space, Text) else options


def text_for(space: Text, path: Path, options: Options) -> Source:
    """A text file, or its first ``options.limit`` tokens, over the vocabulary of a model.

    Raises:
        DataError: for a character that the vocabulary does not hold.
    """
    content = beginning(path, options.limit)
    text = decoded(path, content) if space.vocabulary else content
    return Source(_ids(str(path), text[: options.limit], space), space, f"text file {path}")


def _ids(name: str, text: str | bytes, space: Text) -> Tensor:
    try:
        return space.ids(text)
    except ValueError as error:
        raise DataError(f"{name}: {error}") from None


def matched(name: str, source: Source, space: Space) -> Source:
    """A source in the space of a model, without its classes, but with labels numbered as the model numbers them.

    Raises:
        DataError: for data of another kind or size, other columns, or a class that the model does not know.
    """
    given = source.space
    if isinstance(space, Text) and isinstance(given, Text):
        if given.vocabulary == space.vocabulary:
            return dataclasses.replace(source, space=space)
        text = given.show(source.x)
        ids = _ids(name, text if space.vocabulary else text.encode(), space)
        return dataclasses.replace(source, x=ids, space=space)
    check_kind(name, given, space)
    if not isinstance(space, (Images, Vectors)):
        return source
    try:
        space.check(source.x)
    except ValueError as error:
        raise DataError(f"{name}: {error}") from None
    source = dataclasses.replace(source, space=unconditional(space))
    if source.captions is not None and space.caption is not None:
        return dataclasses.replace(source, captions=_cut(name, source.captions, space.caption))
    if source.labels is not None and space.classes is not None:
        return _classes(name, source, space)
    return dataclasses.replace(source, labels=None, captions=None)


def check_kind(name: str, given: Space, space: Space) -> None:
    """Refuse data of another kind, size, order of columns or vocabulary than a model knows.

    Raises:
        DataError: with both in words.
    """
    same = type(given) is type(space) and given.shape == space.shape
    if same and isinstance(given, Vectors) and isinstance(space, Vectors):
        anonymous = ((), numbered(space.dim))
        same = given.columns == space.columns or given.columns in anonymous or space.columns in anonymous
    if same and isinstance(given, Text) and isinstance(space, Text):
        same = given.vocabulary == space.vocabulary
    if not same:
        raise DataError(
            f"{name}: holds {given}, but the model knows {space}: give data of the same kind, size and columns"
        )


def unconditional(space: Images | Vectors) -> Images | Vectors:
    """The space without classes and captions."""
    bare = dataclasses.replace(space, classes=None, class_names=())
    return dataclasses.replace(bare, caption=None) if isinstance(bare, Images) else bare


def _classes(name: str, source: Source, space: Images | Vectors) -> Source:
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
