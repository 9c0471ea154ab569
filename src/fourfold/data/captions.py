"""Captions of a folder of images or sounds: one list for all of them, or a text file beside each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from torch import Tensor

from fourfold.data.delimited import cells
from fourfold.data.errors import DataError, option
from fourfold.data.files import content_of, decoded
from fourfold.data.folders import files_of
from fourfold.data.json_rows import json_lines
from fourfold.data.layout import layout_of
from fourfold.output.printable import shortened
from fourfold.spaces.lines import Lines

__all__ = ["CAPTION", "FILE", "LISTS", "SHORTEST", "Medium", "captioned_files", "checked", "encoded", "listed"]

LISTS = (
    *("captions.txt", "captions.csv", "captions.jsonl", "metadata.csv", "metadata.jsonl"),
    *("transcripts.txt", "transcripts.csv", "transcripts.jsonl"),
)
"""Names of files that list the captions of a folder's images, or the transcripts of its sounds."""
FILE = ("file", "file_name", "filename", "image", "audio")
CAPTION = ("caption", "text", "transcript", "sentence")
"""Names of the columns or keys of such a list."""
SHORTEST, LONGEST = 128, 512
"""Bytes of the longest caption that a space is made for: at least, so that prompts fit too, and at most."""


@final
@dataclass(frozen=True)
class Medium:
    """A kind of files that a folder may hold with captions.

    Attributes:
        suffixes: endings of the files.
        noun: for one of them, with its article.
        formats: in words.
        caption: the noun for a caption.
        most: the most bytes of a caption.
    """

    suffixes: tuple[str, ...]
    noun: str
    formats: str
    caption: str = "caption"
    most: int = LONGEST

    @property
    def thing(self) -> str:
        """The noun alone."""
        return self.noun.rpartition(" ")[2]


def captioned_files(path: Path, medium: Medium, skip_bad: bool) -> tuple[list[Path], list[str], dict[Path, str]]:
    """The files of a folder in order of class and name, those that are skipped, and the captions of a flat folder.

    A file alone, which is a condition or is scored, has neither. Captions are in one list (:data:`LISTS`): lines
    ``name.png<tab>caption`` (or a space, if names have none), or a table or JSON lines with ``file`` and ``caption``.
    Or they are in ``name.txt`` beside ``name.png``. A file without a caption is left out where bad ones are skipped.

    Raises:
        DataError: for a folder without such files, another file among them, and with file and line for a missing,
            second, empty or too long caption, one of no file, or that is not UTF-8.
    """
    if path.is_file():
        return [path], [], {}
    files, other_files, flat = files_of(path, medium.suffixes, f"{medium.thing}s", medium.formats)
    captions, caption_files = _captions(files, other_files if flat else [], skip_bad, medium.thing, medium.most)
    other_files = [file for file in other_files if file not in caption_files]
    if other_files and not skip_bad:
        raise DataError(
            f"{other_files[0]}: must be {medium.noun}, as its neighbours, got another file: move it away, or skip it "
            f"with {option('skip_bad', True)}"
        )
    bare = [file for file in files if captions and file not in captions]
    skipped = [f"{file}: is not {medium.noun}" for file in other_files]
    skipped += [f"{file}: has no {medium.caption}" for file in bare]
    return [file for file in files if file not in bare], skipped, captions


def _captions(
    images: Sequence[Path], other_files: Sequence[Path], skip_bad: bool, thing: str, most: int
) -> tuple[dict[Path, str], list[Path]]:
    """The caption of each image of a folder, and the files that hold them. Both are empty where there are none."""
    lists = [path for path in other_files if path.name.lower() in LISTS]
    stems = {path.stem for path in images}
    beside = [
        path for path in other_files if path.suffix.lower() == ".txt" and path.stem in stems and path not in lists
    ]
    if len(lists) > 1 or (lists and beside):
        raise DataError(
            f"{lists[0]}: must be the only file of captions, got {[*lists[1:], *beside][0].name} too: keep one"
        )
    if lists:
        captions = _of_list(lists[0], images, thing, most)
    else:
        of_stem = {path.stem: checked(decoded(path, content_of(path)), f"{path}", thing, most) for path in beside}
        captions = {path: of_stem[path.stem] for path in images if path.stem in of_stem}
    bare = next((path for path in images if path not in captions), None)
    if captions and bare is not None and not skip_bad:
        raise DataError(f"{bare}: must have a caption, got none: add one, or skip it with {option('skip_bad', True)}")
    return captions, [*lists, *beside]


