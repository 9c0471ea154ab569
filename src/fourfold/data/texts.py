"""Whole texts, of which each is an example: the lines of a file, a list of captions, or texts in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from fourfold.core import Space
from fourfold.data.captions import CAPTION, FILE, SHORTEST, checked, listed
from fourfold.data.columns import LONGEST
from fourfold.data.errors import DataError
from fourfold.data.files import content_of, decoded
from fourfold.data.formats import examples_alone
from fourfold.data.layout import layout_of
from fourfold.data.source import Source
from fourfold.settings.data import ConditionOptions, DataOptions
from fourfold.spaces import Lines

__all__ = ["are_texts", "holds_texts", "learns", "read_texts", "texts_of"]


def are_texts(data: object) -> bool:
    """True for a list or an array of texts."""
    if isinstance(data, np.ndarray):
        return data.ndim == 1 and data.dtype.kind in "UO" and all(isinstance(text, str) for text in data)
    return isinstance(data, (list, tuple)) and len(data) > 0 and all(isinstance(text, str) for text in data)


def holds_texts(path: Path) -> bool:
    """True for a text file, and for a table or JSON lines of files and captions."""
    suffix = path.suffix.lower()
    if not path.is_file() or suffix not in (".txt", ".jsonl", ".csv"):
        return False
    names = {*layout_of(path, header=True).names} if suffix == ".csv" else {*FILE, *CAPTION}
    return bool(names & {*FILE}) and bool(names & {*CAPTION})


def read_texts(path: Path, options: DataOptions) -> Source:
    """The lines of a text file, each a text, or the captions that a list gives to files by their names.

    A list has lines ``name.png<tab>caption`` (or a space, if names have none), or the columns or keys ``file`` and
    ``caption``.

    Raises:
        DataError: naming the line, for an empty or too long text, or one that is not UTF-8.
    """
    lines = [] if path.suffix.lower() != ".txt" else decoded(path, content_of(path)).splitlines()
    if path.suffix.lower() == ".txt" and not (lines and _names_file(lines[0])):
        texts = [checked(line, f"{path}, line {i}", "line", LONGEST) for i, line in enumerate(lines, 1)]
        return texts_of(f"lines of {path}", texts, options)
    rows = list(listed(path))
    texts = [checked(text, f"{path}, {place}", "file", LONGEST) for place, _, text in rows]
    return texts_of(f"texts of {path}", texts, options, [file for _, file, _ in rows])


def _names_file(line: str) -> bool:
    name = line.strip().partition("\t" if "\t" in line.strip() else " ")[0]
    return Path(name).suffix.lower() in examples_alone()


def texts_of(
    where: str, texts: Sequence[str], options: DataOptions, files: Sequence[str] = (), train: Tensor | None = None
) -> Source:
    """The source of texts: of the model that they are for, or of the tokens that were asked for, by default bytes.

    Subwords are learned from the training texts. At first, from all.

    Raises:
        DataError: for no text, or one that is too long or has a character outside the vocabulary.
    """
    if not texts:
        raise DataError(f"{where}: must hold texts, got none")
    try:
        space = options.model or _space_of(texts, options, train)
        if type(space) is Lines and not isinstance(options, ConditionOptions):  # of which the empty text is an example
            x = space.parse([" ".join(text.split()) for text in texts])
        else:
            x = space.examples_of(space.conditions(texts, len(texts)))
        return Source(
            x,
            space.conditioned_on(None),
            where,
            files=tuple(files),
            schema=(lambda rows: texts_of(where, texts, options, files, rows)) if learns(options) else None,
        )
    except TypeError:
        raise DataError(f"{where}: must be data of the model, {options.model}, got texts") from None
    except ValueError as error:
        raise DataError(f"{where}: {error}") from None


def learns(options: DataOptions) -> bool:
    """True if the tokens of texts are learned from them, as subwords are."""
    return options.model is None and (options.tokens or "").startswith("bpe:")


def _space_of(texts: Sequence[str], options: DataOptions, train: Tensor | None) -> Space:
    """The space of texts: of their bytes, or of characters or the tokens asked for where they are examples."""
    if options.tokens is not None or options.line_by_line:
        return Lines.of_texts(
            texts, options.tokens, train=None if train is None else [texts[row] for row in train.tolist()]
        )
    return Lines.of_bytes(max(SHORTEST, *(len(text.encode()) for text in texts)))
