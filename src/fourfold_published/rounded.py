"""Linear layers in 8 bits, for language models that are waited for: a token reads all weights, and these are a quarter.

Dettmers et al. 2022, LLM.int8() (https://arxiv.org/abs/2208.07339), section 2.1, without its exceptions: every row of
weights and every token's features are rounded to 8 bits, each by its own largest value. Since a token's scale depends
on nothing but the token, the rounded network is causal, and its chain rule is exact. It is another model than the
published one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, final

import torch
from torch import Tensor, nn

__all__ = ["NOTE", "Linear8", "round_linear"]

NOTE = "of the model whose linear layers are rounded to 8 bits, not of the published one"
LEAST = 1e-12
"""The least scale: features that are all zero stay zero."""

LARGE = 1 << 15
"""Rows from which packed weights pay: 640 x 256 take 6 ms packed and 0.05 ms plainly, 640 x 262,144 take 15 and 34."""


def to_int8(x: Tensor) -> tuple[Tensor, Tensor]:
    """``(q, s)`` with ``x ~ s q``: int8 of the shape of ``x``, and a scale for each row, ``(..., 1)``."""
    scale = (x.abs().amax(-1, keepdim=True) / 127).clamp(min=LEAST)
    return (x / scale).round().to(torch.int8), scale


@final
class Linear8(nn.Module):
    """``y = s_x s_W (q_x q_W^T) + b``, with products of int8 summed in int32.

    Args:
        layer: the layer whose weights are rounded.
    """

    scale: Tensor

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        q, scale = to_int8(layer.weight.detach().float())
        self.register_buffer("scale", scale[:, 0])
        self.bias = layer.bias
        self._packs = not q.is_meta and len(q) >= LARGE and _packs()
        self._weight = torch.ops.onednn.qlinear_prepack(q, None) if self._packs else q
        self._zero = torch.zeros(len(q), dtype=torch.int32)

    def forward(self, x: Tensor) -> Tensor:
        q, scale = to_int8(x.float().flatten(0, -2))
        if self._packs:  # oneDNN reads packed weights about twice as fast for one token
            rest: tuple[Any, ...] = (None, 1.0, 0, torch.float32, "none", [], "")
            y = torch.ops.onednn.qlinear_pointwise(q, 1.0, 0, self._weight, self.scale, self._zero, *rest)
        else:
            y = torch._int_mm(q, self._weight.t()).float().mul_(self.scale)
        y = y.mul_(scale) if self.bias is None else y.mul_(scale).add_(self.bias)
        return y.reshape(*x.shape[:-1], -1).to(x.dtype)


@lru_cache(maxsize=1)
def _packs() -> bool:
    """Whether oneDNN multiplies int8 here to the same numbers as plain products.

    Processors without a dot product of four bytes add pairs of products in 16 bits, which saturates. So the rows that
    are tried hold the largest numbers of both signs, on both sides.
    """
    signs = torch.tensor([[1, 1, 1, 1], [1, -1, 1, -1], [-1, -1, -1, -1], [1, 1, -1, -1]])
    q = (127 * signs.repeat(1, 16)).to(torch.int8)
    try:
        packed = torch.ops.onednn.qlinear_prepack(q, None)
        weight, zero = torch.ones(len(q)), torch.zeros(len(q), dtype=torch.int32)
        rest: tuple[Any, ...] = (None, 1.0, 0, torch.float32, "none", [], "")
        y = torch.ops.onednn.qlinear_pointwise(q, 1.0, 0, packed, weight, zero, *rest)
    except (AttributeError, RuntimeError):
        return False
    return torch.equal(y.long(), q.long() @ q.long().T)


def round_linear(network: nn.Module) -> nn.Module:
    """The network with each of its linear layers rounded, in place. Embeddings stay as they are."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Linear):
                setattr(module, name, Linear8(child))
    return network
