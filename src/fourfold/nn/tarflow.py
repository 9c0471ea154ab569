"""Causal transformers over patches that give each patch the parameters of its map: the networks of a transformer flow.

Zhai et al. 2024, Normalizing Flows are Capable Generative Models (https://arxiv.org/abs/2412.06329).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import Part, Reading
from fourfold.nn.entry import Entry, Passed, read
from fourfold.nn.layers import squeeze, unsqueeze, zeroed
from fourfold.nn.transformer import Cache, Transformer

__all__ = ["PatchStack", "from_patches", "patches", "side"]


def side(length: int, most: int) -> int:
    """The largest divisor of a length that is at most ``most``, since patches of an invertible map cannot be padded."""
    return max(p for p in range(1, max(most, 1) + 1) if length % p == 0)


def patches(x: Tensor, p: int, q: int) -> Tensor:
    """Images ``(B, C, H, W)`` as rows of patches of ``p`` by ``q`` pixels, ``(B, H W / (p q), C p q)``."""
    return squeeze(x, p, q).flatten(2).transpose(1, 2)


def from_patches(h: Tensor, event: tuple[int, ...], p: int, q: int) -> Tensor:
    """The images of their patches: the inverse of :func:`patches`."""
    _, H, W = event
    return unsqueeze(h.transpose(1, 2).reshape(len(h), -1, H // p, W // q), p, q)


@final
class _Block(nn.Module):
    """``values`` numbers for each of ``length`` patches, from the earlier patches and the label. Zero at first."""

    for_adamw: ClassVar[tuple[str, ...]] = ("entry", "position", "exit")

    def __init__(
        self, size: int, values: int, length: int, width: int, depth: int, heads: int, reading: Reading | None
    ) -> None:
        super().__init__()
        self.entry = nn.Linear(size, width)
        self.position = nn.Parameter(0.1 * torch.randn(length, width))
        self.given = Entry.of(reading, width)
        self.trunk = Transformer(width, depth, heads, length)
        self.exit = zeroed(nn.Linear(width, values))

    def forward(self, before: Tensor, cond: Tensor | None, cache: Cache | None) -> Tensor:
        """The numbers of ``T`` patches given the patch before each, ``(B, T, size)``. Earlier ones are in the cache."""
        at = 0 if cache is None else cache.position
        h = self.entry(before.to(self.entry.weight.dtype)) + self.position[at : at + before.shape[1]]
        if self.given is not None:
            h = h + self.given(cond, len(h))[:, None]
        out: Tensor = self.exit(self.trunk(h, cache))
        return out.float()


@final
class PatchStack(Part, nn.Module):
    """One causal transformer for each layer of a flow. One call runs one of them, or one patch of one of them.

    Args:
        size: number of values in one patch.
        values: number of parameters of the map of one number, for each layer.
        length: number of patches.
        width, depth, heads: size of each transformer.
        reading: reads the condition, or ``None``.
    """

    def __init__(
        self,
        size: int,
        values: Sequence[int],
        length: int,
        width: int,
        depth: int,
        heads: int,
        reading: Reading | None = None,
    ) -> None:
        super().__init__()
        self.share, self.size, self.values, self.reading = 1 / len(values), size, tuple(values), reading
        self.layers = nn.ModuleList(
            _Block(size, size * n, length, width, depth, heads, Passed.of(reading)) for n in values
        )

    def cache(self, layer: int, batch: int) -> Cache:
        """An empty cache of one layer."""
        block = self.layers[layer]
        assert isinstance(block, _Block)
        return block.trunk.cache(batch)

    def forward(self, x: Tensor, layer: int, cond: Tensor | None = None, cache: Cache | None = None) -> Tensor:
        """The parameters of patches, ``(B, T, size, values)``.

        Without a cache ``x`` holds all patches ``(B, T, size)``, each seen by the later ones. With a cache it is the
        latest patch alone (zeros before the first), and the parameters are those of the next patch.
        """
        before = F.pad(x[:, :-1], (0, 0, 1, 0)) if cache is None else x
        cond = read(self.reading, cond, len(x))
        return self.layers[layer](before, cond, cache).view(len(x), -1, self.size, self.values[layer])
