"""Random streams: a sample of a seed draws the same numbers in any batch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import ClassVar

import torch
from torch import Tensor

__all__ = ["Noise"]


class Noise:
    """The random stream of samples ``start .. stop``: sample *i* of a seed draws the same numbers in any batch.

    Indices are grouped into aligned blocks of ``BLOCK``. Each block has a generator of its own, always drawn whole and
    then cut, so neither the number of samples nor the batch size changes the numbers of an index.

    Args:
        seed: the user's seed.
        start, stop: the half-open range of sample indices.
        stream: names an independent stream of the same seed (``"sample"``, ``"score"``).
        device: where the draws are put. They are made on the CPU so that every device sees the same.
    """

    BLOCK: ClassVar[int] = 64

    def __init__(
        self, seed: int, start: int, stop: int, stream: str = "sample", device: torch.device | str = "cpu"
    ) -> None:
        self.start, self.stop, self.device = start, stop, device
        first, last = start // self.BLOCK, max(stop - 1, start) // self.BLOCK
        self._generators = [_generator(f"{stream}/{seed}/{block}") for block in range(first, last + 1)]

    @classmethod
    def in_training(cls, x: Tensor, rows: int | None = None) -> Noise:
        """A stream for each row of ``x``, or for ``rows``, seeded by torch's generator, which training controls."""
        return cls(int(torch.randint(2**62, ())), 0, len(x) if rows is None else rows, "train", x.device)

    @classmethod
    def spans(cls, start: int, stop: int, batch_size: int) -> Iterator[tuple[int, int]]:
        """Cut ``start .. stop`` into ranges of about ``batch_size`` indices that share no block of random numbers."""
        step = cls.whole_blocks(batch_size)
        for first in range(start // step * step, stop, step):
            yield max(first, start), min(first + step, stop)

    @classmethod
    def whole_blocks(cls, batch_size: int) -> int:
        """The largest multiple of ``BLOCK`` up to ``batch_size``, and one block at least."""
        return max(cls.BLOCK, batch_size // cls.BLOCK * cls.BLOCK)

    def __len__(self) -> int:
        return self.stop - self.start

    def normal(self, *event: int) -> Tensor:
        """Standard normal draws, ``(n, *event)``."""
        return self._draw(Tensor.normal_, event)

    def uniform(self, *event: int) -> Tensor:
        """Uniform draws on [0, 1), ``(n, *event)``."""
        return self._draw(Tensor.uniform_, event)

    def _draw(self, fill: Callable[..., Tensor], event: tuple[int, ...]) -> Tensor:
        numbers = torch.empty(len(self._generators) * self.BLOCK, *event, device="cpu")
        for generator, block in zip(self._generators, torch.split(numbers, self.BLOCK), strict=True):
            fill(block, generator=generator)
        offset = self.start % self.BLOCK
        return numbers[offset : offset + len(self)].to(self.device)


def _generator(name: str) -> torch.Generator:
    """A generator seeded by a hash of its name."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
