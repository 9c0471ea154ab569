"""Images in tar files, found by the offsets of their members."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, final

import numpy as np

from fourfold.data.captions import LONGEST
from fourfold.data.errors import DataError, option
from fourfold.data.folders import IMAGES
from fourfold.data.records import StoredRecords, edges_of, is_official
from fourfold.machine.regular import open_regular

__all__ = ["Tars"]

SMALL = 1 << 16
"""Bytes of a label, or of the name of a member, at most."""
REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
"""Types of members that lie whole in the file: sparse ones do not."""
PACKED = (b"\x1f\x8b", b"BZh", b"\x28\xb5\x2f\xfd")
"""The first bytes of gzip, bzip2 and zstd files."""


@final
@dataclass(frozen=True)
class _Members:
    """The images of one tar: where each begins, its bytes, its name, its label and where its caption is."""

    starts: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    captions: dict[str, tuple[int, int]] = field(default_factory=dict)


@final
class Tars(StoredRecords):
    """The images in tar files, as WebDataset writes them: members of one sample share the name before the first point.

    ``.png``, ``.jpg``, ``.jpeg`` and ``.webp`` are images, ``.cls`` labels, ``.txt`` captions. Others are left alone.

    Raises:
        DataError: for a file that is not a tar, is compressed or cut off, or holds no images.
    """

    def __init__(self, root: Path, files: Sequence[Path]) -> None:
        self.root, self.name = root, str(root)
        self._files = sorted(files, key=lambda path: (is_official(path), path))
        with ThreadPoolExecutor(8) as threads:
            self._members = list(threads.map(_members, self._files))
        counts = [len(members.names) for members in self._members]
        self.first = np.cumsum([0, *counts])
        self.starts = np.concatenate([np.array(members.starts, dtype=np.int64) for members in self._members])
        self.sizes = np.concatenate([np.array(members.sizes, dtype=np.int64) for members in self._members])
        self.edges = edges_of(self.sizes)
        self.block_bytes = float(self.sizes.sum()) / (len(self.edges) - 1)
        self.official = sum(count for count, path in zip(counts, self._files, strict=True) if is_official(path))

    @property
    def files(self) -> Sequence[Path]:
        return self._files

    def _place(self, row: int) -> tuple[int, str]:
        """The number of the tar of a record, and the record's key."""
        shard = int(np.searchsorted(self.first, row, side="right")) - 1
        return shard, _key(self._members[shard].names[row - self.first[shard]])[0]

    def read(self, rows: np.ndarray) -> list[bytes]:
        shards = np.searchsorted(self.first, rows, side="right") - 1
        return [
            _part(self._files[shard], int(self.starts[row]), int(self.sizes[row]))
            for shard, row in zip(shards.tolist(), rows.tolist(), strict=True)
        ]

    def where(self, row: int) -> str:
        shard, _ = self._place(row)
        return f"{self._files[shard]}, member {self._members[shard].names[row - self.first[shard]]}"

    def labels(self) -> tuple[np.ndarray, str, Sequence[str] | None] | None:
        if not any(members.labels for members in self._members):
            return None
        texts = [members.labels.get(_key(name)[0]) for members in self._members for name in members.names]
        missing = next((row for row, label in enumerate(texts) if label is None), None)
        if missing is not None:
            raise DataError(
                f"{self.where(missing)}: must have a label (.cls), got none: add one, or leave out "
                f"{option('given', 'labels')}"
            )
        numbers = all(str(label).isdecimal() for label in texts)
        return np.array([int(str(label)) for label in texts] if numbers else texts), f"{self.name} (.cls)", None

    def captions(self, rows: np.ndarray) -> list[str] | None:
        if not any(members.captions for members in self._members):
            return None
        texts = []
        for row in rows.tolist():
            shard, key = self._place(row)
            place = self._members[shard].captions.get(key)
            if place is None:
                raise DataError(f"{self.where(row)}: must have a caption (.txt), got none: add one")
            texts.append(_part(self._files[shard], *place).decode(errors="replace"))
        return texts


