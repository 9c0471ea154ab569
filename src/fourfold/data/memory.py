"""Free memory, so that data that does not fit is refused before it is read."""

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
    """Bytes that this process may still take, under the limits of the machine, its control group and ``ulimit``."""
    return max(min([_of_machine(), *_of_groups(), *_of_limits()]), 0)


def require(size: float, where: object, way: str = "give --limit, or a smaller file") -> None:
    """Refuse data that needs more memory than is free.

    Args:
        size: an estimate of its memory, in bytes.
        where: the file.
        way: the way out.

    Raises:
        DataError: with both numbers.
    """
    free = free_memory()
    if size > free:
        raise DataError(f"{where}: must fit into {_size(free)} of free memory, got about {_size(size)}; {way}")


def _size(count: float) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{max(count / 1e6, 0):.0f} MB"


def _of_machine() -> int:
    match = re.search(r"MemAvailable:\s*(\d+) kB", _text_of(Path("/proc/meminfo")))
    if match:
        return int(match[1]) * 1024
    with contextlib.suppress(ValueError, OSError, AttributeError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return 1 << 62


def _of_groups() -> Iterator[int]:
    """Memory that every control group above this process leaves."""
    groups = _text_of(Path("/proc/self/cgroup"))
    for line, folder, limit, usage_file, cached in _VERSIONS:
        top, match = GROUPS / folder, re.search(line, groups, re.MULTILINE)
        inner = top / (match[1] if match else "").strip("/")
        for group in (group for group in (inner, *inner.parents) if group.is_relative_to(top)):
            most, usage = _text_of(group / limit).strip(), _text_of(group / usage_file).strip()
            if most.isdigit() and usage.isdigit():
                cache = re.search(rf"^{cached} (\d+)", _text_of(group / "memory.stat"), re.MULTILINE)
                yield int(most) - int(usage) + (int(cache[1]) if cache else 0)


def _of_limits() -> Iterator[int]:
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource  # Unix alone has it

        for limit, name in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
            most, _ = resource.getrlimit(limit)
            if most != resource.RLIM_INFINITY:
                match = re.search(rf"{name}:\s*(\d+) kB", _text_of(Path("/proc/self/status")))
                yield most - (int(match[1]) * 1024 if match else 0)


def _text_of(path: Path) -> str:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="utf-8")
    return ""
