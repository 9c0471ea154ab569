"""Causal transformers over patches that give each patch the parameters of its map: the networks of a transformer flow.

Zhai et al. 2024, Normalizing Flows are Capable Generative Models (https://arxiv.org/abs/2412.06329).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import Part, Reading
from fourfold.nn.entry import ConditionEntry, Passed, read
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
        self,
        size: int,
        values: int,
        length: int,
        width: int,
        depth: int,
        heads: int,
        reading: Reading | None,
        maps: int,
    ) -> None:
        super().__init__()
        self.entry = nn.Linear(size, width)
        self.maps = nn.Conv2d(maps, width, 3, padding=1, bias=False) if maps else None
        self.position = nn.Parameter(0.1 * torch.randn(length, width))
        self.given = ConditionEntry.of(reading, width)
        self.trunk = Transformer(width, depth, heads, length)
        self.exit = zeroed(nn.Linear(width, values))

    def share(self, vector: Tensor, maps: Tensor | None) -> Tensor:
        """The share of a condition in each patch, ``(B, L, width)``, or in all of them, ``(B, 1, width)``."""
        assert self.given is not None
        share = self.given(vector, len(vector))[:, None]
        if self.maps is None or maps is None:
            return share
        return share + self.maps(maps.to(self.maps.weight.dtype)).flatten(2).transpose(1, 2)

    def forward(self, before: Tensor, share: Tensor | None, cache: Cache | None) -> Tensor:
        """The numbers of ``T`` patches given the patch before each, ``(B, T, size)``. Earlier ones are in the cache."""
        at = 0 if cache is None else cache.position
        end = at + before.shape[1]
        h = self.entry(before.to(self.entry.weight.dtype)) + self.position[at:end]
        if share is not None:
            h = h + (share if share.shape[1] == 1 else share[:, at:end])
        out: Tensor = self.exit(self.trunk(h, cache))
        return out.float()


class PatchCondition(NamedTuple):
    """The conditions of images."""

    vector: Tensor
    """``(B, width)``, as a reading gives it."""
    maps: Tensor | None = None
    """Patches of the maps of a picture that is given, ``(B, maps p q, H / p, W / q)``, or ``None``."""


@final
class PatchStack(Part, nn.Module):
    """One causal transformer for each layer of a flow. One call runs one of them, or one patch of one of them.

    Args:
        size: number of values in one patch.
        values: number of parameters of the map of one number, for each layer.
        length: number of patches.
        width, depth, heads: size of each transformer.
        reading: reads the condition, or ``None``.
        grid: number of patches along the height and the width of an image.
        patch: height and width of a patch.
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
        grid: tuple[int, int] = (1, 1),
        patch: tuple[int, int] = (1, 1),
    ) -> None:
        super().__init__()
        self.share, self.size, self.values, self.reading = 1 / len(values), size, tuple(values), reading
        self.patch, self.sides = tuple(patch), (grid[0] * patch[0], grid[1] * patch[1])
        maps = 0 if reading is None else reading.maps * patch[0] * patch[1]
        self.layers = nn.ModuleList(
            _Block(size, size * n, length, width, depth, heads, Passed.of(reading), maps) for n in values
        )

    def cache(self, layer: int, batch: int) -> Cache:
        """An empty cache of one layer."""
        return self._block(layer).trunk.cache(batch)

    def condition(self, cond: Tensor | None, batch: int) -> PatchCondition | None:
        """The conditions of ``batch`` images. ``None`` for a network without."""
        vector = read(self.reading, cond, batch)
        if self.reading is None or vector is None or not self.reading.maps:
            return None if vector is None else PatchCondition(vector)
        return PatchCondition(vector, squeeze(self.reading.spread(cond, batch, self.sides), *self.patch))

    def shares(self, layer: int, c: PatchCondition | None) -> Tensor | None:
        """The share of conditions in the patches of a layer, which are in reverse order in every other one."""
        if c is None:
            return None
        share = self._block(layer).share(*c)
        return share.flip(1) if layer % 2 else share

    def forward(self, x: Tensor, layer: int, shares: Tensor | None = None, cache: Cache | None = None) -> Tensor:
        """The parameters of patches, ``(B, T, size, values)``.

        Without a cache ``x`` holds all patches ``(B, T, size)``, each seen by the later ones. With a cache it is the
        latest patch alone (zeros before the first), and the parameters are those of the next patch.

        Args:
            x: the patches.
            layer: number of the layer.
            shares: the shares of their conditions, see :meth:`shares`.
            cache: what the layer remembers.
        """
        before = F.pad(x[:, :-1], (0, 0, 1, 0)) if cache is None else x
        return self._block(layer)(before, shares, cache).view(len(x), -1, self.size, self.values[layer])

    def _block(self, layer: int) -> _Block:
        block = self.layers[layer]
        assert isinstance(block, _Block)
        return block
