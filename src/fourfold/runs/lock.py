"""A lock on a folder, so that only one process at a time trains a run."""

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
"""The name of the locked file: it holds the number of the process, and exists only while that process works."""

_UNSUPPORTED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


class RunInUse(ValueError):  # noqa: N818 (what it is)
    """Another process is at work in the folder."""


@contextlib.contextmanager
def locked(folder: Path, doing: str = "being trained") -> Iterator[int]:
    """Inside, this process alone holds a folder.

    The kernel holds the lock (``flock``), so it ends with the process, however the process dies. On a file system
    without locks the folder is not locked.

    Args:
        folder: is made if it does not exist, and removed again if it is still empty at the end.
        doing: the activity, for the message to a second process.

    Yields:
        The descriptor of the locked file. A child process that inherits it holds the folder, too.

    Raises:
        RunInUse: if another process holds the folder, naming that process.
    """
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    file = _hold(folder / LOCK, f"{folder} is {doing}")
    try:
        yield file
    finally:
        with contextlib.suppress(OSError):
            (folder / LOCK).unlink()  # before the lock is released, so that nobody else's file is removed
            if new:
                folder.rmdir()
        os.close(file)


def _hold(path: Path, state: str) -> int:
    """Lock the file and return its descriptor.

    If another process removes the file at the moment it is locked, the new file is tried.
    """
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _flock(file, state)
            if _is_at(file, path):
                os.truncate(file, 0)
                os.write(file, f"{os.getpid()}\n".encode())
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def _flock(file: int, state: str) -> None:
    """Lock an open file, or raise at once if another process holds it."""
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(file, 32, 0).decode(errors="replace").strip()
        by = f"process {holder}" if holder.isdigit() else "another process"
        raise RunInUse(f"{state} by {by}: wait for it, stop it, or choose another folder") from None
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise


def _is_at(file: int, path: Path) -> bool:
    """True if an open file is still the one at a path."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False
