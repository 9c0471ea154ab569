"""Couplings of vectors with any increasing map: one half of the coordinates moves the other.

Dinh, Sohl-Dickstein, Bengio 2017 (https://arxiv.org/abs/1605.08803); with splines Durkan et al. 2019
(https://arxiv.org/abs/1906.04032).
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from fourfold.core import Part, Reading
from fourfold.nn.entry import Passed, read
from fourfold.nn.monotone import Monotone
from fourfold.nn.resnet import ResMLP

__all__ = ["CouplingStack"]


@final
class CouplingStack(Part, nn.Module):
    """An invertible map of vectors: in each layer ``(a, b) -> (a, f(b; net(a)))`` after a fixed shuffle.

    Only the small networks inside compute in low precision. The coordinates are float32 or wider.

    Args:
        dim: length of the vectors, at least 2.
        map: the increasing map ``f`` of each coordinate.
        width, blocks: size of the network in each layer.
        layers: number of couplings.
        reading: reads the condition, or ``None``.

    Raises:
        ValueError: for fewer than 2 dimensions.
    """

    def __init__(
        self,
        dim: int,
        map: Monotone,
        width: int = 128,
        blocks: int = 2,
        layers: int = 6,
        reading: Reading | None = None,
    ) -> None:
        super().__init__()
        if dim < 2:
            raise ValueError(f"dim must be at least 2, got {dim}: couplings move one half by the other")
        self.reading, self.map, self.fixed = reading, map, dim - dim // 2
        moved = dim // 2
        self.nets = nn.ModuleList(
            ResMLP(self.fixed, moved * map.values, width, blocks, Passed.of(reading), gain=0.0) for _ in range(layers)
        )
        self.orders = [_shuffle(dim, i) for i in range(layers)]

    @property
    def summary(self) -> str:
        """The kind of the couplings' maps, as a noun phrase."""
        return self.map.summary

    def forward(self, h: Tensor, cond: Tensor | None = None, to_noise: bool = False) -> tuple[Tensor, Tensor]:
        """Noise to data or back, ``(B, dim)``, and the log-determinant in that direction, ``(B,)``."""
        log_det, cond = h.new_zeros(len(h)), read(self.reading, cond, len(h))
        for i in range(len(self.nets)) if to_noise else reversed(range(len(self.nets))):
            h, change = self._layer(i, h, cond) if to_noise else self._back(i, h, cond)
            log_det = log_det + change
        return h, log_det

    def _numbers(self, i: int, a: Tensor, moved: int, cond: Tensor | None) -> Tensor:
        return self.nets[i](a, cond).view(len(a), moved, self.map.values)

    def _layer(self, i: int, h: Tensor, cond: Tensor | None) -> tuple[Tensor, Tensor]:
        """One layer towards the noise."""
        h = h[:, self.orders[i]]
        a, b = h[:, : self.fixed], h[:, self.fixed :]
        y, log_slope = self.map(b, self._numbers(i, a, b.shape[1], cond))
        return torch.cat([a, y], 1), log_slope.sum(1)

    def _back(self, i: int, h: Tensor, cond: Tensor | None) -> tuple[Tensor, Tensor]:
        """One layer towards the data."""
        a, y = h[:, : self.fixed], h[:, self.fixed :]
        parameters = self._numbers(i, a, y.shape[1], cond)
        b = self.map.inverse(y, parameters)
        back = torch.tensor(self.orders[i], device=h.device).argsort()
        return torch.cat([a, b], 1)[:, back], -self.map(b, parameters)[1].sum(1)


def _shuffle(dim: int, layer: int) -> list[int]:
    """The order in which a layer takes the coordinates: a fixed random one, or the two halves swapped."""
    if dim <= 3 or layer % 2:
        return [*range(dim - dim // 2, dim), *range(dim - dim // 2)]
    generator = torch.Generator().manual_seed(layer)
    order: list[int] = torch.randperm(dim, generator=generator, device="cpu").tolist()
    return order
