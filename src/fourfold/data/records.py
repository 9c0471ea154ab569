"""Encoded images where they lie: folders of files, tar shards, Parquet and Arrow files, found by an index of rows.

Every format gives its records by number, so the order of training is a function of the step and needs no state of its
own: files by path, members of a tar by their offset, rows of Parquet by row group, rows of Arrow by record batch.
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from fourfold.data.captions import LONGEST
from fourfold.data.dataset import DataError, option
from fourfold.data.folders import IMAGES
from fourfold.printable import shortened

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Files", "StoredRecords", "TableRecords", "Tars", "digest_of", "edges_of", "files_below", "open_rows"]

BLOCK = 1 << 20
"""Bytes of records that lie together and are read in one go."""
TOGETHER = 64
"""Files that make a block."""
CACHE = 128 << 20
"""Bytes of row groups that a process keeps decoded."""
SPOTS, SPOT = 256, 1 << 12
"""How many places of the files a digest reads, and the bytes of each."""


class StoredRecords(ABC):
    """The records of a data set, by number.

    Attributes:
        name: the file or folder, for messages.
        edges: ``(blocks + 1,)`` the first record of each block; the records of a block lie together.
        block_bytes: the bytes of a block, on average.
        official: how many records at the end are an official test set.
    """

    name: str
    edges: np.ndarray
    block_bytes: float
    official: int = 0

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

    def captions(self, rows: np.ndarray) -> list[str] | None:
        """The captions of some records; ``None`` where there are none."""
        return None


def digest_of(files: Sequence[Path], root: Path) -> str:
    """SHA-256 of names and sizes of files, and of what stands at 256 places of them, in hexadecimal."""
    sha = hashlib.sha256()
    for path in files:
        sha.update(f"{path.relative_to(root) if path != root else ''}:{path.stat().st_size}\n".encode())
    for i in range(SPOTS):
        place = i * len(files) / SPOTS
        path = files[int(place)]
        with path.open("rb") as file:
            file.seek(int((place - int(place)) * max(path.stat().st_size - SPOT, 0)))
            sha.update(file.read(SPOT))
    return sha.hexdigest()


def edges_of(sizes: np.ndarray, most: int = BLOCK) -> np.ndarray:
    """The first record of each block, where blocks of consecutive records have about ``most`` bytes."""
    ends = np.cumsum(sizes, dtype=np.int64)
    starts = np.flatnonzero(np.diff(np.concatenate([[-1], (ends - sizes) // most])))
    return np.append(starts, len(sizes)).astype(np.int64)


def files_below(folder: Path, *endings: str) -> list[Path]:
    """The files below a folder whose names have one of some endings, in order; hidden ones are left out."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(place, name) for name in names if name.lower().endswith(endings) and not name.startswith(".")]
    return sorted(found)


def _official(path: Path) -> bool:
    """Whether a file holds test examples, by its name or that of its folder."""
    return path.name.lower().startswith("test") or path.parent.name.lower() == "test"


# --- files ------------------------------------------------------------------------------------------------------------


@final
class Files(StoredRecords):
    """The images below a folder, however deep; the folder of an image is its class."""

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
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}): put it back, or begin another run") from None


