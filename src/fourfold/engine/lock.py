"""A lock on a folder: one process at a time trains a run."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has no flock: there a folder is not locked
    fcntl = None  # type: ignore[assignment]

__all__ = ["LOCK", "RunInUse", "locked"]

LOCK = ".lock"
"""The file that is locked; it holds the number of the process and lies in the folder only while that works there."""

_UNSUPPORTED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


class RunInUse(ValueError):  # noqa: N818 (what it is)
    """Another process is at work in the folder."""


@contextlib.contextmanager
def locked(folder: Path, doing: str = "being trained") -> Iterator[int]:
    """Hold a folder alone while the context is open.

    The lock is the kernel's (``flock``), so it ends with the process, however that dies. On a file system without locks
    the folder is not locked.

    Args:
        folder: is made if it is not there; one that was made is removed again if nothing came into it.
        doing: what a second process is told about the first.

    Yields:
        The descriptor of the locked file: a child process that inherits it holds the folder too.

    Raises:
        RunInUse: if another process holds the folder, naming that process.
    """
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    file = _hold(folder / LOCK, f"{folder} is {doing}")
    try:
        yield file
    finally:
        with contextlib.suppress(OSError):
            (folder / LOCK).unlink()  # before the lock is released, so that nobody else's file is removed
            if made:
                folder.rmdir()
        os.close(file)


def _hold(path: Path, what: str) -> int:
    """The descriptor of the locked file.

    A process may lock the file of another that removes it at that moment; then it tries the new one.
    """
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _flock(file, what)
            if _is_at(file, path):
                os.truncate(file, 0)
                os.write(file, f"{os.getpid()}\n".encode())
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def _flock(file: int, what: str) -> None:
    """Lock an open file at once or not at all."""
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(file, 32, 0).decode(errors="replace").strip()
        by = f"process {holder}" if holder.isdigit() else "another process"
        raise RunInUse(f"{what} by {by}: wait for it, stop it, or choose another folder") from None
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise


def _is_at(file: int, path: Path) -> bool:
    """Whether an open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False
