"""Text: characters where few are distinct, bytes otherwise."""

from __future__ import annotations

import codecs
from pathlib import Path

from fourfold.data.dataset import DataError, Options, Source, option
from fourfold.data.files import content_of, decoded
from fourfold.spaces import Text

__all__ = ["beginning", "read_text", "text_source"]

MOST_CHARACTERS = 256
"""With more distinct characters than this a text is read as bytes."""
PER_BYTE = 5.0
"""Bytes of memory that one byte of a text takes at most while it is read: itself, its characters, its ids."""


def read_text(path: Path, options: Options) -> Source:
    """Read a text file, or as much of it as its first ``options.limit`` tokens may take.

    Raises:
        DataError: if it is not a regular file, too large, empty, or not UTF-8 where characters are needed.
    """
    return text_source(str(path), beginning(path, options.limit), options, f"text file {path}")


def beginning(path: Path, tokens: int | None) -> bytes:
    """The bytes of a text file, or as many as its first ``tokens`` take at most, cut between two characters."""
    most = None if tokens is None else 4 * tokens + 3
    content = content_of(path, most, PER_BYTE)
    return content[: most - _half_a_character(content)] if len(content) == most else content


def text_source(name: str, content: bytes, options: Options, where: str) -> Source:
    """The ids of a text: of its characters, or of its bytes where they are too many or bytes are asked for.

    Raises:
        DataError: if it is empty, or not UTF-8 where characters are needed.
    """
    if options.length < 2:
        raise DataError(f"{option('length', options.length)}: this is not a window: give at least 2")
    if not content.strip():
        raise DataError(f"{name}: holds no text: give a file with some")
    way = f", or read it as bytes with {option('as_bytes', True)}"
    text = "" if options.as_bytes else decoded(Path(name), content, way)
    vocabulary = "".join(sorted(set(text)))
    if options.as_bytes is None and len(vocabulary) > MOST_CHARACTERS:
        vocabulary = ""
    space = Text(vocabulary, options.length)
    ids = space.ids(text) if vocabulary else space.ids(content)
    return Source(ids, space, where, hint="a text has no labels, load it without conditional")


def _half_a_character(content: bytes) -> int:
    """How many bytes at the end begin a character of UTF-8 that they do not finish."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(content[-4:])
    return len(decoder.getstate()[0])
