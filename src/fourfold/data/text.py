"""Text of any size: a file, or many documents, as characters, bytes or the tokens of a tokenizer.

A text is read by portions, and a large one is tokenised once into a file that is mapped into memory.
"""

from __future__ import annotations

import codecs
import dataclasses
import hashlib
import io
import json
import math
import mmap
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Tensor

from fourfold.adapters import adapter_of
from fourfold.data.columns import texts_of
from fourfold.data.errors import DataError, option
from fourfold.data.files import content_of, decoded, decoded_parts, parts_of
from fourfold.data.folders import holds
from fourfold.data.formats import examples_alone
from fourfold.data.json_rows import first_object, json_lines
from fourfold.data.records import digest_of
from fourfold.data.source import Source
from fourfold.settings.data import DataOptions
from fourfold.spaces import Text, Tokenizer
from fourfold.spaces.text import code_points
from fourfold.spaces.tokenizer import portions

__all__ = ["Corpus", "corpus_of", "holds_documents", "ids_of", "read_documents", "read_text", "text_source"]

MOST_CHARACTERS = 256
"""With more distinct characters than this a text is read as bytes."""
LENGTH = 256
"""Tokens in a window, where nothing else is asked for."""
BETWEEN = "\n\n\n"
"""The bytes between two documents where tokens are characters or bytes."""
LARGE = 1 << 26
"""Bytes from which a text is packed into a file."""
LEARNED = 1 << 24
"""Characters that a tokenizer is learned from, at most: portions from everywhere in the training part."""
AT_ONCE = 1 << 20
"""Characters of documents that are tokenised at once."""
CACHE = Path("~/.cache/fourfold/tokens")
"""The folder of tokenised texts, where no other is given."""


@final
@dataclass(frozen=True)
class Corpus:
    """A text, or documents, read by portions and as often as needed, so that memory does not grow with their size.

    Attributes:
        name: in messages.
        raw: hands out its bytes in order. For documents, with the text between them.
        texts: hands out the documents. ``None`` for one text.
        way: another way out where the bytes are not UTF-8.
        file: the file that consists of these bytes, if there is one.
    """

    name: str
    raw: Callable[[], Iterator[bytes]]
    texts: Callable[[], Iterator[str]] | None = None
    way: str = ""
    file: Path | None = None

    @classmethod
    def of_documents(cls, name: str, texts: Callable[[], Iterator[str]]) -> Corpus:
        """Documents, without those that hold nothing."""

        def full() -> Iterator[str]:
            return (text.replace("\r\n", "\n").replace("\r", "\n") for text in texts() if text.strip())

        def raw() -> Iterator[bytes]:
            return ((BETWEEN * (i > 0) + text).encode() for i, text in enumerate(full()))

        return cls(name, raw, full)

    def parts(self, raw: Iterable[bytes] | None = None) -> Iterator[str]:
        """The text in portions that are tokenised one by one. Line ends of all systems are one.

        Raises:
            DataError: naming the line and byte that are not UTF-8.
        """
        ends = io.IncrementalNewlineDecoder(None, translate=True)
        texts = decoded_parts(Path(self.name), self.raw() if raw is None else raw, self.way)
        return portions(ends.decode(text, final) for text, final in _with_last(texts))


