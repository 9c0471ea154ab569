"""The codecs: from raw examples to what a network models and back, with log-determinants.

Rescaling happens here and nowhere else. A codec of integers either keeps them integers (``measure`` counting: a model
gives masses, no log-determinant) or spreads them over reals by uniform noise (``dequantises``: an exact density then
bounds the mass from below; Theis, van den Oord, Bethge 2016, https://arxiv.org/abs/1511.01844).
"""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from fourfold.core import Codec, Measure, Noise
from fourfold.spaces import Images, Text, Vectors

__all__ = ["Centred", "Dequantised", "Standardised", "TextTokens", "Tokens"]


@final
class Tokens(Codec):
    """Pixels as tokens: ``(B, C, H, W)`` levels to int64 ids of the same shape. A bijection of integers."""

    measure = Measure.COUNTING

    def __init__(self, space: Images) -> None:
        super().__init__()
        self.space = space

    def encode(self, x: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        return x.long(), torch.zeros(len(x), device=x.device)

    def decode(self, z: Tensor, noise: Noise | None = None) -> Tensor:
        return z.clamp(0, self.space.levels - 1).to(torch.uint8)

    def fit(self, x: Tensor) -> None:
        """Nothing to fit."""


@final
class TextTokens(Codec):
    """Text ids as they are."""

    measure = Measure.COUNTING

    def __init__(self, space: Text) -> None:
        super().__init__()
        self.space = space

    def encode(self, x: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        return x, torch.zeros(len(x), device=x.device)

    def decode(self, z: Tensor, noise: Noise | None = None) -> Tensor:
        return z

    def fit(self, x: Tensor) -> None:
        """Nothing to fit."""


@final
class Centred(Codec):
    """Levels as points of [-1, 1]: ``z = 2 x / (levels - 1) - 1``. Still integers: models give masses of these points."""

    measure = Measure.COUNTING

    def __init__(self, space: Images) -> None:
        super().__init__()
        self.space = space

    def encode(self, x: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        return x.float() * (2 / (self.space.levels - 1)) - 1, torch.zeros(len(x), device=x.device)

    def decode(self, z: Tensor, noise: Noise | None = None) -> Tensor:
        top = self.space.levels - 1
        return ((z.float() + 1) * (top / 2)).round().clamp(0, top).to(torch.uint8)

    def fit(self, x: Tensor) -> None:
        """Nothing to fit."""


@final
class Dequantised(Codec):
    """Levels as reals in [-1, 1]: ``z = 2 (x + u) / levels - 1`` with ``u ~ U[0, 1)``; decoding takes the floor.

    ``log |det| = dims · log(2 / levels)``, and ``E_u[log p(z)] + log |det| <= log P(x)``.
    """

    measure = Measure.LEBESGUE
    dequantises = True
    bound = "uniform dequantisation makes it bound the integers' mass from below"

    def __init__(self, space: Images) -> None:
        super().__init__()
        self.space = space

    def encode(self, x: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        u = torch.rand(x.shape, device=x.device) if noise is None else noise.uniform(*x.shape[1:])
        # In float32 a u within 2^-15 of 0 or 1 may round into the neighbouring level: decode must return x.
        z = (x.float() + u.clamp(2**-14, 1 - 2**-14)) * (2 / self.space.levels) - 1
        return z, torch.full((len(x),), self.space.dims * math.log(2 / self.space.levels), device=x.device)

    def decode(self, z: Tensor, noise: Noise | None = None) -> Tensor:
        return ((z.float() + 1) * (self.space.levels / 2)).floor().clamp(0, self.space.levels - 1).to(torch.uint8)

    def fit(self, x: Tensor) -> None:
        """Nothing to fit."""


@final
class Standardised(Codec):
    """Columns with mean 0 and standard deviation 1 on the training data: ``z = (x - mean) / scale``.

    ``log |det| = -sum log scale``.
    """

    measure = Measure.LEBESGUE
    mean: Tensor
    scale: Tensor

    def __init__(self, space: Vectors) -> None:
        super().__init__()
        self.space = space
        self.register_buffer("mean", torch.zeros(space.dim))
        self.register_buffer("scale", torch.ones(space.dim))

    def encode(self, x: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        z = (x - self.mean) / self.scale
        return z, -self.scale.log().sum().expand(len(x))

    def decode(self, z: Tensor, noise: Noise | None = None) -> Tensor:
        return z.float() * self.scale + self.mean

    def fit(self, x: Tensor) -> None:
        """Take mean and standard deviation of each column, in float64.

        Raises:
            ValueError: for a constant column, by name.
        """
        scale = x.double().std(0)
        constant = (scale <= 0).nonzero().flatten().tolist()
        if constant:
            names = [self.space.columns[i] if self.space.columns else str(i) for i in constant]
            raise ValueError(f"column {', '.join(names)} is constant: it has no density; drop it")
        self.mean.copy_(x.double().mean(0))
        self.scale.copy_(scale)
