"""Inputs behind a transformer, and their mean: how networks make vectors, or one vector, of many."""

from __future__ import annotations

from collections.abc import Iterable

import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import States

__all__ = ["mixed", "pooled"]


def mixed(h: Tensor, mask: Tensor, layers: Iterable[nn.Module]) -> States:
    """Inputs ``(B, L, width)`` that a mask ``(B, L)`` names, behind layers, each normalised.

    Inputs that the mask leaves out are attended to by none, unless there are no others.
    """
    return States(F.layer_norm(_behind(h, mask, layers), h.shape[-1:]), mask)


def pooled(h: Tensor, mask: Tensor, layers: Iterable[nn.Module]) -> Tensor:
    """The normalised mean of inputs behind layers, as in :func:`mixed`, ``(B, width)``."""
    h = _behind(h, mask, layers)
    mean = (h * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
    return F.layer_norm(mean.float(), mean.shape[-1:])


def _behind(h: Tensor, mask: Tensor, layers: Iterable[nn.Module]) -> Tensor:
    attended = mask | ~mask.any(1, keepdim=True)
    for layer in layers:
        h = layer(h, mask=attended[:, None, None])
    return h
