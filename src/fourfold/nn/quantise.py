"""Quantisers: maps of vectors to maps of whole numbers and back, with gradients that pass straight through.

The forward pass sees the quantised value, the backward pass the identity: ``v = e + sg(q(e) - e)`` for a stop-gradient
``sg`` (Bengio, Leonard, Courville 2013, https://arxiv.org/abs/1308.3432).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from fourfold.core import Part

__all__ = ["Codebook", "FiniteScalars", "Quantised", "Quantiser", "ResidualScalars"]


class Quantised(NamedTuple):
    """A quantised map of vectors ``(B, channels, h, w)``."""

    values: Tensor
    """The nearest representable vectors, ``(B, channels, h, w)`` float32. The gradient passes to the input."""
    codes: Tensor
    """Their numbers, ``(B, h, w)`` int64 in ``[0, size)``."""
    penalty: Tensor
    """An addition to the loss that keeps input and codebook close, ``(B,)``."""


class Quantiser(Part, nn.Module, ABC):
    """A finite set of vectors, numbered."""

    size: int
    """The number of vectors."""
    channels: int
    """The length of a vector."""
    summary: str
    """The way to quantise, as a noun phrase."""

    def grid(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the numbers of a map of ``shape``. A quantiser may give several numbers to a vector."""
        return shape

    @abstractmethod
    def forward(self, e: Tensor) -> Quantised:
        """Quantise ``(B, channels, h, w)``, float32."""

    @abstractmethod
    def embed(self, codes: Tensor) -> Tensor:
        """The vectors of codes ``(B, h, w)``: ``(B, channels, h, w)``, float32."""


def perplexity(codes: Tensor, size: int) -> Tensor:
    """``exp`` of the entropy of the codes in use, between 1 and ``size``: the effective number of codes."""
    p = torch.bincount(codes.reshape(-1), minlength=size).float() / codes.numel()
    return torch.special.entr(p).sum().exp()


