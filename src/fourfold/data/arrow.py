"""Files of Parquet, and files and streams of Arrow: one batch after the other, none used before it is checked.

Arrow trusts the offsets of a batch: one beyond the end reads foreign memory, or ends the process.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from fourfold.machine.libraries import pyarrow
from fourfold.machine.regular import open_regular

__all__ = ["open_parquet", "record_batches"]

MAGIC = b"ARROW1"
"""The first and the last bytes of a file. Between them stands a stream, and behind it a list of places."""


def open_parquet(path: Path) -> pyarrow.parquet.ParquetFile:
    """A Parquet file, which is read by groups of rows and is not mapped into memory.

    Raises:
        OSError: if it is not a regular file.
        ValueError: if the name of a column is not UTF-8.
        pyarrow.ArrowException: if it is not of this kind, or its end is damaged.
    """
    open_regular(path).close()
    file = pyarrow.parquet.ParquetFile(path, memory_map=False, pre_buffer=False)
    _check_names(file.schema_arrow)
    return file


def record_batches(path: Path) -> Iterator[pyarrow.RecordBatch]:
    """The batches of a Feather or Arrow file, or of an Arrow stream, mapped into memory.

    A file is read as the stream that it holds, without its list of places.

    Raises:
        OSError: if it is not a regular file.
        ValueError: if the name of a column is not UTF-8.
        pyarrow.ArrowException: if it is not of this kind, is cut off, or holds a batch that does not hold together.

    Reference: Apache Arrow, Columnar Format, "IPC File Format",
    https://arrow.apache.org/docs/format/Columnar.html#ipc-file-format
    """
    open_regular(path).close()
    with pyarrow.memory_map(str(path)) as source:
        if source.read(len(MAGIC)) != MAGIC:
            source.seek(0)
        elif source.size() < 2 * len(MAGIC) or source.read_at(len(MAGIC), source.size() - len(MAGIC)) != MAGIC:
            raise pyarrow.ArrowInvalid("the file is cut off")
        else:
            source.seek(8)  # the next part is aligned to eight bytes
        stream = pyarrow.ipc.open_stream(source)
        _check_names(stream.schema)
        for batch in stream:
            batch.validate(full=True)
            yield batch


def _check_names(fields: Iterable[pyarrow.Field]) -> None:
    """Refuse columns, or parts of them, whose names are not UTF-8.

    Raises:
        ValueError: if one is not.
    """
    for field in fields:
        try:
            str(field.name)
        except UnicodeDecodeError:
            raise ValueError("names of columns must be UTF-8, got other bytes") from None
        _check_names(field.type.field(i) for i in range(field.type.num_fields))
