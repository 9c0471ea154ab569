"""Inputs behind a transformer, and their mean: how networks make one vector of many."""

from __future__ import annotations

from collections.abc import Iterable

import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import States

__all__ = ["pooled"]


def pooled(h: Tensor, mask: Tensor, layers: Iterable[nn.Module]) -> tuple[Tensor, States]:
    """The normalised mean of inputs ``(B, L, width)`` that a mask ``(B, L)`` names, behind layers, ``(B, width)``.

    The inputs behind the layers, each normalised, stand beside. Inputs that the mask leaves out are attended to by
    none, unless there are no others.
    """
    attended = mask | ~mask.any(1, keepdim=True)
    for layer in layers:
        h = layer(h, mask=attended[:, None, None])
    mean = (h * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
    return F.layer_norm(mean.float(), mean.shape[-1:]), States(F.layer_norm(h, h.shape[-1:]), mask)