def _members(path: Path) -> _Members:
    """The index of a tar: its headers are read, and its labels, but no image."""
    index, last = _Members(), ""
    with open_regular(path) as file:

        def part(start: int, size: int) -> bytes:
            if size > SMALL:
                raise DataError(
                    f"{path}: labels and names must have at most {SMALL:,} bytes, got {size:,}; write the file again"
                )
            return _read_at(file, path, start, size)

        for name, start, size in _headers(path, path.stat().st_size, part):
            last = name
            key, ending = _key(name)
            if f".{ending}" in IMAGES:
                index.names.append(name)
                index.starts.append(start)
                index.sizes.append(size)
            elif ending == "cls":
                index.labels[key] = part(start, size).decode(errors="replace").strip()
            elif ending == "txt":
                index.captions[key] = (start, min(size, 4 * LONGEST))
    if not index.names:
        only = f", only members like {last[:80]}" if last else ""
        raise DataError(
            f"{path}: must hold PNG, JPEG or WebP images, got none{only}; leave it out, or write images into it"
        )
    return index


def _headers(path: Path, end: int, part: Callable[[int, int], bytes]) -> Iterator[tuple[str, int, int]]:
    """Name, first byte and bytes of each regular member, long names of GNU and of POSIX (pax) included.

    ``tarfile.TarFile`` would read a long name of any length, and take a damaged header for the end of the file.

    Reference: IEEE Std 1003.1-2001, pax, "ustar Interchange Format".
    """
    place, longer = 0, ""
    while place + 512 <= end:
        content = part(place, 512)
        if not content.strip(b"\0"):
            return
        member, start = _header(path, place, content), place + 512
        place = start + (member.size + 511) // 512 * 512
        if start + member.size > end:
            raise DataError(
                f"{path}: must be a whole tar, got one cut off at byte {end:,}, in member {member.name}; write it again"
            )
        if member.type == tarfile.GNUTYPE_LONGNAME:
            longer = part(start, member.size).rstrip(b"\0").decode(errors="replace")
        elif member.type == tarfile.XHDTYPE:
            longer = _pax_path(part(start, member.size)) or longer
        else:
            name, longer = longer or member.name, ""
            if member.type in REGULAR and not name.rpartition("/")[2].startswith("."):
                yield name, start, member.size
    if place < end:
        raise DataError(
            f"{path}: must be a whole tar, got one cut off at byte {end:,}, in the header of a member; write it again"
        )


def _header(path: Path, place: int, content: bytes) -> tarfile.TarInfo:
    """The header of a member, whose checksum must hold."""
    if content.startswith(PACKED):
        raise DataError(f"{path}: must be a plain .tar, got a compressed file: unpack it")
    try:
        member = tarfile.TarInfo.frombuf(content, "utf-8", "replace")
    except tarfile.TarError:
        member = None
    if member is None or member.size < 0:
        raise DataError(
            f"{path}, byte {place:,}: must be the header of a member, got other bytes: write the file again"
        )
    return member


def _pax_path(content: bytes) -> str:
    for line in content.split(b"\n"):
        key, separator, value = line.partition(b" ")[2].partition(b"=")
        if separator and key == b"path":
            return value.decode(errors="replace")
    return ""


def _key(name: str) -> tuple[str, str]:
    """The name of a sample and the kind of its member: the parts of a file's name before and after its first point."""
    folder, slash, file = name.rpartition("/")
    key, _, ending = file.partition(".")
    return f"{folder}{slash}{key}", ending.lower()


def _part(path: Path, start: int, size: int) -> bytes:
    """Bytes of a file."""
    with open_regular(path) as file:
        return _read_at(file, path, start, size)


def _read_at(file: BinaryIO, path: Path, start: int, size: int) -> bytes:
    content = os.pread(file.fileno(), size, start)
    if len(content) != size:
        raise DataError(f"{path}: must be unchanged while it is read, got its end at byte {start + len(content):,}")
    return content
