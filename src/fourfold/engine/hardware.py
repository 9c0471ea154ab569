"""Asks which devices there are, and which number formats they multiply fast.

Nothing here is timed: a busy machine answers alike.
"""

from __future__ import annotations

import platform

import torch

__all__ = ["find_device", "multiplies_bf16"]


def find_device(name: str = "auto") -> torch.device:
    """The device of a name; ``auto`` is the first of CUDA, MPS and the CPU that works here.

    Schedules and likelihoods are computed in float64, so a device without it does not count: MPS has none so far.

    Args:
        name: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ... or ``mps``.

    Raises:
        ValueError: for another name, or a device that this machine does not have.
    """
    if name == "auto":
        return next(torch.device(kind) for kind in ("cuda", "mps", "cpu") if not _fault(torch.device(kind)))
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or not (number.isdecimal() or name == kind):
        raise ValueError(f"unknown device {name!r}: choose auto, cpu, cuda, cuda:0 or mps")
    fault = _fault(torch.device(name))
    if fault:
        raise ValueError(f"device {name!r}: {fault}: choose auto or cpu")
    return torch.device(name)


def _fault(device: torch.device) -> str:
    """Why a device cannot be used here; empty if it can."""
    if device.type == "cuda" and not torch.cuda.is_available():
        built = "" if torch.version.cuda else ", and this torch was built without CUDA"
        return f"there is no CUDA device here{built}"
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        return f"there are only {torch.cuda.device_count()} CUDA devices here"
    if device.type == "mps" and not torch.backends.mps.is_available():
        return "there is no Apple GPU here"
    try:
        torch.zeros(1, dtype=torch.float64, device=device)
    except (TypeError, RuntimeError) as error:
        return f"it does not compute in float64 ({' '.join(str(error).split())[:80]})"
    return ""


def multiplies_bf16(device: torch.device) -> bool:
    """Whether products of bfloat16 matrices run on hardware made for them.

    Elsewhere they are emulated: a batched product then takes 5 to 100 times as long as in float32.

    Args:
        device: where the product would run.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    is_x86 = platform.machine().lower() in {"x86_64", "amd64"}
    return not is_x86 or torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
