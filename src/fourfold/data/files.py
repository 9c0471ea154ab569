"""Files as they come from outside: only regular ones are read, and no more of them than fits."""

from __future__ import annotations

import codecs
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

from fourfold.data.errors import DataError
from fourfold.data.memory import require
from fourfold.machine.regular import open_regular

__all__ = ["check_regular", "content_of", "decoded", "decoded_parts", "not_utf8", "parts_of"]


def check_regular(path: Path) -> None:
    """Refuse what is no regular file. A pipe or a device may never end.

    Raises:
        DataError: saying what is there.
    """
    if not path.is_file():
        other = "a device, a pipe or a folder" if path.exists() else "a path that does not exist: check its name"
        raise DataError(f"{path}: must be a regular file, got {other}")


def content_of(path: Path, most: int | None = None, per_byte: float = 1.0) -> bytes:
    """The bytes of a regular file, or its first ``most``.

    Args:
        path: the file. A pipe or a device is refused, since it may never end.
        most: how many bytes to read at most.
        per_byte: memory that one byte takes until it is data, for the check that all of it fits.

    Raises:
        DataError: if it is not a regular file, cannot be read, or does not fit into memory.
    """
    try:
        check_regular(path)
        with open_regular(path) as file:
            size = path.stat().st_size
            require(per_byte * min(size, size if most is None else most), path)
            return file.read(size if most is None else most)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}): check its permissions") from None


def decoded(path: Path, content: bytes, way: str = "") -> str:
    """UTF-8 text, without a byte order mark.

    Args:
        path: names the file in the message.
        content: its bytes.
        way: another way out than converting it.

    Raises:
        DataError: naming the line and byte that are not UTF-8.
    """
    return "".join(decoded_parts(path, [content], way))


def decoded_parts(path: Path, parts: Iterable[bytes], way: str = "") -> Iterator[str]:
    """The UTF-8 text of a file that is read by parts, without a byte order mark: see :func:`decoded`.

    Raises:
        DataError: naming the line and byte that are not UTF-8.
    """
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    lines = position = 0
    for part in itertools.chain(filter(None, parts), [b""]):
        waiting = len(decoder.getstate()[0])
        try:
            yield decoder.decode(part, final=not part)
        except UnicodeDecodeError as error:
            line = lines + error.object.count(b"\n", 0, error.start) + 1
            place = position - waiting + error.start
            raise DataError(f"{path}, line {line}, byte {place}: {not_utf8(error)}{way}") from None
        lines, position = lines + part.count(b"\n"), position + len(part)


def not_utf8(error: UnicodeDecodeError) -> str:
    """The end of a message on a file that is not UTF-8. UTF-16 is known by the mark at its start."""
    byte = error.object[error.start]
    encoding = "utf-16" if error.start == 0 and byte in (0xFE, 0xFF) else "latin1"
    return f"must be UTF-8, got 0x{byte:02x}; convert it (iconv -f {encoding} -t utf-8)"


def parts_of(path: Path, most: int | None = None) -> Iterator[bytes]:
    """The bytes of a regular file, or its first ``most``, in parts of a MiB.

    Raises:
        DataError: if it is not a regular file, or cannot be read.
    """
    check_regular(path)
    try:
        with open_regular(path) as file:
            remainder = path.stat().st_size if most is None else most
            while part := file.read(min(remainder, 1 << 20)):
                remainder -= len(part)
                yield part
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}): check its permissions") from None
