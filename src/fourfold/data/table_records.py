"""Encoded images in a column of Parquet or Arrow files, found by row group or record batch."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from fourfold.data.arrow import open_parquet, record_batches
from fourfold.data.errors import DataError, option, readable
from fourfold.data.records import StoredRecords, is_official
from fourfold.machine.libraries import pyarrow
from fourfold.output.printable import one_of, shortened

__all__ = ["TableRecords", "open_rows"]

CACHE = 128 << 20
"""Bytes of row groups that a process keeps decoded."""


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
        self._files = sorted(files, key=lambda path: (is_official(path), path))
        shards = [_shard(path) for path in self._files]
        self.schema = shards[0].schema
        self.columns = self.schema.names
        self.image = str(image_column(self.schema))
        self.label = _label_column(self.schema, label, self._files[0])
        self.caption = next((name for name in ("caption", "text") if _is_text(self.schema, name)), None)
        columns = [name for name in (self.image, self.label, self.caption) if name is not None]
        for path, shard in zip(self._files, shards, strict=True):
            missing = next((name for name in columns if name not in shard.schema.names), None)
            if missing is not None:
                raise DataError(
                    f"{path}: must have the column {missing!r} of {self._files[0].name}, got "
                    f"{shortened(shard.schema.names)}; write it again with that column, or leave it out"
                )
        self.groups = [(i, group) for i, shard in enumerate(shards) for group in range(len(shard.counts))]
        self.edges = np.cumsum([0, *(count for shard in shards for count in shard.counts)])
        self.block_bytes = sum(path.stat().st_size for path in self._files) / max(len(self.groups), 1)
        counts = [sum(shard.counts) for shard in shards]
        self.official = sum(count for count, path in zip(counts, self._files, strict=True) if is_official(path))
        if not len(self):
            raise DataError(f"{root}: must have rows, got none: give a file with some")
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
        images = {row: self._cell(row, self.image) for row in np.sort(rows).tolist()}
        return [images[row] for row in rows.tolist()]

    def captions(self, rows: np.ndarray) -> list[str] | None:
        if self.caption is None:
            return None
        return [str(self._cell(row, self.caption)) for row in rows.tolist()]

    def _cell(self, row: int, column: str) -> Any:
        group = int(np.searchsorted(self.edges, row, side="right")) - 1
        value = self._group(group)[column][row - int(self.edges[group])].as_py()
        value = value.get("bytes") if isinstance(value, dict) else value
        if value is None:
            raise DataError(
                f"{self.where(row)}, column {column}: must have a value, got none: fill it, or drop the row"
            )
        return value

    def _load(self, number: int) -> pyarrow.Table:
        shard, group = self.groups[number]
        return self._columns(shard, group, [self.image, *([self.caption] if self.caption else [])])

    def _columns(self, shard: int, group: int, names: list[str]) -> pyarrow.Table:
        """Columns of a group of a file."""
        path = self._files[shard]
        with _readable(path):
            return _shard(path).read(group, names)

    def batches(self, names: Sequence[str]) -> Iterable[pyarrow.RecordBatch]:
        for shard, group in self.groups:
            yield from self._columns(shard, group, [*names]).combine_chunks().to_batches()

    def where(self, row: int) -> str:
        group = int(np.searchsorted(self.edges, row, side="right")) - 1
        shard = self.groups[group][0]
        first = next(i for i, (file, _) in enumerate(self.groups) if file == shard)
        return f"{self._files[shard]}, row {row - int(self.edges[first]) + 1:,}"

    def labels(self) -> tuple[np.ndarray, str, Sequence[str] | None] | None:
        if self.label is None:
            return None
        parts = []
        for number, (shard, group) in enumerate(self.groups):
            column = self._columns(shard, group, [self.label])[self.label]
            if column.null_count:
                row = int(self.edges[number]) + column.is_null().to_pylist().index(True)
                raise DataError(
                    f"{self.where(row)}, column {self.label}: must have a label, got none: fill it, or drop the row"
                )
            parts.append(column.to_numpy())
        return np.concatenate(parts), f"{self.name}, column {self.label}", _class_names(self.schema, self.label)


@final
@dataclass(frozen=True)
class _Shard:
    """A file of rows: its columns, the rows of each group, and a function that reads columns of a group."""

    schema: pyarrow.Schema
    counts: list[int]
    read: Callable[[int, list[str]], pyarrow.Table]


def _shard(path: Path) -> _Shard:
    """A file of rows. Open shards are reused."""
    return _open_shard(path, os.getpid())


def _readable(path: Path) -> AbstractContextManager[None]:
    return readable(path, smaller="write it in smaller parts", also=(pyarrow.ArrowException,))


@functools.lru_cache(maxsize=64)
def _open_shard(path: Path, process: int) -> _Shard:
    with _readable(path):
        if path.suffix.lower() == ".parquet":
            file = open_parquet(path)
            counts = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
            return _Shard(
                file.schema_arrow, counts, lambda i, columns: file.read_row_group(i, columns, use_threads=False)
            )
        batches = list(record_batches(path))
    if not batches:
        raise DataError(f"{path}: must have rows, got none: leave it out")
    return _Shard(
        batches[0].schema,
        [batch.num_rows for batch in batches],
        lambda i, columns: pyarrow.Table.from_batches([batches[i]]).select(columns),
    )


def open_rows(root: Path, files: Sequence[Path], label: str | None) -> TableRecords | None:
    """The rows of files. ``None`` if no column of the first file holds images."""
    return TableRecords(root, files, label) if image_column(_shard(files[0]).schema) is not None else None


def image_column(schema: pyarrow.Schema) -> str | None:
    """The first column of encoded images: bytes, or a struct that has bytes, as Hugging Face writes it."""
    for column in schema:
        kind = column.type
        if pyarrow.types.is_struct(kind) and "bytes" in [kind.field(i).name for i in range(kind.num_fields)]:
            kind = kind.field("bytes").type
        if pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind):
            return str(column.name)
    return None


def _label_column(schema: pyarrow.Schema, label: str | None, path: Path) -> str | None:
    if label is not None and label not in schema.names:
        raise DataError(f"{path}: {option('labels')} must be {one_of(label, schema.names)}")
    declared = [name for name, kind in _features(schema).items() if kind.get("_type") == "ClassLabel"]
    return label or next((name for name in [*declared, "label", "labels", "class"] if name in schema.names), None)


def _is_text(schema: pyarrow.Schema, name: str) -> bool:
    return name in schema.names and (
        pyarrow.types.is_string(schema.field(name).type) or pyarrow.types.is_large_string(schema.field(name).type)
    )


def _features(schema: pyarrow.Schema) -> dict[str, dict[str, Any]]:
    """The type that the library ``datasets`` records for each column."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return {}
    return {name: kind for name, kind in features.items() if isinstance(kind, dict)}


def _class_names(schema: pyarrow.Schema, label: str) -> Sequence[str] | None:
    names = _features(schema).get(label, {}).get("names")
    return [str(name) for name in names] if isinstance(names, list) else None
