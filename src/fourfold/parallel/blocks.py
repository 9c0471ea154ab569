"""The large blocks of networks: each is sharded on its own, and may be computed again in the backward pass."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from torch import nn
from torch.utils.checkpoint import checkpoint

__all__ = ["blocks", "is_block", "keep", "recompute"]

BLOCK = 1 << 22
"""The least parameters of a large block."""


def blocks(model: nn.Module) -> list[nn.Module]:
    """The large blocks of a model's networks: modules with ``block = True`` and enough parameters."""
    return [module for module in model.modules() if is_block(module)]


def is_block(module: nn.Module) -> bool:
    """Whether a module is a large block."""
    return getattr(module, "block", False) is True and sum(p.numel() for p in module.parameters()) >= BLOCK


def recompute(modules: Sequence[nn.Module]) -> None:
    """Let modules keep only their inputs for the backward pass, and compute the rest again there.

    Chen, Xu, Zhang, Guestrin 2016, Training Deep Nets with Sublinear Memory Cost (https://arxiv.org/abs/1604.06174).
    """
    for module in modules:
        again = functools.partial(checkpoint, module.forward, use_reentrant=False, preserve_rng_state=False)
        module.__dict__["forward"] = again


def keep(modules: Sequence[nn.Module]) -> None:
    """Undo :func:`recompute`."""
    for module in modules:
        module.__dict__.pop("forward", None)
