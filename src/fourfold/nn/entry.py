"""The layers by which a condition enters a network."""

from __future__ import annotations

from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import Reading

__all__ = ["Entry", "Offset", "Passed", "read"]


def read(reading: Reading | None, cond: Tensor | None, batch: int) -> Tensor | None:
    """The vectors of conditions for the networks inside, see :class:`Passed`. ``None`` without a reading."""
    return None if reading is None else reading(cond, batch)


@final
class Passed(Reading):
    """A vector that an outer network read already, for a network inside it.

    Args:
        width: length of the vector.
        gain: that of the outer network's reading.
    """

    def __init__(self, width: int, gain: float = 1.0) -> None:
        super().__init__(width)
        del self.unknown
        self.gain = gain  # type: ignore[misc]

    @classmethod
    def of(cls, reading: Reading | None) -> Passed | None:
        """What takes the vector of a reading, or ``None`` for a network without conditions."""
        return None if reading is None else cls(reading.width, reading.gain)

    def features(self, cond: Tensor) -> Tensor:
        return cond

    def forward(self, cond: Tensor | None, batch: int) -> Tensor:
        if cond is None:
            raise ValueError("cond must be the vector that the outer network read, got None")
        return cond


@final
class Entry(nn.Module):
    """``W r(c)``, ``(B, outputs)``: the share of a condition in a layer.

    Args:
        reading: reads the condition.
        outputs: length of the result.
        gain: standard deviation of each result at the start.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("weight",)

    def __init__(self, reading: Reading, outputs: int, gain: float = 1.0) -> None:
        super().__init__()
        self.reading = reading
        self.weight = nn.Parameter(torch.empty(outputs, reading.width))
        nn.init.normal_(self.weight, std=gain * reading.gain)

    @classmethod
    def of(cls, reading: Reading | None, outputs: int, gain: float = 1.0) -> Entry | None:
        """The entry of a condition, or ``None`` for a network without one."""
        return None if reading is None else cls(reading, outputs, gain)

    def forward(self, cond: Tensor | None, batch: int) -> Tensor:
        """The shares of ``batch`` conditions, in the dtype of the weights."""
        return F.linear(self.reading(cond, batch).to(self.weight.dtype), self.weight)

    def beside(self, z: Tensor, cond: Tensor | None) -> Tensor:
        """Vectors ``(B, n)`` with the share of their conditions beside them, ``(B, n + outputs)``."""
        return torch.cat([z, self(cond, len(z))], 1)


@final
class Offset(nn.Module):
    """``b + W r(c)``, ``(B, outputs)``: a vector that depends on the condition, if there is one.

    Args:
        reading: reads the condition, or ``None``.
        outputs: length of the result.
        gain: standard deviation of each result at the start.
        start: value of ``b`` at the start.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("bias",)

    def __init__(self, reading: Reading | None, outputs: int, gain: float = 1.0, start: float = 0.0) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.full((outputs,), start))
        self.given = Entry.of(reading, outputs, gain)

    def forward(self, cond: Tensor | None, batch: int) -> Tensor:
        """The vectors of ``batch`` conditions."""
        return self.bias.expand(batch, -1) if self.given is None else self.bias + self.given(cond, batch)
