"""Losses of single examples: what computes for ``vmap`` may not let values decide shapes."""

from __future__ import annotations

import torch

__all__ = ["one_by_one"]


def one_by_one() -> bool:
    """Whether a transform of ``torch.func`` takes examples one by one, as gradients of single examples do."""
    return bool(torch._C._are_functorch_transforms_active())
