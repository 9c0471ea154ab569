"""The hardware of this machine."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import torch

__all__ = ["find_device", "machine"]


def find_device(name: str = "auto") -> torch.device:
    """The device with a given name. ``auto`` is the first of CUDA, MPS and the CPU that can be used here.

    Schedules and likelihoods are computed in float64, so a device without float64, such as MPS so far, cannot be used.

    Args:
        name: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ... or ``mps``.

    Raises:
        ValueError: for another name, or a device that this machine does not have.
    """
    if name == "auto":
        return next(torch.device(kind) for kind in ("cuda", "mps", "cpu") if not _fault(torch.device(kind)))
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or not (number.isdecimal() or name == kind):
        raise ValueError(f"device must be auto, cpu, cuda, cuda:0 or mps, got {name!r}")
    fault = _fault(torch.device(name))
    if fault:
        raise ValueError(f"device {name!r}: {fault}; choose auto or cpu")
    return torch.device(name)


def _fault(device: torch.device) -> str:
    """The reason why a device cannot be used here. Empty if it can."""
    if device.type == "cuda" and not torch.cuda.is_available():
        reason = "" if torch.version.cuda else ", and this torch was built without CUDA"
        return f"there is no CUDA device here{reason}"
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        return f"there are only {torch.cuda.device_count()} CUDA devices here"
    if device.type == "mps" and not torch.backends.mps.is_available():
        return "there is no Apple GPU here"
    try:
        torch.zeros(1, dtype=torch.float64, device=device)
    except (TypeError, RuntimeError) as error:
        return f"it does not compute in float64 ({' '.join(str(error).split())[:80]})"
    return ""


def machine() -> dict[str, Any]:
    """The processor, cores, threads, memory and accelerator of this machine, as a JSON value."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8").splitlines()
        cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), cpu)
    record: dict[str, Any] = {"cpu": cpu, "cores": os.cpu_count(), "threads": torch.get_num_threads()}
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        record["memory"] = f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB"
    if torch.cuda.is_available():
        record["accelerator"] = torch.cuda.get_device_name(0)
    return record
