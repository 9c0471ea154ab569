"""Text: a file, or many documents, as characters, bytes or pieces of words."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path

from fourfold.adapters import is_published, published_tokenizer
from fourfold.data.dataset import DataError, Options, Source, option
from fourfold.data.files import content_of, decoded
from fourfold.data.folders import IMAGES, SOUNDS, holds
from fourfold.spaces import Pieces, Text

__all__ = ["beginning", "documents", "holds_documents", "read_documents", "read_text", "text_source"]

MOST_CHARACTERS = 256
"""With more distinct characters than this a text is read as bytes."""
PER_BYTE = 5.0
"""Bytes of memory that one byte of a text takes at most while it is read: itself, its characters, its ids."""
BETWEEN = "\n\n\n"
"""What stands between two documents where tokens are characters or bytes."""


def read_text(path: Path, options: Options) -> Source:
    """Read a text file, or as much of it as its first ``options.limit`` tokens may take.

    Raises:
        DataError: if it is not a regular file, too large, empty, or not UTF-8 where characters are needed.
    """
    pieces = options.tokens is not None and options.tokens not in ("chars", "bytes")
    content = beginning(path, None if pieces else options.limit)
    return text_source(str(path), content, options, f"text file {path}")


def beginning(path: Path, tokens: int | None) -> bytes:
    """The bytes of a text file, or as many as its first ``tokens`` take at most, cut between two characters."""
    most = None if tokens is None else 4 * tokens + 3
    content = content_of(path, most, PER_BYTE)
    return content[: most - _half_a_character(content)] if len(content) == most else content


def text_source(name: str, content: bytes, options: Options, where: str) -> Source:
    """The ids of a text: of its characters, of its bytes where they are too many or asked for, or of its pieces.

    Raises:
        DataError: if it is empty, or not UTF-8 where characters are needed.
    """
    if options.length < 2:
        raise DataError(f"{option('length', options.length)}: this is not a window: give at least 2")
    if not content.strip():
        raise DataError(f"{name}: holds no text: give a file with some")
    way = f", or read it as bytes with {option('tokens', 'bytes')}"
    text = "" if options.tokens == "bytes" else decoded(Path(name), content, way)
    space = _space_of(text, options)
    ids = space.ids(content if space.token == "byte" else text)
    if space.pieces is not None:
        where = f"{where}, in pieces of {len(content) / len(ids):.2f} bytes"
    return Source(ids, space, where, hint="a text has no labels, load it without conditional")


def _space_of(text: str, options: Options) -> Text:
    """The space of a text: characters if at most 256 differ, else bytes, unless ``options.tokens`` asks for others.

    Pieces are learned from the training part alone.

    Raises:
        DataError: for tokens of another name.
    """
    tokens = options.tokens
    if tokens in (None, "chars", "bytes"):
        vocabulary = "".join(sorted(set(text)))
        few = tokens == "chars" or len(vocabulary) <= MOST_CHARACTERS
        return Text(vocabulary if few else "", options.length)
    share = 0.9 if options.fractions is None else options.fractions[0]
    try:
        if match := re.fullmatch(r"bpe:(\d+)", tokens):
            return Text("", options.length, pieces=Pieces.learn(text[: int(share * len(text))], int(match[1])))
        return Text("", options.length, pieces=_published(Path(tokens).expanduser()))
    except ValueError as error:
        raise DataError(f"{option('tokens', tokens)}: {error}") from None


def _published(path: Path) -> Pieces:
    """The tokenizer of a file, of a folder that holds ``tokenizer.json``, or of a published model.

    Raises:
        ValueError: if there is none, or it is not one.
    """
    file = path / "tokenizer.json" if path.is_dir() else path
    if is_published(path):
        pieces = Pieces(published_tokenizer(path))
    elif file.is_file():
        pieces = Pieces(decoded(file, content_of(file)))
    else:
        raise ValueError("is none of chars, bytes, bpe:COUNT and the path of a tokenizer.json: give one of them")
    try:
        pieces.count  # noqa: B018  # reads it
    except Exception as error:  # the library raises its own kind
        raise ValueError(f"is not a tokenizer that can be read ({str(error)[:100]})") from None
    return pieces


# --- documents --------------------------------------------------------------------------------------------------------


def holds_documents(path: Path, options: Options) -> bool:
    """Whether a path is a set of documents: a folder of ``.txt``, a ``.jsonl``, or a table with a column of texts.

    In a folder of images or sounds, a ``.txt`` holds captions.
    """
    if path.is_dir():
        return not holds(path, (*IMAGES, *SOUNDS)) and holds(path, (".txt",))
    return path.suffix.lower() == ".jsonl" or options.text is not None


def read_documents(path: Path, options: Options) -> Source:
    """Documents one after the other, each with an end: a token of its own among pieces, else two empty lines.

    Raises:
        DataError: for a file that does not hold texts, naming the line or column.
    """
    texts = [text for text in documents(path, options) if text.strip()]
    if not texts:
        raise DataError(f"{path}: holds no text: give documents")
    where = f"{len(texts):,} documents of {path}"
    joined = text_source(str(path), BETWEEN.join(texts).encode(), options, where)
    space = joined.space
    assert isinstance(space, Text)  # the space of `text_source`
    if space.pieces is None or space.pieces.end is None:
        return joined
    ids = space.pieces.documents(texts)
    return Source(ids[: options.limit], space, joined.where, hint=joined.hint)


def documents(path: Path, options: Options) -> Iterator[str]:
    """The texts of a folder of ``.txt``, of the lines of a ``.jsonl``, or of a column of a Parquet file or CSV."""
    if path.is_dir():
        for file in sorted(path.rglob("*.txt")):
            yield decoded(file, content_of(file, None, PER_BYTE))
    elif path.suffix.lower() == ".jsonl":
        yield from _json_lines(path, options.text or "text")
    else:
        yield from _column(path, str(options.text))


def _json_lines(path: Path, field: str) -> Iterator[str]:
    for i, line in enumerate(decoded(path, content_of(path, None, PER_BYTE)).splitlines(), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError:
            raise DataError(f"{path}, line {i}: is not JSON: correct it, or remove the line") from None
        if not isinstance(record, dict) or not isinstance(record.get(field), str):
            known = ", ".join(record) if isinstance(record, dict) else type(record).__name__
            raise DataError(
                f"{path}, line {i}: has no text under {field!r} (it holds {known[:80]}): name the field with "
                f"{option('text')}"
            )
        yield record[field]


def _column(path: Path, name: str) -> Iterator[str]:
    import pandas as pd

    parquet = path.suffix.lower() == ".parquet"
    frame = pd.read_parquet(path) if parquet else pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",")
    if name not in frame.columns:
        raise DataError(f"{path}: has no column {name!r}: it has {', '.join(map(str, frame.columns))[:200]}")
    column = frame[name].dropna()
    bad = column[~column.map(lambda value: isinstance(value, str))]
    if len(bad):
        raise DataError(f"{path}, column {name}: {str(bad.iloc[0])[:40]!r} is not text: name a column of texts")
    yield from column


def _half_a_character(content: bytes) -> int:
    """How many bytes at the end begin a character of UTF-8 that they do not finish."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(content[-4:])
    return len(decoder.getstate()[0])