def _with_last(parts: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """The parts of a text and an empty one, which alone is marked as the last."""
    yield from ((part, False) for part in parts)
    yield "", True


@final
@dataclass
class _Survey:
    """The facts of one reading of a text: SHA-256 and number of its bytes, and its characters where they are needed.

    It says whether any line ends with a carriage return.

    A large file that stays where it is, as bytes, is not read.
    """

    digest: str = ""
    size: int = 0
    length: int = 0
    vocabulary: str = ""
    returns: bool = False

    @classmethod
    def of(cls, corpus: Corpus, tokens: str | None) -> _Survey:
        survey, sha, blank = cls(), hashlib.sha256(), True
        if tokens == "bytes" and corpus.file is not None and corpus.file.stat().st_size > LARGE:
            if not any(part.strip() for part in corpus.raw()):
                raise DataError(f"{corpus.name}: must hold text, got none")
            return cls(size=corpus.file.stat().st_size)
        present = np.zeros(0x110000, dtype=bool)

        def surveyed() -> Iterator[bytes]:
            nonlocal blank
            for part in corpus.raw():
                sha.update(part)
                survey.returns |= b"\r" in part
                survey.size, blank = survey.size + len(part), blank and not part.strip()
                yield part

        for part in [b"" for _ in surveyed()] if tokens == "bytes" else corpus.parts(surveyed()):
            if isinstance(part, str):
                survey.length += len(part)
                present[code_points(part)] = True
        if blank:
            raise DataError(f"{corpus.name}: must hold text, got none")
        survey.digest = sha.hexdigest()
        survey.vocabulary = "".join(map(chr, np.flatnonzero(present)))
        return survey


def read_text(path: Path, options: DataOptions) -> Source:
    """Read a text file, or as much of it as its first ``options.limit`` tokens may take.

    Raises:
        DataError: if it is not a regular file, empty, or not UTF-8 where characters are needed.
    """
    by_tokenizer = options.tokens is not None and options.tokens not in ("chars", "bytes")
    return text_source(corpus_of(path, options, None if by_tokenizer else options.limit), options, f"text file {path}")


def read_documents(path: Path, options: DataOptions) -> Source:
    """Documents one after the other, each with an end: a token where the tokenizer has one, else two empty lines.

    Raises:
        DataError: for a file that does not hold texts, naming the line or column.
    """
    corpus = corpus_of(path, options)
    assert corpus.texts is not None
    return text_source(corpus, options, f"{sum(1 for _ in corpus.texts()):,} documents of {path}")


def corpus_of(path: Path, options: DataOptions, tokens: int | None = None) -> Corpus:
    """A text file, or as much of it as its first ``tokens`` take at most, or the documents of a path."""
    if holds_documents(path, options):
        return Corpus.of_documents(str(path), lambda: documents(path, options))
    most = None if tokens is None else 4 * tokens + 3
    way = f", or read it as bytes with {option('tokens', 'bytes')}"
    whole = most is None or not path.is_file() or path.stat().st_size <= most
    raw = (lambda: parts_of(path)) if whole else (lambda: _whole_characters(parts_of(path, most)))
    return Corpus(str(path), raw, None, way, path if whole else None)


def _whole_characters(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Bytes without a character of UTF-8 that their end cuts in two."""
    content = b"".join(parts)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(content[-4:])
    yield content[: len(content) - len(decoder.getstate()[0])]


def text_source(corpus: Corpus, options: DataOptions, where: str) -> Source:
    """The ids of a text: of its characters, of its bytes where they are too many or asked for, or of its tokens.

    Raises:
        DataError: if it is empty, or not UTF-8 where characters are needed.
    """
    if options.length is not None and options.length < 2:
        raise DataError(f"length must be at least 2, got {options.length}; give {option('length', 256)}")
    survey = _Survey.of(corpus, options.tokens)
    space = _space_of(corpus, survey, options)
    ids, digest = _stored(corpus, survey, space, options)
    if space.tokenizer is not None:
        where = f"{where}, in tokens of {survey.size / max(len(ids), 1):.2f} bytes"
    space = dataclasses.replace(space, observed=len(ids))
    changed = survey.returns and space.token != "byte"
    notes = ("line ends of other systems (\\r\\n or \\r) are read as \\n",) if changed else ()
    return Source(ids, space, where, hint="a text has no labels, load it without given", digest=digest, notes=notes)


def _space_of(corpus: Corpus, survey: _Survey, options: DataOptions) -> Text:
    """The space of a text: characters if at most 256 differ, else bytes, unless ``options.tokens`` asks for others.

    A tokenizer is learned from the training part alone.

    Raises:
        DataError: for tokens of another name.
    """
    tokens, length = options.tokens, options.length or LENGTH
    if tokens in (None, "chars", "bytes"):
        few = tokens == "chars" or len(survey.vocabulary) <= MOST_CHARACTERS
        return Text(survey.vocabulary if few else "", length)
    share = 0.9 if options.fractions is None else options.fractions[0]
    try:
        if match := re.fullmatch(r"bpe:(\d+)", tokens):
            sample = _training_part(corpus.parts(), int(share * survey.length))
            return Text("", length, tokenizer=Tokenizer.learn(sample, int(match[1])))
        return Text("", length, tokenizer=_published(Path(tokens).expanduser()))
    except DataError:
        raise
    except ValueError as error:
        raise DataError(f"{option('tokens', tokens)}: {error}") from None


def _training_part(parts: Iterable[str], length: int) -> Iterator[str]:
    """The first ``length`` characters, or of more than :data:`LEARNED` evenly spread portions."""
    remainder, every = length, max(math.ceil(length / LEARNED), 1)
    for i, part in enumerate(parts):
        if remainder <= 0:
            return
        if i % every == 0:
            yield part[:remainder]
        remainder -= len(part)


# --- ids --------------------------------------------------------------------------------------------------------------


def ids_of(corpus: Corpus, space: Text, most: int | None = None) -> Iterator[np.ndarray]:
    """The ids of a text, or the first ``most``, by portions. Documents end with a token where the space has one.

    Raises:
        DataError: for a character that the space does not have, with its position.
    """
    remainder = math.inf if most is None else most
    for ids in _all_ids(corpus, space, remainder):
        yield ids if remainder >= len(ids) else ids[: int(remainder)]
        remainder -= len(ids)
        if remainder <= 0:
            return


def _all_ids(corpus: Corpus, space: Text, most: float) -> Iterator[np.ndarray]:
    if space.token == "byte":
        yield from (np.frombuffer(part, dtype=np.uint8) for part in corpus.raw())
    elif corpus.texts is not None and space.tokenizer is not None and space.tokenizer.end is not None:
        yield from (space.tokenizer.documents(texts).astype(space.dtype) for texts in _batched(corpus.texts()))
    else:
        position = 0
        for batch in _batched(corpus.parts()):
            text = "".join(batch)
            text = text if space.tokenizer is not None or most > position + len(text) else text[: int(most) - position]
            try:
                yield space.ids(text, position).numpy()
            except ValueError as error:
                raise DataError(f"{corpus.name}: {error}") from None
            position += len(text)


def _batched(texts: Iterable[str]) -> Iterator[list[str]]:
    """Texts in lists of about a million characters."""
    batch, size = list[str](), 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= AT_ONCE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _stored(corpus: Corpus, survey: _Survey, space: Text, options: DataOptions) -> tuple[Tensor, str]:
    """The ids of a text, and their digest where it is known: in memory, or, of a large text, in a mapped file.

    Bytes of a file are mapped where they are. Other ids are written into a file that is named by the text and its
    tokenizer, so that a text is tokenised once. It is complete, or not there.
    """
    limit = options.limit if space.tokenizer is not None else None  # for other tokens, no more was read
    parts = ids_of(corpus, space, limit)
    if survey.size <= LARGE:
        return torch.from_numpy(np.concatenate([np.empty(0, space.dtype), *parts])), ""
    if space.token == "byte" and corpus.file is not None:
        return _mapped(corpus.file, space), digest_of([corpus.file], corpus.file)
    about = [survey.digest, space.vocabulary, space.tokenizer and space.tokenizer.file, corpus.texts is not None, limit]
    folder = _folder(options)
    path = folder / f"{hashlib.sha256(json.dumps(about).encode()).hexdigest()[:24]}.{space.dtype.name}"
    record = path.with_suffix(".json")
    if not record.is_file():
        _write(path, record, parts, space, survey.size)
    ids = _mapped(path, space)
    return ids, str(json.loads(record.read_text(encoding="utf-8"))["digest"])


def _write(path: Path, record: Path, parts: Iterable[np.ndarray], space: Text, size: int) -> None:
    """Write ids, then their digest. Each file appears when it is complete."""
    free = shutil.disk_usage(path.parent).free
    if size > free:
        raise DataError(
            f"{path.parent}: must have {size / 1e9:,.1f} GB of free disk for the text, got {free / 1e9:,.1f} GB; name "
            f"another folder with {option('data_dir')}, or give {option('limit')}"
        )
    part = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with part.open("wb") as file:
            for ids in parts:
                file.write(ids.tobytes())
        part.replace(path)
        part.write_text(json.dumps({"digest": _digest(path, space), "text": str(space)}), encoding="utf-8")
        part.replace(record)
    finally:
        part.unlink(missing_ok=True)


def _digest(path: Path, space: Text) -> str:
    """The digest of the ids of a file, as :func:`fourfold.data.dataset.digest` computes it, without mapping it."""
    sha = hashlib.sha256(f"{torch.long}{(path.stat().st_size // space.dtype.itemsize,)}".encode())
    with path.open("rb") as file:
        while len(ids := np.fromfile(file, space.dtype, 1 << 18)):
            sha.update(ids.astype(np.int64).tobytes())
    return sha.hexdigest()


def _mapped(path: Path, space: Text) -> Tensor:
    """The ids of a file, mapped into memory to be read at random places: such pages are not the process's own."""
    ids = np.memmap(path, space.dtype, "r")
    if hasattr(mmap, "MADV_RANDOM"):
        ids._mmap.madvise(mmap.MADV_RANDOM)  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that nobody may write
        return torch.from_numpy(ids)


def _folder(options: DataOptions) -> Path:
    """The folder of tokenised texts: below ``data_dir``, in the user's cache, or a temporary one."""
    places = [Path(options.data_dir) / "tokens"] if options.data_dir else [CACHE.expanduser(), _temporary()]
    for place in places:
        try:
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError:
            continue
        if os.access(place, os.W_OK):
            return place
    raise DataError(f"{places[0]}: must be a folder that can be written to: name another with {option('data_dir')}")


def _temporary() -> Path:
    return Path(tempfile.gettempdir()) / f"fourfold-tokens-{os.getuid() if hasattr(os, 'getuid') else 0}"


def _published(path: Path) -> Tokenizer:
    """The tokenizer of a file, of a folder that holds ``tokenizer.json``, or of a published model.

    Raises:
        ValueError: if there is none, or it is not one.
    """
    file = path / "tokenizer.json" if path.is_dir() else path
    adapter = adapter_of(path)
    if adapter is not None:
        tokenizer = Tokenizer(adapter.tokenizer(path))
    elif file.is_file():
        tokenizer = Tokenizer(decoded(file, content_of(file)))
    else:
        raise ValueError("must be chars, bytes, bpe:COUNT or the path of a tokenizer.json")
    try:
        tokenizer.count  # noqa: B018  # reads it
    except Exception as error:  # the library raises its own kind
        raise ValueError(f"must be a tokenizer that can be read, got an error ({str(error)[:100]})") from None
    return tokenizer


# --- documents --------------------------------------------------------------------------------------------------------


def holds_documents(path: Path, options: DataOptions) -> bool:
    """True if a path is a set of documents: a folder of ``.txt``, or a table or JSON lines with a column of texts.

    In a folder of images or sounds, a ``.txt`` holds captions. JSON lines of several fields, none of them ``text``, are
    rows of a table.
    """
    if path.is_dir():
        return not holds(path, examples_alone()) and holds(path, (".txt",))
    if options.line_by_line:
        return False
    if options.text is not None or path.suffix.lower() not in (".jsonl", ".ndjson"):
        return options.text is not None
    if options.model is not None and options.model.window is None:
        return False
    fields = first_object(path)
    return "text" in fields or len(fields) < 2


def documents(path: Path, options: DataOptions) -> Iterator[str]:
    """The texts of a folder of ``.txt``, of the lines of a ``.jsonl``, or of a column of a Parquet file or CSV."""
    if path.is_dir():
        for file in sorted(path.rglob("*.txt")):
            yield decoded(file, content_of(file, None, 3.0))
    elif path.suffix.lower() in (".jsonl", ".ndjson"):
        yield from _json_lines(path, options.text or "text")
    else:
        yield from texts_of(path, str(options.text))


def _json_lines(path: Path, field: str) -> Iterator[str]:
    for line, record in json_lines(path):
        if not isinstance(record, dict) or not isinstance(record.get(field), str):
            keys = ", ".join(record) if isinstance(record, dict) else type(record).__name__
            raise DataError(
                f"{path}, line {line}: must have text under {field!r}, got {keys[:80]}; name the field with "
                f"{option('text')}"
            )
        if re.search(r"[\ud800-\udfff]", record[field]):
            raise DataError(
                f"{path}, line {line}: the text must be Unicode, got half a character (a lone surrogate): correct it"
            )
        yield record[field]