# --- tar --------------------------------------------------------------------------------------------------------------


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

    ``.png``, ``.jpg``, ``.jpeg`` and ``.webp`` are images, ``.cls`` labels, ``.txt`` captions; others are left alone.

    Raises:
        DataError: for a file that is no tar, is compressed or cut off, or holds no images.
    """

    def __init__(self, root: Path, files: Sequence[Path]) -> None:
        self.root, self.name = root, str(root)
        self._files = sorted(files, key=lambda path: (_official(path), path))
        with ThreadPoolExecutor(8) as threads:
            self._members = list(threads.map(_members, self._files))
        counts = [len(members.names) for members in self._members]
        self.first = np.cumsum([0, *counts])
        self.starts = np.concatenate([np.array(members.starts, dtype=np.int64) for members in self._members])
        self.sizes = np.concatenate([np.array(members.sizes, dtype=np.int64) for members in self._members])
        self.edges = edges_of(self.sizes)
        self.block_bytes = float(self.sizes.sum()) / (len(self.edges) - 1)
        self.official = sum(count for count, path in zip(counts, self._files, strict=True) if _official(path))

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
        found = [members.labels.get(_key(name)[0]) for members in self._members for name in members.names]
        missing = next((row for row, label in enumerate(found) if label is None), None)
        if missing is not None:
            raise DataError(
                f"{self.where(missing)}: has no label (.cls) beside it: add one, or leave out --conditional"
            )
        numbers = all(str(label).isdecimal() for label in found)
        return np.array([int(str(label)) for label in found] if numbers else found), f"{self.name} (.cls)", None

    def captions(self, rows: np.ndarray) -> list[str] | None:
        if not any(members.captions for members in self._members):
            return None
        found = []
        for row in rows.tolist():
            shard, key = self._place(row)
            place = self._members[shard].captions.get(key)
            if place is None:
                raise DataError(f"{self.where(row)}: has no caption (.txt) beside it: add one")
            found.append(_part(self._files[shard], *place).decode(errors="replace"))
        return found


def _members(path: Path) -> _Members:
    """The index of a tar: its headers are read, and its labels, but no image."""
    found, last = _Members(), ""
    with path.open("rb", buffering=0) as file:

        def part(start: int, size: int) -> bytes:
            return _read_at(file, path, start, size)

        for name, start, size in _headers(path, path.stat().st_size, part):
            last = name
            key, ending = _key(name)
            if f".{ending}" in IMAGES:
                found.names.append(name)
                found.starts.append(start)
                found.sizes.append(size)
            elif ending == "cls":
                found.labels[key] = part(start, size).decode(errors="replace").strip()
            elif ending == "txt":
                found.captions[key] = (start, min(size, 4 * LONGEST))
    if not found.names:
        only = f", only members like {last[:80]}" if last else ""
        raise DataError(f"{path}: holds no PNG, JPEG or WebP images{only}: leave it out, or write images into it")
    return found


def _headers(path: Path, end: int, part: Callable[[int, int], bytes]) -> Iterator[tuple[str, int, int]]:
    """Name, first byte and bytes of each regular member, long names of GNU and of POSIX (pax) included.

    Reference: IEEE Std 1003.1-2001, pax, "ustar Interchange Format".
    """
    place, longer = 0, ""
    while place + 512 <= end:
        header = part(place, 512)
        if not header.strip(b"\0"):
            return
        size, kind = _number(path, place, header), header[156:157]
        start = place + 512
        place = start + (size + 511) // 512 * 512
        if start + size > end:
            raise DataError(f"{path}: is cut off at byte {end:,}, in member {_named(header)}: write it again")
        if kind == b"L":
            longer = part(start, size).rstrip(b"\0").decode(errors="replace")
        elif kind == b"x":
            longer = _pax_path(part(start, size)) or longer
        else:
            name, longer = longer or _named(header), ""
            if kind in (b"0", b"\0", b"7") and not name.rpartition("/")[2].startswith("."):
                yield name, start, size
    if place < end:
        raise DataError(f"{path}: is cut off at byte {end:,}, in the header of a member: write it again")


def _number(path: Path, place: int, header: bytes) -> int:
    """The bytes of a member, by its header, whose checksum must hold."""
    if header[:2] == b"\x1f\x8b" or header[:3] == b"BZh" or header[:4] == b"\x28\xb5\x2f\xfd":
        raise DataError(f"{path}: is compressed, and its members cannot be found: unpack it to a plain .tar")
    told, size = header[148:156].strip(b" \0"), header[124:136]
    try:
        if int(told, 8) != sum(header[:148]) + 8 * 32 + sum(header[156:]):
            raise ValueError
        return int.from_bytes(size[4:], "big") if size[0] & 0x80 else int(size.strip(b" \0") or b"0", 8)
    except ValueError:
        raise DataError(f"{path}, byte {place:,}: is not the header of a tar's member: write the file again") from None


def _named(header: bytes) -> str:
    name, before = (header[a:b].rstrip(b"\0").decode(errors="replace") for a, b in ((0, 100), (345, 500)))
    return f"{before}/{name}" if before and header[257:262] == b"ustar" and header[262:263] == b"\0" else name


def _pax_path(content: bytes) -> str:
    for line in content.split(b"\n"):
        key, found, value = line.partition(b" ")[2].partition(b"=")
        if found and key == b"path":
            return value.decode(errors="replace")
    return ""


def _key(name: str) -> tuple[str, str]:
    """The name of a sample, and what its member is: what stands before and behind the first point of the file."""
    folder, slash, file = name.rpartition("/")
    key, _, ending = file.partition(".")
    return f"{folder}{slash}{key}", ending.lower()


def _part(path: Path, start: int, size: int) -> bytes:
    """Bytes of a file."""
    with path.open("rb", buffering=0) as file:
        return _read_at(file, path, start, size)


def _read_at(file: io.FileIO, path: Path, start: int, size: int) -> bytes:
    content = os.pread(file.fileno(), size, start)
    if len(content) != size:
        raise DataError(f"{path}: ends at byte {start + len(content):,}: it has changed since it was opened")
    return content


# --- rows of Parquet and Arrow ----------------------------------------------------------------------------------------


@final
class TableRecords(StoredRecords):
    """The rows of Parquet or Arrow files, of which one column holds encoded images.

    Args:
        root: the file or folder.
        files: the files in it.
        label: the column of labels, if it was named.

    Raises:
        DataError: for a file that cannot be read, or without the columns of the first.
    """

    def __init__(self, root: Path, files: Sequence[Path], label: str | None = None) -> None:
        self.root, self.name = root, str(root)
        self._files = sorted(files, key=lambda path: (_official(path), path))
        shards = [_shard(path) for path in self._files]
        self.schema = shards[0].schema
        self.image = str(image_column(self.schema))
        self.label = _label_column(self.schema, label, self._files[0])
        self.caption = next((name for name in ("caption", "text") if _is_text(self.schema, name)), None)
        columns = [name for name in (self.image, self.label, self.caption) if name is not None]
        for path, shard in zip(self._files, shards, strict=True):
            missing = next((name for name in columns if name not in shard.schema.names), None)
            if missing is not None:
                raise DataError(
                    f"{path}: has no column {missing!r}, which {self._files[0].name} has; it has "
                    f"{shortened(shard.schema.names)}: write it again with that column, or leave it out"
                )
        self.groups = [(i, group) for i, shard in enumerate(shards) for group in range(len(shard.counts))]
        self.edges = np.cumsum([0, *(count for shard in shards for count in shard.counts)])
        self.block_bytes = sum(path.stat().st_size for path in self._files) / max(len(self.groups), 1)
        counts = [sum(shard.counts) for shard in shards]
        self.official = sum(count for count, path in zip(counts, self._files, strict=True) if _official(path))
        if not len(self):
            raise DataError(f"{root}: holds no rows: give a file with some")
        self._keep()

    def _keep(self) -> None:
        """Keep the latest row groups, as many as :data:`CACHE` bytes hold, but at least two."""
        self._group = functools.lru_cache(max(int(CACHE / max(self.block_bytes, 1)), 2))(self._load)

    @property
    def files(self) -> Sequence[Path]:
        return self._files

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_group"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._keep()

    def read(self, rows: np.ndarray) -> list[bytes]:
        found = {row: self._cell(row, self.image) for row in np.sort(rows).tolist()}
        return [found[row] for row in rows.tolist()]

    def captions(self, rows: np.ndarray) -> list[str] | None:
        if self.caption is None:
            return None
        return [str(self._cell(row, self.caption)) for row in rows.tolist()]

    def _cell(self, row: int, column: str) -> Any:
        group = int(np.searchsorted(self.edges, row, side="right")) - 1
        value = self._group(group)[column][row - int(self.edges[group])].as_py()
        value = value.get("bytes") if isinstance(value, dict) else value
        if value is None:
            raise DataError(f"{self.where(row)}, column {column}: is empty: fill it, or drop the row")
        return value

    def _load(self, number: int) -> pa.Table:
        shard, group = self.groups[number]
        return _shard(self._files[shard]).read(group, [self.image, *([self.caption] if self.caption else [])])

    def where(self, row: int) -> str:
        group = int(np.searchsorted(self.edges, row, side="right")) - 1
        shard = self.groups[group][0]
        first = next(i for i, (other, _) in enumerate(self.groups) if other == shard)
        return f"{self._files[shard]}, row {row - int(self.edges[first]) + 1:,}"

    def labels(self) -> tuple[np.ndarray, str, Sequence[str] | None] | None:
        if self.label is None:
            return None
        parts = []
        for number, (shard, group) in enumerate(self.groups):
            column = _shard(self._files[shard]).read(group, [self.label])[self.label]
            if column.null_count:
                row = int(self.edges[number]) + column.is_null().to_pylist().index(True)
                raise DataError(f"{self.where(row)}, column {self.label}: is empty: fill it, or drop the row")
            parts.append(column.to_numpy())
        return np.concatenate(parts), f"{self.name}, column {self.label}", _class_names(self.schema, self.label)


@final
@dataclass(frozen=True)
class _Shard:
    """A file of rows: its columns, the rows of each group, and a function that reads columns of a group."""

    schema: pa.Schema
    counts: list[int]
    read: Callable[[int, list[str]], pa.Table]


def _shard(path: Path) -> _Shard:
    """A file of rows; what was opened is used again."""
    return _open_shard(path, os.getpid())


@functools.lru_cache(maxsize=64)
def _open_shard(path: Path, process: int) -> _Shard:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if path.suffix.lower() == ".parquet":
            file = pq.ParquetFile(path, memory_map=False, pre_buffer=False)
            counts = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
            return _Shard(
                file.schema_arrow, counts, lambda i, columns: file.read_row_group(i, columns, use_threads=False)
            )
        source = pa.memory_map(str(path))
        try:
            batches = list(pa.ipc.open_stream(source))
        except pa.ArrowInvalid:
            opened = pa.ipc.open_file(source)
            batches = [opened.get_batch(i) for i in range(opened.num_record_batches)]
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read ({' '.join(str(error).split())[:120]}): write it again") from None
    if not batches:
        raise DataError(f"{path}: holds no rows: leave it out")
    return _Shard(
        batches[0].schema,
        [batch.num_rows for batch in batches],
        lambda i, columns: pa.Table.from_batches([batches[i]]).select(columns),
    )


def open_rows(root: Path, files: Sequence[Path], label: str | None) -> TableRecords | None:
    """The rows of files; ``None`` if no column of the first file holds images."""
    return TableRecords(root, files, label) if image_column(_shard(files[0]).schema) is not None else None


def image_column(schema: pa.Schema) -> str | None:
    """The first column of encoded images: bytes, or a struct that has bytes, as Hugging Face writes it."""
    import pyarrow as pa

    for column in schema:
        kind = column.type
        if pa.types.is_struct(kind) and "bytes" in [kind.field(i).name for i in range(kind.num_fields)]:
            kind = kind.field("bytes").type
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            return str(column.name)
    return None


def _label_column(schema: pa.Schema, given: str | None, path: Path) -> str | None:
    if given is not None and given not in schema.names:
        raise DataError(
            f"{path}: there is no column {given!r} for labels: it has {shortened(schema.names)}: "
            f"name one of them with {option('labels')}"
        )
    told = [name for name, kind in _features(schema).items() if kind.get("_type") == "ClassLabel"]
    return given or next((name for name in [*told, "label", "labels", "class"] if name in schema.names), None)


def _is_text(schema: pa.Schema, name: str) -> bool:
    import pyarrow as pa

    return name in schema.names and (
        pa.types.is_string(schema.field(name).type) or pa.types.is_large_string(schema.field(name).type)
    )


def _features(schema: pa.Schema) -> dict[str, dict[str, Any]]:
    """The type that the library ``datasets`` records for each column."""
    import json

    try:
        found = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return {}
    return {name: kind for name, kind in found.items() if isinstance(kind, dict)}


def _class_names(schema: pa.Schema, label: str) -> Sequence[str] | None:
    names = _features(schema).get(label, {}).get("names")
    return [str(name) for name in names] if isinstance(names, list) else None
