"""Encoded images in their files, indexed by number: the interface of every format, and folders of files.

Every format gives its records by number, so the order of training is a function of the step and needs no state of its
own: files by path, members of a tar by their offset (:mod:`fourfold.data.tars`), rows of Parquet by row group and rows
of Arrow by record batch (:mod:`fourfold.data.table_records`).
"""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np

from fourfold.data.errors import DataError
from fourfold.data.folders import IMAGES
from fourfold.machine.regular import open_regular

__all__ = ["Files", "StoredRecords", "digest_of", "edges_of", "files_below", "is_official"]

BLOCK = 1 << 20
"""Bytes of records that lie together and are read in one go."""
TOGETHER = 64
"""Files that make a block."""
SPOTS, SPOT = 256, 1 << 12
"""The number of places of the files that a digest reads, and the bytes of each."""


class StoredRecords(ABC):
    """The records of a data set, by number.

    Attributes:
        name: the file or folder, for messages.
        edges: ``(blocks + 1,)`` the first record of each block. The records of a block lie together.
        block_bytes: the bytes of a block, on average.
        official: how many records at the end are an official test set.
        columns: the names of the columns, where records are rows.
    """

    name: str
    edges: np.ndarray
    block_bytes: float
    official: int = 0
    columns: Sequence[str] = ()

    def __len__(self) -> int:
        return int(self.edges[-1])

    @property
    @abstractmethod
    def files(self) -> Sequence[Path]:
        """The files that hold the records."""

    @abstractmethod
    def read(self, rows: np.ndarray) -> list[bytes]:
        """The encoded images of some records."""

    @abstractmethod
    def where(self, row: int) -> str:
        """The file of a record, and its place there, for messages."""

    @abstractmethod
    def labels(self) -> tuple[np.ndarray, str, Sequence[str] | None] | None:
        """The label of every record, the place of the labels in words, and the names of the classes if they are told.

        ``None`` where there are none.
        """

    def batches(self, names: Sequence[str]) -> Iterable[Any]:
        """Some columns of all records, as batches of Arrow. None where records are no rows."""
        return ()

    def captions(self, rows: np.ndarray) -> list[str] | None:
        """The captions of some records. ``None`` where there are none."""
        return None


def digest_of(files: Sequence[Path], root: Path) -> str:
    """SHA-256 of names and sizes of files, and of the bytes at 256 places of them, in hexadecimal."""
    sha = hashlib.sha256()
    for path in files:
        sha.update(f"{path.relative_to(root) if path != root else ''}:{path.stat().st_size}\n".encode())
    for i in range(SPOTS):
        place = i * len(files) / SPOTS
        path = files[int(place)]
        with open_regular(path) as file:
            file.seek(int((place - int(place)) * max(path.stat().st_size - SPOT, 0)))
            sha.update(file.read(SPOT))
    return sha.hexdigest()


def edges_of(sizes: np.ndarray, most: int = BLOCK) -> np.ndarray:
    """The first record of each block, where blocks of consecutive records have about ``most`` bytes."""
    ends = np.cumsum(sizes, dtype=np.int64)
    starts = np.flatnonzero(np.diff(np.concatenate([[-1], (ends - sizes) // most])))
    return np.append(starts, len(sizes)).astype(np.int64)


def files_below(folder: Path, *endings: str) -> list[Path]:
    """The files below a folder whose names have one of some endings, in order. Hidden ones are left out."""
    files = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files += [Path(place, name) for name in names if name.lower().endswith(endings) and not name.startswith(".")]
    return sorted(files)


def is_official(path: Path) -> bool:
    """True if a file holds test examples, by its name or that of its folder."""
    return path.name.lower().startswith("test") or path.parent.name.lower() == "test"


@final
class Files(StoredRecords):
    """The images below a folder, however deep. The folder of an image is its class."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder, str(folder)
        self._files = files_below(folder, *IMAGES)
        self.edges = np.append(np.arange(0, len(self._files), TOGETHER), len(self._files))
        some = self._files[:: max(len(self._files) // 256, 1)]
        self.block_bytes = TOGETHER * sum(path.stat().st_size for path in some) / max(len(some), 1)

    @property
    def files(self) -> Sequence[Path]:
        return self._files

    def read(self, rows: np.ndarray) -> list[bytes]:
        return [_content(self.files[row]) for row in rows]

    def where(self, row: int) -> str:
        return str(self.files[row])

    def labels(self) -> tuple[np.ndarray, str, Sequence[str] | None] | None:
        names = np.array([path.parent.name for path in self.files])
        flat = all(path.parent == self.folder for path in self.files)
        return None if flat else (names, self.name, None)


def _content(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            return file.read()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}): put it back, or begin another run") from None
