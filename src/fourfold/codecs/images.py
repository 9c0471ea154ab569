"""Codecs of images: levels of pixels as tokens, as points, as bits, or as reals with noise between them."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from fourfold.core import Codec, Measure, Noise
from fourfold.spaces import Images

__all__ = ["BitPlanes", "Centred", "Dequantised", "Tokens"]


@final
class Tokens(Codec):
    """Pixels as tokens: ``(B, C, H, W)`` levels to int64 ids of the same shape. A bijection of integers."""

    measure = Measure.COUNTING

    def __init__(self, space: Images) -> None:
        super().__init__()
        self.space, self.event = space, space.shape

    def encode(self, x: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        return x.long(), torch.zeros(len(x), device=x.device)

    def decode(self, z: Tensor, noise: Noise | None = None) -> Tensor:
        return z.clamp(0, self.space.levels - 1).to(torch.uint8)


@final
class Centred(Codec):
    """Levels as points of [-1, 1], ``z = 2 x / (levels - 1) - 1``: still discrete, so models give masses."""

    measure = Measure.COUNTING
    rms = 0.5

    def __init__(self, space: Images) -> None:
        super().__init__()
        self.space, self.event = space, space.shape

    def encode(self, x: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        return x.float() * (2 / (self.space.levels - 1)) - 1, torch.zeros(len(x), device=x.device)

    def decode(self, z: Tensor, noise: Noise | None = None) -> Tensor:
        top = self.space.levels - 1
        return ((z.float() + 1) * (top / 2)).round().clamp(0, top).to(torch.uint8)


@final
class BitPlanes(Codec):
    """Levels as bits, a plane of zeros and ones for each bit, the lowest first.

    ``(B, C, H, W)`` becomes float32 ``(B, planes C, H, W)`` with ``planes = ceil(log2 levels)``. Codes are
    reflected (Gray 1953, US patent 2,632,058): neighbouring levels differ in one bit. A code above the last level is
    decoded as the last level.
    """

    measure = Measure.COUNTING

    def __init__(self, space: Images) -> None:
        super().__init__()
        self.space, self.planes = space, (space.levels - 1).bit_length()
        self.event = (self.planes * space.channels, space.height, space.width)

    def encode(self, x: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        gray = x.long() ^ (x.long() >> 1)
        bits = torch.cat([(gray >> k) & 1 for k in range(self.planes)], 1)
        return bits.float(), torch.zeros(len(x), device=x.device)

    def decode(self, z: Tensor, noise: Noise | None = None) -> Tensor:
        bits = (z > 0.5).long().chunk(self.planes, 1)
        levels = bit = bits[-1]
        for plane in reversed(bits[:-1]):
            bit = bit ^ plane
            levels = levels * 2 + bit
        return levels.clamp(max=self.space.levels - 1).to(torch.uint8)


@final
class Dequantised(Codec):
    """Levels as reals in [-1, 1]: ``z = 2 (x + u) / levels - 1`` with ``u ~ U[0, 1)``; decoding takes the floor.

    ``log |det| = dims · log(2 / levels)``, and ``E_u[log p(z)] + log |det| <= log P(x)``.
    """

    measure = Measure.LEBESGUE
    rms = 0.5
    random = True
    bound = "with dequantisation it is a lower bound on the log-mass of the integers"

    def __init__(self, space: Images) -> None:
        super().__init__()
        self.space, self.event = space, space.shape

    def encode(self, x: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        u = torch.rand(x.shape, device=x.device) if noise is None else noise.uniform(*x.shape[1:])
        # In float32 a u within 2^-15 of 0 or 1 may round into the neighbouring level: decode must return x.
        z = (x.float() + u.clamp(2**-14, 1 - 2**-14)) * (2 / self.space.levels) - 1
        return z, torch.full((len(x),), self.space.dims * math.log(2 / self.space.levels), device=x.device)

    def decode(self, z: Tensor, noise: Noise | None = None) -> Tensor:
        return ((z.float() + 1) * (self.space.levels / 2)).floor().clamp(0, self.space.levels - 1).to(torch.uint8)