def encoded(captions: Sequence[str]) -> tuple[Tensor, Lines]:
    """Captions as conditions, and their space, with room for prompts of at least :data:`SHORTEST` bytes."""
    space = Lines.of_bytes(max(SHORTEST, *(len(caption.encode()) for caption in captions)))
    return space.parse(captions), space


def _of_list(path: Path, images: Sequence[Path], thing: str, most: int) -> dict[Path, str]:
    """The captions that a list gives."""
    by_name = {image.name: image for image in images}
    captions: dict[Path, str] = {}
    for place, name, caption in listed(path):
        where = f"{path}, {place}"
        if name not in by_name:
            raise DataError(f"{where}: must name the file of one {thing} beside it, got {name[:80]!r}: correct it")
        if by_name[name] in captions:
            raise DataError(f"{where}: {name} must have one caption, got a second: keep one")
        captions[by_name[name]] = checked(caption, where, thing, most)
    if not captions:
        raise DataError(f"{path}: must hold a line for each {thing}, got none: add them, or remove it")
    return captions


def listed(path: Path) -> Iterator[tuple[str, str, str]]:
    """The rows of a list: place, file and caption.

    Raises:
        DataError: for a row without one of them.
    """
    yield from {".csv": _of_table, ".jsonl": _of_json}.get(path.suffix.lower(), _of_lines)(path)


def checked(caption: str, where: str, thing: str, most: int) -> str:
    """A caption in one line.

    Raises:
        DataError: for an empty or too long one.
    """
    caption = " ".join(caption.split())
    if not caption:
        raise DataError(f"{where}: caption must be a text, got blanks: write one, or remove the {thing}")
    length = len(caption.encode(errors="surrogatepass"))
    if length > most:
        raise DataError(f"{where}: caption must have at most {most} bytes, got {length}: shorten it")
    if not caption.isascii() and any("\ud800" <= char <= "\udfff" for char in caption):
        raise DataError(f"{where}: caption must hold whole characters, got half of one (a lone surrogate): correct it")
    return caption


def _of_lines(path: Path) -> Iterator[tuple[str, str, str]]:
    for line, content in enumerate(decoded(path, content_of(path)).splitlines(), 1):
        if content.strip():
            name, _, caption = content.strip().partition("\t" if "\t" in content.strip() else " ")
            yield f"line {line}", name, caption


def _of_table(path: Path) -> Iterator[tuple[str, str, str]]:
    layout, number = layout_of(path, header=True), 0
    for batch in cells(path, layout):
        for row in batch.to_pylist():
            number += 1
            yield f"row {number}", *_pair(dict(zip(layout.names, row.values(), strict=True)), f"{path}, row {number}")


def _of_json(path: Path) -> Iterator[tuple[str, str, str]]:
    for line, row in json_lines(path):
        yield f"line {line}", *_pair(row if isinstance(row, dict) else {}, f"{path}, line {line}")


def _pair(row: Mapping[str, object], where: str) -> tuple[str, str]:
    """File and caption of a row, whose columns are named in one of several ways."""
    pair = [next((row[key] for key in keys if isinstance(row.get(key), str)), None) for keys in (FILE, CAPTION)]
    if not all(isinstance(value, str) for value in pair):
        raise DataError(f"{where}: must have a 'file' and a 'caption', got {shortened(row) or 'nothing'}: name them so")
    return str(pair[0]), str(pair[1])
