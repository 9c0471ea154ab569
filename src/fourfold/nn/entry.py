"""The layers by which a condition enters a network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import Reading
from fourfold.nn.layers import patches

__all__ = ["ConditionEntry", "Maps", "Offset", "Passed", "read"]


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
        """The reading of a network inside another, which gets the vector. ``None`` without conditions."""
        return None if reading is None else cls(reading.width, reading.gain)

    def features(self, cond: Tensor) -> Tensor:
        return cond

    def forward(self, cond: Tensor | None, batch: int) -> Tensor:
        if cond is None:
            raise ValueError("cond must be the vector that the outer network read, got None")
        return cond


@final
class ConditionEntry(nn.Module):
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
    def of(cls, reading: Reading | None, outputs: int, gain: float = 1.0) -> ConditionEntry | None:
        """The entry of a condition, or ``None`` for a network without one."""
        return None if reading is None else cls(reading, outputs, gain)

    def forward(self, cond: Tensor | None, batch: int) -> Tensor:
        """The shares of ``batch`` conditions, in the dtype of the weights."""
        return self.share(self.reading(cond, batch))

    def share(self, vector: Tensor) -> Tensor:
        """The shares of conditions that the reading has read already, ``(B, width)``."""
        return F.linear(vector.to(self.weight.dtype), self.weight)

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
        self.given = ConditionEntry.of(reading, outputs, gain)

    def forward(self, cond: Tensor | None, batch: int) -> Tensor:
        """The vectors of ``batch`` conditions."""
        return self.bias.expand(batch, -1) if self.given is None else self.bias + self.given(cond, batch)

    def share(self, vector: Tensor) -> Tensor:
        """The vectors of conditions that the reading has read already, ``(B, width)``."""
        assert self.given is not None, "there is a reading"
        return self.bias + self.given.share(vector)


@final
class Maps(nn.Module):
    """``h + K * m(c)``: the share of a picture that is given in a map of features, by a 3 x 3 convolution ``K``.

    ``m(c)`` are the maps of :meth:`fourfold.core.Reading.spread`, in patches as those of the images themselves. It is
    empty, and ``h`` stays as it is, where a condition has no maps. Unknown conditions add nothing.

    Args:
        reading: reads the condition, or ``None``. Another layer of the network must hold it too.
        outputs: channels of ``h``.
        patch: side of a patch.
        multiple: height and width are padded to a multiple of it, see :func:`fourfold.nn.layers.patches`.
        gain: standard deviation of the share at the start.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("weight",)

    def __init__(
        self, reading: Reading | None, outputs: int, patch: int = 1, multiple: int | None = None, gain: float = 1.0
    ) -> None:
        super().__init__()
        self.patch, self.multiple = patch, multiple
        self.source = (reading,)  # a tuple, so that its weights are those of the other layer alone
        self.weight: nn.Parameter | None = None
        if reading is not None and reading.maps:
            inputs = reading.maps * patch**2
            self.weight = nn.Parameter(torch.empty(outputs, inputs, 3, 3))
            nn.init.normal_(self.weight, std=gain / math.sqrt(9 * inputs))

    def forward(self, h: Tensor, cond: Tensor | None, size: Sequence[int]) -> Tensor:
        """``h``, ``(B, outputs, h, w)``, with the share of conditions of images of a height and width."""
        share = self.share(cond, len(h), size)
        return h if share is None else h + share

    def share(self, cond: Tensor | None, batch: int, size: Sequence[int]) -> Tensor | None:
        """``K * m(c)``, ``(B, outputs, h, w)``, or ``None`` where a condition has no maps."""
        (reading,) = self.source
        if self.weight is None or reading is None:
            return None
        m = patches(reading.spread(cond, batch, (size[0], size[1])), self.patch, self.multiple)
        return F.conv2d(m.to(self.weight.dtype), self.weight, padding=1)
