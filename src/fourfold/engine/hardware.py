"""Asks the processor which number formats it multiplies fast. Nothing here is timed: a busy machine answers alike."""

from __future__ import annotations

import platform

import torch

__all__ = ["multiplies_bf16"]


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
