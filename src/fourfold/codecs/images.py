"""Codecs of images: pixel values as tokens, as points, as bits, or as reals with noise between them."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from fourfold.core import Codec, Measure, Noise
from fourfold.spaces import Images

__all__ = ["BitPlanes", "Centred", "Dequantised", "GaussianPixels", "Tokens"]

CELLS = 32
"""The most cells along a side of an image, each with its own distribution function."""
PRIOR = 10.0
"""The weight of a channel's shares of pixel values against those of one cell, in pixels."""
LEAST = 1e-6
"""The least share of a pixel value."""
MARGIN = 1e-7
"""The least distance of a code from the ends of its value's interval, in probability: float32 codes stay inside."""


@final
class Tokens(Codec):
    """Pixels as tokens: ``(B, C, H, W)`` pixel values to int64 ids of the same shape. A bijection of integers."""

    measure = Measure.COUNTING

    def __init__(self, space: Images) -> None:
        super().__init__()
        self.space, self.event = space, space.shape

    def encode(self, x: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        return x.long(), torch.zeros(len(x), device=x.device)

    def decode(self, z: Tensor, noise: Noise | None = None) -> Tensor:
        return z.clamp(0, self.space.n_values - 1).to(torch.uint8)


@final
class Centred(Codec):
    """Pixel values as points of [-1, 1], ``z = 2 x / (n_values - 1) - 1``: still discrete, so models give masses."""

    measure = Measure.COUNTING
    rms = 0.5

    def __init__(self, space: Images) -> None:
        super().__init__()
        self.space, self.event = space, space.shape

    def encode(self, x: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        return x.float() * (2 / (self.space.n_values - 1)) - 1, torch.zeros(len(x), device=x.device)

    def decode(self, z: Tensor, noise: Noise | None = None) -> Tensor:
        top = self.space.n_values - 1
        return ((z.float() + 1) * (top / 2)).round().clamp(0, top).to(torch.uint8)


@final
class BitPlanes(Codec):
    """Pixel values as bits, a plane of zeros and ones for each bit, the lowest first.

    ``(B, C, H, W)`` becomes float32 ``(B, planes C, H, W)`` with ``planes = ceil(log2 n_values)``. Codes are
    reflected (Gray 1953, US patent 2,632,058): neighbouring values differ in one bit. A code above the last value is
    decoded as the last value.
    """

    measure = Measure.COUNTING

    def __init__(self, space: Images) -> None:
        super().__init__()
        self.space, self.planes = space, (space.n_values - 1).bit_length()
        self.event = (self.planes * space.channels, space.height, space.width)

    def encode(self, x: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        gray = x.long() ^ (x.long() >> 1)
        bits = torch.cat([(gray >> k) & 1 for k in range(self.planes)], 1)
        return bits.float(), torch.zeros(len(x), device=x.device)

    def decode(self, z: Tensor, noise: Noise | None = None) -> Tensor:
        bits = (z > 0.5).long().chunk(self.planes, 1)
        values = bit = bits[-1]
        for plane in reversed(bits[:-1]):
            bit = bit ^ plane
            values = values * 2 + bit
        return values.clamp(max=self.space.n_values - 1).to(torch.uint8)


@final
class Dequantised(Codec):
    """Pixel values as reals: ``z = 2 (x + u) / n_values - 1`` with ``u ~ U[0, 1)``. Decoding takes the floor.

    ``log |det| = dims · log(2 / n_values)``, and ``E_u[log p(z)] + log |det| <= log P(x)``.
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
        # In float32 a u within 2^-15 of 0 or 1 may round into the neighbouring pixel value: decode must return x.
        z = (x.float() + u.clamp(2**-14, 1 - 2**-14)) * (2 / self.space.n_values) - 1
        return z, torch.full((len(x),), self.space.dims * math.log(2 / self.space.n_values), device=x.device)

    def decode(self, z: Tensor, noise: Noise | None = None) -> Tensor:
        return ((z.float() + 1) * (self.space.n_values / 2)).floor().clamp(0, self.space.n_values - 1).to(torch.uint8)


@final
class GaussianPixels(Codec):
    """Pixel values as normal reals, ``z = Phi^-1(F(x-) + u p(x))`` with ``u ~ U[0, 1)``. Decoding takes that of ``z``.

    ``F`` is the distribution function of the values at each place in the training data, so that every pixel of the
    codes is standard normal, and a standard normal density of codes is the model of independent pixels. With ``log
    |det| = sum_i log p(x_i) - log phi(z_i)``, ``E_u[log p(z)] + log |det| <= log P(x)``. Images of more than 32 pixels
    a side share ``F`` among the pixels of a cell, 32 cells a side.

    Reference: Chen, Gopinath 2000, Gaussianization, https://papers.nips.cc/paper/1856-gaussianization, of marginals.

    Args:
        space: of the images.
    """

    measure = Measure.LEBESGUE
    random = True
    bound = "with dequantisation it is a lower bound on the log-mass of the integers"
    below: Tensor
    """``F`` below each pixel value, of each cell: ``(C h w, n_values + 1)`` float64."""
    cell: Tensor
    """The cell of each pixel: ``(C, H, W)``."""

    def __init__(self, space: Images) -> None:
        super().__init__()
        self.space, self.event = space, space.shape
        C, H, W = space.shape
        h, w = min(H, CELLS), min(W, CELLS)
        row, column = torch.arange(H) * h // H, torch.arange(W) * w // W
        cell = (torch.arange(C)[:, None, None] * h + row[:, None]) * w + column
        self.register_buffer("cell", cell, persistent=False)
        self.register_buffer(
            "below", torch.linspace(0, 1, space.n_values + 1, dtype=torch.float64).repeat(C * h * w, 1)
        )

    def fit(self, x: Tensor) -> None:
        """Take the shares of the pixel values. Each cell has a few pixels more, with the shares of its channel."""
        n_values, cells = self.space.n_values, len(self.below)
        counts_in_cells = torch.zeros(cells * n_values, dtype=torch.long, device=x.device)
        for part in torch.split(x, 1000):
            counts_in_cells += torch.bincount(
                (self.cell * n_values + part.long()).flatten(), minlength=cells * n_values
            )
        counts = counts_in_cells.double().view(self.space.channels, -1, n_values)
        prior = counts.sum(1, keepdim=True) + 0.5
        counts = counts + PRIOR * prior / prior.sum(2, keepdim=True)
        shares = counts / counts.sum(2, keepdim=True) * (1 - n_values * LEAST) + LEAST
        self.below[:, 1:] = shares.view(cells, n_values).cumsum(1)
        self.below[:, -1] = 1

    def encode(self, x: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        u = torch.rand(x.shape, device=x.device) if noise is None else noise.uniform(*x.shape[1:])
        place = self.cell * (self.space.n_values + 1) + x.long()
        low, high = self.below.take(place), self.below.take(place + 1)
        share = high - low
        inset = (MARGIN / share).clamp(max=0.5)
        z = torch.special.ndtri(low + share * torch.minimum(u.double().maximum(inset), 1 - inset))
        log_det = share.log() + z.square() / 2 + math.log(2 * math.pi) / 2
        return z.float(), log_det.flatten(1).sum(1).float()

    def decode(self, z: Tensor, noise: Noise | None = None) -> Tensor:
        """By bisection: the last value below which ``F`` is at most ``Phi(z)``."""
        v, start = torch.special.ndtr(z.double()), self.cell * (self.space.n_values + 1)
        value = torch.zeros_like(z, dtype=torch.long)
        for power in reversed(range((self.space.n_values - 1).bit_length())):
            higher = (value + 2**power).clamp(max=self.space.n_values - 1)
            value = torch.where(self.below.take(start + higher) <= v, higher, value)
        return value.to(torch.uint8)