@final
class FiniteScalars(Quantiser):
    """Each channel squashed and rounded to its own few levels. The codebook is their product and never collapses.

        v_i = round(f(e_i)) / floor(L_i / 2),   f(e) = (L - 1) / 2 · (1 + 1e-3) · tanh(e + s) - o

    with ``o = 1/2`` and ``s = artanh(o / (...))`` for even ``L``, both 0 for odd, so that ``f(0) = 0``.

    Reference: Mentzer, Minnen, Agustsson, Tschannen 2023, Finite Scalar Quantization: VQ-VAE Made Simple
    (https://arxiv.org/abs/2309.15505).

    Args:
        levels: the number of levels of each channel, each at least 2.

    Raises:
        ValueError: for no levels, or fewer than 2.
    """

    summary = "a fixed grid of numbers, by rounding"

    def __init__(self, levels: tuple[int, ...]) -> None:
        super().__init__()
        if not levels or min(levels) < 2:
            raise ValueError(f"levels must be numbers of at least 2, one for each channel, got {levels}")
        self.levels, self.channels, self.size = tuple(levels), len(levels), math.prod(levels)

    def _column(self, values: list[float], like: Tensor) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=like.device)[:, None, None]

    def _squashed(self, e: Tensor) -> Tensor:
        """``f(e)``: within half a step of the lowest and highest level."""
        half = [(level - 1) / 2 * (1 + 1e-3) for level in self.levels]
        offset = [0.5 if level % 2 == 0 else 0.0 for level in self.levels]
        shift = [math.atanh(o / h) for o, h in zip(offset, half, strict=True)]
        columns = [self._column(values, e) for values in (half, offset, shift)]
        return columns[0] * torch.tanh(e + columns[2]) - columns[1]

    def forward(self, e: Tensor) -> Quantised:
        squashed = self._squashed(e.float())
        nearest = squashed.detach().round()
        half = self._column([level // 2 for level in self.levels], e)
        digits = (nearest + half).long()
        codes = (digits * self._places(e)[:, None, None]).sum(1)
        return Quantised((squashed + (nearest - squashed).detach()) / half, codes, e.new_zeros(len(e)))

    def embed(self, codes: Tensor) -> Tensor:
        base = torch.tensor(self.levels, device=codes.device)[:, None, None]
        digits = codes[:, None].div(self._places(codes)[:, None, None], rounding_mode="floor") % base
        return (digits - base // 2).float() / (base // 2)

    def _places(self, like: Tensor) -> Tensor:
        """The weight of each channel's digit in a code."""
        places = [math.prod(self.levels[:i]) for i in range(self.channels)]
        return torch.tensor(places, device=like.device)


@final
class ResidualScalars(Quantiser):
    """Each channel squashed and rounded ``depth`` times, each time on a finer grid: a coarse number, then corrections.

        r_0 = tanh(e),   v_q = h^{-q} round(h^q r_q · H) / H,   r_{q+1} = r_q - v_q,   v = sum_q v_q

    with ``H = (L - 1) / 2`` and ``h = L - 1`` for ``L`` levels, odd so that 0 is one of them: the remainder of one
    rounding fills the range of the next. The ``depth`` numbers of a vector stand side by side, ``(B, h, depth w)``.

    Reference: Zeghidour et al. 2021, SoundStream (https://arxiv.org/abs/2107.03312), for residual quantisation;
    Mentzer et al. 2023 (https://arxiv.org/abs/2309.15505), for rounding.

    Args:
        levels: the number of levels of each channel, each odd and at least 3.
        depth: how many numbers a vector has.

    Raises:
        ValueError: for levels that are even or fewer than 3, or no numbers.
    """

    summary = "fixed grids of numbers, by rounding what the coarser grid left"

    def __init__(self, levels: tuple[int, ...], depth: int = 2) -> None:
        super().__init__()
        if not levels or any(level < 3 or level % 2 == 0 for level in levels) or depth < 1:
            raise ValueError(
                f"levels must be odd and at least 3, and depth at least 1, got levels {levels} and depth {depth}"
            )
        self.levels, self.depth = tuple(levels), depth
        self.channels, self.size = len(levels), math.prod(levels)

    def grid(self, shape: tuple[int, int]) -> tuple[int, int]:
        return shape[0], shape[1] * self.depth

    def _columns(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Levels, and the weight of each channel's digit in a code, ``(channels, 1, 1)`` each."""
        places = [math.prod(self.levels[:i]) for i in range(self.channels)]
        levels, weights = (torch.tensor(values, device=like.device)[:, None, None] for values in (self.levels, places))
        return levels, weights

    def forward(self, e: Tensor) -> Quantised:
        levels, places = self._columns(e)
        half = (levels - 1) / 2
        squashed = torch.tanh(e.float())
        rest, value, codes = squashed.detach(), torch.zeros_like(squashed), []
        for q in range(self.depth):
            fine = (levels - 1).float() ** q
            digits = (rest * fine * half).round().clamp(-half, half)
            codes.append(((digits + half).long() * places).sum(1))
            rest, value = rest - digits / (half * fine), value + digits / (half * fine)
        together = torch.stack(codes, -1).flatten(-2)
        return Quantised(squashed + (value - squashed).detach(), together, e.new_zeros(len(e)))

    def embed(self, codes: Tensor) -> Tensor:
        levels, places = self._columns(codes)
        half = (levels - 1) / 2
        parts = codes.reshape(*codes.shape[:2], -1, self.depth)
        value = torch.zeros(len(codes), self.channels, *parts.shape[1:3], device=codes.device)
        for q in range(self.depth):
            digits = parts[..., q][:, None].div(places, rounding_mode="floor") % levels
            value = value + (digits - half) / (half * (levels - 1).float() ** q)
        return value


@final
class Codebook(Quantiser):
    """The nearest of ``size`` learned vectors.

        penalty = dims · ( ||sg(e) - v||^2 + commitment · ||e - sg(v)||^2 ) / mean square

    summed over the map, by gradients rather than moving averages, so that any optimizer and any number of processes
    train it. A vector whose use is less than ``rare`` times the average is pulled to random inputs until it is used, so
    that none stays dead.

    Reference: van den Oord, Vinyals, Kavukcuoglu 2017, Neural Discrete Representation Learning
    (https://arxiv.org/abs/1711.00937).

    Args:
        size: number of vectors.
        channels: length of a vector.
        commitment: the pull of an input to its vector, relative to the pull of the vector to its inputs.
        weight: weight of the penalty, in nats for each code.
        rare: share of the average use below which a vector counts as dead.

    Raises:
        ValueError: for fewer than 2 vectors.
    """

    summary = "a learned codebook, with a loss of its own"

    usage: Tensor

    def __init__(
        self, size: int, channels: int, commitment: float = 0.25, weight: float = 10.0, rare: float = 0.1
    ) -> None:
        super().__init__()
        if size < 2:
            raise ValueError(f"size must be at least 2 vectors, got {size}")
        self.size, self.channels = size, channels
        self.commitment, self.weight, self.rare = commitment, weight, rare
        self.embedding = nn.Embedding(size, channels)
        nn.init.normal_(self.embedding.weight)
        self.register_buffer("usage", torch.zeros(size))  # all start dead, and so near inputs

    def forward(self, e: Tensor) -> Quantised:
        rows, table = e.float().movedim(1, -1).flatten(0, -2), self.embedding.weight.float()
        with torch.no_grad():
            nearest = (table.square().sum(1) - 2 * rows @ table.T).argmin(1)
        codes = nearest.reshape(len(e), *e.shape[2:])
        v = table[nearest].reshape(len(e), *e.shape[2:], self.channels).movedim(-1, 1)
        pulls = (e.detach() - v).square() + self.commitment * (e - v.detach()).square()
        penalty = self.weight * pulls.mean(1).flatten(1).sum(1)
        if self.training:
            penalty = penalty + self._revival(rows.detach(), nearest, table)
        return Quantised(e + (v - e).detach(), codes, penalty)

    def _revival(self, rows: Tensor, nearest: Tensor, table: Tensor) -> Tensor:
        """The pull of dead vectors to random inputs, one number. ``usage`` is a moving average over about 100 steps."""
        share = torch.bincount(nearest, minlength=self.size).float() / len(nearest)
        self.usage.lerp_(share, 0.01)
        dead = (self.usage * self.size < self.rare).float()
        target = rows[torch.randint(len(rows), (self.size,), device=rows.device)]
        return self.weight * ((target - table).square().mean(1) * dead).sum() / max(len(rows), 1)

    def embed(self, codes: Tensor) -> Tensor:
        return self.embedding(codes).float().movedim(-1, 1)
