"""How much memory is left, so that data which does not fit is refused before it is read."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from fourfold.data.errors import DataError

__all__ = ["free_memory", "require"]

GROUPS = Path("/sys/fs/cgroup")
"""Where Linux shows the limits of control groups."""
_VERSIONS = (
    (r"^0::(/.*)$", "", "memory.max", "memory.current", "inactive_file"),
    (
        r"^\d+:(?:.*,)?memory(?:,.*)?:(/.*)$",
        "memory",
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
    ),
)
"""For versions 2 and 1: the line of a process's group, the folder of all groups, and a group's limit, use and cache."""


def free_memory() -> int:
    """Bytes that this process may still take: what the machine, its control group and ``ulimit`` leave."""
    return max(min([_of_machine(), *_of_groups(), *_of_limits()]), 0)


def require(needed: float, where: object, way: str = "give --limit, or a smaller file") -> None:
    """Refuse data that needs more memory than is free.

    Args:
        needed: an estimate, in bytes.
        where: the file.
        way: the way out.

    Raises:
        DataError: with both numbers.
    """
    free = free_memory()
    if needed > free:
        raise DataError(f"{where}: needs about {_size(needed)} of memory, {_size(free)} are free: {way}")


def _size(count: float) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{max(count / 1e6, 0):.0f} MB"


def _of_machine() -> int:
    found = re.search(r"MemAvailable:\s*(\d+) kB", _read(Path("/proc/meminfo")))
    if found:
        return int(found[1]) * 1024
    with contextlib.suppress(ValueError, OSError, AttributeError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return 1 << 62


def _of_groups() -> Iterator[int]:
    """Memory that every control group above this process leaves."""
    own = _read(Path("/proc/self/cgroup"))
    for line, folder, limit, use, cached in _VERSIONS:
        top, found = GROUPS / folder, re.search(line, own, re.MULTILINE)
        inner = top / (found[1] if found else "").strip("/")
        for group in (group for group in (inner, *inner.parents) if group.is_relative_to(top)):
            most, used = _read(group / limit).strip(), _read(group / use).strip()
            if most.isdigit() and used.isdigit():
                cache = re.search(rf"^{cached} (\d+)", _read(group / "memory.stat"), re.MULTILINE)
                yield int(most) - int(used) + (int(cache[1]) if cache else 0)


def _of_limits() -> Iterator[int]:
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource  # Unix alone has it

        for limit, name in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
            most, _ = resource.getrlimit(limit)
            if most != resource.RLIM_INFINITY:
                taken = re.search(rf"{name}:\s*(\d+) kB", _read(Path("/proc/self/status")))
                yield most - (int(taken[1]) * 1024 if taken else 0)


def _read(path: Path) -> str:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="utf-8")
    return ""
